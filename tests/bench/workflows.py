"""Workflows against the engine alone: as many journaled steps, as durable a journal, the same provider, in turns.

A request starts a workflow of an action, a condition, a request and a response, sixteen at a time; a fan-out runs a
thousand entries; and what a step more takes is told by workflows that differ in nothing else. The provider is a file
that nginx serves from memory.
"""

import asyncio
import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from tests.bench import raw_engine
from tests.bench.bench import Bench, Pairs, in_turns
from tests.bench.load import burst
from tests.bench.processes import children, standing_still
from tests.bench.proxy import LISTING, VERSION, _write_files
from tests.bench.records import ratio_at_least
from tests.bench.servers import (
    Seat,
    Server,
    await_port,
    connect_someone,
    landbridge,
    nginx,
    running,
    settings_for,
)
from tests.ground.migrated import migrate
from tests.ground.ports import free_port
from tests.ground.postgres import PostgresServer, running_postgres

from landbridge import app
from landbridge.settings import Settings
from landbridge.store.journal import Journal
from landbridge.workflows.definition import Workflow

ANSWER = """
name: Answer
trigger: {type: request}
steps:
  - {id: list, type: action, action: list_files, input: {}}
  - id: some
    type: conditional
    if: [[{left: "{{ steps.list.result.value }}", operator: $arrayIsNotEmpty}]]
    then:
      - {id: ask, type: request, url: "@url@"}
  - {id: answer, type: response, body: "{{ steps.ask?.response.statusCode }}"}
"""
FAN_OUT = """
name: Fan out
trigger: {type: request}
steps:
  - id: each
    type: fanOut
    over: "{{ trigger.request.body.items }}"
    concurrency: 16
    steps: [{id: ask, type: request, url: "@url@"}]
    result: "{{ index }}"
  - {id: answer, type: response, body: {count: "{{ steps.each.results[-1] }}"}}
"""
IN_A_ROW = """
name: Ask in a row
trigger: {type: request}
steps:
@steps@
  - {id: answer, type: response, body: {}}
"""

_AT_ONCE = 16
_FEW, _MANY = 1, 21


def measure(bench: Bench) -> None:
    """Record what runs cost beside the engine's own, on each kind of database."""
    folder = bench.folder / "workflows"
    _write_files(folder / "files", 1)
    with nginx("upstream.conf", folder / "upstream", root=folder / "files") as provider:
        _measure_on(bench, folder / "sqlite", provider, None)
        with (
            running_postgres() as url,
            contextlib.closing(PostgresServer(url)) as server,
            server.database() as ours,
            server.database() as raw,
        ):
            _measure_on(bench, folder / "postgresql", provider, (ours, raw))


@dataclass(frozen=True)
class Sides:
    """Landbridge with its workflows, and the engine alone."""

    raw: str
    database: str
    headers: dict[str, str]
    answer: str
    fan_out: str
    few: str
    many: str
    our_processes: Sequence[int]
    raw_processes: Sequence[int]

    def in_turns(self, times: int, ours: Callable[[], float], raw: Callable[[], float]) -> Pairs:
        """Measure both, each while the other stands still: both look for work all the time."""

        def alone(do: Callable[[], float], others: Sequence[int]) -> Callable[[], float]:
            def measured() -> float:
                with standing_still(others):
                    return do()

            return measured

        return Pairs(*in_turns(times, alone(ours, self.raw_processes), alone(raw, self.our_processes)))


def _measure_on(bench: Bench, folder: Path, provider: Server, databases: tuple[str, str] | None) -> None:
    with _sides(folder, provider, databases) as sides:
        _asked(sides.answer, sides.headers, {})  # the first run loads the engine
        _measure_many(bench, folder, sides)
        _measure_one(bench, folder, sides)
        _measure_step(bench, folder, sides)
        _measure_fan_out(bench, sides)


@contextlib.contextmanager
def _sides(folder: Path, provider: Server, databases: tuple[str, str] | None) -> Iterator[Sides]:
    folder.mkdir()
    settings = settings_for(folder / "landbridge", provider.url)
    journal = f"sqlite:///{folder / 'raw.db'}"
    if databases:
        settings, journal = settings.model_copy(update={"database_url": databases[0]}), databases[1]
        asyncio.run(_migrated(settings))
    settings = settings.model_copy(update={"runs_per_connection": _AT_ONCE})
    seat = asyncio.run(connect_someone(settings))
    ids = asyncio.run(_deployed(settings, seat, provider.url))
    port = free_port()
    command = (sys.executable, "-m", "tests.bench.raw_engine", port, provider.url + VERSION + LISTING, journal)
    (folder / "raw").mkdir()
    with landbridge(settings) as ours, running(command, folder / "raw") as raw:
        await_port(port, raw)
        base = f"{ours.url}/projects/{seat.project_id}/sdk/triggers"
        headers = seat.headers | {"Content-Type": "application/json"}
        database = _as_durable(Journal(settings).engine, raw_engine.engine(journal))
        answer, fan_out, few, many = (f"{base}/{id_}" for id_ in ids)
        yield Sides(
            raw=f"http://127.0.0.1:{port}/",
            database=database,
            headers=headers,
            answer=answer,
            fan_out=fan_out,
            few=few,
            many=many,
            our_processes=(ours.pid, *children(ours.pid)),
            raw_processes=(raw.pid,),
        )


def _as_durable(ours: Engine, raw: Engine) -> str:
    """Return which database the two journals are in, and how durable that makes what they hold."""
    if (mode := _durability(ours)) != _durability(raw):
        raise RuntimeError(f"The journals are not equally durable: ours is in {mode}, the engine's {_durability(raw)}.")
    return mode


def _durability(engine: Engine) -> str:
    is_sqlite = engine.dialect.name == "sqlite"
    asked = ("PRAGMA journal_mode", "PRAGMA synchronous") if is_sqlite else ("SHOW fsync", "SHOW synchronous_commit")
    with engine.connect() as connection:
        first, second = (connection.exec_driver_sql(question).scalar_one() for question in asked)
    engine.dispose()
    if is_sqlite:
        return f"SQLite ({first.upper()}, {('OFF', 'NORMAL', 'FULL', 'EXTRA')[second]})"
    return f"PostgreSQL (fsync {first}, synchronous_commit {second})"


async def _migrated(settings: Settings) -> None:
    await migrate(settings)


async def _deployed(settings: Settings, seat: Seat, provider: str) -> list[str]:
    async with app.assemble(settings) as house:
        ids = []
        for text in (ANSWER, FAN_OUT, _in_a_row(_FEW), _in_a_row(_MANY)):
            definition = Workflow.from_yaml(text.replace("@url@", provider + VERSION + LISTING))
            row = await house.deployments.create(seat.project_id, definition)
            await house.deployments.set(seat.project_id, row.id, is_default_enabled=True)
            await house.deployments.deploy(seat.project_id, row.id)
            ids.append(row.id)
        return ids


def _in_a_row(count: int) -> str:
    steps = (f'  - {{id: ask_{number}, type: request, url: "@url@"}}' for number in range(count))
    return IN_A_ROW.replace("@steps@", "\n".join(steps))


def _measure_many(bench: Bench, folder: Path, sides: Sides) -> None:
    script = _post(folder / "post.lua", {})

    def rate(url: str, headers: dict[str, str]) -> float:
        return burst(url, headers, connections=_AT_ONCE, seconds=bench.seconds, post=script).per_second

    rate(sides.answer, sides.headers), rate(sides.raw, {})
    pairs = sides.in_turns(bench.pairs, lambda: rate(sides.answer, sides.headers), lambda: rate(sides.raw, {}))
    _record(bench, f"runs of two journaled steps, {_AT_ONCE} at once, {sides.database}", "runs/s", pairs, 0.6)


def _measure_one(bench: Bench, folder: Path, sides: Sides) -> None:
    def ours() -> float:
        return _median(bench, folder, sides.answer, sides.headers)

    pairs = sides.in_turns(bench.pairs, ours, lambda: _median(bench, folder, sides.raw, {}))
    name = f"median of one such run at a time, {sides.database}"
    bench.records.record(name, pairs.value, "ms", reference=pairs.reference)


def _measure_step(bench: Bench, folder: Path, sides: Sides) -> None:
    """Record what a step more takes: the difference of two medians, by the steps that one of them has more."""

    def more(few: str, many: str, headers: dict[str, str]) -> float:
        fewer, all_ = (_median(bench, folder, url, headers) for url in (few, many))
        return (all_ - fewer) / (_MANY - _FEW)

    def raw() -> float:
        return more(f"{sides.raw}in-a-row?{_FEW}", f"{sides.raw}in-a-row?{_MANY}", {})

    pairs = sides.in_turns(bench.pairs, lambda: more(sides.few, sides.many, sides.headers), raw)
    bench.records.record(f"journaled step more, {sides.database}", pairs.value, "ms", reference=pairs.reference)


def _median(bench: Bench, folder: Path, url: str, headers: dict[str, str]) -> float:
    """Return how long it takes while nothing else is done, in milliseconds."""
    return burst(url, headers, connections=1, seconds=bench.seconds / 2, post=folder / "post.lua").median_ms


def _measure_fan_out(bench: Bench, sides: Sides) -> None:
    count = 20 if bench.short else 1000

    def rate(url: str, headers: dict[str, str], body: object) -> float:
        return count / _asked(url, headers, body)

    items = {"items": list(range(count))}
    pairs = sides.in_turns(
        1 if bench.short else 3,
        lambda: rate(sides.fan_out, sides.headers, items),
        lambda: rate(f"{sides.raw}fan-out?{count}", {}, {}),
    )
    _record(bench, f"entries of a fan-out of {count:,}, {sides.database}", "entries/s", pairs, 0.6)


def _asked(url: str, headers: dict[str, str], body: object) -> float:
    """Return how many seconds one request took."""
    began = time.perf_counter()
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - began


def _post(path: Path, body: object) -> Path:
    text = json.dumps(json.dumps(body))
    path.write_text(f'wrk.method = "POST"\nwrk.body = {text}\n')
    return path


def _record(bench: Bench, name: str, unit: str, pairs: Pairs, least: float) -> None:
    bench.records.record(
        name, pairs.value, unit, reference=pairs.reference, ratio=pairs.ratio, target=ratio_at_least(least)
    )
