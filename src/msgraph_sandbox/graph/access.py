"""Who may do what on Graph: the bearer token, the scopes it carries, and the drives it opens."""

from __future__ import annotations

from typing import Literal

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Item
from msgraph_sandbox.drive.refusals import GraphRefused, access_denied, not_found
from msgraph_sandbox.graph.sharing import role_of
from msgraph_sandbox.graph.visit import Visit
from msgraph_sandbox.http import Request
from msgraph_sandbox.identity.claims import challenge
from msgraph_sandbox.identity.tokens import GRAPH_AUDIENCE, AccessGrant, Issuer

# Copying needs a token that writes, and an item that may be read.
Need = Literal["read", "write", "copy"]
_WRITE = frozenset(
    {"Files.ReadWrite", "Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All", "Sites.Manage.All"}
)
_READ = _WRITE | {"Files.Read", "Files.Read.All", "Sites.Read.All"}
_APP_FOLDER = "Files.ReadWrite.AppFolder"
# What it takes to read the profiles of all, and of oneself.
EVERYBODY = frozenset({"User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All", "Directory.Read.All"})
_PROFILE = EVERYBODY | {"User.Read", "User.ReadWrite"}
_GRAPH = "00000003-0000-0000-c000-000000000000"


def authenticate(request: Request, issuer: Issuer, login_origin: str) -> AccessGrant:
    """Return what the bearer token stands for, or refuse with the 401 that the fault deserves."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("Access token is empty.", login_origin)
    grant = issuer.access.get(token)
    if grant is None:
        raise _unauthorized(_malformed(token), login_origin)
    if grant.audience != GRAPH_AUDIENCE:
        raise _unauthorized("Access token validation failure. Invalid audience.", login_origin)
    if grant.expires <= issuer.clock.now():
        personal = grant.user is not None and grant.user.personal
        reason = "CompactToken validation failed with reason code: 80049228." if personal else _EXPIRED
        raise _unauthorized(reason, login_origin)
    if since := grant.challenged:
        claims = f', error="insufficient_claims", claims="{challenge(since)}"'
        raise _unauthorized(_CHALLENGED, login_origin, claims)
    return grant


_CHALLENGED = (
    "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBefore"
    "RevocationTimestamp"
)
_EXPIRED = "Lifetime validation failed, the token is expired."


def _malformed(token: str) -> str:
    if token.count(".") == 2:
        return "Invalid JWT access token."
    if "." in token:
        return "IDX14100: JWT is not well formed. The token needs to be in JWS or JWE Compact Serialization Format."
    return "CompactToken parsing failed with error code: 80049217"


def _unauthorized(message: str, login_origin: str, claims: str = "") -> GraphRefused:
    asked = f'Bearer realm="", authorization_uri="{login_origin}/common/oauth2/authorize", client_id="{_GRAPH}"{claims}'
    return GraphRefused(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": asked})


def check_files(grant: AccessGrant, need: Need, *, in_app_folder: bool) -> None:
    """Refuse with 403 unless the token's scopes (or an application's roles) cover files."""
    have = grant.scopes | grant.roles
    if have & (_READ if need == "read" else _WRITE):
        return
    if _APP_FOLDER not in have or not in_app_folder:
        raise access_denied()


def may_write(grant: AccessGrant) -> bool:
    """Whether the token may write anything at all."""
    return bool((grant.scopes | grant.roles) & (_WRITE | {_APP_FOLDER}))


def only_app_folder(grant: AccessGrant) -> bool:
    """Whether the token opens the application's own folder and nothing else."""
    return _APP_FOLDER in grant.scopes and not (grant.scopes | grant.roles) & _READ


def check_profile(grant: AccessGrant) -> None:
    """Refuse with 403 unless the token may read profiles."""
    if not (grant.scopes | grant.roles) & _PROFILE:
        raise GraphRefused(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def check_delegated(grant: AccessGrant) -> None:
    """Refuse `/me` to an app-only token, which is nobody."""
    if grant.user is None:
        raise GraphRefused(400, "BadRequest", "/me request is only valid with delegated authentication flow.")


def check_visit(visit: Visit, need: Need) -> None:
    """Refuse with 403 unless the token and the drive's owner let the visitor do what they ask."""
    in_app_folder = visit.address.item == "special:approot"
    if only_app_folder(visit.grant) and visit.address.item is not None and not in_app_folder:
        approot = visit.library.app_folder(visit.drive, visit.grant.application.name)
        existing = visit.existing()
        in_app_folder = approot is not None and existing is not None and existing.inside(approot)
    check_files(visit.grant, need, in_app_folder=in_app_folder or visit.address.item is None)
    if visit.grant.user is None:
        if visit.drive.tenant_id != visit.grant.tenant_id:
            raise not_found()
        return
    if is_guest(visit.grant, visit.drive):
        _check_shared(visit, need)


def is_guest(grant: AccessGrant, drive: Drive) -> bool:
    """Whether the drive opens to its visitor only where something on it is shared with them.

    To its owner it is open, and a site's library is open to everyone in the tenant whose token reaches beyond their own
    files.
    """
    if grant.user is None:
        return drive.tenant_id != grant.tenant_id
    if drive.kind == "documentLibrary" and drive.tenant_id == grant.tenant_id:
        return not any(scope.startswith("Sites.") or scope.endswith(".All") for scope in grant.scopes)
    return drive.owner.id != grant.user.oid


def _check_shared(visit: Visit, need: Need) -> None:
    if visit.link_role is not None:
        role: str | None = visit.link_role
    elif visit.address.item is None or visit.address.item.startswith("special:"):
        role = None
    else:
        role = role_of(visit.existing() or visit.start, visit.actor.email.lower(), visit.library.clock.now())
    if role is None or (need == "write" and role != "write"):
        raise access_denied()


def check_target(visit: Visit, drive: Drive, folder: Item) -> None:
    """Refuse with 403 to write into a folder of another drive that was not shared for writing."""
    role = role_of(folder, visit.actor.email.lower(), visit.library.clock.now())
    if is_guest(visit.grant, drive) and role != "write":
        raise access_denied()
