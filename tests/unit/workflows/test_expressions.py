"""What `{{ }}` leads to, and that it can lead nowhere else."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from landbridge.errors import InvalidRequest, ReferenceFailed, TooLarge
from landbridge.workflows.expressions import LARGEST_TEXT, Reference, lone_reference, references, resolve

NAMES: dict[str, JsonValue] = {
    "trigger": {
        "event": {
            "name": "Anna",
            "numbers": [1, 2, 3],
            "gone": None,
            "deep": [{"a b": [{"c": 8}]}],
            "@odata.etag": "w1",
            'a"b': 7,
        }
    },
    "steps": {"find": {"result": {"id": "x1", "size": 3, "isFolder": False}}},
    "settings": {},
}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
HOSTILE = st.text(alphabet=st.sampled_from("{}[]().?\"'\\ ab_-10\n|+*")) | st.text()


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ steps.find.result.id }}", "x1"),
        ("{{steps.find.result.size}}", 3),
        ("{{ steps.find.result.isFolder }}", False),
        ("{{ trigger.event.numbers }}", [1, 2, 3]),
        ("{{ trigger.event.numbers[0] }}", 1),
        ("{{ trigger.event.numbers[-1] }}", 3),
        ('{{ trigger.event["@odata.etag"] }}', "w1"),
        ("{{ trigger.event['@odata.etag'] }}", "w1"),
        ('{{ trigger.event["a\\"b"] }}', 7),
        ('{{ trigger.event.deep[0]["a b"][-1].c }}', 8),
        ("{{ trigger.event.gone }}", None),
        ("{{ trigger.event.missing? }}", None),
        ("{{ trigger.event.missing?.further.on[3] }}", None),
        ("{{ trigger.event.gone?.further }}", None),
        ("{{ trigger.event.numbers[9]? }}", None),
        ("{{ trigger.event.name?.further? }}", None),
        ('{{ "{{" }}', "{{"),
        ("{{ 'a }} b' }}", "a }} b"),
        ("Hello {{ trigger.event.name }}!", "Hello Anna!"),
        ("{{ trigger.event.numbers }} {{ trigger.event.gone }}|", "[1,2,3] |"),
        ("{{ steps.find.result.isFolder }} {{ trigger.event.name }}", "false Anna"),
        (" {{ steps.find.result.size }}", " 3"),
        ("a }} b { c", "a }} b { c"),
        ({"a": ["{{ steps.find.result.size }}", 1, None], "{{ x }}": True}, {"a": [3, 1, None], "{{ x }}": True}),
    ],
)
def test_a_template_becomes(template: JsonValue, value: JsonValue) -> None:
    assert resolve(template, NAMES) == value


@pytest.mark.parametrize(
    ("template", "path", "field", "said"),
    [
        ("{{ trigger.event.nmae }}", "trigger.event.nmae", "", "Did you mean `name`?"),
        ({"a": [0, "x {{ steps.fnd.result }}"]}, "steps.fnd.result", "a[1]", "Did you mean `find`?"),
        ("{{ steps.find.zzz }}", "steps.find.zzz", "", "There is: `result`."),
        ("{{ settings.folder }}", "settings.folder", "", "There is nothing."),
        ("{{ item.name }}", "item.name", "", "there is no `item` here"),
        ("{{ trigger.event.numbers[3] }}", "trigger.event.numbers[3]", "", "has 3 entries"),
        ("{{ trigger.event.numbers.length }}", "trigger.event.numbers.length", "", "is a list"),
        ("{{ trigger.event[0] }}", "trigger.event[0]", "", "is an object"),
        ("{{ trigger.event.name.upper }}", "trigger.event.name.upper", "", "is a text"),
        ("{{ trigger.event.gone.x }}", "trigger.event.gone.x", "", "is null"),
        ("{{ trigger.event.missing.x? }}", "trigger.event.missing.x?", "", "no `missing`"),
        ("{{ steps.find.__class__ }}", "steps.find.__class__", "", "There is: `result`."),
    ],
)
def test_a_reference_to_nothing_says_where_it_broke_off_and_what_there_is(
    template: JsonValue, path: str, field: str, said: str
) -> None:
    with pytest.raises(ReferenceFailed) as failed:
        resolve(template, NAMES)

    assert (failed.value.path, failed.value.field) == (path, field)
    assert failed.value.meta == {"path": path, "field": field}
    assert said in failed.value.message
    assert failed.value.message.startswith(field)


@pytest.mark.parametrize(
    "text",
    [
        "{{ }}",
        "{{ a + b }}",
        "{{ a() }}",
        "{{ a.b | upper }}",
        "{{ a. b }}",
        "{{ a[b] }}",
        "{{ a",
        "{{{ a }}}",
        "{{ item? }}",
        '{{ "text".length }}',
        '{{ "\\n" }}',
        "{{ 1 }}",
        "{{ a[1 }}",
        "{{ a" + ".b" * 600 + " }}",
    ],
)
def test_what_is_no_reference_is_refused_and_shown(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"`\{\{"):
        resolve({"here": text}, NAMES)


def test_references_are_told_in_order_with_what_may_be_missing() -> None:
    found = references({"a": "{{ steps.find?.result[0] }} and {{ user.id }}", "b": ['{{ "text" }}', "{{ item }}"]})

    assert found == [
        Reference("steps", ("find", "result", 0), (True, False, False)),
        Reference("user", ("id",), (False,)),
        Reference("item"),
    ]
    assert [str(one) for one in found] == ["steps.find?.result[0]", "user.id", "item"]
    assert lone_reference("{{ user.id }}") == found[1]
    assert lone_reference("{{ user.id }} ") is lone_reference('{{ "x" }}') is lone_reference(7) is None


def test_only_the_names_that_are_used_are_looked_up() -> None:
    class Lazy(Mapping[str, Any]):  # Any: JSON
        def __init__(self) -> None:
            self.asked: list[str] = []

        def __getitem__(self, name: str) -> Any:  # Any: JSON
            self.asked.append(name)
            return {"id": name}

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("nobody lists them all")

        def __len__(self) -> int:
            raise AssertionError("nobody counts them")

    steps = Lazy()

    assert resolve("{{ steps.one.id }}-{{ steps.two.id }}", {"steps": steps}) == "one-two"  # type: ignore[dict-item]
    assert steps.asked == ["one", "two"]


def test_a_joined_text_has_a_limit() -> None:
    with pytest.raises(TooLarge):
        resolve("{{ item }}" * 17, {"item": "x" * (LARGEST_TEXT // 16)})


@given(ANY_JSON)
def test_a_lone_reference_keeps_the_value_of_whatever_type(value: JsonValue) -> None:
    found = resolve({"a": ["{{ item }}"]}, {"item": value})

    assert isinstance(found, dict)
    assert isinstance(found["a"], list)
    assert found["a"][0] is value


@given(st.text(), st.text(), ANY_JSON)
def test_what_is_joined_is_text_as_it_is_and_null_as_nothing(one: str, other: str, value: JsonValue) -> None:
    names: dict[str, JsonValue] = {"item": {"one": one, "other": other, "null": None, "value": value}}

    assert resolve("{{ item.one }}{{ item.null }}-{{ item.other }}", names) == f"{one}-{other}"
    assert isinstance(resolve("{{ item.value }} ", names), str)


@given(ANY_JSON.filter(lambda value: "{{" not in str(value)))
def test_what_holds_no_reference_stays_as_it_is(value: JsonValue) -> None:
    assert resolve(value, {}) == value


@given(st.dictionaries(st.text(), ANY_JSON, min_size=1), st.data())
def test_every_name_can_be_reached_in_quotes(value: dict[str, JsonValue], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    if len(quoted) < 1000:
        assert resolve(f'{{{{ item["{quoted}"] }}}}', {"item": value}) is value[name]
        assert str(references(f'{{{{ item["{quoted}"] }}}}')[0]).startswith("item")


class Spring:
    """Something whose attributes and calls would tell."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was looked up")

    def __call__(self) -> object:
        raise AssertionError("it was called")


@given(HOSTILE)
def test_no_text_evaluates_anything_or_fails_in_another_way_than_ours(text: str) -> None:
    names: Any = {"a": {"a": [1], "b": Spring()}, "b": Spring()}  # Any: not JSON, on purpose
    for template in (text, f"{{{{{text}}}}}", f"{{{{ a.{text} }}}}", f"{{{{ b.{text} }}}}"):
        with contextlib.suppress(InvalidRequest, ReferenceFailed, TypeError):  # a joined text cannot write a Spring
            resolve(template, names)


@pytest.mark.parametrize(
    "unit", ["{{", "{{ a", '{{ "', '{{ "\\"', "{{ a.b", "{{ a[", "{{ a[1]", " ", "{{ ", "a", "{{a}}", "{{ a? ", "}}"]
)
@pytest.mark.parametrize("head", ["", "{{ ", '{{ "', "{{ a", "{{ a["])
def test_reading_takes_time_in_proportion_to_length(head: str, unit: str) -> None:
    def seconds(count: int) -> float:
        began = time.process_time()
        with contextlib.suppress(InvalidRequest):
            references(head + unit * count)
        return time.process_time() - began

    assert seconds(40_000) < 2.0  # in proportion it takes 0.2 s at most; in its square, minutes
