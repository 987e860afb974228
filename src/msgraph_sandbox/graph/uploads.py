"""Upload sessions over HTTP: opened on Graph, fed on a host of their own that takes no bearer token."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.names import check_name
from msgraph_sandbox.drive.refusals import GraphRefused, bad_request, changed, name_taken, not_found
from msgraph_sandbox.drive.uploads import Plan, UploadSession
from msgraph_sandbox.graph.items import file_system_times
from msgraph_sandbox.graph.shapes import etag, item_json
from msgraph_sandbox.graph.visit import Visit, object_of, text_of
from msgraph_sandbox.http import Request, Response, json_response


async def create_session(visit: Visit) -> Response:
    """Open a session and return its URL."""
    body = await visit.request.json_object()
    item = object_of(body, "item")
    existing = visit.existing()
    name = visit.address.path[-1] if visit.address.path else existing.name if existing else ""
    given = text_of(item, "name")
    if given is not None and given != name:
        raise bad_request("The name in the body does not match the name in the URL.")
    plan = _plan(visit, body, check_name(name))
    size = item.get("fileSize")
    if isinstance(size, int) and size > 0:
        visit.drive.check_room(size - (plan.existing.size if plan.existing else 0))
    session = visit.library.uploads.open(plan, visit.library.blobs.writer())
    if plan.existing is not None and not visit.drive.personal:
        # Work accounts keep a stub while uploading, which changes the eTag: a later If-Match with the old one fails.
        visit.drive.stub(plan.existing)
    return json_response(
        {
            "@odata.context": f"{visit.request.origin}/v1.0/$metadata#microsoft.graph.uploadSession",
            "uploadUrl": upload_url(visit.library, session),
            **status(session),
        }
    )


def _plan(visit: Visit, body: dict[str, object], name: str) -> Plan:
    item = object_of(body, "item")
    existing = visit.existing()
    conflict = visit.conflict(item, visit.library.switches.session_conflict)
    visit.check_if_match(existing)
    if existing is not None:
        _check_existing(visit, existing, conflict)
    elif not visit.address.path:
        raise not_found()
    created, modified = file_system_times(item)
    parent = None if existing is not None and not visit.address.path else visit.parent_and_name()[0]
    return Plan(
        drive=visit.drive,
        parent=parent,
        name=name,
        existing=existing if conflict == "replace" or not visit.address.path else None,
        conflict=conflict,
        actor=visit.actor,
        created=created,
        modified=modified,
        description=text_of(item, "description"),
        defer=body.get("deferCommit") is True,
    )


def _check_existing(visit: Visit, existing: Item, conflict: str) -> None:
    if visit.is_named("if-none-match", existing):
        raise changed()
    if existing.blob is None or (conflict == "fail" and visit.address.path):
        raise name_taken()


def upload_url(library: Library, session: UploadSession) -> str:
    """Return the session's URL, which is all that is needed to write to it."""
    query = urlencode(
        {"guid": session.id, "overwrite": "True", "rename": "False", "dc": "0", "tempauth": session.secret}
    )
    return f"{library.origins.upload}/_api/v2.0/drives/{session.plan.drive.id}/uploadSession?{query}"


def status(session: UploadSession) -> dict[str, object]:
    """Return how far a session is."""
    expires = session.expires.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    return {"expirationDateTime": expires, "nextExpectedRanges": session.missing()}


async def put_item(visit: Visit) -> Response:
    """Finish an upload under a name (`@microsoft.graph.sourceUrl`), after a conflict or a deferred commit."""
    body = await visit.request.json_object()
    source = text_of(body, "@microsoft.graph.sourceUrl")
    if source is None:
        raise bad_request("A sourceUrl is required to create an item by PUT.")
    session = find_by_url(visit.library, source)
    if not session.complete or session.plan.drive is not visit.drive:
        raise bad_request("The upload is not complete.")
    parent, name = visit.parent_and_name()
    name = check_name(text_of(body, "name") or name)
    item = session.commit(parent=parent, name=name, conflict=visit.conflict(body, "fail"))
    visit.library.uploads.close(session)
    return visit.answer(item, 201 if session.new else 200)


def find_by_url(library: Library, url: str) -> UploadSession:
    """Return the session of an upload URL."""
    try:
        query = dict(parse_qsl(urlsplit(url).query))
    except ValueError:
        raise bad_request("The upload URL is malformed.") from None
    return library.uploads.find(query.get("guid", ""), query.get("tempauth", ""))


@dataclass(slots=True)
class UploadService:
    """Answers for the upload host."""

    library: Library

    async def answer(self, request: Request) -> Response:
        """Take a fragment (PUT), commit (POST), tell how far it is (GET), or cancel (DELETE)."""
        refuses = self.library.switches.upload_authorization == "refuse"
        if refuses and "authorization" in request.headers and request.method == "PUT":
            # The URL is its own permission, and the real host refuses a token that does not belong to it.
            raise GraphRefused(401, "unauthenticated", "The Authorization header must not be sent to an upload URL.")
        session = self.library.uploads.find(request.query.get("guid", ""), request.query.get("tempauth", ""))
        self.library.uploads.changed(session)
        match request.method:
            case "PUT":
                return await self._put(request, session)
            case "POST" if session.complete and session.item is None:
                return self._commit(session)
            case "GET" if session.item is None:
                return json_response(status(session))
            case "DELETE":
                self.library.uploads.close(session)
                return Response(204)
            case "GET" | "POST":
                raise not_found("The upload session was not found.")
        raise GraphRefused(405, "methodNotAllowed", "Method not allowed.")

    async def _put(self, request: Request, session: UploadSession) -> Response:
        if session.item is not None:
            return self._repeated(session)
        if session.busy:
            raise GraphRefused(409, "conflict", "Another fragment is being received.")
        strict = self.library.switches.strict_fragments
        total = session.check_fragment(request.headers.get("content-range", ""), request.length, strict=strict)
        await session.accept(total, request.chunks())
        self.library.uploads.changed(session)
        if not session.complete or session.plan.defer:
            return json_response(status(session), 202)
        return self._commit(session)

    def _repeated(self, session: UploadSession) -> Response:
        # SharePoint refuses the last fragment when it comes twice; some client libraries send it twice.
        if not self.library.switches.replay_last_fragment or session.item is None:
            raise bad_request("The upload session has already been completed.")
        return self._item(session, 200)

    def _commit(self, session: UploadSession) -> Response:
        session.finish(lambda blob: self.library.arrived(session.plan.drive, session.plan.name, blob))
        session.commit()
        return self._item(session, 201 if session.new else 200)

    def _item(self, session: UploadSession, code: int) -> Response:
        drive, item = session.plan.drive, session.item
        assert item is not None
        body = item_json(self.library, drive, item)
        return json_response(body, code, {"ETag": etag(drive, item)})
