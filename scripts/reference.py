"""Writes the generated parts of `docs/reference` anew: `make docs`. Tests compare them, so that none goes stale."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.resources import files
from typing import Any, cast

import typer
from fastapi import FastAPI
from pydantic import BaseModel

import landbridge.server  # noqa: F401 - loads every room, and with it every error that a room adds to the tree
from landbridge.app import gather_actions
from landbridge.catalog import Catalog
from landbridge.cli import cli
from landbridge.errors import LandbridgeError
from landbridge.kit import Action
from landbridge.providers.aadsts import EXPLANATIONS, Who
from landbridge.settings import Settings
from landbridge.web import api
from landbridge.web.rooms import Rooms
from landbridge.workflows.conditions import OPERATORS
from landbridge.workflows.definition import MOST_LEVELS, MOST_STEPS, schema
from landbridge.workflows.expressions import LARGEST_TEXT, LONGEST_REFERENCE
from scripts.setup import TREE

CATALOG = Catalog.read(files("landbridge.integrations"))

_MICROSOFT_ERRORS = """\
# Microsoft's errors, explained

Microsoft's sign-in names each failure with a code that begins with AADSTS. Landbridge shows the cause and the remedy
beside the code wherever one comes up: in `landbridge doctor`, and in the `meta` of an API error as `providerCodes`,
`cause` and `providerRemedy`. This page holds them all, sorted by who can mend it.

Nothing that serves users decides by these codes, since Microsoft may change them at any time; it decides by the field
`error`, as [Microsoft asks](https://learn.microsoft.com/entra/identity-platform/reference-error-codes). The causes and
remedies are in our own words, gathered from that page and from traces that others published.

This page is generated from `src/landbridge/providers/aadsts.py` by `make docs`.
"""

_HEADINGS = {
    Who.OPERATOR: (
        "You, who run Landbridge",
        "The settings here and in Azure do not fit together. Run `landbridge doctor`.",
    ),
    Who.ADMIN: (
        "An administrator of the user's organization",
        "The organization's rules say no. Its administrator finds the sign-in under *Sign-in logs*, by correlation id.",
    ),
    Who.USER: ("The user", "The portal asks them to connect again; nothing is lost by it."),
    Who.TIME: ("Nobody: it passes", "Microsoft's own troubles. Connections keep serving while their token is good."),
    Who.DEVELOPERS: ("Landbridge's developers", "A request that Landbridge should never send."),
}


def microsoft_errors() -> str:
    """Return the page of all AADSTS codes that we explain."""
    return "\n".join([_MICROSOFT_ERRORS, *(_section(who) for who in Who)])


def _section(who: Who) -> str:
    title, lead = _HEADINGS[who]
    rows = "\n".join(
        f"| AADSTS{code} | {explanation.cause} | {explanation.remedy} |"
        for code, explanation in sorted(EXPLANATIONS.items())
        if explanation.who is who
    )
    return f"## {title}\n\n{lead}\n\n| code | cause | remedy |\n|---|---|---|\n{rows}\n"


_SETTINGS = """\
# Settings

Every setting is an environment variable, read once when a process starts. None is needed to try Landbridge out.

This page is generated from `src/landbridge/settings.py` by `make docs`.

| variable | default | meaning |
|---|---|---|
"""


def settings() -> str:
    """Return the page of all settings."""
    rows = (
        f"| `LANDBRIDGE_{name.upper()}` | {_in_code(field.default)} | {_in_table(field.description or '')} |\n"
        for name, field in Settings.model_fields.items()
    )
    return _SETTINGS + "".join(rows)


_ERRORS = """\
# Errors

An error answer is JSON with `message`, `code`, `status` and `meta`. `meta` repeats what to do, and whether the same
request may work later. A provider's own error keeps its status, with its body under `output`.

This page is generated from `src/landbridge/errors.py` by `make docs`.

| code | status | may work later | meaning | what to do |
|---|---|---|---|---|
"""


def errors() -> str:
    """Return the page of all errors that the API answers with."""
    return _ERRORS + "".join(_error_row(error) for error in _tree(LandbridgeError))


def _error_row(error: type[LandbridgeError]) -> str:
    again = "yes" if error.retryable else "no"
    meaning = (error.__doc__ or "").partition("\n")[0]
    return f"| `{error.code}` | {error.status} | {again} | {meaning} | {error.remedy} |\n"


def _tree(error: type[LandbridgeError]) -> Iterator[type[LandbridgeError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _tree(kind)


_ACTIONS = """\
# {name}: actions

What can be done with {name} on behalf of a connected user. Names of fields are as they are in JSON. An action that is
*repeatable* may be run twice with the effect of once.

This page is generated from `src/landbridge/integrations/{type}` by `make docs`.
"""


def actions_of(type_: str) -> str:
    """Return the page of an integration's actions, and of the things that they take and give."""
    actions = list(gather_actions(CATALOG).of(type_))
    head = _ACTIONS.format(name=CATALOG.get(type_).name, type=type_)
    given = {name: of for action in actions for name, of in _definitions(action.given).items()}
    gives = {name: of for action in actions for name, of in _definitions(action.result).items()}
    forms = {action.given.__name__ for action in actions}
    things = {name: of for name, of in sorted({**given, **gives}.items()) if name not in forms}
    return "\n".join(
        [
            head,
            *(_action_section(action) for action in actions),
            "## The things in them\n",
            *(_thing(name, of) for name, of in things.items() if of.get("type") == "object"),
        ]
    )


def _definitions(model: type[BaseModel]) -> dict[str, Any]:  # Any: JSON Schema
    schema = model.model_json_schema(by_alias=True)
    return {model.__name__: schema, **schema.get("$defs", {})}


def _thing(name: str, of: Mapping[str, Any]) -> str:  # Any: JSON Schema
    fields = _fields("field", of) if of.get("properties") else ""
    return f"### {name}\n\n{of.get('description', 'Any JSON.')}\n\n{fields}"


def _action_section(action: Action) -> str:
    scopes = ", ".join(f"`{scope}`" for scope in sorted(action.scopes))
    repeatable = "repeatable" if action.repeatable else "not repeatable"
    return "\n".join(
        [
            f"## {action.title}\n",
            f"{action.description}\n",
            f"`{action.name}` · {scopes} · {repeatable} · gives {_link(action.result.__name__)}\n",
            _fields("given", action.given.model_json_schema(by_alias=True)),
        ]
    )


_COMMANDS = """\
# Commands

`landbridge COMMAND --help` says the same. Every command takes `--json`, and then prints one JSON value on standard
output: what it found or made, or an [error](errors.md); only `worker` has nothing to say. The exit code is 0 if all
went well, 1 if it did not, and 2 if the command line was not understood. Settings come from the
[environment](settings.md).

This page is generated from `src/landbridge/cli` by `make docs`.
"""


def commands() -> str:
    """Return the page of all commands."""
    return "\n".join([_COMMANDS, *_command_sections("landbridge", typer.main.get_command(cli))])


def _command_sections(name: str, command: Any) -> Iterator[str]:  # Any, here and below: typer's own kinds of a command
    if hasattr(command, "commands"):
        for part, inner in command.commands.items():
            yield from _command_sections(f"{name} {part}", inner)
        return
    parameters = [one for one in command.params if not one.hidden and one.name != "as_json"]
    arguments = "".join(f" {_metavar(one)}" for one in parameters if one.param_type_name == "argument")
    rows = "".join(_parameter_row(one) for one in parameters)
    table = f"\n| given | meaning |\n|---|---|\n{rows}" if rows else ""
    yield f"## {name}{arguments}\n\n{command.help}\n{table}"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper()


def _parameter_row(one: Any) -> str:
    is_option = one.param_type_name == "option"
    name = ", ".join(f"`{spelt}`" for spelt in (*one.opts, *one.secondary_opts)) if is_option else f"`{_metavar(one)}`"
    instead = f" Or set `{one.envvar}`." if one.envvar else ""
    return f"| {name}{' (needed)' if one.required else ''} | {_in_table(one.help or '')}{instead} |\n"


_API = """\
# The management API

For operators and their programs, under `{LANDBRIDGE_PUBLIC_URL}/api/v1`. Send `Authorization: Bearer KEY`, where KEY is
what `landbridge api-keys create` printed: the key of one project manages that project, any other manages all. Bodies
are JSON and have at most 1 MiB; a field that we do not know is refused. [Errors](errors.md) have one shape everywhere.

A running Landbridge serves the same as OpenAPI at `/api/openapi.json`, to generate clients from.

This page is generated from `src/landbridge/web/shapes.py` and `api.py` by `make docs`.
"""


def management_api() -> str:
    """Return the page of the management API's routes, and of the bodies that they take and give."""
    framework = FastAPI()
    framework.include_router(api.router(cast("Rooms", None)))  # the rooms are needed to answer, and nobody asks
    described = framework.openapi()
    routes = [
        _route_row(method, path, of) for path, methods in described["paths"].items() for method, of in methods.items()
    ]
    things = [(name, of) for name, of in described["components"]["schemas"].items() if "Error" not in name]
    table = "| route | does | takes | gives |\n|---|---|---|---|\n" + "".join(routes)
    return "\n".join([_API, f"## Routes\n\n{table}", "## Bodies\n", *(_thing(name, of) for name, of in things)])


def _route_row(method: str, path: str, of: Mapping[str, Any]) -> str:  # Any: OpenAPI
    given = of.get("requestBody", {}).get("content", {})
    gives: Mapping[str, Any] = next(
        (answer.get("content", {}) for status, answer in of["responses"].items() if status < "300"), {}
    )
    return f"| `{method.upper()} {path}` | {of['description']} | {_body(given)} | {_body(gives)} |\n"


def _body(content: Mapping[str, Any]) -> str:  # Any: OpenAPI
    return _kind(content["application/json"]["schema"]) if content else ""


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _fields(heading: str, schema: Mapping[str, Any]) -> str:  # Any: JSON Schema
    needed = schema.get("required", [])
    rows = "".join(
        f"| `{name}`{' (needed)' if name in needed else ''} | {_in_table(_kind(of))} "
        f"| {_default(of)}{_in_table(of.get('description', ''))} |\n"
        for name, of in schema.get("properties", {}).items()
    )
    return f"| {heading} | type | meaning |\n|---|---|---|\n{rows}"


def _kind(of: Mapping[str, Any]) -> str:  # Any: JSON Schema
    if "$ref" in of:
        name = of["$ref"].rpartition("/")[2]
        return {"JsonValue": "JSON", "Step": "[step](#steps)"}.get(name) or _link(name)
    if "enum" in of:
        return " or ".join(f"`{value}`" for value in of["enum"])
    if "const" in of:
        return f"`{of['const']}`"
    if alternatives := of.get("anyOf") or of.get("oneOf"):
        return " or ".join(_kind(one) for one in alternatives if one.get("type") != "null")
    if of.get("type") == "array":
        return f"list of {_kind(of['items'])}"
    return "time" if of.get("format") == "date-time" else str(of.get("type", "JSON"))


def _default(of: Mapping[str, Any]) -> str:  # Any: JSON Schema
    default = of.get("default")
    return "" if default in (None, {}, [], "") else f"Default `{json.dumps(default).strip(chr(34))}`. "


def _in_code(default: object) -> str:
    if default in (None, ()):
        return ""
    return f"`{_in_table(str(default).lower() if isinstance(default, bool) else str(default))}`"


def _in_table(text: str) -> str:
    return text.replace("|", "\\|")


_DEFINITIONS = """\
# Workflow definitions

What can be written in a [workflow](workflows.md). The [JSON Schema](workflow.schema.json) says the same to an editor,
which then helps while one writes: in YAML, the first line may be

```yaml
# yaml-language-server: $schema=https://HOST/PATH/TO/workflow.schema.json
```

YAML is read as its version 1.2 has it: `no`, `12:30` and `2026-01-31` are texts, `true` and `12` are not. Anchors,
aliases and tags are refused. A definition has at most {steps} steps in {levels} levels, and 1 MiB.

This page is generated from `src/landbridge/workflows` by `make docs`.
"""

_EXPRESSIONS = """\
## References

`{{{{ }}}}` in a field that takes templates looks something up. It may stand anywhere in the field's value, in texts
within lists and objects too, but not in names. Nothing is ever calculated or called.

| written | leads to |
|---|---|
| `{{{{ steps.find.result.id }}}}` | a name in an object |
| `{{{{ trigger.event.files[0] }}}}`, `[-1]` | a place in a list, from its beginning or its end |
| `{{{{ item["@odata.etag"] }}}}` | a name of any characters, a backslash before `"` and `\\` |
| `{{{{ steps.find.result.owner?.name }}}}` | null, all of it, if there is no owner or it is null |
| `{{{{ "{{{{" }}}}` | the text in quotes: so are braces written |

A text that is exactly one reference becomes the value, of whatever type. Otherwise texts are joined: strings as they
are, null as nothing, all else as compact JSON. What is missing fails the step with `reference_failed`, which says what
there is instead; a `?` makes it null. A reference has at most {reference} characters, what is joined {text}.

| begins with | leads to |
|---|---|
| `trigger` | what started the workflow: `.request.headers`, `.body`, `.params`, `.file`; `.event`; `.scheduledAt` |
| `steps` | by id, what the steps before gave: those in the same list and in the lists around it. After a \
conditional also those in its branches, with `?` unless the other branch ends the workflow. Not those in a fan-out |
| `settings` | by id, what the user filled in; null if nothing was |
| `user` | `.id`, `.metadata`, and `.account`: `.id`, `.email`, `.name` of the connected account |
| `secrets` | by name, a secret of the project, in inputs of actions, in requests and in parameters of functions only |
| `item`, `index` | in a fan-out, the entry of its list and its place |
| `fanOut` | by id, `.item` and `.index` of each fan-out around |
| `run` | `.id` and `.startedAt` |
"""

_OPERATORS = """\
## Operators

`if` holds if all conditions of any group hold. A value that an operator cannot compare is a no, never an error. Texts:
numbers, true and false count as they are written, and capitals matter. Numbers: texts that are numbers count. Dates:
ISO 8601, in UTC without a zone, at midnight without a time. What a reference leads to must be there, except for the
operators that ask whether it is missing.

| operator | holds if *left* is |
|---|---|
"""


def definitions() -> str:
    """Return the page of everything that can be written in a workflow."""
    published = schema()
    things = {name: of for name, of in published["$defs"].items() if of.get("type") == "object"}
    triggers = [name for name in things if name.endswith("Trigger")]
    steps = [name for name in things if name.endswith("Step")]
    parts = [name for name in things if name not in {*triggers, *steps}]
    rows = (f"| `{name}` | {_in_table(rule.meaning)} |\n" for name, rule in OPERATORS.items())
    return "\n".join(
        [
            _DEFINITIONS.format(steps=MOST_STEPS, levels=MOST_LEVELS),
            f"## The workflow\n\n{_fields('field', published)}",
            "## Triggers\n",
            *(_thing(name, things[name]) for name in triggers),
            "## Steps\n",
            *(_thing(name, things[name]) for name in steps),
            "## Their parts\n",
            *(_thing(name, things[name]) for name in parts),
            _EXPRESSIONS.format(reference=f"{LONGEST_REFERENCE:,}", text=f"{LARGEST_TEXT:,}"),
            _OPERATORS + "".join(rows),
        ]
    )


def definition_schema() -> str:
    """Return the JSON Schema of definitions, for editors."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/api.md": management_api,
    "docs/reference/commands.md": commands,
    "docs/reference/errors.md": errors,
    "docs/reference/microsoft-errors.md": microsoft_errors,
    **{f"docs/reference/{manifest.type}-actions.md": partial(actions_of, manifest.type) for manifest in CATALOG},
    "docs/reference/settings.md": settings,
    "docs/reference/workflow-definitions.md": definitions,
    "docs/reference/workflow.schema.json": definition_schema,
}
"""Each generated page, and what writes it."""


def main() -> None:
    """Write every generated page."""
    for path, write in PAGES.items():
        (TREE / path).parent.mkdir(parents=True, exist_ok=True)
        (TREE / path).write_text(write(), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
