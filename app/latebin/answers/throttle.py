"""The answer of an upstream at a rate."""

from collections.abc import Callable

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
        self._waiting = b""
        self._paused = False
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def __bool__(self) -> bool:
        """Return whether bytes wait."""
        return bool(self._waiting)

    def take(self, data: bytes) -> None:
        """Pass bytes on, in their time."""
        self._waiting += data
        self._later()

    def pause(self) -> None:
        """Let nothing leave: the client does not read."""
        self._paused = True

    def resume(self) -> None:
        """Go on; the time of the pause is not made up for."""
        self._paused = False
        self._later()

    def stop(self) -> None:
        """Drop what waits."""
        self._waiting = b""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _later(self) -> None:
        if self._call is None and self._waiting and not self._paused:
            # The time of a piece counts from the piece before, if that has just left.
            self._next = min(len(self._waiting), self._size)
            self._due = max(self._due, self._clock.seconds()) + self._next / self._rate
            self._call = self._clock.callLater(self._due - self._clock.seconds(), self._send)

    def _send(self) -> None:
        self._call = None
        piece, self._waiting = self._waiting[: self._next], self._waiting[self._next :]
        self._write(piece)
        self._later()
        if not self._waiting:
            self._drained()
