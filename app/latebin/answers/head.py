"""How an answer that was planned begins."""

from latebin.core.http.reply import Answering
from latebin.core.plan import Plan


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
