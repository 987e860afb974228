"""What the sandbox holds at start: users, applications, drives and files, by default or as a seed file says.

A seed file is JSON; `docs/reference/sandbox.md` shows one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from msgraph_sandbox.drive.drive import Drive
from msgraph_sandbox.drive.items import Actor, Item
from msgraph_sandbox.drive.library import Library, Site
from msgraph_sandbox.identity.directory import AUDIENCES, PERSONAL_TENANT, Application, Directory, Secret, Tenant, User

Tree = dict[str, JsonValue]
PACKAGE = "*package"
LARGEST_FILLER = 1 << 30
"""Bytes of the largest file that is made by naming its size: the sandbox makes it in memory."""

KINDS = Literal["personal", "business"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SeedTenant(_Model):
    """An organization."""

    id: str
    domain: str
    name: str


class SeedUser(_Model):
    """A user with a drive.

    `files` is a tree: an object is a folder, a text is a file's contents, a number its size (up to 1 GiB), and
    `{"*package": "oneNote"}` a notebook, which no folder can be taken for: names hold no asterisks.
    """

    email: str
    name: str = ""
    password: str = "Pa55word!"  # noqa: S105 - printed at start, on purpose
    tenant: str = Field(
        default="contoso.example", description="A tenant's domain or id; `consumers` for a personal account."
    )
    admin: bool = False
    drive: bool = True
    quota: int = 5 * 1024**4
    files: Tree = Field(default_factory=dict)


class SeedSite(_Model):
    """A SharePoint site with a document library, which everyone in the tenant may read and write."""

    name: str
    tenant: str = "contoso.example"
    path: str = Field(default="", description="Such as `sites/engineering`; empty is the tenant's root site.")
    files: Tree = Field(default_factory=dict)


class SeedApplication(_Model):
    """An application registration."""

    client_id: str
    name: str
    audience: str = "AzureADandPersonalMicrosoftAccount"
    secret: str | None = None
    tenant: str = "contoso.example"
    redirect_uris: list[str] = Field(default_factory=list)
    spa_redirect_uris: list[str] = Field(default_factory=list)
    certificates: list[str] = Field(default_factory=list, description="PEM certificates for client assertions.")
    permissions: list[str] | None = Field(default=None, description="What `.default` stands for.")
    roles: list[str] | None = Field(default=None, description="What an app-only token may do.")
    id_tokens: bool = True
    disabled: bool = False

    @field_validator("certificates")
    @classmethod
    def _readable(cls, certificates: list[str]) -> list[str]:
        for pem in certificates:
            x509.load_pem_x509_certificate(pem.encode())
        return certificates

    @field_validator("audience")
    @classmethod
    def _known(cls, audience: str) -> str:
        if audience not in AUDIENCES:
            raise ValueError(f"must be one of {', '.join(AUDIENCES)}")
        return audience


class Seed(_Model):
    """Everything at start. What a seed file leaves out is as by default."""

    tenants: list[SeedTenant] = Field(
        default_factory=lambda: [
            SeedTenant(id="c0de0001-0000-4000-8000-000000000001", domain="contoso.example", name="Contoso"),
            SeedTenant(id="c0de0002-0000-4000-8000-000000000002", domain="fabrikam.example", name="Fabrikam"),
        ]
    )
    users: list[SeedUser] = Field(
        default_factory=lambda: [
            SeedUser(email="ada@contoso.example", name="Ada Lovelace", admin=True, files=_SAMPLE),
            SeedUser(email="grace@contoso.example", name="Grace Hopper", files=_SAMPLE),
            SeedUser(email="linus@fabrikam.example", name="Linus Pauling", tenant="fabrikam.example", files=_SAMPLE),
            SeedUser(email="mary@outlook.example", name="Mary Shelley", tenant="consumers", files=_SAMPLE),
        ]
    )
    sites: list[SeedSite] = Field(
        default_factory=lambda: [
            SeedSite(name="Contoso", files={"Handbook.md": "# Handbook\n"}),
            SeedSite(name="Engineering", path="sites/engineering", files={"Plans": {"Roadmap.md": "# Roadmap\n"}}),
        ]
    )
    applications: list[SeedApplication] = Field(
        default_factory=lambda: [
            SeedApplication(
                client_id="5a9db0c1-1111-4111-8111-000000000001",
                name="Sandbox App",
                secret="sandbox~Secret.of+the/default=app",  # noqa: S106
            ),
            SeedApplication(client_id="5a9db0c1-2222-4222-8222-000000000002", name="Sandbox Public App"),
        ]
    )


_SAMPLE: Tree = {
    "Documents": {
        "Welcome.txt": "Welcome to your OneDrive.\n",
        "Budget 2026.csv": "month,amount\n1,100\n2,250\n",
        "Reports": {"Annual report.docx": 25_000, "Q1 #1 (100%).pdf": 120_000},
    },
    "Pictures": {"Holiday.jpg": 350_000},
    "Notes.md": "# Notes\n\n- Buy milk\n",
}


def load_seed(path: Path | None) -> Seed:
    """Return the seed in a file, or the default."""
    return Seed() if path is None else Seed.model_validate_json(path.read_bytes())


def plant(seed: Seed, directory: Directory, library: Library) -> None:
    """Fill an empty directory and library."""
    for tenant in seed.tenants:
        directory.add_tenant(Tenant(tenant.id.lower(), tenant.domain.lower(), tenant.name))
    for registration in seed.applications:
        add_application(registration, directory)
    for user in seed.users:
        add_user(user, directory, library)
    for site in seed.sites:
        if directory.tenant(site.tenant):
            add_site(site, directory, library)


def add_application(given: SeedApplication, directory: Directory) -> Application:
    """Add an application; one without secret, certificate or single-page redirect URI is public."""
    tenant = directory.tenant(given.tenant)
    if tenant is None:
        raise ValueError(f"There is no tenant {given.tenant!r}.")
    application = Application(
        given.client_id,
        given.name,
        tenant.id,
        given.audience,
        secrets=[Secret(given.secret)] if given.secret else [],
        redirect_uris=list(given.redirect_uris),
        spa_redirect_uris=list(given.spa_redirect_uris),
        certificates=list(given.certificates),
        public=not (given.secret or given.certificates or given.spa_redirect_uris),
        disabled=given.disabled,
        id_tokens=given.id_tokens,
    )
    application.permissions = given.permissions or application.permissions
    application.roles = given.roles or application.roles
    directory.applications[application.client_id] = application
    return application


def add_user(given: SeedUser, directory: Directory, library: Library) -> User:
    """Add a user and their drive."""
    tenant = directory.tenant(PERSONAL_TENANT if given.tenant == "consumers" else given.tenant)
    if tenant is None:
        raise ValueError(f"There is no tenant {given.tenant!r}.")
    user = directory.add_user(given.email, tenant, name=given.name, password=given.password)
    user.admin = given.admin
    if given.drive:
        owner = Actor(user.oid, user.name, user.email)
        kind: KINDS = "personal" if user.personal else "business"
        drive = library.add(
            Drive(
                f"OneDrive of {user.email}",
                kind,
                owner,
                library.clock,
                tenant_id=tenant.id,
                web_url=_web_url(user),
                quota=given.quota,
            )
        )
        user.drive_id = drive.id
        plant_tree(library, drive, drive.root, given.files, owner)
    return user


def _web_url(user: User) -> str:
    if user.personal:
        return "https://onedrive.live.example/"
    place = user.email.replace("@", "_").replace(".", "_")
    return f"{user.tenant.drives_origin}/personal/{place}/Documents"


def add_site(given: SeedSite, directory: Directory, library: Library) -> Site:
    """Add a site and its document library."""
    tenant = directory.tenant(given.tenant)
    if tenant is None or tenant.personal:
        raise ValueError(f"There is no organization {given.tenant!r}.")
    site = Site(f"{tenant.label}.sharepoint.example", given.path.strip("/"), given.name, tenant.id)
    owner = Actor(site.id, given.name, "")
    drive = Drive(
        f"Documents of {site.url}",
        "documentLibrary",
        owner,
        library.clock,
        name="Documents",
        tenant_id=tenant.id,
        web_url=f"{site.url}/Shared%20Documents",
    )
    site.drive_id = library.add(drive).id
    library.sites[site.id] = site
    plant_tree(library, drive, drive.root, given.files, owner)
    return site


def plant_tree(library: Library, drive: Drive, folder: Item, tree: Tree, owner: Actor) -> None:
    """Create the files and folders of a tree inside `folder`."""
    for name, value in tree.items():
        if isinstance(value, dict) and isinstance(package := value.get(PACKAGE), str):
            drive.create_other(folder, name, "fail", owner, package=package)
        elif isinstance(value, dict):
            plant_tree(library, drive, drive.create_folder(folder, name, "replace", owner), value, owner)
        elif isinstance(value, str):
            drive.put_file(folder, name, library.blobs.of(value.encode()), "replace", owner)
        elif isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value <= LARGEST_FILLER:
                raise ValueError(f"{name!r} cannot have {value} bytes: a size is from 0 to {LARGEST_FILLER}.")
            drive.put_file(folder, name, library.blobs.of(filler(value)), "replace", owner)
        else:
            raise ValueError(f"{name!r} must be an object (a folder), a text (contents) or a number (a size).")


def filler(size: int) -> bytes:
    """Return `size` bytes that are the same on every run and do not look like zeros."""
    block = bytes(range(251))
    return (block * (size // len(block) + 1))[:size]
