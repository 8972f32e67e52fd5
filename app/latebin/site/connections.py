"""The open connections of a site, and how they come to an end."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from latebin.answers.failures import by_client, report
from latebin.answers.interfaces import ServedRequest, dismiss
from latebin.answers.unread import UnreadAnswers
from latebin.core.http.request_head import begins_a_request
from latebin.site.sharing import SharingWrapper
from latebin.timing.activity import Activity
from latebin.timing.budget import TurnBudget

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol, ITCPTransport
    from twisted.protocols.policies import WrappingFactory

    from latebin.answers.pending import PendingAnswer
    from latebin.core.ends import End
    from latebin.core.http.reply import Reply

log = Logger()

ASSUMED: Final = 192 * 1024
"""Bytes that wait for a client that does not read: a piece of an answer, beside those at which the transport asks for
a pause. Twisted's transports report the number by no public name."""

LOOK: Final = 0.1
"""Seconds from one look at an HTTP/2 connection that is to end to the next, as long as streams are open on it."""


class Connection(Protocol):
    """One connection of a site, as the others and the drain see it."""

    @property
    def requests(self) -> list[ServedRequest]:
        """The requests that were received as a whole, and whose answers are not."""
        ...

    def end(self) -> None:
        """Close the connection as soon as nothing is under way on it."""
        ...

    def abort(self) -> None:
        """Close the connection, also in the middle of an answer."""
        ...


@attrs.define(eq=False)
class Connections:
    """The connections of one site.

    Attributes:
        activity: what learns that a connection opens or closes.
        ending: whether each answer is the last of its connection; `start_ending` sets it.
        closing: whether no further connection is accepted; `end` sets it.
    """

    activity: Activity = attrs.field(factory=Activity)
    ending: bool = attrs.field(default=False, init=False)
    closing: bool = attrs.field(default=False, init=False)
    _open: set[Connection] = attrs.field(factory=set, init=False)
    _ended: Deferred[None] | None = attrs.field(default=None, init=False)

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._open)

    @property
    def requests(self) -> list[ServedRequest]:
        """The requests that were received on any of them, and are not answered."""
        return [request for connection in self._open for request in connection.requests]

    @property
    def hanging(self) -> list[ServedRequest]:
        """Those of `requests` whose answers hang, which never end by themselves."""
        return [each for each in self.requests if each.pending_answer is not None and each.pending_answer.hanging]

    @property
    def endless(self) -> "list[PendingAnswer]":
        """The answers to `requests` that are streams without end."""
        answers = (each.pending_answer for each in self.requests)
        return [each for each in answers if each is not None and each.end_stream is not None]

    def opened(self, connection: Connection) -> None:
        """Register a connection."""
        self._open.add(connection)
        if self.activity.resting:
            self.activity.begin()

    def lost(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self._open.discard(connection)
        if self.activity.resting:
            self.activity.begin()
        self._check()

    def start_ending(self) -> None:
        """Make each answer the last of its connection, those of requests that wait already too."""
        self.ending = True
        for request in self.requests:
            make_last(request)

    def end(self) -> Deferred[None]:
        """Close the idle connections, and the others when their answers have left.

        Returns:
            A Deferred that fires when none is open.
        """
        ended = self._ended = Deferred()
        self.closing = True
        for connection in list(self._open):
            _attempt(connection.end)
        self._check()
        return ended

    def end_hanging(self) -> int:
        """Close the connections, or streams, of the answers that hang.

        Returns:
            The number of these answers.
        """
        hanging = self.hanging
        for request in hanging:
            _attempt(request.loseConnection)
        return len(hanging)

    def end_endless(self) -> int:
        """End the streams without end, each behind an event.

        Returns:
            The number of these streams.
        """
        endless = self.endless
        for answer in endless:
            if answer.end_stream is not None:
                _attempt(answer.end_stream)
        return len(endless)

    def dismiss(self, reply: "Reply") -> int:
        """Answer each waiting request with a reply; break off answers that have begun.

        Returns:
            The number of requests whose own answers were not given.
        """
        requests = self.requests
        for request in requests:
            _attempt(partial(dismiss, request, reply))
        return len(requests)

    def abort(self) -> None:
        """Close all connections, also in the middle of an answer."""
        for connection in list(self._open):
            _attempt(connection.abort)

    def _check(self) -> None:
        if not self._open and self._ended is not None:
            ended, self._ended = self._ended, None
            ended.callback(None)


def make_last(request: ServedRequest) -> None:
    """Make an answer the last of its connection, with a header if possible.

    An answer that has begun gets no header for that.

    Over HTTP/2, an answer ends its stream alone; the connection closes when it is idle (RFC 9113, section 9.1).
    """
    if request.clientproto == b"HTTP/2" or not request.channel.persistent:
        return
    request.channel.persistent = False
    if not request.startedWriting:
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        request.responseHeaders.removeHeader(b"Keep-Alive")


class Watching(Protocol):
    """The part of a site that a watched connection reports to."""

    connections: Connections
    unread: UnreadAnswers
    reactor: IReactorTime
    budget: TurnBudget

    @property
    def requestFactory(self) -> Any: ...  # noqa: ANN401  # any callable that makes requests of a channel and more

    def left(self, request: ServedRequest, /) -> None: ...
    def connection_error(self, cause: str, /) -> None: ...


@implementer(IPushProducer)
@attrs.frozen(eq=False)
class Output:
    """The producer of a watched connection, as its transport sees it.

    Attributes:
        watched: the connection.
    """

    watched: "WatchedConnection"

    def pauseProducing(self) -> None:
        self.watched.pause()

    def resumeProducing(self) -> None:
        self.watched.resume()

    def stopProducing(self) -> None:
        self.watched.stop()


class WatchedConnection(SharingWrapper):
    """A connection of Twisted's own classes, watched from outside, by public names alone.

    It stands between the protocol and the transport (`twisted.protocols.policies`), makes the requests of its protocol,
    and learns of their ends by `notifyFinish`.

    Args:
        factory: the factory of the wrapper.
        protocol: Twisted's protocol, over which the site's `requestFactory` makes requests.
        site: the site that the connection belongs to.
    """

    _channel: Any = None
    _heard = False
    _look: IDelayedCall | None = None
    _stalled = False

    def __init__(self, factory: "WrappingFactory[WatchedConnection]", protocol: "IProtocol", site: Watching) -> None:
        super().__init__(factory, protocol)
        self._site = site
        self.budget = site.budget
        self._begun: set[ServedRequest] = set()
        channel: Any = protocol
        channel.requestFactory = self._request

    @property
    def requests(self) -> list[ServedRequest]:
        return [request for request in self._begun if request.site is not None]

    def registerProducer(self, producer: IConsumer, streaming: bool) -> None:  # noqa: FBT001  # ITransport's
        """Take note of what speaks HTTP here; with HTTP/2, that is another object than before."""
        self._channel = producer
        super().registerProducer(cast("IConsumer", Output(self)), streaming)

    def makeConnection(self, transport: "ITCPTransport") -> None:
        self._site.connections.opened(self)
        super().makeConnection(transport)

    def pass_on(self, data: bytes) -> None:
        """Hand bytes to the protocol; an exception that they cause ends this connection alone."""
        begun, self._heard = self._heard, True
        if not begun and b"\r\n" not in data and not begins_a_request(data):
            self._refuse()
            return
        try:
            super().pass_on(data)
        except Exception:  # noqa: BLE001  # every exception that a byte can cause
            failure = Failure()
            report(log, failure, self.getPeer())
            client = by_client(failure)
            self._site.connection_error("client" if client else "service")
            if client and not self.requests and not hasattr(self._channel, "streams"):
                # A Content-Length of more digits than CPython reads.
                self._refuse()
            else:
                self.abort("protocol_error" if client else "failed")

    def refuse_block(self) -> None:
        self._site.connection_error("client")
        self.abort("protocol_error")

    def _refuse(self) -> None:
        """Answer as Twisted answers bytes that are not a request, and close the connection."""
        self.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.loseConnection()

    def write(self, data: bytes) -> None:
        super().write(data)
        self._pause_again()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        super().writeSequence(data)
        self._pause_again()

    def pause(self) -> None:
        """Have nothing written, and begin no other request, as the client does not read."""
        self._stalled = True
        self._site.unread.enter(self, ASSUMED)
        if self._channel is not None:
            self._channel.pauseProducing()

    def stop(self) -> None:
        """Have nothing written any more: the client has left."""
        if self._channel is not None:
            self._channel.stopProducing()

    def resume(self) -> None:
        """Go on: the client has read."""
        self._stalled = False
        self._site.unread.leave(self)
        if self._channel is not None:
            self._channel.resumeProducing()
        self.go_on_later()

    def _ready(self) -> bool:
        return (self._multiplexed or not self._stalled) and super()._ready()

    def _pause_again(self) -> None:
        """Pause a producer that was registered after the transport had asked for a pause."""
        if self._stalled and self._channel is not None and not hasattr(self._channel, "streams"):
            self._channel.pauseProducing()

    def stop_waiting(self) -> None:
        """Abort the connection: its client leaves answers unread, and there are too many of those."""
        self.abort("unread")

    def loseConnection(self) -> None:
        """Close the connection; over TLS, FIN follows close_notify at once (RFC 8446, section 6.1)."""
        if self.transport is None or not ISSLTransport.providedBy(self.transport):
            super().loseConnection()
            return
        # TLS closes nothing as long as there is a producer, which the HTTP/2 connection is to its end.
        tls = cast("Any", self.transport)
        tls.unregisterProducer()
        super().loseConnection()
        tls.transport.loseConnection()

    def connectionLost(self, reason: "Failure" = connectionDone) -> None:
        _attempt(partial(super().connectionLost, reason))
        # Over HTTP/2, Twisted does not say it to a request whose stream was closed by the service.
        for request in list(self._begun):
            _attempt(partial(cast("Any", request).connectionLost, reason))
        if self._look is not None and self._look.active():
            self._look.cancel()
        self._channel = None
        self._site.unread.leave(self)
        self._site.connections.lost(self)

    def end(self) -> None:
        if hasattr(self._channel, "streams"):
            self._end_streams()
        elif not self._begun and not self.end_behind():
            self.loseConnection()

    def abort(self, end: "End" = "aborted") -> None:
        for request in self._begun:
            request.end = end
        cast("ITCPTransport", self.transport).abortConnection()

    def _end_streams(self) -> None:
        if self._channel.streams:
            self._look = self._site.reactor.callLater(LOOK, self._end_streams)
        else:
            self._channel.timeoutConnection()  # there is no other way to have it send GOAWAY

    def _request(self, *arguments: object, **named: object) -> ServedRequest:
        request: ServedRequest = self._site.requestFactory(*arguments, **named)
        request.style, request.request_id = "site", b""
        request.pending_answer = request.refusal = None
        request.broken = request.whole_path = False
        request.end = "left"
        cast("Any", request).connection = self
        self._begun.add(request)
        about = (request,)
        request.notifyFinish().addCallbacks(self._finished, self._unfinished, callbackArgs=about, errbackArgs=about)
        return request

    def _finished(self, _: None, request: ServedRequest) -> None:
        self._begun.discard(request)
        self.go_on_later()

    def _unfinished(self, failure: "Failure", request: ServedRequest) -> None:
        """Report a disconnect before the answer was whole.

        There is nothing to report if the answer was dismissed for another, or the request has not come as a whole.
        """
        self._begun.discard(request)
        if request.site is not None and not failure.check(CancelledError):
            self._site.left(request)


def _attempt(end: Callable[[], object]) -> None:
    """End a connection or an answer; one whose end fails keeps no other from it."""
    try:
        end()
    except Exception:  # noqa: BLE001  # every failure is in the log
        log.failure("a connection could not be ended")
