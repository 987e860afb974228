"""What can be wrong with a workflow's trigger and settings, and with each kind of step, apart from its references."""

import ast
import math
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Set
from typing import Any
from urllib.parse import urlsplit

from pydantic import JsonValue

from landbridge.errors import InvalidRequest
from landbridge.workflows.checking.inputs import of_input
from landbridge.workflows.checking.problems import Facts, Problem
from landbridge.workflows.checking.scopes import Scope, lone_shape
from landbridge.workflows.checking.shapes import AN_OBJECT, TEXT, Shape, in_words
from landbridge.workflows.conditions import OPERATORS, Conditions, Operand
from landbridge.workflows.definition import (
    ActionStep,
    AppEventTrigger,
    ConditionalStep,
    ConnectionAuth,
    DelayStep,
    FanOutStep,
    FunctionStep,
    RequestStep,
    RequestTrigger,
    ResponseStep,
    RunWorkflowStep,
    SchedulerTrigger,
    Setting,
    Step,
    Workflow,
)
from landbridge.workflows.expressions import instead, lone_reference, references, texts

_SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})
_OF_THE_USER = Scope({"user": Shape.closed({"id": TEXT, "metadata": AN_OBJECT})})
_MUST_BE_SCALAR = ("url", "headers", "auth", "body.text", "body.query", "body.contentType")


def of_workflow(workflow: Workflow, facts: Facts) -> Iterator[Problem]:
    """Yield what is wrong with a workflow as a whole."""
    yield from _of_trigger(workflow, facts)
    for id_, count in Counter(setting.id for setting in workflow.settings).items():
        if count > 1:
            yield Problem("", "settings", "", f"{count} settings have the id “{id_}”: give each its own.")
    for setting in workflow.settings:
        yield from _of_setting(setting)
    for id_, count in Counter(step.id for step, _ in workflow.walk()).items():
        if count > 1:
            yield Problem(id_, "id", "", f"{count} steps have this id: give each its own.")
    if workflow.integration not in (known := {name for name, _ in facts.actions}):
        said = f"There is no integration “{workflow.integration[:64]}”. {instead(workflow.integration, sorted(known))}"
        yield Problem("", "integration", "", said)


def of_step(step: Step, scope: Scope, workflow: Workflow, facts: Facts) -> Iterator[Problem]:
    """Yield what is wrong with a step, given what it sees."""
    match step:
        case ActionStep():
            yield from _of_action(step, scope, workflow, facts)
        case RequestStep():
            yield from _of_request(step, scope)
        case FunctionStep():
            yield from _of_code(step)
        case ConditionalStep():
            if not step.if_:
                said = "There is no condition, so it is always a no: add one, or delete the step."
                yield Problem(step.id, "if", "", said)
            yield from _of_conditions(step.id, "if", step.if_, scope)
        case FanOutStep():
            yield from _of_list(step, scope)
        case DelayStep():
            yield from _of_delay(step, scope)
        case ResponseStep():
            yield from _of_response(step, scope, workflow)
        case RunWorkflowStep():
            yield from _of_other_workflow(step, workflow, facts)


def of_permissions(permissions: Conditions) -> Iterator[Problem]:
    """Yield what is wrong with the conditions on who may see and run a workflow."""
    yield from _of_conditions("", "permissions", permissions, _OF_THE_USER)
    written: list[JsonValue] = [[condition.model_dump(mode="json") for condition in group] for group in permissions]
    for place, text in texts(written, "permissions"):
        yield from _of_user(place, text, {"id", "metadata"}, "")


def _of_trigger(workflow: Workflow, facts: Facts) -> Iterator[Problem]:
    match workflow.trigger:
        case AppEventTrigger(event=event) if event not in facts.events:
            said = f"The project has no app event “{event[:64]}”. {instead(event, facts.events)} Or add it there."
            yield Problem("", "trigger.event", "", said)
        case SchedulerTrigger(timezone=timezone):
            yield from _of_user("trigger.timezone", timezone, {"metadata"}, ", or a name as Europe/Berlin")


def _of_user(place: str, text: str, known: Set[str], instead_: str) -> Iterator[Problem]:
    """Yield what is wrong with a text that is looked at before there is a run, when only the user is known."""
    try:
        found = references(text)
    except InvalidRequest as error:
        yield Problem("", place, "", error.message)
        return
    for reference in found:
        if reference.root != "user" or not {str(name) for name in reference.segments[:1]} & known:
            said = f"Only the user is known here: write `{{{{ user.metadata.NAME }}}}`{instead_}."
            yield Problem("", place, str(reference), said)


def _of_setting(setting: Setting) -> Iterator[Problem]:
    place = f"settings.{setting.id}"
    if setting.type == "choice" and not setting.choices:
        yield Problem("", place, "", "There is nothing to choose from: fill in `choices`, or take another type.")
    if setting.choices and setting.default is not None and setting.default not in setting.choices:
        yield Problem("", place, "", f"The default is none of the choices. {instead(setting.default, setting.choices)}")


def _of_action(step: ActionStep, scope: Scope, workflow: Workflow, facts: Facts) -> Iterator[Problem]:
    name = step.integration or workflow.integration
    actions = {action.name: action for action in facts.actions.of(name)}
    if not actions:
        if step.integration:
            known = instead(name, sorted({integration for integration, _ in facts.actions}))
            yield Problem(step.id, "integration", "", f"There is no integration “{name[:64]}”. {known}")
        return
    if step.action not in actions:
        said = f"{name} has no action “{step.action[:64]}”. {instead(step.action, actions)}"
        yield Problem(step.id, "action", "", said)
        return
    yield from of_input(step, actions[step.action], scope)


def _of_request(step: RequestStep, scope: Scope) -> Iterator[Problem]:
    is_literal = "{{" not in step.url
    try:
        url = urlsplit(step.url)
        is_whole = url.scheme in {"http", "https"} and bool(url.hostname)
    except ValueError:
        is_whole = False
    if is_literal and not is_whole and not isinstance(step.auth, ConnectionAuth):
        said = "This is no whole URL: begin with https://, or let `auth` be `connection` to call the integration's API."
        yield Problem(step.id, "url", "", said)
    for field, template in step.templates().items():
        for place, text in texts(template, field):
            if place.startswith(_MUST_BE_SCALAR):
                yield from _must_be(step.id, place, text, scope, _SCALARS, "a text")


def _of_code(step: FunctionStep) -> Iterator[Problem]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(step.code)
    except SyntaxError as error:
        said = f"Line {error.lineno or 1} is no Python: {error.msg}. Correct it."
        yield Problem(step.id, "code", "", said)
    except (ValueError, RecursionError, MemoryError):
        yield Problem(step.id, "code", "", "This is nested too deeply to be read: write it in more statements.")
    else:
        if not any(_binds_run(statement) for statement in tree.body):
            yield Problem(step.id, "code", "", "Nothing here is called: define `def run(parameters):`.")


def _binds_run(statement: ast.stmt) -> bool:
    """Return whether a statement may define `run`; one that holds others may, whatever they are."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return statement.name == "run"
    return not isinstance(statement, ast.Expr | ast.Pass | ast.Import) and "run" in ast.dump(statement)


def _of_conditions(step: str, field: str, conditions: Conditions, scope: Scope) -> Iterator[Problem]:
    for i, group in enumerate(conditions):
        if not group:
            yield Problem(step, f"{field}[{i}]", "", "A group without conditions always holds: add one, or delete it.")
        for j, condition in enumerate(group):
            rule, place = OPERATORS[condition.operator], f"{field}[{i}][{j}]"
            yield from _of_operand(step, f"{place}.left", condition.left, rule.left, scope)
            if rule.takes_right and condition.right is None:
                said = f"{condition.operator} compares with something: fill it in, or ask `$doesNotExist` for null."
                yield Problem(step, f"{place}.right", "", said)
            elif rule.takes_right:
                yield from _of_operand(step, f"{place}.right", condition.right, rule.right, scope)
            elif condition.right is not None:
                said = f"{condition.operator} compares with nothing: leave it out, or take another operator."
                yield Problem(step, f"{place}.right", "", said)


def _of_operand(
    step: str, place: str, template: JsonValue, operand: Operand[Any] | None, scope: Scope
) -> Iterator[Problem]:
    """Yield a problem if an operand certainly cannot be compared, so that the answer is always the same."""
    if operand is None:
        return
    is_literal = not any("{{" in text for _, text in texts(template))
    if is_literal and operand.read(template) is None:
        yield Problem(step, place, "", f"This is not {operand.words}: correct it, or take another operator.")
    yield from _must_be(step, place, template, scope, operand.kinds, operand.words)


def _of_list(step: FanOutStep, scope: Scope) -> Iterator[Problem]:
    is_text = isinstance(step.over, str) and not _is_lone(step.over)
    if is_text or not isinstance(step.over, str | list):
        said = "A fan-out runs over a list: write one reference to a list, and nothing around it, or a list."
        yield Problem(step.id, "over", "", said)
    yield from _must_be(step.id, "over", step.over, scope, {"array"}, "a list")


def _of_delay(step: DelayStep, scope: Scope) -> Iterator[Problem]:
    if not isinstance(step.value, str) or "{{" not in step.value:
        try:
            number = float(step.value)
        except (ValueError, OverflowError):
            number = math.nan
        if not 0 <= number < math.inf:
            yield Problem(step.id, "value", "", "A delay is a number, 0 or more, or one reference to one: correct it.")
    yield from _must_be(step.id, "value", step.value, scope, {"number", "integer", "string"}, "a number")


def _of_response(step: ResponseStep, scope: Scope, workflow: Workflow) -> Iterator[Problem]:
    if not isinstance(workflow.trigger, RequestTrigger):
        said = "Nobody waits for an answer: only a workflow with a request trigger can give one. Delete the step."
        yield Problem(step.id, "type", "", said)
    if scope.items:
        said = "A request is answered once, and a fan-out runs this for each entry: move it out of the fan-out."
        yield Problem(step.id, "type", "", said)
    if step.response_type == "FILE" and step.file is None:
        yield Problem(step.id, "file", "", "This is missing: refer to a File that a step gave.")
    elif step.response_type == "FILE" and not _is_lone(step.file):
        yield Problem(step.id, "file", "", "Write one reference to a File that a step gave, and nothing around it.")
    elif step.response_type == "JSON" and step.file is not None:
        yield Problem(step.id, "file", "", "A JSON answer holds no file: let `responseType` be FILE, or delete this.")
    yield from _must_be(step.id, "file", step.file, scope, {"object"}, "a File")


def _of_other_workflow(step: RunWorkflowStep, workflow: Workflow, facts: Facts) -> Iterator[Problem]:
    if step.workflow not in facts.workflows and step.workflow != facts.workflow_id:
        said = f"No deployed workflow has the id “{step.workflow[:64]}”. {instead(step.workflow, facts.workflows)}"
        yield Problem(step.id, "workflow", "", f"{said} Or deploy it first.")
    elif circle := _circle(step.workflow, workflow, facts):
        said = " → ".join(f"“{facts.workflows[id_].name if id_ in facts.workflows else id_}”" for id_ in circle)
        yield Problem(step.id, "workflow", "", f"The workflows would run each other for ever: {said}. Take one out.")


def _circle(begin: str, workflow: Workflow, facts: Facts) -> list[str] | None:
    """Return the way from a workflow back to this one, or to itself, if there is one."""
    came_from: dict[str, str] = {}
    pending = deque([begin])
    goals = {begin, facts.workflow_id}
    if begin == facts.workflow_id:
        return [begin, begin]
    while pending:
        at = pending.popleft()
        for next_ in _runs(workflow if at == facts.workflow_id else facts.workflows.get(at)):
            if next_ in goals:
                return [*_way(came_from, at, begin), next_]
            if next_ not in came_from:
                came_from[next_] = at
                pending.append(next_)
    return None


def _way(came_from: dict[str, str], end: str, begin: str) -> list[str]:
    way = [end]
    while way[0] != begin:
        way.insert(0, came_from[way[0]])
    return way


def _runs(workflow: Workflow | None) -> list[str]:
    steps = workflow.walk() if workflow else ()
    return [step.workflow for step, _ in steps if isinstance(step, RunWorkflowStep)]


def _must_be(
    step: str, place: str, template: JsonValue, scope: Scope, kinds: Set[str], words: str
) -> Iterator[Problem]:
    """Yield a problem if a lone reference certainly leads to something of another kind."""
    shape = lone_shape(template, scope)
    if shape is not None and not shape.may_be(kinds):
        found = in_words(shape.kinds() or frozenset())
        said = f"This leads to {found}, and {words} is needed: refer to one, or make one with a Function step."
        yield Problem(step, place, str(lone_reference(template)), said)


def _is_lone(template: JsonValue) -> bool:
    try:
        return lone_reference(template) is not None
    except InvalidRequest:
        return True  # its own problem
