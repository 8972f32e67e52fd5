"""The cyclic garbage collector, run when it makes no answer late."""

import gc
import sys
from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime

from latebin.timing.activity import Activity, RegularLook
from latebin.timing.allocator import return_memory

INTERVAL: Final = 0.05
"""Seconds between two looks at the garbage; without a request in between, the service is quiet."""

WORTHWHILE: Final = 20_000
"""New objects that make a collection worth its time: a few megabytes."""

MOST: Final = 4_000_000
"""New blocks of memory that force a collection even if answers are due: some 300 MB, the bound on garbage."""

MARGIN: Final = 2.0
"""The least time to the next due answer, in multiples of the last collection's time."""

FIRST: Final = 0.1
"""The assumed time of the first collection, in seconds: that of 100,000 objects."""

RETURN: Final = 0.2
"""The least time to the next due answer when memory is returned to the system, in seconds."""

MANY: Final = 10_000
"""Requests behind which freed memory is returned to the system."""

SLICE: Final = 5_000
"""New objects behind which all that are young are looked through, in some milliseconds."""

SLICES: Final = 10
"""The number of slices of which the last goes through older objects too."""

BRIEF: Final = 0.005
"""The longest expected time, in seconds, of a full collection among the slices."""

FEW: Final = 10_000
"""Blocks below which the time of a collection says little about that of a larger one."""


def _gathered() -> int:
    # Allocations minus deallocations of container objects since the last collection; counted while disabled, too.
    return gc.get_count()[0]


@attrs.define(eq=False)
class GarbageScheduler:
    """A scheduler of garbage collections between answers, in place of CPython's own schedule.

    Neither style leaves cyclic garbage behind an answer, so there is little of it, from libraries. But a full
    collection walks over all live objects, which takes tens of milliseconds with 10,000 pending answers. So CPython's
    own schedule is switched off. A full collection runs when the service is quiet and the next answer is not due within
    MARGIN times the time of the last one. It also runs when MOST blocks are new, which bounds the memory.

    Some traffic never pauses. There, each SLICE of new objects is looked through by itself: most garbage is found soon
    after it was made. Every tenth slice goes through the objects of the slices before, or through all if that is brief.
    As long as as many objects go as come, as with pending answers at a steady rate, no slice is due.

    Looks are regular while requests come or garbage is left, and rare otherwise.

    Attributes:
        clock: the clock of the looks.
        due_within: returns whether an answer is due within a number of seconds.
        requests: returns the number of requests so far.
        gathered: returns the number of new objects since the last collection of any kind.
        collect: runs a collection of a generation and of younger ones.
        allocated: returns the number of blocks of memory in use.
        freed: returns whether much memory other than objects was freed since it was last returned to the system.
        return_memory: returns it.
        activity: the events that end the rare looks.
    """

    clock: IReactorTime
    due_within: Callable[[float], bool]
    requests: Callable[[], int]
    gathered: Callable[[], int] = _gathered
    collect: Callable[[int], object] = gc.collect
    allocated: Callable[[], int] = sys.getallocatedblocks
    freed: Callable[[], bool] = lambda: False
    return_memory: Callable[[], object] = return_memory
    activity: Activity = attrs.field(factory=Activity, kw_only=True)
    _took: float = attrs.field(default=FIRST, init=False)
    _per_block: float = attrs.field(default=FIRST / 100_000, init=False)
    _requests: int = attrs.field(default=0, init=False)
    _returned: int = attrs.field(default=0, init=False)
    _kept: int = attrs.field(default=0, init=False)
    _slices: int = attrs.field(default=0, init=False)
    _base: int = attrs.field(default=0, init=False)
    _before: int = attrs.field(default=0, init=False)

    def start(self) -> None:
        """Take over from CPython, and look regularly.

        All objects that exist now are excluded from collections. To collect before would free little, and block a
        service that has just started for as long as 50 ms.
        """
        gc.disable()
        gc.freeze()
        self._base = self._before = self.allocated()
        RegularLook(self.clock, self.activity, INTERVAL, lambda _: self.look()).start()

    def look(self) -> bool:
        """Collect if it is worthwhile and makes no answer late, or if memory demands it.

        Returns:
            Whether requests come, or a worthwhile amount of garbage is left.
        """
        before, self._requests = self._requests, self.requests()
        gathered, quiet = self.gathered(), self._requests == before
        if quiet and self._kept + gathered >= WORTHWHILE and not self.due_within(self._took * MARGIN):
            self._collect_all()
        elif gathered >= SLICE:
            self._slices += 1
            blocks, last = self.allocated(), self._slices % SLICES == 0
            if blocks - self._before >= MOST or (last and (blocks - self._base) * self._per_block <= BRIEF):
                self._collect_all()
            else:
                self._kept += gathered
                self.collect(int(last))
        many = self._requests - self._returned >= MANY
        if quiet and not self.due_within(RETURN) and (self.freed() or many):
            self._returned = self._requests
            self.return_memory()
        return not quiet or self._kept + self.gathered() >= WORTHWHILE

    def _collect_all(self) -> None:
        blocks, started = self.allocated() - self._base, self.clock.seconds()
        self.collect(2)
        self._took = self.clock.seconds() - started
        if blocks >= FEW:
            self._per_block = self._took / blocks
        self._kept, self._before = 0, self.allocated()
