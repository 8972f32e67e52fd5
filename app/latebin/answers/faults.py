"""The faults that take the place of an answer, or of a part of it."""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from latebin.answers.interfaces import ServedRequest, abort, is_ending, note_write
from latebin.answers.producer import sender
from latebin.core.faults import GARBAGE, HALF_CHUNK, Place
from latebin.core.plan import HALVES, Plan

Fault = Callable[[ServedRequest, Plan, IReactorTime, float], Deferred[bytes]]

FLIGHT: Final = 0.2
"""Seconds that the part of a body has to reach its client, before a reset drops all that is on its way."""


def _behind(fail: Fault) -> Fault:
    """Make a fault behind a part of the body, by default half of it."""

    def fault(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
        request.write(b"")
        if request.method == b"HEAD" or plan.body is None:
            return succeed(b"").addCallback(lambda _: fail(request, plan, clock, longest))
        part = sender(request, plan, clock, plan.place or _half(plan))
        # A stream can end before the place of its fault.
        return part.start().addCallback(lambda rest: fail(request, plan, clock, longest) if part.reached else rest)

    return fault


def _at_place(fail: Fault) -> Fault:
    """Make a fault that happens at once, unless it has a place in the body."""
    behind = _behind(fail)

    def fault(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
        return (fail if plan.place is None else behind)(request, plan, clock, longest)

    return fault


def _half(plan: Plan) -> Place:
    if plan.stream is not None:
        return Place((plan.stream.count - plan.stream.first + 1) // 2, unitless=True)
    return Place(0 if plan.body is None else plan.body.size // 2, unitless=False)


def _cut(request: ServedRequest) -> None:
    note_write(request)
    request.loseConnection()


def _until_gone(request: ServedRequest, plan: Plan, clock: IReactorTime) -> Deferred[bytes]:
    """Close the connection; the Deferred never fires, and the disconnect cancels it.

    Over HTTP/2 this resets the stream, and a client may drop what it has not read by then.
    """
    if plan.place is not None and request.transport is None:
        return _landed(clock, lambda: _cut(request))
    _cut(request)
    return Deferred()


def _landed(clock: IReactorTime, end: Callable[[], object]) -> Deferred[bytes]:
    """End an answer when its part had the time to reach the client."""
    landed = clock.callLater(FLIGHT, end)
    return Deferred(lambda _: landed.cancel() if landed.active() else None)


def _reset(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    if plan.place is None:
        abort(request)
        return Deferred()
    return _landed(clock, lambda: abort(request))


def _close(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    return _until_gone(request, plan, clock)


def _garbage(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    if request.transport is not None:
        request.transport.write(GARBAGE)
    return _until_gone(request, plan, clock)


def _badchunk(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    if request.chunked and request.transport is not None:
        request.transport.write(HALF_CHUNK)
    return _until_gone(request, plan, clock)


def _hang(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    request.write(b"")
    if request.pending_answer is not None:
        request.pending_answer.hanging = True

    def give_up() -> None:
        if request.pending_answer is not None:
            request.pending_answer.hanging = False
        _cut(request)

    # A service that stops waits for no answer that hangs.
    given_up = clock.callLater(0 if is_ending(request) else longest, give_up)
    return Deferred(lambda _: given_up.cancel() if given_up.active() else None)


ENDS: Final[dict[str, Fault]] = {
    "reset": _reset,
    "close": _close,
    "truncate": _close,
    "garbage": _garbage,
    "badchunk": _badchunk,
    "hang": _hang,
}
"""The last step of each fault: its effect behind the part of the body that is sent."""

FAULTS: Final = {kind: (_behind if kind in HALVES else _at_place)(end) for kind, end in ENDS.items()}
"""The function for each of `latebin.core.faults.KINDS`, on a connection of HTTP/1.1 or a stream of HTTP/2."""
