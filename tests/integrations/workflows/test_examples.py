"""The workflows in `examples` do what they say, to the drive."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from scripts.setup import TREE
from tests.integrations.person import Answer, Person
from tests.integrations.workflows.crew import Crew

from landbridge.store import history
from landbridge.store.history import Filter
from landbridge.store.runs import FAILED, OVER, SUCCEEDED, RunRow
from landbridge.workflows.definition import Workflow
from landbridge.workflows.deployments import Deployed

FOLDER = TREE / "examples" / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


async def _deploy(crew: Crew, name: str) -> Deployed:
    return await crew.deploy((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


async def _ask(crew: Crew, deployed: Deployed, **options: Any) -> Answer:
    return await crew.person.sdk("POST", f"/triggers/{deployed.workflow.id}", **options)


async def _put(person: Person, path: str, data: bytes) -> str:
    answer = await person.call(f"/me/drive/root:/{quote(path)}:/content", "PUT", data=io.BytesIO(data))
    assert answer.status in {200, 201}, answer.body
    found: str = answer.json["output"]["id"]
    return found


async def _text(person: Person, path: str) -> str:
    answer = await person.call(f"/me/drive/root:/{quote(path)}:/content")
    assert answer.status == 200, answer.body
    return answer.body.decode()


async def _names(person: Person, path: str) -> list[str]:
    answer = await person.call(f"/me/drive/root:/{quote(path)}:/children")
    return sorted(item["name"] for item in answer.json["output"]["value"]) if answer.status == 200 else []


async def _run_of(crew: Crew, deployed: Deployed) -> RunRow:
    """Return the run of a workflow that starts by itself, once there is one and it is over."""
    found: list[RunRow] = []

    async def is_over() -> bool:
        async with crew.place.house.database.read() as tx:
            found[:] = await history.page(tx, Filter(crew.project, deployed.workflow.id), limit=1, beyond=None)
        return bool(found) and found[0].state in OVER

    await crew.until(is_over)
    assert (found[0].state, found[0].error) == (SUCCEEDED, None)
    return found[0]


async def _scheduled(crew: Crew, deployed: Deployed, ahead: timedelta) -> RunRow:
    """Let time pass until a schedule is due."""
    await crew.place.house.appointments.arrange()
    crew.place.clock.jump(ahead)
    return await _run_of(crew, deployed)


def test_the_page_of_examples_names_each_of_them_and_each_begins_with_what_it_is_for() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(NAMES) >= 6
    assert [name for name in NAMES if f"[{name}.yaml]({name}.yaml)" not in page] == []
    assert all((FOLDER / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_means_the_same_when_it_was_written_anew(name: str) -> None:
    workflow = Workflow.from_yaml((FOLDER / f"{name}.yaml").read_bytes())
    assert Workflow.from_yaml(workflow.to_yaml()) == workflow == Workflow.from_json(workflow.to_json())


async def test_an_upload_goes_to_the_users_onedrive_and_the_page_is_told_where(crew: Crew) -> None:
    deployed = await _deploy(crew, "upload")
    contents = b"0123456789abcdef" * (1 << 18)  # too long to be sent at once
    for _ in range(2):
        form = aiohttp.FormData()
        form.add_field("paragon-file", io.BytesIO(contents), filename="photo.jpg", content_type="image/jpeg")
        answer = await _ask(crew, deployed, data=form)
        assert answer.status == 201, answer.body
    first, second = await _names(crew.person, "Uploads")
    assert "photo.jpg" in {first, second}
    assert answer.json["name"] in {first, second} - {"photo.jpg"}
    downloaded = await crew.person.call(f"/me/drive/items/{answer.json['id']}/content")
    assert downloaded.body == contents


async def test_a_report_of_the_night_takes_the_place_of_that_of_the_night_before(crew: Crew) -> None:
    await _put(crew.person, "Documents/small.txt", b"1")
    await _put(crew.person, "Documents/large.txt", b"1" * 100_000)
    deployed = await _deploy(crew, "nightly-report")
    run = await _scheduled(crew, deployed, timedelta(days=1))
    person = await crew.anew()
    report = await _text(person, "Report.md")
    given = crew.place.house.sealing.open(run, run.sealed_input)
    assert report.startswith(f"# Report of {given['trigger']['scheduledAt'][:10]}\n\n- large.txt: 100000 bytes\n")
    assert "- small.txt: 1 bytes\n" in report
    assert [name for name in await crew.names() if name.startswith("Report")] == ["Report.md"]


async def test_what_others_share_is_copied_and_what_they_took_back_keeps_nothing_up(crew: Crew) -> None:
    theirs, _ = await crew.place.connected(crew.project, email="grace@contoso.example")
    await _put(theirs, "Plans/inner.txt", b"hers")
    await _put(theirs, "Gone/inner.txt", b"hers")
    for name in ("Plans", "Gone"):
        item = (await theirs.call(f"/me/drive/root:/{name}")).json["output"]
        invited = {"recipients": [{"email": "ada@contoso.example"}], "roles": ["read"], "requireSignIn": True}
        answer = await theirs.call(f"/me/drive/items/{item['id']}/invite", "POST", json=invited)
        assert answer.status == 200, answer.body
        there = {"id": item["id"], "parentReference": {"driveId": item["parentReference"]["driveId"]}}
        shortcut = await crew.person.call("/me/drive/root/children", "POST", json={"name": name, "remoteItem": there})
        assert shortcut.status == 201, shortcut.body
    assert (await theirs.call(f"/me/drive/items/{item['id']}", "DELETE")).status in {200, 204}
    await crew.place.house.deployments.put_event(crew.project, "Copies wanted", {}, None)
    deployed = await _deploy(crew, "copy-shared")
    event = {"name": "Copies wanted", "payload": {}}
    answer = await crew.person.send("POST", f"/v2/projects/{crew.project}/sdk/events/trigger", json=event)
    assert answer.status == 201
    run = await _run_of(crew, deployed)
    assert await _names(crew.person, "Copies") == ["Plans"]
    assert await _text(crew.person, "Copies/Plans/inner.txt") == "hers"
    results = (await crew.output(run.id))["results"]
    assert "Plans" in results
    assert [one["error"]["step"] for one in results if isinstance(one, dict)] == ["copy"]


async def test_each_file_of_a_folder_gets_its_link_in_the_order_of_the_folder(crew: Crew) -> None:
    for name in ("b", "a", "d", "c"):
        await _put(crew.person, f"Papers/{name}.txt", b"text")
    deployed = await _deploy(crew, "links")
    answer = await _ask(crew, deployed, json={"folder": "Papers"})
    assert answer.status == 200, answer.body
    links = answer.json["links"]
    listed = await crew.person.call("/me/drive/root:/Papers:/children")
    assert [one["name"] for one in links] == [item["name"] for item in listed.json["output"]["value"]]
    assert len({one["url"] for one in links}) == 4
    page = await _text(crew.person, "Links to Papers.md")
    assert page == "".join(f"- [{one['name']}]({one['url']})\n" for one in links)


@pytest.mark.parametrize("is_approved", [True, False])
async def test_what_is_approved_within_two_days_is_published_and_else_it_is_not(crew: Crew, is_approved: bool) -> None:
    draft = await _put(crew.person, "Drafts/plan.txt", b"the plan")
    await _put(crew.person, "Approved/earlier.txt", b"another")
    deployed = await _deploy(crew, "approval")
    answer = await _ask(crew, deployed, json={"name": "plan.txt"})
    assert answer.status == 202, answer.body
    run = answer.json["run"]
    if is_approved:
        approved = (await crew.person.call("/me/drive/root:/Approved")).json["output"]["id"]
        moved = {"parentReference": {"id": approved}}
        assert (await crew.person.call(f"/me/drive/items/{draft}", "PATCH", json=moved)).status == 200
    await crew.until(lambda: _waits(crew))
    crew.place.clock.jump(timedelta(days=2))
    assert (await crew.ended(run)).state == SUCCEEDED
    person = await crew.anew()
    published, drafts = await _names(person, "Published"), await _names(person, "Drafts")
    if is_approved:
        assert (published, drafts) == (["plan.txt"], [])
    else:
        assert (published, drafts) == ([], ["plan.txt", "plan.txt.rejected.txt"])


async def _waits(crew: Crew) -> bool:
    return bool(await crew.waiting())


async def test_a_draft_that_is_not_there_fails_and_the_caller_is_told_where(crew: Crew) -> None:
    deployed = await _deploy(crew, "approval")
    answer = await _ask(crew, deployed, json={"name": "nothing.txt"})
    assert (answer.status, answer.code) == (500, "run_failed")
    assert answer.json["meta"]["error"]["step"] == "ask"
    assert (await crew.row(answer.json["meta"]["executionId"])).state == FAILED


async def test_only_the_newest_versions_of_each_file_stay(crew: Crew) -> None:
    files = {}
    for name, number in (("often.txt", 6), ("once.txt", 1)):
        for version in range(number):
            files[name] = await _put(crew.person, f"Documents/{name}", b"version %d" % version)
    deployed = await _deploy(crew, "old-versions")
    run = await _scheduled(crew, deployed, timedelta(days=7))
    person = await crew.anew()
    kept = {}
    for name, id_ in files.items():
        answer = await person.call(f"/me/drive/items/{id_}/versions")
        kept[name] = [version["id"] for version in answer.json["output"]["value"]]
    assert (len(kept["often.txt"]), len(kept["once.txt"])) == (3, 1)
    assert await _text(person, "Documents/often.txt") == "version 5"
    deleted = {one["name"]: one["deleted"] for one in (await crew.output(run.id))["results"]}
    assert (len(deleted["often.txt"]), deleted["once.txt"]) == (3, [])
    assert not set(deleted["often.txt"]) & set(kept["often.txt"])
