"""Actions as tools, whichever way they are called: their names, what they take, who may use which, doing one."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Set
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, get_args
from uuid import uuid4

from landbridge.access import Caller, Reach
from landbridge.errors import InvalidRequest, NotFound, ProviderTimedOut
from landbridge.files import File, RunFiles
from landbridge.kit import Action, Result, Wait, Workbench
from landbridge.web.rooms import Rooms

LONGEST_CALL = timedelta(seconds=100)
"""How long a call of a tool may wait for what the provider does in the background."""

_THEIR_NAMES = {"ONEDRIVE_GET_FILE": "ONEDRIVE_GET_FILE_BY_ID", "ONEDRIVE_LIST_FILES": "ONEDRIVE_LIST_CONTENTS"}
"""What ActionKit calls actions that have another name here; both names are understood."""

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"ONEDRIVE_GET_FILE_BY_ID": {"withContent": False}}  # Any: JSON
"""Where a tool takes something else for granted than the action does in a workflow, as ActionKit's of that name."""

_EVERYTHING = Reach()


@dataclass(frozen=True)
class Tool:
    """An action, as programs and language models know it."""

    integration: str
    action: Action

    @property
    def own_name(self) -> str:
        """The name made of integration and action."""
        return f"{self.integration}_{self.action.name.removeprefix(f'{self.integration}_')}".upper()

    @property
    def name(self) -> str:
        """The name under which it is listed: ActionKit's, if it has one."""
        return _THEIR_NAMES.get(self.own_name, self.own_name)

    @property
    def file_field(self) -> str | None:
        """The field that takes a file, if one does."""
        fields = self.action.given.model_fields.items()
        return next((name for name, of in fields if File in (of.annotation, *get_args(of.annotation))), None)

    def completed(self, values: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON, or Files
        """Return values with what the tool takes for granted."""
        return {**self._defaults, **values}

    @property
    def _defaults(self) -> Mapping[str, Any]:  # Any: JSON
        return _DEFAULTS.get(self.name, {})

    def is_within(self, reach: Reach) -> bool:
        """Return whether those who may use so much may use this."""
        named = reach.only is None or bool({self.name, self.own_name} & reach.only)
        return named and (self.action.effect == "reads" or not reach.read_only)

    def parameters(self, file: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON Schema
        """Return the schema of what it takes; `file` is how a file is written where it is called."""
        schema = self.action.given.model_json_schema(by_alias=True)
        if "File" in schema.get("$defs", {}):
            schema["$defs"]["File"] = file
        schema.pop("description", None)
        for name, value in self._defaults.items():
            schema["properties"][name]["default"] = value
        without_titles: dict[str, Any] = _without_titles(schema)
        return without_titles


class Toolbox:
    """The tools of one project, for one caller."""

    def __init__(self, rooms: Rooms, caller: Caller) -> None:
        self._rooms = rooms
        self.caller = caller

    async def tools(
        self, integrations: Set[str], wanted: Reach, *, only_connected: bool = False
    ) -> dict[str, list[Tool]]:
        """Return the tools of each integration that is active: those that the caller may use, and wants."""
        active = [row.type for row in await self._rooms.projects.integrations(self.caller.project_id) if row.is_active]
        if only_connected:
            connected = {one.connection.integration for one in await self._rooms.accounts.list(self.caller)}
            active = [integration for integration in active if integration in connected]
        offered: dict[str, list[Tool]] = {name: [] for name in active if not integrations or name in integrations}
        for integration, tools in offered.items():
            every = (Tool(integration, action) for action in self._rooms.actions.of(integration))
            tools += [tool for tool in every if self._is_offered(tool, wanted, integrations)]
        return offered

    def find(self, name: object, wanted: Reach, integrations: Set[str] = frozenset()) -> Tool:
        """Return a tool by one of its names, in either case, or raise `NotFound`: also if the caller may not use it."""
        asked = str(name).upper()
        for integration, action in self._rooms.actions:
            tool = Tool(integration, action)
            if asked in {tool.name, tool.own_name} and self._is_offered(tool, wanted, integrations):
                return tool
        raise NotFound(
            f"There is no action “{str(name)[:64]}” that you may use. List them to see those that there are."
        )

    def _is_offered(self, tool: Tool, wanted: Reach, integrations: Set[str]) -> bool:
        is_asked_for = not integrations or tool.integration in integrations
        return is_asked_for and tool.is_within(wanted) and tool.is_within(self.caller.reach or _EVERYTHING)

    @contextlib.asynccontextmanager
    async def call(self, files: RunFiles | None = None) -> AsyncIterator["Call"]:
        """Give what one call works with, and forget its checkpoints after it; also its files, unless they are given."""
        run_id = f"call:{uuid4()}"
        bench = self._rooms.workbench
        try:
            yield Call(self.caller, bench, run_id, files or bench.files(self.caller.project_id, run_id))
        finally:
            await bench.clear(self.caller.project_id, run_id)


@dataclass(frozen=True)
class Call:
    """One call of a tool, which is a run of its own. `files` are those that it takes and gives."""

    caller: Caller
    bench: Workbench
    run_id: str
    files: RunFiles

    async def do(
        self, tool: Tool, selector: str | None, values: Mapping[str, Any], longest_file: int | None
    ) -> Result:  # Any: JSON
        """Do what a tool does, called again after each wait.

        Raises `TooLarge` as soon as a file that it fetches is longer than `longest_file` bytes.
        """
        context = self.bench.context(self.caller, tool.integration, selector, run_id=self.run_id, step="call")
        given = await tool.action.receive(tool.completed(values), self.files)
        self.files.must_have_used_all()
        context = replace(context, files=self.files.up_to(longest_file))
        give_up_at = context.clock.now() + LONGEST_CALL
        while isinstance(outcome := await tool.action.run(context, given), Wait):
            if outcome.until > give_up_at:
                raise ProviderTimedOut("The provider still works on it, for longer than a call may take.")
            await context.clock.sleep(max(outcome.until - context.clock.now(), timedelta(0)))
            context = replace(context, token=outcome.token)
        return outcome


def files_in(result: Result) -> dict[str, File]:
    """Return the files in a result, by the names that they have outside."""
    fields = type(result).model_fields.items()
    return {of.alias or name: file for name, of in fields if isinstance(file := getattr(result, name), File)}


def wanted(query: Mapping[str, str]) -> Reach:
    """Return which tools an address asks for with `read_only` and `tools`. Raises `InvalidRequest`."""
    read_only, names = query.get("read_only", "false").lower(), query.get("tools")
    if read_only not in {"true", "false"}:
        raise InvalidRequest("`read_only` is `true` or `false`.")
    only = None if names is None else frozenset(name.strip().upper() for name in names.split(",") if name.strip())
    return Reach(read_only == "true", only)


def listed(query: Mapping[str, str], name: str) -> set[str]:
    """Return the names in a query option, which are separated by commas."""
    return set(filter(None, query.get(name, "").split(",")))


def _without_titles(schema: Any, *, is_names: bool = False) -> Any:  # Any: JSON Schema
    """Return a schema without the titles that pydantic makes of names: they say nothing, and models pay by the word."""
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_titles(one, is_names=name in {"properties", "$defs"} and not is_names)
        for name, one in schema.items()
        if is_names or name != "title" or not isinstance(one, str)
    }
