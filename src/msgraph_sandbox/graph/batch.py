"""`$batch`: up to twenty requests in one. https://learn.microsoft.com/graph/json-batching"""

from __future__ import annotations

import base64
import json
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
    names = {part["id"] for part in parts}
    statuses: dict[str, int] = {}
    responses = []
    for part in parts:
        answer = _refused(request, part, names, statuses) or await request.again(_inner(request, part))
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
    return parts


def _strings(part: dict[str, Any], name: str) -> list[str]:
    value = part.get(name) or []
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _refused(request: Request, part: dict[str, Any], names: set[str], statuses: dict[str, int]) -> Response | None:
    """Return the answer to a part that cannot be carried out; the others go on."""
    refusal = _malformed(part, names)
    if refusal is None and any(statuses.get(name, 424) >= 400 for name in _strings(part, "dependsOn")):
        refusal = GraphRefused(424, "failedDependency", "A request that this one depends on failed.")
    if refusal is None:
        return None
    alone = Request(request.scope, request.receive)
    alone.asked_at = request.asked_at
    answer = refusal.response(alone)
    answer.headers |= alone.ids()
    return answer


def _malformed(part: dict[str, Any], names: set[str]) -> GraphRefused | None:
    url, headers = part.get("url"), part.get("headers") or {}
    if part.get("method") not in _METHODS or not isinstance(url, str) or not url:
        return GraphRefused(400, "BadRequest", "Every request in a batch needs a method and a relative url.")
    if not isinstance(headers, dict) or not set(_strings(part, "dependsOn")) <= names:
        return GraphRefused(400, "BadRequest", "The request is malformed.")
    if part.get("body") is not None and "content-type" not in map(str.lower, headers):
        return GraphRefused(400, "BadRequest", "A request with a body needs a Content-Type header.")
    return None


def _inner(request: Request, part: dict[str, Any]) -> Request:
    """Return a part as the request that it stands for, on behalf of the batch's caller."""
    path, _, query = part["url"].partition("?")
    body = _content(part.get("body"))
    headers = {str(name).lower(): str(value) for name, value in (part.get("headers") or {}).items()}
    for name in ("authorization", "host", "user-agent"):
        if name in request.headers:
            headers[name] = request.headers[name]
    headers["content-length"] = str(len(body))
    # The version is the batch's own; one in the address of a part is taken for a resource.
    version = "/" + request.path.split("/")[1] + "/"
    scope = {
        **request.scope,
        "method": part["method"],
        "raw_path": (version + quote(path.removeprefix("/"), safe="/%:!$&'()*+,;=@~-._")).encode("ascii"),
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
