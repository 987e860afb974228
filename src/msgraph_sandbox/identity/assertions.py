"""Client assertions: an application proves itself with a certificate's key instead of a secret.

https://learn.microsoft.com/entra/identity-platform/certificate-credentials
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from msgraph_sandbox.clock import Clock
from msgraph_sandbox.identity.directory import Application
from msgraph_sandbox.identity.refusals import SignInRefused
from msgraph_sandbox.identity.tokens import base64url

KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LEEWAY = 300


def check_assertion(assertion: str, application: Application, clock: Clock) -> None:
    """Refuse an assertion that no registered certificate signed, or that is not for this application now.

    Both today's form (PS256, `x5t#S256`) and the older one (RS256, `x5t`) are taken, as clients still send either.
    """
    try:
        header = jwt.get_unverified_header(assertion)
    except jwt.PyJWTError:
        raise SignInRefused(50027) from None
    certificate = _certificate(header, application)
    if certificate is None:
        reason = "The key was not found., Please visit the Azure Portal to check the registered certificates."
        raise SignInRefused(700027, detail=reason)
    _check_claims(_claims(assertion, certificate), application, clock)


def _certificate(header: dict[str, Any], application: Application) -> x509.Certificate | None:
    for pem in application.certificates:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        names = {
            "x5t#S256": base64url(certificate.fingerprint(hashes.SHA256())),
            "x5t": base64url(certificate.fingerprint(hashes.SHA1())),  # noqa: S303 - a name, not a protection
        }
        # Some clients keep the padding that a JWS should not have.
        if any(str(header.get(field, "")).rstrip("=") == name for field, name in names.items()):
            return certificate
    return None


def _claims(assertion: str, certificate: x509.Certificate) -> dict[str, Any]:
    key = certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    try:
        return dict(jwt.decode(assertion, key, algorithms=["PS256", "RS256"], options=options))
    except jwt.InvalidSignatureError:
        raise SignInRefused(700027, detail="The signature of the client assertion is not valid.") from None
    except jwt.PyJWTError:
        raise SignInRefused(50027) from None


def _check_claims(claims: dict[str, Any], application: Application, clock: Clock) -> None:
    if claims.get("iss") != claims.get("sub"):
        raise SignInRefused(50048)
    if claims.get("iss") != application.client_id:
        raise SignInRefused(50013, detail="The issuer of the assertion is not the application.")
    now, expires, starts = clock.timestamp(), claims.get("exp"), claims.get("nbf", 0)
    if (
        not isinstance(expires, int | float)
        or not isinstance(starts, int | float)
        or not starts - _LEEWAY <= now < expires + _LEEWAY
    ):
        raise SignInRefused(50013, detail="The assertion is not within its valid time range.")
    audience = claims.get("aud")
    if not isinstance(audience, str) or not _is_token_endpoint(audience):
        raise SignInRefused(50013, detail="The audience of the assertion is not the token endpoint.")


def _is_token_endpoint(audience: str) -> bool:
    try:
        parts = urlsplit(audience)
    except ValueError:
        return False
    return bool(parts.netloc) and parts.path.rstrip("/").endswith(("/oauth2/v2.0/token", "/oauth2/token", "/v2.0"))
