"""What is told before a workflow runs, and that nothing is told that is not so."""

import textwrap
from types import MappingProxyType
from typing import Any, Final

import pytest
from hypothesis import given
from pydantic import JsonValue
from tests.unit.workflows.definitions import WORKFLOWS

from landbridge.integrations.onedrive import actions as onedrive
from landbridge.kit import Actions
from landbridge.workflows.checking import Facts, Problem, check
from landbridge.workflows.checking.shapes import Impossible, Shape
from landbridge.workflows.definition import Workflow

STRICT: Final[JsonValue] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "files": {"type": "array", "items": {"$ref": "#/$defs/file"}},
        "owner": {"anyOf": [{"type": "object", "properties": {"id": {"type": "string"}}}, {"type": "null"}]},
    },
    "additionalProperties": False,
    "$defs": {"file": {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": False}},
}


def _other(name: str, runs: str | None = None) -> Workflow:
    steps = [{"id": "run", "type": "runWorkflow", "workflow": runs}] if runs else []
    return Workflow.parse({"name": name, "trigger": {"type": "request"}, "steps": steps})


FACTS = Facts(
    actions=Actions(MappingProxyType({"onedrive": onedrive})),
    secrets={"API_KEY"},
    events=MappingProxyType({"strict": STRICT, "hinted": {"type": "order", "properties": "many"}, "open": None}),
    workflows=MappingProxyType({"other": _other("Other"), "back": _other("Back", "own"), "self": _other("S", "self")}),
    workflow_id="own",
)


def _check(steps: str, trigger: str = "{type: request}", more: str = "") -> list[Problem]:
    text = f"name: Test\ntrigger: {trigger}\n{more}\nsteps:\n{textwrap.dedent(steps)}"
    return check(Workflow.from_yaml(text), FACTS)


GOOD = """\
- {id: list, type: action, action: list_files, input: {folderPath: "{{ settings.folder }}", limit: 5}, autoRetry: true}
- id: each
  type: fanOut
  over: "{{ steps.list.result.value }}"
  result: "{{ steps.get.result.name }}"
  steps:
  - {id: get, type: action, action: get_file, input: {fileId: "{{ item.id }}", driveId: "{{ item.cTag }}"}}
  - id: inner
    type: fanOut
    over: [1, 2]
    steps:
    - id: both
      type: function
      code: "async def run(parameters): return 1"
      parameters: {a: "{{ fanOut.each.item.id }}{{ index }}"}
- id: choose
  type: conditional
  if: [[{left: "{{ steps.each.results[0] }}", operator: $stringStartsWith, right: a}]]
  then: [{id: stop, type: stop, message: "{{ steps.choose.selectedChoice }} {{ run.id }}"}]
  else: [{id: call, type: request, url: "https://{{ user.metadata.host }}/", headers: {Key: "{{ secrets.API_KEY }}"}}]
- {id: save, type: action, action: save_file, input: {file: "{{ steps.call.response.body }}", name: a.txt}}
- id: risky
  type: action
  action: get_drive
  onError:
  - {id: note, type: delay, value: "{{ steps.call.response.statusCode }}"}
  - {id: out, type: stop, message: "{{ steps.risky.error.code }}"}
- {id: lax, type: action, action: list_drives, continueOnError: true}
- id: run
  type: runWorkflow
  workflow: other
  input: {a: "{{ steps.risky.result.driveType }}{{ steps.lax.error?.message }}"}
- id: answer
  type: response
  headers: {A: "{{ user.account.email }}"}
  body: "{{ steps.note? }}{{ trigger.request.body.a.b }}{{ steps.run.result.c }}"
"""


def test_what_can_work_has_no_problem() -> None:
    assert [str(problem) for problem in _check(GOOD, more="settings: [{id: folder, title: Folder}]")] == []


@pytest.mark.parametrize(
    ("step", "field", "said"),
    [
        ("type: action, action: list_fils", "action", "onedrive has no action “list_fils”. Did you mean `list_files`?"),
        ("type: action, integration: x, action: y", "integration", "no integration “x”. There is: `onedrive`."),
        ("type: action, action: rename_item, input: {itemId: a}", "input.name", "Rename Item needs this."),
        ("type: action, action: list_files, input: {limt: 1}", "input.limt", "Did you mean `limit`?"),
        ("type: action, action: list_files, input: {limit: many}", "input.limit", "should be a valid integer"),
        ("type: action, action: list_files, input: {folderId: a, folderPath: b}", "input", "not both"),
        ("type: action, action: list_files, input: {folderId: '{{ index }}'}", "input.folderId", "`index` is known"),
        (
            "type: action, action: list_files, input: {folderId: '{{ steps.f.result }}'}",
            "input.folderId",
            "no step “f”",
        ),
        ("type: action, action: save_file, input: {file: '{{ run.id }}'}", "input.file", "This leads to a text"),
        ("type: request, url: example.com", "url", "begin with https://"),
        ("type: request, url: 'ftp://example.com'", "url", "begin with https://"),
        ("type: request, url: 'https://x/{{ secrets.API_KYE }}'", "url", "Did you mean `API_KEY`?"),
        ("type: request, url: 'https://x/{{ secrets }}'", "url", "write `secrets.` and its name"),
        ("type: request, url: '{{ trigger.request }}'", "url", "This leads to an object, and a text is needed"),
        ("type: request, url: 'https://x', params: {'{{ run.id }}': 1}", "params", "templates lie in values only"),
        (
            "type: request, url: 'https://x', body: {type: json, value: {a: ['{{ nope }}']}}",
            "body.value.a[0]",
            "`nope`",
        ),
        ("type: function, code: 'def run(p): return ('", "code", "Line 1 is no Python"),
        ("type: function, code: 'def go(p): return 1'", "code", "define `def run(parameters):`"),
        ("type: function, code: 'def run(p): pass', parameters: {a: '{{ a b }}'}", "parameters.a", "cannot be read"),
        ("type: conditional, if: []", "if", "There is no condition"),
        ("type: conditional, if: [[]]", "if[0]", "A group without conditions always holds"),
        ("type: conditional, if: [[{left: a, operator: $stringContains}]]", "if[0][0].right", "fill it in"),
        ("type: conditional, if: [[{left: a, operator: $exists, right: 1}]]", "if[0][0].right", "leave it out"),
        ("type: conditional, if: [[{left: 1, operator: $numberEquals, right: x}]]", "if[0][0].right", "not a number"),
        (
            "type: conditional, if: [[{left: '{{ user }}', operator: $booleanTrue}]]",
            "if[0][0].left",
            "leads to an object",
        ),
        (
            "type: conditional, if: [[{left: '{{ secrets.API_KEY }}', operator: $exists}]]",
            "if[0][0].left",
            "may not be",
        ),
        ("type: fanOut, over: '{{ run.id }}'", "over", "This leads to a text, and a list is needed"),
        (
            "type: fanOut, over: 'a {{ trigger.request.body }}'",
            "over",
            "one reference to a list, and nothing around it",
        ),
        ("type: fanOut, over: 7", "over", "one reference to a list"),
        ("type: fanOut, over: [1], result: '{{ steps.step.results }}'", "result", "cannot use what it gives itself"),
        ("type: delay, value: -1", "value", "A delay is a number"),
        ("type: delay, value: soon", "value", "A delay is a number"),
        ("type: delay, value: '{{ user.metadata }}'", "value", "leads to an object, and a number is needed"),
        ("type: response, responseType: FILE", "file", "This is missing"),
        ("type: response, responseType: FILE, file: 'x {{ run.id }}'", "file", "nothing around it"),
        ("type: response, responseType: FILE, file: '{{ run.id }}'", "file", "leads to a text, and a File is needed"),
        ("type: response, file: '{{ trigger.request.file }}'", "file", "let `responseType` be FILE"),
        ("type: response, body: '{{ secrets.API_KEY }}'", "body", "a secret may not be here"),
        ("type: stop, message: '{{ trigger.event.name }}'", "message", "no `event` in `trigger`. There is: `request`."),
        ("type: stop, message: '{{ trigger.request.bdoy }}'", "message", "Did you mean `body`?"),
        ("type: stop, message: '{{ settings.folder }}'", "message", "no `folder` in `settings`. There is nothing."),
        ("type: stop, message: '{{ user.mail }}'", "message", "no `mail` in `user`"),
        ("type: stop, message: '{{ user.id.name }}'", "message", "`user.id` is a text"),
        ("type: stop, message: '{{ run.startedAt[0] }}'", "message", "`run.startedAt` is a text"),
        ("type: stop, message: '{{ item }}'", "message", "known inside a fan-out only"),
        ("type: stop, message: '{{ step.find }}'", "message", "Did you mean `steps`?"),
        ("type: stop, message: '{{ steps }}'", "message", "say which step"),
        ("type: stop, message: '{{ steps.step.result }}'", "message", "a step cannot use what it gives itself"),
        (
            "type: runWorkflow, workflow: othr",
            "workflow",
            "No deployed workflow has the id “othr”. Did you mean `other`?",
        ),
        ("type: runWorkflow, workflow: own", "workflow", "each other for ever: “own” → “own”"),
        ("type: runWorkflow, workflow: back", "workflow", "each other for ever: “Back” → “own”"),
        ("type: runWorkflow, workflow: self", "workflow", "each other for ever: “S” → “S”"),
        ("type: runWorkflow, workflow: other, input: {a: '{{ secrets.API_KEY }}'}", "input.a", "may not be here"),
    ],
)
def test_a_problem_names_step_and_field_and_says_what_to_do(step: str, field: str, said: str) -> None:
    found = _check(f"- {{id: step, {step}}}")

    assert [(problem.step, problem.field) for problem in found] == [("step", field)]
    assert said in found[0].message
    assert str(found[0]).startswith(f"step “step”, {field}: ")


@pytest.mark.parametrize(
    ("steps", "path", "said"),
    [
        (
            """
            - {id: early, type: stop, outcome: failed, message: "{{ steps.late.result }}"}
            - {id: late, type: delay, value: 1}
            """,
            "steps.late.result",
            "“late” has not run when this step does",
        ),
        (
            """
            - {id: each, type: fanOut, over: [1], steps: [{id: inner, type: delay, value: 1}]}
            - {id: end, type: stop, message: "{{ steps.inner }}"}
            """,
            "steps.inner",
            "“inner” runs once for each entry of “each”: use `steps.each.results`",
        ),
        (
            """
            - id: choose
              type: conditional
              if: [[{operator: $none}]]
              then: [{id: one, type: action, action: list_drives}]
              else: [{id: two, type: delay, value: "{{ steps.one.result }}"}]
            """,
            "steps.one.result",
            "or in another branch",
        ),
        (
            """
            - id: choose
              type: conditional
              if: [[{operator: $none}]]
              then: [{id: one, type: function, code: "run = 1"}]
            - {id: end, type: stop, message: "{{ steps.one.result }} {{ steps.one?.result }}"}
            """,
            "steps.one.result",
            "Write `steps.one?`",
        ),
        (
            """
            - {id: list, type: action, action: list_files}
            - {id: end, type: stop, message: "{{ steps.list.reslt }}"}
            """,
            "steps.list.reslt",
            "Did you mean `result`?",
        ),
        (
            """
            - {id: list, type: action, action: list_files}
            - {id: end, type: stop, message: "{{ steps.list.result.value.name }}"}
            """,
            "steps.list.result.value.name",
            "`steps.list.result.value` is a list, so nothing is to be looked up in it by 'name'. Take an entry",
        ),
        (
            """
            - {id: list, type: action, action: list_files}
            - {id: end, type: stop, message: "{{ steps.list.error.message }}"}
            """,
            "steps.list.error.message",
            "no `error` in `steps.list`",
        ),
        (
            """
            - id: list
              type: action
              action: list_files
              onError: [{id: end, type: stop, message: "{{ steps.list.result }}"}]
            """,
            "steps.list.result",
            "There is: `error`.",
        ),
        (
            """
            - {id: list, type: action, action: list_files}
            - {id: all, type: fanOut, over: "{{ steps.list.result.value }}", result: "{{ item.size.x }}"}
            """,
            "item.size.x",
            "`item.size` is a number or null, so",
        ),
        (
            """
            - {id: no, type: runWorkflow, workflow: other, wait: false}
            - {id: end, type: stop, message: "{{ steps.no.result }}"}
            """,
            "steps.no.result",
            "no `result` in `steps.no`",
        ),
    ],
)
def test_a_reference_that_cannot_lead_anywhere_is_told(steps: str, path: str, said: str) -> None:
    found = _check(steps)

    assert [problem.path for problem in found if problem.path] == [path]
    assert said in next(problem.message for problem in found if problem.path)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("trigger.event.nam", "Did you mean `name`?"),
        ("trigger.event.files[0].size", "no `size` in `trigger.event.files[0]`"),
        ("trigger.event.name[0]", "is a text"),
        ("trigger.event.owner.id.x", "is a text"),
        ("trigger.event.owner.else", None),
        ("trigger.event.owner?.id", None),
        ("trigger.event.files[7].id", None),
        ("trigger.request.body", "no `request` in `trigger`"),
    ],
)
def test_an_events_schema_says_what_it_cannot_bring(reference: str, said: str | None) -> None:
    found = _check(f"- {{id: end, type: stop, message: '{{{{ {reference} }}}}'}}", "{type: appEvent, event: strict}")

    assert [problem.path for problem in found] == ([reference] if said else [])
    assert all(said in problem.message for problem in found if said)


@pytest.mark.parametrize("event", ["hinted", "open"])
def test_an_example_says_nothing_of_what_other_events_bring(event: str) -> None:
    assert (
        _check("- {id: e, type: stop, message: '{{ trigger.event.a[0] }}'}", f"{{type: appEvent, event: {event}}}")
        == []
    )


@pytest.mark.parametrize(
    ("trigger", "more", "field", "said"),
    [
        ("{type: appEvent, event: strct}", "", "trigger.event", "Did you mean `strict`?"),
        ("{type: scheduler, cron: '0 9 * * *', timezone: '{{ settings.a }}'}", "", "trigger.timezone", "Only the user"),
        ("{type: scheduler, cron: '0 9 * * *', timezone: '{{ a b'}", "", "trigger.timezone", "cannot be read"),
        (
            "{type: request}",
            "settings: [{id: a, title: A}, {id: a, title: B}]",
            "settings",
            "2 settings have the id “a”",
        ),
        ("{type: request}", "settings: [{id: a, title: A, type: choice}]", "settings.a", "nothing to choose from"),
        (
            "{type: request}",
            "settings: [{id: a, title: A, choices: [x], default: y}]",
            "settings.a",
            "none of the choices",
        ),
        ("{type: request}", "integration: onedriv", "integration", "Did you mean `onedrive`?"),
    ],
)
def test_a_problem_of_the_workflow_itself_names_its_field(trigger: str, more: str, field: str, said: str) -> None:
    (found,) = _check("- {id: step, type: stop}", trigger, more)

    assert (found.step, found.field) == ("", field)
    assert said in found.message
    assert str(found) == f"{field}: {found.message}"


def test_what_comes_after_the_end_is_told() -> None:
    found = _check(
        """
        - id: choose
          type: conditional
          if: [[{operator: $none}]]
          then: [{id: a, type: stop}]
          else: [{id: b, type: stop}, {id: c, type: delay, value: 1}]
        - {id: d, type: delay, value: 1}
        """
    )

    assert [(problem.step, problem.message.partition(".")[0]) for problem in found] == [
        ("c", "The workflow has always ended at “b”"),
        ("d", "The workflow has always ended at “choose”"),
    ]


def test_a_response_is_for_requests_and_given_once() -> None:
    (nobody,) = _check("- {id: a, type: response}", "{type: integrationEnabled}")
    (often,) = _check("- {id: a, type: fanOut, over: [1], steps: [{id: b, type: response}]}")

    assert "only a workflow with a request trigger" in nobody.message
    assert (often.step, often.message.partition(",")[0]) == ("b", "A request is answered once")


def test_each_step_has_an_id_of_its_own() -> None:
    found = _check(
        "- {id: a, type: delay, value: 1}\n- {id: a, type: delay, value: 2}\n- {id: b, type: delay, value: 3}"
    )

    assert [problem.as_json() for problem in found] == [
        {"step": "a", "field": "id", "path": "", "message": "2 steps have this id: give each its own."}
    ]


@given(WORKFLOWS)
def test_any_definition_can_be_checked(workflow: Workflow) -> None:
    ids = {step.id for step, _ in workflow.walk()} | {""}

    for problem in check(workflow, FACTS):
        assert problem.step in ids
        assert problem.message
        assert problem.message[-1] in ".?…"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"anyOf": [{"type": 5}] * 200},
        {"type": ["object", 5]},
        {"type": "object", "properties": 5, "items": 5},
        {"allOf": [{"properties": {"name": {}}}], "additionalProperties": False},
        {"type": "object", "patternProperties": {".": {}}, "additionalProperties": False},
        {"type": "array", "prefixItems": [{}], "items": {}},
        True,
        None,
        "text",
    ],
)
def test_a_strange_schema_makes_nothing_certain(schema: Any) -> None:
    shape = Shape.of(schema)
    segment = 0 if isinstance(schema, dict) and schema.get("type") == "array" else "name"

    assert shape.inside(segment, "it").kinds() is None


def test_a_schema_that_nothing_fits_is_certain() -> None:
    with pytest.raises(Impossible, match="`it` is nothing"):
        Shape.of(False).inside("name", "it")
