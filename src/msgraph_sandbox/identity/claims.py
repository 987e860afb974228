"""Continuous access evaluation: clients that can take it get long tokens, and a challenge when these no longer do.

A client declares the capability `cp1` in the `claims` parameter of authorize or token. Graph then refuses its tokens of
before a critical event with claims that the client hands on to sign-in.
https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgraph_sandbox.http import BadRequest, parse_json_object
from msgraph_sandbox.identity.refusals import SignInRefused

# Hours that a capable client's token lives at least and at most.
LONG_LIFE = (20, 28)


def is_capable(given: Mapping[str, str]) -> bool:
    """Whether the `claims` of an authorize or token request declare `cp1`, or refuse them if they are no JSON."""
    text = given.get("claims", "")
    if not text:
        return False
    try:
        claims = parse_json_object(text.encode())
    except (BadRequest, ValueError):
        raise SignInRefused(9002313) from None
    values = _inner(_inner(claims, "access_token"), "xms_cc").get("values")
    return isinstance(values, list) and any(str(value).lower() == "cp1" for value in values)


def _inner(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def challenge(since: datetime) -> str:
    """Return the claims, in base64, that ask for a token issued after `since`."""
    wanted = {"access_token": {"nbf": {"essential": True, "value": str(int(since.timestamp()))}}}
    return base64.b64encode(json.dumps(wanted, separators=(",", ":")).encode()).decode()
