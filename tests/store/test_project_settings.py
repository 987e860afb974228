"""What an operator sets for a project is checked, sealed where it is secret, and in use everywhere at once."""

from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from sqlalchemy import select
from tests.clock import FakeClock
from tests.store import rows

from landbridge.catalog import Catalog
from landbridge.errors import Conflict, InvalidRequest, NotFound
from landbridge.projects import Projects
from landbridge.providers.microsoft import App
from landbridge.store.database import Database
from landbridge.store.projects import ProjectRow
from landbridge.store.tables import client_secrets
from landbridge.vault import KeyRing, KeySetting, Vault

DAY = timedelta(days=1)


@pytest.fixture
def projects(database: Database, clock: FakeClock) -> Projects:
    vault = Vault(KeySetting(KeyRing.generate().text()))
    return Projects(database, vault, Catalog.read(files("landbridge.integrations")), clock)


async def _set(projects: Projects, project: ProjectRow, **given: Any) -> None:  # Any: settings
    await projects.set_integration(project.id, "onedrive", **{"client_id": "app", **given})


async def test_an_integration_is_set_step_by_step_and_keeps_what_is_not_given(
    projects: Projects, project: ProjectRow
) -> None:
    await _set(projects, project, client_secret="first-secret", audience="organizations")
    await projects.set_integration(project.id, "onedrive", scopes=["Files.Read", "Files.Read"], is_active=True)

    active = await projects.active(project.id, "onedrive")

    assert active.app == App("app", ("first-secret",), "organizations")
    assert active.settings.scopes == ["Files.Read"]
    assert "first-secret" not in repr(active)


async def test_before_it_is_active_an_integration_cannot_be_used_and_says_how_to_set_it_up(
    projects: Projects, project: ProjectRow
) -> None:
    with pytest.raises(Conflict, match="landbridge integrations set onedrive --active"):
        await projects.active(project.id, "onedrive")
    await _set(projects, project, client_secret="first-secret")
    with pytest.raises(Conflict, match="is not active"):
        await projects.active(project.id, "onedrive")


async def test_a_changed_setting_is_in_use_at_once(projects: Projects, project: ProjectRow) -> None:
    await _set(projects, project, client_secret="first-secret", is_active=True)
    await projects.active(project.id, "onedrive")
    await _set(projects, project, client_id="another")
    assert (await projects.active(project.id, "onedrive")).app.client_id == "another"
    await _set(projects, project, is_active=False)
    with pytest.raises(Conflict):
        await projects.active(project.id, "onedrive")


async def test_a_new_client_secret_comes_first_and_the_one_before_stays_beside_it(
    projects: Projects, project: ProjectRow, clock: FakeClock
) -> None:
    for secret in ("first-secret", "second-secret", "third-secret"):
        await _set(projects, project, client_secret=secret, is_active=True)
        clock.advance(DAY)
    assert (await projects.active(project.id, "onedrive")).app.secrets == ("third-secret", "second-secret")
    _, kept = await projects.integration(project.id, "onedrive")
    assert [row.hint for row in kept] == ["thi", "sec"]


async def test_a_secret_that_has_expired_is_tried_last(
    projects: Projects, project: ProjectRow, clock: FakeClock
) -> None:
    await _set(projects, project, client_secret="lasting-secret", is_active=True)
    clock.advance(DAY)
    ends = clock.now() + DAY
    await _set(projects, project, client_secret="ending-secret", client_secret_expires_at=ends)
    assert (await projects.active(project.id, "onedrive")).app.secrets[0] == "ending-secret"
    clock.advance(DAY)
    await projects.change(project.id, name="touched")  # as after half a minute
    assert (await projects.active(project.id, "onedrive")).app.secrets == ("lasting-secret", "ending-secret")


async def test_a_client_secret_is_in_the_database_only_sealed(
    projects: Projects, project: ProjectRow, database: Database
) -> None:
    await _set(projects, project, client_secret="canary-secret")
    async with database.read() as tx:
        (row,) = (await tx.execute(select(client_secrets))).all()
    assert "canary-secret" not in repr(row)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"client_id": ""}, "client id"),
        ({"client_id": "has spaces"}, "client id is not one"),
        ({"client_secret": "short"}, "client secret is not one"),
        ({"client_secret": " padded-secret"}, "client secret is not one"),
        ({"client_secret": "two\nlines-of-it"}, "client secret is not one"),
        ({"client_secret": "x" * 1001}, "client secret is not one"),
        ({"scopes": ["Mail.Read", "Files.Read"]}, r"has no scope Mail\.Read"),
        ({"audience": "everybody and nobody"}, "audience is"),
        ({"audience": "../../evil"}, "audience is"),
        ({"audience": "organizations\n"}, "audience is"),
        ({"is_active": True}, "needs a client secret"),
    ],
)
async def test_a_wrong_setting_is_refused_in_plain_words_and_changes_nothing(
    projects: Projects, project: ProjectRow, database: Database, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await _set(projects, project, **given)
    with pytest.raises(NotFound, match="onedrive is not set up in this project yet"):
        await projects.integration(project.id, "onedrive")
    assert await rows.count(database, "client_secrets") == 0


@pytest.mark.parametrize(
    "audience",
    ["organizations", "common", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad", "acme.onmicrosoft.com"],
)
async def test_an_audience_is_a_kind_of_account_or_one_tenant(
    projects: Projects, project: ProjectRow, audience: str
) -> None:
    await _set(projects, project, audience=audience)
    row, _ = await projects.integration(project.id, "onedrive")
    assert row
    assert row.audience == audience


async def test_an_unknown_project_or_integration_is_not_found(projects: Projects, project: ProjectRow) -> None:
    with pytest.raises(NotFound, match="no project"):
        await _set(projects, rows.project())
    with pytest.raises(NotFound, match="no integration"):
        await projects.set_integration(project.id, "dropbox", client_id="app")


def _pem(key: Any) -> str:  # Any: a private key of some kind
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


async def test_a_public_key_that_the_product_has_can_be_brought_along(projects: Projects, project: ProjectRow) -> None:
    of_rsa = await projects.import_signing_key(project.id, _pem(rsa.generate_private_key(65537, 2048)))
    of_ec = await projects.import_signing_key(project.id, _pem(ec.generate_private_key(ec.SECP256R1())))
    assert [of_rsa.algorithm, of_ec.algorithm] == ["RS256", "ES256"]


async def test_of_a_key_file_that_holds_both_halves_only_the_public_one_is_kept(
    projects: Projects, project: ProjectRow
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    kept = await projects.import_signing_key(project.id, f"{_pem(key)}{private}\0")

    assert kept.public_key == _pem(key)


async def test_a_weak_or_foreign_key_is_refused(projects: Projects, project: ProjectRow) -> None:
    weak = _pem(rsa.generate_private_key(65537, 1024))
    for key in (
        "",
        "PEM",
        weak,
        _pem(ec.generate_private_key(ec.SECP384R1())),
        _pem(ed25519.Ed25519PrivateKey.generate()),
    ):
        with pytest.raises(InvalidRequest, match="public key"):
            await projects.import_signing_key(project.id, key)
    assert await projects.signing_keys(project.id) == []


async def test_an_algorithm_that_is_none_of_ours_is_refused(projects: Projects, project: ProjectRow) -> None:
    with pytest.raises(InvalidRequest, match="RS256, ES256"):
        await projects.create_signing_key(project.id, "HS256")


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "two\nlines", "bell\a"])
async def test_a_name_is_a_line_that_can_be_read(projects: Projects, database: Database, name: str) -> None:
    with pytest.raises(InvalidRequest, match="name has 1 to 200"):
        await projects.create(name)
    assert await rows.count(database, "projects") == 0


async def test_an_origin_is_trusted_if_any_project_trusts_it(projects: Projects) -> None:
    await projects.create("One", ["https://b.example", "https://a.example/"])
    await projects.create("Two", ["https://c.example"])
    trusted = [await projects.is_trusted(f"https://{name}.example") for name in "abcd"]
    assert trusted == [True, True, True, False]
