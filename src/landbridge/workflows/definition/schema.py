"""The JSON Schema of definitions, as it is published for editors."""

from typing import Any, get_args

from landbridge.workflows.definition.parts import in_order
from landbridge.workflows.definition.steps import Step
from landbridge.workflows.definition.workflow import Workflow

Schema = dict[str, Any]  # Any: JSON Schema

_STEP = {"$ref": "#/$defs/Step"}


def schema() -> Schema:
    """Return the JSON Schema (2020-12) that every definition fits, with a title and a description for every field."""
    made = Workflow.model_json_schema(by_alias=True)
    kinds = {f"#/$defs/{kind.__name__}" for kind in get_args(get_args(Step)[0])}
    one_of = [{"$ref": reference} for reference in sorted(kinds)]
    read: Schema = _with_steps_by_name(made, kinds)
    read["$defs"] = {name: _with_its_type(of) for name, of in read["$defs"].items()}
    read["$defs"]["Step"] = {"title": "Step", "description": "A step of any kind.", "oneOf": one_of}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **read}


def _with_steps_by_name(value: Any, kinds: set[str]) -> Any:  # Any: JSON
    """Return the schema with one name for the union of all steps, which pydantic writes out wherever it occurs."""
    if isinstance(value, list):
        return [_with_steps_by_name(one, kinds) for one in value]
    if not isinstance(value, dict):
        return value
    if {one.get("$ref") for one in value.get("oneOf", [])} == kinds:
        return {**{name: of for name, of in value.items() if name not in {"oneOf", "discriminator"}}, **_STEP}
    return {name: _with_steps_by_name(of, kinds) for name, of in value.items()}


def _with_its_type(of: Schema) -> Schema:
    """Return the schema of a part with its fields in the order of export, its type first among what it needs."""
    if "properties" not in of:
        return of
    properties = in_order(of["properties"])
    if "const" not in properties.get("type", {}):
        return {**of, "properties": properties}
    own = {name: value for name, value in properties["type"].items() if name != "default"}
    own["description"] = "What kind it is."
    return {**of, "properties": {**properties, "type": own}, "required": ["type", *of.get("required", [])]}
