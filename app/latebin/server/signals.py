"""SIGTERM and SIGINT: the first stops the service, another one stops the stopping."""

import signal
from collections.abc import Callable
from typing import Any, Final, NoReturn

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

HURRIED: Final = 1
"""The exit code after a second signal: answers may be lost."""


class Signals:
    """Handles signals in the place of the reactor, to which a second one is an error.

    To leave the second to the kernel would not do: what runs as the first process of a container is not ended by a
    signal that it does not handle, pid_namespaces(7).

    Args:
        reactor: what the first signal stops; it runs.
        hurry: what is called at the second one.

    Attributes:
        hurried: fails with SystemExit at the second one, and otherwise never fires.
    """

    def __init__(self, reactor: ReactorBase, hurry: Callable[[], object]) -> None:
        self.hurried: Deferred[NoReturn] = Deferred()
        self._reactor = reactor
        self._hurry = hurry
        for number in (signal.SIGINT, signal.SIGTERM):
            # Whoever had it ignored, as a shell does with SIGINT for what runs in the background, is left with that.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._caught)

    def _caught(self, *_: Any) -> None:  # noqa: ANN401  # nobody asks which signal it is, nor what it interrupted
        self._reactor.callFromThread(self._stop)

    def _stop(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            if not self.hurried.called:
                self.hurried.errback(SystemExit(HURRIED))
                self._hurry()
