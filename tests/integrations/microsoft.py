"""The sandbox as tests see it: from outside, through its control API."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Microsoft:
    """A running sandbox: what it announced, and what a test does to it."""

    facts: dict[str, Any]  # Any, here and below: JSON
    http: aiohttp.ClientSession

    @property
    def secret(self) -> str:
        secret: str = self.facts["client_secret"]
        return secret

    async def _ask(self, method: str, path: str, body: Any = None, **query: object) -> Any:
        url = self.facts["control_url"] + path
        params = {name: str(value) for name, value in query.items()}
        async with self.http.request(method, url, json=body, params=params) as answer:
            text = await answer.text()
            assert answer.ok, text
            return json.loads(text) if text else None

    async def calls(self, **wanted: object) -> list[dict[str, Any]]:
        """Return the requests that it received and that fit, oldest first."""
        entries: list[dict[str, Any]] = (await self._ask("GET", "/ledger", **wanted))["entries"]
        return entries

    async def refreshes(self, **wanted: object) -> int:
        """Return how many refresh tokens were sent to the token endpoint."""
        return len(await self.calls(operation="token", grant_type="refresh_token", **wanted))

    async def forget(self) -> None:
        """Empty the ledger."""
        await self._ask("DELETE", "/ledger")

    async def plant(self, **fault: object) -> str:
        """Spoil coming requests, all of them unless `count` says how many, and return the fault's id."""
        id_: str = (await self._ask("POST", "/faults", {"count": None, **fault}))["id"]
        return id_

    async def struck(self, fault: str) -> int:
        """Return how many requests a fault has met, those that it still holds up included."""
        planted = (await self._ask("GET", "/faults"))["faults"]
        return next(int(one["struck"]) for one in planted if one["id"] == fault)

    async def heal(self) -> None:
        """Take every fault away."""
        await self._ask("DELETE", "/faults")

    async def switch(self, **switches: object) -> None:
        """Change how it behaves."""
        await self._ask("PATCH", "/switches", switches)

    async def advance(self, seconds: float) -> None:
        """Move its clock forward."""
        await self._ask("POST", "/clock", {"seconds": seconds})

    async def add_user(self, email: str, **details: object) -> None:
        """Add a person with a drive."""
        await self._ask("POST", "/users", {"email": email, **details})

    async def expire_tokens(self, email: str) -> None:
        """End a person's access tokens now, whatever was said when they were given."""
        await self._ask("POST", "/tokens/expire", {"user": email})

    async def revoke(self, email: str) -> None:
        """Revoke a person's refresh tokens."""
        await self._ask("POST", f"/users/{email}/revoke")

    async def add_secret(self, value: str) -> None:
        """Give the application one more secret."""
        await self._ask("POST", f"/apps/{self.facts['client_id']}/secrets", {"value": value})

    async def expire_secrets(self) -> None:
        """End the secrets that the application has."""
        await self._ask("POST", f"/apps/{self.facts['client_id']}/expire-secrets")

    async def consent(self, url: str, email: str | None, *, accept: bool = True) -> str:
        """Return where an authorize URL leads once a person has decided."""
        body = {"url": url, "user": email, "accept": accept}
        location: str = (await self._ask("POST", "/authorize", body))["location"]
        return location

    async def be_as_new(self) -> None:
        """Take back what an earlier test did to it, but for time and people."""
        await self.heal()
        await self.forget()
        await self.switch(
            access_token_seconds=None, strict_refresh_rotation=False, auto_consent=False, redirect_uris="loopback"
        )


# Whoever sends a token to an upload URL is refused, so that we never do.
STRICT = ("--port", "0", "--set", "upload_authorization=refuse")


@contextmanager
def sandbox_process(*options: str) -> Iterator[dict[str, Any]]:
    """Run the sandbox's own command, and hand out what it announces."""
    command = [sys.executable, "-m", "msgraph_sandbox.cli", "serve", *STRICT, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            facts: dict[str, Any] = json.loads(process.stdout.readline())
            yield facts
        finally:
            process.terminate()
