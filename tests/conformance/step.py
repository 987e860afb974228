"""A step in a process of its own, to be killed in the middle: `python -m tests.conformance.step`.

Standard input is JSON: settings, whose run and step it is, the action and its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from landbridge.access import Caller
from landbridge.app import assemble
from landbridge.kit import Context
from landbridge.settings import Settings


async def begin(
    context: Context, settings: Settings, *, run_id: str, step: str, action: str, given: Mapping[str, Any]
) -> asyncio.subprocess.Process:
    """Begin a step of a run in another process. `given` is the input as JSON, its files already the run's."""
    asked = {
        "settings": {
            "data_dir": str(settings.data_dir),
            "public_url": settings.public_url,
            "microsoft_login_url": settings.microsoft_login_url,
            "microsoft_graph_url": settings.microsoft_graph_url,
            "outbound_allow": "127.0.0.1",
        },
        "project": context.caller.project_id,
        "user": context.caller.user_id,
        "integration": context.integration,
        "run": run_id,
        "step": step,
        "action": action,
        "given": given,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.conformance.step", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin
    process.stdin.write(json.dumps(asked).encode())
    process.stdin.close()
    return process


async def main(asked: dict[str, Any]) -> None:  # Any: JSON
    async with assemble(Settings(**asked["settings"])) as house:
        caller = Caller(asked["project"], asked["user"], datetime.now(UTC) + timedelta(hours=1))
        context = house.workbench.context(caller, asked["integration"], None, run_id=asked["run"], step=asked["step"])
        action = house.actions.get(asked["integration"], asked["action"])
        await action.run(context, action.parse(asked["given"]))


if __name__ == "__main__":
    asyncio.run(main(json.load(sys.stdin)))
