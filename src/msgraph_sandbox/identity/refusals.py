"""How Microsoft's sign-in says no: the AADSTS codes, their `error` names, HTTP statuses and the wording of their texts.

Texts follow traces of the real service; `error` is what a client should branch on, since codes and texts may change
(https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
"""

from __future__ import annotations

import html
import tomllib
from dataclasses import dataclass
from importlib import resources

from msgraph_sandbox.http import Json, Refusal, Request, Response, html_response, json_response


@dataclass(frozen=True, slots=True)
class Reason:
    """One AADSTS code."""

    error: str
    text: str
    suberror: str | None = None

    @property
    def status(self) -> int:
        """400 for nearly all, 401 for a client that could not authenticate itself, 503 for the transient ones."""
        return {"invalid_client": 401, "temporarily_unavailable": 503, "server_error": 500}.get(self.error, 400)


def _load() -> dict[int, Reason]:
    table = tomllib.loads(resources.files(__package__).joinpath("aadsts.toml").read_text())
    return {int(code): Reason(**row) for code, row in table.items()}


REASONS = _load()


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


class SignInRefused(Refusal):
    """An AADSTS error. The token endpoint answers with JSON; the authorize endpoint redirects or shows a page."""

    def __init__(self, code: int, *, text: str | None = None, error: str | None = None, **facts: str) -> None:
        reason = REASONS[code]
        super().__init__(code)
        self.code = code
        self.error = error or reason.error
        self.suberror = reason.suberror
        self.status = reason.status
        self.headers: dict[str, str] = {}
        self._text = text
        self._facts = facts

    def describe(self, request: Request) -> str:
        """Return the `error_description`, with the trace that Microsoft appends to each."""
        text = self._text if self._text is not None else self.sentence()
        return (
            f"{text}\r\nTrace ID: {request.id}\r\nCorrelation ID: {request.client_request_id}\r\n"
            f"Timestamp: {_stamp(request)}"
        )

    def sentence(self) -> str:
        """Return the text with its code, without the trace."""
        return f"AADSTS{self.code}: " + REASONS[self.code].text.format_map(_Blank(self._facts))

    def response(self, request: Request) -> Response:
        body: dict[str, Json] = {
            "error": self.error,
            "error_description": self.describe(request),
            "error_codes": [self.code],
            "timestamp": _stamp(request),
            "trace_id": request.id,
            "correlation_id": request.client_request_id,
            "error_uri": f"{request.origin}/error?code={self.code}",
        }
        if self.suberror:
            body["suberror"] = self.suberror
        headers = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache", **self.headers}
        return json_response(body, self.status, headers)

    def page(self, request: Request) -> Response:
        """Return the page that Microsoft shows when it cannot trust the redirect URI with an answer."""
        rows = "<br>".join(html.escape(line) for line in self.describe(request).split("\r\n"))
        text = (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in to your account</title>'
            f'<h1>Sorry, but we\u2019re having trouble signing you in.</h1><p id="error">{rows}</p></html>'
        )
        return html_response(text, 400)


def _stamp(request: Request) -> str:
    return request.asked_at[:19].replace("T", " ") + "Z"
