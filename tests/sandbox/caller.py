"""An application that calls the sandbox, for tests."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from yarl import URL

REDIRECT = "http://127.0.0.1:5555/callback"


class Caller:
    """An application with a user's consent, and the test's hand on the control API."""

    def __init__(self, session: aiohttp.ClientSession, facts: dict[str, Any], who: int = 0) -> None:
        self.session = session
        self.facts = facts
        self.user = facts["users"][who]
        self.token = ""

    async def as_user(self, email: str) -> Caller:
        """The same application with another user's token."""
        who = next(i for i, user in enumerate(self.facts["users"]) if user["email"] == email)
        return await Caller(self.session, self.facts, who).sign_in()

    async def as_new_user(self, tenant: str) -> Caller:
        """The same application with the token of a new user, whose drive is empty."""
        email = f"{uuid.uuid4()}@{tenant}"
        await self.control("POST", "/users", json={"email": email, "tenant": tenant})
        facts = {**self.facts, "users": [{"email": email}]}
        return await Caller(self.session, facts).sign_in()

    async def sign_in(self, *scopes: str) -> Caller:
        """Fetch a token that the sandbox hands out without a page."""
        body = {"scopes": scopes} if scopes else {}
        self.token = (await self.control("POST", f"/users/{self.user['email']}/tokens", json=body))["access_token"]
        return self

    async def graph(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """Call Graph, demand a status, and return the JSON answer (or None)."""
        url = path if path.startswith("http") else self.facts["graph_url"] + "/v1.0" + path
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        async with self.session.request(method, exact(url), headers=headers, **options) as response:
            text = await response.text()
            assert response.status == status, f"{method} {path}: {response.status} {text}"
            return await response.json() if "json" in response.content_type else None

    async def control(self, method: str, path: str, status: int | None = None, **options: Any) -> Any:
        """Call the control API and return the JSON answer (or None)."""
        async with self.session.request(method, self.facts["control_url"] + path, **options) as response:
            text = await response.text()
            assert response.status == (status or response.status), text
            assert status or response.status < 300, text
            return await response.json() if text else None

    async def token_call(self, status: int = 200, tenant: str = "common", **form: Any) -> Any:
        """Call the token endpoint as the confidential client, demand a status, and return the JSON answer."""
        whole = {"client_id": self.facts["client_id"], "client_secret": self.facts["client_secret"]} | form
        url = f"{self.facts['login_url']}/{tenant}/oauth2/v2.0/token"
        async with self.session.post(url, data={k: v for k, v in whole.items() if v}) as response:
            answer = await response.json()
            assert response.status == status, answer
            return answer

    async def authorize(self, tenant: str = "common", status: int = 302, **changed: Any) -> dict[str, str]:
        """Ask for a code as a script does, and return what comes back in the redirect."""
        query = {
            "client_id": self.facts["client_id"],
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": "openid profile offline_access User.Read Files.ReadWrite",
            "state": "a state",
            "sandbox_consent": "auto",
        } | changed
        url = f"{self.facts['login_url']}/{tenant}/oauth2/v2.0/authorize"
        given = {name: value for name, value in query.items() if value}
        async with self.session.get(url, params=given, allow_redirects=False) as response:
            assert response.status == status, await response.text()
            location = response.headers.get("Location", "")
        assert location.startswith(REDIRECT)
        return dict(parse_qsl(urlsplit(location).query))


def exact(url: str) -> URL:
    """Return a URL that the client sends exactly as written."""
    return URL(url, encoded=True)
