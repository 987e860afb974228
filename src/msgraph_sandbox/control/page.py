"""The page at `/` of the control origin: who there is, what is on their drives, and a way to click files into being."""

from __future__ import annotations

from html import escape

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.http import Request, Response, html_response
from msgraph_sandbox.world import World

SHOWN = 500
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}
h1{font-size:1.6rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #ddd}td.n{text-align:right}
code{background:#f2f2f2;padding:.1rem .3rem}button,input{font:inherit}a{color:#0067b8}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
# The page speaks the control API, as a test does.
_SCRIPT = """
const api = (method, path, body) => fetch("/_sandbox" + path, {method, body}).then(async answer => {
  if (!answer.ok) { alert((await answer.json()).error.message); return; }
  location.reload();
});
const encoded = path => path.split("/").map(encodeURIComponent).join("/");
document.addEventListener("click", event => {
  const {act, drive, path} = event.target.dataset;
  if (act === "delete") api("DELETE", `/drives/${encodeURIComponent(drive)}/items/${encoded(path)}`);
});
document.addEventListener("submit", event => {
  event.preventDefault();
  const {drive, path, text} = Object.fromEntries(new FormData(event.target));
  api("PUT", `/drives/${encodeURIComponent(drive)}/files/${encoded(path)}`, text);
});
"""


async def page(world: World, request: Request) -> Response:
    """Return the page."""
    urls = "".join(f"<li>{escape(name)}: <code>{escape(str(url))}</code></li>" for name, url in world.urls.items())
    drives = "".join(_drive(drive) for drive in world.library.drives.values())
    return html_response(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>msgraph-sandbox</title><style>{_STYLE}</style><h1>msgraph-sandbox</h1>"
        f"<p>A local Microsoft. {world.ledger.count} requests so far.</p><ul>{urls}</ul>{drives}"
        f"<script>{_SCRIPT}</script></html>",
        headers={"Content-Security-Policy": _POLICY},
    )


def _drive(drive: Drive) -> str:
    items = sorted((item for item in drive.items.values() if item.parent is not None), key=lambda item: item.path())
    rows = "".join(_row(drive, item) for item in items[:SHOWN])
    more = f"<p>and {len(items) - SHOWN} more</p>" if len(items) > SHOWN else ""
    return (
        f"<h2>{escape(drive.owner.name)} <small>{escape(drive.owner.email)}, {escape(drive.kind)}</small></h2>"
        f"<table><tr><th>Path</th><th>Bytes</th><th></th></tr>{rows}</table>{more}"
        f'<form><input type="hidden" name="drive" value="{escape(drive.id)}">'
        '<input name="path" placeholder="Folder/file.txt" aria-label="Path" required> '
        '<input name="text" placeholder="contents" aria-label="Contents"> <button>Create</button></form>'
    )


def _row(drive: Drive, item: Item) -> str:
    path, mark = escape(item.path()), "/" if item.is_folder else ""
    button = f'<button data-act="delete" data-drive="{escape(drive.id)}" data-path="{path}">Delete</button>'
    return f"<tr><td>{path}{mark}</td><td class=n>{item.size}</td><td>{button}</td></tr>"
