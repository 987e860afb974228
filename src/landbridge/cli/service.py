"""Commands that run Landbridge and keep its data: serve, worker, migrate, backup, restore, keys."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from landbridge import __version__, app, rotation
from landbridge.cli.terminal import AsJson, done, err, group, in_house, out, settings
from landbridge.clock import SystemClock
from landbridge.disk import written_whole
from landbridge.doctor.findings import Report, render
from landbridge.errors import BackupFailed
from landbridge.rotation import Rotated
from landbridge.settings import Settings
from landbridge.store import backup
from landbridge.store.database import Database
from landbridge.vault import Vault

Result = TypeVar("Result")

commands = group("Landbridge: let your users connect their OneDrive, and call it on their behalf.")
keys = group("The key ring that seals tokens and client secrets.")


@commands.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    print(json.dumps({"version": __version__}) if as_json else __version__)


@commands.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one.")] = None,
    worker: Annotated[bool | None, typer.Option(help="Run the background work in a child process.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve HTTP, with a worker beside it, and keep everything in one folder unless told otherwise."""
    chosen = settings(host=host, port=port, worker=worker)
    from landbridge import server  # noqa: PLC0415 - no other command has to wait for the web framework

    server.serve(chosen, [sys.executable, "-m", "landbridge", "worker", "--supervised"], _announcer(as_json))


def _announcer(as_json: bool) -> Callable[[Settings], None]:
    def announce(serving: Settings) -> None:
        if as_json:
            print(json.dumps({"url": serving.base_url, "redirect_url": serving.redirect_url}), flush=True)
            return
        err.print(f"Landbridge is at [bold]{serving.base_url}[/]", highlight=False)
        err.print(f"Redirect URL for your app in Azure: {serving.redirect_url}", highlight=False)

    return announce


@commands.command()
def worker(
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False, as_json: AsJson = False
) -> None:
    """Do the background work alone: refresh tokens ahead of their end, delete what has expired."""
    app.work(settings(), supervised=supervised)


@commands.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database's tables to this version's shape."""

    async def run(database: Database) -> None:
        await database.migrate()

    _with_database(run)
    done("The database is up to date.", as_json)


@commands.command()
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
        async with app.consult(settings(log_level="error")) as found:
            return await found.examine(project, tenant=tenant, public_url=public_url)

    report = asyncio.run(examine())
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        render(report, out)
    raise typer.Exit(0 if report.is_healthy else 1)


def _with_database(do: Callable[[Database], Awaitable[Result]]) -> Result:
    """Run `do` with the database alone; an embedded one has its tables by then."""

    async def run() -> Result:
        chosen = settings(log_level="warning")
        database = Database.from_settings(chosen, SystemClock())
        try:
            if chosen.is_embedded:
                await database.migrate()
            return await do(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _progress(as_json: bool) -> Progress:
    """Return a line that tells how far long work is, on standard error."""
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, transient=True, disable=as_json)


@commands.command("backup")
def back_up(
    file: Annotated[Path, typer.Argument(help="Where to, such as landbridge.backup.")], as_json: AsJson = False
) -> None:
    """Copy the database to a file, while everything goes on. The key ring is not in it: keep that apart."""
    with _progress(as_json) as progress:
        task = progress.add_task("Copying…")

        def tell(rows: int) -> None:
            progress.update(task, description=f"{rows:,} rows copied")

        contents = _with_database(lambda database: backup.back_up(database, file, tell))
    rows = sum(contents.rows.values())
    if as_json:
        print(json.dumps({"file": str(file), "rows": rows, "created_at": contents.created_at.isoformat()}))
    else:
        print(f"{rows:,} rows are in {file}. What is secret in it opens only with the key ring, which is not in it.")


@commands.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `landbridge backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Delete what the database holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup into the database, all of it or nothing; running processes see it at once."""
    with _progress(as_json) as progress:
        task = progress.add_task("Reading…")

        def tell(rows: int) -> None:
            progress.update(task, description=f"{rows:,} rows restored")

        contents = _with_database(lambda database: backup.restore(database, file, replace=replace, progress=tell))
    done(f"{sum(contents.rows.values()):,} rows of {contents.created_at:%Y-%m-%d %H:%M} UTC are restored.", as_json)


@keys.command("rotate")
def rotate(
    new_key: Annotated[bool, typer.Option(help="Add a new key, or only re-wrap by the first of the ring.")] = True,
    as_json: AsJson = False,
) -> None:
    """Wrap every secret by a new key, while everything goes on. Can be stopped and run again."""
    with _progress(as_json) as progress:
        task = progress.add_task("Looking…")

        def tell(seen: int, all_: int) -> None:
            progress.update(task, description=f"{seen:,} of {all_:,} values")

        rotated = in_house(lambda house: rotation.rotate(house.database, house.vault, new_key=new_key, progress=tell))
    _tell_rotated(rotated, as_json)


def _tell_rotated(rotated: Rotated, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: getattr(rotated, name) for name in Rotated.__dataclass_fields__}))
    else:
        print(f"{rotated.rewrapped:,} values are wrapped by {rotated.key_id}.")
        print("Older keys stay in the ring: older backups need them. Keep a copy of the ring apart from the data.")
        if not rotated.is_complete:
            err.print("Some process still seals with an older key: restart it, then rotate with --no-new-key.")
        for name in rotated.unreadable:
            err.print(f"This value does not open, and was left as it is: {name}", markup=False)
    if rotated.unreadable or not rotated.is_complete:
        raise SystemExit(1)


@keys.command("export")
def export(
    output: Annotated[Path | None, typer.Option(help="A new file (0600); else standard output.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the key ring, to keep a copy apart from the data. Whoever has both can read every token."""
    ring = Vault.from_settings(settings(log_level="warning")).ring
    text = json.dumps({"keys": ring.text().split()}) if as_json else ring.text().rstrip()
    if output is None:
        print(text)
        return
    try:
        with written_whole(output, replace=False) as file:
            file.write(f"{text}\n".encode())
    except FileExistsError:
        raise BackupFailed(f"{output} is there already; an older ring may be the only copy of its keys.") from None
    except OSError as error:
        raise BackupFailed(f"{output} cannot be written: {error.strerror}.") from error
    err.print(f"The key ring is in {output}.", highlight=False)
