"""Who there is: tenants, users, application registrations, and which user consented to what."""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

# Every personal account lives in this tenant.
PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
GRAPH_RESOURCE = "00000003-0000-0000-c000-000000000000"
AUDIENCES = ("AzureADMyOrg", "AzureADMultipleOrgs", "AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Where the SharePoint hosts of organizations are.
SHAREPOINT = "sharepoint.example"


@dataclass(slots=True)
class Tenant:
    """An organization, or the one tenant of all personal accounts."""

    id: str
    domain: str
    name: str
    # Whether users may consent for themselves; if not, an administrator must (AADSTS90094).
    user_consent: bool = True

    @property
    def personal(self) -> bool:
        """Whether this is the tenant of personal accounts."""
        return self.id == PERSONAL_TENANT

    @property
    def label(self) -> str:
        """The first part of its domain, which begins its SharePoint's host names."""
        return self.domain.partition(".")[0]

    @property
    def sites_origin(self) -> str:
        """The origin of its SharePoint sites."""
        return f"https://{self.label}.{SHAREPOINT}"

    @property
    def drives_origin(self) -> str:
        """The origin of its users' drives."""
        return f"https://{self.label}-my.{SHAREPOINT}"


@dataclass(slots=True, eq=False)
class User:
    """A person who can sign in. `drive_id` names the drive that `/me/drive` answers with."""

    oid: str
    email: str
    password: str
    name: str
    tenant: Tenant
    admin: bool = False
    disabled: bool = False
    drive_id: str | None = None
    # Refresh tokens issued before this moment are revoked.
    tokens_valid_from: datetime | None = None
    # Refresh tokens of public clients rest on the password, and end when it changes.
    password_changed: datetime | None = None
    # Access tokens from before this moment meet a claims challenge, if their client can take one.
    challenged: datetime | None = None
    # What sign-in shall ask beyond a password, as an AADSTS code: 50076 for multi-factor authentication, 53003 for
    # a policy that blocks, and so on. None is a quiet user.
    obstacle: int | None = None

    @property
    def personal(self) -> bool:
        """Whether this is a personal Microsoft account."""
        return self.tenant.personal

    def change_password(self, password: str, at: datetime) -> None:
        """Change the password, on which refresh tokens of public clients from before `at` rested."""
        self.password, self.password_changed = password, at

    def refreshable_from(self, application: Application) -> datetime | None:
        """Return the moment before which refresh tokens for `application` are revoked, or None if none are.

        https://learn.microsoft.com/entra/identity-platform/refresh-tokens#token-revocation
        """
        moments = (self.tokens_valid_from, self.password_changed if application.public else None)
        return max((moment for moment in moments if moment is not None), default=None)

    def subject(self, client_id: str) -> str:
        """Return `sub`, which differs from application to application (it is *pairwise*)."""
        digest = hashlib.sha256(f"{self.oid}|{client_id}".encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(slots=True)
class Secret:
    """A client secret. Several may overlap, so that an operator can rotate them."""

    value: str
    expires: datetime | None = None


@dataclass(slots=True, eq=False)
class Application:
    """An application registration."""

    client_id: str
    name: str
    tenant_id: str
    audience: str = "AzureADandPersonalMicrosoftAccount"
    secrets: list[Secret] = field(default_factory=list)
    redirect_uris: list[str] = field(default_factory=list)
    # Redirect URIs of single-page applications, whose refresh tokens live for a day.
    spa_redirect_uris: list[str] = field(default_factory=list)
    public: bool = False
    disabled: bool = False
    id_tokens: bool = False
    # What `.default` stands for: delegated scopes, and the roles of an app-only token.
    permissions: list[str] = field(default_factory=lambda: ["Files.ReadWrite.All", "User.Read", "offline_access"])
    roles: list[str] = field(default_factory=lambda: ["Files.ReadWrite.All", "Sites.ReadWrite.All", "User.Read.All"])
    # PEM certificates whose keys may sign client assertions.
    certificates: list[str] = field(default_factory=list)

    def admits(self, tenant: Tenant) -> bool:
        """Whether users of `tenant` may sign in to this application."""
        if tenant.personal:
            return self.audience in ("AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount")
        if self.audience == "PersonalMicrosoftAccount":
            return False
        return self.audience != "AzureADMyOrg" or tenant.id == self.tenant_id

    def redirects_to(self, uri: str, any_loopback: bool) -> bool:
        """Whether `uri` may receive a code: registered exactly, or loopback (whose port Microsoft ignores)."""
        if uri in self.redirect_uris or uri in self.spa_redirect_uris:
            return True
        try:
            asked = urlsplit(uri)
            if asked.scheme != "http" or asked.hostname not in LOOPBACK or asked.fragment:
                return False
        except ValueError:
            return False
        if any_loopback:
            return True
        without_port = (asked.hostname, asked.path, asked.query)
        known = (urlsplit(registered) for registered in self.redirect_uris)
        return any((one.hostname, one.path, one.query) == without_port for one in known if one.hostname in LOOPBACK)


class Directory:
    """All tenants, users, applications and consents."""

    def __init__(self) -> None:
        self.tenants: dict[str, Tenant] = {}
        self.users: dict[str, User] = {}
        self.applications: dict[str, Application] = {}
        self.consents: dict[tuple[str, str], set[str]] = {}
        # When users withdrew what they had consented to, by application and user.
        self.withdrawals: dict[tuple[str, str], datetime] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything but the tenant of personal accounts."""
        for kept in (self.tenants, self.users, self.applications, self.consents, self.withdrawals):
            kept.clear()
        self.add_tenant(Tenant(PERSONAL_TENANT, "outlook.example", "Personal accounts"))

    def add_tenant(self, tenant: Tenant) -> Tenant:
        """Add a tenant, or return the one that already has its id."""
        return self.tenants.setdefault(tenant.id, tenant)

    def add_user(self, email: str, tenant: Tenant, *, name: str = "", password: str = "", oid: str = "") -> User:
        """Add a user. The object id derives from the address unless given, so that every run has the same ids."""
        derived = str(uuid.uuid5(uuid.NAMESPACE_URL, f"mailto:{email.lower()}"))
        if tenant.personal:
            derived = f"00000000-0000-0000-{derived[19:]}"
        user = User(oid or derived, email, password or "Pa55word!", name or email.partition("@")[0].title(), tenant)
        self.users[user.oid] = user
        return user

    def user(self, key: str) -> User | None:
        """Return the user of that object id or e-mail address (case does not count), or None."""
        if found := self.users.get(key):
            return found
        lowered = key.lower()
        return next((user for user in self.users.values() if user.email.lower() == lowered), None)

    def tenant(self, key: str) -> Tenant | None:
        """Return the tenant of that id or verified domain, or None."""
        if found := self.tenants.get(key.lower()):
            return found
        return next((tenant for tenant in self.tenants.values() if tenant.domain == key.lower()), None)

    def users_of(self, authority: str) -> list[User]:
        """Return the users that may sign in at `authority`: `common`, `organizations`, `consumers` or a tenant."""
        everyone = list(self.users.values())
        if authority == "common":
            return everyone
        if authority in ("organizations", "consumers"):
            return [user for user in everyone if user.personal == (authority == "consumers")]
        tenant = self.tenant(authority)
        return [user for user in everyone if user.tenant is tenant]

    def consented(self, client_id: str, user: User) -> set[str]:
        """Return the scopes that `user`, or an administrator for everyone in the tenant, consented to."""
        own = self.consents.get((client_id, user.oid), set())
        return own | self.consents.get((client_id, user.tenant.id), set())

    def consent(self, client_id: str, who: str, scopes: set[str]) -> None:
        """Remember a consent. `who` is a user's object id, or a tenant's id for an administrator's consent for all."""
        self.consents.setdefault((client_id, who), set()).update(scopes)

    def installed(self, client_id: str, tenant: Tenant) -> bool:
        """Whether a tenant knows an application: it is its home, or someone there has consented."""
        if self.applications[client_id].tenant_id == tenant.id:
            return True
        consenting = (who for client, who in self.consents if client == client_id)
        return any(who == tenant.id or (who in self.users and self.users[who].tenant is tenant) for who in consenting)

    def withdraw(self, client_id: str | None, user: User, at: datetime) -> None:
        """Forget the user's own consents, for one application or for all; refresh tokens from before `at` are dead."""
        for client in self.applications:
            if client_id in (None, client):
                self.consents.pop((client, user.oid), None)
                self.withdrawals[client, user.oid] = at

    def withdrawn(self, client_id: str, user: User) -> datetime | None:
        """Return when the user last withdrew their consent to an application, or None."""
        return self.withdrawals.get((client_id, user.oid))
