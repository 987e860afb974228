"""OneDrive actions beside rclone: a gigabyte each way, many small files, a long list.

Both read and write files on the same disk, and both compare QuickXorHashes. Ours runs each file as a run of its own,
with its checkpoints, and writes each result as JSON.
"""

import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random

from tests.bench.bench import Bench, Pairs, in_turns
from tests.bench.processes import MIB, cpu_seconds, forget_most_resident, most_resident, resident
from tests.bench.records import at_most, ratio_at_least
from tests.bench.stage import IN_FLIGHT, USER, Json, Stage, set_up

_SMALL = 10 << 10
_LISTED = "folder-00000"  # as the sandbox calls what it grows


def measure(bench: Bench) -> None:
    """Record each figure of ours beside rclone's."""
    with set_up(bench.folder / "onedrive") as stage:
        _measure_large(bench, stage)
        _measure_small(bench, stage)
        _measure_list(bench, stage)


@dataclass
class Beside:
    """Measures ours and rclone in turns: how fast they are, and how long they and the sandbox had a core for it."""

    bench: Bench
    stage: Stage
    name: str
    _cpu: dict[str, list[float]] = field(default_factory=dict)

    def rate(self, amount: float, unit: str, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
        """Record the rate of both sides, who do `amount` in the seconds that they return."""
        sides = {
            "ours": self._watched("ours", self.stage.steps.pid, ours),
            "theirs": self._watched("theirs", self.stage.rclone.pid, theirs),
        }
        pairs = Pairs(*in_turns(self.bench.pairs, *(lambda do=do: amount / do() for do in sides.values())))
        self.bench.records.record(
            self.name, pairs.value, unit, reference=pairs.reference, ratio=pairs.ratio, target=ratio_at_least(0.95)
        )
        for what, of in ((f"CPU of {self.name}", ""), (f"the sandbox's CPU of {self.name}", "'s sandbox")):
            our_cpu, their_cpu = (statistics.median(self._cpu[side + of]) for side in sides)
            self.bench.records.record(what, our_cpu, "s", reference=their_cpu or None)

    def _watched(self, side: str, pid: int, do: Callable[[], float]) -> Callable[[], float]:
        processes = {side: pid, f"{side}'s sandbox": self.stage.sandbox.pid}

        def watched() -> float:
            before = {of: cpu_seconds(pid) for of, pid in processes.items()}
            seconds = do()
            for of, pid in processes.items():
                self._cpu.setdefault(of, []).append(cpu_seconds(pid) - before[of])
            self.stage.clean_up()
            return seconds

        return watched


def _measure_large(bench: Bench, stage: Stage) -> None:
    """One gigabyte each way, in fragments of 10 MiB on both sides, which is what they do unless told otherwise."""
    size = (16 if bench.short else 1024) * MIB
    source = stage.folder / "large"
    _write(source / "large.bin", size)
    (kept,) = stage.steps.obey(keep=[["large", str(source / "large.bin")]])["files"]
    large = _Large(stage, source, kept, stage.new_folder("large"))
    _measure_growing(bench, stage, "Save File of 1 GiB", size, large.save_anew, large.save_theirs)
    large.save("large.bin")
    _measure_growing(bench, stage, "Get File of 1 GiB", size, large.get, large.get_theirs)
    stage.forget("large")


@dataclass(frozen=True)
class _Large:
    """A file that both sides have: ours as a run's file, rclone as one on disk. What they make is removed at once."""

    stage: Stage
    source: Path
    kept: Json
    folder_id: str

    def save(self, name: str) -> float:
        given = {"file": self.kept, "folderId": self.folder_id, "name": name}
        return self.stage.steps.run("save_file", [("large", given)])[0]

    def save_anew(self) -> float:
        name = self.stage.new_name()
        self.stage.later(lambda: self.stage.forget(f"large/{name}"))
        return self.save(name)

    def save_theirs(self) -> float:
        name = self.stage.new_name()
        self.stage.later(lambda: self.stage.forget(f"large/{name}"))
        copied = _copy(self.source, "large.bin", "one:", f"large/{name}")
        return self.stage.rclone.run("operations/copyfile", **copied)[0]

    def get(self) -> float:
        run = self.stage.new_name()
        self.stage.later(lambda: self.stage.steps.obey(clear=[run]))
        return self.stage.steps.run("get_file", [(run, {"filePath": "large/large.bin"})])[0]

    def get_theirs(self) -> float:
        self.stage.later((self.source / "fetched.bin").unlink)
        copied = _copy("one:", "large/large.bin", self.source, "fetched.bin")
        return self.stage.rclone.run("operations/copyfile", **copied)[0]


def _measure_growing(
    bench: Bench, stage: Stage, name: str, size: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> None:
    """Measure also how much more memory both sides take than while they are idle."""
    pids = stage.steps.pid, stage.rclone.pid
    before = [resident(pid) for pid in pids]
    for pid in pids:
        forget_most_resident(pid)
    Beside(bench, stage, name).rate(size / 1e6, "MB/s", ours, theirs)
    grown = [(most_resident(pid) - idle) / MIB for pid, idle in zip(pids, before, strict=True)]
    bench.records.record(f"memory grown by {name}", grown[0], "MiB", reference=grown[1], target=at_most(32))


def _measure_small(bench: Bench, stage: Stage) -> None:
    """Many small files each way, as many at once on both sides."""
    source = stage.folder / "small"
    names = [f"{number:04}.bin" for number in range(20 if bench.short else 1000)]
    for name in names:
        _write(source / name, _SMALL)
    kept = stage.steps.obey(keep=[[name, str(source / name)] for name in names])["files"]
    small = _Small(stage, source, dict(zip(names, kept, strict=True)))
    saving, getting = (f"{action} of 10 KiB, {IN_FLIGHT} at once" for action in ("Save File", "Get File"))
    Beside(bench, stage, saving).rate(len(names), "files/s", small.save_anew, small.save_theirs)
    small.save("small")
    Beside(bench, stage, getting).rate(len(names), "files/s", small.get, small.get_theirs)


@dataclass
class _Small:
    """Files that both sides have: ours each in a run of its own, rclone in a folder."""

    stage: Stage
    source: Path
    kept: Json

    def save(self, folder: str) -> float:
        folder_id = self.stage.new_folder(folder)
        inputs = [(name, {"file": file, "folderId": folder_id}) for name, file in self.kept.items()]
        return self.stage.steps.run("save_file", inputs, IN_FLIGHT)[0]

    def save_anew(self) -> float:
        folder = self.stage.new_name()
        self.stage.later(lambda: self._check_and_forget(folder))
        return self.save(folder)

    def save_theirs(self) -> float:
        folder = self.stage.new_name()
        self.stage.later(lambda: self._check_and_forget(folder))
        self.stage.new_folder(folder)
        return self.stage.rclone.run("sync/copy", srcFs=str(self.source), dstFs=f"one:{folder}")[0]

    def get(self) -> float:
        inputs = [(self.stage.new_name(), {"fileId": id_}) for id_ in self.ids]
        self.stage.later(lambda: self.stage.steps.obey(clear=[run for run, _ in inputs]))
        return self.stage.steps.run("get_file", inputs, IN_FLIGHT)[0]

    def get_theirs(self) -> float:
        place = self.stage.folder / self.stage.new_name()
        self.stage.later(lambda: shutil.rmtree(place))
        seconds, _ = self.stage.rclone.run("sync/copy", srcFs="one:small", dstFs=str(place))
        assert len(list(place.iterdir())) == len(self.kept)
        return seconds

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the files on the drive; rclone writes the drive's before each."""
        return [one["ID"].rpartition("#")[2] for one in self.stage.list("small")]

    def _check_and_forget(self, folder: str) -> None:
        assert len(self.stage.list(folder)) == len(self.kept)
        self.stage.forget(folder)


def _measure_list(bench: Bench, stage: Stage) -> None:
    """A folder with very many files, all pages: as List Files gives it, and as `rclone lsjson --hash` does."""
    count = 2000 if bench.short else 100_000
    stage.control.grow(USER, count, per_folder=count)

    def ours() -> float:
        seconds, items = stage.steps.run("list_files", [(stage.new_name(), {"folderPath": _LISTED})])
        assert items == count
        return seconds

    def theirs() -> float:
        seconds, answer = stage.rclone.run("operations/list", fs="one:", remote=_LISTED, opt={"showHash": True})
        assert len(answer["list"]) == count
        return seconds

    Beside(bench, stage, "List Files of 100,000 items").rate(count, "items/s", ours, theirs)


def _copy(source: Path | str, name: str, destination: Path | str, new_name: str) -> Json:
    return {"srcFs": str(source), "srcRemote": name, "dstFs": str(destination), "dstRemote": new_name}


def _write(place: Path, size: int) -> None:
    """Write a file that nothing can compress."""
    place.parent.mkdir(exist_ok=True)
    random = Random(size)
    with place.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(random.randbytes(min(MIB, size - start)))
