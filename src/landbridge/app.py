"""The one place where all rooms meet: they are built here, from the settings, and handed down."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog
import uvloop

from landbridge import integrations, rotation
from landbridge.access import Access
from landbridge.catalog import Catalog
from landbridge.clock import Clock, SystemClock
from landbridge.connections.accounts import Accounts
from landbridge.connections.picker import Picker
from landbridge.connections.sign_ins import SignIns
from landbridge.connections.tokens import Tokens
from landbridge.doctor.examination import Doctor
from landbridge.errors import Misconfigured, StoreFailed
from landbridge.files import Files
from landbridge.kit import Actions, Workbench
from landbridge.outbound import Outbound
from landbridge.projects import Projects
from landbridge.providers.microsoft import Microsoft
from landbridge.proxy import Proxy
from landbridge.settings import Settings
from landbridge.store import sealed
from landbridge.store.database import Database
from landbridge.store.runs import Limits
from landbridge.telemetry import Metrics
from landbridge.vault import Vault
from landbridge.worker import Worker
from landbridge.workflows.agenda import Agenda
from landbridge.workflows.appointments import Appointments
from landbridge.workflows.deployments import Deployments
from landbridge.workflows.effects import Effects
from landbridge.workflows.jail import Jail
from landbridge.workflows.large_values import LargeValues
from landbridge.workflows.legs import Legs
from landbridge.workflows.requests import Requests
from landbridge.workflows.retention import Retention
from landbridge.workflows.runs import Runs, Sealing
from landbridge.workflows.testing import Testing
from landbridge.workflows.triggers import Triggers

if TYPE_CHECKING:
    from landbridge.engine import Engine

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class House:
    """Every room, built and open."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    database: Database
    vault: Vault
    catalog: Catalog
    outbound: Outbound
    microsoft: Microsoft
    projects: Projects
    access: Access
    accounts: Accounts
    tokens: Tokens
    sign_ins: SignIns
    picker: Picker
    proxy: Proxy
    files: Files
    actions: Actions
    workbench: Workbench
    deployments: Deployments
    sealing: Sealing
    runs: Runs
    large_values: LargeValues
    triggers: Triggers
    testing: Testing
    appointments: Appointments


@contextlib.asynccontextmanager
async def assemble(settings: Settings, clock: Clock | None = None) -> AsyncIterator[House]:
    """Build every room from the settings, and close them in the end.

    The embedded database is migrated; another one must have been, by `landbridge migrate`. Raises `Misconfigured`,
    `StoreFailed`.
    """
    clock = clock or SystemClock()
    async with contextlib.AsyncExitStack() as closing:
        database = Database.from_settings(settings, clock)
        closing.push_async_callback(database.close)
        if settings.is_embedded:
            await database.migrate()
        else:
            await database.check()
        await _must_not_have_lost_the_ring(settings, database)
        vault = Vault.from_settings(settings)
        await database.skip_old_news()
        rotation.follow(database, vault)
        outbound = await closing.enter_async_context(Outbound(settings))
        house = _build(settings, clock, database, vault, outbound)
        closing.push_async_callback(house.tokens.settle)
        yield house


def _build(settings: Settings, clock: Clock, database: Database, vault: Vault, outbound: Outbound) -> House:
    """Build what needs no opening, each room from those below it."""
    catalog, metrics = Catalog.read(files("landbridge.integrations")), Metrics()
    microsoft = _microsoft(settings, outbound, clock)
    projects = Projects(database, vault, catalog, clock)
    accounts = Accounts(database, clock)
    tokens = Tokens(database, vault, projects, microsoft, clock, metrics)
    sign_ins = SignIns(
        database=database,
        vault=vault,
        projects=projects,
        catalog=catalog,
        microsoft=microsoft,
        accounts=accounts,
        tokens=tokens,
        settings=settings,
        clock=clock,
        metrics=metrics,
    )
    proxy = Proxy(tokens=tokens, catalog=catalog, outbound=outbound, settings=settings, clock=clock, metrics=metrics)
    files_of_runs = Files.from_settings(settings, vault)
    actions = gather_actions(catalog)
    deployments = Deployments(database, vault, actions, clock)
    sealing = Sealing(vault)
    runs = Runs(database, sealing, deployments, files_of_runs, clock)
    return House(
        settings=settings,
        clock=clock,
        metrics=metrics,
        database=database,
        vault=vault,
        catalog=catalog,
        outbound=outbound,
        microsoft=microsoft,
        projects=projects,
        access=Access(projects, database, settings, clock),
        accounts=accounts,
        tokens=tokens,
        sign_ins=sign_ins,
        picker=Picker(projects, tokens, microsoft),
        proxy=proxy,
        files=files_of_runs,
        actions=actions,
        workbench=Workbench(proxy, files_of_runs, database, vault, clock),
        deployments=deployments,
        sealing=sealing,
        runs=runs,
        large_values=LargeValues(database, files_of_runs),
        triggers=Triggers(accounts, deployments, runs, files_of_runs),
        testing=Testing(database, sealing, accounts, deployments, runs, files_of_runs, clock),
        appointments=Appointments(database, deployments, runs, clock),
    )


def _microsoft(settings: Settings, outbound: Outbound, clock: Clock) -> Microsoft:
    return Microsoft(
        outbound, login_url=settings.microsoft_login_url, graph_url=settings.microsoft_graph_url, clock=clock
    )


async def _must_not_have_lost_the_ring(settings: Settings, database: Database) -> None:
    """Raise `Misconfigured` rather than make a new key ring beside a database that an older one sealed."""
    if settings.vault_keys is not None or settings.key_file.exists():
        return
    async with database.read() as tx:
        if await sealed.is_any(tx):
            raise Misconfigured(
                f"The key file {settings.key_file} is gone, and the database holds secrets that only it opens. "
                "Put back the copy of it; a new one cannot read them."
            )


def gather_actions(catalog: Catalog) -> Actions:
    """Return the actions of every integration that has some."""
    modules = {manifest.type: f"{integrations.__name__}.{manifest.type}.actions" for manifest in catalog}
    return Actions({type_: import_module(name) for type_, name in modules.items() if find_spec(name)})


@contextlib.asynccontextmanager
async def consult(settings: Settings) -> AsyncIterator[Doctor]:
    """Build a doctor with the few rooms that it asks, of an installation that may be too ill to be assembled."""
    clock, catalog, vault = SystemClock(), Catalog.read(files("landbridge.integrations")), Vault.from_settings(settings)
    async with contextlib.AsyncExitStack() as closing:
        database = Database.from_settings(settings, clock)
        closing.push_async_callback(database.close)
        if settings.is_embedded:
            with contextlib.suppress(StoreFailed):  # the doctor says it better
                await database.migrate()
        outbound = await closing.enter_async_context(Outbound(settings))
        projects = Projects(database, vault, catalog, clock)
        yield Doctor(settings, database, vault, projects, catalog, outbound, _microsoft(settings, outbound, clock))


def spare_the_collector() -> None:
    """Look for garbage more rarely, and not through what there is now.

    Modules, routes and models live as long as the process does; and of a list of 100,000 items at the usual thresholds
    more than half the time went into looking again and again through what was just made. At these it is an eighth: 3 us
    of an item's 23, where the usual second threshold (10) makes it 8.
    """
    gc.freeze()
    gc.set_threshold(50_000, 100, 10)


def work(settings: Settings, *, supervised: bool) -> None:
    """Do the background work until a signal, or the end of the process that supervises this one, ends it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(settings, supervised))


async def _work(settings: Settings, supervised: bool) -> None:
    async with assemble(settings) as house, Jail() as jail:
        spare_the_collector()
        working = asyncio.create_task(worker_of(house, jail).run())
        on_signals(working.cancel)
        if supervised:
            watching = asyncio.create_task(_until_orphaned(working))
        log.info("worker is working")
        with contextlib.suppress(asyncio.CancelledError):
            await working
        if supervised:
            watching.cancel()


def worker_of(house: House, jail: Jail) -> Worker:
    """Return what does the background work, its functions in that jail."""
    kept = timedelta(days=house.settings.history_days)
    retention = Retention(house.database, house.workbench, house.large_values, house.clock, kept)
    agenda = agenda_of(house, jail)
    return Worker(house.database, house.tokens, house.files, agenda, house.appointments, retention, house.clock)


def agenda_of(house: House, jail: Jail) -> Agenda:
    """Return a worker's share of the runs."""
    cancelling: set[str] = set()
    requests = Requests(house.outbound, house.clock, house.settings.user_agent)
    effects = Effects(house.actions, house.workbench, requests, jail, house.clock)
    legs = Legs(
        house.database,
        house.sealing,
        house.deployments,
        effects,
        house.large_values,
        house.clock,
        cancelling.__contains__,
    )
    settings = house.settings
    return Agenda(
        house.database,
        house.clock,
        legs,
        partial(_open_engine, settings, house.vault),
        cancelling=cancelling,
        at_once=settings.runs_at_once,
        limits=Limits(settings.runs_per_project, settings.runs_per_connection),
    )


async def _open_engine(
    settings: Settings, vault: Vault, walk: Callable[[str, int], Awaitable[None]], worker_id: str
) -> "Engine":
    module = await asyncio.to_thread(import_module, "landbridge.engine")  # half a second, while others go on
    engine: Engine = module.Engine(settings, vault, walk, worker_id)
    await engine.open()
    return engine


async def _until_orphaned(working: asyncio.Task[None]) -> None:
    """End the work when standard input does: its other end is held by the supervisor, and closes when that dies."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), _stdin())
    await reader.read()
    log.info("the server is gone, the worker ends too")
    working.cancel()


def _stdin() -> object:
    return open(0, "rb", buffering=0, closefd=False)


def on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` when somebody asks this process to end."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
