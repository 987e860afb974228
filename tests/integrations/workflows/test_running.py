"""Runs, from a cause to what came of them, with the sandbox and both databases."""

from tests.integrations.peer import Asked, peer
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import FAILED, SUCCEEDED

TIDY = """
name: Make a folder unless it is Sunday
trigger: {type: request}
steps:
  - id: day
    type: conditional
    if: [[{left: "{{ trigger.request.body.day }}", operator: $stringExactlyMatches, right: Sunday}]]
    then:
      - {id: rest, type: stop, message: It is Sunday.}
  - id: make
    type: action
    action: create_folder
    input: {name: "{{ trigger.request.body.day }}"}
  - id: look
    type: action
    action: get_folder_by_id
    input: {folderId: "{{ steps.make.result.id }}"}
"""

ODD = """
name: Ask an odd service
trigger: {type: request}
steps:
  - {id: call, type: request, method: GET, url: "%s/x"}
  - id: same
    type: function
    code: "def run(parameters): return parameters['it']"
    parameters: {it: "{{ steps.call.response.body }}"}
"""


async def test_a_run_does_its_steps_one_after_the_other_and_each_sees_what_those_before_it_gave(crew: Crew) -> None:
    deployed = await crew.deploy(TIDY)

    run = await crew.start(deployed, {"request": {"body": {"day": "Monday"}}})
    ended = await crew.ended(run.id)

    assert (ended.state, ended.error, ended.tasks) == (SUCCEEDED, None, 2)
    assert (await crew.output(run.id))["result"]["name"] == "Monday"
    steps = await crew.steps(run.id)
    assert [(row.step, row.state) for row in steps.values()] == [
        ("day", SUCCEEDED),
        ("make", SUCCEEDED),
        ("look", SUCCEEDED),
    ]
    assert steps["make"].input == {"input": {"name": "Monday"}}


async def test_a_condition_chooses_the_way(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(TIDY), {"request": {"body": {"day": "Sunday"}}})
    ended = await crew.ended(run.id)
    assert (ended.state, list(await crew.steps(run.id))) == (SUCCEEDED, ["day", "rest"])


async def test_a_step_that_fails_ends_the_run_and_says_why(crew: Crew) -> None:
    run = await crew.start(await crew.deploy(TIDY), {"request": {"body": {"day": "a/b"}}})
    ended = await crew.ended(run.id)
    assert ended.state == FAILED
    assert ended.error
    assert (ended.error["step"], ended.error["code"]) == ("make", "name_not_allowed")


async def test_half_a_character_that_a_service_sends_becomes_a_whole_one(crew: Crew) -> None:
    async def odd(asked: Asked) -> None:
        await asked.read()
        await asked.answer(200, rb'{"half \ud800": ["\ud83d\ude00", "\udc00"]}')

    async with peer() as service:
        service.script = odd
        run = await crew.start(await crew.deploy(ODD % service.url))
        ended = await crew.ended(run.id)
        assert (ended.state, ended.error) == (SUCCEEDED, None)

    whole = {"half \ufffd": ["😀", "\ufffd"]}
    assert (await crew.output(run.id))["result"] == whole
    steps = (await crew.shown(f"/runs/{run.id}"))["steps"]
    assert [step["output"] for step in steps][1] == {"result": whole}
