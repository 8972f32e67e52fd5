"""A connection to an upstream, and the requests on it, one after the other.

Twisted's own client (`twisted.web.client`) would have to be bent at each of these points. It drops interim responses,
trailers and reason phrases. It does not bound the headers of a response, nor check their values. It delivers no
response before the last byte of the request. It puts host names through IDNA.
"""

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol as BaseProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from latebin.core.http.status import SWITCHING
from latebin.core.http.upstream_headers import Field
from latebin.core.http.upstream_response import End, Head, ResponseError, ResponseParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IProducer, IReactorTime

LINGER: Final = 5.0
"""Seconds that the last bytes of a client have to reach an upstream, behind a 101."""

REPEATABLE: Final = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"TRACE"})
"""Methods of requests that are sent again, on a new connection, if an old one turns out to be closed."""


class UpstreamError(Exception):
    """The failure of an upstream; the text is the reason.

    Attributes:
        late: whether the upstream did not accept the connection in time.
        detail: more about it, for the log alone; empty for no more.
    """

    def __init__(self, reason: str, *, late: bool = False, detail: str = "") -> None:
        super().__init__(reason)
        self.late = late
        self.detail = detail


@attrs.frozen(eq=False)
class Question:
    """A request for an upstream.

    Attributes:
        upstream: the name of the upstream.
        method: the method.
        path: the request target.
        fields: the headers, without those of the framing and of the connection.
        body: what produces the body; None for no body.
        upgrade: the protocols that the request asks to switch to; empty for none.
        te: whether the client takes trailers.
    """

    upstream: str
    method: bytes
    path: bytes
    fields: tuple[Field, ...]
    body: IBodyProducer | None = None
    upgrade: bytes = b""
    te: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time."""
        return self.body is None and self.method in REPEATABLE

    def head(self) -> bytes:
        """Write the request line and the headers (RFC 9112, section 3)."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.path), *(b"%b: %b" % field for field in self.fields)]
        if self.te:
            lines.append(b"TE: trailers")
        options = b", ".join([b"TE"] * self.te + [b"Upgrade"] * bool(self.upgrade))
        if options:
            lines.append(b"Connection: " + options)
        if self.upgrade:
            lines.append(b"Upgrade: " + self.upgrade)
        if self.body is None:
            # As RFC 9110, section 8.6, wants it for a method that anticipates content.
            lines += [b"Content-Length: 0"] * (self.method in (b"PATCH", b"POST", b"PUT"))
        elif self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        else:
            lines.append(b"Content-Length: %d" % cast("int", self.body.length))
        return b"\r\n".join([*lines, b"", b""])

    @property
    def chunked(self) -> bool:
        """Whether the body is framed by chunks."""
        return self.body is not None and self.body.length is UNKNOWN_LENGTH


class Listener(Protocol):
    """The receiver of a response, which learns of it as it comes."""

    def progressed(self) -> None:
        """Take note that bytes of the upstream have come, and were passed on."""

    def interim(self, head: Head, /) -> None:
        """Take an interim response."""

    def began(self, head: Head, /) -> None:
        """Take the head of the final response, a 101 too."""

    def came(self, data: bytes, /) -> None:
        """Take a piece of the body; after a 101, bytes of the other protocol."""

    def ended(self, trailers: tuple[Field, ...], /) -> None:
        """Take note that the response is whole.

        After a 101, that is so when the upstream has closed the connection.
        """

    def failed(self, error: UpstreamError, /) -> None:
        """Take note that there is no response, or that it is not whole."""


class Upstream(Protocol):
    """A question that has been asked, as its asker sees it."""

    def pause(self) -> None:
        """Leave the response with the upstream."""

    def resume(self) -> None:
        """Read on."""

    def cancel(self) -> None:
        """Give the question up; the listener learns of nothing any more."""

    def write(self, data: bytes, /) -> None:
        """Send bytes, after a 101."""

    def tunnel(self, producer: IPushProducer, /) -> None:
        """Pause and resume what produces the bytes for `write`, as the upstream takes them."""


@implementer(IConsumer)
class UpstreamConnection(BaseProtocol):
    """A connection to an upstream, on which a response may overlap with its request.

    Args:
        clock: the clock that bounds how long a closed connection takes to send its last bytes.
        kept: a function that is called when another request may follow.
        gone: a function that is called when the connection is lost.
    """

    untrusted = ""
    """The reason why the certificate was refused; TLS sets it."""

    def __init__(
        self,
        clock: "IReactorTime",
        kept: "Callable[[UpstreamConnection], object]",
        gone: "Callable[[UpstreamConnection], object]",
    ) -> None:
        self._clock = clock
        self._closing: IDelayedCall | None = None
        self._kept = kept
        self._gone = gone
        self._question: Question | None = None
        self._listener: Listener | None = None
        self._parser = ResponseParser(b"")
        self._closed: Callable[[], object] | None = None
        self._sending = self._switched = False

    def serves(self, listener: Listener) -> bool:
        """Return whether the response for a listener is under way."""
        return self._listener is listener

    def ask(self, question: Question, listener: Listener, closed: "Callable[[], object] | None" = None) -> None:
        """Send a request.

        Args:
            question: the request.
            listener: what learns of the response.
            closed: a function that is called if the connection turns out to be closed already; None to let the
                listener know.
        """
        self._question, self._listener, self._parser = question, listener, ResponseParser(question.method)
        self._closed = closed
        self._wire.write(question.head())
        if question.body is not None:
            self._send(question.body)

    def cancel(self) -> None:
        """Close the connection, with the request and the response that are under way."""
        switched, self._listener = self._switched, None
        if not switched:
            self._wire.abortConnection()
            return
        # The last bytes of the client still leave.
        self._wire.unregisterProducer()
        self._wire.loseConnection()
        self._closing = self._clock.callLater(LINGER, self._wire.abortConnection)

    def close(self) -> None:
        """Close the connection, on which nothing is under way."""
        if ISSLTransport.providedBy(self.transport):
            # It would wait for the alert of an upstream that may send none.
            self._wire.abortConnection()
        else:
            self._wire.loseConnection()

    def pause(self) -> None:
        """Read nothing."""
        self._wire.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self._wire.resumeProducing()

    def tunnel(self, producer: IPushProducer) -> None:
        """Pause and resume a producer as the upstream takes what is written."""
        if (keep_alive := getattr(self._wire, "setTcpKeepAlive", None)) is not None:
            # An upstream that has vanished is noticed by the system alone.
            keep_alive(1)
        self._wire.registerProducer(producer, True)  # noqa: FBT003  # Twisted's

    # The request.

    def registerProducer(self, producer: "IProducer", streaming: bool) -> None:  # noqa: FBT001  # an interface
        """Do nothing: `_send` has registered the producer of a body."""

    def unregisterProducer(self) -> None:
        """Do nothing, as above."""

    def write(self, data: bytes) -> None:
        """Send a piece of a body, in its framing; after a 101, as it is."""
        if not self._switched and self._question is not None and self._question.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._wire.write(data)

    def _send(self, body: IBodyProducer) -> None:
        self._sending = True
        self._wire.registerProducer(body, True)  # noqa: FBT003  # Twisted's
        # A body that does not come whole must not look whole.
        body.startProducing(self).addCallbacks(self._sent, lambda _: self._wire.abortConnection())

    def _sent(self, _: object) -> None:
        self._sending = False
        self._wire.unregisterProducer()
        if self._question is not None and self._question.chunked:
            self._wire.write(b"0\r\n\r\n")

    # The response.

    def dataReceived(self, data: bytes) -> None:
        """Pass on what the bytes say; anything that nothing was asked for ends the connection."""
        if self._listener is None:
            self._wire.abortConnection()
        elif self._switched:
            self._listener.came(data)
        else:
            try:
                self._read(data)
            except ResponseError as error:
                self._fail(UpstreamError(str(error)))
        if self._listener is not None:
            self._listener.progressed()

    def _read(self, data: bytes) -> None:
        for event in self._parser.feed(data):
            listener = self._listener
            if listener is None:
                return
            if isinstance(event, Head):
                self._begin(event, listener)
            elif isinstance(event, End):
                self._finish(event)
            else:
                listener.came(event)

    def _begin(self, head: Head, listener: Listener) -> None:
        if head.status == SWITCHING:
            if not cast("Question", self._question).upgrade:
                raise ResponseError("it switched to another protocol without being asked")
            self._switched = True
            listener.began(head)
            if rest := self._parser.rest():
                listener.came(rest)
        elif head.status < 200:  # noqa: PLR2004  # the first status of a final response
            listener.interim(head)
        else:
            listener.began(head)

    def _finish(self, end: End) -> None:
        listener, self._listener = cast("Listener", self._listener), None
        self._question = None
        if self._parser.reusable and not self._sending:
            self._kept(self)
        else:
            # With the rest of the body that was to be sent.
            self._wire.abortConnection()
        listener.ended(end.trailers)

    def _fail(self, error: UpstreamError) -> None:
        listener, self._listener = self._listener, None
        self._wire.abortConnection()
        if listener is not None:
            listener.failed(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End as the upstream did.

        A response without any framing ends with its connection (RFC 9112, section 6.3).
        """
        self._gone(self)
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        listener, self._listener = self._listener, None
        if listener is None:
            return
        if self._closed is not None and not self._parser.begun:
            self._closed()
            return
        clean = reason.check(ConnectionDone) is not None
        try:
            if self._switched and clean:
                listener.ended(())
            elif clean:
                listener.ended(self._parser.end().trailers)
            else:
                listener.failed(self._lost(reason))
        except ResponseError as error:
            listener.failed(UpstreamError(str(error)))

    def _lost(self, reason: Failure) -> UpstreamError:
        if self.untrusted:
            return UpstreamError(self.untrusted)
        if type(reason.value).__module__.startswith("OpenSSL"):
            return UpstreamError("TLS with it failed", detail=repr(reason.value))
        return UpstreamError("its connection was reset", detail=repr(reason.value))

    @property
    def _wire(self) -> Any:  # noqa: ANN401  # ITCPTransport, IConsumer and IPushProducer in one
        return self.transport
