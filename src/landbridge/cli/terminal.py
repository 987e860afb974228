"""What every command shares: the settings, the open rooms, and how results and errors are printed."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from landbridge import app
from landbridge.app import House
from landbridge.errors import InvalidRequest, LandbridgeError
from landbridge.settings import Settings
from landbridge.telemetry import configure_logging

Result = TypeVar("Result")

out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
tables = Console(width=10_000)  # a terminal breaks long lines, and a program reads them whole

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ProjectId = Annotated[str, typer.Option("--project", metavar="ID", help="The project.", envvar="LANDBRIDGE_PROJECT")]


def group(help_: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(help=help_, no_args_is_help=True, rich_markup_mode=None)


def fail(error: LandbridgeError) -> NoReturn:
    """Tell in plain words what went wrong and what to do, and end with exit code 1."""
    if "--json" in sys.argv:
        print(json.dumps(error.body()))
    else:
        err.print(f"[bold red]{error.code}[/]: ", end="")
        err.print(error.message, markup=False, highlight=False)
        err.print(f"  {error.remedy}", markup=False, highlight=False)
    raise SystemExit(1)


def settings(**overrides: Any) -> Settings:  # Any: options as typer parsed them
    """Return the settings, with the options of a command over the environment, and set logging up."""
    chosen = Settings.from_environment(**{name: value for name, value in overrides.items() if value is not None})
    configure_logging(chosen)
    return chosen


def in_house(do: Callable[[House], Awaitable[Result]]) -> Result:
    """Run `do` with every room open."""

    async def run() -> Result:
        async with app.assemble(settings(log_level="warning")) as house:
            return await do(house)

    return asyncio.run(run())


def show(found: BaseModel | Sequence[BaseModel], as_json: bool, *columns: str) -> None:
    """Print models as JSON, or as a table with these columns, which cuts nothing off: ids and URLs are to be copied."""
    many = list(found) if isinstance(found, Sequence) else [found]
    if as_json:
        dumped = [one.model_dump(mode="json") for one in many]
        print(json.dumps(dumped if isinstance(found, Sequence) else dumped[0], indent=2))
        return
    table = Table(*columns, box=None, pad_edge=False)
    for one in many:
        table.add_row(*(_cell(getattr(one, column)) for column in columns))
    tables.print(table)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return str(value.get("email") or value.get("name") or "")
    return value.strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else "" if value is None else str(value)


def json_of(file: typer.FileText | None, name: str) -> Any:  # Any: JSON
    """Return what a file of JSON holds, or None without one. Raises `InvalidRequest` that names the option."""
    try:
        return json.loads(file.read()) if file else None
    except ValueError:
        raise InvalidRequest(f"{name}: this is not JSON.") from None


def done(text: str, as_json: bool) -> None:
    """Say that something was done."""
    print(json.dumps({"done": text}) if as_json else text)
