"""How a service stops without losing an answer."""

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from latebin.core.http.reply import STOPPING
from latebin.core.language.duration import render
from latebin.core.settings import Settings
from latebin.site.connections import Connections

log = Logger()

LAST: Final = 1.0
"""Seconds for the refusals to leave, when the time for answers is up; then what is still open is cut."""

LATEST: Final = 0.1
"""Seconds for those that are cut to be closed."""


def longest(settings: Settings) -> float:
    """Return the seconds after which a drain is over, however many connections are still open."""
    return settings.shutdown_delay + settings.drain_timeout + LAST + 2 * LATEST


@attrs.define(eq=False)
class Drain:
    """A stop that answers pending requests, and then takes no new ones.

    Until the listening ends, new clients are served, so that a load balancer that polls `/readyz` has the time to
    choose another replica. After that, pending requests are answered when they are due, for as long as `drain_timeout`.
    A request that is not answered by then is refused, and an answer that has begun is broken off.

    Attributes:
        clock: measures the times.
        connections: those of the service.
        settings: how long each part takes.
        refuse: ends the listening; its Deferred fires when no new connection is accepted.
        done: fires when there is nothing left to wait for.
    """

    clock: IReactorTime
    connections: Connections
    settings: Settings
    refuse: Callable[[], Deferred[Any]]
    done: Deferred[None] = attrs.field(factory=Deferred, init=False)
    _call: IDelayedCall | None = attrs.field(default=None, init=False)
    _last: IDelayedCall | None = attrs.field(default=None, init=False)
    _since: float = attrs.field(default=0.0, init=False)
    _pending: int = attrs.field(default=0, init=False)
    _refused: int = attrs.field(default=0, init=False)

    def start(self) -> Deferred[None]:
        """Begin the drain.

        Returns:
            `done`.
        """
        self.connections.start_ending()
        hanging, endless = len(self.connections.hanging), len(self.connections.endless)
        log.info(
            "stopping: {pending} pending, listening for {delay}, then waiting for up to {wait}{hang}{streams}",
            pending=len(self.connections.requests) - hanging - endless,
            delay=render(self.settings.shutdown_delay),
            wait=render(self.settings.drain_timeout),
            hang=f"; {hanging} that hang are not waited for" if hanging else "",
            streams=f"; {endless} streams without end are ended then" if endless else "",
        )
        self._last = self.clock.callLater(longest(self.settings), self._give_up)
        self._call = self.clock.callLater(self.settings.shutdown_delay, self._listen_no_more)
        return self.done

    def break_off(self) -> None:
        """End the drain at a second signal, and log how many answers that loses."""
        if not self.done.called:
            log.warn("stopped by a second signal: {pending} pending broken off", pending=len(self.connections.requests))
        self.end()

    def end(self) -> None:
        """End the drain at once, whether or not connections are open."""
        if self.done.called:
            return
        for call in (self._call, self._last):
            if call is not None and call.active():
                call.cancel()
        self.done.callback(None)

    def _listen_no_more(self) -> None:
        self.refuse().addCallback(lambda _: self._wait())

    def _wait(self) -> None:
        if self.done.called:
            return
        self._since = self.clock.seconds()
        endless = len(self.connections.endless)
        self._pending = len(self.connections.requests) - self.connections.end_hanging() - endless
        self._call = self.clock.callLater(self.settings.drain_timeout, self._dismiss)
        self.connections.end().addCallback(lambda _: self._drained())
        self.connections.end_endless()

    def _dismiss(self) -> None:
        self._call = self.clock.callLater(LAST, self._cut)
        self._refused = self.connections.dismiss(STOPPING.reply())

    def _cut(self) -> None:
        """Abort the connections that are still open, and wait LATEST for them to close."""
        self._call = self.clock.callLater(LATEST, self._drained)
        self.connections.abort()

    def _give_up(self) -> None:
        """End the drain although the listening did not end, or ending the connections raised."""
        log.warn("stopped: {open} connections are still open", open=self.connections.open)
        self.end()

    def _drained(self) -> None:
        if self.done.called:
            return
        log.info(
            "stopped: waited {took} for {pending} pending, {refused} of them refused or broken off",
            took=render(round(self.clock.seconds() - self._since, 3)),
            pending=self._pending,
            refused=self._refused,
        )
        self.end()
