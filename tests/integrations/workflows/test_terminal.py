"""Workflows from the terminal: from a file to what became of its runs."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.integrations.landbridge import environment
from tests.integrations.landbridge import run as landbridge_run
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import FAILED, SUCCEEDED, WAITING
from landbridge.workflows.definition import Workflow

INVOICE = """
name: Note an invoice
trigger: {type: appEvent, event: Invoice created}
steps:
  - id: keep
    type: function
    code: "def run(parameters): return 100 // parameters['n']"
    parameters: {n: "{{ trigger.event.n }}", key: "{{ secrets.KEY }}"}
"""

AND_FAIL = """
  - {id: fail, type: function, code: "def run(parameters): return 1 // 0"}
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.timeout(300)  # twenty processes, one after the other
async def test_a_workflow_goes_from_a_file_to_a_replayed_run(crew: Crew, tmp_path: Path) -> None:
    async def command(*arguments: str, stdin: str = "") -> Any:  # Any: JSON
        return await landbridge_run(crew.place.settings, *arguments, "--project", crew.project, stdin=stdin)

    file = tmp_path / "invoice.yaml"
    file.write_text(INVOICE)
    await command("secrets", "set", "KEY", stdin="very secret\n")
    await command("events", "set", "Invoice created", "--example", str(_with(tmp_path, '{"n": 5}')))
    assert await command("workflows", "check", str(file)) == []
    saved = await command("workflows", "save", str(file))
    assert (await command("workflows", "deploy", saved["id"]))["number"] == 1
    await command("workflows", "set", saved["id"], "--default-enabled")

    body = {"name": "Invoice created", "payload": {"n": 0}}
    answer = await crew.person.send("POST", f"/projects/{crew.project}/sdk/events/trigger", json=body)
    (run_id,) = answer.json["workflowExecutionIds"]
    assert (await crew.ended(run_id)).state == FAILED
    assert [one["id"] for one in await command("runs", "list", "--state", "failed")] == [run_id]
    shown = await command("runs", "show", run_id)
    assert (shown["input"], shown["steps"][0]["state"]) == ({"event": {"n": 0}}, FAILED)
    assert "very secret" not in str(shown)
    assert await command("runs", "value", run_id, "keep", "--input") == {"parameters": {"n": 0, "key": "•••"}}

    file.write_text(INVOICE.replace("100 //", "100 //  1 or"))
    await command("workflows", "save", str(file), "--workflow", saved["id"])
    await command("workflows", "deploy", saved["id"])
    again = await command("runs", "replay", run_id, "--deployed")
    assert (await crew.ended(again["id"])).state == SUCCEEDED
    assert [one["number"] for one in await command("workflows", "versions", saved["id"])] == [2, 1]
    restored = await command("workflows", "restore", saved["id"], "1")
    assert "100 //  1 or" not in restored["draft"]["steps"][0]["code"]

    assert await command("secrets", "list") == ["KEY"]
    assert [one["name"] for one in await command("events", "list")] == ["Invoice created"]
    await command("secrets", "delete", "KEY")
    await command("workflows", "undeploy", saved["id"])
    await command("workflows", "delete", saved["id"])
    assert await command("workflows", "list") == []


async def test_what_cannot_run_is_told_with_its_place(crew: Crew, tmp_path: Path) -> None:
    file = tmp_path / "invoice.yaml"
    file.write_text(INVOICE)
    with pytest.raises(AssertionError):  # the exit code is 1
        await landbridge_run(crew.place.settings, "workflows", "check", str(file), "--project", crew.project)


async def test_a_run_that_waits_is_cancelled_from_the_terminal(crew: Crew) -> None:
    run = await crew.start(
        await crew.deploy("{name: Wait, trigger: {type: request}, steps: [{id: wait, type: delay, value: 1}]}")
    )
    await crew.until(lambda: _waits(crew, run.id))
    command = ("runs", "cancel", run.id, "--project", crew.project)
    assert (await landbridge_run(crew.place.settings, *command))["state"] == "cancelled"


async def _waits(crew: Crew, run_id: str) -> bool:
    return await crew.state(run_id) == WAITING


def _with(folder: Path, text: str) -> Path:
    file = folder / "example.json"
    file.write_text(text)
    return file


async def test_a_draft_is_tested_from_the_terminal_step_by_step_in_plain_words(crew: Crew, tmp_path: Path) -> None:
    definition = Workflow.from_yaml(INVOICE.replace(', key: "{{ secrets.KEY }}"', "") + AND_FAIL)
    await crew.place.house.deployments.put_event(crew.project, "Invoice created", {"n": 4}, None)
    workflow = await crew.place.house.deployments.create(crew.project, definition)

    code, told = await _told(
        crew, "workflows", "test", workflow.id, "--project", crew.project, "--user", crew.person.id
    )

    assert code == 1
    assert re.search(
        r"\nkeep: succeeded after \d+\.\d s\.\n    given .*\"n\": 4.*\n    gave \{\"result\": 25\}\n", told
    )
    assert re.search(r"\nfail: failed after \d+\.\d s: .*ZeroDivisionError", told)
    assert re.search(r"\nThe test failed after \d+\.\d s: .*ZeroDivisionError.*\n$", told)


async def _told(crew: Crew, *command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "landbridge", *command),
        env=environment(crew.place.settings),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()
