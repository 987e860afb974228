"""A body of JSON is read without holding the long contents of files in it, however it is cut into pieces."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import InvalidRequest, TooLarge
from landbridge.files import Files, RunFiles
from landbridge.settings import Settings
from landbridge.vault import KeyRing, KeySetting, Vault
from landbridge.web.uploads import LARGEST_FORM, short_json

VAULT = Vault(KeySetting(KeyRing.generate().text()))
LONG = 64 << 10

texts = st.text(max_size=20) | st.sampled_from(['"data":"', '\\"data": "x', "data", '"'])
data = st.builds(
    lambda unit, times: unit * times, st.sampled_from(["0f", "+/9="]), st.sampled_from([0, 3, LONG // 2, LONG])
)
values = st.recursive(
    st.none() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
files_in_json = st.fixed_dictionaries({"data": data | texts, "name": texts}, optional={"more": values})


async def pieces(text: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def restored(value: Any, texts: dict[str, str]) -> Any:  # Any: JSON
    if isinstance(value, dict):
        return {name: restored(one, texts) for name, one in value.items()}
    if isinstance(value, list):
        return [restored(one, texts) for one in value]
    return texts.get(value, value) if isinstance(value, str) else value


@pytest.fixture
def run(tmp_path: Path) -> RunFiles:
    return Files.from_settings(Settings(data_dir=tmp_path), VAULT).of("project", "run")


@given(value=st.lists(files_in_json | values, max_size=4), size=st.sampled_from([1, 7, 64, 1000, 100_000]))
async def test_what_is_set_aside_is_what_stood_there(run: RunFiles, value: Any, size: int) -> None:
    body = json.dumps(value).encode()

    short = await short_json(pieces(body, size if len(body) < 10_000 else 100_000), run)
    aside = {
        key: b"".join([chunk async for chunk in run.open(file).chunks()]).decode()
        for key, file in run._set_aside.items()
    }

    assert len(short) <= len(body)
    assert restored(json.loads(short), aside) == value
    assert all(len(text) >= LONG for text in aside.values())
    run._set_aside.clear()


async def test_what_is_long_apart_from_files_is_refused(run: RunFiles) -> None:
    with pytest.raises(TooLarge):
        await short_json(pieces(b'"' + b"a" * LARGEST_FORM, 100_000), run)


async def test_a_text_set_aside_is_taken_once_and_by_a_file(run: RunFiles) -> None:
    body = json.loads(await short_json(pieces(json.dumps({"data": "61" * LONG}).encode(), 9999), run))

    with pytest.raises(TooLarge, match="only the `data` of a file"):
        run.must_have_used_all()
    file = await run.receive({"name": "a.txt", **body})
    run.must_have_used_all()
    with pytest.raises(InvalidRequest):
        await run.receive({"name": "a.txt", **body, "encoding": "base64"})

    assert b"".join([chunk async for chunk in run.open(file).chunks()]) == b"a" * LONG
