"""Another Deferred to wait for: the answer of a real service to a forwarded request."""

from collections.abc import Collection, Iterator
from typing import Any, Final, cast

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure
from twisted.web.client import FileBodyProducer, ResponseDone
from twisted.web.http import NO_BODY_CODES, PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from latebin.answers.interfaces import ServedRequest, abort, request_id
from latebin.answers.request_body import StreamedBody
from latebin.core.http.cors import OURS
from latebin.core.http.reply import Problem, Refused
from latebin.core.http.request_id import HEADER
from latebin.core.parameters import PREFIX

log = Logger()

STATUSES: Final = range(200, 600)
"""Statuses that can be passed back: those of a final answer (RFC 9110, section 15)."""

_HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
"""Headers for one hop (RFC 9110, section 7.6.1), besides `Proxy-*` and those that `Connection` names."""

_OUR_OWN: Final = frozenset({b"host", b"content-length", b"expect", HEADER.lower()})
"""Headers that are made anew for the upstream; an expectation was met already (section 10.1.1)."""

UNREACHABLE: Final = Problem(502, "The upstream gave no answer that could be passed on.")

TOO_LATE: Final = Problem(504, "The upstream did not begin to answer in time.")


class OpaqueResponse(proxyForInterface(IResponse, "original")):  # type: ignore[misc]  # a class that is made when it is run
    """An answer without headers: treq finds nothing to decode and no cookie to keep."""

    headers = property(lambda _: Headers())


@implementer(IAgent)
class FixedRequestAgent:
    """The agent that treq uses: it keeps the caller's request and the upstream's answer verbatim.

    treq by itself would write the URL anew, ask for gzip, decode the answer, and read its cookies.

    Args:
        agent: the agent that sends the request.
        method: the method as the caller sent it.
        uri: the whole URL, percent-encoded as the caller sent it.
        headers: all headers except Host and those of the framing.

    Attributes:
        answer: the answer; None before it comes.
    """

    def __init__(self, agent: IAgent, method: bytes, uri: bytes, headers: Headers) -> None:
        self._agent = agent
        self._request = method, uri, headers
        self.answer: IResponse | None = None

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        d: Deferred[IResponse] = self._agent.request(*self._request, bodyProducer)
        return d.addCallback(self._keep)

    def _keep(self, answer: IResponse) -> IResponse:
        self.answer = answer
        return cast("IResponse", OpaqueResponse(answer))


class Forward:
    """A request that is passed on, and its answer that is passed back.

    Each goes as fast as the other side takes it.

    Args:
        request: the request that is passed on. The upstream's answer gets one value more in its `Server-Timing`.
        uri: the whole URL at the upstream.
        agent: the agent that passes the request on.
        clock: the clock of the timeout.
        timeout: seconds without any progress after which an upstream that has not begun to answer is given up. The time
            that the client's own bytes take does not count.
        timing: the `Server-Timing` header of this service.

    Attributes:
        sent: a Deferred that fires with no bytes when the transport has taken the whole answer. Without an answer it
            fails with `Refused`, 502 or 504. If the answer breaks off, the client's connection is reset and the
            Deferred never fires. Cancelling it closes the connection to the upstream.
    """

    def __init__(
        self,
        request: ServedRequest,
        uri: bytes,
        *,
        agent: IAgent,
        clock: IReactorTime,
        timeout: float,
        timing: tuple[bytes, bytes],
    ) -> None:
        self.sent: Deferred[bytes] = Deferred(self._cancelled)
        request.setHeader(*timing)
        self._request = request
        self._timing = timing
        self._clock = clock
        self._timeout = timeout
        self._late = self._over = False
        self._download: Download | None = None
        self._agent = FixedRequestAgent(agent, request.method, uri, forwarded_headers(request))
        self._body = _body(request, clock)
        self._call = clock.callLater(timeout, self._expired)
        self._ask(uri)

    def _ask(self, uri: bytes) -> None:
        if isinstance(self._body, StreamedBody):
            self._body.moved = self._moved
        self._asked: Deferred[Any] = HTTPClient(self._agent).request(
            self._request.method.decode("ascii"),
            b"/".join(uri.split(b"/", 3)[:3]).decode("ascii"),
            data=self._body,
            allow_redirects=False,
            unbuffered=True,
            # treq would take the global reactor; it uses nothing of this clock except the time.
            reactor=cast("Any", self._clock),
        )
        self._asked.addBoth(self._stopped).addCallback(self._begin).addErrback(self._failed)

    def _moved(self) -> None:
        if self._call.active():
            self._call.reset(self._timeout)

    def _expired(self) -> None:
        if isinstance(self._body, StreamedBody) and self._body.starved:
            self._call = self._clock.callLater(self._timeout, self._expired)
        else:
            self._late = True
            self._asked.cancel()

    def _stopped(self, result: object) -> object:
        if self._call.active():
            self._call.cancel()
        return result

    def _begin(self, _: object) -> None:
        answer = cast("IResponse", self._agent.answer)
        if answer.code not in STATUSES:
            answer.deliverBody(Closing())
            raise ValueError(f"{answer.code} is not the status of a final answer")
        _start(self._request, answer, self._timing)
        self._download = Download(self._request, self.sent)
        self._download.begin(answer)

    def _failed(self, failure: Failure) -> None:
        # The Deferred of a client that has left fires after its connection is lost.
        if self._over or self._request.channel is None:
            return
        reason = repr(failure.value)
        log.warn("no answer from an upstream: {reason}", reason=reason, request_id=request_id(self._request))
        late = self._late or failure.check(ConnectTimeout)
        self.sent.errback(Refused(TOO_LATE if late else UNREACHABLE))

    def _cancelled(self, _: object) -> None:
        self._over = True
        self._asked.cancel()
        if self._download is not None:
            self._download.stopProducing()


class Closing(Protocol):
    """A protocol that closes the connection of an unwanted answer."""

    def connectionMade(self) -> None:
        cast("IPushProducer", self.transport).stopProducing()


@implementer(IPushProducer)
class Download(Protocol):
    """The body of an answer, passed to the client as fast as the client reads.

    While the client is slow, the rest of the body stays with the upstream.

    Args:
        request: the client's request; the headers of its answer are set.
        sent: a Deferred that fires with no bytes when the transport has taken the whole body.
    """

    def __init__(self, request: ServedRequest, sent: Deferred[bytes]) -> None:
        self._request = request
        self._sent = sent
        self._paused = self._ended = self._registered = False

    def begin(self, answer: IResponse) -> None:
        """Take the body; send the headers before it, unless it is whole already."""
        answer.deliverBody(self)
        # Not before: taking the body resumes a producer that was paused until now.
        if not self._ended:
            self._request.write(b"")
            self._registered = True
            self._request.registerProducer(self, streaming=True)

    def dataReceived(self, data: bytes) -> None:
        if not self._ended:
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End as the upstream did.

        An answer without any framing ends with its connection (RFC 9112, section 6.3).
        """
        if self._ended:
            return
        self._ended = True
        if not reason.check(ResponseDone, PotentialDataLoss):
            self._break_off()
        elif not self._paused:
            self._finish()

    def pauseProducing(self) -> None:
        self._paused = True
        self._upstream.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._ended:
            self._finish()
        else:
            self._upstream.resumeProducing()

    def stopProducing(self) -> None:
        """Close the connection to the upstream: the client has left."""
        self._unregister()
        if not self._ended:
            self._ended = True
            self._upstream.stopProducing()

    @property
    def _upstream(self) -> IPushProducer:
        return cast("IPushProducer", self.transport)

    def _finish(self) -> None:
        self._unregister()
        self._sent.callback(b"")

    def _break_off(self) -> None:
        self._request.broken = True
        self._unregister()
        abort(self._request)

    def _unregister(self) -> None:
        # A client that has left has taken the channel with it.
        if self._registered and self._request.channel is not None:
            self._request.unregisterProducer()
        self._registered = False


def forwarded_headers(request: ServedRequest) -> Headers:
    """Return the headers that a request is passed on with, and its id.

    The agent adds Host and the framing.
    """
    headers = Headers(dict(_kept(request.requestHeaders, _OUR_OWN)))
    if given := request_id(request):
        headers.addRawHeader(HEADER, given.encode("ascii"))
    headers.addRawHeader(b"Via", request.clientproto.removeprefix(b"HTTP/") + b" latebin")
    return headers


def _start(request: ServedRequest, answer: IResponse, timing: tuple[bytes, bytes]) -> None:
    request.setResponseCode(answer.code)
    request.defaultContentType = None  # an answer without a Content-Type stays without one
    headers = request.responseHeaders
    for name in (b"Server", timing[0]):
        headers.removeHeader(name)
    # The id of the answer stays ours: an upstream may return an id of its own.
    shared = headers.hasHeader(b"Access-Control-Allow-Origin")
    varies = headers.getRawHeaders(b"Vary", [])
    for name, values in _kept(answer.headers, {HEADER.lower(), *(OURS if shared else ())}):
        headers.setRawHeaders(name, [*values, *varies] if name.lower() == b"vary" else values)
    headers.addRawHeader(*timing)
    if answer.length is not UNKNOWN_LENGTH and request.method != b"HEAD" and answer.code not in NO_BODY_CODES:
        headers.setRawHeaders(b"Content-Length", [b"%d" % answer.length])


def _kept(headers: Headers, others: Collection[bytes] = ()) -> Iterator[tuple[bytes, list[bytes]]]:
    """Leave out the headers of one hop, the parameters, and some others, in lower case."""
    named = b",".join(headers.getRawHeaders(b"Connection", [])).lower().split(b",")
    dropped = _HOP_BY_HOP.union(others, (name.strip() for name in named))
    for name, values in headers.getAllRawHeaders():
        if name.lower() not in dropped and not name.lower().startswith((b"proxy-", PREFIX.encode("ascii"))):
            yield name, list(values)


def _body(request: ServedRequest, clock: IReactorTime) -> IBodyProducer | None:
    """Return the body as a producer; None for no body.

    A streamed body is a producer itself; any other is in a file by now.
    """
    content: Any = request.content
    if isinstance(content, StreamedBody):
        return content
    content.seek(0, 2)
    if not content.tell():
        return None
    content.seek(0)
    return FileBodyProducer(content, Cooperator(scheduler=lambda call: clock.callLater(0, call)))
