#!/usr/bin/env python3
"""Fetch what this tree needs and this machine lacks: `python3 scripts/setup.py PART...`.

    packages   the project's Python packages, by uv, in .venv/
    sdk        the browser SDK as npm has it, made loadable by a page: build/sdk.js
    chromium   a browser for the acceptance tests
    nginx      the reference that `make bench` measures against
    wrk        the load that `make bench` puts on both
    stores     stand-ins for S3 and Azure, for the tests of file contents
    rclone     Debian's, which is older than PyPI's, for the tests of the sandbox
    onedrive   Debian's client of OneDrive, for the same

`make` calls this before every target that needs a part, so it must be quick when nothing is to be done, and it runs
before anything is installed, so it uses the standard library alone. What the machine has is used as it is. What it
lacks comes from PyPI, npm or Debian into this tree (.tools/, .venv/, node_modules/); only root on Debian has packages
installed. Where nothing works, the last line says what to install. `.tools/bin/` links to each tool, found or fetched.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
TOOLS = TREE / ".tools"
BIN = TOOLS / "bin"
LOG = TOOLS / "setup.log"
ACCEPTANCE = TREE / "tests" / "acceptance"
CHROMIUM_FROM_NPM = TOOLS / "chromium" / "start"
NGINX_FROM_DEBIAN = TOOLS / "nginx" / "usr" / "sbin" / "nginx"
WRK_FROM_DEBIAN = TOOLS / "wrk" / "start"
RCLONE_FROM_DEBIAN = TOOLS / "rclone" / "usr" / "bin" / "rclone"
ONEDRIVE_FROM_DEBIAN = TOOLS / "onedrive" / "start"

UV = "uv==0.13.9"
OLDEST_UV = (0, 5)
"""The first series that installs dependency groups from a lock file of this form."""
OLDEST_NODE = (20, 0)
PROGRESS_EVERY = 5.0
"""Seconds between two signs of life of a long command."""


class SetupFailed(Exception):
    """A part could not be had; the message tells the reader what to do."""


@dataclass(frozen=True)
class Machine:
    """What decides how a missing part is fetched."""

    system: str
    architecture: str
    distribution: str
    root: bool

    @classmethod
    def here(cls) -> Machine:
        return cls(
            system=platform.system(),
            architecture=platform.machine(),
            distribution=_distribution(Path("/etc/os-release")),
            root=os.geteuid() == 0,
        )

    @property
    def can_use_apt(self) -> bool:
        """Ubuntu is left out: its `chromium` package is a stub that asks for a snap, which containers do not have."""
        return self.root and self.distribution == "debian"


def _distribution(os_release: Path) -> str:
    if not os_release.exists():
        return ""
    lines = (line.partition("=") for line in os_release.read_text(encoding="utf-8").splitlines())
    return next((value.strip('"') for key, _, value in lines if key == "ID"), "")


# What to do: decided from arguments alone, and tested in tests/ground.


def ways(part: str, machine: Machine) -> list[str]:
    """Return the ways to fetch a missing part on this machine, best first; none if the reader must install it."""
    if part in {"nginx", "wrk", "rclone", "onedrive"}:
        return ["deb"] if machine.distribution == "debian" else []
    if part == "chromium":
        carried_by_npm = machine.system == "Linux" and machine.architecture == "x86_64"
        return ["apt"] * machine.can_use_apt + ["npm"] * carried_by_npm
    raise ValueError(part)


_BY_HAND = {
    "uv": {
        "debian": "sudo apt-get install python3-venv",
        "ubuntu": "sudo apt-get install python3-venv",
        "Darwin": "brew install uv",
    },
    "chromium": {
        "debian": "sudo apt-get install chromium",
        "ubuntu": "sudo snap install chromium",
        "Darwin": "brew install --cask chromium",
    },
    "nginx": {
        "debian": "sudo apt-get install nginx",
        "ubuntu": "sudo apt-get install nginx",
        "Darwin": "brew install nginx",
    },
    "wrk": {
        "debian": "sudo apt-get install wrk",
        "ubuntu": "sudo apt-get install wrk",
        "Darwin": "brew install wrk",
    },
    "rclone": {
        "debian": "sudo apt-get install rclone",
        "ubuntu": "sudo apt-get install rclone",
    },
    "onedrive": {
        "debian": "sudo apt-get install onedrive",
        "ubuntu": "sudo apt-get install onedrive",
    },
}


def advice(part: str, machine: Machine) -> str:
    """Return the one instruction for a reader whose machine lets us fetch a part in no way."""
    command = _BY_HAND[part].get(machine.distribution or machine.system, "your system's package manager has it")
    return f"Install {part} ({command}), then run make again."


def version_in(text: str) -> tuple[int, ...]:
    """Return the first dotted number of a `--version` answer: (20, 20, 2) of `v20.20.2`; () if there is none."""
    for word in text.replace("/", " ").split():
        numbers = word.lstrip("v").split("-")[0].split(".")
        if len(numbers) > 1 and all(number.isdigit() for number in numbers):
            return tuple(int(number) for number in numbers)
    return ()


def fingerprint(inputs: Iterable[Path]) -> str:
    """Return a digest that changes when any of the files does."""
    digest = hashlib.sha256()
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()


# Running things.


def run(what: str, *command: str | Path, env: dict[str, str] | None = None, cwd: Path = TREE) -> None:
    """Run a long command, with a sign of life every few seconds and its output kept in `.tools/setup.log`."""
    TOOLS.mkdir(exist_ok=True)
    started = time.monotonic()
    print(f"set-up: {what} ...", flush=True)
    with LOG.open("a+b") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        start = log.tell()
        try:
            process = subprocess.Popen(
                command, cwd=cwd, env=os.environ | (env or {}), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        except OSError as error:
            raise SetupFailed(f"{what}: {error}") from error
        while True:
            try:
                code = process.wait(PROGRESS_EVERY)
                break
            except subprocess.TimeoutExpired:
                print(f"set-up: {what} ... {time.monotonic() - started:.0f} s", flush=True)
        log.seek(start)
        output = log.read().decode(errors="replace").strip()
    if code != 0:
        end = "\n".join(f"    {line}" for line in output.splitlines()[-12:])
        raise SetupFailed(f"{what} failed with exit code {code}:\n{end}\nThe whole output is in {LOG}.")
    print(f"set-up: {what}: {time.monotonic() - started:.1f} s", flush=True)


def answer_of(*command: str | Path, check: bool = True) -> str | None:
    """Return what a short command prints, or None if it does not run here (or, if we `check`, exits with an error)."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=check
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout + done.stderr


def apt_update() -> None:
    run("Debian's list of packages", "apt-get", "update")


def apt_install(package: str) -> None:
    apt_update()
    options = ("--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
    run(f"Debian's {package}", "apt-get", "install", *options, package, env={"DEBIAN_FRONTEND": "noninteractive"})


def link(name: str, target: Path) -> Path:
    """Make `.tools/bin/name` lead to the tool, for `make` and the tests to use."""
    BIN.mkdir(parents=True, exist_ok=True)
    place = BIN / name
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    return place


def found(*names: str, oldest: tuple[int, ...] = ()) -> Path | None:
    """Return the first of these programs that runs here and is recent enough.

    Being on the path is not enough: version managers put stand-ins there that only print an error.
    """
    for name in names:
        path = shutil.which(name)
        if path is None:
            continue
        # wrk tells its version with exit code 1; where a version is asked for, having one proves that the tool runs.
        said = answer_of(path, "-v" if path.endswith("nginx") else "--version", check=not oldest)
        if said is not None and version_in(said) >= oldest:
            return Path(path)
    return None


# The parts.


def provide_packages() -> None:
    """Install the locked Python packages in .venv/, unless that was done and neither they nor Python changed since."""
    home = TREE / ".venv"
    locked = fingerprint([TREE / "pyproject.toml", TREE / "uv.lock"])
    stamp = home / "setup-stamp"
    python_is_there = (home / "bin" / "python").exists()  # a link, which leads nowhere once that Python was removed
    if python_is_there and stamp.exists() and stamp.read_text(encoding="utf-8") == locked:
        return
    _uv_sync("Python packages (about 100 MB the first time)", home)
    stamp.write_text(locked, encoding="utf-8")


def _uv_sync(what: str, environment: Path, *options: str) -> None:
    # uv would fetch a Python of its own from GitHub; the machine has one, since it runs this script.
    settings = {"UV_PROJECT_ENVIRONMENT": str(environment), "UV_PYTHON_DOWNLOADS": "never"}
    run(what, _uv(), "sync", "--frozen", *options, env=settings)


def _uv() -> Path:
    if (BIN / "uv").exists():
        return BIN / "uv"
    return link("uv", found("uv", oldest=OLDEST_UV) or _fetch_uv())


def _fetch_uv() -> Path:
    home = TOOLS / "uv"
    machine = Machine.here()
    try:
        _make_environment(home)
    except SetupFailed:
        if not machine.can_use_apt:
            raise SetupFailed(f"This Python cannot make virtual environments. {advice('uv', machine)}") from None
        apt_install("python3-venv")
        _make_environment(home)
    run("uv from PyPI", home / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", UV)
    return home / "bin" / "uv"


def _make_environment(home: Path) -> None:
    """A virtual environment of uv's own: a system Python refuses `pip install`, as it should (PEP 668)."""
    run("a virtual environment for uv", sys.executable, "-m", "venv", "--clear", home)


def provide_node() -> None:
    """Find Node and npm, or install the Node that PyPI carries, pinned in uv.lock."""
    if (BIN / "node").exists() and (BIN / "npm").exists():
        return
    node, npm = found("node", oldest=OLDEST_NODE), found("npm")
    if node is None or npm is None:
        home = TOOLS / "node"
        _uv_sync("Node from PyPI (about 60 MB)", home, "--only-group", "node")
        node, npm = home / "bin" / "node", home / "bin" / "npm"
    link("node", node)
    link("npm", npm)


def _npm_ci(what: str, folder: Path) -> None:
    """Install exactly what a folder's lock file names; no package's install script is run."""
    provide_node()
    options = ("--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund")
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    run(what, BIN / "npm", "ci", *options, env=path, cwd=folder)


def provide_sdk() -> None:
    """Write build/sdk.js: the SDK's own file, byte for byte, in a wrapper that a page can load.

    npm publishes it as CommonJS only. A customer's bundler would supply `module`; a page that loads it as a classic
    script gets it from these two lines, and finds the SDK as the global `paragon`.
    """
    lock = ACCEPTANCE / "package-lock.json"
    head = f"/* @useparagon/connect from npm, in a wrapper; lock {fingerprint([lock, Path(__file__)])} */\n"
    bundle = TREE / "build" / "sdk.js"
    if bundle.exists() and bundle.read_text(encoding="utf-8").startswith(head):
        return
    _npm_ci("the browser SDK from npm", ACCEPTANCE)
    package = ACCEPTANCE / "node_modules" / "@useparagon" / "connect" / "dist" / "src" / "index.js"
    opening, closing = "var paragon = (function (module) {\n", "\nreturn module.exports.paragon; })({ exports: {} });\n"
    bundle.parent.mkdir(exist_ok=True)
    bundle.write_text(head + opening + package.read_text(encoding="utf-8") + closing, encoding="utf-8")


def provide_chromium() -> None:
    """Find Chromium or fetch it, and Node, with which Playwright drives it."""
    provide_node()
    fetch = {"apt": lambda: apt_install("chromium"), "npm": _chromium_from_npm}
    _provide("chromium", lambda: found(*_BROWSERS), fetch)


_BROWSERS = (
    "chromium",
    "google-chrome",
    "/usr/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    str(CHROMIUM_FROM_NPM),
)


def provide_nginx() -> None:
    # Debian keeps it in /usr/sbin, which is not on everyone's path.
    names = ("nginx", "/usr/sbin/nginx", str(NGINX_FROM_DEBIAN))
    _provide("nginx", lambda: found(*names), {"deb": _unpack_nginx})


def _unpack_nginx() -> None:
    """Unpack Debian's nginx into this tree: installing it would need root, and would start a server on port 80."""
    _unpack_deb("nginx", "nginx")


def provide_wrk() -> None:
    _provide("wrk", lambda: found("wrk", str(WRK_FROM_DEBIAN), oldest=(4,)), {"deb": _unpack_wrk})


def _unpack_wrk() -> None:
    """Unpack Debian's wrk with the one library that it brings, and the two lines that start it with that library."""
    _unpack_deb("wrk", "wrk", "libluajit-5.1-2")
    _write_start(WRK_FROM_DEBIAN, "wrk")


def provide_rclone() -> None:
    # Not whatever the path has: the tests have today's from PyPI, and want the one of years ago beside it.
    names = ("/usr/bin/rclone", str(RCLONE_FROM_DEBIAN))
    _provide("rclone", lambda: found(*names), {"deb": lambda: _unpack_deb("rclone", "rclone")})


def provide_onedrive() -> None:
    _provide("onedrive", lambda: found("onedrive", str(ONEDRIVE_FROM_DEBIAN)), {"deb": _unpack_onedrive})


def _unpack_onedrive() -> None:
    """Unpack Debian's onedrive with the libraries that this machine lacks."""
    said = answer_of("apt-get", "install", "--simulate", "--no-install-recommends", "onedrive") or ""
    lacking = [line.split()[1] for line in said.splitlines() if line.startswith("Inst ")]
    _unpack_deb("onedrive", *(lacking or ["onedrive"]))
    _write_start(ONEDRIVE_FROM_DEBIAN, "onedrive")


def _write_start(start: Path, program: str) -> None:
    """Write the lines that start an unpacked program with the libraries that were unpacked beside it."""
    libraries = ":".join(sorted({str(path.parent) for path in start.parent.glob("usr/lib/*/*.so*")}))
    start.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{start.parent}/usr/bin/{program}" "$@"\n')
    start.chmod(0o755)


def _unpack_deb(part: str, *packages: str) -> None:
    home = TOOLS / part
    home.mkdir(parents=True, exist_ok=True)
    if Machine.here().root:
        apt_update()
    run(f"Debian's {part}", "apt-get", "download", *packages, cwd=home)
    for package in home.glob("*.deb"):
        run(f"unpacking {package.name.partition('_')[0]}", "dpkg-deb", "--extract", package, home)


def _provide(part: str, find: Callable[[], Path | None], fetch: Mapping[str, Callable[[], None]]) -> None:
    """Find a program, or fetch it in the first way that works."""
    if (BIN / part).exists():
        return
    machine = Machine.here()
    where = find()
    for way in ways(part, machine):
        if where is not None:
            break
        try:
            fetch[way]()
        except SetupFailed as failure:
            print(f"set-up: {failure}", flush=True)
        where = find()
    if where is None:
        raise SetupFailed(f"There is no {part} here that runs. {advice(part, machine)}")
    link(part, where)


def _chromium_from_npm() -> None:
    """Unpack the Chromium that an npm package carries (made for AWS Lambda), with the libraries and fonts it brings.

    A machine without a desktop often has neither; without a font every text would be zero pixels high.
    """
    source, home = TREE / "scripts" / "chromium", TOOLS / "chromium"
    _npm_ci("Chromium from npm (about 70 MB)", source)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    packed = source / "node_modules" / "@sparticuz" / "chromium" / "bin"
    run("unpacking Chromium", BIN / "node", source / "unpack.cjs", packed, home)
    for archive in ("al2023.tar", "fonts.tar", "swiftshader.tar"):
        shutil.unpack_archive(home / archive, home, "tar")
        (home / archive).unlink()
    shutil.copyfile(source / "fonts.conf", home / "fonts.conf")
    shutil.copy(source / "start", CHROMIUM_FROM_NPM)


def provide_stores() -> None:
    """Install moto, which speaks as S3 does, and Azurite, which is Microsoft's own stand-in for Azure."""
    if not (BIN / "moto_server").exists():
        home = TOOLS / "moto"
        _uv_sync("moto from PyPI (about 40 MB)", home, "--only-group", "stores")
        link("moto_server", home / "bin" / "moto_server")
    if not (BIN / "azurite").exists():
        source = TREE / "scripts" / "azurite"
        _npm_ci("Azurite from npm (about 360 MB)", source)
        link("azurite", source / "node_modules" / ".bin" / "azurite-blob")


PARTS: dict[str, Callable[[], None]] = {
    "packages": provide_packages,
    "sdk": provide_sdk,
    "chromium": provide_chromium,
    "nginx": provide_nginx,
    "wrk": provide_wrk,
    "stores": provide_stores,
    "rclone": provide_rclone,
    "onedrive": provide_onedrive,
}


def main(parts: list[str]) -> int:
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        print(f"usage: setup.py PART...    parts: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    try:
        for part in parts:
            PARTS[part]()
    except SetupFailed as failure:
        print(f"set-up: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
