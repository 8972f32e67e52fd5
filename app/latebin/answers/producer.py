"""The body of an answer, written piece by piece."""

from typing import TYPE_CHECKING, Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from latebin.answers.interfaces import ServedRequest
from latebin.core.plan import Plan

if TYPE_CHECKING:
    from latebin.core.http.body import Body


PIECE: Final = 128 * 1024
"""Bytes written at once: more than Twisted buffers before it asks a producer to pause.

So the transport pauses the producer after each piece, and resumes it when the piece has left. A connection that many
answers share sets a size of its own.
"""

SMALL: Final = 16 * 1024
"""Bytes of the largest body that is written at once, whether or not the client reads."""


@implementer(IPushProducer)
class Delivery:
    """A body that is written piece by piece, as time and the client allow.

    A piece is written when it is due and the client has read the pieces before it.

    Args:
        request: the request whose answer this is.
        plan: the answer's plan: the body, its chunks, and the time from the first to the last.
        clock: the clock that the chunks are timed by.
        size: how many bytes of the body to write; None for all of them.
    """

    def __init__(self, request: ServedRequest, plan: Plan, clock: IReactorTime, size: int | None = None) -> None:
        self._sent: Deferred[bytes] | None = None
        self._request = request
        self._body = cast("Body", plan.body)
        self._plan = plan
        self._clock = clock
        self._started = clock.seconds()
        self._piece: int = getattr(request.channel, "piece", PIECE)
        self._size = self._body.size if size is None else size
        self._at = self._chunk = 0
        self._paused = False
        self._call: IDelayedCall | None = None

    def start(self) -> Deferred[bytes]:
        """Write what is due, and the rest later.

        Returns:
            A Deferred that fires with no bytes when the transport has taken the whole body. Cancelling the Deferred
            stops the writing.
        """
        sent = self._sent = Deferred(lambda _: self.stopProducing())
        self._request.registerProducer(self, streaming=True)
        self._produce()
        return sent

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._produce()

    def stopProducing(self) -> None:
        """Write no more: the client has left, or the answer was cancelled."""
        self._paused = True
        self._sent = None
        if self._call is not None and self._call.active():
            self._call.cancel()
        # A client that has left has taken the channel with it.
        if self._request.channel is not None:
            self._request.unregisterProducer()

    def _produce(self) -> None:
        while not self._paused and self._at < self._size:
            wait = self._started + self._due() - self._clock.seconds()
            if wait > 0:
                self._later(wait)
                return
            self._write()
        if not self._paused:
            self._request.unregisterProducer()
            self._finish()

    def _finish(self) -> None:
        # The Deferred refers to this object, to cancel it: a reference back would make a cycle of the two.
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.callback(b"")

    def _due(self) -> float:
        return self._plan.over * self._chunk / max(self._plan.chunks - 1, 1)

    def _later(self, wait: float) -> None:
        if self._call is None or not self._call.active():
            self._call = self._clock.callLater(wait, self._wake)

    def _wake(self) -> None:
        self._call = None
        self._produce()

    def _write(self) -> None:
        """Write a piece; the remainder of a large chunk goes first.

        So the last piece has the full size, and the transport asks for a pause after it.
        """
        end = min((self._chunk + 1) * self._body.size // self._plan.chunks, self._size)
        start, self._at = self._at, self._at + ((end - self._at) % self._piece or min(self._piece, end - self._at))
        if self._at == end:
            self._chunk += 1
        self._request.write(self._body.piece(start, self._at))
