"""The management API of workflows: their drafts and versions, and what they refer to."""

from fastapi import APIRouter, Request

from landbridge.web.flow_shapes import (
    EventIn,
    EventOut,
    ProblemOut,
    RunOut,
    SecretIn,
    TestIn,
    VersionOut,
    WorkflowChange,
    WorkflowOut,
)
from landbridge.web.rooms import Rooms
from landbridge.workflows.definition import Workflow

_YAML = {"application/yaml", "application/x-yaml", "text/yaml"}
_DEFINITION = {
    "requestBody": {
        "required": True,
        "description": "A definition: see the JSON Schema of workflows.",
        "content": {kind: {"schema": {"type": "object"}} for kind in ("application/json", "application/yaml")},
    }
}


def add_routes(routes: APIRouter, rooms: Rooms) -> None:
    """Add the routes to the management API, whose router knows who may call."""
    _add_workflow_routes(routes, rooms)
    _add_version_routes(routes, rooms)
    _add_event_routes(routes, rooms)
    _add_secret_routes(routes, rooms)


async def _definition(request: Request) -> Workflow:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    return Workflow.from_yaml(body) if kind in _YAML else Workflow.from_json(body)


def _add_workflow_routes(routes: APIRouter, rooms: Rooms) -> None:
    base = "/projects/{project_id}/workflows"

    @routes.get(base, tags=["workflows"])
    async def list_workflows(project_id: str) -> list[WorkflowOut]:
        """A project's workflows, oldest first."""
        await rooms.projects.get(project_id)
        return [WorkflowOut.of(row) for row in await rooms.deployments.all(project_id)]

    @routes.post(base, status_code=201, tags=["workflows"], openapi_extra=_DEFINITION)
    async def create_workflow(project_id: str, request: Request) -> WorkflowOut:
        """Keep a new workflow as a draft; it runs once it is deployed."""
        definition = await _definition(request)
        await rooms.projects.get(project_id)
        return WorkflowOut.of(await rooms.deployments.create(project_id, definition))

    @routes.post(base + "/check", tags=["workflows"], openapi_extra=_DEFINITION)
    async def check_workflow(project_id: str, request: Request) -> list[ProblemOut]:
        """What would keep a definition from running; nothing is kept."""
        found = await rooms.deployments.problems(project_id, await _definition(request))
        return [ProblemOut.model_validate(problem.as_json()) for problem in found]

    @routes.get(base + "/{workflow_id}", tags=["workflows"])
    async def get_workflow(project_id: str, workflow_id: str) -> WorkflowOut:
        """One workflow with its draft."""
        return WorkflowOut.of(await rooms.deployments.get(project_id, workflow_id))

    @routes.put(base + "/{workflow_id}", tags=["workflows"], openapi_extra=_DEFINITION)
    async def save_workflow(project_id: str, workflow_id: str, request: Request) -> WorkflowOut:
        """Replace a workflow's draft; what is deployed stays as it is."""
        return WorkflowOut.of(await rooms.deployments.save(project_id, workflow_id, await _definition(request)))

    @routes.patch(base + "/{workflow_id}", tags=["workflows"])
    async def change_workflow(project_id: str, workflow_id: str, given: WorkflowChange) -> WorkflowOut:
        """Change who sees a workflow and for whom it is on by default."""
        changed = await rooms.deployments.set(
            project_id,
            workflow_id,
            is_hidden=given.is_hidden,
            is_default_enabled=given.is_default_enabled,
            permissions=given.permissions,
        )
        return WorkflowOut.of(changed)

    @routes.delete(base + "/{workflow_id}", status_code=204, tags=["workflows"])
    async def delete_workflow(project_id: str, workflow_id: str) -> None:
        """Delete a workflow that is not deployed, with its versions; runs of it that are not over may fail."""
        await rooms.deployments.delete(project_id, workflow_id)


def _add_version_routes(routes: APIRouter, rooms: Rooms) -> None:
    base = "/projects/{project_id}/workflows/{workflow_id}"

    @routes.post(base + "/test", status_code=202, tags=["workflows"])
    async def test_workflow(project_id: str, workflow_id: str, given: TestIn) -> RunOut:
        """Really run a draft, or one step of it, as a preview user; ask for the run to see its steps and values."""
        return RunOut.of(await rooms.testing.start(project_id, workflow_id, given.wanted()))

    @routes.post(base + "/deploy", status_code=201, tags=["workflows"])
    async def deploy_workflow(project_id: str, workflow_id: str) -> VersionOut:
        """Make the draft a version, and run that from now on."""
        return VersionOut.of(await rooms.deployments.deploy(project_id, workflow_id))

    @routes.post(base + "/undeploy", tags=["workflows"])
    async def undeploy_workflow(project_id: str, workflow_id: str) -> WorkflowOut:
        """Start no more runs of a workflow; those under way go on."""
        return WorkflowOut.of(await rooms.deployments.undeploy(project_id, workflow_id))

    @routes.get(base + "/versions", tags=["workflows"])
    async def list_versions(project_id: str, workflow_id: str) -> list[VersionOut]:
        """A workflow's versions, newest first."""
        return [VersionOut.of(row) for row in await rooms.deployments.versions(project_id, workflow_id)]

    @routes.post(base + "/versions/{number}/restore", tags=["workflows"])
    async def restore_version(project_id: str, workflow_id: str, number: int) -> WorkflowOut:
        """Make an earlier version the draft again."""
        return WorkflowOut.of(await rooms.deployments.restore(project_id, workflow_id, number))


def _add_event_routes(routes: APIRouter, rooms: Rooms) -> None:
    base = "/projects/{project_id}/events"

    @routes.get(base, tags=["events"])
    async def list_events(project_id: str) -> list[EventOut]:
        """The app events that a project's product may report."""
        await rooms.projects.get(project_id)
        found = await rooms.deployments.events(project_id)
        return [EventOut(name=row.name, example=row.example, json_schema=row.schema) for row in found]

    @routes.put(base + "/{event}", status_code=204, tags=["events"])
    async def put_event(project_id: str, event: str, given: EventIn) -> None:
        """Add an app event, or change it."""
        await rooms.projects.get(project_id)
        await rooms.deployments.put_event(project_id, event, given.example, given.json_schema)

    @routes.delete(base + "/{event}", status_code=204, tags=["events"])
    async def delete_event(project_id: str, event: str) -> None:
        """Delete an app event."""
        await rooms.deployments.delete_event(project_id, event)


def _add_secret_routes(routes: APIRouter, rooms: Rooms) -> None:
    base = "/projects/{project_id}/secrets"

    @routes.get(base, tags=["secrets"])
    async def list_secrets(project_id: str) -> list[str]:
        """The names of a project's secrets; their values are never shown."""
        await rooms.projects.get(project_id)
        return await rooms.deployments.secret_names(project_id)

    @routes.put(base + "/{secret}", status_code=204, tags=["secrets"])
    async def put_secret(project_id: str, secret: str, given: SecretIn) -> None:
        """Keep a secret, which definitions refer to as `{{ secrets.NAME }}`."""
        await rooms.projects.get(project_id)
        await rooms.deployments.put_secret(project_id, secret, given.value.get_secret_value())

    @routes.delete(base + "/{secret}", status_code=204, tags=["secrets"])
    async def delete_secret(project_id: str, secret: str) -> None:
        """Delete a secret; runs that need it fail from then on."""
        await rooms.deployments.delete_secret(project_id, secret)
