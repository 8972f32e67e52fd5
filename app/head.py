"""Status and headers of an answer that was planned."""

from http import HTTPStatus

from app.plan import Plan
from app.reply import SAFE, Headers, Reply


def head(plan: Plan, measured: float | None) -> Reply:
    """Begin an answer as planned, and say how late it is.

    Args:
        plan: what was promised.
        measured: seconds from the request to the answer, by the service's own clock; None where the headers are sent
            before the wait, and so cannot tell.

    Returns:
        A reply without its body, whose `Server-Timing` (W3C Server Timing, durations in ms) tells what was measured
        and what was asked.
    """
    retry = () if plan.retry_after is None else ((b"Retry-After", b"%d" % plan.retry_after),)
    return Reply(plan.status, (*_framed(plan), *retry, timing(plan, measured)))


def timing(plan: Plan, measured: float | None) -> tuple[bytes, bytes]:
    """Write the `Server-Timing` header of an answer that was waited for, as in `head`."""
    text = f"asked;dur={plan.wait * 1000:.3f}"
    if measured is not None:
        text = f"delay;dur={measured * 1000:.3f}, {text}"
    return b"Server-Timing", text.encode("ascii")


def _framed(plan: Plan) -> Headers:
    if plan.body is not None:
        length = () if plan.chunked else ((b"Content-Length", b"%d" % plan.body.size),)
        return (b"Content-Type", plan.body.content_type), *length, *SAFE
    # A 205 says that it is empty; a 204 and a 304 are so by definition (RFC 9110, sections 8.6 and 15.3.6).
    return ((b"Content-Length", b"0"), *SAFE) if plan.status == HTTPStatus.RESET_CONTENT else SAFE
