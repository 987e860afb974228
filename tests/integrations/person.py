"""A connected user, acting as the pages and the server of a host product make them act."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import aiohttp
from multidict import CIMultiDict
from tests.integrations.microsoft import Microsoft
from yarl import URL

APP = "http://127.0.0.1:9"
"""The origin of the host product's page. Nothing listens there: browsers only name it."""


@dataclass(frozen=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: Any  # Any: a multidict
    body: bytes

    @property
    def json(self) -> Any:  # Any: JSON
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error, which is in the documented shape."""
        error = self.json
        assert isinstance(error["message"], str), error
        assert error["message"], error
        assert error["status"] == self.status, error
        code: str = error["code"]
        return code


@dataclass(frozen=True)
class Person:
    """A user of a project, and the account that they have at the provider."""

    url: str
    http: aiohttp.ClientSession
    microsoft: Microsoft
    project: str
    id: str
    token: str
    email: str

    def at(self, url: str) -> Person:
        """Return the same person calling another process."""
        return replace(self, url=url)

    async def send(self, method: str, path: str, **options: Any) -> Answer:  # Any: the HTTP client's options
        """Return the answer to a request in the user's name. The path is sent as it is written."""
        headers = CIMultiDict(options.pop("headers", {}))
        headers.setdefault("Authorization", f"Bearer {self.token}")
        async with self.http.request(
            method, URL(self.url + path, encoded=True), headers=headers, allow_redirects=False, **options
        ) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.read())

    async def sdk(self, method: str, path: str, **options: Any) -> Answer:
        """Return the answer to one of the SDK's requests."""
        return await self.send(method, f"/projects/{self.project}/sdk{path}", **options)

    async def call(self, path: str, method: str = "GET", **options: Any) -> Answer:
        """Return the answer of OneDrive, through the proxy."""
        return await self.sdk(method, f"/proxy/onedrive{path}", **options)

    async def upload(self, name: str, data: Any, **options: Any) -> Answer:
        """Write a file into the root of the drive."""
        data = io.BytesIO(data) if isinstance(data, bytes) else data  # the client takes no large bytes as they are
        return await self.call(f"/me/drive/root:/{name}:/content", "PUT", data=data, **options)

    async def download(self, name: str, **options: Any) -> Answer:
        """Read a file in the root of the drive."""
        return await self.call(f"/me/drive/root:/{name}:/content", **options)

    async def connect(self, **options: Any) -> str:  # Any, here and below: what the SDK calls install options
        """Sign in at the provider as the SDK's window does, and return the connection's id."""
        key = await self.sign_in(**options)
        found = await self.sdk("GET", f"/actions/session-id/{key}")
        id_: str = found.json["connectCredentialId"]
        credential = await self.sdk("GET", f"/credentials/{id_}")
        assert credential.status == 200, credential.body
        return id_

    async def sign_in(self, *, accept: bool = True, **options: Any) -> str:
        """Go through the sign-in to its end, and return the key by which its outcome is asked for."""
        key = uuid4().hex
        await self.visit_nonce_page()
        location = await self.microsoft.consent(await self.authorize_url(key, **options), self.email, accept=accept)
        async with self.http.get(URL(location, encoded=True)) as page:
            assert page.status == 200, await page.text()
        return key

    async def authorize_url(self, key: str, **options: Any) -> str:
        """Return where the SDK's window goes to sign in."""
        asked = {"action": "onedrive", "oauthMetaKeyId": key, "installOptions": json.dumps(options)}
        path = f"/v2/projects/{self.project}/sdk/actions/build-oauth"
        answer = await self.send("GET", f"{path}?{URL.build(query=asked).raw_query_string}")
        assert answer.status == 200, answer.body
        url: str = answer.json["redirectUrl"]
        return url

    async def visit_nonce_page(self) -> None:
        """Open the page that gives the browser its cookie."""
        query = {"action": "onedrive", "originForPostMessage": APP, "userToken": self.token}
        page = f"{self.url}/projects/{self.project}/sdk/actions/oauth-nonce"
        async with self.http.get(page, params=query, headers={"Referer": f"{APP}/"}) as answer:
            assert answer.status == 200, await answer.text()

    async def status(self) -> str:
        """Return what the SDK shows of the user's connection: `VALID`, `INVALID`, or nothing if there is none."""
        me = await self.sdk("GET", "/me")
        return str(me.json["integrations"]["onedrive"].get("credentialStatus", ""))
