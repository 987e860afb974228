"""What the doctor asks of Microsoft is read rightly, also from pages such as only the real Microsoft shows."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from landbridge.clock import SystemClock
from landbridge.errors import ProviderFailed
from landbridge.outbound import Outbound
from landbridge.providers.microsoft import App, Discovery, Microsoft, SignInAnswer
from landbridge.settings import Settings

REDIRECT = "https://connect.acme.example/oauth"
APP = App("11112222-3333-4444-5555-666677778888", (), "common")
NOBODY = "error=login_required&error_description=AADSTS50058%3a+A+silent+sign-in+request&state=probe"
CONFIG = """<!DOCTYPE html><html><head><title>Sign in to your account</title><script type="text/javascript">
//<![CDATA[
$Config={"iErrorDesc":0,"strServiceExceptionMessage":"AADSTS%d: The redirect URI \\u0027a\\u0027 does not","x":[]};
//]]></script></head><body></body></html>"""


class Answers:
    """A host that gives one answer to everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer = web.Response()
        self.asked: list[web.BaseRequest] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        return self.answer


@pytest.fixture
async def host() -> AsyncIterator[tuple[Microsoft, Answers]]:
    answers = Answers()
    async with AsyncExitStack() as stack:
        server = RawTestServer(answers)
        await server.start_server()
        stack.push_async_callback(server.close)
        url = f"http://127.0.0.1:{server.port}"
        outbound = await stack.enter_async_context(Outbound(Settings(outbound_allow=("127.0.0.1",))))
        yield Microsoft(outbound, login_url=url, graph_url=url, clock=SystemClock()), answers


Host = tuple[Microsoft, Answers]


def sent_to(url: str) -> web.Response:
    return web.Response(status=302, headers={"Location": url})


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (sent_to(f"{REDIRECT}?{NOBODY}"), SignInAnswer(True, "login_required", (50058,))),
        (sent_to(f"{REDIRECT}#{NOBODY}"), SignInAnswer(True, "login_required", (50058,))),
        (
            sent_to(f"{REDIRECT}?error=invalid_request&error_description=AADSTS50194%3A+single+AADSTS50194"),
            SignInAnswer(True, "invalid_request", (50194,)),
        ),
        (sent_to(f"{REDIRECT}.evil.example?{NOBODY}"), SignInAnswer(False, "login_required", (50058,))),
        (sent_to(f"{REDIRECT}/more?{NOBODY}"), SignInAnswer(False, "login_required", (50058,))),
        (
            sent_to(
                "https://login.live.com/err.srf?lc=1033#error=invalid_request&error_description=The+provided+value"
            ),
            SignInAnswer(False, "invalid_request", ()),
        ),
        (web.Response(text=CONFIG % 50011, content_type="text/html"), SignInAnswer(False, None, (50011,))),
        (web.Response(text=CONFIG % 700016, status=400), SignInAnswer(False, None, (700016,))),
        (web.Response(body=b"\xff\xfe\x00", status=500), SignInAnswer(False, None, ())),
        (sent_to("http://[bad"), SignInAnswer(False, None, ())),
    ],
)
async def test_the_answer_of_the_sign_in_page_is_read(host: Host, answer: web.Response, read: SignInAnswer) -> None:
    microsoft, answers = host
    answers.answer = answer

    assert await microsoft.try_sign_in(APP, authority="common", redirect_url=REDIRECT) == read


async def test_the_sign_in_page_is_asked_to_show_itself_to_nobody(host: Host) -> None:
    microsoft, answers = host

    await microsoft.try_sign_in(APP, authority="organizations", redirect_url=REDIRECT)

    (asked,) = answers.asked
    assert asked.path == "/organizations/oauth2/v2.0/authorize"
    assert dict(asked.query) | {"state": ""} == {
        "client_id": APP.client_id,
        "response_type": "code",
        "response_mode": "query",
        "redirect_uri": REDIRECT,
        "scope": "openid",
        "state": "",
        "prompt": "none",
    }


async def test_only_a_return_without_a_person_is_a_welcome() -> None:
    assert SignInAnswer(True, "login_required", (50058,)).is_welcome
    assert SignInAnswer(True, "interaction_required", ()).is_welcome
    assert not SignInAnswer(True, "unauthorized_client", ()).is_welcome
    assert not SignInAnswer(False, None, ()).is_welcome


async def test_discovery_says_where_sign_in_is_and_what_time_it_is_there(host: Host) -> None:
    microsoft, answers = host
    document = {"authorization_endpoint": "a", "token_endpoint": "t", "msgraph_host": "graph.microsoft.com"}
    answers.answer = web.json_response(document, headers={"Date": "Sun, 01 Mar 2026 12:00:00 GMT"})

    found = await microsoft.discover("common")

    assert found.at
    assert (found.at.isoformat(), answers.asked[0].path) == (
        "2026-03-01T12:00:00+00:00",
        "/common/v2.0/.well-known/openid-configuration",
    )
    assert found == Discovery("a", "t", "graph.microsoft.com", found.at)


async def test_discovery_does_without_a_clock_and_a_graph(host: Host) -> None:
    microsoft, answers = host
    document = {"authorization_endpoint": "a", "token_endpoint": "t"}
    answers.answer = web.json_response(document, headers={"Date": "some day"})

    assert await microsoft.discover("common") == Discovery("a", "t", None, None)


@pytest.mark.parametrize(
    ("status", "body"), [(200, "<html>"), (200, "[]"), (200, "{}"), (404, "gone"), (503, "{}"), (302, "")]
)
async def test_what_is_no_discovery_is_refused(host: Host, status: int, body: str) -> None:
    microsoft, answers = host
    answers.answer = web.Response(status=status, text=body)

    with pytest.raises(ProviderFailed):
        await microsoft.discover("common")


async def test_an_unknown_tenant_is_explained(host: Host) -> None:
    microsoft, answers = host
    body: dict[str, Any] = {"error": "invalid_tenant", "error_codes": [90002]}
    answers.answer = web.json_response(body, status=400)

    with pytest.raises(ProviderFailed) as caught:
        await microsoft.discover("nowhere.example")

    assert caught.value.meta["providerCodes"] == [90002]
    assert caught.value.meta["cause"]


async def test_graph_is_there_if_it_asks_for_a_token(host: Host) -> None:
    microsoft, answers = host
    answers.answer = web.json_response({"error": {"code": "InvalidAuthenticationToken"}}, status=401)

    await microsoft.reach_graph()

    assert "Authorization" not in answers.asked[0].headers


@pytest.mark.parametrize("status", [200, 302, 404, 500])
async def test_what_does_not_ask_for_a_token_is_no_graph(host: Host, status: int) -> None:
    microsoft, answers = host
    answers.answer = web.Response(status=status)

    with pytest.raises(ProviderFailed):
        await microsoft.reach_graph()
