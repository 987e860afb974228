"""Who else may see or change an item."""

import contextlib
from datetime import UTC

from landbridge.errors import ItemNotFound
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
from landbridge.kit import action


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

    async def invite() -> Permissions:
        return Permissions.model_validate((await graph.call("POST", place / "invite", json=asked)).json())

    async def find() -> Permissions | None:
        """Return their permissions if each of them has one of this role by now."""
        wanted = {email.lower() for email in given.emails}
        found = {
            email: permission
            for permission in (await _permissions(graph, place / "permissions")).value
            if given.role in permission.roles and (email := permission.email)
        }
        return Permissions(value=[found[email] for email in sorted(wanted)]) if wanted <= set(found) else None

    return await graph.once(Permissions, lambda _: invite(), lambda _: find())


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
