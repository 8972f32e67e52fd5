"""Another Deferred to wait for: a request that is passed on to a real service, and its answer that is passed back."""

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
from latebin.core.http.reply import Problem, Refused
from latebin.core.http.request_id import HEADER
from latebin.core.parameters import PREFIX

log = Logger()

STATUSES: Final = range(200, 600)
"""What can be passed back; any other number is no status of a final answer (RFC 9110, section 15)."""

_HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
"""What is meant for the next hop alone (RFC 9110, section 7.6.1), besides `Proxy-*` and what `Connection` names."""

_OUR_OWN: Final = frozenset({b"host", b"content-length", b"expect", HEADER.lower()})
"""What is said anew to the upstream. An expectation was met when the body was asked for (section 10.1.1)."""

UNREACHABLE: Final = Problem(502, "The upstream gave no answer that could be passed on.")

TOO_LATE: Final = Problem(504, "The upstream did not begin to answer in time.")


class Untouched(proxyForInterface(IResponse, "original")):  # type: ignore[misc]  # a class that is made when it is run
    """An answer that shows no headers, so that treq finds nothing to decode and no cookie to keep."""

    headers = property(lambda _: Headers())


@implementer(IAgent)
class Verbatim:
    """What treq asks through: it sends the request as the caller wrote it, and keeps the answer as it came.

    treq by itself would write the URL anew, ask for gzip, decode it, and read the cookies.

    Args:
        agent: what sends it.
        method: as the caller sent it.
        uri: the whole URL, percent-encoded as the caller sent it.
        headers: all that is sent but for Host and the framing.

    Attributes:
        answer: the answer, once there is one.
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
        return cast("IResponse", Untouched(answer))


class Forward:
    """A request that is passed on, and its answer that is passed back, each as fast as the other side takes it.

    Args:
        request: what is passed on; its answer is the upstream's, whose `Server-Timing` gets one value more.
        uri: the whole URL that is asked.
        agent: what asks.
        clock: what the timeout goes by.
        timeout: seconds without any progress after which an upstream that has not begun to answer is given up. While
            the client is the one who is waited for, they are not counted.
        timing: the `Server-Timing` header of this service.

    Attributes:
        sent: fires with no bytes when all of the answer has been taken by the transport; fails with `Refused`, 502 or
            504, if there is no answer. If the answer breaks off, so does the client's connection, and it never fires.
            Cancelling it closes the connection to the upstream.
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
        self._agent = Verbatim(agent, request.method, uri, passed_on(request))
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
            # It would take the global reactor; and asks for no more than the time.
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
            raise ValueError(f"{answer.code} is no status")
        _start(self._request, answer, self._timing)
        self._download = Download(self._request, self.sent)
        self._download.begin(answer)

    def _failed(self, failure: Failure) -> None:
        # Of a client that has left we are told after its connection is.
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
    """What takes an answer that nobody wants: it closes the connection."""

    def connectionMade(self) -> None:
        cast("IPushProducer", self.transport).stopProducing()


@implementer(IPushProducer)
class Download(Protocol):
    """The body of an answer, written to the client as it comes, and left with the upstream while the client is slow.

    Args:
        request: what is written to; its headers are set.
        sent: fires with no bytes when all has been taken by the transport.
    """

    def __init__(self, request: ServedRequest, sent: Deferred[bytes]) -> None:
        self._request = request
        self._sent = sent
        self._paused = self._ended = self._registered = False

    def begin(self, answer: IResponse) -> None:
        """Take the body; as long as there is more to come, the headers do not wait for it."""
        answer.deliverBody(self)
        # Not before: whatever was paused until now, taking the body resumes.
        if not self._ended:
            self._request.write(b"")
            self._registered = True
            self._request.registerProducer(self, streaming=True)

    def dataReceived(self, data: bytes) -> None:
        if not self._ended:
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End as the upstream did; an answer without any framing ends with its connection (RFC 9112, section 6.3)."""
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


def passed_on(request: ServedRequest) -> Headers:
    """Give the headers that a request is passed on with, its id too; Host and the framing are added when it is sent."""
    headers = Headers(dict(_kept(request.requestHeaders, _OUR_OWN)))
    if given := request_id(request):
        headers.addRawHeader(HEADER, given.encode("ascii"))
    headers.addRawHeader(b"Via", request.clientproto.removeprefix(b"HTTP/") + b" latebin")
    return headers


def _start(request: ServedRequest, answer: IResponse, timing: tuple[bytes, bytes]) -> None:
    request.setResponseCode(answer.code)
    request.defaultContentType = None  # what the upstream does not say is not said for it
    headers = request.responseHeaders
    for name in (b"Server", timing[0]):
        headers.removeHeader(name)
    # An upstream that returns the id returns ours, and one that has made its own is not to hide it.
    for name, values in _kept(answer.headers, {HEADER.lower()}):
        headers.setRawHeaders(name, values)
    headers.addRawHeader(*timing)
    if answer.length is not UNKNOWN_LENGTH and request.method != b"HEAD" and answer.code not in NO_BODY_CODES:
        headers.setRawHeaders(b"Content-Length", [b"%d" % answer.length])


def _kept(headers: Headers, others: Collection[bytes] = ()) -> Iterator[tuple[bytes, list[bytes]]]:
    """Leave out what is for one hop alone, what asks for a delay, and some others, named in small letters."""
    named = b",".join(headers.getRawHeaders(b"Connection", [])).lower().split(b",")
    dropped = _HOP_BY_HOP.union(others, (name.strip() for name in named))
    for name, values in headers.getAllRawHeaders():
        if name.lower() not in dropped and not name.lower().startswith((b"proxy-", PREFIX.encode("ascii"))):
            yield name, list(values)


def _body(request: ServedRequest, clock: IReactorTime) -> IBodyProducer | None:
    """Give the body as a producer: as it comes where it is streamed, otherwise the file that it was received into."""
    content: Any = request.content
    if isinstance(content, StreamedBody):
        return content
    content.seek(0, 2)
    if not content.tell():
        return None
    content.seek(0)
    return FileBodyProducer(content, Cooperator(scheduler=lambda call: clock.callLater(0, call)))
