"""The terminal's way in. Every command takes `--json`."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from landbridge import __version__, app
from landbridge.app import House
from landbridge.clock import SystemClock
from landbridge.doctor.findings import Report, render
from landbridge.errors import LandbridgeError
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.telemetry import configure_logging
from landbridge.web.api import (
    ApiKeyOut,
    CatalogEntry,
    ConnectionOut,
    IntegrationOut,
    ProjectOut,
    SigningKeyOut,
    TokenOut,
)

Result = TypeVar("Result")

out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ProjectId = Annotated[str, typer.Option("--project", metavar="ID", help="The project.", envvar="LANDBRIDGE_PROJECT")]


def _group(help_: str) -> typer.Typer:
    return typer.Typer(help=help_, no_args_is_help=True, rich_markup_mode=None)


cli = _group("Landbridge: let your users connect their OneDrive, and call it on their behalf.")
projects_cli = _group("Projects: the tenants of this Landbridge.")
signing_keys_cli = _group("Keys with which your product signs its users' tokens.")
api_keys_cli = _group("Keys of the management API.")
integrations_cli = _group("Integrations: client id, secret, scopes.")
users_cli = _group("Connected users.")
connections_cli = _group("Connections: the accounts that users have connected.")
for name, group in {
    "projects": projects_cli,
    "signing-keys": signing_keys_cli,
    "api-keys": api_keys_cli,
    "integrations": integrations_cli,
    "users": users_cli,
    "connections": connections_cli,
}.items():
    cli.add_typer(group, name=name)


def main() -> None:
    """Run the command line; what goes wrong is told in plain words, with exit code 1."""
    try:
        cli()
    except LandbridgeError as error:
        _fail(error)


def _fail(error: LandbridgeError) -> NoReturn:
    if "--json" in sys.argv:
        print(json.dumps(error.body()))
    else:
        err.print(f"[bold red]{error.code}[/]: ", end="")
        err.print(error.message, markup=False, highlight=False)
        err.print(f"  {error.remedy}", markup=False, highlight=False)
    raise SystemExit(1)


def _settings(**overrides: Any) -> Settings:  # Any: options as typer parsed them
    settings = Settings.from_environment(**{name: value for name, value in overrides.items() if value is not None})
    configure_logging(settings)
    return settings


def _in_house(do: Callable[[House], Awaitable[Result]]) -> Result:
    """Run `do` with every room open."""

    async def run() -> Result:
        async with app.assemble(_settings(log_level="warning")) as house:
            return await do(house)

    return asyncio.run(run())


def _show(found: BaseModel | Sequence[BaseModel], as_json: bool, *columns: str) -> None:
    """Print models as JSON, or as a table with these columns."""
    many = list(found) if isinstance(found, Sequence) else [found]
    if as_json:
        dumped = [one.model_dump(mode="json") for one in many]
        print(json.dumps(dumped if isinstance(found, Sequence) else dumped[0], indent=2))
        return
    table = Table(*columns, box=None, pad_edge=False)
    for one in many:
        table.add_row(*(_cell(getattr(one, column)) for column in columns))
    out.print(table)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return str(value.get("email") or value.get("name") or "")
    return value.strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else "" if value is None else str(value)


def _done(text: str, as_json: bool) -> None:
    print(json.dumps({"done": text}) if as_json else text)


@cli.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    print(json.dumps({"version": __version__}) if as_json else __version__)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one.")] = None,
    worker: Annotated[bool | None, typer.Option(help="Run the background work in a child process.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve HTTP, with a worker beside it, and keep everything in one folder unless told otherwise."""
    settings = _settings(host=host, port=port, worker=worker)
    is_first = settings.vault_keys is None and not settings.key_file.exists()
    app.serve(settings, [sys.executable, "-m", "landbridge", "worker", "--supervised"], _announcer(is_first, as_json))


def _announcer(is_first: bool, as_json: bool) -> Callable[[Settings], None]:
    def announce(settings: Settings) -> None:
        if as_json:
            print(json.dumps({"url": settings.base_url, "redirect_url": settings.redirect_url}), flush=True)
            return
        if is_first:
            err.print(f"A new key ring seals every token: {settings.key_file.absolute()}", highlight=False)
            err.print("Keep a copy of it, apart from the backups of the data: without it they cannot be read.")
        err.print(f"Landbridge is at [bold]{settings.base_url}[/]", highlight=False)
        err.print(f"Redirect URL for your app in Azure: {settings.redirect_url}", highlight=False)

    return announce


@cli.command()
def worker(
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False, as_json: AsJson = False
) -> None:
    """Do the background work alone: refresh tokens ahead of their end, delete what has expired."""
    app.work(_settings(), supervised=supervised)


@cli.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database's tables to this version's shape."""

    async def run() -> None:
        database = Database.from_settings(_settings(log_level="warning"), SystemClock())
        await database.migrate()
        await database.close()

    asyncio.run(run())
    _done("The database is up to date.", as_json)


@cli.command()
def doctor(
    project: Annotated[str | None, typer.Option(metavar="ID", help="Only this project; else all.")] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Where to try client secrets, if the audience names no tenant.")
    ] = None,
    public_url: Annotated[bool, typer.Option("--public-url", help="Call ourselves by our public URL, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings here and at Microsoft, and say what to do; the exit code is 1 if anything stops users."""

    async def examine() -> Report:
        async with app.consult(_settings(log_level="error")) as found:
            return await found.examine(project, tenant=tenant, public_url=public_url)

    report = asyncio.run(examine())
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        render(report, out)
    raise typer.Exit(0 if report.is_healthy else 1)


@projects_cli.command("create")
def create_project(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    allow_origin: Annotated[list[str] | None, typer.Option(help="Origin of a page that may call us; repeat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a project."""
    row = _in_house(lambda house: house.projects.create(name, allow_origin or []))
    _show(ProjectOut.of(row), as_json, "id", "name", "allowed_origins")


@projects_cli.command("list")
def list_projects(as_json: AsJson = False) -> None:
    """List the projects."""
    rows = _in_house(lambda house: house.projects.all())
    _show([ProjectOut.of(row) for row in rows], as_json, "id", "name", "allowed_origins", "created_at")


@projects_cli.command("set")
def set_project(
    project_id: Annotated[str, typer.Argument(metavar="ID")],
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="All origins that may call us; repeat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rename a project, or replace the origins of the pages that may call us."""
    row = _in_house(lambda house: house.projects.change(project_id, name=name, allowed_origins=allow_origin or None))
    _show(ProjectOut.of(row), as_json, "id", "name", "allowed_origins")


@projects_cli.command("delete")
def delete_project(
    project_id: Annotated[str, typer.Argument(metavar="ID")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a project with its keys, connections and tokens, for good."""
    if not yes:
        typer.confirm(f"Delete project {project_id} with every connection in it?", abort=True)
    _in_house(lambda house: house.projects.delete(project_id))
    _done("The project is deleted.", as_json)


@signing_keys_cli.command("create")
def create_signing_key(
    project: ProjectId,
    algorithm: Annotated[str, typer.Option(help="RS256 or ES256.")] = "RS256",
    as_json: AsJson = False,
) -> None:
    """Create a key, and print its private half: it is shown now, and kept nowhere."""
    row, private_key = _in_house(lambda house: house.projects.create_signing_key(project, algorithm))
    if as_json:
        _show(SigningKeyOut.of(row, private_key), as_json)
        return
    err.print(f"Key {row.id} ({row.algorithm}). The private key below is shown only now.", highlight=False)
    print(private_key, end="")


@signing_keys_cli.command("import")
def import_signing_key(
    project: ProjectId,
    file: Annotated[typer.FileText, typer.Argument(help="The public key in PEM; `-` reads standard input.")],
    as_json: AsJson = False,
) -> None:
    """Add the public half of a key that your product already has."""
    row = _in_house(lambda house: house.projects.import_signing_key(project, file.read()))
    _show(SigningKeyOut.of(row), as_json, "id", "algorithm")


@signing_keys_cli.command("list")
def list_signing_keys(project: ProjectId, as_json: AsJson = False) -> None:
    """List a project's signing keys."""
    rows = _in_house(lambda house: house.projects.signing_keys(project))
    columns = ("id", "algorithm", "created_at", "expires_at", "revoked_at")
    _show([SigningKeyOut.of(row) for row in rows], as_json, *columns)


@signing_keys_cli.command("revoke")
def revoke_signing_key(
    project: ProjectId, key_id: Annotated[str, typer.Argument(metavar="KEY")], as_json: AsJson = False
) -> None:
    """End a signing key: its tokens are refused everywhere within half a second."""
    _in_house(lambda house: house.projects.revoke_signing_key(project, key_id))
    _done("The key is revoked.", as_json)


@api_keys_cli.command("create")
def create_api_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    project: Annotated[str | None, typer.Option(metavar="ID", help="Only this project; else all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key of the management API, and print it: it is shown only now."""
    row, key = _in_house(lambda house: house.projects.create_api_key(name, project))
    if as_json:
        _show(ApiKeyOut.of(row, key), as_json)
    else:
        print(key)


@api_keys_cli.command("list")
def list_api_keys(as_json: AsJson = False) -> None:
    """List the keys of the management API."""
    rows = _in_house(lambda house: house.projects.api_keys())
    _show([ApiKeyOut.of(row) for row in rows], as_json, "id", "name", "project_id", "created_at", "revoked_at")


@api_keys_cli.command("revoke")
def revoke_api_key(key_id: Annotated[str, typer.Argument(metavar="KEY")], as_json: AsJson = False) -> None:
    """End a key of the management API at once."""
    _in_house(lambda house: house.projects.revoke_api_key(key_id))
    _done("The key is revoked.", as_json)


@integrations_cli.command("list")
def list_integrations(as_json: AsJson = False) -> None:
    """List the integrations that can be set up, with their scopes."""

    async def entries(house: House) -> list[CatalogEntry]:
        return [CatalogEntry.model_validate(entry, from_attributes=True) for entry in house.catalog]

    found = _in_house(entries)
    if as_json:
        _show(found, as_json)
        return
    for entry in found:
        out.print(f"[bold]{entry.type}[/] — {entry.name}")
        for scope in entry.scopes:
            note = " (always)" if scope.required else " (default)" if scope.default else ""
            out.print(f"  {scope.name}{note}: {scope.description}", highlight=False)


@integrations_cli.command("show")
def show_integration(
    type_: Annotated[str, typer.Argument(metavar="TYPE")], project: ProjectId, as_json: AsJson = False
) -> None:
    """Show an integration's settings, with the redirect URL to register; never its secret."""
    shown = _in_house(lambda house: _integration(house, project, type_))
    _show(shown, as_json, "type", "is_active", "client_id", "scopes", "audience", "redirect_url")


@integrations_cli.command("set")
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
        )
        return await _integration(house, project, type_)

    _show(_in_house(change), as_json, "type", "is_active", "client_id", "scopes", "audience", "redirect_url")


async def _integration(house: House, project: str, type_: str) -> IntegrationOut:
    row, secrets = await house.projects.integration(project, house.catalog.get(type_).type)
    if row is None:
        raise LandbridgeError(f"{type_} is not set up in this project yet: `landbridge integrations set {type_} …`.")
    return IntegrationOut.of(row, secrets, house.settings.redirect_url)


@users_cli.command("token")
def user_token(
    user: Annotated[str, typer.Argument(help="The user's id in your product.")],
    project: ProjectId,
    hours: Annotated[float, typer.Option(min=0.02, max=24, help="How long it lasts.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Print a token for trying out as a user; your product signs its own."""
    lifetime = timedelta(hours=hours)
    token = _in_house(lambda house: house.projects.user_token(project, user, lifetime))
    if as_json:
        _show(TokenOut(token=token, expires_in=int(lifetime.total_seconds())), as_json)
    else:
        print(token)


@connections_cli.command("list")
def list_connections(
    project: ProjectId,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the accounts that users have connected."""
    found = _in_house(lambda house: house.accounts.of_project(project, user_id=user))
    columns = ("id", "user_id", "integration", "status", "account", "refreshed_at", "refresh_error")
    _show([ConnectionOut.of(one) for one in found], as_json, *columns)


@connections_cli.command("disconnect")
def disconnect(
    project: ProjectId, connection_id: Annotated[str, typer.Argument(metavar="CONNECTION")], as_json: AsJson = False
) -> None:
    """Delete a connection with its tokens and settings."""
    _in_house(lambda house: house.accounts.disconnect_for_operator(project, connection_id))
    _done("The account is disconnected.", as_json)
