"""Secrets that go through runs are looked for everywhere that runs write to, in every spelling, and are not found."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import pytest
from tests.integrations.landbridge import Place, Process
from tests.integrations.peer import Asked, peer
from tests.integrations.test_canaries import contents_of, spellings
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import FAILED, SUCCEEDED
from landbridge.store.sealed import identity

SECRET = "canary~Client.Secret-0123456789+abc/def="
TOKEN = "eyJhbGciOiJub25lIn0.eyJjYW5hcnkiOiJ3b3JrZmxvd3MifQ.c2lnbmF0dXJlLW9mLWEtY2FuYXJ5"
SIGNED = "https://public.example/a.txt?tempauth=canary-of-a-url-that-needs-no-token-0123456789"

LEAKY = """
name: Use a secret wherever one may
trigger: {type: request}
steps:
  - {id: home, type: action, action: create_folder, input: {name: "Home"}}
  - id: call
    type: request
    method: POST
    url: "%s/x"
    params: {key: "{{ secrets.CANARY }}"}
    headers: {X-Key: "{{ secrets.CANARY }}"}
    auth: {type: bearer, token: "{{ secrets.CANARY }}"}
    body: {type: json, value: {inner: ["{{ secrets.CANARY }}"]}}
  - id: work
    type: function
    code: |
      def run(parameters):
          print(parameters['key'])
          return {'again': parameters['key'], 'downloadUrl': parameters['url'], 'long': parameters['key'] * 1000}
    parameters: {key: "{{ secrets.CANARY }}", url: "{{ steps.call.response.body.uploadUrl }}"}
  - id: fail
    type: function
    code: "def run(parameters): raise ValueError(parameters['key'])"
    parameters: {key: "{{ secrets.CANARY }}"}
    %s
"""


async def _echo(asked: Asked) -> None:
    """Answer with what was sent, and with what else must not be kept."""
    await asked.read()
    body = {"given": asked.body.decode(), "sent": asked.header("X-Key"), "token": TOKEN, "note": f"Bearer {TOKEN}"}
    body |= {"uploadUrl": SIGNED, "@microsoft.graph.downloadUrl": SIGNED}
    await asked.answer(200, json.dumps(body).encode(), Set_Cookie=TOKEN)


@pytest.mark.parametrize("ending", ["", "continueOnError: true"])
async def test_no_secret_of_a_run_is_written_or_shown_in_any_spelling(landbridge: Place, ending: str) -> None:
    crew = Crew(landbridge, *await landbridge.connected())
    await crew.place.house.deployments.put_secret(crew.project, "CANARY", SECRET)
    talkative = landbridge.settings.model_copy(update={"log_level": "debug"})
    async with peer() as echo:
        echo.script = _echo
        with contextlib.closing(Process(talkative, "worker")) as worker:
            run = await crew.start(await crew.deploy(LEAKY % (echo.url, ending)))
            ended = await crew.ended(run.id)
            assert ended.state == (SUCCEEDED if ending else FAILED)
            assert SECRET.encode() in echo.asked[0].body
            worker.signal(signal.SIGTERM)
            worker.ended()

    executions = f"/task-history/workflow-executions/{run.id}"
    paths = ("/runs", f"/runs/{run.id}", executions, *(f"{executions}/step-executions/{s}" for s in ("call", "work")))
    places = {path: (await crew.operate("GET", path)).body for path in paths}
    folder = crew.place.settings.data_dir
    places |= {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    url = crew.place.settings.effective_database_url
    if url.startswith("postgresql"):
        places["the database"] = await contents_of(url)
    else:
        file = Path(url.removeprefix("sqlite:///"))
        places |= {str(one): one.read_bytes() for one in file.parent.glob(f"{file.name}*")}

    assert any(run.id.encode() in text for name, text in places.items() if "/runs" not in name)
    assert '"level": "debug"' in worker.log.read_text()
    assert b"\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2" in places[f"/runs/{run.id}"]
    found = [
        (where, spelling[:60])
        for secret in (SECRET, TOKEN, SIGNED, *await _tokens(crew))
        for spelling in spellings(secret)
        for where, text in places.items()
        if spelling in text
    ]
    assert not found


ECHO = """
name: Give back what is secret
trigger: {type: request}
steps:
  - id: echo
    type: function
    code: "def run(p): return {'text': p['key'], 'number': int(p['pin']), 'in ' + p['key']: [p['key'] + p['longer']]}"
    parameters: {key: "{{ secrets.KEY }}", pin: "{{ secrets.PIN }}", longer: "{{ secrets.LONGER }}"}
"""

ASK = """
name: Ask another workflow
trigger: {type: request}
steps:
  - {id: ask, type: runWorkflow, workflow: %s}
  - {id: use, type: function, code: "def run(p): return p", parameters: {given: "{{ steps.ask.result }}"}}
  - id: each
    type: fanOut
    over: ["{{ steps.ask.result.result.text }}"]
    steps:
      - id: fail
        type: function
        code: "def run(p): raise ValueError(p['item'])"
        parameters: {item: "{{ item }}"}
"""


async def test_a_secret_that_another_workflow_gives_back_is_masked_wherever_it_goes(crew: Crew) -> None:
    secrets = {"KEY": "very-secret-1", "LONGER": "very-secret-1-with-a-tail", "PIN": "73391245"}
    for name, value in secrets.items():
        await crew.place.house.deployments.put_secret(crew.project, name, value)
    echo = await crew.deploy(ECHO)
    run = await crew.ended((await crew.start(await crew.deploy(ASK % echo.workflow.id))).id)

    shown = {id_: await crew.shown(f"/runs/{id_}") for id_ in (run.id, f"{run.id}:ask:0", f"{run.id}:each:0")}
    masked = {"text": "•••", "number": "•••", "in •••": ["••••••"]}
    given_back = {step["step"]: step["output"] for one in shown.values() for step in one["steps"]}
    assert given_back["echo"] == given_back["ask"]["result"] == {"result": masked}
    assert given_back["use"] == {"result": {"given": {"result": masked}}}
    assert shown[f"{run.id}:each:0"]["input"] == "•••"
    assert "ValueError: •••" in shown[run.id]["error"]["message"]
    assert not [value for value in secrets.values() if value in json.dumps(shown)]


async def test_a_secret_has_a_value(crew: Crew) -> None:
    for value in ("", " "):
        answer = await crew.operate("PUT", "/secrets/KEY", json={"value": value})
        assert (answer.status, answer.code) == (400, "invalid_request")
    assert await crew.shown("/secrets") == []


async def _tokens(crew: Crew) -> list[str]:
    """Return the tokens with which the run called Microsoft."""
    row = (await crew.whose()).connection
    house = crew.place.house
    assert row.sealed_tokens
    opened = json.loads(house.vault.open(row.sealed_tokens, identity("connections", row.project_id, row.id)))
    tokens = [opened["access_token"], opened["refresh_token"]]
    assert min(map(len, tokens)) > 20
    return tokens
