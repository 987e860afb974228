"""The benchmarks still work: every record is made, with its fields. What the figures are is another matter."""

import json
from pathlib import Path

import pytest
from scripts.setup import BIN
from tests.bench.__main__ import BENCHMARKS, main
from tests.bench.load import read_wrk

needs_tools = pytest.mark.skipif(
    not ((BIN / "nginx").exists() and (BIN / "wrk").exists()),
    reason="there is no nginx or wrk here: run `python3 scripts/setup.py nginx wrk`",
)


def beside_rclone(name: str, unit: str) -> list[tuple[str, str, float | None]]:
    return [(name, unit, 0.95), (f"CPU of {name}", "s", None), (f"the sandbox's CPU of {name}", "s", None)]


def beside_the_engine(database: str) -> list[tuple[str, str, float | None]]:
    return [
        (f"runs of two journaled steps, 16 at once, {database}", "runs/s", 0.6),
        (f"median of one such run at a time, {database}", "ms", None),
        (f"journaled step more, {database}", "ms", None),
        (f"entries of a fan-out of 20, {database}", "entries/s", 0.6),
    ]


@needs_tools
@pytest.mark.timeout(900)  # it starts some thirty servers, beside the other tests
def test_every_benchmark_leaves_its_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "bench.json"

    assert main(["--short", "--to", str(place)]) == 0

    records = json.loads(place.read_text())
    assert [(one["name"], one["unit"], one["target"]) for one in records] == [
        ("GET of 2 KB, 16 connections", "requests/s", 0.25),
        ("CPU of a GET of 2 KB, 16 connections", "us", None),
        ("added to the median of a GET of 2 KB, 1 connection", "ms", 0.6),
        ("GET of 1 GiB", "MB/s", 0.9),
        ("memory grown by GET of 1 GiB", "MiB", 16),
        ("PUT of 1 GiB", "MB/s", 0.9),
        ("memory grown by PUT of 1 GiB", "MiB", 16),
        ("first start to ready", "s", None),
        ("start to ready", "s", 2),
        ("idle memory of serve and worker", "MB", 200),
        ("sandbox: 100,000 items seeded", "s", 20),
        ("sandbox: memory of 100,000 items", "MB", 500),
        ("sandbox: pages of children at 100,000 items", "pages/s", 0.8),
        ("sandbox: pages of delta at 100,000 items", "pages/s", 0.8),
        ("sandbox: upload session of 64 MiB", "MB/s", 0.3),
        ("sandbox: growth by that upload session", "MiB", 64),
        ("sandbox: download of 64 MiB", "MB/s", 0.3),
        ("sandbox: growth by that download", "MiB", 64),
        *beside_rclone("Save File of 1 GiB", "MB/s"),
        ("memory grown by Save File of 1 GiB", "MiB", 32),
        *beside_rclone("Get File of 1 GiB", "MB/s"),
        ("memory grown by Get File of 1 GiB", "MiB", 32),
        *beside_rclone("Save File of 10 KiB, 4 at once", "files/s"),
        *beside_rclone("Get File of 10 KiB, 4 at once", "files/s"),
        *beside_rclone("List Files of 100,000 items", "items/s"),
        *beside_the_engine("SQLite (WAL, FULL)"),
        *beside_the_engine("PostgreSQL (fsync on, synchronous_commit on)"),
        ("memory grown by 100 delayed runs", "MiB", 60),
        ("runs that wait for somebody slow, two workers beside one", "runs/s", 1.6),
    ]
    for record in records:
        assert list(record) == ["name", "value", "unit", "reference", "ratio", "target", "met"]
        assert isinstance(record["value"], float)
        assert (record["met"] is None) == (record["target"] is None)
    rates = [one for one in records if one["unit"] in {"requests/s", "MB/s", "files/s", "items/s"}]
    assert all(one["value"] > 0 and one["reference"] > 0 and one["ratio"] > 0 for one in rates)
    shown = capsys.readouterr().out
    assert all(f"| {one['name']}" in shown for one in records)


def test_a_benchmark_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "everything"])

    said = capsys.readouterr().err
    assert all(name in said for name in BENCHMARKS)


GOOD = """Running 4s test @ http://127.0.0.1:8080/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.94ms  310.00us   9.90ms   91.02%
    Req/Sec     8.18k   402.00     8.90k    75.00%
  Latency Distribution
     50%    1.88ms
     75%    2.01ms
  32768 requests in 4.00s, 72.10MB read
Requests/sec:   8190.50
Transfer/sec:     18.02MB
"""


def test_what_wrk_prints_is_read() -> None:
    seen = read_wrk(GOOD)

    assert (seen.requests, seen.per_second, seen.median_ms) == (32768, 8190.5, 1.88)
    assert read_wrk(GOOD.replace("1.88ms", "412.00us")).median_ms == pytest.approx(0.412)


@pytest.mark.parametrize(
    "failure",
    ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"],
)
def test_a_burst_with_failures_is_no_measurement(failure: str) -> None:
    with pytest.raises(RuntimeError, match="wrk says"):
        read_wrk(GOOD + failure)


def test_anything_else_that_wrk_prints_is_no_measurement() -> None:
    with pytest.raises(RuntimeError, match="something else"):
        read_wrk("unable to connect to 127.0.0.1:8080 Connection refused\n")
