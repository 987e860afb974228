"""A process of its own that runs one step, to be killed in the middle: `python -m tests.integrations.onedrive.saving`.

Standard input is JSON: settings, whose run and step it is, the action and its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from landbridge.access import Caller
from landbridge.app import assemble
from landbridge.settings import Settings


async def main(asked: dict[str, Any]) -> None:  # Any: JSON
    async with assemble(Settings(**asked["settings"])) as house:
        caller = Caller(asked["project"], asked["user"], datetime.now(UTC) + timedelta(hours=1))
        context = house.workbench.context(caller, "onedrive", None, run_id=asked["run"], step=asked["step"])
        action = house.actions.get("onedrive", asked["action"])
        await action.run(context, action.parse(asked["given"]))


if __name__ == "__main__":
    asyncio.run(main(json.load(sys.stdin)))
