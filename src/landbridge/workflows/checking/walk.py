"""Goes through a workflow as it would run, and looks at each step with what it sees."""

from collections.abc import Iterator

from pydantic import JsonValue

from landbridge.errors import InvalidRequest
from landbridge.workflows.checking.details import of_step, of_workflow
from landbridge.workflows.checking.problems import Facts, Problem
from landbridge.workflows.checking.scopes import FAILED, Scope, either, output_of
from landbridge.workflows.checking.shapes import Impossible
from landbridge.workflows.definition import (
    ActionStep,
    ConditionalStep,
    FanOutStep,
    FunctionStep,
    RequestStep,
    RunWorkflowStep,
    Step,
    StopStep,
    Workflow,
)
from landbridge.workflows.expressions import Reference, instead, parse, texts

EffectStep = ActionStep | RequestStep | FunctionStep | RunWorkflowStep


class Walk:
    """One look through a workflow. `problems` is what was found so far."""

    def __init__(self, workflow: Workflow, facts: Facts) -> None:
        self.problems: list[Problem] = []
        self._workflow = workflow
        self._facts = facts
        self._around = {step.id: around for step, around in workflow.walk()}

    def to_the_end(self) -> list[Problem]:
        """Return all problems: the workflow's own, then those of the steps, in their order."""
        self.problems += of_workflow(self._workflow, self._facts)
        self._list(self._workflow.steps, Scope.at_the_beginning(self._workflow, self._facts))
        return self.problems

    def _list(self, steps: tuple[Step, ...], scope: Scope) -> tuple[Scope, bool]:
        """Return what is seen after these steps, and whether they surely end the workflow."""
        ended_by = ""
        for step in steps:
            if ended_by:
                said = f"The workflow has always ended at “{ended_by}”. Move this step before it, or delete it."
                self._add(step, "", "", said)
            self._step(step, scope)
            scope, ends = self._after(step, scope)
            ended_by = ended_by or (step.id if ends else "")
        return scope, bool(ended_by)

    def _step(self, step: Step, scope: Scope) -> None:
        for field, template in step.templates().items():
            if not (isinstance(step, FanOutStep) and field == "result"):
                self._template(step, field, template, scope)
        self.problems += of_step(step, scope, self._workflow, self._facts)

    def _after(self, step: Step, scope: Scope) -> tuple[Scope, bool]:
        output = output_of(step, self._workflow, self._facts.actions)
        match step:
            case ConditionalStep():
                return self._after_conditional(step, scope.after(step, output))
            case ActionStep() | RequestStep() | FunctionStep() | RunWorkflowStep():
                return self._after_effect(step, scope), False
            case FanOutStep():
                inner, _ = self._list(step.steps, scope.within(step))
                self._template(step, "result", step.result, inner)
        return scope.after(step, output), isinstance(step, StopStep)

    def _after_conditional(self, step: ConditionalStep, scope: Scope) -> tuple[Scope, bool]:
        """Join the two ways again. The steps of one have certainly run if the other never gets here."""
        then, then_ends = self._list(step.then, scope)
        other, other_ends = self._list(step.else_, scope)
        joined = scope.beside(then, certain=other_ends).beside(other, certain=then_ends)
        return joined, then_ends and other_ends

    def _after_effect(self, step: EffectStep, scope: Scope) -> Scope:
        output = output_of(step, self._workflow, self._facts.actions)
        if step.on_error is None:
            return scope.after(step, either(output, FAILED) if step.continue_on_error else output)
        branch, ends = self._list(step.on_error, scope.after(step, FAILED))
        return scope.after(step, output if ends else either(output, FAILED)).beside(branch, certain=False)

    def _template(self, step: Step, field: str, template: JsonValue, scope: Scope) -> None:
        for place, text in texts(template, field):
            try:
                parts = parse(text)
            except InvalidRequest as error:
                self._add(step, place, "", error.message)
                continue
            for part in parts:
                if isinstance(part, Reference) and (said := self._wrong(step, part, scope)):
                    self._add(step, place, str(part), f"`{part}`: {said}")
        for name in _names(template):
            if "{{" in name:
                said = f"“{name[:64]}” is a name, and templates lie in values only: move it into a value."
                self._add(step, field, "", said)

    def _wrong(self, step: Step, reference: Reference, scope: Scope) -> str | None:
        """Return what is certainly wrong with a reference, and what to do."""
        if reference.root == "secrets":
            return self._wrong_secret(step, reference)
        if reference.root == "steps" and (said := self._wrong_step(step, reference, scope)):
            return said
        try:
            scope.shape(reference)
        except Impossible as error:
            return str(error)
        return None

    def _wrong_secret(self, step: Step, reference: Reference) -> str | None:
        if not step.MAY_HOLD_SECRETS:
            return (
                "a secret may not be here, since people read what this becomes. Secrets go into requests, the inputs "
                "of actions, and the parameters of functions."
            )
        if len(reference.segments) != 1:
            return "a secret is one text: write `secrets.` and its name, and nothing after it."
        if reference.segments[0] not in self._facts.secrets:
            known = instead(reference.segments[0], sorted(self._facts.secrets))
            return f"the project has no such secret. {known} Or add it to the project."
        return None

    def _wrong_step(self, step: Step, reference: Reference, scope: Scope) -> str | None:
        name = reference.segments[0] if reference.segments else ""
        if not name:
            return "say which step: `steps.` and its id."
        if known := scope.steps.get(str(name)):
            if known.certain or reference.optional[0]:
                return None
            return f"“{name}” is in a branch that is not always taken. Write `steps.{name}?`: all of it is null then."
        return self._why_unseen(step, str(name), scope)

    def _why_unseen(self, step: Step, name: str, scope: Scope) -> str:
        if name not in self._around:
            return f"there is no step “{name[:64]}”. {instead(name, scope.steps)}"
        if name == step.id:
            return "a step cannot use what it gives itself."
        own = {one.id for one in self._around[step.id]}
        outside = [one.id for one in self._around[name] if isinstance(one, FanOutStep) and one.id not in own]
        if outside and outside[0] != step.id:
            return f"“{name}” runs once for each entry of “{outside[0]}”: use `steps.{outside[0]}.results`."
        return f"“{name}” has not run when this step does: it comes later, or in another branch. Move it before this."

    def _add(self, step: Step, field: str, path: str, message: str) -> None:
        self.problems.append(Problem(step.id, field, path, message))


def _names(template: JsonValue) -> Iterator[str]:
    if isinstance(template, dict):
        for name, inner in template.items():
            yield name
            yield from _names(inner)
    elif isinstance(template, list):
        for inner in template:
            yield from _names(inner)
