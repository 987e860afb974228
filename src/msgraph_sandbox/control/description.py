"""The control API, described from its routes and the models of their bodies."""

from __future__ import annotations

from pydantic.json_schema import models_json_schema

from msgraph_sandbox.control.bodies import BODIES, ONE, REST, Handler, Routes
from msgraph_sandbox.description.parts import TEXT, document, first_line, operation
from msgraph_sandbox.http import Json

_REFERENCES = "#/components/schemas/{model}"
_QUERIES: dict[str, dict[str, Json]] = {
    "ledger": {"after": {"type": "integer"}, "service": TEXT, "operation": TEXT, "user": TEXT},
    "withdraw": {"client_id": TEXT},
}


def describe(url: str, routes: Routes) -> Json:
    """Return the description of the control API at `url`."""
    models = [(model, "validation") for model in dict.fromkeys(BODIES.values())]
    _, schemas = models_json_schema(models, ref_template=_REFERENCES)  # type: ignore[arg-type]
    paths: dict[str, Json] = {}
    for method, pattern, handler in routes:
        path = pattern.replace("(?:/state)?", "/state").replace(ONE, "/{name}").replace(REST, "/{path}")
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, handler)
    return document("msgraph-sandbox's control API", url, paths, schemas["$defs"])


def _operation(path: str, method: str, handler: Handler) -> Json:
    summary, query = first_line(handler), _QUERIES.get(handler.__name__)
    if method == "PUT":
        return operation(path, summary, body={"type": "string"}, media_type="application/octet-stream")
    model = BODIES.get(handler)
    body = {"$ref": _REFERENCES.format(model=model.__name__)} if model else None
    return operation(path, summary, query=query, body=body)
