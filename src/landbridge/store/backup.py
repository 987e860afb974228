"""A copy of the database in a file that either kind of database can read, taken and put back row by row.

The file is gzip around JSON, one value a line: a header, the rows, and a footer that they must add up to.

    {"format": "landbridge-backup/1", "version": …, "migration": …, "created_at": …}
    {"table": "projects", "row": {"id": …, …}}
    {"rows": {"projects": 1, …}, "sha256": "of every byte above, before compression"}

Bytes are base64 and instants ISO 8601. What the vault sealed stays sealed: without the key ring, which is never in it,
a backup gives no token away, and brings none back. News for caches (`revisions`) and who works (`workers`) are not
copied; runs that were under way are taken up again from the last step that their row tells of.
"""

import base64
import contextlib
import dataclasses
import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, delete, insert, literal, select

from landbridge import __version__
from landbridge.disk import written_whole
from landbridge.errors import BackupFailed
from landbridge.store.database import EVERYTHING, Database, Transaction, latest_migration
from landbridge.store.tables import Instant, metadata, revisions, workers

FORMAT = "landbridge-backup/1"

_TABLES = tuple(table for table in metadata.sorted_tables if table not in (revisions, workers))
_BY_NAME = {table.name: table for table in _TABLES}
_AT_ONCE = 200

Row = dict[str, Any]  # Any: the columns of any table
Progress = Callable[[int], None]
"""Told now and then how many rows were copied."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds: how many rows of each table, and when they were taken by which version."""

    version: str
    migration: str
    created_at: datetime
    rows: Mapping[str, int]


async def back_up(database: Database, path: Path, progress: Progress = lambda _rows: None) -> Contents:
    """Copy the database as it is at one moment to `path`; servers and workers go on meanwhile.

    The file takes its place (mode 0600) once it is whole, so that a crash leaves an older backup as it was. Raises
    `BackupFailed` if it cannot be written.
    """
    await database.check()
    contents = Contents(__version__, latest_migration(), database.clock.now(), {})
    with _writing(path), written_whole(path) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
        lines = _Lines(path, zipped)
        lines.write_header(contents)
        async with database.snapshot() as tx:
            for table in _TABLES:
                async for row in tx.stream(select(table)):
                    lines.write_row(table, row._asdict())
                    if lines.rows.total() % _AT_ONCE == 0:
                        progress(lines.rows.total())
        lines.write_footer()
    return dataclasses.replace(contents, rows=lines.rows)


def read_contents(path: Path) -> Contents:
    """Return what a backup holds after reading it to its end, or raise `BackupFailed`.

    Refused are files that are damaged, cut off or no backup, and backups of another migration than this version's.
    """
    reader = _Reader(path)
    for _ in reader.rows():
        pass
    return reader.contents


async def restore(
    database: Database, path: Path, *, replace: bool = False, progress: Progress = lambda _rows: None
) -> Contents:
    """Put a backup's rows into the database, in one transaction, and have running processes forget what they cached.

    The file is read to its end before anything is changed. Raises `BackupFailed` as `read_contents` does, and if the
    database holds anything and `replace` does not allow to delete it.
    """
    await database.check()
    contents = read_contents(path)
    async with database.begin() as tx:
        await tx.lock(*_TABLES)
        await _make_room(tx, replace=replace)
        await _insert(tx, _Reader(path).rows(), progress)
        tx.touch(EVERYTHING)
    return contents


async def _make_room(tx: Transaction, *, replace: bool) -> None:
    for table in reversed(_TABLES):
        if replace:
            await tx.execute(delete(table))
        elif (await tx.execute(select(literal(1)).select_from(table).limit(1))).first():
            raise BackupFailed(f"The database is not empty ({table.name}), and replacing it was not asked for.")


async def _insert(tx: Transaction, rows: Iterator[tuple[Table, Row]], progress: Progress) -> None:
    count = 0
    for table, group in groupby(rows, key=itemgetter(0)):
        while batch := [row for _, row in islice(group, _AT_ONCE)]:
            await tx.execute(insert(table), batch)
            count += len(batch)
            progress(count)


class _Lines:
    """Writes a backup's lines, and counts and digests them for the footer."""

    def __init__(self, path: Path, file: gzip.GzipFile) -> None:
        self._path = path
        self._file = file
        self._digest = hashlib.sha256()
        self.rows = Counter(dict.fromkeys(_BY_NAME, 0))

    def write_header(self, contents: Contents) -> None:
        self._write(
            {
                "format": FORMAT,
                "version": contents.version,
                "migration": contents.migration,
                "created_at": contents.created_at.isoformat(),
            }
        )

    def write_row(self, table: Table, row: Mapping[str, Any]) -> None:  # Any: columns
        self._write({"table": table.name, "row": {column.name: _plain(row[column.name]) for column in table.c}})
        self.rows[table.name] += 1

    def write_footer(self) -> None:
        self._write({"rows": self.rows, "sha256": self._digest.hexdigest()})

    def _write(self, value: Mapping[str, Any]) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        with _writing(self._path):  # here already: further out, this would pass for an error of the database
            self._file.write(line)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupFailed(f"{path} cannot be written: {error.strerror or error}") from error


class _Reader:
    """Reads a backup's rows, and knows what it holds once they were read to the end."""

    contents: Contents

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> Iterator[tuple[Table, Row]]:
        """Yield each row with its table, or raise `BackupFailed`, at the end if they do not add up."""
        try:
            with gzip.open(self._path, "rb") as lines:
                yield from self._rows(lines)
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as error:
            raise BackupFailed(f"{self._path} is damaged, cut off, or no backup: {error}") from error

    def _rows(self, lines: gzip.GzipFile) -> Iterator[tuple[Table, Row]]:
        digest, counted = hashlib.sha256(), Counter[str]()
        header = lines.readline()
        self.contents = _contents(json.loads(header))
        digest.update(header)
        for line in lines:
            value = json.loads(line)
            if "sha256" in value:
                if (value["sha256"], Counter(value["rows"])) != (digest.hexdigest(), counted) or lines.read(1):
                    raise ValueError("what it holds is not what was written")
                self.contents = dataclasses.replace(self.contents, rows=value["rows"])
                return
            digest.update(line)
            counted[value["table"]] += 1
            yield _row(value)
        raise ValueError("it has no end")


def _contents(header: Mapping[str, Any]) -> Contents:  # Any: JSON
    if header["format"] != FORMAT:
        raise ValueError("its form is not one that this version reads")
    contents = Contents(header["version"], header["migration"], datetime.fromisoformat(header["created_at"]), {})
    if contents.migration != latest_migration():
        raise BackupFailed(
            f"The backup was taken by Landbridge {contents.version} at migration {contents.migration}, and this is "
            f"{__version__} at {latest_migration()}. Restore it with that version, then upgrade and migrate."
        )
    return contents


def _row(line: Mapping[str, Any]) -> tuple[Table, Row]:  # Any: JSON
    table, row = _BY_NAME[line["table"]], line["row"]
    if row.keys() != set(table.c.keys()):
        raise ValueError(f"it has other columns of {table.name} than this version")
    return table, {column.name: _value(column, row[column.name]) for column in table.c}


def _plain(value: Any) -> Any:  # Any: what a column may hold, and JSON
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else value


def _value(column: Column[Any], plain: Any) -> Any:  # Any: JSON, and what a column may hold
    if plain is None:
        return None
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(plain, validate=True)
    return datetime.fromisoformat(plain) if isinstance(column.type, Instant) else plain
