"""Asks everything that `landbridge doctor` needs to know, at once and for a limited time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from landbridge.catalog import Catalog, Manifest
from landbridge.doctor import diagnosis, surroundings
from landbridge.doctor.diagnosis import SHARED_AUDIENCES, Evidence, SecretTrial
from landbridge.doctor.findings import Finding, Report, about, ok, problem, warning
from landbridge.errors import LandbridgeError, Misconfigured, ProviderFailed, ProviderTimedOut, StoreFailed, VaultFailed
from landbridge.outbound import Outbound
from landbridge.projects import Projects
from landbridge.providers.microsoft import App, Discovery, Microsoft, SignInAnswer
from landbridge.settings import Settings
from landbridge.store.database import Database
from landbridge.store.projects import ClientSecretRow, IntegrationRow, ProjectRow, SigningKeyRow
from landbridge.store.sealed import identity
from landbridge.vault import KeyFile, Vault

PATIENCE = timedelta(seconds=3)
"""How long one question may take. Three rounds follow one another, and a round ends the examination of what is down."""

_AT_ONCE = 32
_MADE_UP_CODE = "landbridge-doctor"

Asked = TypeVar("Asked")


@dataclass(frozen=True, slots=True)
class Registration:
    """An active integration of a project with its client secrets, each opened, or why it does not open."""

    row: IntegrationRow
    manifest: Manifest
    secrets: Sequence[tuple[ClientSecretRow, str | LandbridgeError]]

    @property
    def opened(self) -> list[tuple[ClientSecretRow, str]]:
        """The secrets that open."""
        return [(row, secret) for row, secret in self.secrets if isinstance(secret, str)]

    @property
    def failures(self) -> list[LandbridgeError]:
        """Why the others do not."""
        return [secret for _, secret in self.secrets if isinstance(secret, LandbridgeError)]


@dataclass(frozen=True, slots=True)
class Household:
    """A project with its keys, its integrations, and the app registrations of the active ones."""

    project: ProjectRow
    keys: list[SigningKeyRow]
    integrations: list[IntegrationRow]
    registrations: list[Registration]


class Doctor:
    """Checks this installation, and its settings at Microsoft."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        vault: Vault,
        projects: Projects,
        catalog: Catalog,
        outbound: Outbound,
        microsoft: Microsoft,
        *,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._settings = settings
        self._database = database
        self._vault = vault
        self._projects = projects
        self._catalog = catalog
        self._outbound = outbound
        self._microsoft = microsoft
        self._patience = patience.total_seconds()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def examine(
        self, project_id: str | None = None, *, tenant: str | None = None, public_url: bool = False
    ) -> Report:
        """Return what is well and what is not, of every project or of one.

        A few projects take less than 15 seconds whatever is down; many take their time, so as not to flood Microsoft.
        Client secrets are tried in `tenant` where the audience names none. `public_url` also asks whether we ourselves
        are reached at our public URL, which from behind a reverse proxy cannot always be told. Raises `NotFound` for an
        unknown project.
        """
        stored, households = await self._households(project_id)
        reach, is_up = await self._reach(households)
        async with asyncio.TaskGroup() as group:
            reached = group.create_task(self._public_url() if public_url else _nothing())
            examined = [group.create_task(self._household(house, tenant, is_up=is_up)) for house in households]
        return Report(
            (
                *surroundings.judge_settings(self._settings),
                *reached.result(),
                *stored,
                *self._key_ring([one for house in households for one in house.registrations]),
                *reach,
                *(finding for task in examined for finding in task.result()),
            )
        )

    async def _households(self, project_id: str | None) -> tuple[list[Finding], list[Household]]:
        try:
            async with asyncio.timeout(self._patience):
                await self._database.check()
                projects = [await self._projects.get(project_id)] if project_id else await self._projects.all()
            households = [await self._read(project) for project in projects]
        except StoreFailed as error:
            return [problem("database", error.message, error.remedy)], []
        except TimeoutError:
            message = f"The database does not answer within {self._patience:g} s."
            return [problem("database", message, StoreFailed.remedy)], []
        kind = self._database.engine.dialect.name
        findings = [ok("database", f"The database ({kind}) answers, and its tables fit this version.")]
        if not households:
            message = "There is no project yet, so there is nothing to check at Microsoft."
            findings.append(warning("projects", message, "Create one with `landbridge projects create NAME`."))
        return findings, households

    async def _read(self, project: ProjectRow) -> Household:
        async with asyncio.timeout(self._patience):
            rows = await self._projects.integrations(project.id)
            registrations = [await self._registration(row) for row in rows if row.is_active]
            return Household(project, await self._projects.signing_keys(project.id), rows, registrations)

    async def _registration(self, row: IntegrationRow) -> Registration:
        _, secrets = await self._projects.integration(row.project_id, row.type)
        return Registration(row, self._catalog.get(row.type), [(secret, self._open(secret)) for secret in secrets])

    def _open(self, row: ClientSecretRow) -> str | LandbridgeError:
        try:
            return self._vault.open(row.sealed, identity("client_secrets", row.project_id, row.id)).decode()
        except (VaultFailed, Misconfigured) as error:
            return error

    def _key_ring(self, registrations: Sequence[Registration]) -> list[Finding]:
        """Return whether the key ring opens what it should, and whether its file is kept as it should be."""
        check = "vault.key_ring"
        failures = [failure for one in registrations for failure in one.failures]
        sealed = sum(len(one.secrets) for one in registrations)
        if failures:
            message = f"{len(failures)} of {sealed} client secrets do not open. {failures[0].message}"
            return [problem(check, message, VaultFailed.remedy), *self._key_file()]
        return [ok(check, f"The key ring opens every client secret ({sealed})."), *self._key_file()]

    def _key_file(self) -> list[Finding]:
        source = self._vault.source
        if not isinstance(source, KeyFile):
            return []
        try:
            modes = (source.path.stat().st_mode, source.path.parent.stat().st_mode)
        except OSError as error:
            message = f"The key file {source.path} cannot be looked at ({type(error).__name__})."
            return [problem("vault.key_file", message, "Put it back from its copy: without it no token can be opened.")]
        return [surroundings.judge_key_file(source.path, *modes)]

    async def _reach(self, households: Sequence[Household]) -> tuple[list[Finding], bool]:
        audiences = sorted({one.row.audience for house in households for one in house.registrations} or {"common"})
        async with asyncio.TaskGroup() as group:
            described = [group.create_task(self._describe(audience)) for audience in audiences]
            graph = group.create_task(self._ask(self._microsoft.reach_graph))
        return surroundings.judge_reach(
            self._settings, [task.result() for task in described], graph.result(), self._database.clock.now()
        )

    async def _household(self, house: Household, tenant: str | None, *, is_up: bool) -> list[Finding]:
        project, now = house.project, self._database.clock.now()
        findings = diagnosis.judge_project(project, house.keys, house.integrations, now)
        async with asyncio.TaskGroup() as group:
            examined = [group.create_task(self._registered(one, tenant, is_up=is_up)) for one in house.registrations]
        findings += [finding for task in examined for finding in task.result()]
        return about(findings, project=project.id, projectName=project.name)

    async def _registered(self, one: Registration, tenant: str | None, *, is_up: bool) -> list[Finding]:
        findings = [diagnosis.judge_scopes(one.row, one.manifest)]
        if is_up:
            evidence = await self._evidence(one, tenant)
            findings += diagnosis.judge_registration(evidence, self._database.clock.now())
        return about(findings, integration=one.row.type, integrationName=one.manifest.name)

    async def _evidence(self, one: Registration, tenant: str | None) -> Evidence:
        """Ask Microsoft of an app registration: at its sign-in pages without a person, at its token endpoint."""
        audience = one.row.audience
        app = App(one.row.client_id, (), audience)
        async with asyncio.TaskGroup() as group:
            pages = {
                authority: group.create_task(self._sign_in(app, authority))
                for authority in diagnosis.authorities_to_ask(audience)
            }
            trials = [group.create_task(self._trial(app, row, secret, tenant)) for row, secret in one.opened]
        return Evidence(
            audience,
            {authority: task.result() for authority, task in pages.items()},
            [task.result() for task in trials],
            has_secret=bool(one.secrets),
        )

    async def _trial(self, app: App, row: ClientSecretRow, secret: str, tenant: str | None) -> SecretTrial:
        """Try a client secret in the one tenant that is known; else where there is none, and with a made-up code."""
        known = app.audience if app.audience not in SHARED_AUDIENCES else tenant
        if known:
            return SecretTrial(row.hint, row.expires_at, known, await self._credentials(app, secret, known))
        async with asyncio.TaskGroup() as group:
            direct = group.create_task(self._credentials(app, secret, "organizations"))
            indirect = group.create_task(self._redeem_nothing(app, secret))
        failure = diagnosis.weightier(direct.result(), indirect.result())
        return SecretTrial(row.hint, row.expires_at, None, failure)

    async def _credentials(self, app: App, secret: str, tenant: str) -> LandbridgeError | None:
        return await self._ask(lambda: self._microsoft.check_secret(app, secret, tenant))

    async def _redeem_nothing(self, app: App, secret: str) -> LandbridgeError:
        with_secret = App(app.client_id, (secret,), app.audience)
        answer = await self._ask(
            lambda: self._microsoft.redeem(
                with_secret, code=_MADE_UP_CODE, redirect_url=self._settings.redirect_url, verifier=None
            )
        )
        return answer if isinstance(answer, LandbridgeError) else ProviderFailed("Microsoft takes a made-up code.")

    async def _describe(self, authority: str) -> Discovery | LandbridgeError:
        return await self._ask(lambda: self._microsoft.discover(authority))

    async def _sign_in(self, app: App, authority: str) -> SignInAnswer | LandbridgeError:
        return await self._ask(
            lambda: self._microsoft.try_sign_in(app, authority=authority, redirect_url=self._settings.redirect_url)
        )

    async def _public_url(self) -> list[Finding]:
        check, url = "settings.public_url_answers", f"{self._settings.base_url}/healthz"
        answer = await self._ask(lambda: self._outbound.call("GET", url))
        if isinstance(answer, LandbridgeError):
            message = f"{url} could not be called from here: {answer.message}"
        elif answer.status != 200:
            message = f"{url} answers {answer.status}."
        else:
            return [ok(check, f"{url} answers.")]
        return [warning(check, message, "Open it in a browser outside of this network; see docs/how-to/deploy.md.")]

    async def _ask(self, question: Callable[[], Awaitable[Asked]]) -> Asked | LandbridgeError:
        """Return the answer to a question, or the error that came instead."""
        try:
            async with self._turns, asyncio.timeout(self._patience):
                return await question()
        except TimeoutError:
            return ProviderTimedOut(f"No answer came within {self._patience:g} s.")
        except LandbridgeError as error:
            return error


async def _nothing() -> list[Finding]:
    return []
