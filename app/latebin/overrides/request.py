"""A request with its pending answer and id, which reports its end to the site.

Overrides `twisted.web.server.Request` of Twisted 26.10. Twisted's own reports a finished request alone, so that a log
would miss each client that leaves. Its body goes to a file without a limit, and is whole when the request is
processed (twisted#4688).
"""

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import ITCPTransport
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import provider

from latebin.answers.client_address import believe
from latebin.answers.failures import EndedError
from latebin.answers.interfaces import BodySink, BodySource, Host, ServedRequest, dismiss
from latebin.answers.request_body import NO_BODY, DroppedBody, StreamedBody
from latebin.core.http.reply import too_large
from latebin.core.http.request_id import HEADER, PARENT
from latebin.overrides.channel_limits import LimitedChannel
from latebin.overrides.channel_output import WriteThroughChannel
from latebin.overrides.request_lean import LeanRequest

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from latebin.answers.pending import PendingAnswer
    from latebin.core.ends import End
    from latebin.core.http.reply import Problem


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
        refusal: why the request is answered before it is whole; None for a whole request.
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
    refusal: "Problem | None" = None

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
        """Process the request, or complete its body if it was processed before."""
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
            believe(cast("ServedRequest", self), host.settings.proxy_headers)
        super().process()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; drop it if there is an answer already."""
        if self.content is None:
            return
        super().handleContentChunk(data)
        self._check_size()

    def gotLength(self, length: int | None) -> None:
        """Ask the site for the sink of the body, if there is a body.

        Twisted's own site is asked by the length alone.
        """
        channel: Any = self.channel
        host: Host = channel.site
        self.content = NO_BODY if length == 0 else host.body(self._parts()[1], length)

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
        if host.streams(self._parts()[1]):
            self.content = StreamedBody(self.content.announced, source, self._most())
            self._process_as_it_is()

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
        if self.site is None:
            self._process_as_it_is()
        elif not self.finished:
            dismiss(cast("ServedRequest", self), problem.reply(), "refused")

    def _process_as_it_is(self) -> None:
        if self.content is None:
            self.content = DroppedBody(0)
        self.requestReceived(*self._parts())

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
        super().connectionLost(reason)
        if self.site is not None and not self.finished:
            cast("Host", self.site).left(self)
