"""The process that a function runs in, before it is one: `landbridge-jail`, started by the pool in `jail`.

It takes from itself whatever the machine lets it, then becomes the interpreter. The interpreter offers a function no
files, network, environment or processes; this is for the day when somebody finds a hole in it. What the machine does
not allow (a network namespace in most containers) is left out: the rest holds all the same.
"""

import contextlib
import ctypes
import os
import resource
import sys
import sysconfig
from pathlib import Path

ADDRESS_SPACE = 1 << 30
"""Bytes that a process may map: the most memory that a step may have, four times over."""

_NOBODY = 65534
_OPEN_FILES = 16
_INHERITED = 1 << 16
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_SIGKILL = 9


def main() -> None:
    """Give up what a function has no need of, and become its interpreter."""
    interpreter = os.open(Path(sysconfig.get_path("scripts"), "monty"), os.O_RDONLY | os.O_CLOEXEC)
    is_root = os.geteuid() == 0
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(_CLONE_NEWNET if is_root else _CLONE_NEWNET | _CLONE_NEWUSER)
    _limit()
    if is_root:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    if sys.platform == "linux":  # after the user: who becomes another forgets whose death to die with
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    os.closerange(3, interpreter)
    os.closerange(interpreter + 1, _INHERITED)
    os.execve(interpreter, ["monty", *sys.argv[1:]], {})  # noqa: S606 - there is no shell to spare


def _limit() -> None:
    for what, most in (
        (resource.RLIMIT_AS, ADDRESS_SPACE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        with contextlib.suppress(ValueError, OSError):  # it is lower already, or this system has no such limit
            resource.setrlimit(what, (most, most))
