"""What Microsoft's answers prove, from evidence alone."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.clock import START
from tests.store import rows

from landbridge.catalog import Api, Manifest, Scope
from landbridge.doctor.diagnosis import (
    Evidence,
    SecretTrial,
    authorities_to_ask,
    judge_project,
    judge_registration,
    judge_scopes,
    weightier,
)
from landbridge.doctor.findings import Finding, Severity
from landbridge.errors import AppRejected, CodeRejected, LandbridgeError, ProviderFailed, ProviderTimedOut
from landbridge.providers.microsoft import SignInAnswer

WELCOME = SignInAnswer(returned=True, error="login_required", codes=(50058,))
NO_TENANT = ProviderFailed("Names no tenant.", meta={"providerError": "invalid_request", "providerCodes": [9001023]})
REFUSED = AppRejected(
    "The client secret is wrong.",
    meta={
        "providerError": "invalid_client",
        "providerCodes": [7000215],
        "cause": "The client secret is wrong.",
        "providerRemedy": "Copy the Value.",
    },
)
MADE_UP = CodeRejected("The code is not valid.", meta={"providerError": "invalid_grant"})
DAY = timedelta(days=1)


def page(*codes: int, error: str | None = None) -> SignInAnswer:
    return SignInAnswer(returned=False, error=error, codes=codes)


def trial(
    failure: LandbridgeError | None = None, *, days: float | None = None, tenant: str | None = "t"
) -> SecretTrial:
    return SecretTrial("abc", START + days * DAY if days is not None else None, tenant, failure)


def judged(audience: str = "organizations", *, trials: Sequence[SecretTrial] = (), **answers: Any) -> list[Finding]:
    """Return the findings for these answers of sign-in pages, the others welcoming, that need attention."""
    asked = dict.fromkeys(authorities_to_ask(audience), WELCOME) | answers
    findings = judge_registration(Evidence(audience, asked, trials), START)
    return [finding for finding in findings if finding.severity is not Severity.OK]


def test_a_welcome_and_an_accepted_secret_need_nothing() -> None:
    assert judged(trials=[trial()]) == []


@pytest.mark.parametrize(
    ("code", "check"),
    [
        (50011, "integration.redirect_url"),
        (700016, "integration.client_id"),
        (50194, "integration.audience"),
        (90002, "integration.audience"),
        (90130, "integration.audience"),
        (7000112, "integration.sign_in"),
    ],
)
def test_a_page_with_a_code_says_what_is_wrong(code: int, check: str) -> None:
    (found,) = judged(organizations=page(code))

    assert (found.check, found.severity, found.details["codes"]) == (check, Severity.PROBLEM, [code])
    assert found.remedy


def test_a_refusal_that_is_sent_back_says_what_is_wrong() -> None:
    (found,) = judged(organizations=SignInAnswer(returned=True, error="invalid_request", codes=(50194,)))

    assert (found.check, found.severity) == ("integration.audience", Severity.PROBLEM)


def test_a_client_that_another_page_knows_is_a_wrong_audience() -> None:
    (found,) = judged("consumers", consumers=page(error="unauthorized_client"))

    assert found.check == "integration.audience"
    assert "`consumers`" in found.message


def test_a_client_that_no_page_knows_is_a_wrong_client_id() -> None:
    (found,) = judged("consumers", consumers=page(error="unauthorized_client"), organizations=page(700016))

    assert (found.check, found.severity) == ("integration.client_id", Severity.PROBLEM)


@pytest.mark.parametrize("answer", [page(), page(50058), page(16000)])
def test_a_page_that_does_not_say_why_is_no_more_than_a_warning(answer: SignInAnswer) -> None:
    (found,) = judged(organizations=answer)

    assert (found.check, found.severity) == ("integration.redirect_url", Severity.WARNING)


def test_a_code_that_nobody_knows_makes_a_vaguer_finding() -> None:
    (found,) = judged(organizations=SignInAnswer(returned=True, error="invalid_request", codes=(99999,)))

    assert (found.check, found.severity, found.details["codes"]) == ("integration.sign_in", Severity.PROBLEM, [99999])
    assert "invalid_request" in found.message


def test_a_passing_failure_of_microsoft_is_a_warning() -> None:
    (found,) = judged(organizations=page(90033))

    assert (found.check, found.severity) == ("integration.sign_in", Severity.WARNING)


def test_a_page_that_did_not_answer_is_a_warning() -> None:
    (found,) = judged(organizations=ProviderTimedOut("Too slow."))

    assert (found.check, found.severity) == ("integration.sign_in", Severity.WARNING)


def test_what_follows_from_a_wrong_client_id_is_left_out() -> None:
    unknown = AppRejected("Unknown.", meta={"providerError": "unauthorized_client", "providerCodes": [700016]})

    found = judged(trials=[trial(unknown)], organizations=page(700016))

    assert [finding.check for finding in found] == ["integration.client_id"]


def test_a_refused_secret_is_told_beside_a_wrong_audience() -> None:
    found = judged(trials=[trial(REFUSED)], organizations=page(50194))

    assert [finding.check for finding in found] == ["integration.audience", "integration.client_secret"]


def test_a_redirect_url_that_is_not_registered_leaves_the_verdict_on_the_secret_in() -> None:
    found = judge_registration(Evidence("organizations", {"organizations": page(50011)}, [trial()]), START)

    assert [(finding.check, finding.severity) for finding in found] == [
        ("integration.redirect_url", Severity.PROBLEM),
        ("integration.client_secret", Severity.OK),
    ]


def test_an_app_of_one_tenant_need_not_be_known_to_others() -> None:
    assert judged("acme.example", organizations=page(50194), trials=[trial()]) == []


def test_a_common_audience_of_an_app_for_organizations_leaves_the_verdict_on_the_secret_in() -> None:
    evidence = Evidence("common", {"common": WELCOME, "organizations": WELCOME, "consumers": page(9002332)}, [trial()])

    found = judge_registration(evidence, START)

    severities = {finding.check: finding.severity for finding in found}
    assert severities["integration.audience"] is Severity.WARNING
    assert severities["integration.client_secret"] is Severity.OK


def test_a_personal_sign_in_page_that_says_nothing_is_no_objection() -> None:
    assert judged("common", consumers=page(), trials=[trial()]) == []


@pytest.mark.parametrize(
    ("one", "severity", "says"),
    [
        (trial(REFUSED), Severity.PROBLEM, "The client secret is wrong."),
        (trial(REFUSED, days=-1), Severity.PROBLEM, "The client secret is wrong."),
        (trial(MADE_UP, days=-1, tenant=None), Severity.PROBLEM, "expired on 28 February 2026"),
        (trial(days=-1), Severity.WARNING, "still works"),
        (trial(days=0), Severity.WARNING, "still works"),
        (trial(days=29), Severity.WARNING, "expires in 29 days"),
        (trial(MADE_UP, days=29, tenant=None), Severity.WARNING, "expires in 29 days"),
        (trial(days=30), Severity.OK, "accepts it"),
        (trial(), Severity.OK, "accepts it"),
        (trial(MADE_UP, tenant=None), Severity.WARNING, "proves little"),
        (trial(NO_TENANT), Severity.WARNING, "could not be tried in t"),
        (trial(ProviderTimedOut("Too slow.")), Severity.WARNING, "could not be tried: Too slow."),
    ],
)
def test_a_secret_is_judged_by_microsofts_answer_and_by_its_date(
    one: SecretTrial, severity: Severity, says: str
) -> None:
    findings = judge_registration(Evidence("organizations", {"organizations": WELCOME}, [one]), START)

    (found,) = (finding for finding in findings if finding.check == "integration.client_secret")
    assert found.severity is severity
    assert says in found.message
    assert bool(found.remedy) is (severity is not Severity.OK)


@pytest.mark.parametrize("bad", [trial(REFUSED), trial(MADE_UP, days=-1, tenant=None)])
def test_beside_a_secret_that_works_a_bad_one_is_a_warning(bad: SecretTrial) -> None:
    (found,) = judged(trials=[trial(), bad])

    assert found.severity is Severity.WARNING


def test_no_secret_at_all_is_a_problem() -> None:
    evidence = Evidence("organizations", {"organizations": WELCOME}, [], has_secret=False)

    assert judge_registration(evidence, START)[-1].severity is Severity.PROBLEM


def test_for_personal_accounts_nobody_is_sent_to_look_for_a_tenant() -> None:
    (found,) = judged("consumers", trials=[trial(MADE_UP, tenant=None)])

    assert "--tenant" not in found.remedy


@pytest.mark.parametrize(
    ("direct", "indirect", "weightiest"),
    [
        (None, MADE_UP, None),
        (None, REFUSED, None),
        (REFUSED, MADE_UP, REFUSED),
        (NO_TENANT, REFUSED, REFUSED),
        (NO_TENANT, MADE_UP, MADE_UP),
    ],
)
def test_a_token_and_a_refusal_weigh_more_than_a_refused_code(
    direct: LandbridgeError | None, indirect: LandbridgeError, weightiest: LandbridgeError | None
) -> None:
    assert weightier(direct, indirect) is weightiest


def test_a_project_with_origin_key_and_integration_needs_nothing() -> None:
    project = rows.project()

    found = judge_project(project, [rows.signing_key(project)], [rows.integration(project)], START)

    assert {finding.severity for finding in found} == {Severity.OK}


def test_a_project_without_anything_is_told_what_it_lacks() -> None:
    project = rows.project(allowed_origins=[])

    found = judge_project(project, [], [rows.integration(project, is_active=False)], START)

    assert [(finding.check, finding.severity) for finding in found] == [
        ("project.allowed_origins", Severity.WARNING),
        ("project.signing_key", Severity.PROBLEM),
        ("project.integrations", Severity.WARNING),
    ]


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, Severity.OK),
        ({"revoked_at": START - DAY}, Severity.PROBLEM),
        ({"expires_at": START}, Severity.PROBLEM),
        ({"expires_at": START + DAY}, Severity.WARNING),
    ],
)
def test_a_signing_key_counts_while_it_lives(changes: dict[str, Any], severity: Severity) -> None:
    project = rows.project()
    key = rows.signing_key(project, **changes)

    found = judge_project(project, [key], [], START)

    assert next(finding.severity for finding in found if finding.check == "project.signing_key") is severity


@pytest.mark.parametrize(
    ("scopes", "severity"),
    [
        (["Files.Read"], Severity.OK),
        (["Files.Read", "User.Read"], Severity.OK),
        (["User.Read"], Severity.PROBLEM),
        ([], Severity.PROBLEM),
        (["Files.Read", "Mail.Read"], Severity.PROBLEM),
    ],
)
def test_scopes_reach_files_and_are_offered(scopes: list[str], severity: Severity) -> None:
    assert judge_scopes(rows.integration(rows.project(), scopes=scopes), MANIFEST).severity is severity


MANIFEST = Manifest(
    type="onedrive",
    name="OneDrive",
    provider="microsoft",
    description="",
    overview="",
    brand_color="",
    documentation="",
    api=Api(url="https://graph.example", version="/v1.0"),
    scopes=(Scope(name="User.Read", description="", required=True), Scope(name="Files.Read", description="")),
    icon=b"",
)
