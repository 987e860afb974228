"""Workflows that start by themselves: at the hours of a schedule, and once when an account is connected."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, insert, select
from tests.integrations.landbridge import Place
from tests.integrations.workflows.crew import Crew, working
from tests.store import rows

from landbridge.app import House
from landbridge.errors import InvalidRequest
from landbridge.store import history, workflows
from landbridge.store.history import Filter
from landbridge.store.runs import SUCCEEDED, RunRow
from landbridge.store.tables import appointments, configurations, connected_users, connections, values_of
from landbridge.workflows.appointments import Appointments
from landbridge.workflows.definition import Workflow
from landbridge.workflows.deployments import Deployed

DAILY = """
name: Every morning
trigger: {type: scheduler, cron: "0 9 * * *", timezone: %s}
steps:
  - {id: end, type: stop, message: "{{ trigger.scheduledAt }}"}
"""

WELCOME = """
name: Make a folder for us
trigger: {type: integrationEnabled}
settings: [{id: folder, title: Name of the folder}]
steps:
  - {id: make, type: action, action: create_folder, input: {name: "{{ settings.folder }}"}}
"""


@pytest.fixture
async def alone(landbridge: Place) -> Crew:
    """A connected user, and no worker: the test does what one would."""
    landbridge.clock.jump(timedelta(minutes=(90 - landbridge.clock.now().minute) % 60))  # no hour is about to strike
    person, connection_id = await landbridge.connected()
    return Crew(landbridge, person, connection_id)


def _rooms(house: House, clock: Any) -> Appointments:  # Any: a clock
    return Appointments(house.database, house.deployments, house.runs, clock)


async def _runs(crew: Crew, deployed: Deployed) -> list[RunRow]:
    async with crew.place.house.database.read() as tx:
        return await history.page(tx, Filter(crew.project, deployed.workflow.id), limit=100, beyond=None)


async def _arranged(crew: Crew) -> None:
    await crew.place.house.appointments.arrange()


async def _kept(crew: Crew) -> int:
    return await crew.place.house.appointments.keep()


async def _passes(crew: Crew, **duration: int) -> int:
    """Let time pass, and return how many runs start."""
    crew.place.clock.jump(timedelta(**duration))
    return await _kept(crew)


async def _switch(crew: Crew, deployed: Deployed, *, on: bool) -> None:
    person = replace(crew.person, token=await crew.place.token(crew.project, crew.person.id))
    assert (await person.sdk("POST" if on else "DELETE", f"/workflows/{deployed.workflow.id}")).status == 200


async def test_a_schedule_starts_a_run_at_each_of_its_times_and_says_at_which(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % "UTC")
    await _arranged(alone)
    assert await _kept(alone) == 0
    assert [await _passes(alone, days=1) for _ in range(3)] == [1, 1, 1]
    assert await _kept(alone) == 0
    runs = await _runs(alone, deployed)
    async with working(alone.place):
        times = [(await alone.ended(run.id), (await alone.output(run.id))["message"]) for run in runs]
    assert {row.state for row, _ in times} == {SUCCEEDED}
    found = sorted(datetime.fromisoformat(text) for _, text in times)
    assert {time.strftime("%H:%M:%S") for time in found} == {"09:00:00"}
    assert found[2] - found[0] == timedelta(days=2)


async def test_what_was_missed_while_no_worker_ran_is_made_up_for_once(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % "UTC")
    await _arranged(alone)
    assert await _passes(alone, days=30) == 1
    (run,) = await _runs(alone, deployed)
    assert alone.place.clock.now() - await _time_of(alone, run) < timedelta(days=1)
    assert await _passes(alone, days=1) == 1


async def _time_of(crew: Crew, run: RunRow) -> datetime:
    given = crew.place.house.sealing.open(run, run.sealed_input)
    return datetime.fromisoformat(given["trigger"]["scheduledAt"])


async def test_two_workers_that_look_at_the_same_moment_start_one_run(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % "UTC")
    crews = [_rooms(alone.place.house, alone.place.clock) for _ in range(4)]
    await asyncio.gather(*(one.arrange() for one in crews))
    for day in range(1, 4):
        alone.place.clock.jump(timedelta(days=1))
        assert sum(await asyncio.gather(*(one.keep() for one in crews))) == 1
        assert len(await _runs(alone, deployed)) == day


async def test_a_schedule_runs_for_each_user_who_has_it_on_in_their_own_time_zone(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % '"{{ user.metadata.zone }}"')
    zones = {"Asia/Tokyo": 0, "Pacific/Apia": 20, "nowhere": 9, "": 9}
    for zone in zones:
        person, _ = await alone.place.connected(alone.project)
        await person.sdk("PATCH", "/me", json={"meta": {"zone": zone}})
    await _switch(alone, deployed, on=False)
    await _arranged(alone)
    for _ in range(24):
        await _passes(alone, hours=1)
    hours = sorted([(await _time_of(alone, run)).hour for run in await _runs(alone, deployed)])
    assert hours == sorted(zones.values())


async def test_a_user_who_moves_to_another_time_zone_is_served_by_its_clock(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % '"{{ user.metadata.zone }}"')
    await _arranged(alone)
    await alone.person.sdk("PATCH", "/me", json={"meta": {"zone": "Asia/Tokyo"}})
    await _arranged(alone)
    assert await _passes(alone, days=1) == 1
    (run,) = await _runs(alone, deployed)
    assert (await _time_of(alone, run)).hour == 0


async def test_nothing_starts_where_it_is_switched_off_or_taken_back(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % "UTC")
    await _arranged(alone)
    await _switch(alone, deployed, on=False)
    assert await _passes(alone, days=1) == 0
    await _switch(alone, deployed, on=True)
    await _arranged(alone)
    assert await _passes(alone, days=1) == 1
    await alone.place.house.deployments.undeploy(alone.project, deployed.workflow.id)
    await alone.place.house.database.catch_up()
    assert await _passes(alone, days=2) == 0


async def test_a_new_version_is_kept_to_from_then_on(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % "UTC")
    await _arranged(alone)
    deployments = alone.place.house.deployments
    hourly = Workflow.from_yaml((DAILY % "UTC").replace("0 9 * * *", "30 * * * *"))
    await deployments.save(alone.project, deployed.workflow.id, hourly)
    await deployments.deploy(alone.project, deployed.workflow.id)
    await alone.place.house.database.catch_up()
    await _arranged(alone)
    assert [await _passes(alone, hours=1) for _ in range(3)] == [1, 1, 1]


async def test_a_schedule_that_is_none_is_refused_when_it_is_saved() -> None:
    with pytest.raises(InvalidRequest, match="hours"):
        Workflow.from_yaml((DAILY % "UTC").replace("0 9", "0 25"))
    with pytest.raises(InvalidRequest, match="no time zone"):
        Workflow.from_yaml(DAILY % "Mars/Olympus")


async def test_a_user_who_connects_is_welcomed_once_and_only_when_all_is_filled_in(crew: Crew) -> None:
    deployed = await crew.deploy(WELCOME)
    newcomer, connection_id = await crew.place.connected(crew.project)
    await _arranged(crew)
    await _kept(crew)
    assert await _runs(crew, deployed) == []
    config = {"sharedSettings": {"folder": "From us"}}
    answer = await newcomer.sdk("PATCH", f"/credentials/{connection_id}", json={"config": config})
    assert answer.status == 200, answer.body
    await crew.until(lambda: _have_begun(crew, deployed, 1))
    (run,) = await _runs(crew, deployed)
    assert (run.user_id, (await crew.ended(run.id)).state) == (newcomer.id, SUCCEEDED)
    assert "From us" in await crew.names()


async def test_and_not_again_when_they_sign_in_anew_or_switch_it_off_and_on(alone: Crew) -> None:
    deployed = await alone.deploy(WELCOME.replace("}]", ", default: Ours}]"))
    await _arranged(alone)
    assert [await _kept(alone), await _kept(alone)] == [1, 0]
    await alone.person.connect()
    await _switch(alone, deployed, on=False)
    await _arranged(alone)
    assert await _passes(alone, hours=1) == 0
    await _switch(alone, deployed, on=True)
    await _arranged(alone)
    assert await _passes(alone, hours=1) == 0


async def test_it_runs_when_a_user_who_is_connected_switches_it_on(crew: Crew) -> None:
    definition = Workflow.from_yaml(WELCOME.replace("}]", ", default: Ours}]"))
    row = await crew.place.house.deployments.create(crew.project, definition)
    await crew.place.house.deployments.deploy(crew.project, row.id)
    deployed = await crew.place.house.deployments.find(crew.project, row.id)
    await _arranged(crew)
    assert await _kept(crew) == 0
    await _switch(crew, deployed, on=True)
    await crew.until(lambda: _have_begun(crew, deployed, 1))


async def _have_begun(crew: Crew, deployed: Deployed, number: int) -> bool:
    return len(await _runs(crew, deployed)) == number


async def test_many_users_are_looked_through_once_and_written_down_some_at_a_time(alone: Crew) -> None:
    deployed = await alone.deploy(DAILY % '"{{ user.metadata.zone }}"')
    house, many = alone.place.house, 450
    project = await house.projects.get(alone.project)
    users = [rows.user(project, user_id=f"user {number}", meta={"zone": "Asia/Tokyo"}) for number in range(many)]
    accounts = [rows.connection(project, user_id=user.user_id) for user in users]
    async with house.database.begin() as tx:
        for table, made in (
            (connected_users, users),
            (connections, accounts),
            (configurations, [rows.configuration(account) for account in accounts]),
        ):
            await tx.execute(insert(table), [values_of(row) for row in made])
    asked: list[str] = []
    event.listen(house.database.engine.sync_engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    await _arranged(alone)

    async with house.database.read() as tx:
        found = await tx.execute(
            select(appointments.c.due_at).where(appointments.c.workflow_id == deployed.workflow.id)
        )
        hours = Counter(due_at.hour for due_at in found.scalars())
    assert hours == {0: many, 9: 1}
    assert sum("LEFT OUTER JOIN appointments" in statement for statement in asked) == 1
    assert sum(statement.startswith("INSERT INTO appointments") for statement in asked) == 3


async def test_what_cannot_be_kept_holds_up_nothing_else(alone: Crew) -> None:
    broken = await alone.deploy(DAILY % "UTC")
    stranger = Crew(alone.place, *await alone.place.connected(email="grace@contoso.example"))
    sound = await stranger.deploy(DAILY % "UTC")
    await _arranged(alone)
    definition = {"format": 2, "trigger": {"type": "scheduler"}}
    unreadable = replace(broken.version, id=str(uuid4()), number=2, definition=definition)
    async with alone.place.house.database.begin() as tx:
        await workflows.insert_version(tx, unreadable)
        await workflows.update_workflow(tx, broken.workflow, deployed_version_id=unreadable.id)

    assert await _passes(alone, days=1) == 1
    await stranger.deploy(DAILY % "UTC")
    await _arranged(alone)
    assert await _passes(alone, days=1) == 2
    assert len(await _runs(stranger, sound)) == 2
