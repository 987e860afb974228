"""Actions as tools over HTTP, as programs that know Paragon's ActionKit call them."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.integrations.conftest import Server
from tests.integrations.landbridge import Place
from tests.integrations.person import Answer, Person
from yarl import URL

NINE = {
    "ONEDRIVE_SAVE_FILE",
    "ONEDRIVE_GET_FILE_BY_ID",
    "ONEDRIVE_LIST_CONTENTS",
    "ONEDRIVE_CREATE_FOLDER",
    "ONEDRIVE_GET_FOLDER_BY_ID",
    "ONEDRIVE_SEARCH_FOLDERS",
    "ONEDRIVE_MOVE_FOLDER",
    "ONEDRIVE_DELETE_FOLDER",
    "ONEDRIVE_DOWNLOAD_FILE",
}
"""What ActionKit has for OneDrive."""


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


async def post(person: Person, query: str = "", **options: Any) -> Answer:
    return await person.send("POST", f"/projects/{person.project}/actions{query}", **options)


def parts(contents: bytes, *, first: bool = False, **fields: str) -> aiohttp.FormData:
    """Return a multipart body, the file in front of the rest or after it."""
    form = aiohttp.FormData(quote_fields=False)
    for name, text in ({} if first else fields).items():
        form.add_field(name, text)
    form.add_field("paragon-file", io.BytesIO(contents), filename="Größe.bin", content_type="application/x-thing")
    for name, text in (fields if first else {}).items():
        form.add_field(name, text)
    return form


@pytest.mark.parametrize("first", [True, False])
async def test_a_file_comes_as_a_part_beside_the_parameters(landbridge: Place, first: bool) -> None:
    person, _ = await landbridge.connected()
    contents = bytes(range(256)) * 20_000  # 5 MB
    fields = {"action": "ONEDRIVE_SAVE_FILE", "parameters": json.dumps({"folderPath": "Documents"})}

    saved = await post(person, data=parts(contents, first=first, **fields))

    assert saved.json["name"] == "Größe.bin"
    assert saved.json["file"]["mimeType"]
    assert (await person.call("/me/drive/root:/Documents/Gr%C3%B6%C3%9Fe.bin:/content")).body == contents


async def test_a_file_comes_as_the_body_itself_and_goes_as_the_answer_itself(landbridge: Place) -> None:
    person, _ = await landbridge.connected()
    contents = bytes(range(256)) * 40_000  # 10 MB
    query = URL.build(query={"action": "ONEDRIVE_SAVE_FILE", "parameters": '{"name": "a.bin"}'}).raw_query_string

    saved = await post(person, f"?{query}", data=io.BytesIO(contents), headers={"Content-Type": "image/png"})
    raw = {"X-Paragon-Use-Raw-Response": "true"}
    asked = {"action": "ONEDRIVE_DOWNLOAD_FILE", "parameters": {"filePath": "a.bin"}}
    fetched = await post(person, json=asked, headers=raw)
    listed = await post(person, json={"action": "ONEDRIVE_LIST_CONTENTS"}, headers=raw)

    assert saved.json["name"] == "a.bin"
    assert (fetched.status, fetched.body == contents) == (200, True)
    assert fetched.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.bin"
    assert fetched.headers["Content-Length"] == str(len(contents))
    assert "a.bin" in {item["name"] for item in listed.json["value"]}


async def test_the_body_is_named_by_its_disposition(landbridge: Place) -> None:
    person, _ = await landbridge.connected()
    headers = {"Content-Disposition": "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe.txt", "Content-Type": "text/plain"}

    saved = await post(person, "?action=ONEDRIVE_SAVE_FILE", data=b"hello", headers=headers)

    assert saved.json["name"] == "Größe.txt"


@pytest.mark.parametrize("encoding", ["hex", "base64"])
async def test_a_file_in_json_may_be_larger_than_any_other_body(landbridge: Place, encoding: str) -> None:
    person, _ = await landbridge.connected()
    contents = bytes(range(256)) * 12_000 + b"!"  # 3 MB
    data = contents.hex() if encoding == "hex" else base64.b64encode(contents).decode()
    file = {"encoding": encoding, "data": data, "name": "a.bin"}
    body = json.dumps({"parameters": {"file": file}, "action": "ONEDRIVE_SAVE_FILE"}).replace("/", "\\/")  # as PHP does

    saved = await post(person, data=io.BytesIO(body.encode()))

    assert saved.json["name"] == "a.bin"
    assert (await person.download("a.bin")).body == contents


async def test_a_file_that_is_too_large_for_json_is_refused(landbridge: Place) -> None:
    person, _ = await landbridge.connected()
    await person.upload("large.bin", bytes((8 << 20) + 1))

    refused = await use(person, "ONEDRIVE_DOWNLOAD_FILE", filePath="large.bin")

    assert (refused.status, refused.code) == (413, "too_large")
    assert "Fetch it through the proxy" in refused.json["message"]
    assert [path for path in (landbridge.settings.data_dir / "files").rglob("*") if path.is_file()] == []


FORM = "multipart/form-data; boundary=x"
PART = b"--x\r\nContent-Disposition: form-data; name=%b\r\n\r\n{}\r\n"


@pytest.mark.parametrize(
    ("query", "kind", "body", "said"),
    [
        ("", FORM, b"--x\r\n", "ends before"),
        ("", FORM, b"nonsense", "not well formed"),
        ("", "multipart/form-data", b"--x--\r\n", "boundary"),
        ("", FORM, PART % b"parameters" + PART % b"parameters" + b"--x--\r\n", "each once"),
        ("", FORM, PART % b"other" + b"--x--\r\n", "other"),
        ("", FORM, PART % b"parameters" + b"--x--\r\n", "no action"),
        ("?action=ONEDRIVE_LIST_CONTENTS", "text/plain", b"hello", "takes no file"),
        ("?action=ONEDRIVE_SAVE_FILE&parameters=nonsense", "text/plain", b"hello", "not JSON"),
        (
            "",
            "application/json",
            b'{"action": "ONEDRIVE_REQUEST", "parameters": {"path": "/me", "body": {"data": "%b"}}}',
            "only the",
        ),
        ("", "application/json", b'{"other": "%b"}', "more than"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_plain_words(
    landbridge: Place, query: str, kind: str, body: bytes, said: str
) -> None:
    person, _ = await landbridge.connected()
    long = b"ab" * (600 << 10)

    data = io.BytesIO(body.replace(b"%b", long))
    answer = await post(person, query, data=data, headers={"Content-Type": kind})

    assert answer.status in {400, 404, 413}
    assert answer.code
    assert said in answer.json["message"]


async def test_files_of_any_size_pass_in_constant_memory(landbridge: Place, server: Server) -> None:
    connected, _ = await landbridge.connected()
    serving = server(landbridge.settings).ready()
    person = connected.at(serving.url)
    await person.upload("warm.bin", bytes(1 << 20))
    await use(person, "ONEDRIVE_DOWNLOAD_FILE", filePath="warm.bin")
    before, size = serving.resident(), 128 << 20
    query = "?action=ONEDRIVE_SAVE_FILE&parameters=%7B%22name%22%3A%22raw.bin%22%7D"

    async def hexadecimal() -> AsyncIterator[bytes]:
        yield b'{"action": "ONEDRIVE_SAVE_FILE", "parameters": {"file": {"name": "hex.bin", "data": "'
        for _ in range(size >> 19):
            yield b"00" * (1 << 19)
        yield b'"}}}'

    form = parts(bytes(size), action="ONEDRIVE_SAVE_FILE", parameters='{"name": "part.bin"}')
    bodies = [("", form), (query, io.BytesIO(bytes(size))), ("", hexadecimal())]
    saved = [await post(person, where, data=body) for where, body in bodies]
    asked = {"action": "ONEDRIVE_DOWNLOAD_FILE", "parameters": {"filePath": "hex.bin"}}
    fetched = await post(person, json=asked, headers={"X-Paragon-Use-Raw-Response": "1"})

    assert [(answer.json["name"], answer.json["size"]) for answer in saved] == [
        ("part.bin", size),
        ("raw.bin", size),
        ("hex.bin", size),
    ]
    assert len(fetched.body) == size
    assert serving.peak() - before < 48 << 20


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
    "first",
    [{"pageCursor": ""}, {"pageToken": ""}, {"pageCursor": None}, {"offset": 0}, {"skip": "0"}, {"page": 1}],
)
async def test_the_first_page_is_asked_for_in_whichever_way_programs_know(
    landbridge: Place, first: dict[str, Any]
) -> None:
    person, _ = await landbridge.connected()
    for number in range(3):
        await use(person, "ONEDRIVE_CREATE_FOLDER", name=f"{number}", folderPath="Documents")

    whole = await use(person, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents")
    page = await use(person, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents", paginationParameters=first)
    small = await use(
        person, "ONEDRIVE_LIST_CONTENTS", folderPath="Documents", paginationParameters=first | {"pageSize": 2}
    )

    assert page.json["value"] == whole.json["value"]
    assert len(small.json["value"]) == 2
    assert small.json["nextPageCursor"]


async def test_an_empty_cursor_among_the_parameters_is_the_first_page(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    page = await use(person, "ONEDRIVE_LIST_CONTENTS", pageCursor="")

    assert page.status == 200


@pytest.mark.parametrize("counted", [{"offset": 10}, {"skip": 1}, {"page": 2}, {"pageNo": 0}])
async def test_a_page_that_is_counted_is_refused_with_what_to_give_instead(
    landbridge: Place, counted: dict[str, Any]
) -> None:
    person, _ = await landbridge.connected()

    refused = await use(person, "ONEDRIVE_LIST_CONTENTS", paginationParameters=counted)

    assert (refused.status, refused.json["code"]) == (400, "invalid_request")
    assert "give `nextPageCursor` as `pageCursor`" in refused.json["message"]


async def test_a_file_is_described_by_its_id_and_brings_its_contents_only_if_asked(landbridge: Place) -> None:
    person, _ = await landbridge.connected()
    await person.upload("large.bin", bytes((8 << 20) + 1))
    await person.upload("small.txt", b"hello")

    described = await use(person, "ONEDRIVE_GET_FILE_BY_ID", filePath="large.bin")
    whole = await use(person, "ONEDRIVE_GET_FILE_BY_ID", filePath="small.txt", withContent=True)
    (schema,) = [
        tool["function"]["parameters"]
        for tool in (await tools(person)).json["actions"]["onedrive"]
        if tool["function"]["name"] == "ONEDRIVE_GET_FILE_BY_ID"
    ]

    assert (described.status, described.json["size"]) == (200, (8 << 20) + 1)
    assert "content" not in described.json
    assert whole.json["content"]["data"] == b"hello".hex()
    assert schema["properties"]["withContent"]["default"] is False


async def test_categories_are_refused(landbridge: Place) -> None:
    person, _ = await landbridge.connected()

    refused = await tools(person, "?categories=crm")

    assert (refused.status, "no categories" in refused.json["message"]) == (400, True)


async def test_forms_have_an_input_that_can_hold_what_each_field_takes(landbridge: Place) -> None:
    person, _ = await landbridge.connected()
    await person.upload("a.txt", b"a")
    forms = {form["name"]: form for form in (await tools(person, "?format=paragon")).json["actions"]["onedrive"]}
    kinds = {name: {one["id"]: one["type"] for one in form["inputs"]} for name, form in forms.items()}

    invited = await use(
        person, "ONEDRIVE_INVITE_PEOPLE", itemPath="a.txt", emails='["x@y.example"]', role="read", sendInvitation=False
    )
    asked = await use(person, "ONEDRIVE_REQUEST", path="/me/drive", query='{"$select": "id"}', headers="{}")

    assert kinds["ONEDRIVE_INVITE_PEOPLE"]["emails"] == "CODE"
    assert {kinds["ONEDRIVE_REQUEST"][name] for name in ("query", "headers", "paging")} == {"CODE"}
    assert kinds["ONEDRIVE_REQUEST"]["path"] == "TEXT"
    assert [one["roles"] for one in invited.json["value"]] == [["read"]]
    assert asked.json["status"] == 200


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
