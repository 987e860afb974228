"""`--data`: what was answered is found again by the next run, however the last one ended."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sandbox.caller import Caller, exact
from tests.sandbox.receiver import Receiver

from msgraph_sandbox.client import Client, ControlRefused
from msgraph_sandbox.server import Sandbox

ADA = "ada@contoso.example"


def test_a_drive_is_found_again_by_the_next_run(tmp_path: Path) -> None:
    large = bytes(range(256)) * 1000
    with Sandbox(data=tmp_path) as first:
        first.control.write(ADA, "Kept/large.bin", b"old")
        first.control.write(ADA, "Kept/large.bin", large)
        first.control.delete(ADA, "Notes.md")
        before = first.control.tree(ADA)
    del first
    gc.collect()
    with Sandbox(data=tmp_path) as second:
        assert second.control.tree(ADA) == before
        assert second.control.read(ADA, "Kept/large.bin") == large
        made = second.control.write(ADA, "new.txt", b"x")
        assert made["id"] not in {row["id"] for row in before.values()}
        second.control.write(ADA, "Kept/large.bin", b"new")
    with Sandbox(data=tmp_path) as third:
        assert third.control.read(ADA, "Kept/large.bin") == b"new"
        assert third.control.tree(ADA)["new.txt"]["size"] == 1


@contextmanager
def _process(data: Path) -> Iterator[dict[str, Any]]:
    """A sandbox in a process of its own, which is killed without a word."""
    command = [sys.executable, "-m", "msgraph_sandbox.cli", "serve", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.kill()
    assert process.returncode == -9


async def test_nothing_that_was_answered_is_lost_to_kill_9(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    body = os.urandom(700_000)
    with _process(tmp_path) as facts:
        ada = await Caller(session, facts).sign_in()
        await ada.control("POST", "/users", json={"email": "new@outlook.example", "tenant": "consumers"})
        new = await Caller(session, {**facts, "users": [{"email": "new@outlook.example"}]}).sign_in()
        refresh = (await ada.control("POST", f"/users/{ADA}/tokens", json={}))["refresh_token"]
        delta = (await ada.graph("GET", "/me/drive/root/delta"))["@odata.deltaLink"].partition("/v1.0")[2]
        await ada.graph("PUT", "/me/drive/root:/Notes.md:/content", 200, data=body)
        folder = await ada.graph("GET", "/me/drive/root:/Documents")
        invitation = {"recipients": [{"email": "new@outlook.example"}], "roles": ["read"]}
        await ada.graph("POST", "/me/drive/root:/Documents:/invite", json=invitation)
        binned = await new.graph("PUT", "/me/drive/root:/Gone/a.txt:/content", 201, data=b"back again")
        await new.graph("DELETE", "/me/drive/root:/Gone", 204)
        opened = await ada.graph("POST", "/me/drive/root:/up.bin:/createUploadSession", json={})
        await _fragment(session, opened["uploadUrl"], body, 0, 327_680, 202)
        small = await ada.graph("POST", "/me/drive/root:/small.bin:/createUploadSession", json={})
        await _fragment(session, small["uploadUrl"], b"ab", 0, 1, 202)
        await ada.control("POST", "/clock", json={"seconds": 60})
        await ada.control("POST", "/apps", json={"client_id": "mine", "name": "Mine", "secret": "s"})
    with _process(tmp_path) as facts:
        ada.facts = new.facts = facts
        changed = (await ada.graph("GET", delta))["value"]
        assert {"Notes.md", "Documents"} & {item["name"] for item in changed} == {"Notes.md"}
        versions = (await ada.graph("GET", "/me/drive/root:/Notes.md:/versions"))["value"]
        assert [version["size"] > 100_000 for version in versions] == [True, False]
        assert len((await ada.graph("GET", "/me/drive/root:/Documents:/permissions"))["value"]) == 2
        drive = folder["parentReference"]["driveId"]
        await new.graph("GET", f"/drives/{drive}/items/{folder['id']}/children")
        assert (await ada.token_call(grant_type="refresh_token", refresh_token=refresh))["access_token"]
        restored = binned["parentReference"]["id"]
        await new.graph("POST", f"/me/drive/items/{restored}/restore", json={})
        assert (await new.graph("GET", "/me/drive/root:/Gone/a.txt"))["id"] == binned["id"]
        for url, whole, first, name in ((opened, body, 327_680, "up.bin"), (small, b"ab", 1, "small.bin")):
            moved = url["uploadUrl"].replace(exact(url["uploadUrl"]).authority, f"127.0.0.1:{facts['ports'][3]}")
            await _fragment(session, moved, whole, first, len(whole), 201)
            item = await ada.graph("GET", f"/me/drive/root:/{name}")
            async with session.get(exact(item["@microsoft.graph.downloadUrl"])) as response:
                assert await response.read() == whole
        state = await ada.control("GET", "/state")
        assert "mine" in {app["client_id"] for app in state["apps"]}


async def _fragment(session: aiohttp.ClientSession, url: str, whole: bytes, first: int, end: int, status: int) -> None:
    headers = {"Content-Range": f"bytes {first}-{end - 1}/{len(whole)}"}
    async with session.put(exact(url), data=whole[first:end], headers=headers) as response:
        assert response.status == status, await response.text()


async def test_a_token_for_another_host_does_not_become_one_for_graph(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with Sandbox(data=tmp_path) as first:
        ada = Caller(session, first.announcement)
        form = {"grant_type": "refresh_token", "refresh_token": ada.user["refresh_token"]}
        given: dict[str, Any] = form | {"scope": "https://contoso-my.sharepoint.example/.default"}
        ada.token = (await ada.token_call(**given))["access_token"]
        await ada.graph("GET", "/me/drive", 401)
    async with Sandbox(data=tmp_path) as second:
        ada.facts = second.announcement
        refused = await ada.graph("GET", "/me/drive", 401)
        assert "Invalid audience" in refused["error"]["message"]


async def test_a_subscription_outlives_the_process(
    tmp_path: Path, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    with _process(tmp_path) as facts:
        ada = await Caller(session, facts).sign_in()
        body = {"changeType": "updated", "notificationUrl": receiver.url, "resource": "/me/drive/root"}
        made = await ada.graph("POST", "/subscriptions", 201, json=body | {"expirationDateTime": expires})
    with _process(tmp_path) as facts:
        await Caller(session, facts).control("DELETE", f"/drives/{ADA}/items/Notes.md")
        assert (await receiver.next())["subscriptionId"] == made["id"]


def test_a_reset_is_kept_too(tmp_path: Path) -> None:
    with _process(tmp_path) as facts:
        control = Client(facts["control_url"])
        control.delete(ADA, "Notes.md")
        control.reset()
    with _process(tmp_path) as facts:
        assert "Notes.md" in Client(facts["control_url"]).tree(ADA)


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    with _process(tmp_path):
        command = [sys.executable, "-m", "msgraph_sandbox.cli", "serve", "--data", str(tmp_path)]
        second = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert second.returncode == 1
    assert "another sandbox" in second.stderr


NAMES = st.sampled_from(["a", "A", "b", "c.txt", "Documents", "Documents/x", "Documents/y/z", "Notes.md", "q/w/e"])
STEPS = st.lists(
    st.tuples(st.just("write"), NAMES, st.binary(max_size=9))
    | st.tuples(st.just("large"), NAMES, st.just(b"x" * 40_000))
    | st.tuples(st.just("folder"), NAMES, st.none())
    | st.tuples(st.just("delete"), NAMES, st.none())
    | st.tuples(st.just("move"), NAMES, NAMES),
    max_size=12,
)


@settings(max_examples=25)
@given(steps=STEPS, again=STEPS)
def test_whatever_was_done_a_copy_of_the_folder_has_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], again: list[Any]
) -> None:
    """A copy of the folder at any moment is what a killed process leaves."""
    places = [tmp_path_factory.mktemp("data") / str(number) for number in range(3)]
    for place, following, todo in zip(places, places[1:], (steps, again), strict=False):
        with Sandbox(data=place) as running:
            for step in todo:
                _do(running, *step)
            trees = [running.control.tree(user["email"]) for user in running.announcement["users"]]
            contents = {path: running.control.read(ADA, path) for path in trees[0] if not path.endswith("/")}
            shutil.copytree(place, following)
        with Sandbox(data=following) as copy:
            assert [copy.control.tree(user["email"]) for user in copy.announcement["users"]] == trees
            assert {path: copy.control.read(ADA, path) for path in contents} == contents


def _do(running: Sandbox, kind: str, path: str, more: Any) -> None:
    control = running.control
    try:
        if kind in ("write", "large"):
            control.write(ADA, path, more)
        elif kind == "folder":
            control.make_folder(ADA, path)
        elif kind == "delete":
            control.delete(ADA, path)
        else:
            control.move(ADA, path, more)
    except ControlRefused:
        pass
