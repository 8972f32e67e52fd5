"""The cyclic garbage collector, run when it makes nobody's answer late."""

import gc
from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime

from latebin.timing.activity import Activity, RegularLook

INTERVAL: Final = 0.05
"""Seconds between two looks at what has gathered; without a request from one to the next, it is quiet."""

WORTHWHILE: Final = 20_000
"""Objects that may have gathered before a collection is worth its time: a few megabytes."""

MOST: Final = 2_000_000
"""Objects that may gather before they are collected whatever is due: about 200 MB, the bound of what garbage takes."""

MARGIN: Final = 2.0
"""How many times as long as the last collection the way to the next answer has to be."""


def _gathered() -> int:
    # Allocations less deallocations of what can be in a cycle, since the last collection; counted while disabled, too.
    return gc.get_count()[0]


@attrs.define(eq=False)
class GarbageScheduler:
    """Collects garbage between answers, instead of whenever enough has been allocated.

    Neither style leaves cyclic garbage behind an answer, so what gathers is little: what libraries leave behind now
    and then. A full collection walks over everything that is alive, though, which with 10,000 pending takes tens of
    milliseconds. So CPython's own schedule is switched off. A collection is made when nobody has asked since the last
    look and no answer is due for MARGIN times as long as the last one took, or, so that memory is bounded all the same,
    when MOST objects have gathered. What is pending has gathered, too, and is no garbage: so it is not enough that no
    answer is due. While ten thousand come to wait there is nothing to collect, and each collection would take longer.

    Looks are regular while requests come or something is left to collect, and rare otherwise.

    Attributes:
        clock: what it looks by.
        due_within: tells whether an answer is due before so many seconds are over.
        asked: gives how many requests there have been.
        gathered: how many objects there are that were not there after the last collection.
        collect: makes a collection.
        activity: what ends the time of rare looks.
    """

    clock: IReactorTime
    due_within: Callable[[float], bool]
    asked: Callable[[], int]
    gathered: Callable[[], int] = _gathered
    collect: Callable[[], object] = gc.collect
    activity: Activity = attrs.field(factory=Activity, kw_only=True)
    _took: float = attrs.field(default=0.0, init=False)
    _asked: int = attrs.field(default=0, init=False)

    def start(self) -> None:
        """Take over from CPython: collect, leave what is there out of every collection to come, and look regularly."""
        gc.disable()
        self._measure()
        gc.freeze()
        RegularLook(self.clock, self.activity, INTERVAL, lambda _: self.look()).start()

    def look(self) -> bool:
        """Collect if it is worthwhile and makes no answer late, or if it has to be.

        Returns:
            Whether requests come, or something is left that is worth a collection.
        """
        before, self._asked = self._asked, self.asked()
        gathered, quiet = self.gathered(), self._asked == before
        if gathered >= MOST or (gathered >= WORTHWHILE and quiet and not self.due_within(self._took * MARGIN)):
            self._measure()
        return not quiet or self.gathered() >= WORTHWHILE

    def _measure(self) -> None:
        started = self.clock.seconds()
        self.collect()
        self._took = self.clock.seconds() - started
