"""Who else may see or change an item."""

import contextlib
from datetime import UTC

from pydantic import JsonValue

from landbridge.errors import ItemNotFound, OutcomeUnknown
from landbridge.integrations.onedrive.graph import Graph
from landbridge.integrations.onedrive.models.sharing import (
    CreateLink,
    InvitePeople,
    ListPermissions,
    Permission,
    Permissions,
    Removed,
    RemovePermission,
)
from landbridge.integrations.onedrive.names import encoded
from landbridge.kit import Start, action


@action(scopes={"Files.ReadWrite"}, repeatable=True, effect="adds")
async def create_link(graph: Graph, given: CreateLink) -> Permission:
    """Create a link to a file or folder, to give to others.

    If there is such a link already, OneDrive gives that one. What a link may do is decided by the organization too.
    """
    place, _ = await graph.find(given.drive_id, given.item_id, given.item_path)
    asked: dict[str, str] = {"type": given.type, "scope": given.scope}
    if given.expires_at:
        asked["expirationDateTime"] = f"{given.expires_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if given.password:
        asked["password"] = given.password.get_secret_value()
    answer = await graph.call("POST", place / "createLink", json=asked, repeatable=True)
    return Permission.model_validate(answer.json())


@action(scopes={"Files.ReadWrite"}, repeatable=False, effect="adds")
async def invite_people(graph: Graph, given: InvitePeople) -> Permissions:
    """Give people access to a file or folder by their e-mail addresses.

    Microsoft writes to them unless told not to.
    """
    place, _ = await graph.find(given.drive_id, given.item_id, given.item_path)
    asked = {
        "recipients": [{"email": email} for email in given.emails],
        "roles": [given.role],
        "requireSignIn": True,
        "sendInvitation": given.send_invitation,
        **({"message": given.message} if given.message else {}),
    }

    wanted = {email.lower() for email in given.emails}

    async def invite() -> Permissions:
        return Permissions.model_validate((await graph.call("POST", place / "invite", json=asked)).json())

    async def holders() -> dict[str, Permission]:
        """Return the permissions of this role by whose they are."""
        found = (await _permissions(graph, place / "permissions")).value
        return {one.email: one for one in found if given.role in one.roles and one.email}

    async def note() -> JsonValue:
        return list((await holders()).keys() & wanted)

    async def find(start: Start) -> Permissions | None:
        """Return their permissions, if all have one by now, and somebody has who had none before.

        Raises `OutcomeUnknown` if all of them had one before, since an e-mail leaves no trace.
        """
        if wanted <= set(start.noted) and given.send_invitation:
            raise OutcomeUnknown("Everybody had such access before, so whether they were written to cannot be told.")
        found = await holders()
        if wanted <= set(start.noted) or not wanted <= set(found):
            return None
        return Permissions(value=[found[email] for email in sorted(wanted)])

    return await graph.once(Permissions, lambda _: invite(), find, note)


@action(scopes={"Files.Read"}, repeatable=True, effect="reads")
async def list_permissions(graph: Graph, given: ListPermissions) -> Permissions:
    """List who has access to a file or folder, and by which links."""
    place, _ = await graph.find(given.drive_id, given.item_id, given.item_path)
    return await _permissions(graph, place / "permissions")


@action(scopes={"Files.ReadWrite"}, repeatable=True)
async def remove_permission(graph: Graph, given: RemovePermission) -> Removed:
    """Take a permission away: a link stops working, or people lose their access.

    One that is not there any more counts as removed.
    """
    place, _ = await graph.find(given.drive_id, given.item_id, given.item_path)
    with contextlib.suppress(ItemNotFound):
        await graph.call("DELETE", f"{place / 'permissions'}/{encoded(given.permission_id)}")
    return Removed(id=given.permission_id)


async def _permissions(graph: Graph, path: str) -> Permissions:
    found = [said async for page in graph.pages(path) for said in page["value"]]
    return Permissions.model_validate({"value": found})
