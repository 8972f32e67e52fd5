"""How much the machine lets this process have."""

import contextlib
import os
import resource
from math import ceil
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")

_OWN: Final = 32
"""Descriptors that the service has for itself: its output, its sockets, its timers, what it reads of the machine."""

_SPARE: Final = 0.1
"""The share of the descriptors that is left for what is not pending: idle connections, and those that are refused."""


def raise_descriptors() -> None:
    """Let this process, and those that it starts, open as many descriptors as it may: RLIMIT_NOFILE, getrlimit(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A kernel may have a limit of its own below the hard one.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_pending() -> int | None:
    """Tell how many answers can be pending on connections of their own, and others still be refused.

    Returns:
        None where there is no limit to the descriptors.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(1, int(soft * (1 - _SPARE)) - _OWN)


def cores() -> int:
    """Count the cores that this process may use: those it may run on, sched_getaffinity(2), or its cgroup's share."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _share(allowed))


def _share(most: int) -> int:
    """Read the quota of a container, cgroup v2's cpu.max: microseconds of CPU time, in a period of so many."""
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return most
    return most if quota == "max" else ceil(int(quota) / int(period))
