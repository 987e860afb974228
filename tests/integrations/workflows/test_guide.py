"""The guide to workflows works as it is written."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest
from scripts.setup import TREE
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import SUCCEEDED
from landbridge.workflows.definition import Workflow

GUIDE = TREE / "docs" / "how-to" / "workflows.md"


async def test_the_workflow_on_the_front_page_could_be_deployed(crew: Crew) -> None:
    (definition,) = re.findall(r"```yaml\n(.*?)```", (TREE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert await crew.place.house.deployments.problems(crew.project, Workflow.from_yaml(definition)) == []


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="the guide's commands need curl and jq")
async def test_every_command_of_the_guide_does_what_it_says(crew: Crew, tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    (definition,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "hello.yaml").write_text(definition, encoding="utf-8")
    commands = "set -eu\n" + "echo\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    _, key = await crew.place.house.projects.create_api_key("guide")
    given = {
        "URL": crew.place.url,
        "PROJECT": crew.project,
        "KEY": key,
        "USER_ID": crew.person.id,
        "TOKEN": crew.person.token,
    }

    shell = await asyncio.create_subprocess_exec(
        *("sh", "-c", commands),
        cwd=tmp_path,
        env={**os.environ, **given},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = (stream.decode() for stream in await shell.communicate())

    assert shell.returncode == 0, (out, err)
    assert out.startswith("[]")
    assert out.count('["words","succeeded",{"result":"Hello Ada!"}]') == 2
    assert '"said":"Hello Ada!"' in out
    assert "succeeded\nfolder: succeeded, 1 attempt(s)\nwords: succeeded, 1 attempt(s)\nanswer: succeeded" in out
    again = [run for run in await crew.runs() if run.replay_of]
    assert len(again) == 1
    assert (await crew.ended(again[0].id)).state == SUCCEEDED
