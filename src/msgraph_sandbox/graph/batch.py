"""`$batch`: up to twenty requests in one. https://learn.microsoft.com/graph/json-batching"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request
from msgraph_sandbox.http import Json, Message, Request, Response, json_response
from msgraph_sandbox.identity.tokens import AccessGrant

LIMIT = 20
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


async def perform(request: Request, library: Library, grant: AccessGrant) -> Response:
    """Carry out a batch, each part as a request of its own: with its own faults, ledger entry, status and headers."""
    parts = _parts(await request.json_object())
    statuses: dict[str, int] = {}
    responses = []
    for part in parts:
        failed = [name for name in _strings(part, "dependsOn") if statuses.get(name, 424) >= 400]
        answer = _dependency_failed(request) if failed else await request.again(_inner(request, part))
        statuses[part["id"]] = answer.status
        responses.append(await _shape(part["id"], answer))
    if library.switches.batch_disorder:
        responses.reverse()
    return json_response({"responses": responses})


def _parts(body: dict[str, Json]) -> list[dict[str, Any]]:
    parts = body.get("requests")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise bad_request("The batch holds no requests.")
    if len(parts) > LIMIT:
        raise GraphRefused(400, "BadRequest", f"The batch holds more than {LIMIT} requests.")
    names = [part.get("id") for part in parts]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise GraphRefused(400, "BadRequest", "Every request in a batch needs an id of its own.")
    for part in parts:
        url = part.get("url")
        if part.get("method") not in _METHODS or not isinstance(url, str) or not url.startswith("/"):
            raise GraphRefused(400, "BadRequest", "Every request in a batch needs a method and a relative url.")
        if not isinstance(part.get("headers", {}), dict) or not set(_strings(part, "dependsOn")) <= set(names):
            raise GraphRefused(400, "BadRequest", "A request in the batch is malformed.")
    return parts


def _strings(part: dict[str, Any], name: str) -> list[str]:
    value = part.get(name) or []
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _dependency_failed(request: Request) -> Response:
    return GraphRefused(424, "failedDependency", "A request that this one depends on failed.").response(request)


def _inner(request: Request, part: dict[str, Any]) -> Request:
    """Return a part as the request that it stands for, on behalf of the batch's caller."""
    path, _, query = part["url"].partition("?")
    body = _content(part.get("body"))
    headers = {str(name).lower(): str(value) for name, value in (part.get("headers") or {}).items()}
    for name in ("authorization", "host", "user-agent"):
        if name in request.headers:
            headers[name] = request.headers[name]
    headers["content-length"] = str(len(body))
    # Some clients leave the version in the address of a part.
    version = "" if re.match(r"/(v1\.0|beta|v2\.0)/", path) else "/" + request.path.split("/")[1]
    scope = {
        **request.scope,
        "method": part["method"],
        "raw_path": (version + quote(path, safe="/%:!$&'()*+,;=@~-._")).encode("ascii"),
        "query_string": quote(query, safe="/%:!$&'()*+,;=@~-._?").encode("ascii"),
        "headers": [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.items()
        ],
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


def _content(body: Json) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        # Anything but JSON travels in base64.
        try:
            return base64.b64decode(body, validate=True)
        except ValueError:
            return body.encode()
    return json.dumps(body).encode()


async def _shape(name: str, answer: Response) -> Json:
    content = answer.body if isinstance(answer.body, bytes) else b"".join([chunk async for chunk in answer.body])
    shaped: dict[str, Json] = {"id": name, "status": answer.status, "headers": dict(answer.headers)}
    if content:
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        shaped["body"] = json.loads(content) if is_json else base64.b64encode(content).decode()
    return shaped
