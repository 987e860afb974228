"""The database of a `--data` folder. It is written before a request is answered, so kill -9 loses nothing answered."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.drive.blobs import Blob
from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.http import Json
from msgraph_sandbox.identity.directory import Directory
from msgraph_sandbox.identity.tokens import AccessGrant, Issuer, RefreshGrant
from msgraph_sandbox.keeping import items, people, sessions
from msgraph_sandbox.notifier import Notifier

FILE = "sandbox.sqlite3"
_FORM = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS contents (key INTEGER PRIMARY KEY, size INTEGER, hash TEXT, file TEXT, data BLOB);
CREATE TABLE IF NOT EXISTS items (drive TEXT, id TEXT, number INTEGER, at REAL, body TEXT, PRIMARY KEY (drive, id))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, body TEXT, data BLOB);
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, body TEXT);
"""


class Keeper:
    """Saves what changed in a sandbox, and finds it again in the next run. One process at a time has the folder."""

    def __init__(
        self, folder: Path, clock: Clock, library: Library, directory: Directory, issuer: Issuer, notifier: Notifier
    ) -> None:
        self._folder = folder
        self._clock, self._library, self._directory = clock, library, directory
        self._issuer, self._notifier = issuer, notifier
        self._database = _opened(folder / FILE)
        self._keys = itertools.count(1)
        self._blobs: dict[int, Blob] = {}
        # What the database says now, to write only what differs.
        self._documents: dict[str, str] = {}
        self._tokens: dict[str, object] = {}

    # Finding again

    def load(self) -> None:
        """Put what was saved into the sandbox, over what it has from its seed."""
        self._documents = dict(self._database.execute("SELECT name, body FROM documents"))
        self._clock.advance(timedelta(seconds=json.loads(self._documents.get("ahead", "0"))))
        if text := self._documents.get("people"):
            people.fill(self._directory, text)
        self._load_tokens()
        for one in people.SUBSCRIPTIONS.validate_json(self._documents.get("subscriptions", "[]")):
            self._notifier.subscriptions[one.id] = one
        for name in [name for name in self._documents if name.startswith("drive ")]:
            self._library.add(self._drive(name.removeprefix("drive "), json.loads(self._documents[name])), saved=True)
        self._load_uploads()
        self._sweep()

    def _load_tokens(self) -> None:
        saved = self._database.execute("SELECT token, body FROM tokens").fetchall()
        for token, body in saved:
            people.remember(self._issuer, self._directory, token, json.loads(body))
        self._tokens = {token: _state(grant) for token, grant in self._grants()}
        with self._database:
            gone = [(token,) for token, _ in saved if token not in self._tokens]
            self._database.executemany("DELETE FROM tokens WHERE token = ?", gone)

    def _drive(self, drive_id: str, row: Json) -> Drive:
        query = "SELECT id, number, at, body FROM items WHERE drive = ?"
        rows = {i: (number, at, json.loads(body)) for i, number, at, body in self._database.execute(query, (drive_id,))}
        return items.rebuilt(row, rows, self._blob, self._clock)

    def _blob(self, key: int) -> Blob:
        if key not in self._blobs:
            query = "SELECT size, hash, file, data FROM contents WHERE key = ?"
            size, quick_xor, file, data = self._database.execute(query, (key,)).fetchone()
            self._blobs[key] = self._library.blobs.found(size, quick_xor, data, file)
            self._blobs[key].key = key
        return self._blobs[key]

    def _load_uploads(self) -> None:
        for session_id, body, data in self._database.execute("SELECT id, body, data FROM uploads").fetchall():
            row = json.loads(body)
            drive = self._library.drive(row["drive"])
            # A session whose bytes did not survive, or whose process was killed while it opened, is gone as if expired.
            with contextlib.suppress(OSError):
                session = sessions.rebuilt(session_id, row, data, drive, self._library.blobs, self._blob)
                self._library.uploads.take(session)

    def _sweep(self) -> None:
        """Remove contents that nothing has any more."""
        known = [key for (key,) in self._database.execute("SELECT key FROM contents")]
        self._keys = itertools.count(max(known, default=0) + 1)
        with self._database:
            gone = [(key,) for key in known if key not in self._blobs]
            self._database.executemany("DELETE FROM contents WHERE key = ?", gone)
        used = {blob.path for blob in self._blobs.values()} | {
            self._folder / name for name in self._library.uploads.files()
        }
        for path in self._library.blobs.left - used:
            path.unlink()
        self._blobs.clear()

    # Saving

    def flush(self, *, with_people: bool = False) -> None:
        """Save every drive and upload that changed, and on demand the people; then let go of contents nobody has."""
        released, self._library.blobs.released = self._library.blobs.released, []
        with self._database:
            for drive in self._library.drives.values():
                if drive.dirty:
                    self._save_drive(drive)
            for session_id in self._library.uploads.take_changed():
                self._save_upload(session_id)
            if with_people:
                self._save_people()
        for path in released:
            path.unlink(missing_ok=True)

    def _save_drive(self, drive: Drive) -> None:
        now, changed = self._clock.timestamp(), drive.dirty or ()
        rows = [
            (
                drive.id,
                item.id,
                item.number,
                now,
                json.dumps(items.item_row(drive, item, self._key), ensure_ascii=False),
            )
            for item in changed
        ]
        self._database.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", rows)
        self._document(f"drive {drive.id}", json.dumps(items.drive_row(drive)))
        drive.dirty = set()

    def _key(self, blob: Blob) -> int:
        if blob.key is None:
            blob.key = next(self._keys)
            row = (blob.key, blob.size, blob.hash, blob.path.name if blob.path else None, blob.data)
            self._database.execute("INSERT INTO contents VALUES (?, ?, ?, ?, ?)", row)
        return blob.key

    def _save_upload(self, session_id: str) -> None:
        session = self._library.uploads.get(session_id)
        if session is None:
            self._database.execute("DELETE FROM uploads WHERE id = ?", (session_id,))
            return
        row, data = sessions.session_row(session, self._key)
        self._database.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", (session_id, json.dumps(row), data))

    def _save_people(self) -> None:
        self._document("people", people.people_text(self._directory))
        alive = self._notifier.alive()
        self._document("subscriptions", people.SUBSCRIPTIONS.dump_json(alive).decode())
        self._document("ahead", json.dumps(self._clock.ahead.total_seconds()))
        for token, grant in self._grants():
            if self._tokens.get(token) != (state := _state(grant)):
                row = people.refresh_row(grant) if isinstance(grant, RefreshGrant) else people.access_row(grant)
                self._database.execute("INSERT OR REPLACE INTO tokens VALUES (?, ?)", (token, json.dumps(row)))
                self._tokens[token] = state

    def _grants(self) -> Iterator[tuple[str, AccessGrant | RefreshGrant]]:
        yield from self._issuer.refresh.items()
        yield from self._issuer.access.items()

    def _document(self, name: str, body: str) -> None:
        if self._documents.get(name) != body:
            self._database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?)", (name, body))
            self._documents[name] = body

    # Ending

    def forget(self) -> None:
        """Forget everything saved."""
        with self._database:
            for table in ("contents", "items", "uploads", "tokens", "documents"):
                self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        self._documents.clear()
        self._tokens.clear()

    def close(self) -> None:
        """Save and let go of the folder."""
        self.flush(with_people=True)
        self._database.close()


def _state(grant: AccessGrant | RefreshGrant) -> object:
    """Return what changes when the row of a token must."""
    return grant.spent if isinstance(grant, RefreshGrant) else grant.expires


def _opened(path: Path) -> sqlite3.Connection:
    # The sandbox is built in one thread and may be served in another.
    database = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; a machine that loses power, at most the last moments.
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_TABLES)
        (form,) = database.execute("PRAGMA user_version").fetchone()
        if form not in (0, _FORM):
            raise ValueError(f"{path} was written by another version of the sandbox.")
        database.execute(f"PRAGMA user_version = {_FORM}")
    except sqlite3.Error as error:
        database.close()
        raise ValueError(f"{path} cannot be used ({error}). Does another sandbox have it?") from error
    except ValueError:
        database.close()
        raise
    return database
