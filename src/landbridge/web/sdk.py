"""The wire of the browser SDK `@useparagon/connect` 2.4, as a router. The proxy's part of it is in `proxied`.

Its words differ from ours: a connection is a *credential*, a connected user a *persona*. No route answers 401 or 403
but for the caller's own token, since the SDK then logs the user out.
"""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from landbridge.access import Caller
from landbridge.catalog import Manifest, integration_id
from landbridge.connections.accounts import Connected
from landbridge.errors import InstallFailed, InvalidRequest, NotFound
from landbridge.store.connections import ConfigurationRow, UserRow
from landbridge.store.projects import IntegrationRow
from landbridge.web.forms import caller_of, json_object, parsed_object
from landbridge.web.rooms import Rooms
from landbridge.workflows.definition import IntegrationEnabledTrigger
from landbridge.workflows.deployments import Deployed

_FEATURES = ("headless-cp", "user-metadata")
_CREDENTIAL = "X-Paragon-Credential"
_CONFIGURATION = "X-Paragon-Configuration-Id"
_CREDENTIALS = "/projects/{project_id}/sdk/credentials"


def router(rooms: Rooms) -> APIRouter:
    """Return the routes that the SDK calls."""
    routes = APIRouter(include_in_schema=False)
    _add_user_routes(routes, rooms)
    _add_install_routes(routes, rooms)
    _add_credential_routes(routes, rooms)
    _add_configuration_routes(routes, rooms)
    return routes


def _add_user_routes(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get("/projects/{project_id}/sdk/me")
    async def me(request: Request) -> JSONResponse:
        caller = await caller_of(rooms, request)
        user = await rooms.accounts.user(caller)
        connected = await rooms.accounts.list(caller)
        integrations = await rooms.projects.integrations(caller.project_id)
        return JSONResponse(
            {
                "authenticated": True,
                "userId": caller.user_id,
                "meta": user.meta,
                "project": {"id": caller.project_id, "accessibleFeatures": _FEATURES},
                "resources": [],
                "integrations": {
                    row.type: _of_user(row, user, [c for c in connected if c.connection.integration == row.type])
                    for row in integrations
                },
            }
        )

    @routes.patch("/projects/{project_id}/sdk/me")
    async def set_meta(request: Request) -> JSONResponse:
        caller = await caller_of(rooms, request)
        await rooms.accounts.set_meta(caller, _object(await json_object(request), "meta"))
        return JSONResponse({})

    @routes.get("/projects/{project_id}/sdk/integrations")
    async def integrations(request: Request) -> JSONResponse:
        caller = await caller_of(rooms, request)
        rows = await rooms.projects.integrations(caller.project_id)
        return JSONResponse([await _listed(rooms, row, caller) for row in rows])

    @routes.get("/projects/{project_id}/triggers")
    async def triggers(request: Request) -> JSONResponse:
        await caller_of(rooms, request)
        asked = request.query_params.get("integrations", "")
        return JSONResponse({"triggers": {name: [] for name in asked.split(",") if name}, "errors": []})


def _add_install_routes(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get("/v2/projects/{project_id}/sdk/actions/build-oauth")
    async def build_oauth(request: Request) -> JSONResponse:
        caller, query = await caller_of(rooms, request), request.query_params
        url = await rooms.sign_ins.begin(
            caller,
            query.get("action", ""),
            session_key=query.get("oauthMetaKeyId", ""),
            options=parsed_object(query.get("installOptions", ""), "`installOptions`"),
            redirect_url=query.get("redirectUrl"),
        )
        return JSONResponse({"redirectUrl": url}, headers={"Cache-Control": "no-store"})

    @routes.get("/projects/{project_id}/sdk/actions/session-id/{session_key}")
    async def outcome(request: Request, session_key: str) -> JSONResponse:
        id_ = await rooms.sign_ins.outcome(await caller_of(rooms, request), session_key)
        return JSONResponse({"connectCredentialId": id_} if id_ else {}, headers={"Cache-Control": "no-store"})

    @routes.delete("/projects/{project_id}/sdk/actions/session-id/{session_key}")
    async def end_polling(request: Request, session_key: str) -> JSONResponse:
        await caller_of(rooms, request)
        return JSONResponse({})  # the sign-in itself stays until it expires, so that its callback can be repeated

    @routes.post(_CREDENTIALS)
    async def complete_install(request: Request) -> JSONResponse:
        caller, body = await caller_of(rooms, request), await json_object(request)
        code, redirect_url = body.get("code"), body.get("redirectUrl")
        if not isinstance(code, str) or not isinstance(redirect_url, str | None):
            raise InvalidRequest("`code` is the authorization code that the provider sent; `redirectUrl` a text.")
        type_ = await _type_of(rooms, caller.project_id, body.get("integrationId"))
        connected = await rooms.sign_ins.complete(
            caller, type_, code=code, redirect_url=redirect_url, options=_object(body, "installOptions")
        )
        return JSONResponse(_credential(connected, await rooms.accounts.user(caller)), status_code=201)

    @routes.delete("/projects/{project_id}/sdk/integrations/{integration}")
    async def uninstall(request: Request, integration: str) -> JSONResponse:
        caller = await caller_of(rooms, request)
        type_ = await _type_of(rooms, caller.project_id, integration)
        await rooms.accounts.disconnect(caller, type_, request.headers.get(_CREDENTIAL))
        return JSONResponse({})


def _add_credential_routes(routes: APIRouter, rooms: Rooms) -> None:
    @routes.get(_CREDENTIALS)
    async def account(request: Request) -> JSONResponse:
        caller, type_ = await caller_of(rooms, request), request.query_params.get("integration", "")
        row, _ = await rooms.projects.integration(caller.project_id, type_)
        selector = request.headers.get(_CREDENTIAL)
        found = await rooms.accounts.list(caller, type_)
        chosen = await rooms.accounts.get(caller, selector, type_) if selector else found[0] if found else None
        account = chosen.connection.account if chosen else {}
        shown = {**await _listed(rooms, row, caller), "providerData": account}
        if request.query_params.get("includeAccountAuth") == "true":
            given = await rooms.picker.admit(caller, type_, selector)
            shown["accountAuth"] = {"OAUTH_ACCESS_TOKEN": given.access_token, "DOMAIN": given.drive_origin}
        return JSONResponse(shown, headers={"Cache-Control": "no-store"})

    @routes.get(_CREDENTIALS + "/{selector}")
    async def credential(request: Request, selector: str) -> JSONResponse:
        caller = await caller_of(rooms, request)
        if failure := await rooms.sign_ins.failure(caller, selector):
            return JSONResponse({**failure, "status": InstallFailed.status}, status_code=InstallFailed.status)
        connected = await rooms.accounts.get(caller, selector)
        return JSONResponse(_credential(connected, await rooms.accounts.user(caller)))

    @routes.patch(_CREDENTIALS + "/{selector}")
    async def change_settings(request: Request, selector: str) -> JSONResponse:
        caller, config = await caller_of(rooms, request), _object(await json_object(request), "config")
        known = {"sharedSettings": "shared_settings", "workflowSettings": "workflow_settings"}
        changes = {column: _object(config, name) for name, column in known.items() if name in config}
        which = request.headers.get(_CONFIGURATION)
        connected = await rooms.accounts.change_settings(caller, selector, which, changes)
        return JSONResponse(_credential(connected, await rooms.accounts.user(caller)))

    @routes.post(_CREDENTIALS + "/{selector}/complete-setup")
    async def complete_setup(request: Request, selector: str) -> JSONResponse:
        caller = await caller_of(rooms, request)
        connected = await rooms.accounts.get(caller, selector)
        return JSONResponse(_credential(connected, await rooms.accounts.user(caller)))


def _add_configuration_routes(routes: APIRouter, rooms: Rooms) -> None:
    base = _CREDENTIALS + "/{selector}/configurations"

    @routes.post(base)
    async def add_configuration(request: Request, selector: str) -> JSONResponse:
        caller, body = await caller_of(rooms, request), await json_object(request)
        external_id = body.get("externalId")
        if not isinstance(external_id, str | None):
            raise InvalidRequest("`externalId` is a text.")
        connected = await rooms.accounts.add_configuration(caller, selector, external_id)
        return JSONResponse(_credential(connected, await rooms.accounts.user(caller)), status_code=201)

    @routes.patch(base)
    async def change_configuration(request: Request, selector: str) -> JSONResponse:
        caller, meta = await caller_of(rooms, request), _object(await json_object(request), "meta")
        which = request.headers.get(_CONFIGURATION)
        connected = await rooms.accounts.change_settings(caller, selector, which, {"meta": meta})
        return JSONResponse(_credential(connected, await rooms.accounts.user(caller)))

    @routes.delete(base)
    async def remove_configuration(request: Request, selector: str) -> JSONResponse:
        caller = await caller_of(rooms, request)
        await rooms.accounts.remove_configuration(caller, selector, request.headers.get(_CONFIGURATION))
        return JSONResponse({})


async def _type_of(rooms: Rooms, project_id: str, given: Any) -> str:  # Any: JSON of the caller
    """Return the type of the project's integration with this id; its type itself is taken too."""
    for row in await rooms.projects.integrations(project_id):
        if given in {row.id, row.type}:
            return row.type
    raise NotFound("This project has no such integration.")


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{name}` is an object.")
    return value


async def _listed(rooms: Rooms, row: IntegrationRow, caller: Caller) -> dict[str, Any]:
    """Return an integration with the workflows that the user may switch on."""
    user = await rooms.accounts.user(caller)
    deployed = [
        one
        for one in await rooms.deployments.deployed(caller.project_id)
        if one.workflow.integration == row.type
        and not isinstance(one.plan.workflow.trigger, IntegrationEnabledTrigger)  # it runs once, and nobody chooses it
    ]
    shown = [one for one in deployed if one.is_for(user)]
    listed = _integration(row, rooms.catalog.get(row.type))
    listed["configs"][0]["values"]["workflowMeta"] = {one.workflow.id: _workflow_form(one) for one in shown}
    return listed | {
        "workflows": [_workflow(one, row) for one in shown],
        "noPermissionWorkflows": [one.workflow.id for one in deployed if one not in shown],
    }


def _workflow(deployed: Deployed, integration: IntegrationRow) -> dict[str, Any]:
    row = deployed.workflow
    return {
        "id": row.id,
        "description": deployed.plan.workflow.name,
        "integrationId": integration.id,
        "projectId": row.project_id,
        "dateCreated": _instant(row.created_at),
        "dateUpdated": _instant(row.updated_at),
        "steps": [],
    }


def _workflow_form(deployed: Deployed) -> dict[str, Any]:
    """Return what the portal asks of a user who switches a workflow on."""
    row, workflow = deployed.workflow, deployed.plan.workflow
    return {
        "id": row.id,
        "description": workflow.name,
        "infoText": workflow.description,
        "defaultEnabled": row.is_default_enabled,
        "hidden": row.is_hidden,
        "inputs": [setting.model_dump(mode="json", by_alias=True) for setting in workflow.settings],
    }


def _integration(row: IntegrationRow, manifest: Manifest) -> dict[str, Any]:
    """Return an integration as the SDK lists it; empty lists make its install go straight to the provider."""
    created, updated = _instant(row.created_at), _instant(row.updated_at)
    return {
        "id": row.id,
        "type": row.type,
        "name": manifest.name,
        "brandColor": manifest.brand_color,
        "isActive": row.is_active,
        "projectId": row.project_id,
        "dateCreated": created,
        "dateUpdated": updated,
        "authenticationType": "oauth",
        "hasCredential": True,
        "needPreOauthInputs": False,
        "connectedUserLimitOnDevCred": 0,
        "connectedUserLimitReached": False,
        "customIntegration": None,
        "customIntegrationId": None,
        "configs": [
            {
                "id": row.id,
                "integrationId": row.id,
                "dateCreated": created,
                "dateUpdated": updated,
                "values": {
                    "accentColor": manifest.brand_color,
                    "paragonLink": False,
                    "description": manifest.description,
                    "overview": manifest.overview,
                    "sharedMeta": {"inputs": []},
                    "workflowMeta": {},
                },
            }
        ],
        "sdkIntegrationConfig": {
            "accountTypes": [],
            "oauthInputs": [],
            "authConfigInputs": [],
            "postOauthInputs": [],
            "dataSources": {},
        },
        "providerData": {},
    }


def _of_user(row: IntegrationRow, user: UserRow, connected: list[Connected]) -> dict[str, Any]:
    """Return what a user has of one integration, the default connection's facts at the top."""
    found: dict[str, Any] = {"enabled": False, "allCredentials": [_credential(c, user) for c in connected]}
    default = next((c for c in connected if c.connection.status == "valid"), connected[0] if connected else None)
    if default is None:
        return found
    connection, configuration = default.connection, default.default
    return found | {
        "enabled": row.is_active and connection.status == "valid",
        "credentialId": connection.id,
        "credentialStatus": connection.status.upper(),
        "providerId": connection.account_id,
        "providerData": connection.account,
        "externalId": connection.external_id,
        "credentialConfigId": configuration.id,
        "configMeta": configuration.meta,
        "sharedSettings": configuration.shared_settings,
        "workflowSettings": configuration.workflow_settings,
        "configuredWorkflows": configuration.workflow_settings,
    }


def _credential(connected: Connected, user: UserRow) -> dict[str, Any]:
    row = connected.connection
    return {
        "id": row.id,
        "projectId": row.project_id,
        "integrationId": integration_id(row.project_id, row.integration),
        "personaId": user.id,
        "isPreviewCredential": False,
        "providerId": row.account_id,
        "providerData": row.account,
        "status": row.status.upper(),
        "refreshFailureCount": row.refresh_failures,
        "dateCreated": _instant(row.created_at),
        "dateUpdated": _instant(row.updated_at),
        "dateRefreshed": _instant(row.refreshed_at),
        "externalId": row.external_id,
        "config": {},
        "configurations": [_configuration(configuration) for configuration in connected.configurations],
    }


def _configuration(row: ConfigurationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "connectCredentialId": row.connection_id,
        "isDefault": row.is_default,
        "externalId": row.external_id,
        "configMeta": row.meta,
        "sharedSettings": row.shared_settings,
        "workflowSettings": row.workflow_settings,
        "dateCreated": _instant(row.created_at),
        "dateUpdated": _instant(row.updated_at),
    }


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
