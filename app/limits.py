"""How much the machine lets this process have."""

import os
from math import ceil
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


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
