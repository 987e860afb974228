"""Lists end where Graph says, and lead in no circle."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from landbridge.errors import InvalidRequest, ItemNotFound, LandbridgeError, ProviderBusy, ProviderFailed
from landbridge.integrations.onedrive.graph import Graph, Place, page_link
from landbridge.integrations.onedrive.refusals import BY_CODE, BY_STATUS, refusal
from landbridge.kit import Answer


class Recorded(Graph):
    """Graph, as it answered once."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def call(self, method: str, path: str, **_: Any) -> Answer:  # Any: not looked at
        self.asked.append(path)
        return answer(200, self._answers[path])


def answer(status: int, body: Any) -> Answer:
    return Answer(status, CIMultiDictProxy(CIMultiDict({"request-id": "r-1"})), json.dumps(body).encode())


@pytest.mark.parametrize("ahead", [False, True])
async def test_only_a_missing_link_is_the_end_and_a_page_may_be_empty(*, ahead: bool) -> None:
    graph = Recorded(
        {
            "/a": {"value": [{"id": "1"}], "@odata.nextLink": "/b"},
            "/b": {"value": [], "@odata.nextLink": "/c"},
            "/c": {"value": [{"id": "2"}]},
        }
    )

    assert [page["value"] async for page in graph.pages("/a", ahead=ahead)] == [[{"id": "1"}], [], [{"id": "2"}]]


async def test_the_next_page_is_asked_for_before_one_is_looked_at_and_not_if_nobody_wants_it() -> None:
    graph = Recorded(
        {
            "/a": {"@odata.nextLink": "/b", "value": [{"id": "1", "name": "x" * 10_000}]},
            "/b": {"value": [{"id": "2", "name": "x" * 10_000}], "@odata.nextLink": "/c"},
            "/c": {"value": []},
        }
    )
    for ahead, asked in ((True, [["/a", "/b"], ["/a", "/b", "/c"]]), (False, [["/a"], ["/a", "/b"]])):
        graph.asked.clear()
        async with contextlib.aclosing(graph.pages("/a", ahead=ahead)) as pages:
            seen = [list(graph.asked) for _ in range(2) if await anext(pages)]
        assert seen == asked


@pytest.mark.parametrize(
    "first",
    [
        {"value": [{"@odata.nextLink": "/wrong"}], "@odata.nextLink": "/b"},
        {"value": [{"@odata.nextLink": "/wrong"}, {"name": "x" * 10_000}], "@odata.nextLink": "/b"},
        {"value": [{"name": "x" * 10_000}, {"@odata.nextLink": "/wrong"}], "@odata.nextLink": "/b"},
        {"a": "x" * 10_000, "@odata.nextLink": "/b", "value": [{"name": "x" * 10_000}]},
    ],
)
async def test_where_a_page_leads_is_what_the_whole_of_it_says(first: Any) -> None:
    graph = Recorded({"/a": first, "/b": {"value": ["the end"]}, "/wrong": {"value": ["others"]}})

    *_, last = [page["value"] async for page in graph.pages("/a", ahead=True)]

    assert last == ["the end"]


async def test_an_end_is_the_end_whatever_seems_to_follow() -> None:
    first = {"value": [{"@odata.nextLink": "/wrong"}]}
    graph = Recorded({"/a": first, "/wrong": {"value": ["others"]}})

    assert [page async for page in graph.pages("/a", ahead=True)] == [first]


@pytest.mark.parametrize("ahead", [False, True])
async def test_a_list_that_leads_in_a_circle_is_an_error_and_not_a_loop(*, ahead: bool) -> None:
    graph = Recorded(
        {
            "/a": {"value": [], "@odata.nextLink": "/b"},
            "/b": {"value": [], "@odata.nextLink": "/a"},
        }
    )

    with pytest.raises(ProviderFailed, match="circle"):
        async for _ in graph.pages("/a", ahead=ahead):
            pass


@pytest.mark.parametrize("body", [None, [], {"value": {}}, {"error": {}}])
async def test_what_is_no_list_is_an_error(body: Any) -> None:
    with pytest.raises(ProviderFailed):
        async for _ in Recorded({"/a": body}).pages("/a"):
            pass


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (Place("/me/drive"), "/me/drive/root/children"),
        (Place("/me/drive", "A!1"), "/me/drive/items/A%211/children"),
        (Place("/me/drive").child("a b").child("#1"), "/me/drive/root:/a%20b/%231:/children"),
        (Place("/drives/x", "A").child("50%"), "/drives/x/items/A:/50%25:/children"),
    ],
)
def test_a_place_is_written_as_graph_reads_it(place: Place, path: str) -> None:
    assert place / "children" == path


@pytest.mark.parametrize(
    "good",
    [
        "https://graph.microsoft.com/v1.0/drives/x/items/y/children?$skiptoken=a",
        "https://graph.microsoft.com/v1.0/drives('x')/items('y')/children?$skiptoken=a",
        "/me/drive/root/children",
        "/users/a/drive/root/children",
    ],
)
def test_a_link_to_such_a_list_may_be_a_cursor(good: str) -> None:
    assert page_link(good, "children") == good


@pytest.mark.parametrize(
    "bad",
    [
        "/me/messages",
        "/me/messages?x=/children",
        "children",
        "/me/search(q='a')",
        "/groups/a/children",
        "/groups/a/children?x=/drive/",
    ],
)
def test_no_other_link_may_be(bad: str) -> None:
    with pytest.raises(InvalidRequest):
        page_link(bad, "children")


@pytest.mark.parametrize("spelling", ["innerError", "innererror"])
def test_the_most_specific_code_that_is_known_decides(spelling: str) -> None:
    error = {
        "code": "generalException",
        "message": "No.",
        spelling: {"code": "itemNotFound", spelling: {"code": "new"}},
    }

    said = refusal(answer(500, {"error": error}), None)

    assert type(said) is ItemNotFound
    assert said.message == "OneDrive: No."
    assert said.meta == {
        "providerStatus": 500,
        "providerCodes": ["generalException", "itemNotFound", "new"],
        "requestId": "r-1",
    }


@pytest.mark.parametrize("body", ["text", [], {"error": "x"}, {"error": {"code": 5, "message": {}}}, {"error": None}])
@pytest.mark.parametrize(("status", "kind"), [*BY_STATUS.items(), (500, ProviderFailed), (503, ProviderFailed)])
def test_an_answer_without_a_code_is_told_by_its_status(body: Any, status: int, kind: type[LandbridgeError]) -> None:
    assert type(refusal(answer(status, body), None)) is kind


def test_codes_are_found_whatever_their_case() -> None:
    assert [code for code in BY_CODE if code != code.lower()] == []
    assert isinstance(refusal(answer(429, {"error": {"code": "TooManyRequests"}}), None), ProviderBusy)
