"""`python -m tests.bench [--only NAME] [--short]`: run the benchmarks, print a table, write build/bench.json.

A benchmark is a function that takes a `Bench` and leaves records; a new one is a module beside this one and a line in
`BENCHMARKS`. The exit code is 0 whatever the figures say: they judge the machine's day too, and readers judge them.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.setup import TREE
from tests.bench import footprint, onedrive, proxy, sandbox, waiting, workflows
from tests.bench.bench import Bench
from tests.bench.records import table

BENCHMARKS: dict[str, Callable[[Bench], None]] = {
    "proxy": proxy.measure,
    "footprint": footprint.measure,
    "sandbox": sandbox.measure,
    "onedrive": onedrive.measure,
    "workflows": workflows.measure,
    "waiting": waiting.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure Landbridge.")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="run this benchmark alone; repeat for more")
    parser.add_argument("--short", action="store_true", help="a moment each: for trying the benchmarks, not Landbridge")
    parser.add_argument("--to", type=Path, default=TREE / "build" / "bench.json", help="where the records go")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="landbridge-bench-") as folder:
        bench = Bench(Path(folder), short=given.short)
        for name in given.only or BENCHMARKS:
            print(f"{name} (load {os.getloadavg()[0]:.1f}) ...", flush=True)
            BENCHMARKS[name](bench)
    bench.records.save(given.to)
    print(f"\n{table(bench.records.kept)}\n\nWritten to {given.to}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
