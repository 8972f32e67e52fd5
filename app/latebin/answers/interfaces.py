"""The interfaces of a request and of its site, as the other packages use them.

`latebin.overrides.stack` says which classes provide them.
"""

from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IPushProducer
    from twisted.web.http_headers import Headers

    from latebin.answers.pending import PendingAnswer
    from latebin.answers.unread import UnreadAnswers
    from latebin.core.ends import End
    from latebin.core.http.reply import Problem, Reply
    from latebin.core.settings import Settings
    from latebin.timing.budget import TurnBudget
    from latebin.timing.timeouts import Timeouts


class BodySink(Protocol):
    """A file that a request's body is written to, with a limit."""

    @property
    def announced(self) -> int | None:
        """The bytes that the body will have; None where the client does not say."""
        ...

    @property
    def full(self) -> bool:
        """Whether the body is over the limit."""
        ...

    def write(self, data: bytes, /) -> int: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class BodySource(Protocol):
    """The connection that a body comes from, which can be left unread for a while."""

    def hold(self) -> None: ...
    def release(self) -> None: ...


class Notified(Protocol):
    """The part of a Deferred that a request calls when it ends."""

    def callback(self, result: None, /) -> object: ...
    def errback(self, fail: Failure | BaseException, /) -> object: ...


class PacedSource(BodySource, Protocol):
    """A body that is taken from its connection at a rate."""

    def take(self, data: bytes, /) -> "Problem | None":
        """Take bytes as they come; return the reason to take no more."""
        ...

    def end(self, then: "Callable[[], object]", /) -> None:
        """Take note that the body is whole; call a function when it is passed on."""
        ...

    def stop(self) -> None:
        """Drop what waits."""
        ...


class ServedRequest(Protocol):
    """A request as styles, service and telemetry see it: Twisted's, with eight attributes of ours.

    Attributes:
        style: what answers: `klein`, `resource`, or `site` for the pages that belong to neither.
        pending_answer: the answer that the service has accepted to give; None for a refusal or a page.
        broken: whether the answer was broken off by an upstream.
        end: why its connection or stream ended before the answer was whole, if it did.
        request_id: the id that answer and log give the request; empty under a plain `twisted.web.server.Site`.
        refusal: why the request is answered before it is whole; None for a whole request.
        content: where the body goes.
        whole_path: whether all of the path is the client's own, as on the port of a scenario.
        connection: the connection that it came on, which is compared by its identity alone.
    """

    style: str
    pending_answer: "PendingAnswer | None"
    broken: bool
    end: "End"
    request_id: bytes
    refusal: "Problem | None"
    content: BodySink
    whole_path: bool

    @property
    def connection(self) -> object: ...

    method: bytes
    uri: bytes
    path: bytes
    prepath: list[bytes]
    postpath: list[bytes]
    clientproto: bytes
    requestHeaders: "Headers"
    responseHeaders: "Headers"
    code: int
    sentLength: int
    startedWriting: int
    chunked: int
    finished: int
    defaultContentType: bytes | None
    notifications: "list[Deferred[None] | Notified]"
    client: Any
    channel: Any
    site: Any
    transport: ITCPTransport | None

    def getHeader(self, key: bytes, /) -> bytes | None: ...
    def getHost(self) -> "IAddress": ...
    def getClientAddress(self) -> "IAddress": ...
    def isSecure(self) -> bool: ...
    def notifyFinish(self) -> "Deferred[None]": ...
    def setResponseCode(self, code: int, message: bytes | None = None, /) -> None: ...
    def setHeader(self, name: bytes, value: bytes, /) -> None: ...
    def write(self, data: bytes, /) -> None: ...
    def finish(self) -> None: ...
    def loseConnection(self) -> None: ...
    def registerProducer(self, producer: "IPushProducer", streaming: bool) -> None: ...  # noqa: FBT001  # IConsumer's
    def unregisterProducer(self) -> None: ...


class ReceivedRequest(Protocol):
    """A request as its connection sees it, while it comes and after that."""

    refusal: "Problem | None"
    startedWriting: int

    @property
    def content(self) -> BodySink: ...
    def expect_body(self, source: BodySource) -> None: ...
    def refuse(self, problem: "Problem") -> None: ...


class Connections(Protocol):
    """The connections of a site, as one of them sees the others.

    Attributes:
        ending: whether each answer is the last of its connection.
        closing: whether no further connection is accepted.
    """

    ending: bool
    closing: bool


class Host(Protocol):
    """The site as its connections and requests see it.

    The site picks the sink and the rate of a body, assigns the id of a request and learns of a disconnect. It also
    counts the connections that end by an error.
    """

    settings: "Settings"
    timeOut: float | None
    keep_alive: bytes
    timeouts: "Timeouts"
    budget: "TurnBudget"
    unread: "UnreadAnswers"

    @property
    def connections(self) -> Connections: ...
    def body(self, target: bytes, length: int | None) -> BodySink: ...
    def streams(self, target: bytes) -> bool: ...
    def pace(
        self, request: "ServedRequest", method: bytes, target: bytes, source: BodySource, /
    ) -> "PacedSource | None": ...
    def assign(self, given: "Sequence[bytes] | None", parents: "Sequence[bytes] | None") -> bytes: ...
    def left(self, request: "ServedRequest", /) -> None: ...
    def connection_error(self, cause: str, /) -> None: ...


def request_id(request: IRequest | ServedRequest) -> str:
    """Return the id of a request; empty under a plain `twisted.web.server.Site`."""
    return getattr(request, "request_id", b"").decode("ascii")


def is_ending(request: ServedRequest) -> bool:
    """Return whether the service stops; False under a plain `twisted.web.server.Site`."""
    connections: Connections | None = getattr(request.site, "connections", None)
    return connections is not None and connections.ending


def is_closing(request: ServedRequest) -> bool:
    """Return whether the service accepts no connection; False under a plain `twisted.web.server.Site`."""
    connections: Connections | None = getattr(request.site, "connections", None)
    return connections is not None and connections.closing


def dismiss(request: ServedRequest, reply: "Reply", end: "End" = "aborted") -> None:
    """Answer now with a reply, in the place of the answer that is waited for.

    An answer that has begun is broken off instead. To the code that makes the answer, it is as if the client had left.

    Args:
        request: the request.
        reply: the answer.
        end: the reason for breaking off an answer that has begun.
    """
    if request.startedWriting or getattr(request.transport, "disconnecting", False):
        request.end = end
        abort(request)
        return
    waiting, request.notifications = request.notifications, []
    for finished in waiting:
        finished.errback(CancelledError())
    request.write(reply.start(request))
    request.finish()


def note_write(request: ServedRequest) -> None:
    """Note that bytes of an answer leave now, or that its connection is cut."""
    # Under a plain `Site` the request is Twisted's own, which has the attribute from its acceptance on.
    answer = getattr(request, "pending_answer", None)
    if answer is not None:
        answer.writes()


def abort(request: ServedRequest) -> None:
    """Reset the connection of a request, or its stream over HTTP/2."""
    note_write(request)
    # Over HTTP/2 a request has no transport, and its channel is the stream.
    cast("ITCPTransport", request.transport or request.channel).abortConnection()
