"""Regular looks, which become rare while a service is idle."""

from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

REST: Final = 10.0
"""Seconds from one look to the next while nothing happens."""


@attrs.define(eq=False)
class Activity:
    """The notice that something happens to a service.

    Events are a request, and a client that connects or leaves. An event costs one truth test as long as all looks go at
    their full pace: `if activity.resting: activity.begin()`.

    Attributes:
        resting: the looks that are rare now.
    """

    resting: "list[RegularLook]" = attrs.field(factory=list, init=False)

    def begin(self) -> None:
        """Bring every look back to its full pace."""
        resting, self.resting = self.resting, []
        for look in resting:
            look.hasten()


@attrs.define(eq=False)
class RegularLook:
    """A function that is called at an interval, or every `REST` seconds.

    It returns whether the interval goes on; `Activity.begin` ends a rest. After an exception, which the clock logs, it
    is called again in `REST` seconds.

    Attributes:
        clock: the clock of the interval.
        activity: the events that end a rest.
        interval: seconds from one look to the next.
        look: the function. It gets the seconds that its call is late, and returns whether the interval goes on.
    """

    clock: IReactorTime
    activity: Activity
    interval: float
    look: Callable[[float], bool]
    _due: float = attrs.field(default=0.0, init=False)
    _call: IDelayedCall | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        """Schedule the first look after the interval."""
        self._call_in(self.interval)

    def stop(self) -> None:
        """Stop looking."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self in self.activity.resting:
            self.activity.resting.remove(self)

    def hasten(self) -> None:
        """End the rest, with a look after the interval."""
        if self._call is not None:
            self._due = self.clock.seconds() + self.interval
            self._call.reset(self.interval)

    def _call_in(self, seconds: float) -> None:
        self._due = self.clock.seconds() + seconds
        self._call = self.clock.callLater(seconds, self._look)

    def _look(self) -> None:
        self._call, soon = None, False
        try:
            soon = self.look(self.clock.seconds() - self._due)
        finally:
            self._call_in(self.interval if soon else REST)
            if not soon:
                self.activity.resting.append(self)
