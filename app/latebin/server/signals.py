"""SIGTERM and SIGINT: the first stops the service, another one stops the stopping."""

import signal
from typing import TYPE_CHECKING, Any, Final, NoReturn

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from latebin.server.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

HURRIED: Final = 1
"""The exit code after a second signal: answers may be lost."""


class Signals:
    """Handles signals in the place of the reactor, to which a second one is an error.

    To leave the second to the kernel would not do: what runs as the first process of a container is not ended by a
    signal that it does not handle, pid_namespaces(7).

    Args:
        reactor: what the first signal stops; it runs.
        guard: armed by the first signal, even in a turn of the reactor that does not end.

    Attributes:
        hurry: called at the second signal.
        ended: fails with SystemExit at the second signal, or with the failure of a start; otherwise never fires.
    """

    def __init__(self, reactor: ReactorBase, guard: Guard) -> None:
        self.hurry: list[Callable[[], object]] = []
        self.ended: Deferred[NoReturn] = Deferred()
        self._reactor = reactor
        self._guard = guard
        reactor.addSystemEventTrigger("before", "shutdown", guard.arm)
        for number in (signal.SIGINT, signal.SIGTERM):
            # A shell has SIGINT ignored by a process in the background: that stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._caught)

    def fail(self, failure: Failure) -> None:
        """End the process with a failure, unless it ends already."""
        if not self.ended.called:
            self.ended.errback(failure)

    def _caught(self, *_: Any) -> None:  # noqa: ANN401  # which signal it is makes no difference, nor what it interrupts
        # The reactor may have stopped already, or never come to what it is to call.
        if self._guard.armed:
            self._guard.hurry()
        self._guard.arm()
        self._reactor.callFromThread(self._stop)

    def _stop(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            if not self.ended.called:
                self.fail(Failure(SystemExit(HURRIED)))
                for hurry in self.hurry:
                    hurry()
