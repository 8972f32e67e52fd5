"""An HTTP/1.1 connection with limits on the time and size of a request.

Overrides `twisted.web.http.HTTPChannel` of Twisted 26.10. Twisted's own starts its timeout again at each byte, and
makes a delayed call for each idle connection. It closes the connection or answers a bare 400 where 408, 413, 414 and
431 say more (RFC 9110, section 15.5).
"""

from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest

from latebin.answers.failures import EndedError
from latebin.answers.interfaces import ReceivedRequest
from latebin.answers.request_body import WINDOW
from latebin.core.http.reply import Problem
from latebin.overrides.channel_output import WriteThroughChannel

if TYPE_CHECKING:
    from latebin.timing.timeouts import Queue

MALFORMED: Final = Problem(400, "This is not a request of HTTP/1.1.", accepted="RFC 9112")

LONG_TARGET: Final = Problem(
    414, "The request line is too long.", accepted=f"at most {HTTPChannel.MAX_LENGTH} bytes in all headers"
)

LARGE_HEADERS: Final = Problem(
    431,
    "There are too many headers, or they are too large.",
    accepted=f"at most {HTTPChannel.maxHeaders} headers, and {HTTPChannel.totalHeadersSize} bytes in all of them",
)

SLOW_HEADERS: Final = Problem(408, "The headers of the request did not come in time.", parameter="headers")

SLOW_BODY: Final = Problem(408, "The body of the request did not come in time.", parameter="body")


class LimitedChannel(WriteThroughChannel):
    """An HTTP/1.1 connection that refuses a late or large request, as its last.

    The headers have one timeout as a whole, and a body has one for each WINDOW. So a client that sends a byte now and
    then gains nothing by it. After a refusal, further bytes are dropped for as long as one WINDOW may take. Unread,
    they would make the kernel take the refusal back (RFC 9112, section 9.6).
    """

    requests: list[ReceivedRequest]
    timeOut: float | None  # type: ignore[assignment]  # Twisted declares whole seconds, and takes others

    _awaited: "Queue | None" = None
    _missing: Problem | None = None
    _came = 0
    _lingering = False
    _deaf = False

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        # Not by way of Twisted's channel, which first lets the wait begin again: for most it ends here.
        LineReceiver.dataReceived(self, data)
        if self._buffer and self.line_mode:
            self.check_part()
        if not self._handlingRequest and not self._lingering and self.timeOut is not None:
            self.resetTimeout()
            self._await(self._lack())

    def rawDataReceived(self, data: bytes) -> None:
        if self._missing is SLOW_BODY:
            self._came += len(data)
            if self._came >= WINDOW:
                self._came = 0
                self.setTimeout(self.timeOut)
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        # An attribute is set only on a connection that needs it. Beyond 30 attributes, CPython gives an object a dict
        # of its own, of more than a kilobyte.
        if self._missing is not None:
            self._missing = None
        super().allContentReceived()

    def connectionLost(self, reason: "Failure" = connectionDone) -> None:
        super().connectionLost(reason if self.ended is None else Failure(EndedError(self.ended)))
        # The decoder of a body refers to this object until the body ends: without an end, the two would be a cycle.
        self._transferDecoder = None

    def requestDone(self, request: HTTPRequest) -> None:
        # Another request is waited for as long as any, however long the last was.
        self._savedTimeOut = self._savedTimeOut and self.site.timeOut
        super().requestDone(request)

    def setTimeout(self, period: float | None) -> float | None:
        """Start the timeout again, or stop it.

        Connections with the same period share a delayed call, where Twisted makes one for each.

        Args:
            period: seconds; None for no timeout.

        Returns:
            The period before.
        """
        before, self.timeOut = self.timeOut, period
        if self._awaited is not None:
            self._awaited.leave(self)
        self._awaited = None if period is None else self.site.timeouts.queue(period)
        if self._awaited is not None:
            self._awaited.enter(self)
        return before

    def resetTimeout(self) -> None:
        """Start the timeout again while idle; within a request, further bytes do not."""
        if self._missing is None and not self._lingering and self._awaited is not None:
            self.setTimeout(self.timeOut)

    def timed_out(self) -> None:
        """Take note that it was waited for long enough."""
        self._awaited = None
        self.timeoutConnection()

    def timeoutConnection(self) -> None:
        """Close the connection; answer 408 if a part of a request has come."""
        if self._missing is not None:
            self._refuse(self._missing)
        self.ended = "timeout"
        super().timeoutConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_all(LARGE_HEADERS if self.requests else LONG_TARGET)

    def _respondToBadRequestAndDisconnect(self) -> None:
        large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self._refuse_all(LARGE_HEADERS if large else MALFORMED)

    def check_part(self) -> None:
        """Check a line that is not whole yet; Twisted waits for its end."""

    @property
    def begun(self) -> tuple[bytes, bytes, bytes]:
        """Method, target and version of the request that has begun to come, or dashes."""
        if hasattr(self, "_version"):
            return self._command, self._path, self._version
        return b"-", b"-", b"HTTP/1.1"

    def _lack(self) -> Problem | None:
        """Return the missing part of a request that has begun, as a problem."""
        if not self.line_mode:
            return SLOW_BODY
        return SLOW_HEADERS if self.requests or self._buffer else None

    def _await(self, missing: Problem | None) -> None:
        if missing is self._missing:
            return
        self._missing, self._came = missing, 0
        self.setTimeout(self.site.timeOut if missing is None else self._time(missing))

    def _time(self, missing: Problem) -> float:
        """Return the seconds that a missing part may take."""
        settings = self.site.settings
        return settings.body_timeout if missing is SLOW_BODY else settings.header_timeout

    def _linger(self) -> None:
        """Wait, for a bounded time, for the end of an answered client's bytes."""
        self._lingering, self._missing = True, None
        self.setTimeout(self.site.settings.body_timeout)
        if _half_closable(self.transport):
            # The client may itself wait for the end of the answer.
            cast("Any", self.transport).loseWriteConnection()

    def _refuse(self, problem: Problem) -> None:
        """Answer what has begun to come, and may be no request."""
        if not self.requests:
            request: Any = self.requestFactory(self)
            self.requests.append(request)
        self.requests[-1].refuse(problem)

    def _refuse_all(self, problem: Problem) -> None:
        """Answer what cannot be read any further, and read nothing more."""
        self._refuse(problem)
        self._deaf = True
        self.clearLineBuffer()
        if _half_closable(self.transport):
            self._linger()
        else:
            self.loseConnection()


def _half_closable(transport: object) -> bool:
    """Return whether the sending half of a transport can be closed alone."""
    return isinstance(transport, Connection) or getattr(transport, "half_closable", False)
