"""No address that an operator did not name can be reached through us, however it is spelled."""

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohappyeyeballs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landbridge.errors import LandbridgeError, OutboundRefused, ProviderTimedOut, ProviderUnreachable
from landbridge.http1 import BrokenOff, Unreached
from landbridge.http1.client import UnreachedInTime
from landbridge.outbound import LONGEST_WAIT, AddressGuard, Outbound, retry_after, translated
from landbridge.settings import Settings

PUBLIC = "93.184.215.14"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # the metadata of cloud machines
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",  # IPv4-compatible, long deprecated
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::127.0.0.1",  # NAT64 of a network's own
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a00:1::1",
    "2001:0:0:0:0:0:80ff:fffe",  # Teredo of 127.0.0.1
    "::ffff:0:127.0.0.1",  # IPv4-translated
    "::ffff:0:10.0.0.1",
    "fec0::1",  # site-local, long deprecated
    "3fff::1",  # documentation
    "5f00::1",  # identifiers of segments
    "100:0:0:1::1",  # dummies
    "192.0.0.192",
    "168.63.129.16",  # what Azure's machines ask for their secrets
    "::ffff:168.63.129.16",
]


def guard(*allow: str) -> AddressGuard:
    return AddressGuard(Settings(outbound_allow=allow))


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_also_when_packed_into_public_ones(address: str) -> None:
    with pytest.raises(OutboundRefused, match="private address"):
        guard().check("files.example", 443, address)


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:2800:21f:cb07::1", f"::ffff:{PUBLIC}", f"::ffff:0:{PUBLIC}", "64:ff9b::5db8:d70e"]
)
def test_public_addresses_may_be_called(address: str) -> None:
    guard().check("files.example", 443, address)


LOOPBACK_SPELLED = [
    *("127.0.0.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "0", "%31%32%37.0.0.1"),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1%25eth0]", "\uff11\uff12\uff17.0.0.1"),
]


@pytest.mark.parametrize("host", LOOPBACK_SPELLED)
async def test_a_url_that_spells_loopback_in_any_way_reaches_nothing(
    host: str, connected: list[str], answers: dict[str, list[str]]
) -> None:
    """Decimal, octal, hexadecimal and short forms are names to us; the resolver would make loopback of them."""
    answers["*"] = ["127.0.0.1"]
    async with Outbound(Settings()) as outbound:
        with pytest.raises(OutboundRefused):
            await outbound.call("GET", f"http://{host}:8080/")
        with pytest.raises(OutboundRefused):
            await outbound.open("GET", f"http://{host}:8080/", {})
    assert connected == []


@pytest.mark.parametrize(
    ("allow", "host", "port", "address"),
    [
        ("10.0.0.0/8", "graph.local", 443, "10.1.2.3"),
        ("10.1.2.3", "graph.local", 443, "10.1.2.3"),
        ("10.1.2.3", "graph.local", 443, "::ffff:10.1.2.3"),
        ("::1", "localhost", 443, "::1"),
        ("fd00::/8", "graph.local", 443, "fd12::1"),
        ("graph.local", "GRAPH.local", 9000, "127.0.0.1"),
        ("graph.local:9000", "graph.local", 9000, "127.0.0.1"),
        ("127.0.0.1:9000", "127.0.0.1", 9000, "127.0.0.1"),
        ("Graph.Local", "graph.local", 443, "192.168.1.1"),
    ],
)
def test_what_the_operator_names_by_network_host_or_port_may_be_called(
    allow: str, host: str, port: int, address: str
) -> None:
    with pytest.raises(OutboundRefused):
        guard().check(host, port, address)
    guard(allow).check(host, port, address)


@pytest.mark.parametrize(
    ("allow", "host", "port", "address"),
    [
        ("10.0.0.0/8", "graph.local", 443, "192.168.1.1"),
        ("graph.local:9000", "graph.local", 9001, "127.0.0.1"),
        ("graph.local", "files.graph.local", 443, "127.0.0.1"),
        ("graph.local", "graph.local.evil.example", 443, "127.0.0.1"),
        ("127.0.0.1:9000", "localhost", 9000, "127.0.0.1"),
        ("0.0.0.0/8", "graph.local", 443, "2002:7f00:1::"),
    ],
)
def test_what_is_named_allows_nothing_beside_it(allow: str, host: str, port: int, address: str) -> None:
    with pytest.raises(OutboundRefused):
        guard(allow).check(host, port, address)


@given(st.ip_addresses())
def test_no_address_is_called_that_the_internet_does_not_route(address: Any) -> None:  # Any: one of two classes
    try:
        guard().check("files.example", 443, str(address))
    except OutboundRefused:
        return
    assert address.is_global
    assert not address.is_multicast


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the resolver says of a name, one answer after the other; the last one stays. `*` is every other name."""
    given: dict[str, list[str]] = {}

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:  # Any: as the socket module has it
        left = given.get(host) or given["*"]
        address = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, port)) for one in address.split(" ")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return given


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; nobody is at home there."""
    tried: list[str] = []

    async def start_connection(addr_infos: Any, **_: Any) -> None:  # Any: the HTTP client's own
        tried.extend(sockaddr[0] for *_, sockaddr in addr_infos)
        raise ConnectionRefusedError("nobody is at home")

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start_connection)
    return tried


async def test_a_name_that_points_at_a_private_address_is_refused(
    answers: dict[str, list[str]], connected: list[str]
) -> None:
    answers["rebind.example"] = ["10.0.0.1"]
    async with Outbound(Settings()) as outbound:
        with pytest.raises(OutboundRefused, match=r"rebind\.example"):
            await outbound.call("GET", "https://rebind.example/")
    assert connected == []


async def test_one_private_address_among_several_is_enough_to_refuse(
    answers: dict[str, list[str]], connected: list[str]
) -> None:
    answers["rebind.example"] = [f"{PUBLIC} 127.0.0.1"]
    async with Outbound(Settings()) as outbound:
        with pytest.raises(OutboundRefused):
            await outbound.call("GET", "https://rebind.example/")
    assert connected == []


async def test_the_address_that_was_checked_is_the_one_connected_to_though_the_name_changes_meanwhile(
    answers: dict[str, list[str]], connected: list[str]
) -> None:
    answers["rebind.example"] = [PUBLIC, "127.0.0.1"]
    async with Outbound(Settings()) as outbound:
        with pytest.raises(ProviderUnreachable):
            await outbound.open("GET", "https://rebind.example/", {})
    assert connected == [PUBLIC]
    assert answers["rebind.example"] == ["127.0.0.1"], "it was asked once"


async def test_every_new_answer_of_the_resolver_is_checked_again(
    answers: dict[str, list[str]], connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers["rebind.example"] = [PUBLIC, "127.0.0.1"]
    async with Outbound(Settings()) as outbound:
        with pytest.raises(ProviderUnreachable):
            await outbound.call("GET", "https://rebind.example/")
        outbound._resolver.forget()  # as after thirty seconds
        with pytest.raises(OutboundRefused):
            await outbound.call("GET", "https://rebind.example/")
    assert connected == [PUBLIC]


async def test_a_name_that_the_operator_allows_may_point_at_a_private_address(
    answers: dict[str, list[str]], connected: list[str]
) -> None:
    answers["graph.local"] = ["10.0.0.1"]
    async with Outbound(Settings(outbound_allow=("graph.local:443",))) as outbound:
        with pytest.raises(ProviderUnreachable):
            await outbound.call("GET", "https://graph.local/")
        with pytest.raises(OutboundRefused):
            await outbound.call("GET", "https://graph.local:8443/")
    assert connected == ["10.0.0.1"]


NO_URLS = [
    *(
        "",
        "graph.microsoft.com",
        "/v1.0/me",
        "file:///etc/passwd",
        "ftp://host/",
        "https://",
        "http://[::1",
        "http://..",
    ),
    *("http://host:99999/", "http://host:abc/", "http://xn--/", "http://.example/", "http://user:password@/"),
    *("http://\N{ACCOUNT OF}/", "http://a\ud800b/", f"http://{'a' * 64}.example/"),
]


@pytest.mark.parametrize("url", NO_URLS)
async def test_what_is_no_http_url_is_refused(url: str, connected: list[str]) -> None:
    async with Outbound(Settings()) as outbound:
        with pytest.raises(OutboundRefused):
            await outbound.call("GET", url)
        with pytest.raises(OutboundRefused):
            await outbound.open("GET", url, {})
    assert connected == []


async def test_a_literal_is_checked_with_the_port_that_its_scheme_implies(
    answers: dict[str, list[str]], connected: list[str]
) -> None:
    answers["127.0.0.1"] = ["127.0.0.1"]
    async with Outbound(Settings(outbound_allow=("127.0.0.1:443",))) as outbound:
        with pytest.raises(ProviderUnreachable):
            await outbound.open("GET", "https://127.0.0.1/", {})
        with pytest.raises(OutboundRefused):
            await outbound.open("GET", "http://127.0.0.1/", {})
    assert connected == ["127.0.0.1"]


NUMBERS = st.floats().map(str) | st.integers().map(str) | st.decimals(allow_nan=True).map(str)


@given(st.text() | NUMBERS | st.text("0123456789.eE+-_: ,JanFebMonGMT", max_size=40))
@example("nan")
@example("inf")
@example("-inf")
@example("1e400")
@example("1e999999999")
@example("-1")
@example("Mon, 00 Jan 0000 00:00:00 GMT")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Mon, 1 Mar 2026 12:00:00")
@example("Mon, 1 Mar 2026 12:00:00 +9999999999999")
@example("Mon, 99999999999999999999 Mar 2026 12:00:00")
def test_whatever_retry_after_says_the_wait_is_neither_negative_nor_endless(value: str) -> None:
    wait = retry_after(value, now=NOW)
    assert wait is None or timedelta(0) <= wait <= LONGEST_WAIT


@given(st.integers(0, 3600))
def test_seconds_are_waited_as_asked(seconds: int) -> None:
    assert retry_after(str(seconds), now=NOW) == timedelta(seconds=seconds)


@given(st.integers(-10_000_000, 10_000_000))
def test_a_date_is_waited_for_a_past_one_not_at_all_and_a_far_one_not_for_ever(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(date, now=NOW) == timedelta(seconds=max(0, min(seconds, 3600)))


@pytest.mark.parametrize("value", [None, "", " ", "soon", "nan", "NaN", "12 minutes"])
def test_what_asks_for_no_wait_gives_none(value: str | None) -> None:
    assert retry_after(value, now=NOW) is None


@pytest.mark.parametrize(
    ("error", "kind", "nothing_done"),
    [
        (Unreached("No connection."), ProviderUnreachable, True),
        (UnreachedInTime("No connection."), ProviderTimedOut, True),
        (BrokenOff("No answer."), ProviderUnreachable, False),
        (TimeoutError("No answer."), ProviderTimedOut, False),
    ],
)
def test_only_of_what_was_never_sent_it_is_said_that_nothing_was_done(
    error: OSError, kind: type[LandbridgeError], *, nothing_done: bool
) -> None:
    with pytest.raises(kind) as told, translated:
        raise error

    assert told.value.nothing_done is nothing_done
