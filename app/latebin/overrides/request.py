"""A request with its pending answer and id, without parts that no service reads.

Overrides `twisted.web.server.Request` of Twisted 26.10, in two steps:

- `LeanRequest`: Twisted's own reads query and cookies into dictionaries before they are asked for (twisted#4519). It
  sets the Date of the request, where RFC 9110, section 6.6.1, wants that of the response. Its reason phrases lack some
  statuses. Upstream could take date and phrases: `setResponseCode` with `_date` and `PHRASES` depends on nothing else.
- `Request`: Twisted's own reports a finished request alone, so that a log would miss each client that leaves. Its body
  goes to a file without a limit, as fast as it comes, and is whole when the request is processed (twisted#4688).
"""

from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import Request as HTTPRequest
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import provider

from latebin.answers.failures import EndedError
from latebin.answers.interfaces import BodySink, BodySource, Host, PacedSource, ServedRequest, dismiss
from latebin.answers.request_body import DroppedBody, NoBody, StreamedBody
from latebin.core.http.reply import Refused, too_large
from latebin.core.http.request_head import MISDIRECTED
from latebin.core.http.request_id import HEADER, PARENT
from latebin.core.http.status import SWITCHING
from latebin.overrides.channel_limits import LimitedChannel
from latebin.overrides.channel_output import WriteThroughChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latebin.answers.pending import PendingAnswer
    from latebin.core.ends import End
    from latebin.core.http.reply import Problem

PHRASES: Final = {int(status): status.phrase.encode("ascii") for status in HTTPStatus}

# As numbers: bytes are asked for a number first, and fail, which takes ten times as long as to find one.
_CR, _LF, _PERCENT = b"\r\n%"

SPELT: Final = frozenset(
    {
        b"Cache-Control",
        b"Content-Length",
        b"Content-Type",
        b"Date",
        b"Latebin-Turn",
        b"Server",
        b"Server-Timing",
        b"X-Content-Type-Options",
        b"X-Request-Id",
    }
)
"""Names of headers that answers often have, each as Twisted would spell it."""


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


# A channel looks each time whether to notify a request that it is queued; this marker ends the search early.
@provider(INonQueuedRequestFactory)
class Request(LeanRequest):
    """A request with all that the access log needs.

    A style that runs under a plain `twisted.web.server.Site` gets Twisted's own request instead. That serves it as
    well: the attributes are set on the request all the same, and not read.

    Attributes:
        style: the style that answers, `klein` or `resource`; `site` for a page of neither.
        pending_answer: the answer that the service has accepted to give; None for a refusal or a page.
        broken: whether the answer was broken off by an upstream.
        end: why its connection or stream ended before the answer was whole, if it did.
        request_id: the id that answer and log give the request.
        claims_tls: whether the target itself says that the request came over TLS.
        refusal: why the request is answered before it is whole; None for a whole request.
        paced: the body as it comes at a rate, until all of it is taken; None for a body without a rate.
    """

    # Twisted declares it None until the headers are there, which is before any resource sees the request.
    content: BodySink

    # Twisted gives a request the transport of its channel, which the faults are done to; over HTTP/2, none.
    transport: ITCPTransport | None

    style: str = "site"
    pending_answer: "PendingAnswer | None" = None
    broken: bool = False
    end: "End" = "left"
    request_id: bytes = b""
    whole_path: bool = False
    claims_tls: bool = False
    refusal: "Problem | None" = None
    paced: "PacedSource | None" = None

    @property
    def connection(self) -> object:
        """The connection that the request came on; over HTTP/2, its channel is the stream."""
        channel: Any = self.channel
        return channel if isinstance(channel, LimitedChannel) else channel.connection

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status and the header with the request's id."""
        self.setHeader(HEADER, self.request_id)
        super().setResponseCode(code, message)

    def write(self, data: bytes) -> None:
        """Write a part of the answer, and let it leave."""
        super().write(data)
        if isinstance(self.channel, WriteThroughChannel):
            self.channel.flush()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process the request, or complete its body if it was processed before.

        A body with a rate is taken first.
        """
        if self.paced is not None:
            self.paced.end(lambda: self._received(command, path, version))
        else:
            self._received(command, path, version)

    def _received(self, command: bytes, path: bytes, version: bytes) -> None:
        self.paced = None
        if self.site is None:
            super().requestReceived(command, path, version)
        elif isinstance(self.content, StreamedBody):
            self.content.complete()

    def process(self) -> None:
        """Set id and client of the request before any resource sees it."""
        channel: Any = self.channel
        host: Host = channel.site
        self.request_id = host.assign(self.given(HEADER), self.given(PARENT))
        if host.settings.proxy_headers:
            from latebin.answers.client_address import believe  # noqa: PLC0415  # for services behind proxies

            believe(cast("ServedRequest", self), host.settings.proxy_headers)
        if self.claims_tls and self.refusal is None and not self.isSecure():
            self.refusal = MISDIRECTED
        super().process()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; drop it if there is an answer already."""
        if self.content is None:
            return
        if self.paced is None:
            super().handleContentChunk(data)
            self._check_size()
        elif (problem := self.paced.take(data)) is not None:
            self.refuse(problem)

    def gotLength(self, length: int | None) -> None:
        """Ask the site for the sink of the body, if there is a body.

        Twisted's own site is asked by the length alone.
        """
        channel: Any = self.channel
        host: Host = channel.site
        self.content = NoBody() if length == 0 else host.body(self._parts()[1], length)

    def expect_body(self, source: BodySource) -> None:
        """Pass the body on as it comes if the target asks for it.

        Args:
            source: the connection that the body comes from.
        """
        self._check_size()
        if self.refusal is not None:
            # It is answered, and has no channel any more.
            return
        channel: Any = self.channel
        host: Host = channel.site
        method, target, _ = self._parts()
        try:
            self.paced = host.pace(cast("ServedRequest", self), method, target, source)
        except Refused as error:
            self.refuse(error.problem)
            return
        if host.streams(target):
            self.content = StreamedBody(self.content.announced, self.paced or source, self._most())
            self._process_as_it_is()

    def _lose_part(self) -> None:
        """Give a request that is not whole its site, so that the log has it."""
        if self.site is not None:
            return
        channel: Any = self.channel
        self.site = channel.site
        self.method, self.uri, self.clientproto = self._parts()
        self.path = self.uri.partition(b"?")[0]
        self.request_id = channel.site.assign(self.given(HEADER), self.given(PARENT))

    def _check_size(self) -> None:
        if self.content.full:
            self.refuse(too_large("The body is larger than this service takes.", self._most()))

    def _most(self) -> int:
        channel: Any = self.channel
        host: Host = channel.site
        return host.settings.max_body

    def refuse(self, problem: "Problem") -> None:
        """Answer at once, though the request is not whole, and drop the rest.

        A request that is being answered already is answered with the problem instead; if that answer has begun, it is
        broken off.
        """
        if self.refusal is not None:
            return
        self.refusal = problem
        self.stop_pacing()
        if self.site is None:
            self._process_as_it_is()
        elif not self.finished:
            dismiss(cast("ServedRequest", self), problem.reply(), "refused")

    def _process_as_it_is(self) -> None:
        if self.content is None:
            self.content = DroppedBody(0)
        super().requestReceived(*self._parts())

    def stop_pacing(self) -> None:
        """Take the rest of the body as fast as it comes."""
        paced, self.paced = self.paced, None
        if paced is not None:
            paced.stop()

    def _parts(self) -> tuple[bytes, bytes, bytes]:
        """Return method, target and version, also before the request is processed."""
        channel: Any = self.channel
        if isinstance(channel, LimitedChannel):
            return channel.begun
        return channel.command, channel.path, b"HTTP/2"

    def connectionLost(self, reason: "Failure") -> None:
        """Report a disconnect to the site if a whole request has no whole answer."""
        if isinstance(reason.value, EndedError) and self.end == "left":
            self.end = reason.value.end
        if self.paced is not None:
            self.stop_pacing()
            self._lose_part()
        super().connectionLost(reason)
        if self.site is None or self.finished:
            return
        if self.code == SWITCHING and self.end == "left" and not self.broken:
            # Either side may end what came after a 101: the answer is whole.
            self.site.log(self)
        else:
            cast("Host", self.site).left(cast("ServedRequest", self))
