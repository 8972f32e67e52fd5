"""A request that leaves out what the service does not ask of it.

Overrides `twisted.web.server.Request` of Twisted 26.10. Twisted's own reads query and cookies into dictionaries before
they are asked for (twisted#4519). It sets the Date of the request, where RFC 9110, section 6.6.1, wants that of the
response. Its reason phrases lack some statuses. Upstream could take date and phrases: `setResponseCode` with `_date`
and `PHRASES` depends on nothing else here.
"""

from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote_to_bytes

from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import Request as HTTPRequest
from twisted.web.http import datetimeToString, parse_qs

if TYPE_CHECKING:
    from collections.abc import Sequence

PHRASES: Final = {int(status): status.phrase.encode("ascii") for status in HTTPStatus}

# As numbers: bytes are asked for a number first, and fail, which takes ten times as long as to find one.
_CR, _LF, _PERCENT = b"\r\n%"

SPELT: Final = frozenset(
    {
        b"Cache-Control",
        b"Content-Length",
        b"Content-Type",
        b"Date",
        b"Server",
        b"Server-Timing",
        b"X-Content-Type-Options",
        b"X-Request-Id",
    }
)
"""Names of headers that most answers have, each as Twisted would spell it."""


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return cast("bytes", datetimeToString(second))


class LeanRequest(server.Request):
    """Twisted's request, except that it prepares its answer when it is answered.

    A request here does little else than wait, and is one of thousands. Twisted would read its query into a dictionary,
    though the service reads the query itself. It would make headers with the date of the request.
    """

    # Twisted declares them None until the path is split, which is before any resource sees the request.
    prepath: list[bytes]
    postpath: list[bytes]

    code_message: bytes = b""
    """Empty until the status is set, with what every answer says of itself."""

    @property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]  # Twisted fills it in for each request
        """The query as Twisted reads it; no form in a body is."""
        return cast("dict[bytes, list[bytes]]", parse_qs(self.uri.partition(b"?")[2], 1))

    def given(self, name: bytes) -> "Sequence[bytes] | None":
        """Give the values of a header, if there are any.

        Args:
            name: as Twisted spells it, so that nothing need find that out; `getRawHeaders` takes three calls for it.
        """
        return cast("Sequence[bytes] | None", self.requestHeaders._rawHeaders.get(name))  # noqa: SLF001  # as it would

    def parseCookies(self) -> None:
        """Leave the cookies in their header, which the service does not read."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process the request, which is whole."""
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        content: Any = self.content
        content.seek(0)
        self.process()

    def process(self) -> None:
        """Find the resource, and render the request by it."""
        channel: Any = self.channel
        self.site = channel.site
        self.prepath = []
        self.postpath = self.path[1:].split(b"/")
        if _PERCENT in self.path:
            self.postpath = list(map(unquote_to_bytes, self.postpath))
        if self.path == b"*":
            self._handleStar()
            return
        try:
            self.render(channel.site.getResourceFor(self))
        except BaseException:  # noqa: BLE001  # every failure is answered, as Twisted does it
            self.processingFailed(Failure())

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status with today's phrase, and the headers of every answer.

        Twisted has older phrases, none for some statuses, and the date of the request (RFC 9110, section 6.6.1).
        """
        self.code = code
        self.code_message = message or PHRASES.get(code, b"Unknown Status")
        headers = self.responseHeaders._rawHeaders  # noqa: SLF001  # as in `setHeader`
        headers[b"Server"], headers[b"Date"] = [server.version], [_date(int(time()))]

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Set a header, without Twisted's spelling and folding for common ones."""
        if name in SPELT and _LF not in value and _CR not in value:
            self.responseHeaders._rawHeaders[name] = [value]  # noqa: SLF001  # what its `setRawHeaders` would do
        else:
            super().setHeader(name, value)

    def write(self, data: bytes) -> None:
        """Write a part of the answer; if it is the first, the headers before it."""
        if not self.code_message:
            self.setResponseCode(self.code)
        typed = b"Content-Type" in self.responseHeaders._rawHeaders  # noqa: SLF001  # as in `given`
        if self._encoder or self._inFakeHead or not typed:
            super().write(data)
        else:
            # Twisted's server would look for a type to be given, and find one.
            HTTPRequest.write(self, data)
