"""Runs, from a cause to what came of them, with the sandbox and both databases."""

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
