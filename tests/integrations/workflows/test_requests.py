"""What requests that start workflows may bring, and what they are answered."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from tests.integrations.person import Answer
from tests.integrations.workflows.crew import Crew

from landbridge.store.runs import SUCCEEDED
from landbridge.web.triggers import LONGEST_WAIT

TELL = """
name: Tell what was sent
trigger: {type: request}
steps:
  - id: answer
    type: response
    body:
      body: "{{ trigger.request.body }}"
      name: "{{ trigger.request.file?.name }}"
      size: "{{ trigger.request.file?.size }}"
      kind: "{{ trigger.request.file?.mimeType }}"
"""

GIVE_BACK = """
name: Give back what was sent
trigger: {type: request}
steps:
  - id: answer
    type: response
    responseType: FILE
    statusCode: 201
    headers: {X-Said: "{{ trigger.request.params.said? }}", Content-Length: "1"}
    file: "{{ trigger.request.%s }}"
"""

SLOW = """
name: Answer in an hour
trigger: {type: request}
steps:
  - {id: wait, type: delay, value: 1, unit: HOURS}
  - {id: answer, type: response, body: done}
"""

ONE_FIELD = """
name: Look at one field
trigger: {type: request, %s: [{key: x, dataType: %s, required: false}]}
steps:
  - {id: answer, type: response, statusCode: 204}
"""

LARGE = b"0123456789abcdef" * (1 << 16) * 3
"""Three times as long as a body that is read whole may be."""


async def _send(crew: Crew, definition: str, query: str = "", **options: Any) -> Answer:
    deployed = await crew.deploy(definition)
    return await crew.person.sdk("POST", f"/triggers/{deployed.workflow.id}?{query}", **options)


def _json(body: Any) -> dict[str, Any]:
    return {"data": io.BytesIO(json.dumps(body).encode()), "headers": {"Content-Type": "application/json"}}


def _form(contents: bytes) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("note", "Grüße")
    form.add_field("paragon-file", io.BytesIO(contents), filename="größe.bin", content_type="image/png")
    form.add_field("more", io.BytesIO(b"12"), filename="more.txt", content_type="text/plain")
    return form


async def test_a_form_with_a_file_is_its_fields_and_its_file(crew: Crew) -> None:
    answer = await _send(crew, TELL, data=_form(LARGE))
    assert answer.status == 200, answer.body
    told = answer.json
    assert (told["name"], told["size"], told["kind"]) == ("größe.bin", len(LARGE), "image/png")
    assert (told["body"]["note"], told["body"]["more"]["size"]) == ("Grüße", 2)
    assert set(told["body"]) == {"note", "more"}


async def test_a_body_that_is_nothing_but_a_file_is_one(crew: Crew) -> None:
    headers = {"Content-Type": "application/pdf", "Content-Disposition": 'attachment; filename="a.pdf"'}
    answer = await _send(crew, TELL, data=io.BytesIO(LARGE), headers=headers)
    assert answer.json == {"body": {}, "name": "a.pdf", "size": len(LARGE), "kind": "application/pdf"}


async def test_a_file_may_lie_anywhere_in_json_and_be_long(crew: Crew) -> None:
    file = {"dataType": "FILE", "name": "a.bin", "data": LARGE.hex(), "mimeType": "image/gif"}
    answer = await _send(crew, GIVE_BACK % "body.deep[0].file", "said=this", **_json({"deep": [{"file": file}]}))
    assert (answer.status, answer.headers["Content-Type"], answer.headers["X-Said"]) == (201, "image/gif", "this")
    assert answer.body == LARGE


async def test_no_caller_writes_headers_of_their_own(crew: Crew) -> None:
    query = "said=a%0d%0aX-Forged:%20yes%E2%82%AC"
    answer = await _send(crew, GIVE_BACK % "file", query, data=_form(b"contents"))
    assert "X-Forged" not in answer.headers
    assert (answer.headers["X-Said"], answer.body) == ("a X-Forged: yes?", b"contents")


@pytest.mark.parametrize("body", [b'{"a": 1', b"1}, {2", b'{"a": NaN}'])
async def test_a_body_that_is_no_json_starts_nothing(crew: Crew, body: bytes) -> None:
    answer = await _send(crew, TELL, data=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_long_texts_that_are_no_files_are_refused(crew: Crew) -> None:
    for body in ({"text": "x" * len(LARGE)}, {"data": "x" * len(LARGE)}):
        answer = await _send(crew, TELL, **_json(body))
        assert (answer.status, answer.code) == (413, "too_large")


async def test_a_form_is_an_object_of_texts(crew: Crew) -> None:
    answer = await _send(crew, TELL, data={"a": "1", "b": "Größe"})
    assert answer.json["body"] == {"a": "1", "b": "Größe"}


async def test_an_answer_that_takes_too_long_is_542_and_the_run_goes_on(crew: Crew) -> None:
    sent = asyncio.create_task(_send(crew, SLOW))

    async def is_waiting() -> bool:
        return bool(await crew.waiting())

    await crew.until(is_waiting)
    crew.place.clock.jump(LONGEST_WAIT)
    answer = await sent
    assert answer.status == 542
    told = answer.json
    assert set(told) == {"message", "dateSubmitted", "projectId", "workflowId", "executionId"}
    crew.place.clock.jump(timedelta(hours=1))
    assert (await crew.ended(told["executionId"])).state == SUCCEEDED


async def test_each_of_many_requests_at_once_gets_its_own_answer(crew: Crew) -> None:
    deployed = await crew.deploy(TELL)
    path = f"/triggers/{deployed.workflow.id}"
    answers = await asyncio.gather(*(crew.person.sdk("POST", path, json={"n": n}) for n in range(20)))
    assert [answer.json["body"]["n"] for answer in answers] == list(range(20))


FILE = {"dataType": "FILE", "name": "a", "data": "00"}
BODIES: dict[str, tuple[Any, Any]] = {
    "STRING": ("text", 1),
    "NUMBER": (1.5, "1.5"),
    "DATE": ("2026-03-01T09:00:00Z", "yesterday"),
    "BOOLEAN": (False, "false"),
    "EMAIL": ("ada@contoso.example", "ada"),
    "OBJECT": ({"a": 1}, [1]),
    "ARRAY": ([1], {"a": 1}),
    "FILE": (FILE, "a file"),
}
TEXTS = {
    "STRING": ("text", None),
    "NUMBER": ("-1e3", "nan"),
    "DATE": ("2026-03-01", "1.3.2026"),
    "BOOLEAN": ("true", "yes"),
    "EMAIL": ("ada@contoso.example", "ada@"),
}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_field_of_the_body_is_of_the_kind_that_the_trigger_asks_for(crew: Crew, kind: str) -> None:
    deployed = await crew.deploy(ONE_FIELD % ("body", kind))
    good, bad = BODIES[kind]
    for body, status in (({"x": good}, 204), ({"x": bad}, 400), ({}, 204)):
        answer = await crew.person.sdk("POST", f"/triggers/{deployed.workflow.id}", json=body)
        assert (answer.status, "body.x" in answer.body.decode()) == (status, status == 400)


@pytest.mark.parametrize("kind", TEXTS)
async def test_headers_parameters_and_forms_are_texts_that_spell_that_kind(crew: Crew, kind: str) -> None:
    good, bad = TEXTS[kind]
    for place, options in (("headers", "headers"), ("params", "params"), ("body", "data")):
        deployed = await crew.deploy(ONE_FIELD % (place, kind))
        for text, status in ((good, 204), (bad, 400)):
            if text is not None:
                path = f"/projects/{crew.project}/sdk/triggers/{deployed.workflow.id}"
                headers = {"Authorization": f"Bearer {crew.person.token}"}
                given: dict[str, Any] = {"headers": headers, options: {"x": text}}
                if options == "headers":
                    given["headers"] = headers | {"X": text}
                async with crew.person.http.post(crew.person.url + path, **given) as answer:
                    assert answer.status == status, (place, text, await answer.text())
