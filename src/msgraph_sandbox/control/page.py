"""The page at `/` of the control origin: who there is, what is on their drives, and a way to click files into being."""

from __future__ import annotations

from importlib import resources

from msgraph_sandbox.http import Response, html_response

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def page() -> Response:
    """Return the page, which speaks the control API for all that it shows and does."""
    text = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return html_response(text, headers={"Content-Security-Policy": _POLICY})
