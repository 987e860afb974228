"""The sign-in host, described. https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow"""

from __future__ import annotations

from msgraph_sandbox.description.parts import TEXT, document, form, operation
from msgraph_sandbox.http import Json

_AUTHORIZE = tuple(
    "client_id response_type redirect_uri scope response_mode state prompt login_hint domain_hint code_challenge "  # noqa: SIM905
    "code_challenge_method nonce claims client_info sandbox_consent".split()
)
_TOKEN = tuple(
    "grant_type client_id client_secret client_assertion client_assertion_type code redirect_uri code_verifier scope "  # noqa: SIM905
    "refresh_token device_code username password claims client_info".split()
)
_FORM = "application/x-www-form-urlencoded"


def describe(url: str) -> Json:
    """Return the description of the sign-in host at `url`."""
    home, oauth = "/{tenant}", "/{tenant}/oauth2/v2.0"
    paths: dict[str, Json] = {
        f"{home}/v2.0/.well-known/openid-configuration": {"get": "The OpenID configuration."},
        f"{home}/discovery/v2.0/keys": {"get": "The signing keys."},
        "/common/userrealm/{user}": {"get": "What kind of account a user has."},
    }
    paths = {path: {"get": operation(path, text["get"])} for path, text in paths.items()}
    paths["/common/discovery/instance"] = _get(
        "/common/discovery/instance", "Which hosts are Microsoft's.", "authorization_endpoint api-version"
    )
    paths[f"{oauth}/authorize"] = {
        "get": operation(oauth, "Ask for a code.", query=dict.fromkeys(_AUTHORIZE, TEXT)),
        "post": operation(oauth, "The same, as a form.", body=form(*_AUTHORIZE), media_type=_FORM),
    }
    paths[f"{oauth}/token"] = _post(oauth, "Redeem a grant.", form(*_TOKEN, required=("grant_type",)))
    paths[f"{oauth}/devicecode"] = _post(oauth, "Begin the device flow.", form("client_id", "scope"))
    paths[f"{oauth}/logout"] = _get(oauth, "Sign out.", "post_logout_redirect_uri state")
    paths[f"{home}/login"] = _post(home, "The form of the sign-in page.", form("request", "account", "answer", "email"))
    for place in (f"{home}/v2.0/adminconsent", f"{home}/adminconsent"):
        paths[place] = _get(home, "Consent for a tenant.", "client_id scope redirect_uri state sandbox_consent")
    paths["/devicelogin"] = {
        "get": operation("", "The page that takes a device's code."),
        "post": operation("", "Its form.", body=form("code", "account", "answer"), media_type=_FORM),
    }
    return document("Microsoft sign-in, by msgraph-sandbox", url, paths)


def _get(path: str, summary: str, query: str) -> Json:
    return {"get": operation(path, summary, query=dict.fromkeys(query.split(), TEXT))}


def _post(path: str, summary: str, body: Json) -> Json:
    return {"post": operation(path, summary, body=body, media_type=_FORM)}
