"""The management API under `/api/v1`, for operators and their programs; OpenAPI is generated from it.

Authenticated by an API key (`landbridge api-keys create NAME`) as a bearer. A key of one project manages that project;
a key without a project manages all.
"""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends

from landbridge.access import Operator, Reach
from landbridge.web import executions, flows
from landbridge.web.forms import for_operators, operator_of
from landbridge.web.rooms import Rooms
from landbridge.web.shapes import (
    ApiKeyIn,
    ApiKeyOut,
    CatalogEntry,
    ConnectionOut,
    IntegrationIn,
    IntegrationOut,
    ProjectChange,
    ProjectIn,
    ProjectOut,
    SigningKeyIn,
    SigningKeyOut,
    TokenIn,
    TokenOut,
)


def router(rooms: Rooms) -> APIRouter:
    """Return the routes of the management API."""

    routes = APIRouter(prefix="/api/v1", route_class=for_operators(rooms))
    _add_project_routes(routes, rooms)
    _add_key_routes(routes, rooms)
    _add_integration_routes(routes, rooms)
    _add_user_routes(routes, rooms)
    flows.add_routes(routes, rooms)
    executions.add_routes(routes, rooms)
    return routes


def _add_project_routes(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get("/projects", tags=["projects"])
    async def list_projects(who: Annotated[Operator, Depends(operator_of)]) -> list[ProjectOut]:
        """The projects that this key may manage."""
        return [ProjectOut.of(row) for row in await rooms.projects.all() if who.project_id in {None, row.id}]

    @routes.post("/projects", status_code=201, tags=["projects"])
    async def create_project(given: ProjectIn, who: Annotated[Operator, Depends(operator_of)]) -> ProjectOut:
        """Create a project."""
        who.must_manage_all()
        return ProjectOut.of(await rooms.projects.create(given.name, given.allowed_origins))

    @routes.get("/projects/{project_id}", tags=["projects"])
    async def get_project(project_id: str) -> ProjectOut:
        """One project."""
        return ProjectOut.of(await rooms.projects.get(project_id))

    @routes.patch("/projects/{project_id}", tags=["projects"])
    async def change_project(project_id: str, given: ProjectChange) -> ProjectOut:
        """Rename a project, or replace its allowed origins."""
        return ProjectOut.of(
            await rooms.projects.change(project_id, name=given.name, allowed_origins=given.allowed_origins)
        )

    @routes.delete("/projects/{project_id}", status_code=204, tags=["projects"])
    async def delete_project(project_id: str, who: Annotated[Operator, Depends(operator_of)]) -> None:
        """Delete a project with its keys, connections and tokens, for good."""
        who.must_manage_all()
        await rooms.projects.delete(project_id)


def _add_key_routes(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get("/projects/{project_id}/signing-keys", tags=["keys"])
    async def list_signing_keys(project_id: str) -> list[SigningKeyOut]:
        """A project's signing keys, revoked ones too."""
        return [SigningKeyOut.of(row) for row in await rooms.projects.signing_keys(project_id)]

    @routes.post("/projects/{project_id}/signing-keys", status_code=201, tags=["keys"])
    async def create_signing_key(project_id: str, given: SigningKeyIn) -> SigningKeyOut:
        """Create a signing key, or add the public half of one that you have."""
        if given.public_key:
            return SigningKeyOut.of(await rooms.projects.import_signing_key(project_id, given.public_key))
        row, private_key = await rooms.projects.create_signing_key(project_id, given.algorithm)
        return SigningKeyOut.of(row, private_key)

    @routes.delete("/projects/{project_id}/signing-keys/{key_id}", status_code=204, tags=["keys"])
    async def revoke_signing_key(project_id: str, key_id: str) -> None:
        """End a signing key: its tokens are refused everywhere within half a second."""
        await rooms.projects.revoke_signing_key(project_id, key_id)

    @routes.get("/api-keys", tags=["keys"])
    async def list_api_keys(who: Annotated[Operator, Depends(operator_of)]) -> list[ApiKeyOut]:
        """Every API key, without its text."""
        who.must_manage_all()
        return [ApiKeyOut.of(row) for row in await rooms.projects.api_keys()]

    @routes.post("/api-keys", status_code=201, tags=["keys"])
    async def create_api_key(given: ApiKeyIn, who: Annotated[Operator, Depends(operator_of)]) -> ApiKeyOut:
        """Create an API key."""
        who.must_manage_all()
        row, key = await rooms.projects.create_api_key(given.name, given.project_id)
        return ApiKeyOut.of(row, key)

    @routes.delete("/api-keys/{key_id}", status_code=204, tags=["keys"])
    async def revoke_api_key(key_id: str, who: Annotated[Operator, Depends(operator_of)]) -> None:
        """End an API key at once."""
        who.must_manage_all()
        await rooms.projects.revoke_api_key(key_id)


def _add_integration_routes(routes: APIRouter, rooms: Rooms) -> None:
    async def shown(project_id: str, type_: str) -> IntegrationOut:
        row, secrets = await rooms.projects.integration(project_id, type_)
        return IntegrationOut.of(row, secrets, rooms.settings.redirect_url)

    @routes.get("/catalog", tags=["integrations"])
    async def list_catalog() -> list[CatalogEntry]:
        """The integrations that can be set up, with the scopes that each can ask for."""
        return [CatalogEntry.model_validate(entry, from_attributes=True) for entry in rooms.catalog]

    @routes.get("/projects/{project_id}/integrations", tags=["integrations"])
    async def list_integrations(project_id: str) -> list[IntegrationOut]:
        """A project's integrations."""
        return [await shown(project_id, row.type) for row in await rooms.projects.integrations(project_id)]

    @routes.get("/projects/{project_id}/integrations/{type}", tags=["integrations"])
    async def get_integration(project_id: str, type: str) -> IntegrationOut:  # noqa: A002 - the name in the path
        """One integration of a project."""
        return await shown(project_id, type)

    @routes.patch("/projects/{project_id}/integrations/{type}", tags=["integrations"])
    async def set_integration(project_id: str, type: str, given: IntegrationIn) -> IntegrationOut:  # noqa: A002
        """Set an integration up, or change it."""
        await rooms.projects.set_integration(
            project_id,
            type,
            client_id=given.client_id,
            client_secret=given.client_secret.get_secret_value() if given.client_secret else None,
            client_secret_expires_at=given.client_secret_expires_at,
            scopes=given.scopes,
            audience=given.audience,
            is_active=given.is_active,
            file_picker=given.file_picker,
        )
        return await shown(project_id, type)


def _add_user_routes(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get("/projects/{project_id}/connections", tags=["connections"])
    async def list_connections(project_id: str, user_id: str | None = None) -> list[ConnectionOut]:
        """A project's connections, oldest first, a thousand at most; of one user if `user_id` is given."""
        await rooms.projects.get(project_id)
        return [ConnectionOut.of(found) for found in await rooms.accounts.of_project(project_id, user_id=user_id)]

    @routes.delete("/projects/{project_id}/connections/{connection_id}", status_code=204, tags=["connections"])
    async def disconnect(project_id: str, connection_id: str) -> None:
        """Delete a connection with its tokens and settings."""
        await rooms.accounts.disconnect_for_operator(project_id, connection_id)

    @routes.post("/projects/{project_id}/users/{user_id}/token", status_code=201, tags=["connections"])
    async def create_user_token(project_id: str, user_id: str, given: TokenIn) -> TokenOut:
        """Create a token for trying out as a user; products sign their own."""
        reach = Reach(given.read_only, None if given.tools is None else frozenset(given.tools))
        lifetime = timedelta(seconds=given.lifetime_seconds)
        token = await rooms.projects.user_token(project_id, user_id, lifetime, reach.claims())
        return TokenOut(token=token, expires_in=given.lifetime_seconds)
