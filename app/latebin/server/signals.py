"""SIGTERM and SIGINT stop the service, a second one at once; other signals do nothing."""

import signal
from typing import TYPE_CHECKING, Any, Final, NoReturn

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger
from twisted.python.failure import Failure

from latebin.server.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND_SIGNAL: Final = 1
"""The exit code after a second signal: answers may be lost."""


IGNORED: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that other servers take for a request to reload; by default, each would end the process."""

log = Logger()


def ignore() -> None:
    """Survive the signals that have no meaning here, until `Signals` logs them."""
    for number in IGNORED:
        signal.signal(number, lambda *_: None)


class Signals:
    """A handler of signals instead of the reactor's, which raises at a second one.

    The second cannot be left to the kernel: a signal without a handler does not end the first process of a container,
    pid_namespaces(7).

    Args:
        reactor: the running reactor, which the first signal stops.
        guard: armed by the first signal, even in a turn of the reactor that does not end.

    Attributes:
        on_second: called at the second signal.
        ended: fails with SystemExit at the second signal, or with the failure of a start; otherwise never fires.
    """

    def __init__(self, reactor: ReactorBase, guard: Guard) -> None:
        self.on_second: list[Callable[[], object]] = []
        self.ended: Deferred[NoReturn] = Deferred()
        self._reactor = reactor
        self._guard = guard
        reactor.addSystemEventTrigger("before", "shutdown", guard.arm)
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell lets a process in the background ignore SIGINT: that stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._caught)
        for number in IGNORED:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ignored)

    def fail(self, failure: Failure) -> None:
        """End the process with a failure, unless it ends already."""
        if not self.ended.called:
            self.ended.errback(failure)

    def _caught(self, *_: Any) -> None:  # noqa: ANN401  # neither the signal nor the frame makes a difference
        # The reactor may have stopped already, or never come to the call below.
        if self._guard.armed:
            self._guard.shorten()
        self._guard.arm()
        self._reactor.callFromThread(self._stop)

    def _ignored(self, number: int, _: object) -> None:
        name = signal.Signals(number).name
        self._reactor.callFromThread(log.warn, "{name} does nothing: restart the service to reload", name=name)

    def _stop(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            if not self.ended.called:
                self.fail(Failure(SystemExit(SECOND_SIGNAL)))
                for call in self.on_second:
                    call()
