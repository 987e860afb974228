"""Scopes: which there are, how they may be spelt, and whose they are.

A scope of Graph is known by its short name, which is how an unqualified scope is read; one of SharePoint by its whole
address. Names are compared without case.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from urllib.parse import urlsplit

from msgraph_sandbox.identity.directory import GRAPH_RESOURCE, LOOPBACK, SHAREPOINT, Application, User
from msgraph_sandbox.identity.refusals import SignInRefused
from msgraph_sandbox.identity.tokens import GRAPH_AUDIENCE

OIDC_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})


def _load() -> dict[str, frozenset[str]]:
    tables = tomllib.loads(resources.files(__package__).joinpath("scopes.toml").read_text())
    return {
        kind: frozenset(f"{resource}.{one}" for resource, operations in table.items() for one in operations.split())
        for kind, table in tables.items()
    }


_NAMES = _load()
ADMIN_ONLY = _NAMES["administrator"]
_GRAPH = {name.lower(): name for name in _NAMES["user"] | ADMIN_ONLY}
_SHAREPOINT = {name.lower(): name for name in _NAMES["sharepoint"]}


def parse_scopes(text: str, application: Application) -> frozenset[str]:
    """Return the scopes in `text` as they are known here, with Graph's `.default` spelt out.

    `.default` stands for the permissions in the registration, and cannot be mixed with named ones of the same resource.
    """
    scopes = {_known(word) for word in text.split()}
    for resource in resources_of(scopes):
        named = {scope for scope in scopes - OIDC_SCOPES if _resource(scope) == resource}
        if len(named) > 1 and any(scope.endswith(".default") for scope in named):
            raise SignInRefused(70011, scope=text)
    if ".default" in scopes:
        scopes = (scopes - {".default"}) | set(application.permissions)
    return frozenset(scopes)


def _known(word: str) -> str:
    if word.lower() in OIDC_SCOPES:
        return word.lower()
    resource, name = _resource(word), word.rpartition("/")[2].lower()
    names = {**(_GRAPH if resource == GRAPH_AUDIENCE else _SHAREPOINT), ".default": ".default"}
    if name not in names:
        raise SignInRefused(70011, scope=word)
    return names[name] if resource == GRAPH_AUDIENCE else f"{resource}/{names[name]}"


def _resource(scope: str) -> str:
    """Return whom a token with `scope` is for, or refuse if the tenant does not know it.

    A loopback resource means Graph: SDKs derive the resource from the host that they call, which here is the sandbox.
    """
    resource = scope.rpartition("/")[0].rstrip("/")
    try:
        host = urlsplit(resource).hostname or ""
    except ValueError:
        host = ""
    if resource.lower() in ("", GRAPH_RESOURCE) or host == "graph.microsoft.com" or host in LOOPBACK:
        return GRAPH_AUDIENCE
    if not host.endswith(f".{SHAREPOINT}"):
        raise SignInRefused(500011, scope=resource)
    return f"https://{host}"


def resources_of(scopes: set[str] | frozenset[str]) -> set[str]:
    """Return the resources that scopes are of. Those of OpenID Connect are of none."""
    return {_resource(scope) for scope in scopes - OIDC_SCOPES}


def check_reach(user: User, scopes: frozenset[str]) -> None:
    """Refuse scopes of a SharePoint that is not the user's own organization's."""
    own = set() if user.personal else {user.tenant.sites_origin, user.tenant.drives_origin}
    for resource in sorted(resources_of(scopes) - own - {GRAPH_AUDIENCE}):
        raise SignInRefused(500011, scope=resource, tenant=user.tenant.name)


def audience_of(asked: str, scopes: frozenset[str]) -> str:
    """Return whom a token is for: the first resource that was asked for; if none was, Graph where it was granted."""
    named = [word for word in asked.split() if word.lower() not in OIDC_SCOPES]
    granted = resources_of(scopes) or {GRAPH_AUDIENCE}
    return _resource(named[0]) if named else GRAPH_AUDIENCE if GRAPH_AUDIENCE in granted else min(granted)


def of_audience(scopes: frozenset[str], audience: str) -> frozenset[str]:
    """Return those of `scopes` that a token for `audience` may hold."""
    return frozenset(scope for scope in scopes if scope in OIDC_SCOPES or _resource(scope) == audience)


def echo(scopes: frozenset[str], asked: str) -> str:
    """Return the granted `scopes` as Microsoft writes them in an answer: in the spelling in which they were asked for.

    Who asks for `https://graph.microsoft.com/.default` is told all names in that form, and `.default` itself. Clients
    keep a token under these texts, and find it again only by those that they asked for.
    """
    words = {_known(word): word for word in asked.split()}
    default = words.pop(".default", None)
    graph = [word for known, word in words.items() if known not in OIDC_SCOPES and "/" not in known]
    spelling = default or next(iter(graph), "")

    def spelt(scope: str) -> str:
        if scope in OIDC_SCOPES or "/" in scope:
            return scope
        resource, slash, _ = words.get(scope, spelling).rpartition("/")
        return resource + slash + scope

    told = [spelt(scope) for scope in sorted(scopes - {"offline_access"})]
    return " ".join([*told, default] if default else told)
