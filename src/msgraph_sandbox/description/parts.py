"""The parts that all descriptions are put together from."""

from __future__ import annotations

import re

from msgraph_sandbox.http import Json

_NAMES = re.compile(r"\{(\w+)\}")
ANSWERS: dict[str, Json] = {
    "2XX": {"description": "Done."},
    "3XX": {"description": "It is elsewhere, or unchanged."},
    "4XX": {"description": "Refused; the body says why."},
}
TEXT: Json = {"type": "string"}


def document(title: str, url: str, paths: dict[str, Json], schemas: dict[str, Json] | None = None) -> Json:
    """Return a whole description."""
    info = {"title": title, "version": "1", "description": "https://learn.microsoft.com is the specification."}
    document: dict[str, Json] = {"openapi": "3.1.0", "info": info, "servers": [{"url": url}], "paths": paths}
    return document | ({"components": {"schemas": schemas}} if schemas else {})


def operation(
    path: str,
    summary: str,
    *,
    query: dict[str, Json] | None = None,
    body: Json | None = None,
    media_type: str = "application/json",
    required: bool = True,
) -> Json:
    """Return an operation. The names in its path are parameters."""
    inside = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in _NAMES.findall(path)]
    asked = [{"name": name, "in": "query", "schema": schema} for name, schema in (query or {}).items()]
    described: dict[str, Json] = {"summary": summary, "parameters": [*inside, *asked], "responses": ANSWERS}
    if body is not None:
        described["requestBody"] = {"required": required, "content": {media_type: {"schema": body}}}
    return described


def form(*names: str, required: tuple[str, ...] = ()) -> Json:
    """Return the schema of an object whose fields are texts."""
    return {"type": "object", "properties": dict.fromkeys(names, TEXT), "required": list(required)}


def first_line(documented: object) -> str:
    """Return the first line of a docstring."""
    return (documented.__doc__ or "").strip().partition("\n")[0]
