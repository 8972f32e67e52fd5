"""Bytes at a rate: the answer of an upstream, or the body of a request."""

from collections.abc import Callable
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from latebin.core.plan import PIECES_PER_SECOND


class Throttle:
    """Bytes that are passed on evenly, so many in a second.

    A piece leaves when its time has passed, as a body with a rate does. While bytes wait, their source is to be paused,
    so that no more than it gives at once waits.

    Args:
        rate: bytes in a second, at least 1.
        clock: the clock of the pieces.
        write: the function that takes a piece.
        drained: a function that is called when nothing waits any more.
    """

    def __init__(
        self, rate: int, clock: IReactorTime, write: Callable[[bytes], object], drained: Callable[[], object]
    ) -> None:
        self._size = max(rate // PIECES_PER_SECOND, 1)
        self._rate = rate
        self._next = 0
        self._clock = clock
        self._write = write
        self._drained = drained
        # A bytearray gives its first bytes away without a copy of the others.
        self._waiting = bytearray()
        self._paused = False
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return how many bytes wait."""
        return len(self._waiting)

    def take(self, data: bytes) -> None:
        """Pass bytes on, in their time."""
        self._waiting += data
        self._later()

    def pause(self) -> None:
        """Let nothing leave: the consumer takes nothing."""
        self._paused = True
        self._wait_no_more()

    def resume(self) -> None:
        """Go on; a piece takes its time from now on.

        The time of the pause is not made up for.
        """
        self._paused = False
        self._later()

    def stop(self) -> None:
        """Drop what waits."""
        self._waiting.clear()
        self._wait_no_more()

    def _wait_no_more(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call, self._due = None, 0.0

    def _later(self, since: float = inf) -> None:
        """Let the next piece leave when its time has passed.

        Args:
            since: the moment from which its time counts, if bytes have waited since then; at most now.
        """
        if self._call is None and self._waiting and not self._paused:
            now = self._clock.seconds()
            self._next = min(len(self._waiting), self._size)
            self._due = max(self._due, min(since, now)) + self._next / self._rate
            self._call = self._clock.callLater(max(self._due - now, 0.0), self._send)

    def _send(self) -> None:
        self._call = None
        piece = bytes(self._waiting[: self._next])
        del self._waiting[: self._next]
        if self._waiting:
            # A late reactor makes no later piece late.
            self._later(self._due)
        self._write(piece)
        self._later()
        if not self._waiting:
            self._drained()
