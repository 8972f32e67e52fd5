"""The faults that take the place of an answer."""

from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from latebin.answers.interfaces import ServedRequest, abort
from latebin.answers.producer import Delivery
from latebin.core.faults import GARBAGE, HALF_CHUNK
from latebin.core.plan import Plan


def _half(request: ServedRequest, plan: Plan, clock: IReactorTime) -> Deferred[bytes]:
    """Send the headers and half of the body, if there is one."""
    request.write(b"")
    body = None if request.method == b"HEAD" else plan.body
    if body is None:
        return succeed(b"")
    return Delivery(request, plan, clock, body.size // 2).start()


def _until_gone(request: ServedRequest) -> Deferred[bytes]:
    """Close the connection; the Deferred never fires, and the disconnect cancels it."""
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


FAULTS: Final = {
    "reset": _reset,
    "close": _close,
    "truncate": _truncate,
    "garbage": _garbage,
    "badchunk": _badchunk,
    "hang": _hang,
}
"""The function for each of `latebin.core.faults.KINDS`, on a connection of HTTP/1.1 or a stream of HTTP/2."""
