"""Definitions in and out of YAML and JSON, and what is said of those that are none."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from tests.unit.workflows.definitions import VALUES, WORKFLOWS

from landbridge.errors import InvalidRequest, TooLarge
from landbridge.workflows import notation
from landbridge.workflows.definition import (
    ActionStep,
    ConditionalStep,
    FanOutStep,
    IntegrationEnabledTrigger,
    StopStep,
    Workflow,
    schema,
)

REPORT = """\
format: 1
name: Nightly report
trigger:
  type: scheduler
  cron: 0 0 9 * * *
  timezone: Europe/Berlin
settings:
- id: folder
  type: text
  title: Which folder?
steps:
- id: list
  type: action
  action: list_files
  input:
    folderPath: '{{ settings.folder }}'
  onError:
  - id: gone
    type: stop
    outcome: failed
    message: '{{ steps.list.error.message }}'
- id: each
  type: fanOut
  over: '{{ steps.list.result.value }}'
  steps:
  - id: count
    type: function
    code: |
      def run(parameters):
          return parameters["size"] + 1
    parameters:
      size: '{{ item.size }}'
- id: tell
  type: conditional
  if:
  - - left: '{{ steps.each.results }}'
      operator: $arrayIsNotEmpty
  then:
  - id: call
    type: request
    method: POST
    url: https://example.com/report
    body:
      type: json
      value:
        sent: 'no'
        at: '12:30'
    auth:
      type: bearer
      token: '{{ secrets.TOKEN }}'
"""


def test_a_definition_reads_as_it_was_written() -> None:
    workflow = Workflow.from_yaml(REPORT)

    assert workflow.to_yaml() == REPORT
    assert [(step.id, [one.id for one in around]) for step, around in workflow.walk()] == [
        ("list", []),
        ("gone", ["list"]),
        ("each", []),
        ("count", ["each"]),
        ("tell", []),
        ("call", ["tell"]),
    ]


def test_the_same_definition_comes_from_python() -> None:
    workflow = Workflow(
        name="Hello",
        trigger=IntegrationEnabledTrigger(),
        steps=(ActionStep(id="make", action="create_folder", input={"name": "Hello"}, auto_retry=True),),
    )

    assert workflow == Workflow.from_yaml(
        "{name: Hello, trigger: {type: integrationEnabled}, "
        "steps: [{id: make, type: action, action: create_folder, input: {name: Hello}, autoRetry: true}]}"
    )


@given(WORKFLOWS)
def test_any_definition_survives_export_and_import(workflow: Workflow) -> None:
    as_json, as_yaml = workflow.to_json(), workflow.to_yaml()

    assert Workflow.from_json(as_json) == workflow
    assert Workflow.from_yaml(as_yaml) == workflow
    assert Workflow.from_json(as_json).to_json() == as_json  # 1, 1.0 and true are equal in Python, and not in JSON
    assert Workflow.from_yaml(as_yaml).to_json() == as_json


@given(VALUES)
def test_any_value_survives_yaml_with_its_type(value: Any) -> None:
    assert json.dumps(notation.read_yaml(notation.write_yaml(value))) == json.dumps(value)


@given(WORKFLOWS)
def test_the_published_schema_takes_every_definition(workflow: Workflow) -> None:
    assert list(_VALIDATOR.iter_errors(workflow.as_json())) == []


_VALIDATOR = Draft202012Validator(schema())


def test_the_published_schema_refuses_what_is_no_definition() -> None:
    assert not _VALIDATOR.is_valid({"name": "x"})
    assert not _VALIDATOR.is_valid({"name": "x", "trigger": {"type": "request"}, "steps": [{"id": "a"}]})
    assert not _VALIDATOR.is_valid({"name": "x", "trigger": {"type": "request"}, "steps": [{"id": "a", "type": "x"}]})


def test_the_published_schema_helps_with_every_field() -> None:
    published = schema()
    untold = [
        f"{name}.{field}"
        for name, of in [("Workflow", published), *published["$defs"].items()]
        for field, about in of.get("properties", {}).items()
        if field != "type" and not ("description" in about and ("title" in about or "$ref" in str(about)))
    ]

    assert untold == []
    assert all("description" in of for name, of in published["$defs"].items() if of.get("type") == "object")


@given(st.text(st.sampled_from("{}[]-:,&*!|>'\"#?% \nab1~\t\x00")) | st.binary(max_size=60))
def test_no_text_fails_otherwise_than_by_words(text: str | bytes) -> None:
    for read in (Workflow.from_yaml, Workflow.from_json):
        with pytest.raises(InvalidRequest):
            read(text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("  action: list_files\n", ""), "step “list”, action: this is missing."),
        (("type: fanOut", "type: fanout"), "step “each”: Input tag 'fanout' found using 'type' does not match"),
        (("- id: each\n  type: fanOut", "- id: each"), "step “each”: say which kind it is by `type`."),
        (("      value:", "      valu:"), "step “call”, body.valu: there is no such field here"),
        (("- id: tell", "- id: Tell"), "step “Tell”, id: String should match pattern"),
        (("- id: tell\n  type", "- type"), "steps[2], id: this is missing."),
        (("  cron: 0 0 9 * * *\n", ""), "trigger.cron: this is missing."),
        (("$arrayIsNotEmpty", "$arrayIsHungry"), "step “tell”, if[0][0].operator: Input should be '$stringContains'"),
        (("name: Nightly report\n", "name: Nightly report\nnome: x\n"), "nome: there is no such field here."),
        (("name: Nightly report", "name: a\nname: b"), "a name is there twice"),
        (("name: Nightly report", "name: *a"), "Anchors and aliases"),
        (("name: Nightly report", "name: &a b"), "Anchors and aliases"),
        (("name: Nightly report", "name: !!binary aaaa"), "Tags (`!`) are not understood"),
        (("name: Nightly report", "name: !!python/object/apply:os.system [x]"), "Tags (`!`) are not understood"),
        (("name: Nightly report", "1: 2"), "A name is a text: write “1” in quotes."),
        (("name: Nightly report", 'name: "\\0"'), "A text holds U+0000, which cannot be kept"),
        (("name: Nightly report", "name: [" + "[" * 200), "at most 100 deep"),
        (("  onError:", "  continueOnError: true\n  onError:"), "`continueOnError` and `onError` exclude each other"),
        (("format: 1", "format: 2"), "format: Input should be 1."),
    ],
)
def test_what_is_wrong_is_said_with_step_and_field(change: tuple[str, str], said: str) -> None:
    assert change[0] in REPORT

    with pytest.raises(InvalidRequest) as refused:
        Workflow.from_yaml(REPORT.replace(*change))

    assert said in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "at most 100 deep"),
        ('{"a": 1, "a": 2}', "“a” is there twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "A number is too large"),
        ('{"a": ' + "9" * 5000 + "}", "This is not JSON"),
        ('{"a": "\\ud800"}', "A text holds U+D800"),
        ("[]", "this is an object"),
        ("{", "This is not JSON"),
    ],
)
def test_what_is_no_json_for_us_is_said(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        Workflow.from_json(text)


def test_many_problems_are_not_all_listed() -> None:
    with pytest.raises(InvalidRequest, match=r"; and 12 more\.$"):
        Workflow.parse({"name": "x", "trigger": {"type": "request"}, "steps": [{"type": "stop"}] * 22})


def test_a_definition_has_a_largest_size() -> None:
    with pytest.raises(TooLarge):
        Workflow.from_yaml("# " + "ü" * (notation.LARGEST // 2))


def test_a_workflow_has_at_most_200_steps_and_10_levels() -> None:
    trigger = IntegrationEnabledTrigger()
    nested: tuple[Any, ...] = (StopStep(id="end"),)
    for level in range(9):
        nested = (FanOutStep(id=f"level{level}", over=[], steps=nested),)
    Workflow(name="deep", trigger=trigger, steps=nested)
    many = tuple(StopStep(id=f"s{number}") for number in range(200))
    Workflow(name="long", trigger=trigger, steps=many)

    with pytest.raises(ValueError, match="deeper than 10 levels"):
        Workflow(name="deep", trigger=trigger, steps=(ConditionalStep(id="top", if_=(), then=nested),))
    with pytest.raises(InvalidRequest, match="at most 200 steps"):
        Workflow.parse(
            {
                "name": "long",
                "trigger": {"type": "request"},
                "steps": [{"type": "stop", "id": f"s{number}"} for number in range(201)],
            }
        )
