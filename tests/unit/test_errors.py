"""Everything that can go wrong is drawn, told apart, and comes with what to do."""

import re
from collections.abc import Iterator

import pytest

from landbridge import errors
from landbridge.errors import LandbridgeError


def _all(of: type[LandbridgeError] = LandbridgeError) -> Iterator[type[LandbridgeError]]:
    yield of
    for child in of.__subclasses__():
        yield from _all(child)


ALL = [error for error in _all() if error.__module__ == errors.__name__]


def _drawn() -> dict[str, str | None]:
    """Return each class in the drawing with the one that it hangs from."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for branch, name in re.findall(r"^    ([│├└─ ]*)([A-Z]\w+)(?:  |$)", errors.__doc__ or "", re.MULTILINE):
        del path[len(branch) // 3 :]
        parents[name] = path[-1] if path else None
        path.append(name)
    return parents


def test_the_drawing_shows_every_error_under_its_parent_and_no_other() -> None:
    is_a = {error.__name__: error.__base__.__name__ for error in ALL if error.__base__ and error is not LandbridgeError}
    assert _drawn() == {"LandbridgeError": None, **is_a}


@pytest.mark.parametrize("error", ALL)
def test_every_error_has_its_own_code_and_its_own_first_line(error: type[LandbridgeError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", vars(error)["code"])
    assert [other for other in ALL if other.code == error.code] == [error]
    assert vars(error)["__doc__"]


@pytest.mark.parametrize("error", ALL)
def test_every_error_says_what_to_do_in_a_sentence(error: type[LandbridgeError]) -> None:
    assert re.match(r"[A-Z].{15,}\.$", error.remedy)


@pytest.mark.parametrize("error", ALL)
def test_only_a_wrong_token_answers_401_or_403_since_the_browser_sdk_logs_out_on_either(
    error: type[LandbridgeError],
) -> None:
    assert 400 <= error.status < 600
    assert (error.status in {401, 403}) == (error in {errors.Unauthenticated, errors.Forbidden})


@pytest.mark.parametrize("error", [error for error in ALL if issubclass(error, errors.CallerMistake)])
def test_a_callers_mistake_is_theirs_to_mend_and_not_to_repeat(error: type[LandbridgeError]) -> None:
    assert 400 <= error.status < 500
    assert not error.retryable


@pytest.mark.parametrize("error", ALL)
def test_the_body_tells_the_caller_code_status_remedy_and_what_was_found(error: type[LandbridgeError]) -> None:
    assert error("It went wrong.", meta={"providerError": "invalid_grant"}).body() == {
        "message": "It went wrong.",
        "code": error.code,
        "status": error.status,
        "meta": {"providerError": "invalid_grant", "remedy": error.remedy, "retryable": error.retryable},
    }


def test_the_body_says_nothing_of_the_cause_which_may_quote_secrets() -> None:
    with pytest.raises(LandbridgeError) as caught:
        raise errors.ProviderFailed("No.") from ValueError("canary")
    assert "canary" not in str(caught.value.body())
