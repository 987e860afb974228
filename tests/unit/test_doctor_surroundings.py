"""What the doctor says of the installation itself: of its settings, the key file's mode, the clocks, the hosts."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.clock import START

from landbridge.doctor.findings import Finding, Severity
from landbridge.doctor.surroundings import judge_clock, judge_key_file, judge_reach, judge_settings
from landbridge.errors import OutboundRefused, ProviderFailed, ProviderUnreachable
from landbridge.providers.microsoft import Discovery
from landbridge.settings import Settings

PUBLIC = {"public_url": "https://a.example"}
LOGIN = "https://login.microsoftonline.com"
DISCOVERY = Discovery(f"{LOGIN}/common/authorize", f"{LOGIN}/common/token", "graph.microsoft.com", START)
REFUSED = OutboundRefused("Private.")
SILENCE = ProviderUnreachable("No connection.")


def needing_care(settings: dict[str, Any]) -> list[tuple[str, Severity]]:  # Any: values of settings
    return [
        (finding.check, finding.severity)
        for finding in judge_settings(Settings(**settings))
        if finding.severity is not Severity.OK
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"public_url": "https://connect.acme.example"},
        {"public_url": "https://acme.example/connect", "worker_proxy_public_url": "https://proxy.acme.example"},
        {"public_url": "http://localhost:8080"},
        {"public_url": "http://127.0.0.1:8080", "microsoft_login_url": "http://127.0.0.1:9001"},
        {"public_url": "https://acme.example", "host": "0.0.0.0"},
        {"public_url": "https://acme.example", "outbound_allow": "127.0.0.1:9001,10.1.0.0/16,fd12::/64"},
    ],
)
def test_settings_that_fit_need_nothing(settings: dict[str, Any]) -> None:
    assert needing_care(settings) == []


@pytest.mark.parametrize(
    ("settings", "check", "severity"),
    [
        ({"public_url": "http://acme.example"}, "settings.public_url", Severity.PROBLEM),
        (PUBLIC | {"zeus_public_url": "http://a.example"}, "settings.public_url", Severity.PROBLEM),
        ({"host": "0.0.0.0"}, "settings.public_url", Severity.WARNING),
        ({"host": "::1"}, "settings.redirect_url", Severity.PROBLEM),
        ({"public_url": "https://a.example/(b)"}, "settings.redirect_url", Severity.PROBLEM),
        ({"public_url": f"https://a.example/{'b' * 250}"}, "settings.redirect_url", Severity.PROBLEM),
        ({}, "settings.redirect_url", Severity.WARNING),
        (PUBLIC | {"microsoft_login_url": "http://b.example"}, "settings.microsoft_urls", Severity.PROBLEM),
        (PUBLIC | {"outbound_allow": "0.0.0.0/0"}, "settings.outbound_allow", Severity.WARNING),
        (PUBLIC | {"outbound_allow": "169.254.0.0/16"}, "settings.outbound_allow", Severity.WARNING),
        (PUBLIC | {"outbound_allow": "fd00::/8"}, "settings.outbound_allow", Severity.WARNING),
    ],
)
def test_a_setting_that_does_not_fit_is_found(settings: dict[str, Any], check: str, severity: Severity) -> None:
    assert needing_care(settings) == [(check, severity)]


def test_a_service_url_that_says_proxy_is_found_where_the_settings_cannot_see_it() -> None:
    found = needing_care({"host": "proxy.localhost"})

    assert ("settings.service_urls", Severity.PROBLEM) in found


@pytest.mark.parametrize(
    ("mode", "folder", "severity"),
    [
        (0o100600, 0o40700, Severity.OK),
        (0o100400, 0o40755, Severity.OK),
        (0o100640, 0o40700, Severity.PROBLEM),
        (0o100604, 0o40700, Severity.PROBLEM),
        (0o100600, 0o40770, Severity.WARNING),
        (0o100600, 0o41777, Severity.OK),
    ],
)
def test_a_key_file_is_its_owners_alone(mode: int, folder: int, severity: Severity) -> None:
    assert judge_key_file(Path("data/vault.keys"), mode, folder).severity is severity


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [
        (0, Severity.OK),
        (59, Severity.OK),
        (60, Severity.WARNING),
        (-299, Severity.WARNING),
        (300, Severity.PROBLEM),
        (-300, Severity.PROBLEM),
    ],
)
def test_a_clock_that_is_off_is_found_before_sign_ins_fail(seconds: int, severity: Severity) -> None:
    assert judge_clock(START + timedelta(seconds=seconds), START).severity is severity


def reach(*described: Any, graph: Any = None, **settings: Any) -> tuple[list[Finding], bool]:  # Any: answers, settings
    findings, is_up = judge_reach(Settings(**settings), described, graph, START)
    return [finding for finding in findings if finding.severity is not Severity.OK], is_up


def test_hosts_that_answer_need_nothing() -> None:
    assert reach(DISCOVERY) == ([], True)


def test_a_login_host_that_is_silent_is_one_finding_and_asked_nothing_more() -> None:
    found, is_up = reach(SILENCE, SILENCE)

    assert [finding.check for finding in found] == ["microsoft.login"]
    assert not is_up


def test_a_tenant_that_does_not_exist_does_not_count_as_silence() -> None:
    unknown = ProviderFailed("Unknown.", meta={"providerError": "invalid_tenant", "providerCodes": [90002]})

    assert reach(unknown, DISCOVERY) == ([], True)


def test_a_silent_graph_is_found_and_sign_in_is_asked_all_the_same() -> None:
    found, is_up = reach(DISCOVERY, graph=SILENCE)

    assert [finding.check for finding in found] == ["microsoft.graph"]
    assert is_up


@pytest.mark.parametrize(
    ("login", "graph", "allowed", "value"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:2", "", "127.0.0.1:1,127.0.0.1:2"),
        ("http://localhost:1", "http://localhost:1", "10.0.0.1", "10.0.0.1,localhost:1"),
        ("https://login.corp", "https://graph.corp", "", "login.corp:443,graph.corp:443"),
        ("http://[::1]:1", "http://[::1]:2", "", "::1"),
    ],
)
def test_refused_addresses_are_one_finding_with_the_setting_to_add(
    login: str, graph: str, allowed: str, value: str
) -> None:
    found, is_up = reach(
        REFUSED, graph=REFUSED, microsoft_login_url=login, microsoft_graph_url=graph, outbound_allow=allowed
    )

    assert [finding.details["value"] for finding in found] == [value]
    assert not is_up


def test_only_the_address_that_is_refused_is_to_be_allowed() -> None:
    found, _ = reach(DISCOVERY, graph=REFUSED, microsoft_graph_url="http://127.0.0.1:2")

    assert [finding.details["value"] for finding in found] == ["127.0.0.1:2"]


def test_a_graph_of_another_cloud_is_found() -> None:
    found, _ = reach(DISCOVERY, microsoft_graph_url="https://graph.microsoft.us")

    assert [(finding.check, finding.severity) for finding in found] == [("microsoft.cloud", Severity.WARNING)]


def test_a_login_host_that_points_elsewhere_is_found() -> None:
    found, _ = reach(DISCOVERY, microsoft_login_url="https://login.microsoftonline.us")

    assert [(finding.check, finding.severity) for finding in found] == [("microsoft.login", Severity.PROBLEM)]
