"""What Linux knows of a process: its memory, and the time that it ran on a core."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

MIB = 1 << 20


def cpu_seconds(pid: int) -> float:
    """Return how long a process has run on a core, in its own code and in the kernel for it."""
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Return the bytes of memory that a process occupies now, shared ones too."""
    return _kib(pid, "VmRSS") << 10


def most_resident(pid: int) -> int:
    """Return the most bytes that a process occupied since `forget_most_resident`, as the kernel counted them."""
    return _kib(pid, "VmHWM") << 10


def forget_most_resident(pid: int) -> None:
    """Begin to count anew (proc(5), `clear_refs`)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def children(pid: int) -> Sequence[int]:
    """Return the processes that a process started and that still run."""
    return [int(child) for child in _proc(pid, f"task/{pid}/children").split()]


@contextlib.contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes meanwhile, so that what they do while they have nothing to do takes nothing from the others."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _kib(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", _proc(pid, "status"), re.MULTILINE)
    assert found, f"process {pid} has ended"
    return int(found[1])


def _proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()
