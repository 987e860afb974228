"""The server process: HTTP over the rooms, a worker child beside it. Apart from `app`: only it needs the web."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable
from datetime import timedelta

import uvicorn
import uvloop

from landbridge.app import House, assemble, on_signals, spare_the_collector
from landbridge.errors import Misconfigured, StoreFailed
from landbridge.settings import Settings
from landbridge.supervisor import Supervisor
from landbridge.web import site
from landbridge.web.rooms import Rooms
from landbridge.web.wire import Callers, Wire
from landbridge.worker import every

USE_NOTED_EVERY = timedelta(minutes=1)
_GRACE_SECONDS = 20
_MOST_CALLERS = 4000
_OTHER_FILES = 200
"""How many files may be open beside callers' connections and providers': databases, contents, what listens."""


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
        server = _Server(_uvicorn_config(site.build(rooms_of(house)), settings))
        supervisor = Supervisor(worker_command, house.clock)

        def stop() -> None:
            supervisor.leave()
            server.stop()

        on_signals(stop)
        background = [
            asyncio.create_task(house.database.watch()),
            asyncio.create_task(every(USE_NOTED_EVERY, house.tokens.note_use, house.clock)),
        ]
        if settings.worker:
            background.append(asyncio.create_task(supervisor.run()))
        for task in background:
            task.add_done_callback(lambda ended: None if ended.cancelled() or server.should_exit else server.stop())
        spare_the_collector()
        announce(settings)
        try:
            await server.serve(sockets=[listening])
        finally:
            for task in background:
                task.cancel()
            ended = await asyncio.gather(*background, return_exceptions=True)
            with contextlib.suppress(StoreFailed):  # which connections were used last is a hint, not a promise
                await house.tokens.note_use()
        if defects := [error for error in ended if isinstance(error, Exception)]:  # better to end than to go on deaf
            raise defects[0]


def rooms_of(house: House) -> Rooms:
    """Return the rooms that HTTP leads to."""
    return Rooms(
        settings=house.settings,
        clock=house.clock,
        database=house.database,
        catalog=house.catalog,
        projects=house.projects,
        access=house.access,
        accounts=house.accounts,
        sign_ins=house.sign_ins,
        picker=house.picker,
        tokens=house.tokens,
        proxy=house.proxy,
        actions=house.actions,
        workbench=house.workbench,
        files=house.files,
        deployments=house.deployments,
        runs=house.runs,
        sealing=house.sealing,
        large_values=house.large_values,
        triggers=house.triggers,
        testing=house.testing,
        metrics=house.metrics,
    )


class _Server(uvicorn.Server):
    """Uvicorn, with the signals left to us, so that the rooms are closed after it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = Callers()

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
        limit_concurrency=_room_for_callers(),
        timeout_keep_alive=65,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _room_for_callers() -> int:
    """Return how many callers may be connected at once, each with a connection to a provider beside its own.

    Where this process may open fewer files than so many need, it asks for more; a system may let none ask.
    """
    wanted = 2 * _MOST_CALLERS + _OTHER_FILES
    allowed = wanted
    with contextlib.suppress(OSError, ValueError):
        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed == resource.RLIM_INFINITY or allowed >= wanted:
            return _MOST_CALLERS
        more = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, most))
        allowed = more
    return max(1, (allowed - _OTHER_FILES) // 2)


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
