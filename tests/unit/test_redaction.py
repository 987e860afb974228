"""Nothing secret survives the mask, wherever it stands; and people can still read the rest."""

import json
import subprocess
import sys
from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from landbridge import telemetry
from landbridge.telemetry import MASK, redact

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _text(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


JWTS = st.builds(lambda a, b, c: f"eyJ{a}.eyJ{b}.{c}", *(_text(LETTERS + "-_", least, 400) for least in (10, 20, 43)))
OPAQUE_TOKENS = _text(LETTERS + "-_.!*$", 64, 900)
API_KEYS = _text(LETTERS + "-_", 43, 43).map("lb_key_{}".format)
CLIENT_SECRETS = st.builds(
    "{}8Q~{}".format, _text(LETTERS, 3, 3), _text(LETTERS + "-_.~", 34, 34).filter(lambda text: text.strip("."))
)
RING = _text(LETTERS + "+/", 43, 43).map("k0a1b2c3:{}=".format)
RECOGNISABLE = JWTS | OPAQUE_TOKENS | API_KEYS | CLIENT_SECRETS
SHORT = _text(LETTERS, 8, 60).filter(lambda text: not text.islower() and not text.isdecimal())

TELLING = "access_token refresh_token id_token userToken token client_secret code code_verifier state password sig"
NAMES = st.sampled_from([*TELLING.split(), "Authorization", "authorization", "Cookie", "Set-Cookie", "tempauth"])
NAMED: list[Callable[[str, str], str]] = [
    lambda name, value: f"GET https://lb.example/sdk?a=1&{name}={value}&b=2 200",
    lambda name, value: f"https://lb.example/oauth?{name}={value}",
    lambda name, value: urlencode({"grant_type": "refresh_token", name: value, "scope": "Files.Read"}),
    lambda name, value: "https://login.example/?next=" + quote(f"https://lb.example/oauth?x=1&{name}={value}", safe=""),
    lambda name, value: json.dumps({"before": 1, name: value, "after": [2]}),
    lambda name, value: json.dumps({name: value}, indent=2),
    lambda name, value: json.dumps({"body": json.dumps({name: value})}),
    lambda name, value: json.dumps({"body": json.dumps({"body": json.dumps({name: value})})}),
    lambda name, value: repr({name: value}),
    lambda name, value: repr([(name, value)]),
    lambda name, value: repr([(name.encode(), value.encode())]),
    lambda name, value: f"ValueError: {name}={value!r}",
]
BARE: list[Callable[[str], str]] = [
    "{}".format,
    "Bearer {}".format,
    "the provider said “{}” and no more".format,
    "({})".format,
    "token:{}".format,
    "<Grant {}>".format,
    lambda value: repr(value.encode()),
    lambda value: json.dumps([value]),
    lambda value: f"https://files.example/{quote(value, safe='')}/content",
]
PROSE = st.text(LETTERS + " ,.;:'\"\\/?&=%{}[]()\n", max_size=60)


@given(before=PROSE, after=PROSE, name=NAMES, secret=SHORT | RECOGNISABLE, write=st.sampled_from(NAMED))
def test_a_secret_under_a_telling_name_never_survives(
    before: str, after: str, name: str, secret: str, write: Callable[[str, str], str]
) -> None:
    assume(secret not in before + after)
    masked = redact(f"{before} {write(name, secret)} {after}")
    assert secret not in masked
    assert quote(secret, safe="") not in masked


@given(before=PROSE, after=PROSE, secret=RECOGNISABLE | RING, write=st.sampled_from(BARE))
def test_a_token_key_or_secret_never_survives_without_a_name_either(
    before: str, after: str, secret: str, write: Callable[[str], str]
) -> None:
    assume(secret not in before + after)
    assert secret not in redact(f"{before} {write(secret)} {after}")


@given(before=PROSE, secret=SHORT, header=st.sampled_from(["Authorization: {}", "cookie: a=b; {}", "Basic {}"]))
def test_a_header_never_survives(before: str, secret: str, header: str) -> None:
    assume(secret not in before)
    assert secret not in redact(f"{before}\n{header.format(secret)}\nHost: lb.example")


@given(secret=SHORT)
def test_the_password_in_a_database_url_never_survives(secret: str) -> None:
    masked = redact(f"cannot reach postgresql://landbridge:{secret}@db.example:5432/landbridge")
    assert masked == f"cannot reach postgresql://landbridge:{MASK}@db.example:5432/landbridge"


@given(secret=OPAQUE_TOKENS | JWTS)
def test_hex_and_base64_of_a_token_do_not_survive(secret: str) -> None:
    import base64  # noqa: PLC0415

    raw = secret.encode()
    for spelled in (raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        assert spelled not in redact(f"found {spelled} there")


@given(before=PROSE, secret=JWTS)
def test_the_user_token_that_the_sdk_puts_in_a_query_string_never_survives(before: str, secret: str) -> None:
    line = f'{before} "GET /projects/p/sdk/integrations?userToken={secret}&integration=onedrive HTTP/1.1" 200'
    assert secret not in redact(line)
    assert "&integration=onedrive HTTP/1.1" in redact(line)


@pytest.mark.parametrize(
    "text",
    [
        "account connected",
        "refresh failed at the provider: connection=5f0c1f9e-2f64-4f3c-9a41-0c2f4d7c9a10 code=provider_busy",
        '{"code": "reconnect_required", "status": 424, "message": "The user has to connect again."}',
        "AADSTS50011: the redirect URL does not match (code=50011, state=invalid)",
        "GET https://graph.microsoft.com/v1.0/me/drive/root:/Invoices/2026/March.pdf:/content 302 in 84 ms",
        "GET /v1.0/me/drive/items/01NKDM7HMOJTVYMDOSXFDK2QJDXCDI3WUK/children?$top=200&$select=id,name",
        "POST https://login.microsoftonline.com/organizations/oauth2/v2.0/token answered 503",
        "the token endpoint does not answer; the client secret expires on 2026-04-01",
        "Files.ReadWrite offline_access openid profile User.Read",
        'File "/srv/landbridge/lib/python3.11/site-packages/landbridge/connections/tokens.py", line 12, in open',
        "sqlite:////var/lib/landbridge/landbridge.db",
        "10.1.2.3:51234 - [2001:db8::1]:443",
    ],
)
def test_what_people_need_to_read_stays(text: str) -> None:
    assert redact(text) == text


PROGRAM = """
import logging, sys
from landbridge.settings import Settings
from landbridge.telemetry import configure_logging
import structlog
configure_logging(Settings(log_format=sys.argv[1]))
log = structlog.get_logger("landbridge.test")
jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ." + "canary" * 10
log.info("plain", code="provider_busy", state=3, path="/me/drive")
log.info(f"in the text {jwt}", token="canary-1", code="canary-2", nested={"client_secret": "canary-3", jwt: [jwt]})
log.warning("headers", headers=[("Authorization", "Basic canary4")], raw=b"token=canary-5", thing=ValueError(jwt))
logging.getLogger("uvicorn.error").error("of a library: %s", f"GET /?userToken={jwt}")
logging.getLogger("uvicorn.access").info("GET /?userToken=canary-6")
try:
    raise ValueError(f"refresh_token={jwt}")
except ValueError:
    log.exception("it failed", exc_info=True)
    logging.getLogger("asyncio").exception("it failed elsewhere")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_log_line_of_ours_or_of_a_library_holds_a_secret(form: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True)

    assert "canary" not in done.stderr
    for legible in ("plain", "provider_busy", "/me/drive", "of a library", "it failed", "it failed elsewhere"):
        assert legible in done.stderr
    assert "Traceback" in done.stderr
    if form == "json":
        assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == (
            ["info", "info", "warning", "error", "error", "error"]
        )


def test_a_long_text_is_masked_as_a_short_one_is_wherever_the_secret_stands() -> None:
    secret = f"password=hunter2hunter2 and Bearer {'abc.' * 25}"
    for before in range(telemetry._AT_ONCE - 140, telemetry._AT_ONCE + 7, 7):
        words = "word " * (before // 5) + "x" * (before % 5) + " "
        assert redact(words + secret + " and on" * 500) == words + redact(secret) + " and on" * 500


@pytest.mark.parametrize("beyond", [-70, -1, 0, 1, 63])
def test_of_a_secret_that_is_longer_than_is_looked_at_at_once_nothing_is_left(beyond: int) -> None:
    length = telemetry._AT_ONCE + telemetry._OVERLAP + beyond
    assert redact("begins " + "a1" * (length // 2) + "b" * (length % 2) + " ends") == f"begins {MASK} ends"


@given(
    parts=st.lists(
        st.sampled_from(
            ["token", "code", "=", "%3D", ":", ": ", ",", '"', "'", "Bearer ", "://", "a:b@", "eyJ", ".", "lb_x_"]
        )
        | st.sampled_from(["1Q~", "Cookie:", "abc", "ABC-9", "/", "x" * 20, "A" * 43, "\\", "b'", "K", "\u017f"]),
        max_size=8,
    )
)
def test_a_short_text_that_is_let_through_at_a_glance_held_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    assert redact(text) == telemetry._SECRET_TEXT.sub(telemetry._masked, text)
