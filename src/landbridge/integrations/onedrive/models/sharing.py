"""Who else may see or change an item."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, SecretStr, model_validator

from landbridge.integrations.onedrive.models.items import Facet
from landbridge.integrations.onedrive.models.places import Id, TheItem
from landbridge.kit import Result


class Link(Facet):
    """A sharing link."""

    type: str | None = Field(default=None, description="`view`, `edit` or `embed`.")
    scope: str | None = Field(default=None, description="`anonymous`, `organization` or `users`.")
    web_url: str | None = Field(default=None, description="The address to give to others.")


class Permission(Result):
    """A way that somebody has to an item."""

    id: str = Field(description="The permission's id, to remove it.")
    roles: list[str] = Field(default_factory=list, description="`read`, `write` or `owner`.")
    link: Link | None = Field(default=None, description="Present if it is a link.")
    granted_to_v2: dict[str, Any] | None = Field(  # Any: JSON
        default=None, alias="grantedToV2", description="Who has it, if it is somebody's."
    )
    expiration_date_time: datetime | None = Field(default=None, description="When it ends, if it does.")

    @model_validator(mode="before")
    @classmethod
    def _one_spelling(cls, said: Any) -> Any:  # Any: another system's JSON
        """Personal accounts still say `grantedTo`."""
        if isinstance(said, dict) and "grantedTo" in said:
            return {"grantedToV2": said["grantedTo"], **{k: v for k, v in said.items() if k != "grantedTo"}}
        return said

    @property
    def email(self) -> str | None:
        """The e-mail address of whoever has it, in lower case."""
        user = (self.granted_to_v2 or {}).get("user")
        said = (user or {}).get("email") or ((self.model_extra or {}).get("invitation") or {}).get("email")
        return said.lower() if isinstance(said, str) else None


class Permissions(Result):
    """The ways that people have to an item."""

    value: list[Permission] = Field(description="The permissions.")


class CreateLink(TheItem):
    """The form of Create Link."""

    type: Literal["view", "edit", "embed"] = Field(
        default="view", description="What others may do with it; `embed` is for personal accounts."
    )
    scope: Literal["anonymous", "organization", "users"] = Field(
        default="anonymous", description="Who can use it: anybody, the user's organization, or people named otherwise."
    )
    expires_at: AwareDatetime | None = Field(default=None, description="When it ends.")
    password: SecretStr | None = Field(default=None, description="A password; personal accounts only.")


class InvitePeople(TheItem):
    """The form of Invite People."""

    emails: Annotated[list[str], Field(min_length=1, max_length=100)] = Field(description="Whom, by e-mail address.")
    role: Literal["read", "write"] = Field(default="read", description="What they may do.")
    message: Annotated[str, Field(max_length=2000)] | None = Field(default=None, description="What to write to them.")
    send_invitation: bool = Field(default=True, description="Whether Microsoft sends them an e-mail.")


class ListPermissions(TheItem):
    """The form of List Permissions."""


class RemovePermission(TheItem):
    """The form of Remove Permission."""

    permission_id: Id = Field(description="The permission's id, as List Permissions gives it.")


class Removed(Result):
    """What was removed."""

    id: str = Field(description="The id that it had.")
