"""The usage of this process: CPU time, memory, descriptors."""

import contextlib
import os
import resource
import time
from pathlib import Path
from typing import Final

import attrs

_PAGE: Final = resource.getpagesize()

_DESCRIPTORS: Final = Path("/proc/self/fd")


@attrs.frozen
class Usage:
    """The resources that a process has used, or uses now.

    Attributes:
        cpu: seconds of CPU time, in the system too, since it started.
        resident: bytes of memory that are in RAM; 0 where the platform does not report it.
        descriptors: the number of open descriptors; 0 where the platform does not report it.
        most_descriptors: the number that may be open (RLIMIT_NOFILE's soft limit), getrlimit(2).
    """

    cpu: float
    resident: int
    descriptors: int
    most_descriptors: int


class Meter:
    """A meter of this process's usage, which needs no new descriptor at each reading."""

    def __init__(self) -> None:
        self._statm = -1

    def open(self) -> None:
        """Open the meter's descriptor; readings before that have 0 for the memory."""
        with contextlib.suppress(OSError):
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> Usage:
        """Look at this process."""
        resident = int(os.pread(self._statm, 100, 0).split()[1]) * _PAGE if self._statm >= 0 else 0
        # Linux 6.2 counts them so, proc_pid_fd(5): listing ten thousand would delay answers.
        try:
            descriptors = _DESCRIPTORS.stat().st_size
        except OSError:
            descriptors = 0
        return Usage(time.process_time(), resident, descriptors, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def close(self) -> None:
        """Close the meter's descriptor; readings after that have 0 for the memory."""
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1
