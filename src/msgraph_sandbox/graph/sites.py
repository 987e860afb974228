"""SharePoint sites, so far as clients of OneDrive look at them: finding one, and its document libraries."""

from __future__ import annotations

import re

from msgraph_sandbox.drive.library import Library, Site
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.graph.access import check_files
from msgraph_sandbox.graph.shapes import drive_json
from msgraph_sandbox.http import Json, Request, Response, json_response
from msgraph_sandbox.identity.tokens import AccessGrant

# `{id}`, `root`, `{host}`, or one of these and a path: `root:/sites/engineering:`.
PATH = re.compile(r"/sites(?:/(?P<site>[^/:]+(?::/[^:]*:?)?)(?P<drives>/drives)?)?/?")


def answer(request: Request, library: Library, grant: AccessGrant, key: str | None, *, drives: bool) -> Response:
    """Return the sites whose names hold what `search` asks for, one site, or its libraries."""
    check_files(grant, "read", in_app_folder=False)
    if grant.user is not None and grant.user.personal:
        raise GraphRefused(400, "BadRequest", "This API is not supported for MSA accounts")
    if key is None:
        wanted = (request.query.get("search") or request.query.get("$search") or "*").strip('"').casefold()
        found = [site for site in library.sites.values() if site.tenant_id == grant.tenant_id]
        matching = [site for site in found if wanted == "*" or wanted in site.name.casefold()]
        return json_response({"value": [_json(request, site) for site in matching]})
    site = find_site(library, grant, key)
    if drives:
        drive = drive_json(library.drive(site.drive_id), request.origin)
        return json_response({"@odata.context": f"{request.origin}/v1.0/$metadata#drives", "value": [drive]})
    return json_response({"@odata.context": f"{request.origin}/v1.0/$metadata#sites/$entity", **_json(request, site)})


def find_site(library: Library, grant: AccessGrant, key: str) -> Site:
    """Return the site of the caller's tenant that an address means, or refuse with 404."""
    host, _, path = key.partition(":")
    for site in library.sites.values():
        if site.tenant_id != grant.tenant_id:
            continue
        if key.lower() == site.id or (host.lower() in ("root", site.host) and path.strip("/:") == site.path):
            return site
    raise GraphRefused(404, "itemNotFound", "Requested site could not be found.")


def _json(request: Request, site: Site) -> dict[str, Json]:
    body: dict[str, Json] = {
        "id": site.id,
        "name": site.path.rpartition("/")[2],
        "displayName": site.name,
        "webUrl": site.url,
        "siteCollection": {"hostname": site.host},
    }
    return body if site.path else body | {"root": {}}
