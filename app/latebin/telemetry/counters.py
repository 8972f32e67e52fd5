"""Counters in memory that the processes of all workers share."""

import os
import sys
import tempfile
from collections.abc import Sequence
from mmap import mmap
from typing import Final

_CELL: Final = 8
"""Bytes of a float. An aligned one is loaded and stored whole, so that readers in other processes need no lock."""


class SharedCounters:
    """Rows of numbers, one for each worker.

    Only the worker writes to its row. The memory outlives the worker, so that no count is lost with the process.

    Args:
        width: numbers in a row.
        rows: workers.
        descriptor: the memory, as `shared` returns it, on which each process opens counters. The default is memory of
            this process alone.

    Attributes:
        descriptor: the same; -1 without one.
    """

    def __init__(self, width: int, rows: int = 1, descriptor: int = -1) -> None:
        self.descriptor = descriptor
        cells = memoryview(mmap(descriptor, width * rows * _CELL)).cast("d")
        self._rows = [cells[start : start + width] for start in range(0, width * rows, width)]

    def row(self, number: int) -> "memoryview[float]":
        """Return the cells of a worker, to be written to in place."""
        return self._rows[number]

    def total(self, start: int, stop: int) -> Sequence[float]:
        """Add up a stretch of cells over all the workers."""
        stretches = [row[start:stop] for row in self._rows]
        counted = [cells for cells in stretches if cells.tobytes().strip(b"\0")] or stretches[:1]
        if len(counted) == 1:
            return list(counted[0])
        return list(map(sum, zip(*counted, strict=True)))


def shared(width: int, rows: int) -> int:
    """Make memory for the SharedCounters of several processes, all zeros.

    Returns:
        A descriptor that other processes can inherit: of memfd_create(2) on Linux, elsewhere of a file without a name.
    """
    if sys.platform == "linux":
        descriptor = os.memfd_create("latebin-counters")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, width * rows * _CELL)
    return descriptor
