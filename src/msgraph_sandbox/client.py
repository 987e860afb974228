"""A small client of the control API, for tests in Python. It needs nothing but the standard library."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from msgraph_sandbox.faults import Fault
from msgraph_sandbox.ledger import Entry

# Decoded JSON, as `docs/reference/sandbox.md` describes it.
Answer = Any


class ControlRefused(Exception):
    """The control API did not take a request; the message says why."""


class Client:
    """The control API at `control_url`. `user` is an e-mail address, `drive` an id or its user's e-mail address."""

    def __init__(self, control_url: str) -> None:
        self._base = control_url.rstrip("/")
        self._opener = build_opener(ProxyHandler({}))

    def _raw(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = Request(self._base + path, data=body, method=method)  # noqa: S310 - the address is the test's own
        try:
            with self._opener.open(request, timeout=60) as response:
                content: bytes = response.read()
                return content
        except HTTPError as error:
            with error:
                raise ControlRefused(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def _ask(self, method: str, path: str, /, **body: Answer) -> Answer:
        given = {name: value for name, value in body.items() if value is not None}
        content = self._raw(method, path, json.dumps(given).encode() if method != "GET" else None)
        return json.loads(content) if content else None

    def state(self) -> Answer:
        """Return tenants, users, applications and drives."""
        return self._ask("GET", "/state")

    def reset(self) -> None:
        """Go back to the state at start."""
        self._ask("POST", "/reset")

    def switch(self, **switches: Answer) -> Answer:
        """Change switches, and return all."""
        return self._ask("PATCH", "/switches", **switches)

    def advance(self, seconds: float) -> str:
        """Move the sandbox's time forward, and return it."""
        return str(self._ask("POST", "/clock", seconds=seconds)["now"])

    def ledger(self, *, after: int = 0, **wanted: str | int) -> list[Entry]:
        """Return the requests received whose fields equal those given."""
        found = self._ask("GET", "/ledger?" + urlencode({"after": after, **wanted}))
        return [Entry(**entry) for entry in found["entries"]]

    def clear_ledger(self) -> None:
        """Forget the requests received."""
        self._ask("DELETE", "/ledger")

    def plant(self, fault: Fault) -> str:
        """Plant a fault and return its id."""
        return str(self._ask("POST", "/faults", **fault.model_dump(exclude_unset=True))["id"])

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._ask("DELETE", "/faults")

    def authorize(self, url: str, *, user: str | None = None, accept: bool = True) -> str:
        """Decide an authorize request as a person would, and return where their browser would go."""
        return str(self._ask("POST", "/authorize", url=url, user=user, accept=accept)["location"])

    def tokens(
        self, user: str, *, client_id: str | None = None, scopes: list[str] | None = None, capable: bool = False
    ) -> Answer:
        """Return an access and a refresh token for a user; `capable` as for a client that takes claims challenges."""
        given = {"client_id": client_id, "scopes": scopes, "capable": capable}
        return self._ask("POST", f"/users/{quote(user)}/tokens", **given)

    def challenge(self, user: str) -> None:
        """Challenge a user's access tokens of before, where the client declared that it can take it (`cp1`)."""
        self._ask("POST", f"/users/{quote(user)}/challenge")

    def withdraw(self, user: str, client_id: str | None = None) -> None:
        """Withdraw a user's consents, to one application or to all."""
        self._ask("DELETE", f"/users/{quote(user)}/consents" + (f"?client_id={quote(client_id)}" if client_id else ""))

    def add_user(self, email: str, **details: Answer) -> Answer:
        """Add a user with a drive, as in a seed file."""
        return self._ask("POST", "/users", email=email, **details)

    def revoke(self, user: str) -> None:
        """Revoke a user's refresh tokens."""
        self._ask("POST", f"/users/{quote(user)}/revoke")

    def expire_access_tokens(self, user: str | None = None) -> int:
        """Expire a user's access tokens, or everyone's, and return how many that were."""
        return int(self._ask("POST", "/tokens/expire", user=user)["expired"])

    def expire_secrets(self, client_id: str) -> None:
        """Expire an application's secrets."""
        self._ask("POST", f"/apps/{quote(client_id)}/expire-secrets")

    def tree(self, drive: str) -> Answer:
        """Return everything on a drive by its path."""
        return self._ask("GET", f"/drives/{quote(drive)}/tree")["items"]

    def write(self, drive: str, path: str, content: bytes) -> Answer:
        """Write a file as the drive's owner, with the folders above it."""
        return json.loads(self._raw("PUT", f"/drives/{quote(drive)}/files/{quote(path)}", content))

    def read(self, drive: str, path: str) -> bytes:
        """Return a file's contents."""
        return self._raw("GET", f"/drives/{quote(drive)}/files/{quote(path)}")

    def make_folder(self, drive: str, path: str) -> Answer:
        """Make a folder, with the folders above it."""
        return self._ask("POST", f"/drives/{quote(drive)}/folders", path=path)

    def make_package(self, drive: str, path: str, kind: str = "oneNote") -> Answer:
        """Make a package, such as a OneNote notebook, with the folders above it."""
        return self._ask("POST", f"/drives/{quote(drive)}/packages", path=path, type=kind)

    def move(self, drive: str, source: str, target: str) -> Answer:
        """Move or rename as the drive's owner."""
        return self._ask("POST", f"/drives/{quote(drive)}/move", source=source, target=target)

    def delete(self, drive: str, path: str) -> None:
        """Delete as the drive's owner."""
        self._ask("DELETE", f"/drives/{quote(drive)}/items/{quote(path)}")

    def grow(self, drive: str, count: int, *, per_folder: int = 1000, size: int = 10) -> int:
        """Add many files at once, and return how many items there are then."""
        grown = self._ask("POST", f"/drives/{quote(drive)}/grow", count=count, per_folder=per_folder, size=size)
        return int(grown["items"])

    def resync(self, drive: str, kind: str = "apply") -> None:
        """Make all delta tokens of a drive answer 410."""
        self._ask("POST", f"/drives/{quote(drive)}/resync", kind=kind)

    def expire_uploads(self) -> int:
        """Expire every upload session, and return how many there were."""
        return int(self._ask("POST", "/uploads/expire")["expired"])

    def subscriptions(self) -> Answer:
        """Return all subscriptions and the latest deliveries."""
        return self._ask("GET", "/subscriptions")

    def notify(self, subscription: str, *, count: int = 1, changes: dict[str, Answer] | None = None) -> None:
        """Send notifications now, whether anything changed or not."""
        self._ask("POST", f"/subscriptions/{quote(subscription)}/notify", count=count, changes=changes)

    def lifecycle(self, subscription: str, event: str) -> None:
        """Send a lifecycle event."""
        self._ask("POST", f"/subscriptions/{quote(subscription)}/lifecycle", event=event)
