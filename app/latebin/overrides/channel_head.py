"""An HTTP/1.1 connection that reads requests by RFC 9112, and refuses all others by name.

Overrides `twisted.web.http.HTTPChannel` of Twisted 26.10. Twisted's own takes no other version than 1.0 and 1.1. It
waits for the end of bytes that can become no request. It raises at a Content-Length of 5,000 digits. It reads the first
line of a list alone, joins folded lines, and closes each connection of HTTP/1.0.
"""

from typing import TYPE_CHECKING, Any, Final

from twisted.web.http import NO_BODY_CODES, _IdentityTransferDecoder

from latebin.core.http.chunked import ChunkedBody
from latebin.core.http.reply import Problem, Refused, too_large
from latebin.core.http.request_head import (
    CURRENT,
    OLDER,
    bad_field,
    bad_line,
    begins_a_request,
    examine,
    is_unfinished,
    malformed,
    match_field,
    match_line,
    options,
    read_length,
)
from latebin.overrides.channel_limits import LARGE_HEADERS, LimitedChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.http_headers import Headers

_BODILESS: Final = frozenset(b"%d" % code for code in NO_BODY_CODES)


NO_END: Final = malformed("neither trailers nor the end of the body follow its last chunk").problem

END_TIME: Final = 2.0
"""Seconds that the end of a chunked body, with its trailers, may take behind the last chunk."""


class ChunkedDecoder:
    """A chunked body, decoded in the way in which Twisted's channel has it done.

    Args:
        passed: the function that takes the bytes of the body.
        ended: the function that takes the bytes behind the body.
        full: the function that is called when there will be more bytes than `most`.
        most: bytes that a body may have.

    Attributes:
        ending: whether the last chunk has come, and not all that follows.
    """

    __slots__ = ("_body", "_ended", "_full", "_most", "_passed", "ending")

    def __init__(
        self,
        passed: "Callable[[bytes], object]",
        ended: "Callable[[bytes], object]",
        full: "Callable[[], object]",
        most: int,
    ) -> None:
        self._body = ChunkedBody()
        self.ending = False
        self._passed, self._ended, self._full, self._most = passed, ended, full, most

    @property
    def left(self) -> int:
        """The bytes of the present chunk that have not come yet."""
        return self._body.left

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of the connection in.

        Raises:
            Refused: they are not chunks.
        """
        content = self._body.feed(data)
        if content:
            self._passed(content)
        if self._body.announced > self._most:
            self._full()
        self.ending = self._body.ending
        if self._body.rest is not None:
            self._ended(self._body.rest)


class HeadChannel(LimitedChannel):
    """An HTTP/1.1 connection with a reader of its own for request lines, headers and chunks.

    A request that cannot be read, or has no answer but a refusal, is the last of its connection.
    """

    _blank = False

    def lineReceived(self, line: bytes) -> None:
        self._receivedHeaderSize += len(line)
        if self._receivedHeaderSize > self.totalHeadersSize:
            self._refuse_all(LARGE_HEADERS)
            return
        try:
            if not hasattr(self, "_version"):
                self._begin(line)
            elif line:
                self._add(line)
            else:
                self._read_on()
        except Refused as error:
            self._refuse_all(error.problem)

    def rawDataReceived(self, data: bytes) -> None:
        try:
            super().rawDataReceived(data)
        except Refused as error:
            request: Any = self.requests[-1]
            if request.startedWriting and not request.finished:
                self._deaf = True
                request.refuse(error.problem)
            else:
                self._refuse_all(error.problem)

    def allHeadersReceived(self) -> None:
        request: Any = self.requests[-1]
        self.persistent = self.checkPersistence(request, self._version)
        request.gotLength(self.length)
        expected = request.given(b"Expect")
        if expected is not None and self._version == CURRENT and self.length != 0 and options(expected):
            self._send100Continue()

    def checkPersistence(self, request: Any, version: bytes) -> bool:  # noqa: ANN401  # any request; Twisted declares no types
        """Return whether the connection may stay open behind the answer (RFC 9112, section 9.3)."""
        values = request.given(b"Connection")
        if values is None:
            return version == CURRENT
        named = options(values)
        if b"close" not in named:
            return version == CURRENT or b"keep-alive" in named
        if version == CURRENT:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def check_part(self) -> None:
        """Refuse a line that is not whole yet, and cannot become one of a request."""
        begun = hasattr(self, "_version")
        if not (is_unfinished if begun else begins_a_request)(self._buffer):
            detail = "CR and LF come together alone" if begun else "these bytes cannot begin a request line"
            self._refuse_all(malformed(detail).problem)

    def keep_alive(self, code: bytes, headers: "Headers") -> None:
        """Keep a connection of HTTP/1.0 open if its client sees where the answer ends."""
        request: Any = self.requests[0]
        if not (headers.hasHeader(b"Content-Length") or code in _BODILESS or request.method == b"HEAD"):
            self.persistent = False
        elif headers.hasHeader(b"Connection"):
            # Without other options, every answer announces it.
            headers.addRawHeader(b"Connection", b"keep-alive")

    def _lack(self) -> Problem | None:
        return NO_END if getattr(self._transferDecoder, "ending", False) else super()._lack()

    def _time(self, missing: Problem) -> float:
        return min(END_TIME, self.site.settings.body_timeout) if missing is NO_END else super()._time(missing)

    def _begin(self, line: bytes) -> None:
        # Nothing behind the last request is read.
        if not self.persistent:
            self._deaf = True
            return
        # One empty line may come before a request (RFC 9112, section 2.2).
        if not line and not self._blank:
            self._blank = True
            return
        if self._blank:
            self._blank = False
        request: Any = self.requestFactory(self)
        self.requests.append(request)
        parts = match_line(line)
        if parts is None or parts[3] != b"1":
            raise bad_line(line)
        self._command, self._path, _, minor = parts.groups()
        self._version = OLDER if minor == b"0" else CURRENT

    def _add(self, line: bytes) -> None:
        parts = match_field(line)
        if parts is None:
            raise bad_field(line)
        request: Any = self.requests[-1]
        request.requestHeaders.addRawHeader(parts[1], parts[2].strip(b" \t"))
        self._receivedHeaderCount += 1
        if self._receivedHeaderCount > self.maxHeaders:
            raise Refused(LARGE_HEADERS)

    def _read_on(self) -> None:
        """Go on behind the headers: with the answer, or with the body."""
        request: Any = self.requests[-1]
        given = request.requestHeaders._rawHeaders.get  # noqa: SLF001  # as `request.given`, of which it spares the calls
        self.length = length = read_length(self._version, given)
        target = examine(self._command, self._path, self._version, given)
        if target is not None:
            self._path = target.path
            request.requestHeaders.setRawHeaders(b"Host", [target.host])
            request.claims_tls = target.secure
        if length != 0:
            self._transferDecoder = self._decoder(request, length)
        self.allHeadersReceived()
        if length == 0:
            self.allContentReceived()
        else:
            self.setRawMode()

    def _decoder(self, request: Any, length: int | None) -> Any:  # noqa: ANN401  # of ours or of Twisted's
        if length is not None:
            return _IdentityTransferDecoder(length, request.handleContentChunk, self._finishRequestBody)
        most = self.site.settings.max_body
        problem = too_large("The body is larger than this service takes.", most)
        return ChunkedDecoder(
            request.handleContentChunk, self._finishRequestBody, lambda: request.refuse(problem), most
        )
