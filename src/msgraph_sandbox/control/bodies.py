"""What the control API takes, what it says to a wrong request, and the lookups that both need."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.refusals import GraphRefused
from msgraph_sandbox.http import Json, Refusal, Request, Response, json_response
from msgraph_sandbox.identity.directory import Application, User
from msgraph_sandbox.identity.refusals import REASONS
from msgraph_sandbox.seed import LARGEST_FILLER
from msgraph_sandbox.world import READY_SCOPES, World

Model = TypeVar("Model", bound=BaseModel)
Made = TypeVar("Made")
# A handler gets the names in its address one by one.
Handler = Callable[..., Awaitable[Json]]
Routes = tuple[tuple[str, str, Handler], ...]
# What handlers take as a body, for the description.
BODIES: dict[Handler, type[BaseModel]] = {}
ONE = "/([^/]+)"
REST = "/(.+)"


class Body(BaseModel):
    """A JSON object without surprises."""

    model_config = ConfigDict(extra="forbid")


class Advance(Body):
    """`POST /clock`."""

    seconds: float = Field(ge=0, le=100 * 366 * 86400)


class Decision(Body):
    """`POST /authorize`: an authorize URL, and how the person decides."""

    url: str
    user: str | None = None
    accept: bool = True


class Whose(Body):
    """`POST /tokens/expire`: everyone's tokens, or one user's."""

    user: str | None = None


class Wanted(Body):
    """`POST /users/{user}/tokens`: tokens without signing in."""

    client_id: str | None = None
    scopes: list[str] = Field(default_factory=lambda: sorted(READY_SCOPES))
    capable: bool = Field(default=False, description="As for a client that can take a claims challenge (`cp1`).")


class NewSecret(Body):
    """`POST /apps/{client_id}/secrets`."""

    value: str = Field(min_length=1)
    expires_in: float | None = Field(default=None, ge=-10 * 366 * 86400, le=10 * 366 * 86400)


class Resync(Body):
    """`POST /drives/{id}/resync`: what clients shall do with items that a fresh listing does not report."""

    kind: Literal["apply", "upload"] = "apply"


def _known_obstacle(code: int) -> int:
    if code and code not in REASONS:
        raise ValueError("not an AADSTS code of the sandbox's")
    return code


class UserChange(Body):
    """`PATCH /users/{user}`."""

    password: str | None = None
    disabled: bool | None = None
    admin: bool | None = None
    obstacle: Annotated[int, AfterValidator(_known_obstacle)] | None = Field(
        default=None, description="An AADSTS code that sign-in and refresh run into; 0 takes it away."
    )


class Device(Body):
    """`POST /device`: how the person with the code decides."""

    user_code: str
    user: str = ""
    accept: bool = True


class AppChange(Body):
    """`PATCH /apps/{client_id}`."""

    audience: (
        Literal["AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount"]
        | None
    ) = None
    redirect_uris: list[str] | None = None
    disabled: bool | None = None
    id_tokens: bool | None = None


class TenantChange(Body):
    """`PATCH /tenants/{tenant}`."""

    user_consent: bool


class NewFolder(Body):
    """`POST /drives/{drive}/folders`."""

    path: str


class NewPackage(Body):
    """`POST /drives/{drive}/packages`: an item that is neither file nor folder, such as a notebook."""

    path: str
    type: str = "oneNote"


class Move(Body):
    """`POST /drives/{drive}/move`."""

    source: str
    target: str


class Growth(Body):
    """`POST /drives/{drive}/grow`: a tree as in a seed file, and `count` files, `per_folder` to a folder."""

    files: dict[str, JsonValue] = Field(default_factory=dict)
    count: int = Field(default=0, ge=0, le=2_000_000)
    per_folder: int = Field(default=1000, ge=1)
    size: int = Field(default=10, ge=0, le=LARGEST_FILLER)


class DriveChange(Body):
    """`PATCH /drives/{drive}`."""

    quota: int = Field(ge=0)


class Notify(Body):
    """`POST /subscriptions/{id}/notify`: send `count` notifications now, changed or not."""

    count: int = Field(default=1, ge=1, le=1000)
    changes: dict[str, JsonValue] = Field(default_factory=dict, description="Fields to overwrite, such as clientState.")


class Lifecycle(Body):
    """`POST /subscriptions/{id}/lifecycle`."""

    event: Literal["reauthorizationRequired", "subscriptionRemoved", "missed"]


class Missing(Refusal):
    """The control API knows nothing of that name."""

    status = 404

    def response(self, request: Request) -> Response:
        return json_response({"error": {"code": "notFound", "message": str(self)}}, 404)


class Wrong(Refusal):
    """The control API was asked wrongly."""

    def response(self, request: Request) -> Response:
        return json_response({"error": {"code": "invalidRequest", "message": str(self)}}, 400)


def takes(model: type[BaseModel]) -> Callable[[Handler], Handler]:
    """Say of a handler which body it takes."""

    def note(handler: Handler) -> Handler:
        BODIES[handler] = model
        return handler

    return note


def checked(model: type[Model], given: Json) -> Model:
    """Return the body as a model, or refuse with 400 and say why."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Wrong(str(error)) from None


def or_wrong(make: Callable[[], Made]) -> Made:
    """Return what `make` makes; what it cannot is the caller's error."""
    try:
        return make()
    except (ValueError, GraphRefused) as error:
        raise Wrong(str(error)) from None


def find_user(world: World, name: str) -> User:
    """Return the user of that e-mail address or object id, or refuse with 404."""
    user = world.directory.user(name)
    if user is None:
        raise Missing(f"There is no user {name}.")
    return user


def find_app(world: World, client_id: str) -> Application:
    """Return the application, or refuse with 404."""
    application = world.directory.applications.get(client_id)
    if application is None:
        raise Missing(f"There is no application {client_id}.")
    return application


def find_drive(world: World, name: str) -> Drive:
    """Return the drive of that id, or of the user with that e-mail address, or refuse with 404."""
    user = world.directory.user(name)
    found = world.library.drives.get(user.drive_id or "" if user else name)
    if found is None:
        raise Missing(f"There is no drive {name}.")
    return found
