"""Actions as tools over HTTP, as programs that know Paragon's ActionKit call them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integrations.landbridge import Place
from tests.integrations.person import Answer, Person

NINE = {
    "ONEDRIVE_SAVE_FILE",
    "ONEDRIVE_GET_FILE_BY_ID",
    "ONEDRIVE_LIST_CONTENTS",
    "ONEDRIVE_CREATE_FOLDER",
    "ONEDRIVE_GET_FOLDER_BY_ID",
    "ONEDRIVE_SEARCH_FOLDERS",
    "ONEDRIVE_MOVE_FOLDER",
    "ONEDRIVE_DELETE_FOLDER",
}
"""Those of ActionKit's nine that are listed; `ONEDRIVE_DOWNLOAD_FILE` is Get File by another name."""


@pytest.fixture
def database_url(tmp_path: Any) -> str:
    """One kind of database is enough: what differs between them is below."""
    return f"sqlite:///{tmp_path / 'landbridge.db'}"


async def tools(person: Person, query: str = "") -> Answer:
    return await person.send("GET", f"/projects/{person.project}/actions{query}")


async def use(person: Person, action: str, **parameters: Any) -> Answer:
    body = {"action": action, "parameters": parameters}
    return await person.send("POST", f"/projects/{person.project}/actions", json=body)


async def test_tools_are_listed_as_functions_with_schemas_under_the_names_that_are_known(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    listed = (await tools(person)).json

    functions = {tool["function"]["name"]: tool["function"] for tool in listed["actions"]["onedrive"]}
    assert set(functions) >= NINE
    assert listed["errors"] == []
    save = functions["ONEDRIVE_SAVE_FILE"]
    assert save["description"].startswith("Save a file into a folder.")
    assert save["parameters"]["required"] == ["file"]
    assert save["parameters"]["$defs"]["File"]["required"] == ["name", "data"]
    assert "ONEDRIVE_REQUEST" in functions


async def test_tools_are_listed_as_forms_for_those_who_draw_them(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    listed = (await tools(person, "?format=paragon")).json

    forms = {form["name"]: form for form in listed["actions"]["onedrive"]}
    inputs = {one["id"]: one for one in forms["ONEDRIVE_SAVE_FILE"]["inputs"]}
    assert forms["ONEDRIVE_SAVE_FILE"]["title"] == "Save File"
    assert inputs["conflictBehavior"]["type"] == "ENUM"
    assert [one["value"] for one in inputs["conflictBehavior"]["values"]] == ["fail", "rename", "replace"]
    assert (inputs["file"]["type"], inputs["file"]["required"]) == ("FILE", True)
    assert {one["id"]: one["type"] for one in forms["ONEDRIVE_GET_FILE_BY_ID"]["inputs"]}["withContent"] == "SWITCH"


async def test_only_what_is_available_is_listed_to_whoever_asks_so(landbridge: Place) -> None:
    person = await landbridge.person()

    everything, available = await tools(person), await tools(person, "?limit_to_available=true")
    others = await tools(person, "?integrations=salesforce")

    assert set(everything.json["actions"]) == {"onedrive"}
    assert available.json["actions"] == {}
    assert others.json == {"actions": {}, "errors": ["salesforce is not set up in this project"]}


async def test_a_file_is_saved_listed_and_downloaded_in_hexadecimal(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    folder = await use(person, "ONEDRIVE_CREATE_FOLDER", name="Box")
    saved = await use(
        person,
        "ONEDRIVE_SAVE_FILE",
        file={"name": "a.txt", "data": b"hello".hex(), "mimeType": "text/plain"},
        folderId=folder.json["id"],
    )
    listed = await use(person, "onedrive_list_contents", folderId=folder.json["id"])
    fetched = await use(person, "ONEDRIVE_DOWNLOAD_FILE", fileId=saved.json["id"])

    assert [item["name"] for item in listed.json["value"]] == ["a.txt"]
    assert fetched.json["content"] == {
        "dataType": "FILE",
        "name": "a.txt",
        "mimeType": "text/plain",
        "size": 5,
        "encoding": "hex",
        "data": b"hello".hex(),
    }


async def test_lists_are_paged_by_the_parameters_that_programs_know(landbridge: Place) -> None:
    person, _ = await landbridge.connected()
    for number in range(3):
        await use(person, "ONEDRIVE_CREATE_FOLDER", name=f"{number}", folderPath="Documents")

    first = await use(person, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents", pageSize=2)
    cursor = first.json["nextPageCursor"]
    second = await use(
        person, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents", paginationParameters={"pageCursor": cursor}
    )

    assert len(first.json["value"]) == 2
    assert {item["id"] for item in first.json["value"]}.isdisjoint(item["id"] for item in second.json["value"])


@pytest.mark.parametrize(
    ("action", "parameters", "status", "code"),
    [
        ("ONEDRIVE_NOTHING", {}, 404, "not_found"),
        ("ONEDRIVE_CREATE_FOLDER", {}, 400, "invalid_request"),
        ("ONEDRIVE_CREATE_FOLDER", {"name": "a:b"}, 400, "name_not_allowed"),
        ("ONEDRIVE_GET_FOLDER_BY_ID", {"folderId": "nothing"}, 404, "item_not_found"),
        ("ONEDRIVE_CREATE_FOLDER", {"name": "a", "paginationParameters": {"pageCursor": "x"}}, 400, "invalid_request"),
        ("ONEDRIVE_SAVE_FILE", {"file": {"name": "a", "data": "zz"}}, 400, "invalid_request"),
    ],
)
async def test_what_goes_wrong_is_said_in_the_documented_shape(
    landbridge: Place, action: str, parameters: dict[str, Any], status: int, code: str
) -> None:
    person, _ = await landbridge.connected()

    said = await use(person, action, **parameters)

    assert (said.status, said.json["code"], said.json["status"]) == (status, code, status)
    assert said.json["meta"]["remedy"]


async def test_a_call_leaves_neither_files_nor_checkpoints_behind(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    await use(person, "ONEDRIVE_SAVE_FILE", file={"name": "a.txt", "data": "00"}, conflictBehavior="fail")

    kept = landbridge.settings.data_dir / "files"
    assert [path for path in kept.rglob("*") if path.is_file()] == []


async def test_nobody_uses_tools_without_a_token_or_an_account(landbridge: Place) -> None:
    person = await landbridge.person()

    stranger = await person.send("GET", f"/projects/{person.project}/actions", headers={"Authorization": "Bearer x"})
    unconnected = await use(person, "ONEDRIVE_LIST_CONTENTS")

    assert stranger.status == 401
    assert (unconnected.status, unconnected.json["code"]) == (404, "not_connected")
