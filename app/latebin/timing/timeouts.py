"""Timeouts of connections, with one delayed call for all with the same period."""

from itertools import takewhile
from typing import Final, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Awaited(Protocol):
    """An object whose `timed_out` is called when its period has passed."""

    def timed_out(self) -> None: ...


@attrs.define(eq=False)
class Queue:
    """The objects with one period, in the order of their due times.

    A connection is idle for a moment between any two requests, so most objects enter and leave long before their due
    time. Neither touches the delayed call. The first object that enters starts it. When it fires and that object has
    left, it is started again for the first object at that time.

    Attributes:
        period: seconds.
        clock: the clock of the period.
    """

    period: Final[float]
    clock: Final[IReactorTime]
    _due: dict[Awaited, float] = attrs.field(factory=dict, init=False)
    _call: IDelayedCall | None = attrs.field(default=None, init=False)

    def enter(self, awaited: Awaited) -> None:
        """Start the period of an object that is not in the queue."""
        self._due[awaited] = self.clock.seconds() + self.period
        if self._call is None:
            self._call = self.clock.callLater(self.period, self._look)

    def leave(self, awaited: Awaited) -> None:
        """Remove an object, whose timeout is then never called."""
        del self._due[awaited]

    def close(self) -> None:
        """Cancel the delayed call of an empty queue."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _look(self) -> None:
        # `_call` stays set meanwhile: an object that enters now must not start a call, which would be late for others.
        now = self.clock.seconds()
        try:
            for awaited, _ in list(takewhile(lambda entry: entry[1] <= now, self._due.items())):
                # The timeout of one object may remove another.
                if self._due.pop(awaited, None) is not None:
                    awaited.timed_out()
        finally:
            self._call = None
            first = next(iter(self._due.values()), None)
            if first is not None:
                self._call = self.clock.callLater(max(0.0, first - self.clock.seconds()), self._look)


@attrs.frozen(eq=False)
class Timeouts:
    """The queues of one site, one for each period.

    Attributes:
        clock: the clock of all periods.
    """

    clock: IReactorTime
    _queues: dict[float, Queue] = attrs.field(factory=dict, init=False)

    def queue(self, period: float) -> Queue:
        """Return the queue of a period in seconds."""
        found = self._queues.get(period)
        if found is None:
            found = self._queues[period] = Queue(period, self.clock)
        return found

    def close(self) -> None:
        """Cancel all delayed calls, when no object is in a queue."""
        for queue in self._queues.values():
            queue.close()
