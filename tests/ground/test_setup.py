"""The set-up script decides rightly for machines that we do not have."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import setup
from scripts.setup import Machine, SetupFailed, advice, fingerprint, version_in, ways

DEBIAN_ROOT = Machine("Linux", "x86_64", "debian", root=True)
DEBIAN_USER = Machine("Linux", "x86_64", "debian", root=False)
UBUNTU_ROOT = Machine("Linux", "x86_64", "ubuntu", root=True)
ARM_USER = Machine("Linux", "aarch64", "debian", root=False)
FEDORA_USER = Machine("Linux", "x86_64", "fedora", root=False)
MAC = Machine("Darwin", "arm64", "", root=False)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        pytest.param(DEBIAN_ROOT, ["apt", "npm"], id="debian as root"),
        pytest.param(DEBIAN_USER, ["npm"], id="debian as a user"),
        pytest.param(UBUNTU_ROOT, ["npm"], id="ubuntu, whose chromium package is a stub"),
        pytest.param(FEDORA_USER, ["npm"], id="any other linux"),
        pytest.param(ARM_USER, [], id="linux on arm, which the npm package does not carry"),
        pytest.param(MAC, [], id="macos"),
    ],
)
def test_chromium_comes_from_debian_for_root_and_from_npm_for_others(machine: Machine, expected: list[str]) -> None:
    assert ways("chromium", machine) == expected


@pytest.mark.parametrize("part", ["nginx", "wrk", "rclone", "onedrive"])
def test_what_benchmarks_need_comes_from_debian_or_from_the_reader(part: str) -> None:
    assert ways(part, DEBIAN_ROOT) == ["deb"]
    assert ways(part, DEBIAN_USER) == ["deb"]
    assert ways(part, FEDORA_USER) == []
    assert ways(part, MAC) == []


@pytest.mark.parametrize("part", ["uv", "chromium", "nginx", "wrk", "rclone", "onedrive"])
@pytest.mark.parametrize("machine", [DEBIAN_USER, UBUNTU_ROOT, ARM_USER, FEDORA_USER, MAC], ids=repr)
def test_the_advice_is_one_sentence_that_ends_with_make(part: str, machine: Machine) -> None:
    said = advice(part, machine)

    assert said.startswith("Install ")
    assert said.endswith("then run make again.")


def test_the_advice_names_the_machines_own_installer() -> None:
    assert "sudo apt-get install python3-venv" in advice("uv", DEBIAN_USER)
    assert "brew install --cask chromium" in advice("chromium", MAC)
    assert "snap install chromium" in advice("chromium", UBUNTU_ROOT)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("uv 0.13.9 (x86_64-unknown-linux-gnu)", (0, 13, 9)),
        ("v20.20.2\n", (20, 20, 2)),
        ("nginx version: nginx/1.22.1", (1, 22, 1)),
        ("Chromium 150.0.7871.100 built on Debian", (150, 0, 7871, 100)),
        ("v22.0.0-nightly", (22, 0, 0)),
        ("pyenv: uv: command not found", ()),
    ],
)
def test_a_version_is_read_from_what_a_tool_says(answer: str, expected: tuple[int, ...]) -> None:
    assert version_in(answer) == expected


def test_a_stand_in_that_only_prints_an_error_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / "uv"
    stand_in.write_text("#!/bin/sh\necho 'uv: command not found' >&2\nexit 127\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert setup.found("uv") is None


def test_a_tool_that_is_too_old_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.19.1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert setup.found("node", oldest=(20, 0)) is None
    assert setup.found("node", oldest=(18, 0)) == old


def test_a_tool_that_tells_its_version_like_an_error_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrk = tmp_path / "wrk"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    wrk.write_text("#!/bin/sh\necho 'wrk debian/4.1.0-3+b2 [epoll]'\nexit 1\n")
    wrk.chmod(0o755)
    assert setup.found("wrk", oldest=(4,)) == wrk

    wrk.write_text("#!/bin/sh\necho 'wrk: cannot open shared object file' >&2\nexit 127\n")
    assert setup.found("wrk", oldest=(4,)) is None


class Fresh:
    """A machine with a Python and nothing else, and the commands that are run on it."""

    def __init__(self, folder: Path, *, makes_environments: bool) -> None:
        self.folder = folder
        self.makes_environments = makes_environments
        self.ran: list[str] = []

    def run(self, what: str, *command: object, **_: object) -> None:
        self.ran.append(" ".join(map(str, command)).replace(str(self.folder), "").replace(sys.executable, "python"))
        if "venv" in command and not self.makes_environments:
            raise SetupFailed(f"{what} failed")
        if "pip" in command:
            uv = self.folder / "uv" / "bin" / "uv"
            uv.parent.mkdir(parents=True)
            uv.touch()

    def apt_install(self, package: str) -> None:
        self.ran.append(f"apt {package}")
        self.makes_environments = True


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fresh:
    machine = Fresh(tmp_path, makes_environments=True)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(setup, "TOOLS", tmp_path)
    monkeypatch.setattr(setup, "BIN", tmp_path / "bin")
    monkeypatch.setattr(setup, "run", machine.run)
    monkeypatch.setattr(setup, "apt_install", machine.apt_install)
    return machine


MADE = "python -m venv --clear /uv"
FETCHED = f"/uv/bin/python -m pip install --disable-pip-version-check {setup.UV}"


def test_a_machine_without_uv_gets_one_in_an_environment_of_its_own(fresh: Fresh) -> None:
    assert setup._uv().resolve() == fresh.folder / "uv" / "bin" / "uv"
    assert fresh.ran == [MADE, FETCHED]


def test_root_on_debian_gets_what_environments_need(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.makes_environments = False
    monkeypatch.setattr(Machine, "here", lambda: DEBIAN_ROOT)

    setup._uv()

    assert fresh.ran == [MADE, "apt python3-venv", MADE, FETCHED]


@pytest.mark.parametrize("machine", [DEBIAN_USER, FEDORA_USER, MAC], ids=repr)
def test_others_are_told_in_one_sentence_what_to_install(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch, machine: Machine
) -> None:
    fresh.makes_environments = False
    monkeypatch.setattr(Machine, "here", lambda: machine)

    with pytest.raises(SetupFailed) as told:
        setup._uv()

    assert advice("uv", machine) in str(told.value)
    assert fresh.ran == [MADE]


def test_a_fingerprint_changes_with_any_of_its_files(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    before = fingerprint([one, other])

    other.write_text("3")

    assert fingerprint([one, other]) != before


def test_a_failed_command_shows_the_end_of_its_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(setup, "TOOLS", tmp_path)
    monkeypatch.setattr(setup, "LOG", tmp_path / "setup.log")

    with pytest.raises(SetupFailed, match=r"(?s)a dull task failed with exit code 3:.*no room left"):
        setup.run("a dull task", "/bin/sh", "-c", "echo no room left; exit 3", cwd=tmp_path)


def test_a_long_command_gives_signs_of_life(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "TOOLS", tmp_path)
    monkeypatch.setattr(setup, "LOG", tmp_path / "setup.log")
    monkeypatch.setattr(setup, "PROGRESS_EVERY", 0.02)

    setup.run("a slow task", "/bin/sh", "-c", "sleep 2", cwd=tmp_path)

    assert capsys.readouterr().out.count("a slow task") > 2


def test_an_unknown_part_is_named_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main(["python"]) == 2
    assert "packages, sdk, chromium, nginx, wrk" in capsys.readouterr().err


def test_the_browser_sdk_in_the_bundle_is_the_packages_own_bytes(sdk_bundle: Path) -> None:
    package = setup.ACCEPTANCE / "node_modules" / "@useparagon" / "connect" / "dist" / "src" / "index.js"

    assert package.read_bytes() in sdk_bundle.read_bytes()


def test_set_up_is_quick_when_nothing_is_to_be_done() -> None:
    command = (sys.executable, setup.__file__, "packages", "sdk", "chromium")

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    assert done.stdout == ""
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5
