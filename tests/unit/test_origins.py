"""An allowed origin is written as browsers send it, whatever an operator typed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import InvalidRequest
from landbridge.projects import origin


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("https://app.example", "https://app.example"),
        ("https://app.example/", "https://app.example"),
        (" HTTPS://App.Example ", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[::1]", "http://[::1]"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(typed: str, sent: str) -> None:
    assert origin(typed) == sent


NO_ORIGINS = [
    *(
        "",
        "*",
        "null",
        "app.example",
        "//app.example",
        "https://",
        "https://*.example",
        "https://*",
        "ftp://app.example",
    ),
    *("file:///", "https://app.example/path", "https://app.example?x", "https://app.example#x", "https://:443"),
    *("https://user@app.example", "https://user:password@app.example", "https://app.example:0x50", "https://a:99999"),
    *("https://[::1", "https://a b", "https://a;b", "https://a,b", "https://a'b", "javascript://a", "https://a\nb"),
    *("https://a\\b", "https://ä.example", "https://a.example:0", "https://@", "https://a.example:-1", 'https://a"b'),
]


@pytest.mark.parametrize("typed", NO_ORIGINS)
def test_what_is_no_origin_is_refused(typed: str) -> None:
    with pytest.raises(InvalidRequest, match="is not an origin"):
        origin(typed)


@given(st.text() | st.text("htps:/[]@.*-_%0a1;, '\"\\", max_size=30).map("https://{}".format))
def test_whatever_is_typed_gives_an_origin_that_is_safe_in_a_header_or_is_refused(typed: str) -> None:
    """Origins are written into Content-Security-Policy, where a space, comma or semicolon would begin something new."""
    try:
        kept = origin(typed)
    except InvalidRequest:
        return
    assert kept.isascii()
    assert not set(kept) & set(" \t\r\n;,'\"\\*<>@?#")
    assert origin(kept) == kept
