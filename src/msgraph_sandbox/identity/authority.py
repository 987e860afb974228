"""The first segment of every sign-in address: who may sign in there, and which applications it serves."""

from __future__ import annotations

from dataclasses import dataclass

from msgraph_sandbox.identity.directory import PERSONAL_TENANT, Application, Directory, Tenant, User
from msgraph_sandbox.identity.refusals import SignInRefused

SHARED = ("common", "organizations", "consumers")


@dataclass(frozen=True, slots=True)
class Authority:
    """`common`, `organizations`, `consumers`, or one tenant."""

    name: str
    tenant: Tenant | None

    @property
    def home(self) -> str:
        """What takes the tenant's place in this authority's own links."""
        return self.tenant.id if self.tenant else self.name

    @property
    def issuer_tenant(self) -> str:
        """The tenant in the issuer; shared endpoints show a placeholder that validators fill in with `tid`."""
        if self.tenant:
            return self.tenant.id
        return PERSONAL_TENANT if self.name == "consumers" else "{tenantid}"

    def users(self, directory: Directory, application: Application) -> list[User]:
        """Return who may sign in here to `application`."""
        return [user for user in directory.users_of(self.home) if application.admits(user.tenant)]


def find_authority(directory: Directory, name: str) -> Authority:
    """Return the authority of that name, or refuse with AADSTS90002."""
    lowered = name.lower()
    if lowered in SHARED:
        return Authority(lowered, None)
    tenant = directory.tenant(lowered)
    if tenant is None:
        raise SignInRefused(90002, tenant=name)
    return Authority("consumers", None) if tenant.personal else Authority(tenant.id, tenant)


def find_application(directory: Directory, authority: Authority, client_id: str) -> Application:
    """Return the application if this authority serves it, or refuse as Microsoft does for each wrong combination."""
    application = directory.applications.get(client_id)
    if application is None:
        raise SignInRefused(700016, client_id=client_id, tenant=_label(authority))
    facts = {"client_id": client_id, "name": application.name}
    if application.disabled:
        raise SignInRefused(7000112, **facts)
    if authority.name == "consumers":
        if application.audience in ("AzureADMyOrg", "AzureADMultipleOrgs"):
            raise SignInRefused(9002332, **facts)
        return application
    if application.audience == "PersonalMicrosoftAccount":
        raise SignInRefused(9002331, **facts)
    if application.audience == "AzureADMyOrg" and authority.tenant is None:
        raise SignInRefused(50194, **facts)
    if authority.tenant and not application.admits(authority.tenant):
        raise SignInRefused(700016, client_id=client_id, tenant=_label(authority))
    return application


def _label(authority: Authority) -> str:
    return authority.tenant.name if authority.tenant else authority.name
