"""Commands on projects and what belongs to them: keys, integrations, users, connections."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from landbridge.access import Reach
from landbridge.app import House
from landbridge.cli.terminal import AsJson, ProjectId, done, err, group, in_house, out, show
from landbridge.web.shapes import (
    ApiKeyOut,
    CatalogEntry,
    ConnectionOut,
    IntegrationOut,
    ProjectOut,
    SigningKeyOut,
    TokenOut,
)

projects = group("Projects: the tenants of this Landbridge.")
signing_keys = group("Keys with which your product signs its users' tokens.")
api_keys = group("Keys of the management API.")
integrations = group("Integrations: client id, secret, scopes.")
users = group("Connected users.")
connections = group("Connections: the accounts that users have connected.")


@projects.command("create")
def create_project(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    allow_origin: Annotated[list[str] | None, typer.Option(help="Origin of a page that may call us; repeat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a project."""
    row = in_house(lambda house: house.projects.create(name, allow_origin or []))
    show(ProjectOut.of(row), as_json, "id", "name", "allowed_origins")


@projects.command("list")
def list_projects(as_json: AsJson = False) -> None:
    """List the projects."""
    rows = in_house(lambda house: house.projects.all())
    show([ProjectOut.of(row) for row in rows], as_json, "id", "name", "allowed_origins", "created_at")


@projects.command("set")
def set_project(
    project_id: Annotated[str, typer.Argument(metavar="ID")],
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="All origins that may call us; repeat.")] = None,
    no_origins: Annotated[bool, typer.Option("--no-origins", help="Let no page call us.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rename a project, or replace the origins of the pages that may call us."""
    origins = [] if no_origins else allow_origin or None
    row = in_house(lambda house: house.projects.change(project_id, name=name, allowed_origins=origins))
    show(ProjectOut.of(row), as_json, "id", "name", "allowed_origins")


@projects.command("delete")
def delete_project(
    project_id: Annotated[str, typer.Argument(metavar="ID")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a project with its keys, connections and tokens, for good."""
    if not yes:
        typer.confirm(f"Delete project {project_id} with every connection in it?", abort=True)
    in_house(lambda house: house.projects.delete(project_id))
    done("The project is deleted.", as_json)


@signing_keys.command("create")
def create_signing_key(
    project: ProjectId,
    algorithm: Annotated[str, typer.Option(help="RS256 or ES256.")] = "RS256",
    as_json: AsJson = False,
) -> None:
    """Create a key, and print its private half: it is shown now, and kept nowhere."""
    row, private_key = in_house(lambda house: house.projects.create_signing_key(project, algorithm))
    if as_json:
        show(SigningKeyOut.of(row, private_key), as_json)
        return
    err.print(f"Key {row.id} ({row.algorithm}). The private key below is shown only now.", highlight=False)
    print(private_key, end="")


@signing_keys.command("import")
def import_signing_key(
    project: ProjectId,
    file: Annotated[typer.FileText, typer.Argument(help="The public key in PEM; `-` reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Add the public half of a key that your product already has."""
    row = in_house(lambda house: house.projects.import_signing_key(project, file.read()))
    show(SigningKeyOut.of(row), as_json, "id", "algorithm")


@signing_keys.command("list")
def list_signing_keys(project: ProjectId, as_json: AsJson = False) -> None:
    """List a project's signing keys."""
    rows = in_house(lambda house: house.projects.signing_keys(project))
    columns = ("id", "algorithm", "created_at", "expires_at", "revoked_at")
    show([SigningKeyOut.of(row) for row in rows], as_json, *columns)


@signing_keys.command("revoke")
def revoke_signing_key(
    project: ProjectId, key_id: Annotated[str, typer.Argument(metavar="KEY")], as_json: AsJson = False
) -> None:
    """End a signing key: its tokens are refused everywhere within half a second."""
    in_house(lambda house: house.projects.revoke_signing_key(project, key_id))
    done("The key is revoked.", as_json)


@api_keys.command("create")
def create_api_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    project: Annotated[str | None, typer.Option(metavar="ID", help="Only this project; else all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key of the management API, and print it: it is shown only now."""
    row, key = in_house(lambda house: house.projects.create_api_key(name, project))
    if as_json:
        show(ApiKeyOut.of(row, key), as_json)
    else:
        print(key)


@api_keys.command("list")
def list_api_keys(as_json: AsJson = False) -> None:
    """List the keys of the management API."""
    rows = in_house(lambda house: house.projects.api_keys())
    show([ApiKeyOut.of(row) for row in rows], as_json, "id", "name", "project_id", "created_at", "revoked_at")


@api_keys.command("revoke")
def revoke_api_key(key_id: Annotated[str, typer.Argument(metavar="KEY")], as_json: AsJson = False) -> None:
    """End a key of the management API at once."""
    in_house(lambda house: house.projects.revoke_api_key(key_id))
    done("The key is revoked.", as_json)


@integrations.command("list")
def list_integrations(as_json: AsJson = False) -> None:
    """List the integrations that can be set up, with their scopes."""

    async def entries(house: House) -> list[CatalogEntry]:
        return [CatalogEntry.model_validate(entry, from_attributes=True) for entry in house.catalog]

    found = in_house(entries)
    if as_json:
        show(found, as_json)
        return
    for entry in found:
        out.print(f"[bold]{entry.type}[/] — {entry.name}")
        for scope in entry.scopes:
            note = " (always)" if scope.required else " (default)" if scope.default else ""
            out.print(f"  {scope.name}{note}: {scope.description}", highlight=False)


@integrations.command("show")
def show_integration(
    type_: Annotated[str, typer.Argument(metavar="TYPE")], project: ProjectId, as_json: AsJson = False
) -> None:
    """Show an integration's settings, with the redirect URL to register; never its secret."""
    shown = in_house(lambda house: _integration(house, project, type_))
    show(shown, as_json, "type", "is_active", "client_id", "scopes", "audience", "redirect_url")


@integrations.command("set")
def set_integration(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Such as onedrive.")],
    project: ProjectId,
    client_id: Annotated[str | None, typer.Option(help="Application (client) ID in Azure.")] = None,
    client_secret: Annotated[
        str | None,
        typer.Option(envvar="LANDBRIDGE_CLIENT_SECRET", help="The secret's Value; `-` reads it from standard input."),
    ] = None,
    client_secret_expires: Annotated[datetime | None, typer.Option(help="When it expires, as Azure says.")] = None,
    scopes: Annotated[str | None, typer.Option(help="Separated by commas or spaces.")] = None,
    audience: Annotated[
        str | None, typer.Option(help="organizations, common (with personal accounts), consumers, or a tenant.")
    ] = None,
    active: Annotated[bool | None, typer.Option(help="Whether users may connect and call it.")] = None,
    file_picker: Annotated[
        bool | None, typer.Option(help="Whether pages may open Microsoft's file picker with the user's token.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set an integration up, or change what is given."""
    secret = sys.stdin.readline().strip() if client_secret == "-" else client_secret  # noqa: S105 - not a secret

    async def change(house: House) -> IntegrationOut:
        await house.projects.set_integration(
            project,
            type_,
            client_id=client_id,
            client_secret=secret,
            client_secret_expires_at=client_secret_expires and client_secret_expires.replace(tzinfo=UTC),
            scopes=scopes.replace(",", " ").split() if scopes is not None else None,
            audience=audience,
            is_active=active,
            file_picker=file_picker,
        )
        return await _integration(house, project, type_)

    show(in_house(change), as_json, "type", "is_active", "client_id", "scopes", "audience", "redirect_url")


async def _integration(house: House, project: str, type_: str) -> IntegrationOut:
    row, secrets = await house.projects.integration(project, type_)
    return IntegrationOut.of(row, secrets, house.settings.redirect_url)


@users.command("token")
def user_token(
    user: Annotated[str, typer.Argument(help="The user's id in your product.")],
    project: ProjectId,
    hours: Annotated[float, typer.Option(min=0.02, max=24, help="How long it lasts.")] = 1,
    read_only: Annotated[bool, typer.Option(help="For tools alone, and only those that read.")] = False,
    tool: Annotated[list[str] | None, typer.Option(help="For tools alone, and only this one; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a token for trying out as a user; your product signs its own."""
    lifetime, reach = timedelta(hours=hours), Reach(read_only, frozenset(tool) if tool else None)
    token = in_house(lambda house: house.projects.user_token(project, user, lifetime, reach.claims()))
    if as_json:
        show(TokenOut(token=token, expires_in=int(lifetime.total_seconds())), as_json)
    else:
        print(token)


@connections.command("list")
def list_connections(
    project: ProjectId,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the accounts that users have connected."""
    found = in_house(lambda house: house.accounts.of_project(project, user_id=user))
    columns = ("id", "user_id", "integration", "status", "account", "refreshed_at", "refresh_error")
    show([ConnectionOut.of(one) for one in found], as_json, *columns)


@connections.command("disconnect")
def disconnect(
    project: ProjectId, connection_id: Annotated[str, typer.Argument(metavar="CONNECTION")], as_json: AsJson = False
) -> None:
    """Delete a connection with its tokens and settings."""
    in_house(lambda house: house.accounts.disconnect_for_operator(project, connection_id))
    done("The account is disconnected.", as_json)
