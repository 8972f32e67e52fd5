"""What a process and its children cost: CPU time and memory, as Linux tells them under /proc (proc(5))."""

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
"""Where utime stands in /proc/PID/stat, counted from the field behind the command's closing bracket; stime is next."""

_RESIDENT: Final = 1
"""Where the resident pages stand in /proc/PID/statm."""


@attrs.frozen(kw_only=True)
class Footprint:
    """What processes have used up to now.

    Attributes:
        cpu: seconds of CPU time since each process started, in steps of a clock tick (usually 10 ms).
        memory: bytes.
        source: "pss" when memory is proportional (shared pages counted once), "rss" where that cannot be read.
    """

    cpu: float
    memory: int
    source: Literal["pss", "rss"]


def read(pids: Iterable[int]) -> Footprint:
    """Look at processes and at all who descend from them.

    A process that ends while it is looked at counts for nothing.

    Args:
        pids: process ids.

    Returns:
        Their sum.

    Raises:
        RunError: one of pids is no process that can be looked at.
    """
    family = _family(pids)
    cpu = sum(map(_cpu, family))
    try:
        return Footprint(cpu=cpu, memory=sum(map(_proportional, family)), source="pss")
    except PermissionError:
        return Footprint(cpu=cpu, memory=sum(map(_resident, family)), source="rss")


def _family(pids: Iterable[int]) -> set[int]:
    family: set[int] = set()
    waiting = list(pids)
    for pid in waiting:
        if not (_PROC / str(pid) / "stat").exists():
            raise RunError(f"there is no process {pid} under {_PROC}")
    while waiting:
        pid = waiting.pop()
        if pid not in family:
            family.add(pid)
            waiting.extend(_children(pid))
    return family


def _children(pid: int) -> list[int]:
    lists = (_text(path) for path in (_PROC / str(pid) / "task").glob("*/children"))
    return [int(child) for text in lists for child in text.split()]


def _cpu(pid: int) -> float:
    fields = _text(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    return sum(map(int, fields[_USER_TIME : _USER_TIME + 2])) / _TICKS


def _proportional(pid: int) -> int:
    lines = _text(_PROC / str(pid) / "smaps_rollup").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _resident(pid: int) -> int:
    fields = _text(_PROC / str(pid) / "statm").split()
    return int(fields[_RESIDENT]) * _PAGE if fields else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
