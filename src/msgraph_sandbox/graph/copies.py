"""Copying over Graph: answered at once with a monitor on another host, carried out behind it."""

from __future__ import annotations

from dataclasses import dataclass

from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.library import Library
from msgraph_sandbox.drive.names import check_name
from msgraph_sandbox.drive.refusals import bad_request
from msgraph_sandbox.graph.access import check_target
from msgraph_sandbox.graph.items import find_reference
from msgraph_sandbox.graph.visit import Visit, object_of, text_of
from msgraph_sandbox.http import Json, Request, Response, json_response

ITEM_LIMIT = 30_000


async def copy_item(visit: Visit) -> Response:
    """Start a copy: 202, and the monitor's address in `Location`."""
    body = await visit.request.json_object()
    source, children_only = visit.item, body.get("childrenOnly") is True
    _check_source(visit, source, children_only)
    drive, folder = find_reference(visit, object_of(body, "parentReference"))
    parent = folder or source.parent or visit.drive.root
    check_target(visit, drive, parent)
    name = check_name(text_of(body, "name") or source.name)
    # Personal drives pay no attention to the behaviour asked for.
    conflict = "fail" if drive.personal else visit.conflict(body, "fail")
    actor, library = visit.actor, visit.library
    versions = body.get("includeAllVersionHistory") is True

    def work() -> Item:
        if children_only:
            return drive.copy_children(source, parent, conflict, actor, versions=versions)
        return drive.copy(source, parent, name, conflict, actor, versions=versions)

    monitor = library.copies.start(library.switches.copy_seconds, work)
    return Response(202, {"Location": f"{library.origins.monitor}/_api/v2.0/monitor/{monitor}"})


def _check_source(visit: Visit, source: Item, children_only: bool) -> None:
    if children_only and not source.is_folder:
        raise bad_request("childrenOnly is only valid for a folder.")
    if source is visit.drive.root and not children_only:
        raise bad_request("The root folder cannot be copied.")
    if sum(1 for _ in source.walk()) > ITEM_LIMIT:
        raise bad_request("The number of items to copy exceeds the limit of 30,000.")


@dataclass(slots=True)
class MonitorService:
    """Answers for the host of monitors. It asks for no token, and never redirects to where one would be needed."""

    library: Library

    async def answer(self, request: Request) -> Response:
        """Tell how a copy is doing."""
        job = self.library.copies.find(request.path.rpartition("/")[2])
        if job.failure is not None:
            error = {"code": job.failure.code, "message": job.failure.message}
            body = {"operation": "ItemCopy", "status": "failed", "errorCode": job.failure.code, "error": error}
            return json_response(body)
        if job.result is None:
            percentage = job.percentage(self.library.clock.timestamp())
            running = {"operation": "ItemCopy", "percentageComplete": percentage, "status": "inProgress"}
            return json_response(running, 202)
        done: dict[str, Json] = {"operation": "ItemCopy", "percentageComplete": 100.0, "status": "completed"}
        return json_response({**done, "resourceId": job.result.id})
