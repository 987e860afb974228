"""What a client reads before it signs anyone in: the OpenID configuration, the keys, which hosts are Microsoft's."""

from __future__ import annotations

from msgraph_sandbox.http import Json, Request, Response, json_response
from msgraph_sandbox.identity.authority import Authority
from msgraph_sandbox.identity.authorize import RESPONSE_TYPES
from msgraph_sandbox.identity.tokens import Issuer

_CLAIMS = (
    "sub iss cloud_instance_name cloud_instance_host_name cloud_graph_host_name msgraph_host aud exp iat auth_time acr "
    "nonce preferred_username name tid ver at_hash c_hash email"
)


def openid_configuration(request: Request, authority: Authority, graph_origin: str) -> Response:
    """Return the OpenID configuration of an authority. Every link is on the host that the client used."""
    here, home = request.origin, authority.home
    region: Json = None if authority.tenant is None else "EU"
    return json_response(
        {
            "token_endpoint": f"{here}/{home}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{here}/{home}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": list(RESPONSE_TYPES),
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{here}/{authority.issuer_tenant}/v2.0",
            "request_uri_parameter_supported": False,
            "userinfo_endpoint": f"{graph_origin}/oidc/userinfo",
            "authorization_endpoint": f"{here}/{home}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{here}/{home}/oauth2/v2.0/devicecode",
            "http_logout_supported": True,
            "frontchannel_logout_supported": True,
            "end_session_endpoint": f"{here}/{home}/oauth2/v2.0/logout",
            "claims_supported": _CLAIMS.split(),
            "tenant_region_scope": region,
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": "graph.microsoft.com",
            "rbac_url": "https://pas.windows.net",
        }
    )


def keys(request: Request, authority: Authority, issuer: Issuer) -> Response:
    """Return the signing keys (JWKS), each with the issuer that it is good for."""
    return json_response({"keys": [key.jwk(f"{request.origin}/{authority.issuer_tenant}/v2.0") for key in issuer.keys]})


def instance(request: Request) -> Response:
    """Return what MSAL asks of an authority new to it: where its tenant is described, and its other names."""
    asked = request.query.get("authorization_endpoint", "")
    if not asked.startswith("https://") and not asked.startswith("http://"):
        error = {"error": "invalid_instance", "error_description": "AADSTS50049: Unknown or invalid instance."}
        return json_response(error, 400)
    base = asked.partition("/oauth2/")[0]
    aliases = [asked.partition("://")[2].partition("/")[0]]
    return json_response(
        {
            "tenant_discovery_endpoint": f"{base}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": aliases[0], "preferred_cache": aliases[0], "aliases": aliases}],
        }
    )
