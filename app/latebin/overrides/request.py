"""A request with its pending answer and its id, which reports its end to the site.

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


# A channel asks each time whether it is to tell a request that it is queued; that is found the sooner if it is not.
@provider(INonQueuedRequestFactory)
class Request(LeanRequest):
    """A request, and what the access log wants to know of it.

    A style that runs under a plain `twisted.web.server.Site` is given Twisted's own request instead. That serves as
    well: the attributes are set on it all the same, and nobody reads them.

    Attributes:
        style: who answers: `klein`, `resource`, or `site` for what belongs to neither.
        pending_answer: what the request was pending_answerd; None where that is nothing, as in a refusal.
        broken: whether its answer was broken off by an upstream.
        end: why it ended before its answer was whole, if it did.
        request_id: its id, as its answer and the log tell it.
        refusal: why it is answered though it is not whole, if it is.
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
        """Set the status, and return the request's id, whoever answers it and however."""
        self.setHeader(HEADER, self.request_id)
        super().setResponseCode(code, message)

    def write(self, data: bytes) -> None:
        """Write a part of the answer, and let it leave."""
        super().write(data)
        if isinstance(self.channel, WriteThroughChannel):
            self.channel.flush()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Process the request when it is whole, unless it was processed before; then its body is whole now."""
        if self.site is None:
            super().requestReceived(command, path, version)
        elif isinstance(self.content, StreamedBody):
            self.content.complete()

    def process(self) -> None:
        """Give the request its id, and the client that trusted proxies report, before anything asks for them."""
        channel: Any = self.channel
        host: Host = channel.site
        self.request_id = host.assign(self.given(HEADER), self.given(PARENT))
        if host.settings.proxy_headers:
            believe(cast("ServedRequest", self), host.settings.proxy_headers)
        super().process()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body; if there is an answer already, nobody wants it any more."""
        if self.content is None:
            return
        super().handleContentChunk(data)
        self._check_size()

    def gotLength(self, length: int | None) -> None:
        """Let the site decide where the body goes, if there is one; Twisted's is asked by the length alone."""
        channel: Any = self.channel
        told: Host = channel.site
        self.content = NO_BODY if length == 0 else told.body(self._parts()[1], length)

    def expect_body(self, source: BodySource) -> None:
        """Take note that a body is to come, which nobody waits for if it is to be passed on, or is too large.

        Args:
            source: where it comes from.
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
        told: Host = channel.site
        return told.settings.max_body

    def refuse(self, problem: "Problem") -> None:
        """Answer at once, though the request is not whole; what is still to come of it, nobody wants.

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
        """Tell method, target and version, which are known to the channel only, until the request is processed."""
        channel: Any = self.channel
        if isinstance(channel, LimitedChannel):
            return channel.begun
        return channel.command, channel.path, b"HTTP/2"

    def connectionLost(self, reason: "Failure") -> None:
        """Tell the site that the client left, if the request had been received and was not answered."""
        if isinstance(reason.value, EndedError) and self.end == "left":
            self.end = reason.value.end
        super().connectionLost(reason)
        if self.site is not None and not self.finished:
            cast("Host", self.site).left(self)
