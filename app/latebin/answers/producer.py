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
"""Bytes written at once: more than Twisted buffers before it asks a producer to pause, so that whoever has written a
piece of this size is told when it has left. Where many answers share a connection, it says itself how many are that."""

SMALL: Final = 16 * 1024
"""Bytes of the largest body that is written without a look at whether the client takes it."""


@implementer(IPushProducer)
class Delivery:
    """A body that is written piece by piece: each when it is due, and when the client has read what came before.

    Args:
        request: what is written to.
        plan: what was promised: the body, its chunks, and the time from the first to the last.
        clock: what the chunks are timed by.
        size: how many bytes of the body to write; all of them, unless it is said.
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
            A Deferred that fires with no bytes when all has been taken by the transport; cancelling it stops the
            writing.
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
        # The Deferred knows this object, to be cancelled by it: let go of it, lest the two be a cycle.
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
        """Write a piece; of a large chunk the remainder first, so that the transport asks for a pause at the last."""
        end = min((self._chunk + 1) * self._body.size // self._plan.chunks, self._size)
        start, self._at = self._at, self._at + ((end - self._at) % self._piece or min(self._piece, end - self._at))
        if self._at == end:
            self._chunk += 1
        self._request.write(self._body.piece(start, self._at))


def wanted_body(request: ServedRequest, plan: Plan) -> "Body | None":
    return None if request.method == b"HEAD" else plan.body
