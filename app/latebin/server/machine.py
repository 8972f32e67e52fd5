"""The resources that the machine leaves to this process."""

import contextlib
import os
import resource
from math import ceil
from pathlib import Path
from typing import Final

_CGROUP: Final = Path("/sys/fs/cgroup")

_MEMINFO: Final = Path("/proc/meminfo")

FOR_EACH_CORE: Final = 4
"""Workers that can be asked for per core; more would only wait for each other."""

MOST_WORKERS: Final = 256
"""The most workers that can be asked for, on any machine."""

WORKER: Final = 40 * 1024**2
"""Bytes of memory of a worker that begins to accept, without its log's buffer; 38 MiB were measured."""

_PIPES: Final = 3
"""Descriptors of the first process for each worker."""

_OWN: Final = 32
"""Descriptors that the service has for itself: its output, its sockets, its timers, files of /proc and cgroups."""

_SPARE: Final = 0.1
"""The share of the descriptors that is left for idle connections, and for those that are refused."""


def raise_descriptors() -> None:
    """Raise the limit of descriptors as far as it goes: RLIMIT_NOFILE of getrlimit(2).

    Processes that this one starts inherit it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A kernel may have a limit of its own below the hard one.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_pending() -> int | None:
    """Return how many answers can be pending while others can still be refused.

    Returns:
        The number, each on a connection of its own; None where the descriptors have no limit.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(1, int(soft * (1 - _SPARE)) - _OWN)


def most_workers() -> int:
    """Return how many workers can be asked for."""
    return min(FOR_EACH_CORE * cores(), MOST_WORKERS)


def fitting_workers() -> int:
    """Return the number of workers for `auto`: one per core, fewer if memory is short."""
    available = available_memory()
    return min(cores(), MOST_WORKERS, max(1, available // WORKER) if available is not None else MOST_WORKERS)


def check_workers(workers: int, log_buffer: int) -> None:
    """Check that the machine holds so many workers.

    Args:
        workers: their number.
        log_buffer: bytes of the log that each of them keeps.

    Raises:
        ValueError: the machine has too little memory for them, or this process too few descriptors.
    """
    needed, available = workers * (WORKER + log_buffer), available_memory()
    if available is not None and needed > available:
        raise ValueError(
            f"{workers} workers need {needed >> 20} MiB of memory, and {available >> 20} MiB are available"
        )
    descriptors, (soft, _) = _OWN + _PIPES * workers, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and descriptors > soft:
        raise ValueError(f"{workers} workers need {descriptors} file descriptors, and {soft} may be open")


def available_memory() -> int | None:
    """Return the bytes of memory that are left, of the machine or of its cgroup.

    Returns:
        The lesser of the two; None where neither is known.
    """
    known = []
    with contextlib.suppress(OSError, KeyError, ValueError):
        # In KiB: proc_meminfo(5).
        fields = dict(line.split(":") for line in _MEMINFO.read_text("ascii").splitlines())
        known.append(int(fields["MemAvailable"].split()[0]) * 1024)
    # Without cgroup v2 there is no such file, and without a limit it has "max".
    with contextlib.suppress(OSError, KeyError, ValueError):
        most = int((_CGROUP / "memory.max").read_text())
        held = int((_CGROUP / "memory.current").read_text())
        parts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # The file cache can be given up.
        known.append(max(0, most - held + int(parts["inactive_file"])))
    return min(known, default=None)


def cores() -> int:
    """Count the cores that this process may use.

    These are the cores it may run on, sched_getaffinity(2), or the share of its cgroup where that is less.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A container has a quota of each period, in cgroup v2's cpu.max.
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, ceil(int(quota) / int(period)))
