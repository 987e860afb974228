"""What Microsoft's answers prove about an app registration: pure functions from evidence to findings.

Three kinds of evidence, from strong to weak:

- A token for the app itself (client credentials in a tenant) proves client id and secret; `invalid_client` disproves
  the secret. Where no tenant is known, a made-up code is redeemed instead: `invalid_client` still disproves the secret,
  but `invalid_grant` proves little, since nobody promises that Microsoft looks at the secret before the code.
- A sign-in without a person that comes back to the redirect URL proves that the URL is registered, that the client is
  known and that the audience admits it, since Microsoft sends nobody to a URL that it does not know.
- A page of Microsoft's own instead proves that something is wrong; what, only the AADSTS code in it tells. Codes may
  change at any time, so they sort findings for people here and decide nothing else: an unknown one makes a finding
  vaguer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from landbridge.catalog import Manifest
from landbridge.doctor.findings import Finding, Severity, ok, problem, warning
from landbridge.errors import (
    LandbridgeError,
    OutboundRefused,
    ProviderBusy,
    ProviderTimedOut,
    ProviderUnreachable,
)
from landbridge.providers.aadsts import Who, explain
from landbridge.providers.microsoft import SignInAnswer
from landbridge.store.projects import IntegrationRow, ProjectRow, SigningKeyRow

SHARED_AUDIENCES = frozenset({"common", "organizations", "consumers"})
EXPIRES_SOON = timedelta(days=30)

_CLIENT = "integration.client_id"
_AUDIENCE = "integration.audience"
_REDIRECT = "integration.redirect_url"
_SIGN_IN = "integration.sign_in"
_SECRET = "integration.client_secret"  # noqa: S105
_CHECK_OF_CODE = {
    50011: _REDIRECT,
    700016: _CLIENT,
    700011: _CLIENT,
    50194: _AUDIENCE,
    90002: _AUDIENCE,
    90124: _AUDIENCE,
    90130: _AUDIENCE,
    9002331: _AUDIENCE,
    9002332: _AUDIENCE,
}
_APP_IS_THERE = {50011, 50194, 9002331, 9002332}
_NOT_ASKED = (OutboundRefused, ProviderBusy, ProviderTimedOut, ProviderUnreachable)


class Verdict(Enum):
    """What Microsoft said to a client secret."""

    ACCEPTED = auto()
    REFUSED = auto()
    UNCLEAR = auto()


@dataclass(frozen=True, slots=True)
class SecretTrial:
    """One client secret, by its first characters, and what came of trying it; `tenant` is where, if in one."""

    hint: str
    expires_at: datetime | None
    tenant: str | None
    failure: LandbridgeError | None

    @property
    def verdict(self) -> Verdict:
        """What Microsoft said, by `error`, which is the contract."""
        if self.failure is None:
            return Verdict.ACCEPTED
        refused = self.failure.meta.get("providerError") == "invalid_client"
        return Verdict.REFUSED if refused else Verdict.UNCLEAR


@dataclass(frozen=True, slots=True)
class Evidence:
    """What Microsoft said of an app registration: its sign-in pages, by authority, and its token endpoint."""

    audience: str
    answers: Mapping[str, SignInAnswer | LandbridgeError]
    trials: Sequence[SecretTrial]
    has_secret: bool = True


def weightier(direct: LandbridgeError | None, indirect: LandbridgeError) -> LandbridgeError | None:
    """Return which of two failures says more of a secret: of a token for the app, and of redeeming a made-up code."""
    if direct is None or direct.meta.get("providerError") == "invalid_client":
        return direct
    return indirect


def authorities_to_ask(audience: str) -> tuple[str, ...]:
    """Return whose sign-in pages to ask: the audience's, and those that tell a wrong client from a wrong audience."""
    return {
        "common": ("common", "organizations", "consumers"),
        "organizations": ("organizations",),
        "consumers": ("consumers", "organizations"),
    }.get(audience, (audience, "organizations"))


def judge_registration(evidence: Evidence, now: datetime) -> list[Finding]:
    """Return what the evidence says, one finding for each cause: what follows from it is left out."""
    sign_in = list(_sign_in(evidence))
    app_is_wrong = any(one.severity is Severity.PROBLEM and one.check != _REDIRECT for one in sign_in)
    return [*sign_in, *_secrets(evidence, now, only_refused=app_is_wrong)]


def _sign_in(evidence: Evidence) -> Iterator[Finding]:
    answer = evidence.answers[evidence.audience]
    if isinstance(answer, LandbridgeError):
        yield warning(_SIGN_IN, f"Microsoft's sign-in page could not be asked: {answer.message}", _AGAIN)
    elif answer.is_welcome:
        yield ok(_CLIENT, "Microsoft knows the client id.")
        yield ok(_REDIRECT, "The redirect URL is registered: Microsoft sends users back to it.")
        yield from _audience(evidence)
    else:
        yield _refusal(evidence, answer)


_AGAIN = "Run `landbridge doctor` again; if it goes on, look at Microsoft's status page."


def _refusal(evidence: Evidence, answer: SignInAnswer) -> Finding:
    """Return why the sign-in page of the audience turned the app away."""
    explanation = explain(list(answer.codes))
    check = next((_CHECK_OF_CODE[code] for code in answer.codes if code in _CHECK_OF_CODE), None)
    check = check or (_CLIENT if answer.error == "unauthorized_client" else _SIGN_IN)
    if check == _CLIENT and _is_known_elsewhere(evidence):
        return problem(
            _AUDIENCE,
            f"The app exists, but not for the audience `{evidence.audience}`.",
            "Set the account audience here to what the app's Supported account types in Azure allow, or change those.",
            **_details(answer),
        )
    if explanation and explanation.who is Who.TIME:
        return warning(_SIGN_IN, explanation.cause, explanation.remedy, **_details(answer))
    if explanation and explanation.who is not Who.USER:
        return problem(check, explanation.cause, explanation.remedy, **_details(answer))
    if answer.error:
        return problem(check, f"Microsoft refuses the sign-in: {answer.error}.", _LOOK, **_details(answer))
    message = "Microsoft shows a page of its own instead of sending users back, and does not say why."
    return warning(_REDIRECT, message, _LOOK, **_details(answer))


_LOOK = (
    "Connect an account of your own and read what Microsoft shows; docs/how-to/azure.md lists what each wrong setting "
    "looks like."
)


def _is_known_elsewhere(evidence: Evidence) -> bool:
    others = (answer for authority, answer in evidence.answers.items() if authority != evidence.audience)
    return any(
        isinstance(answer, SignInAnswer) and (answer.is_welcome or bool(_APP_IS_THERE & set(answer.codes)))
        for answer in others
    )


def _details(answer: SignInAnswer) -> dict[str, Any]:  # Any: JSON
    found = {"codes": list(answer.codes), "providerError": answer.error}
    return {key: value for key, value in found.items() if value}


def _audience(evidence: Evidence) -> Iterator[Finding]:
    """Yield what is to be said of an audience whose own page welcomes the app: `common` may promise too much."""
    left_out = [
        (people, instead, answer)
        for authority, people, instead in (
            ("consumers", "personal accounts", "organizations"),
            ("organizations", "accounts of organizations", "consumers"),
        )
        if evidence.audience == "common"
        and isinstance(answer := evidence.answers.get(authority), SignInAnswer)
        and not answer.is_welcome
        and (answer.codes or answer.error)
    ]
    for people, instead, answer in left_out:
        yield warning(
            _AUDIENCE,
            f"The audience is `common`, but the app does not admit {people}: their owners see an error of Microsoft's.",
            f"Set the audience to `{instead}`, or admit {people} under Supported account types in Azure.",
            **_details(answer),
        )
    if not left_out:
        yield ok(_AUDIENCE, f"The audience `{evidence.audience}` fits the app's account types.")


def _secrets(evidence: Evidence, now: datetime, *, only_refused: bool) -> Iterator[Finding]:
    if not evidence.has_secret:
        yield problem(
            _SECRET,
            "There is no client secret.",
            "Create one in Azure under Certificates & secrets and set it with `landbridge integrations set`.",
        )
    one_works = any(trial.verdict is Verdict.ACCEPTED for trial in evidence.trials)
    for trial in evidence.trials:
        finding = _secret(trial, evidence.audience, now, one_works=one_works)
        if trial.verdict is Verdict.REFUSED or finding.severity is Severity.PROBLEM or not only_refused:
            yield finding


def _secret(trial: SecretTrial, audience: str, now: datetime, *, one_works: bool) -> Finding:
    """Return the finding for one of the secrets; beside one that works, a bad one is only to be cleared away."""
    name, details = f"Client secret {trial.hint}…", _secret_details(trial)
    bad = warning if one_works else problem
    if trial.verdict is Verdict.REFUSED:
        assert trial.failure
        cause = trial.failure.meta.get("cause") or trial.failure.message
        return bad(
            _SECRET, f"{name}: {cause}", trial.failure.meta.get("providerRemedy", trial.failure.remedy), **details
        )
    if trial.expires_at and trial.expires_at <= now and trial.verdict is Verdict.UNCLEAR:
        return bad(_SECRET, f"{name} expired on {trial.expires_at:%d %B %Y}.", _NEW_SECRET, **details)
    if trial.expires_at and trial.expires_at <= now:
        return warning(
            _SECRET,
            f"{name} still works, though it was to expire on {trial.expires_at:%d %B %Y}.",
            "Set it again with the date that Certificates & secrets in Azure shows.",
            **details,
        )
    if trial.expires_at and trial.expires_at - now < EXPIRES_SOON:
        days = (trial.expires_at - now).days
        return warning(
            _SECRET, f"{name} expires in {days} days, on {trial.expires_at:%d %B %Y}.", _NEW_SECRET, **details
        )
    if trial.verdict is Verdict.ACCEPTED:
        return ok(_SECRET, f"{name}: Microsoft accepts it.", **details)
    return _unproven(trial, audience, name, details)


_NEW_SECRET = "Create a new secret in Azure and set it here beside the old one; users need not reconnect."  # noqa: S105


def _unproven(trial: SecretTrial, audience: str, name: str, details: Mapping[str, Any]) -> Finding:  # Any: JSON
    assert trial.failure
    if isinstance(trial.failure, _NOT_ASKED):
        return warning(_SECRET, f"{name} could not be tried: {trial.failure.message}", _AGAIN, **details)
    if trial.tenant:
        remedy = trial.failure.meta.get("providerRemedy", trial.failure.remedy)
        return warning(
            _SECRET, f"{name} could not be tried in {trial.tenant}: {trial.failure.message}", remedy, **details
        )
    message = f"{name}: Microsoft does not refuse it, which proves little where no tenant is named"
    remedy = _TRY_YOURSELF if audience == "consumers" else _NAME_A_TENANT
    return warning(_SECRET, f"{message} (the audience is `{audience}`).", remedy, **details)


_TRY_YOURSELF = (
    "Connect an account of your own to be sure: apps for personal accounts only have no tenant to try it in."
)
_NAME_A_TENANT = (
    "Run `landbridge doctor --tenant ID`, with Directory (tenant) ID from the app's Overview in Azure, to be sure."
)


def _secret_details(trial: SecretTrial) -> dict[str, Any]:  # Any: JSON
    meta = trial.failure.meta if trial.failure else {}
    found = {
        "secret": f"{trial.hint}…",
        "expiresAt": trial.expires_at.isoformat() if trial.expires_at else None,
        "codes": meta.get("providerCodes"),
        "providerError": meta.get("providerError"),
        "correlationId": meta.get("correlationId"),
    }
    return {key: value for key, value in found.items() if value}


def judge_project(
    project: ProjectRow, keys: Sequence[SigningKeyRow], integrations: Sequence[IntegrationRow], now: datetime
) -> list[Finding]:
    """Return what is to be said of a project before anybody is asked."""
    return [_origins(project), _signing_keys(project, keys, now), *_active(project, integrations)]


def _origins(project: ProjectRow) -> Finding:
    check = "project.allowed_origins"
    if project.allowed_origins:
        return ok(check, f"Browsers may call from {', '.join(project.allowed_origins)}.")
    return warning(
        check,
        "No origin is allowed, so the browser SDK cannot connect anybody.",
        f"Add your product's: `landbridge projects set {project.id} --allow-origin https://app.example.com`.",
    )


def _signing_keys(project: ProjectRow, keys: Sequence[SigningKeyRow], now: datetime) -> Finding:
    check = "project.signing_key"
    living = [key for key in keys if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)]
    remedy = f"Run `landbridge signing-keys create --project {project.id}` and give the private key to your backend."
    if not living:
        return problem(check, "The project has no signing key, so no user token can be verified.", remedy)
    if all(key.expires_at for key in living):
        return warning(check, "The project has only signing keys made for trying out, which end by themselves.", remedy)
    return ok(check, "The project has a signing key.")


def _active(project: ProjectRow, integrations: Sequence[IntegrationRow]) -> Iterator[Finding]:
    if not any(row.is_active for row in integrations):
        yield warning(
            "project.integrations",
            "No integration is active.",
            f"Follow docs/how-to/azure.md to `landbridge integrations set … --project {project.id} --active`.",
        )


def judge_scopes(row: IntegrationRow, manifest: Manifest) -> Finding:
    """Return whether the scopes are offered by the integration, and whether they reach more than the profile."""
    check = "integration.scopes"
    remedy = (
        f"Choose with `landbridge integrations set {row.type} --scopes`, such as {', '.join(manifest.default_scopes)}."
    )
    if unknown := manifest.unknown_scopes(row.scopes):
        return problem(check, f"{manifest.name} does not offer {', '.join(unknown)}.", remedy, scopes=unknown)
    chosen = sorted(set(row.scopes) - set(manifest.required_scopes))
    if not chosen:
        return problem(
            check, "No scope is chosen that reaches files: users could connect, and nothing would work.", remedy
        )
    return ok(check, f"Users are asked for {', '.join(chosen)}.", scopes=chosen)
