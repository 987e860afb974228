"""Delta: what changed in a drive since a token, in pages.

A token holds a place in the drive's log of changes. Every page brings the folders above an item before the item, so
one item may come several times: the last counts. https://learn.microsoft.com/graph/api/driveitem-delta
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request, not_supported
from msgraph_sandbox.graph.address import parse_call
from msgraph_sandbox.graph.items import page_size
from msgraph_sandbox.graph.shapes import deleted_json
from msgraph_sandbox.graph.visit import Visit, parse_time
from msgraph_sandbox.http import Json, Response, json_response


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log: the number of the last change seen.

    Deletions up to `silent` concern what was never shown. The pages that this is one of began at `since`.
    """

    epoch: str
    number: int
    silent: int
    issued: int
    since: int

    def text(self) -> str:
        """Return the token."""
        plain = f"{self.epoch};{self.number};{self.silent};{self.issued};{self.since}"
        return base64.urlsafe_b64encode(plain.encode()).rstrip(b"=").decode()


def read_place(token: str) -> Place:
    """Return the place that a token means, or refuse one that was never ours."""
    try:
        plain = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
        epoch, number, silent, issued, since = plain.split(";")
        return Place(epoch, int(number), int(silent), int(issued), int(since))
    except ValueError:
        raise bad_request("The provided delta token is not valid.") from None


async def get_delta(visit: Visit) -> Response:
    """Return a page of changes with `@odata.nextLink`, or with `@odata.deltaLink` on the last."""
    folder = visit.item
    if visit.query.get("filter"):
        raise not_supported()
    if folder is not visit.drive.root and not visit.drive.personal:
        raise bad_request("Delta is only supported on the root of a drive.")
    place, newest = _start(visit, _token(visit)), _newest(visit)
    if place is None:
        return json_response(_page(visit, [], Place(visit.drive.epoch, newest, newest, 0, newest), last=True))
    found, stopped = _collect(_changes(visit, place, newest), folder, place, page_size(visit))
    if visit.prefers("deltaexcludeparent"):
        found = [item for item in found if item.own > place.since or item is visit.drive.root]
    if visit.library.switches.delta_disorder:
        found = [*reversed(found), *found[-1:]]
    value = [_shape(visit, item, place) for item in found]
    last = stopped is None
    number = max(newest, place.number) if stopped is None else stopped
    following = replace(place, number=number, since=number if last else place.since)
    return json_response(_page(visit, value, following, last=last))


def _newest(visit: Visit) -> int:
    """Return the number of the last change that delta knows of."""
    log, lag = visit.drive.log, visit.library.switches.delta_lag_seconds
    return log.number_at(visit.library.clock.timestamp() - lag) if lag else log.latest


def _token(visit: Visit) -> str:
    call = parse_call(visit.address.tail[0], visit.request.query)
    for value in (call.arguments.get("token"), visit.query.get("token"), visit.query.get("deltatoken")):
        if value:
            return value
    return ""


def _start(visit: Visit, token: str) -> Place | None:
    """Return where to start, or None for `latest`."""
    drive, now = visit.drive, int(visit.library.clock.timestamp())
    if token == "latest":  # noqa: S105 - Microsoft's word
        return None
    if not token:
        return Place(drive.epoch, 0, _newest(visit), now, 0)
    if "T" in token and "-" in token and ":" in token:
        if drive.personal:
            raise bad_request("Timestamp tokens are not supported on personal drives.")
        number = drive.log.number_at(parse_time(token).timestamp())
        return Place(drive.epoch, number, number, now, number)
    place = read_place(token)
    stale = now - place.issued > visit.library.switches.delta_token_seconds
    if place.epoch != drive.epoch or not 0 <= place.number <= drive.log.latest or stale:
        raise resync(visit)
    return place


def resync(visit: Visit) -> GraphRefused:
    """Return 410 with the address to start afresh from, and what to do with local items that it does not report."""
    location = _link(visit, "")
    if visit.library.switches.encoded_resync:
        start, _, query = location.partition("/v1.0/")[2].partition("?")
        location = f"{visit.request.origin}/v1.0/{quote(quote(start, safe=''))}?{query}"
    message = "Resync required. Replace any local items with the server's version and upload local changes."
    return GraphRefused(410, "resyncRequired", message, inner=visit.drive.resync_kind, headers={"Location": location})


def _changes(visit: Visit, place: Place, newest: int) -> Iterator[Item]:
    """Yield what changed after a place and up to the newest change; of changed permissions only who asks is told."""
    sharing = _shows_sharing(visit)
    for item in visit.drive.log.after(place.number):
        if item.number > newest:
            return
        if sharing or not _only_shared(item, place.since):
            yield item


def _shows_sharing(visit: Visit) -> bool:
    allowed = visit.grant.scopes | visit.grant.roles
    return visit.prefers("deltashowsharingchanges") and "Sites.FullControl.All" in allowed


def _only_shared(item: Item, since: int) -> bool:
    extras = item.extras
    return extras is not None and item.number == extras.shared_number and extras.number_before <= since


def _collect(changes: Iterator[Item], folder: Item, place: Place, size: int) -> tuple[list[Item], int | None]:
    """Return the items of a page, and the number that it reaches, or None if it is the last."""
    page: dict[str, Item] = {}
    number = place.number
    for item in changes:
        if item.id in page or not item.inside(folder) or (not item.alive and item.number <= place.silent):
            continue
        line = _line(item, folder, place.number, page)
        if page and len(page) + len(line) > size:
            return list(page.values()), number
        for one in line:
            page[one.id] = one
        number = item.number
    return list(page.values()), None


def _line(item: Item, folder: Item, number: int, page: dict[str, Item]) -> list[Item]:
    """Return the item and the changed folders above it that the page lacks, the highest first."""
    above = [one for one in _up_to(item, folder) if one.number > number and one.id not in page and one.alive]
    return [*reversed(above), item]


def _up_to(item: Item, folder: Item) -> Iterator[Item]:
    for one in item.ancestors():
        yield one
        if one is folder:
            return


def _shape(visit: Visit, item: Item, place: Place) -> dict[str, Json]:
    if not item.alive:
        return deleted_json(visit.drive, item)
    # Microsoft documents that the path is missing, and so it is at `root/delta`; a client of 2023, onedrive 2.4 of
    # Debian, asks by the root's id and lives on the paths that it got there.
    body = visit.shape(item, with_path=visit.address.item != "root")
    if item.extras is not None and item.extras.shared_number > place.since and _shows_sharing(visit):
        body["@microsoft.graph.sharedChanged"] = "True"
    return {"id": item.id, **body}


def _page(visit: Visit, value: list[dict[str, Json]], following: Place, *, last: bool) -> Json:
    place = replace(following, issued=int(visit.library.clock.timestamp()))
    return {
        "@odata.context": f"{visit.request.origin}/v1.0/$metadata#Collection(driveItem)",
        "value": value,
        "@odata.deltaLink" if last else "@odata.nextLink": _link(visit, place.text()),
    }


def _link(visit: Visit, token: str) -> str:
    """Return the address that goes on from `token`, with the caller's other query options."""
    kept = {k: v for k, v in visit.request.query.items() if k.removeprefix("$").lower() not in ("token", "deltatoken")}
    item = visit.item
    where = "root" if visit.address.item == "root" else f"items/{quote(item.id)}"
    query = urlencode({**kept, "token": token}, quote_via=quote, safe="$,@")
    return f"{visit.request.origin}/v1.0/drives/{quote(visit.drive.id)}/{where}/delta?{query}"
