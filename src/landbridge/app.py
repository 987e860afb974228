"""The one place where all rooms meet: they are built here, from the settings, and handed down."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec

import structlog
import uvicorn
import uvloop

from landbridge import integrations, rotation
from landbridge.access import Access
from landbridge.catalog import Catalog
from landbridge.clock import Clock, SystemClock
from landbridge.connections.accounts import Accounts
from landbridge.connections.sign_ins import SignIns
from landbridge.connections.tokens import Tokens
from landbridge.doctor.examination import Doctor
from landbridge.errors import Misconfigured, StoreFailed
from landbridge.files import Files
from landbridge.kit import Actions
from landbridge.outbound import Outbound
from landbridge.projects import Projects
from landbridge.providers.microsoft import Microsoft
from landbridge.proxy import Proxy
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.supervisor import Supervisor
from landbridge.telemetry import Metrics
from landbridge.vault import Vault
from landbridge.web import site
from landbridge.web.rooms import Rooms
from landbridge.web.wire import Wire
from landbridge.worker import Worker, every

log = structlog.get_logger(__name__)

USE_NOTED_EVERY = timedelta(minutes=1)
_GRACE_SECONDS = 20
_MOST_CONNECTIONS = 4000


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
    proxy: Proxy
    files: Files
    actions: Actions

    @property
    def rooms(self) -> Rooms:
        """What HTTP leads to."""
        return Rooms(
            settings=self.settings,
            clock=self.clock,
            database=self.database,
            catalog=self.catalog,
            projects=self.projects,
            access=self.access,
            accounts=self.accounts,
            sign_ins=self.sign_ins,
            proxy=self.proxy,
            metrics=self.metrics,
        )


@contextlib.asynccontextmanager
async def assemble(settings: Settings, clock: Clock | None = None) -> AsyncIterator[House]:
    """Build every room from the settings, and close them in the end.

    The embedded database is migrated; another one must have been, by `landbridge migrate`. Raises `Misconfigured`,
    `StoreFailed`.
    """
    clock = clock or SystemClock()
    catalog = Catalog.read(files("landbridge.integrations"))
    vault = Vault.from_settings(settings)
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as closing:
        database = Database.from_settings(settings, clock)
        closing.push_async_callback(database.close)
        if settings.is_embedded:
            await database.migrate()
        else:
            await database.check()
        await database.skip_old_news()
        rotation.follow(database, vault)
        outbound = await closing.enter_async_context(Outbound(settings))
        microsoft = Microsoft(
            outbound, login_url=settings.microsoft_login_url, graph_url=settings.microsoft_graph_url, clock=clock
        )
        projects = Projects(database, vault, catalog, clock)
        accounts = Accounts(database, clock)
        tokens = Tokens(database, vault, projects, microsoft, clock, metrics)
        closing.push_async_callback(tokens.settle)
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
        proxy = Proxy(
            tokens=tokens, catalog=catalog, outbound=outbound, settings=settings, clock=clock, metrics=metrics
        )
        yield House(
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
            proxy=proxy,
            files=Files.from_settings(settings, vault),
            actions=gather_actions(catalog),
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
        microsoft = Microsoft(
            outbound, login_url=settings.microsoft_login_url, graph_url=settings.microsoft_graph_url, clock=clock
        )
        projects = Projects(database, vault, catalog, clock)
        yield Doctor(settings, database, vault, projects, catalog, outbound, microsoft)


def serve(settings: Settings, worker_command: list[str], announce: Callable[[Settings], None]) -> None:
    """Serve HTTP, and supervise a worker child if the settings say so, until a signal ends both.

    `announce` is called once requests are answered, with the settings as they turned out (a port of 0 is a real one).
    """
    listening = _listen(settings)
    settings = settings.model_copy(update={"port": listening.getsockname()[1]})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listening, worker_command, announce))


async def _serve(
    settings: Settings, listening: socket.socket, worker_command: list[str], announce: Callable[[Settings], None]
) -> None:
    async with assemble(settings) as house:
        listening.listen(2048)
        server = _Server(_uvicorn_config(site.build(house.rooms), settings))
        _on_signals(server.stop)
        background = [
            asyncio.create_task(house.database.watch()),
            asyncio.create_task(every(USE_NOTED_EVERY, house.tokens.note_use, house.clock)),
        ]
        if settings.worker:
            background.append(asyncio.create_task(Supervisor(worker_command, house.clock).run()))
        for task in background:
            task.add_done_callback(lambda ended: None if ended.cancelled() else server.stop())
        gc.freeze()  # modules, routes, models: they live as long as we do, and need not be looked through again
        announce(settings)
        try:
            await server.serve(sockets=[listening])
        finally:
            for task in background:
                task.cancel()
            ended = await asyncio.gather(*background, return_exceptions=True)
            await house.tokens.note_use()
        if defects := [error for error in ended if isinstance(error, Exception)]:  # better to end than to go on deaf
            raise defects[0]


def work(settings: Settings, *, supervised: bool) -> None:
    """Do the background work until a signal, or the end of the process that supervises this one, ends it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(settings, supervised))


async def _work(settings: Settings, supervised: bool) -> None:
    async with assemble(settings) as house:
        worker = Worker(house.database, house.tokens, house.files, house.clock)
        working = asyncio.create_task(worker.run())
        _on_signals(working.cancel)
        if supervised:
            watching = asyncio.create_task(_until_orphaned(working))
        log.info("worker is working")
        with contextlib.suppress(asyncio.CancelledError):
            await working
        if supervised:
            watching.cancel()


async def _until_orphaned(working: asyncio.Task[None]) -> None:
    """End the work when standard input does: its other end is held by the supervisor, and closes when that dies."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), _stdin())
    await reader.read()
    log.info("the server is gone, the worker ends too")
    working.cancel()


def _stdin() -> object:
    return open(0, "rb", buffering=0, closefd=False)


class _Server(uvicorn.Server):
    """Uvicorn, with the signals left to us, so that the rooms are closed after it."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]  # the same to callers
        """Leave the signals alone."""
        return contextlib.nullcontext()

    def stop(self) -> None:
        """End after the requests under way; at once if asked again."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _uvicorn_config(application: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        application,  # type: ignore[arg-type]  # an ASGI callable; the gate types its dicts as Any
        http=Wire,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise Misconfigured(f"Cannot listen at {settings.host} port {settings.port}: {error.strerror}.") from error
    listening.setblocking(False)
    return listening


def _on_signals(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
