"""The cyclic garbage collector, run when it makes no answer late."""

import gc
from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime

from latebin.timing.activity import Activity, RegularLook

INTERVAL: Final = 0.05
"""Seconds between two looks at the garbage; without a request in between, the service is quiet."""

WORTHWHILE: Final = 20_000
"""New objects that make a collection worth its time: a few megabytes."""

MOST: Final = 2_000_000
"""New objects that force a collection even if answers are due: about 200 MB, the bound on garbage."""

MARGIN: Final = 2.0
"""The least time to the next due answer, in multiples of the last collection's time."""


FIRST: Final = 0.1
"""The assumed time of the first collection, in seconds: that of 100,000 objects."""


def _gathered() -> int:
    # Allocations minus deallocations of container objects since the last collection; counted while disabled, too.
    return gc.get_count()[0]


@attrs.define(eq=False)
class GarbageScheduler:
    """A scheduler of garbage collections between answers, in place of CPython's own schedule.

    Neither style leaves cyclic garbage behind an answer, so there is little of it, from libraries. But a full
    collection walks over all live objects, which takes tens of milliseconds with 10,000 pending answers. So CPython's
    own schedule is switched off. A collection runs when the service is quiet and the next answer is not due within
    MARGIN times the time of the last collection. It also runs when MOST objects are new, which bounds the memory.

    Pending answers are new objects, too, but not garbage. That is why the service must be quiet: while ten thousand
    requests arrive there is nothing to collect, and each collection would take longer.

    Looks are regular while requests come or garbage is left, and rare otherwise.

    Attributes:
        clock: the clock of the looks.
        due_within: returns whether an answer is due within a number of seconds.
        requests: returns the number of requests so far.
        gathered: returns the number of new objects since the last collection.
        collect: runs a collection.
        activity: the events that end the rare looks.
    """

    clock: IReactorTime
    due_within: Callable[[float], bool]
    requests: Callable[[], int]
    gathered: Callable[[], int] = _gathered
    collect: Callable[[], object] = gc.collect
    activity: Activity = attrs.field(factory=Activity, kw_only=True)
    _took: float = attrs.field(default=FIRST, init=False)
    _requests: int = attrs.field(default=0, init=False)

    def start(self) -> None:
        """Take over from CPython, and look regularly.

        All objects that exist now are excluded from collections. To collect before would free little, and block a
        service that has just started for as long as 50 ms.
        """
        gc.disable()
        gc.freeze()
        RegularLook(self.clock, self.activity, INTERVAL, lambda _: self.look()).start()

    def look(self) -> bool:
        """Collect if it is worthwhile and makes no answer late, or if memory demands it.

        Returns:
            Whether requests come, or a worthwhile amount of garbage is left.
        """
        before, self._requests = self._requests, self.requests()
        gathered, quiet = self.gathered(), self._requests == before
        if gathered >= MOST or (gathered >= WORTHWHILE and quiet and not self.due_within(self._took * MARGIN)):
            self._measure()
        return not quiet or self.gathered() >= WORTHWHILE

    def _measure(self) -> None:
        started = self.clock.seconds()
        self.collect()
        self._took = self.clock.seconds() - started
