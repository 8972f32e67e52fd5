"""CPU time and memory of processes and their descendants, read from /proc (proc(5))."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import attrs

from latebin.load.schedule import RunError

_PROC: Final = Path("/proc")

_TICKS: Final = os.sysconf("SC_CLK_TCK")

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_USER_TIME: Final = 11
"""The index of utime in /proc/PID/stat, counted from the field behind the command's closing bracket; stime is next."""

_RESIDENT: Final = 1
"""The index of the resident pages in /proc/PID/statm."""


@attrs.frozen(kw_only=True)
class Footprint:
    """CPU time and memory of some processes at one moment.

    Attributes:
        cpu: seconds of CPU time since each process started, in steps of a clock tick (usually 10 ms).
        memory: bytes.
        source: "pss" for proportional memory, which counts shared pages once; "rss" where that cannot be read.
    """

    cpu: float
    memory: int
    source: Literal["pss", "rss"]


def read(pids: Iterable[int]) -> Footprint:
    """Sum up CPU time and memory of processes and all their descendants.

    A process that ends during the reading counts as zero.

    Args:
        pids: process ids.

    Returns:
        The sum.

    Raises:
        RunError: a process of `pids` does not exist.
    """
    family: set[int] = set()
    unread = list(pids)
    for pid in unread:
        if not (_PROC / str(pid) / "stat").exists():
            raise RunError(f"process {pid} does not exist ({_PROC / str(pid)} is missing)")
    while unread:
        pid = unread.pop()
        if pid not in family:
            family.add(pid)
            # Each thread has a list of its own: the children that it started.
            for children in (_PROC / str(pid) / "task").glob("*/children"):
                unread.extend(map(int, _text(children).split()))
    cpu = sum(map(_cpu, family))
    try:
        return Footprint(cpu=cpu, memory=sum(map(_proportional, family)), source="pss")
    except PermissionError:
        # Reading smaps_rollup takes the right to trace the process; statm can always be read.
        return Footprint(cpu=cpu, memory=sum(map(_resident, family)), source="rss")


def _cpu(pid: int) -> float:
    # The command is in brackets, and may itself have brackets and spaces in it.
    fields = _text(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    return sum(map(int, fields[_USER_TIME : _USER_TIME + 2])) / _TICKS


def _proportional(pid: int) -> int:
    lines = _text(_PROC / str(pid) / "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _resident(pid: int) -> int:
    fields = _text(_PROC / str(pid) / "statm").split()
    return int(fields[_RESIDENT]) * _PAGE if fields else 0


def _text(path: Path) -> str:
    """Read a file; return an empty text if its process has ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
