"""The doctor finds each wrong setting before a user does, and says which, why and what to do: against the sandbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.ground.ports import free_port

from landbridge.app import House, assemble
from landbridge.doctor.examination import PATIENCE, Doctor
from landbridge.doctor.findings import Finding, Report, Severity, render
from landbridge.errors import NotFound
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow
from landbridge.vault import KeyRing, KeySetting, Vault
from msgraph_sandbox.identity.directory import Secret
from msgraph_sandbox.seed import Seed, SeedApplication
from msgraph_sandbox.server import Sandbox

SECRET = "right~Secret.of+the/app=1"
TENANT = "contoso.example"
CLIENT = "11112222-3333-4444-5555-666677778888"


def an_app(audience: str = "AzureADandPersonalMicrosoftAccount") -> Seed:
    return Seed(applications=[SeedApplication(client_id=CLIENT, name="Acme", secret=SECRET, audience=audience)])


@dataclass
class Practice:
    """An installation beside a sandbox, and what is asked of the doctor."""

    house: House
    sandbox: Sandbox

    async def project(self, **settings: Any) -> ProjectRow:  # Any: arguments of set_integration
        projects = self.house.projects
        project = await projects.create("Acme", ["https://app.acme.example"])
        await projects.create_signing_key(project.id, "ES256")
        usual: dict[str, Any] = {"client_id": CLIENT, "client_secret": SECRET, "audience": TENANT, "is_active": True}
        await projects.set_integration(project.id, "onedrive", **usual | settings)
        return project

    async def examine(self, *arguments: Any, patience: timedelta = timedelta(minutes=1), **options: Any) -> Report:
        house = self.house
        doctor = Doctor(
            house.settings,
            house.database,
            house.vault,
            house.projects,
            house.catalog,
            house.outbound,
            house.microsoft,
            patience=patience,
        )
        return await doctor.examine(*arguments, **options)


Opener = Callable[..., Any]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        async def open_(seed: Seed | None = None, **settings: Any) -> Practice:
            sandbox = await stack.enter_async_context(Sandbox(seed=seed or an_app()))
            usual: dict[str, Any] = {
                "data_dir": tmp_path / "data",
                "public_url": "http://localhost:8080",
                "microsoft_login_url": sandbox.urls["login_url"],
                "microsoft_graph_url": sandbox.urls["graph_url"],
                "outbound_allow": "127.0.0.1",
            }
            return Practice(await stack.enter_async_context(assemble(Settings(**usual | settings))), sandbox)

        yield open_


def needing_care(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity is not Severity.OK]


def the_one(report: Report) -> Finding:
    found = needing_care(report)
    assert len(found) == 1, found
    return found[0]


async def test_a_good_set_up_is_all_ok(opened: Opener) -> None:
    practice = await opened()
    await practice.project()

    report = await practice.examine()

    assert needing_care(report) == []
    assert {finding.check for finding in report.findings} == {
        "settings.public_url",
        "settings.redirect_url",
        "database",
        "vault.key_ring",
        "vault.key_file",
        "microsoft.login",
        "microsoft.clock",
        "microsoft.graph",
        "project.allowed_origins",
        "project.signing_key",
        "integration.scopes",
        "integration.client_id",
        "integration.redirect_url",
        "integration.audience",
        "integration.client_secret",
    }


async def test_an_audience_without_a_tenant_leaves_the_secret_unproven(opened: Opener) -> None:
    practice = await opened()
    await practice.project(audience="common")

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("integration.client_secret", Severity.WARNING)
    assert "--tenant" in found.remedy


async def test_a_secret_is_tried_where_its_answer_proves_most(opened: Opener) -> None:
    practice = await opened()
    await practice.project(audience="common")
    ledger = practice.sandbox.world.ledger

    await practice.examine()
    without = {(entry.grant_type, entry.target.split("/")[1]) for entry in ledger.find({"operation": "token"})}
    ledger.clear()
    await practice.examine(tenant=TENANT)
    named = {(entry.grant_type, entry.target.split("/")[1]) for entry in ledger.find({"operation": "token"})}

    assert without == {("client_credentials", "organizations"), ("authorization_code", "common")}
    assert named == {("client_credentials", TENANT)}


async def test_a_tenant_named_to_the_doctor_proves_the_secret(opened: Opener) -> None:
    practice = await opened()
    await practice.project(audience="common")

    report = await practice.examine(tenant=TENANT)

    assert needing_care(report) == []


@pytest.mark.parametrize("audience", [TENANT, "common", "organizations", "consumers"])
async def test_a_wrong_secret_is_found(opened: Opener, audience: str) -> None:
    practice = await opened()
    await practice.project(audience=audience, client_secret="wrong-secret")

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("integration.client_secret", Severity.PROBLEM)
    assert found.details["codes"] == [7000215]
    assert "secret is wrong" in found.message
    assert found.remedy.startswith("Copy the secret's Value")


async def test_an_expired_secret_is_found(opened: Opener) -> None:
    practice = await opened()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    practice.sandbox.world.directory.applications[CLIENT].secrets = [Secret(SECRET, yesterday)]
    await practice.project()

    found = the_one(await practice.examine())

    assert (found.check, found.severity, found.details["codes"]) == (
        "integration.client_secret",
        Severity.PROBLEM,
        [7000222],
    )
    assert found.remedy.startswith("Create a new client secret")


@pytest.mark.parametrize("audience", [TENANT, "common", "organizations", "consumers"])
async def test_an_unknown_client_id_is_found(opened: Opener, audience: str) -> None:
    practice = await opened()
    await practice.project(audience=audience, client_id="99999999-3333-4444-5555-666677778888")

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("integration.client_id", Severity.PROBLEM)
    assert found.details["codes"] == [700016]
    assert found.remedy.startswith("Copy Application (client) ID")


async def test_a_redirect_url_that_is_not_registered_is_found(opened: Opener) -> None:
    practice = await opened(public_url="https://connect.acme.example")
    await practice.project()

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("integration.redirect_url", Severity.PROBLEM)
    assert found.details["codes"] == [50011]
    assert found.remedy.startswith("Add the redirect URL")


@pytest.mark.parametrize(
    ("app", "audience", "code"),
    [
        ("AzureADMyOrg", "common", 50194),
        ("AzureADMyOrg", "organizations", 50194),
        ("AzureADMyOrg", "fabrikam.example", 700016),
        ("AzureADMultipleOrgs", "consumers", 9002332),
        ("PersonalMicrosoftAccount", "organizations", 9002331),
        ("AzureADMultipleOrgs", "nowhere.example", 90002),
    ],
)
async def test_an_app_that_does_not_fit_the_audience_is_found(
    opened: Opener, app: str, audience: str, code: int
) -> None:
    practice = await opened(an_app(app))
    await practice.project(audience=audience)

    found = the_one(await practice.examine())

    assert (found.check, found.severity, found.details["codes"]) == ("integration.audience", Severity.PROBLEM, [code])
    assert found.remedy


async def test_a_common_audience_of_an_app_without_personal_accounts_is_found(opened: Opener) -> None:
    practice = await opened(an_app("AzureADMultipleOrgs"))
    await practice.project(audience="common")

    found = the_one(await practice.examine(tenant=TENANT))

    assert (found.check, found.severity) == ("integration.audience", Severity.WARNING)
    assert "personal accounts" in found.message
    assert "`organizations`" in found.remedy


async def test_an_unreachable_login_host_is_one_finding(opened: Opener) -> None:
    practice = await opened(microsoft_login_url=f"http://127.0.0.1:{free_port()}")
    await practice.project()

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("microsoft.login", Severity.PROBLEM)
    assert found.details["code"] == "provider_unreachable"
    assert found.remedy


async def test_a_loopback_address_that_is_not_allowed_is_one_finding_with_the_setting_to_add(opened: Opener) -> None:
    practice = await opened(outbound_allow="files.acme.example")
    await practice.project()

    found = the_one(await practice.examine())

    hosts = [practice.sandbox.urls[name].removeprefix("http://") for name in ("login_url", "graph_url")]
    assert (found.check, found.severity) == ("outbound.allow", Severity.PROBLEM)
    assert found.details["value"] == ",".join(["files.acme.example", *hosts])
    assert f"LANDBRIDGE_OUTBOUND_ALLOW={found.details['value']}" in found.remedy


async def test_the_setting_that_the_doctor_names_is_the_one_that_helps(opened: Opener) -> None:
    ill = await opened(outbound_allow="")
    value = the_one_of("outbound.allow", await ill.examine()).details["value"]
    urls = {"microsoft_login_url": ill.sandbox.urls["login_url"], "microsoft_graph_url": ill.sandbox.urls["graph_url"]}

    well = await opened(outbound_allow=value, **urls)

    assert "outbound.allow" not in {finding.check for finding in (await well.examine()).findings}


def the_one_of(check: str, report: Report) -> Finding:
    (found,) = (finding for finding in report.findings if finding.check == check)
    return found


async def test_of_two_secrets_the_bad_one_is_only_to_be_cleared_away(opened: Opener) -> None:
    practice = await opened()
    project = await practice.project(client_secret="old-wrong-secret")
    await practice.house.projects.set_integration(project.id, "onedrive", client_secret=SECRET)

    report = await practice.examine()

    secrets = [finding for finding in report.findings if finding.check == "integration.client_secret"]
    assert [(one.severity, one.details["secret"]) for one in secrets] == [
        (Severity.OK, "rig…"),
        (Severity.WARNING, "old…"),
    ]
    assert report.is_healthy


async def test_a_secret_that_expires_soon_is_told(opened: Opener) -> None:
    practice = await opened()
    await practice.project(client_secret_expires_at=datetime.now(UTC) + timedelta(days=12, hours=1))

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("integration.client_secret", Severity.WARNING)
    assert "expires in 12 days" in found.message


async def test_secrets_that_do_not_open_are_one_finding(opened: Opener) -> None:
    practice = await opened()
    await practice.project()
    practice.house = replace(practice.house, vault=Vault(KeySetting(KeyRing.generate().text())))

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("vault.key_ring", Severity.PROBLEM)
    assert "1 of 1 client secrets" in found.message


async def test_a_key_file_that_is_gone_is_found(opened: Opener) -> None:
    practice = await opened()
    await practice.project()
    practice.house.settings.key_file.unlink()

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("vault.key_file", Severity.PROBLEM)


async def test_a_key_file_that_others_read_is_found(opened: Opener) -> None:
    practice = await opened()
    practice.house.settings.key_file.chmod(0o644)
    await practice.project()

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("vault.key_file", Severity.PROBLEM)
    assert "chmod 600" in found.remedy


async def test_one_project_can_be_examined_alone(opened: Opener) -> None:
    practice = await opened()
    good = await practice.project()
    await practice.project(client_secret="wrong-secret")

    assert needing_care(await practice.examine(good.id)) == []
    assert not (await practice.examine()).is_healthy


async def test_an_unknown_project_is_said_to_be_unknown(opened: Opener) -> None:
    practice = await opened()

    with pytest.raises(NotFound):
        await practice.examine("nobody")


async def test_an_installation_without_projects_is_told_to_make_one(opened: Opener) -> None:
    practice = await opened()

    found = the_one(await practice.examine())

    assert (found.check, found.severity) == ("projects", Severity.WARNING)


async def test_tables_that_were_not_migrated_are_found(opened: Opener, tmp_path: Path) -> None:
    practice = await opened()
    empty = Settings(database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    database = Database.from_settings(empty, practice.house.clock)
    practice.house = replace(practice.house, database=database)

    found = the_one(await practice.examine())
    await database.close()

    assert (found.check, found.severity) == ("database", Severity.PROBLEM)
    assert "landbridge migrate" in found.message


@pytest.fixture
async def stalled() -> AsyncIterator[int]:
    """The port of a host that takes every connection and never says a word."""
    release = asyncio.Event()

    async def stall(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    release.set()
    server.close()


async def test_hosts_that_never_answer_keep_the_doctor_no_longer_than_a_quarter_of_a_minute(
    opened: Opener, stalled: int
) -> None:
    nowhere = f"http://127.0.0.1:{stalled}"
    practice = await opened(microsoft_login_url=nowhere, microsoft_graph_url=nowhere)
    await practice.project()
    settings = Settings(database_url=f"postgresql://somebody:hidden@127.0.0.1:{stalled}/none")
    database = Database.from_settings(settings, practice.house.clock)
    loop = asyncio.get_running_loop()

    started = loop.time()
    with_its_own = await practice.examine(patience=PATIENCE)
    practice.house = replace(practice.house, database=database)
    with_a_stalled_one = await practice.examine(patience=PATIENCE)
    took = timedelta(seconds=loop.time() - started)
    await database.close()

    assert [finding.check for finding in needing_care(with_its_own)] == ["microsoft.login", "microsoft.graph"]
    assert [finding.check for finding in needing_care(with_a_stalled_one)] == [
        "database",
        "microsoft.login",
        "microsoft.graph",
    ]
    assert took < timedelta(seconds=15)  # one round of the first, two of the second


async def test_no_secret_and_no_code_is_ever_shown(opened: Opener) -> None:
    practice = await opened()
    for secret in (SECRET, "wrong~secret-that-nobody-sees"):
        await practice.project(client_secret=secret)

    report = await practice.examine()
    printed = StringIO()
    render(report, Console(file=printed, width=200))
    shown = json.dumps(report.as_json()) + printed.getvalue() + repr(report)

    assert shown.count("wro…") >= 2
    assert SECRET not in shown
    assert "wrong~secret" not in shown
