"""Commands on workflows, their runs, and what they refer to: secrets and app events."""

import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from pydantic import TypeAdapter, ValidationError

from landbridge.app import House
from landbridge.cli.terminal import AsJson, ProjectId, done, err, group, in_house, json_of, out, show
from landbridge.errors import InvalidRequest
from landbridge.store import history
from landbridge.store.history import Filter
from landbridge.store.runs import RunRow
from landbridge.web.flow_shapes import EventOut, ProblemOut, RunDetails, RunOut, VersionOut, WorkflowOut
from landbridge.workflows.definition import Condition, Workflow
from landbridge.workflows.history import Part

workflows = group("Workflows: drafts, and the versions of them that run.")
runs = group("Runs of workflows: what became of them, and again.")
secrets = group("Secrets that definitions refer to as {{ secrets.NAME }}.")
events = group("App events: what your product may report.")

WorkflowId = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow's id.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Definition = Annotated[typer.FileText, typer.Argument(metavar="FILE", help="YAML or JSON; `-` reads standard input.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]

_SHOWN = ("id", "name", "integration", "deployed_version_id", "is_hidden", "is_default_enabled", "updated_at")
_OF_RUN = ("id", "state", "trigger", "user_id", "workflow_id", "created_at", "due_at", "finished_at")


@workflows.command("list")
def list_workflows(project: ProjectId, as_json: AsJson = False) -> None:
    """List a project's workflows, oldest first."""
    rows = in_house(lambda house: house.deployments.all(project))
    show([WorkflowOut.of(row) for row in rows], as_json, *_SHOWN)


@workflows.command("check")
def check_workflow(file: Definition, project: ProjectId, as_json: AsJson = False) -> None:
    """Tell what would keep a definition from running, and change nothing; the exit code is 1 if anything would."""
    definition = Workflow.from_yaml(file.read())
    found = in_house(lambda house: house.deployments.problems(project, definition))
    if as_json or found:
        shown = [ProblemOut.model_validate(problem.as_json()) for problem in found]
        show(shown, as_json, "step", "field", "path", "message")
    else:
        print("It can run.")
    raise typer.Exit(1 if found else 0)


@workflows.command("save")
def save_workflow(
    file: Definition,
    project: ProjectId,
    workflow: Annotated[
        str | None, typer.Option(metavar="ID", help="Replace this one's draft; else it is a new workflow.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Keep a definition as a draft; it runs once it is deployed."""
    definition = Workflow.from_yaml(file.read())

    async def save(house: House) -> WorkflowOut:
        await house.projects.get(project)
        if workflow is None:
            return WorkflowOut.of(await house.deployments.create(project, definition))
        return WorkflowOut.of(await house.deployments.save(project, workflow, definition))

    show(in_house(save), as_json, *_SHOWN)


@workflows.command("show")
def show_workflow(workflow: WorkflowId, project: ProjectId, as_json: AsJson = False) -> None:
    """Print a workflow's draft as YAML, as `save` takes it."""
    row = in_house(lambda house: house.deployments.get(project, workflow))
    if as_json:
        show(WorkflowOut.of(row), as_json)
    else:
        print(Workflow.parse(row.draft).to_yaml(), end="")


@workflows.command("deploy")
def deploy_workflow(workflow: WorkflowId, project: ProjectId, as_json: AsJson = False) -> None:
    """Make the draft a version, and run that from now on."""
    row = in_house(lambda house: house.deployments.deploy(project, workflow))
    show(VersionOut.of(row), as_json, "id", "number", "created_at")


@workflows.command("undeploy")
def undeploy_workflow(workflow: WorkflowId, project: ProjectId, as_json: AsJson = False) -> None:
    """Start no more runs of a workflow; those under way go on."""
    row = in_house(lambda house: house.deployments.undeploy(project, workflow))
    show(WorkflowOut.of(row), as_json, *_SHOWN)


@workflows.command("versions")
def list_versions(workflow: WorkflowId, project: ProjectId, as_json: AsJson = False) -> None:
    """List a workflow's versions, newest first."""
    rows = in_house(lambda house: house.deployments.versions(project, workflow))
    show([VersionOut.of(row) for row in rows], as_json, "number", "id", "created_at")


@workflows.command("restore")
def restore_version(
    workflow: WorkflowId,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The version's number.")],
    project: ProjectId,
    as_json: AsJson = False,
) -> None:
    """Make an earlier version the draft again."""
    row = in_house(lambda house: house.deployments.restore(project, workflow, number))
    show(WorkflowOut.of(row), as_json, *_SHOWN)


@workflows.command("set")
def set_workflow(
    workflow: WorkflowId,
    project: ProjectId,
    hidden: Annotated[bool | None, typer.Option(help="Whether the portal leaves it out.")] = None,
    default_enabled: Annotated[bool | None, typer.Option(help="Whether it is on without the user's doing.")] = None,
    permissions: Annotated[
        typer.FileText | None, typer.Option(help="JSON: groups of conditions on `user.metadata`; `[]` lets everybody.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change who sees a workflow, and for whom it is on by default."""
    conditions = _conditions(permissions.read()) if permissions else None
    row = in_house(
        lambda house: house.deployments.set(
            project, workflow, is_hidden=hidden, is_default_enabled=default_enabled, permissions=conditions
        )
    )
    show(WorkflowOut.of(row), as_json, *_SHOWN)


@workflows.command("delete")
def delete_workflow(workflow: WorkflowId, project: ProjectId, as_json: AsJson = False) -> None:
    """Delete a workflow that is not deployed, with its versions; runs of it that are not over may fail."""
    in_house(lambda house: house.deployments.delete(project, workflow))
    done("The workflow is deleted.", as_json)


def _conditions(text: str) -> list[list[Condition]]:
    try:
        return TypeAdapter(list[list[Condition]]).validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(f"permissions: {error.errors()[0]['msg']}") from None


@runs.command("list")
def list_runs(
    project: ProjectId,
    workflow: Annotated[str | None, typer.Option(metavar="ID", help="Only this workflow's.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    after: Annotated[datetime | None, typer.Option(help="Begun then or later, in UTC.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Begun before then, in UTC.")] = None,
    tests: Annotated[bool, typer.Option("--tests", help="The tests of drafts, and nothing else.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List a project's runs, newest first."""
    since, until = after and after.replace(tzinfo=UTC), before and before.replace(tzinfo=UTC)
    wanted = Filter(project, workflow, user, states=tuple(state or ()), after=since, before=until, is_test=tests)

    async def found(house: House) -> list[RunRow]:
        await house.projects.get(project)
        async with house.database.read() as tx:
            return await history.page(tx, wanted, limit=limit)

    show([RunOut.of(row) for row in in_house(found)], as_json, *_OF_RUN)


@runs.command("show")
def show_run(run: RunId, project: ProjectId, as_json: AsJson = False) -> None:
    """Show one run, and what became of its steps."""

    async def details(house: House) -> RunDetails:
        row = await house.runs.get(project, run)
        async with house.database.read() as tx:
            steps = await history.steps_of(tx, row.id)
        return RunDetails.of_steps(row, await house.runs.given_to(row), steps)

    found = in_house(details)
    show(found, as_json, *_OF_RUN)
    if not as_json:
        if found.error:
            err.print(f"{found.error.get('step', '')}: {found.error.get('message', '')}", markup=False)
        out.print()
        show(found.steps, as_json, "step", "type", "state", "attempts", "started_at", "finished_at")


@runs.command("value")
def show_value(
    run: RunId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step's id.")],
    project: ProjectId,
    given: Annotated[bool, typer.Option("--input", help="What the step was given; else what it gave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print all of what a step gave or was given, as JSON either way: `show` cuts what is long."""
    part: Part = "input" if given else "output"

    async def whole(house: House) -> bytes:
        return await house.large_values.whole(await house.runs.get(project, run), step, part)

    print(in_house(whole).decode())


@runs.command("cancel")
def cancel_run(run: RunId, project: ProjectId, as_json: AsJson = False) -> None:
    """End a run: at once if it waits, else before its next step."""

    async def cancel(house: House) -> RunRow:
        await house.runs.cancel(project, run)
        return await house.runs.get(project, run)

    show(RunOut.of(in_house(cancel)), as_json, *_OF_RUN)


@runs.command("replay")
def replay_run(
    run: RunId,
    project: ProjectId,
    deployed: Annotated[bool, typer.Option("--deployed", help="In the deployed version; else the same.")] = False,
    step: Annotated[str | None, typer.Option(metavar="STEP", help="From this step on; else from the start.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run again what a run did, for the same user and cause."""
    version: Literal["same", "deployed"] = "deployed" if deployed else "same"
    row = in_house(lambda house: house.runs.replay(project, run, version=version, step=step))
    show(RunOut.of(row), as_json, *_OF_RUN)


@secrets.command("set")
def set_secret(name: Name, project: ProjectId, as_json: AsJson = False) -> None:
    """Keep a secret: its value is read from standard input, without the line's end."""
    value = sys.stdin.read().removesuffix("\n").removesuffix("\r")

    async def put(house: House) -> None:
        await house.projects.get(project)
        await house.deployments.put_secret(project, name, value)

    in_house(put)
    done(f"The secret {name} is kept.", as_json)


@secrets.command("list")
def list_secrets(project: ProjectId, as_json: AsJson = False) -> None:
    """List the names of a project's secrets; their values are never shown."""
    names = in_house(lambda house: house.deployments.secret_names(project))
    print(json.dumps(names) if as_json else "\n".join(names))


@secrets.command("delete")
def delete_secret(name: Name, project: ProjectId, as_json: AsJson = False) -> None:
    """Delete a secret; runs that need it fail from then on."""
    in_house(lambda house: house.deployments.delete_secret(project, name))
    done(f"The secret {name} is deleted.", as_json)


@events.command("set")
def set_event(
    name: Name,
    project: ProjectId,
    example: Annotated[typer.FileText | None, typer.Option(help="JSON: what it may look like.")] = None,
    schema: Annotated[typer.FileText | None, typer.Option(help="JSON Schema: what each report must fit.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add an app event, or change it."""
    looks_like, must_fit = json_of(example, "example") or {}, json_of(schema, "schema")

    async def put(house: House) -> None:
        await house.projects.get(project)
        await house.deployments.put_event(project, name, looks_like, must_fit)

    in_house(put)
    done(f"The event {name} is kept.", as_json)


@events.command("list")
def list_events(project: ProjectId, as_json: AsJson = False) -> None:
    """List the app events that a project's product may report."""
    rows = in_house(lambda house: house.deployments.events(project))
    found = [EventOut(name=row.name, example=row.example, json_schema=row.schema) for row in rows]
    show(found, as_json, "name")


@events.command("delete")
def delete_event(name: Name, project: ProjectId, as_json: AsJson = False) -> None:
    """Delete an app event."""
    in_house(lambda house: house.deployments.delete_event(project, name))
    done(f"The event {name} is deleted.", as_json)
