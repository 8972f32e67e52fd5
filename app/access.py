"""The access log: one event for each answer and one for each client that left, whichever style it was."""

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from app.request import Request

log = Logger()


class AccessLog:
    """Tells `twisted.logger` how each request ended.

    An event has, beside the library's own keys: `style`, `method`, `path`, `query`, `status` (a number, `left`, the
    fault that ended it, or `broken` if it was an upstream that ended it),
    `asked_ms` and `measured_ms` (None where nothing was promised; measured until the client left, if it did), `sent`
    (bytes of body) and `address`. What a caller sent is escaped: an event holds printable ASCII only.

    Args:
        clock: the clock by which requests were promised their answers.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    def answered(self, request: Request) -> None:
        """Tell of an answer that was given."""
        self._emit(request, request.code)

    def left(self, request: Request) -> None:
        """Tell of a connection that was lost before the answer was whole: by the client's leaving, or by a fault."""
        fault = request.plan.fault if request.plan is not None and request.measured is not None else None
        self._emit(request, "broken" if request.broken else fault or "left")

    def _emit(self, request: Request, status: int | str) -> None:
        path, _, query = request.uri.partition(b"?")
        asked, measured = self._timing(request)
        log.info(
            "{style} {method} {target} {status} asked={asked} measured={measured} sent={sent}B {address}",
            style=request.style,
            method=_printable(request.method),
            target=_printable(request.uri),
            path=_printable(path),
            query=_printable(query),
            status=status,
            asked=_milliseconds(asked),
            measured=_milliseconds(measured),
            asked_ms=asked,
            measured_ms=measured,
            sent=request.sentLength,
            address=getattr(request.getClientAddress(), "host", None),
        )

    def _timing(self, request: Request) -> tuple[float | None, float | None]:
        if request.plan is None:
            return None, None
        measured = request.measured
        if measured is None:
            measured = self._clock.seconds() - request.plan.started
        return round(request.plan.wait * 1000, 3), round(measured * 1000, 3)


def _milliseconds(figure: float | None) -> str:
    return "-" if figure is None else f"{figure}ms"


def _printable(text: bytes) -> str:
    return text.decode("latin-1").encode("unicode_escape").decode("ascii")
