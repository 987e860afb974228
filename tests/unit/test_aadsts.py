"""Every code of Microsoft's that an operator may meet is explained, with a remedy that says who does what."""

import re

import pytest

from landbridge.providers.aadsts import EXPLANATIONS, Explanation, Who, explain

# The codes of the sign-in, consent and token endpoints that a server-side OneDrive integration can meet.
# fmt: off
EXPECTED = {
    16000, 16001, 28002, 28003, 40010, 50011, 50020, 50033, 50034, 50053, 50055, 50056, 50057, 50058, 50072, 50074,
    50076, 50078, 50079, 50087, 50089, 50105, 50126, 50173, 50194, 50196, 53000, 53001, 53002, 53003, 54005, 65001,
    65004, 65005, 70000, 70008, 70011, 70012, 70043, 90002, 90006, 90012, 90014, 90024, 90033, 90055, 90090, 90094,
    90095, 90124, 90130, 500011, 500208, 500212, 500213, 501481, 530032, 530035, 650052, 650056, 650057, 700005,
    700011, 700016, 700022, 700023, 700025, 700027, 700054, 700082, 700084, 900144, 900561, 901002, 7000112,
    7000215, 7000218, 7000222, 9001023, 9002313, 9002325, 9002327, 9002331, 9002332,
}
# fmt: on
OPENING = {
    Who.OPERATOR: r"(?:Add|Check|Choose|Copy|Create|Enable|Give|Register|Set|Use) ",
    Who.ADMIN: r"Ask an administrator of the user's organization to [a-z]+ ",
    Who.USER: r"Let the user [a-z]+ ",
    Who.TIME: r"Wait: ",
    Who.DEVELOPERS: r"Report this to Landbridge's developers ",
}


def test_every_expected_code_is_explained() -> None:
    assert set(EXPLANATIONS) == EXPECTED


@pytest.mark.parametrize(("code", "explanation"), EXPLANATIONS.items())
def test_an_explanation_has_a_cause_and_a_remedy_that_begins_with_what_to_do(
    code: int, explanation: Explanation
) -> None:
    assert re.fullmatch(r"[A-Z][^|]{15,}\.", explanation.cause), code
    assert re.fullmatch(rf"{OPENING[explanation.who]}[^|]{{8,}}\.", explanation.remedy), code


def test_every_reader_is_spoken_to() -> None:
    assert {explanation.who for explanation in EXPLANATIONS.values()} == set(Who)


def test_the_first_known_code_is_explained() -> None:
    assert explain([70002, 54005]) is EXPLANATIONS[54005]


@pytest.mark.parametrize("codes", [None, "7000215", [], ["7000215"], [1], {"code": 7000215}])
def test_what_is_no_list_of_known_codes_is_not_explained(codes: object) -> None:
    assert explain(codes) is None
