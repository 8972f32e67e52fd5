"""How long connections are waited for: one delayed call for all that are waited for as long."""

from itertools import takewhile
from typing import Final, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Awaited(Protocol):
    """Who is waited for, and is told when it was waited for long enough."""

    def timed_out(self) -> None: ...


@attrs.define(eq=False)
class Queue:
    """Those that are waited for as long as each other, so that who came first is due first.

    A connection is idle for a moment between any two requests: to come and to go is all that most do here, and neither
    touches the delayed call. It is made for the first that comes; when its time has come and that one has long gone, it
    is made anew for whoever is the first then.

    Attributes:
        period: seconds.
        clock: what they go by.
    """

    period: Final[float]
    clock: Final[IReactorTime]
    _due: dict[Awaited, float] = attrs.field(factory=dict, init=False)
    _call: IDelayedCall | None = attrs.field(default=None, init=False)

    def enter(self, awaited: Awaited) -> None:
        """Wait for somebody who is not waited for here yet."""
        self._due[awaited] = self.clock.seconds() + self.period
        if self._call is None:
            self._call = self.clock.callLater(self.period, self._look)

    def leave(self, awaited: Awaited) -> None:
        """Wait no more for somebody."""
        del self._due[awaited]

    def close(self) -> None:
        """Withdraw the delayed call, as nobody is waited for."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _look(self) -> None:
        # The call that was made stands for the next: whoever comes meanwhile would make one that is late for others.
        try:
            self._tell(self.clock.seconds())
        finally:
            self._call = None
            first = next(iter(self._due.values()), None)
            if first is not None:
                self._call = self.clock.callLater(max(0.0, first - self.clock.seconds()), self._look)

    def _tell(self, now: float) -> None:
        for awaited, _ in list(takewhile(lambda entry: entry[1] <= now, self._due.items())):
            # To tell one may be the end of another.
            if self._due.pop(awaited, None) is not None:
                awaited.timed_out()


@attrs.frozen(eq=False)
class Timeouts:
    """The queues of one site, one for each period.

    Attributes:
        clock: what they go by.
    """

    clock: IReactorTime
    _queues: dict[float, Queue] = attrs.field(factory=dict, init=False)

    def queue(self, period: float) -> Queue:
        """Give those that are waited for so many seconds."""
        found = self._queues.get(period)
        if found is None:
            found = self._queues[period] = Queue(period, self.clock)
        return found

    def close(self) -> None:
        """Leave no delayed call behind, as nobody is connected."""
        for queue in self._queues.values():
            queue.close()
