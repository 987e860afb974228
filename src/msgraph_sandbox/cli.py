"""The command `msgraph-sandbox`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

import uvloop
from pydantic import ValidationError

from msgraph_sandbox.seed import load_seed
from msgraph_sandbox.server import Sandbox
from msgraph_sandbox.switches import Switches


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="msgraph-sandbox", description="A local Microsoft: sign-in and OneDrive with state."
    )
    serve = parser.add_subparsers(dest="command", required=True).add_parser(
        "serve", help="serve until interrupted; one JSON line on standard output says when it is ready, and where"
    )
    serve.add_argument("--port", type=int, default=0, help="first of six ports; 0 (the default) takes free ones")
    serve.add_argument(
        "--drive", choices=("personal", "business"), default="business", help="the first user's kind of account"
    )
    serve.add_argument("--seed", type=Path, help="a JSON file that says who and what there is at start")
    serve.add_argument("--data", type=Path, help="a folder that keeps the drives between runs")
    serve.add_argument(
        "--tls", action="store_true", help="also serve https, and a proxy for Microsoft's own host names"
    )
    serve.add_argument(
        "--set", action="append", default=[], metavar="SWITCH=VALUE", help="set a switch of the reference"
    )
    serve.add_argument("--auto-consent", action="store_true", help="sign in and consent at once, without a page")
    return parser


def _switches(given: argparse.Namespace) -> Switches:
    pairs = dict(text.partition("=")[::2] for text in given.set)
    return Switches.model_validate({"auto_consent": given.auto_consent, **pairs})


async def _serve(sandbox: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, sandbox.stop)
    async with sandbox:
        print(json.dumps(sandbox.announcement), flush=True)
        await sandbox.ended()


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        seed = load_seed(given.seed)
        sandbox = Sandbox(
            port=given.port,
            drive=given.drive,
            seed=seed,
            switches=_switches(given),
            tls=given.tls,
            data=given.data,
        )
    except (OSError, ValueError, ValidationError) as error:
        sys.exit(f"msgraph-sandbox: {error}")
    uvloop.run(_serve(sandbox))


if __name__ == "__main__":
    main()
