"""The delivery of an answer: headers, timed pieces of the body, and faults."""

from http import HTTPStatus

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from latebin.answers.faults import FAULTS
from latebin.answers.interfaces import ServedRequest, abort
from latebin.answers.producer import SMALL, sender
from latebin.core.http.reply import BROKEN
from latebin.core.http.status import PROTOCOL
from latebin.core.plan import Plan


def begin(request: ServedRequest, plan: Plan, measured: float | None, held: str = "") -> None:
    """Set the status and the headers of an answer as planned, with its timing.

    Args:
        request: the request that is answered.
        plan: the answer's plan.
        measured: seconds from the request to the answer, by the service's own clock; None before the wait.
        held: the time at a gate and in a line, as `timing` takes it.
    """
    timed = timing(plan, measured, held)
    request.setResponseCode(plan.status)
    for name, value in plan.headers:
        request.setHeader(name, value)
    # HTTP/2 has no such header (RFC 9113, section 8.2.2).
    if plan.status == HTTPStatus.UPGRADE_REQUIRED and request.clientproto != b"HTTP/2":
        request.setHeader(b"Upgrade", PROTOCOL)
        request.responseHeaders.addRawHeader(b"Connection", b"Upgrade")
    for name, values in plan.extra:
        request.responseHeaders.setRawHeaders(name, values)
    request.setHeader(*timed)


def timing(plan: Plan, measured: float | None, held: str = "") -> tuple[bytes, bytes]:
    """Write the `Server-Timing` header of an answer (W3C Server Timing, durations in ms).

    Args:
        plan: the answer's plan.
        measured: seconds of the delay; None before the wait.
        held: metrics that come before, each with a comma and a space behind it.
    """
    text = f"asked;dur={plan.asked_ms:.3f}"
    if measured is not None:
        text = f"{held}delay;dur={measured * 1000:.3f}, {text}"
    return b"Server-Timing", text.encode("ascii")


def deliver(request: ServedRequest, plan: Plan, clock: IReactorTime, longest: float) -> Deferred[bytes]:
    """Send the body of an answer whose headers are set, or its fault.

    Args:
        request: the request to answer; its client may read as slowly as it likes.
        plan: the answer's plan.
        clock: the clock that the pieces are timed by.
        longest: seconds after which an answer that hangs is given up.

    Returns:
        A Deferred of the bytes that the style has yet to write before it finishes the request. Cancelling the Deferred
        stops the delivery. After a fault the Deferred never fires: the client's disconnect cancels it.
    """
    if plan.fault is not None:
        return FAULTS[plan.fault](request, plan, clock, longest)
    body = None if request.method == b"HEAD" else plan.body
    if body is None:
        return succeed(b"")
    if plan.chunks == 1 and body.size <= SMALL and plan.stream is None and plan.rate is None:
        # A body of its own size is nothing but its head.
        return succeed(body.head if len(body.head) == body.size else body.piece(0, body.size))
    if plan.rate is not None:
        # The first piece takes its time, the headers do not.
        request.write(b"")
    return sender(request, plan, clock).start()


def apologize(request: ServedRequest) -> bytes:
    """Answer a request that the service failed to answer.

    Returns:
        The body of a problem; no bytes where an answer has begun already. Then the connection is reset, because only
        that shows the client that the answer is not whole.
    """
    if request.startedWriting:
        abort(request)
        return b""
    return BROKEN.reply().start(request)
