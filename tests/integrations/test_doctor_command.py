"""`landbridge doctor` on the terminal: its exit code, its JSON, and an installation that is too ill for all else."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from tests.ground.ports import free_port
from typer.testing import CliRunner, Result

from landbridge.cli import cli
from landbridge.settings import Settings
from landbridge.telemetry import configure_logging
from msgraph_sandbox.server import Sandbox

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _logging_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log as the command does, and tie none of this process's loggers to that: other tests listen to them."""

    def configure(settings: Settings) -> None:
        configure_logging(settings)
        structlog.configure(cache_logger_on_first_use=False)

    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("landbridge.cli.terminal.configure_logging", configure)
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    with Sandbox() as sandbox:
        monkeypatch.setenv("LANDBRIDGE_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("LANDBRIDGE_PUBLIC_URL", "http://localhost:8080")
        monkeypatch.setenv("LANDBRIDGE_MICROSOFT_LOGIN_URL", sandbox.urls["login_url"])
        monkeypatch.setenv("LANDBRIDGE_MICROSOFT_GRAPH_URL", sandbox.urls["graph_url"])
        monkeypatch.setenv("LANDBRIDGE_OUTBOUND_ALLOW", "127.0.0.1")
        monkeypatch.setenv("SANDBOX_CLIENT_ID", str(sandbox.announcement["client_id"]))
        monkeypatch.setenv("LANDBRIDGE_CLIENT_SECRET", str(sandbox.announcement["client_secret"]))
        yield lambda *arguments: CliRunner().invoke(cli, arguments)


@pytest.fixture
def project(run: Run) -> str:
    """A project with OneDrive set up as it should be."""
    id_: str = json.loads(run("projects", "create", "Acme", "--allow-origin", "https://a.example", "--json").stdout)[
        "id"
    ]
    run("signing-keys", "create", "--project", id_)
    set_up(run, id_, "--audience", "contoso.example")
    return id_


def set_up(run: Run, project: str, *options: str) -> None:
    client_id = "5a9db0c1-1111-4111-8111-000000000001"
    done = run("integrations", "set", "onedrive", "--project", project, "--client-id", client_id, "--active", *options)
    assert done.exit_code == 0, done.output


def test_a_good_set_up_ends_well(run: Run, project: str) -> None:
    done = run("doctor")

    assert done.exit_code == 0, done.output
    assert "Nothing to do." in done.stdout
    assert "Acme · OneDrive" in done.stdout


def test_a_problem_ends_with_exit_code_1_and_says_what_to_do(run: Run, project: str) -> None:
    set_up(run, project, "--client-secret", "not-the-secret")
    set_up(run, project, "--client-secret", "not-the-secret-either")

    done = run("doctor", "--project", project, "--json")

    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (report["healthy"], report["problems"]) == (False, 2)
    assert {finding["check"] for finding in report["findings"] if finding["severity"] == "problem"} == {
        "integration.client_secret"
    }
    assert "not-the-secret" not in done.output


def test_a_tenant_can_be_named(run: Run, project: str) -> None:
    set_up(run, project, "--audience", "common")

    assert "--tenant" in run("doctor").stdout
    assert "Nothing to do." in run("doctor", "--tenant", "contoso.example").stdout


def test_a_database_that_does_not_answer_is_a_finding_and_not_a_failure(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDBRIDGE_DATABASE_URL", f"postgresql://nobody:hidden@127.0.0.1:{free_port()}/none")

    done = run("doctor", "--json")

    problems = [finding["check"] for finding in json.loads(done.stdout)["findings"] if finding["severity"] == "problem"]
    assert (done.exit_code, problems) == (1, ["database"])
    assert "hidden" not in done.output


def test_an_embedded_database_that_is_broken_is_a_finding_and_not_a_failure(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "landbridge.db").write_text("This is not a database. " * 100)

    done = run("doctor", "--json")

    problems = [finding["check"] for finding in json.loads(done.stdout)["findings"] if finding["severity"] == "problem"]
    assert (done.exit_code, problems) == (1, ["database"])


def test_our_own_address_is_asked_only_on_request(run: Run, project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDBRIDGE_OUTBOUND_ALLOW", "127.0.0.1,localhost")
    monkeypatch.setenv("LANDBRIDGE_PUBLIC_URL", "http://localhost:9")

    assert "settings.public_url_answers" not in run("doctor").stdout
    assert "settings.public_url_answers" in run("doctor", "--public-url").stdout
