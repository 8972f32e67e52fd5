"""An answer on its way: its body in pieces, at their times, as fast as the client reads, and its faults."""

from typing import TYPE_CHECKING, Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from latebin.answers.interfaces import ServedRequest, abort
from latebin.core.faults import GARBAGE, HALF_CHUNK
from latebin.core.http.reply import BROKEN, Answering
from latebin.core.plan import Plan

if TYPE_CHECKING:
    from latebin.core.http.body import Body

PIECE: Final = 128 * 1024
"""Bytes written at once: more than Twisted buffers before it asks a producer to pause, so that whoever has written a
piece of this size is told when it has left."""


def begin(request: Answering, plan: Plan, measured: float | None) -> None:
    """Set the status and the headers of an answer as planned, and say how late it is.

    Args:
        request: what is answered.
        plan: what was promised.
        measured: seconds from the request to the answer, by the service's own clock; None where the headers are sent
            before the wait, and so cannot tell.
    """
    request.setResponseCode(plan.status)
    for name, value in plan.headers:
        request.setHeader(name, value)
    request.setHeader(*timing(plan, measured))


def timing(plan: Plan, measured: float | None) -> tuple[bytes, bytes]:
    """Write the `Server-Timing` header of an answer (W3C Server Timing, durations in ms), as in `begin`."""
    text = f"asked;dur={plan.asked_ms:.3f}"
    if measured is not None:
        text = f"delay;dur={measured * 1000:.3f}, {text}"
    return b"Server-Timing", text.encode("ascii")


def deliver(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    """Send the body of an answer whose headers are set, or what is to go wrong in its place.

    Args:
        request: the request to answer; its client may read as slowly as it likes.
        plan: what was promised.
        clock: what the pieces are timed by.
        longest: seconds after which an answer that hangs is given up.

    Returns:
        A Deferred of what is left for the style to write before it finishes the request. Cancelling it stops whatever
        is under way. After a fault it never fires: the client's leaving is what ends it.
    """
    if plan.fault is not None:
        return _FAULTS[plan.fault](request, plan, clock, longest)
    body = _wanted(request, plan)
    if body is None:
        return succeed(b"")
    if plan.chunks == 1 and body.size <= PIECE:
        return succeed(body.piece(0, body.size))
    return Delivery(request, plan, clock).start()


def apologize(request: ServedRequest) -> bytes:
    """Answer a request that the service failed to answer.

    Returns:
        The body of a problem; none where an answer has begun already: then only breaking the connection off tells the
        client that it is not whole.
    """
    if request.startedWriting:
        abort(request)
        return b""
    return BROKEN.reply().start(request)


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
        start, self._at = self._at, self._at + ((end - self._at) % PIECE or min(PIECE, end - self._at))
        if self._at == end:
            self._chunk += 1
        self._request.write(self._body.piece(start, self._at))


def _wanted(request: ServedRequest, plan: Plan) -> "Body | None":
    return None if request.method == b"HEAD" else plan.body


def _half(request: ServedRequest, plan: Plan, clock: IReactorTime) -> Deferred[bytes]:
    """Send the headers and half of the body, if there is one."""
    request.write(b"")
    body = _wanted(request, plan)
    if body is None:
        return succeed(b"")
    return Delivery(request, plan, clock, body.size // 2).start()


def _until_gone(request: ServedRequest) -> Deferred[bytes]:
    """Close the connection; nothing is left to wait for but that it is lost, which cancels what is returned."""
    request.loseConnection()
    return Deferred()


def _reset(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    abort(request)
    return Deferred()


def _close(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    return _until_gone(request)


def _truncate(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    return _half(request, plan, clock).addCallback(lambda _: _until_gone(request))


def _garbage(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    if request.transport is not None:
        request.transport.write(GARBAGE)
    return _until_gone(request)


def _badchunk(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    def break_off(_: bytes) -> Deferred[bytes]:
        if request.chunked and request.transport is not None:
            request.transport.write(HALF_CHUNK)
        return _until_gone(request)

    return _half(request, plan, clock).addCallback(break_off)


def _hang(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    request.write(b"")
    given_up = clock.callLater(longest, request.loseConnection)
    return Deferred(lambda _: given_up.cancel() if given_up.active() else None)


_FAULTS: Final = {
    "reset": _reset,
    "close": _close,
    "truncate": _truncate,
    "garbage": _garbage,
    "badchunk": _badchunk,
    "hang": _hang,
}
"""How each of `latebin.core.faults.KINDS` is done, to a connection of HTTP/1.1 or to a stream of HTTP/2."""
