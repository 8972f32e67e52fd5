"""The upstreams of a service: the way to each, and its open connections."""

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import attrs
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectError, ConnectionRefusedError, DNSLookupError  # noqa: A004  # Twisted's
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IPushProducer,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from latebin.answers.upstream_connection import Listener, Question, Upstream, UpstreamConnection, UpstreamError
from latebin.core.http.upstream_url import Origin, origin
from latebin.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IDelayedCall
    from twisted.python.failure import Failure

log = Logger()

IDLE_CONNECTIONS: Final = 100
"""Connections to one upstream that are kept open for the next request."""

IDLE_TIMEOUT: Final = 15
"""Seconds that a connection is kept open: fewer than common servers wait, so that this side closes it.

A POST cannot be tried again if the server closes the connection under it.
"""

MAX_LABEL: Final = 63
"""The longest part of a name that Python's codec for host names takes."""


class Asker(Protocol):
    """The receiver of questions for upstreams."""

    def ask(self, question: Question, listener: Listener, /) -> Upstream:
        """Send a request to an upstream."""
        ...


class Upstreams:
    """The upstreams of a service, by their names.

    Args:
        reactor: makes the connections; its clock is that of the idle ones.
        settings: the upstreams, and how each is reached.

    Raises:
        ValueError: a file with certificates cannot be used.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:  # noqa: ANN401  # for all that endpoints ask of one
        self._pools = {
            name: Pool(reactor, endpoint(reactor, settings, name, origin(url)))
            for name, url in settings.upstreams.items()
        }

    def ask(self, question: Question, listener: Listener) -> "Asking":
        asking = Asking(self._pools[question.upstream], question, listener)
        asking.start()
        return asking


def endpoint(reactor: Any, settings: Settings, name: str, origin: Origin) -> IStreamClientEndpoint:  # noqa: ANN401  # as above
    """Return the way to reach an upstream."""
    reached = _plain(reactor, origin, settings.upstream_timeout)
    if not origin.secure:
        return reached
    from latebin.answers.upstream_tls import UpstreamTLS, context  # noqa: PLC0415  # for upstreams of HTTPS

    tls = UpstreamTLS(origin, context(settings, name), insecure=name in settings.upstream_insecure)
    return wrapClientTLS(tls, reached)


def _plain(reactor: Any, origin: Origin, timeout: float) -> IStreamClientEndpoint:  # noqa: ANN401  # as above
    if origin.socket:
        return UNIXClientEndpoint(reactor, origin.socket, timeout)
    if ":" in origin.host:
        return TCP6ClientEndpoint(reactor, origin.host, origin.port, timeout)
    if origin.host.replace(".", "").isdigit():
        return TCP4ClientEndpoint(reactor, origin.host, origin.port, timeout)
    # It tries all addresses of a name, without waiting long for one that does not answer (RFC 8305).
    return HostnameEndpoint(NamedReactor(reactor, origin.host), b"upstream.invalid", origin.port, timeout)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
@attrs.frozen
class NamedReactor:
    """A reactor whose resolver looks up one name, whichever it is asked for.

    `HostnameEndpoint` puts names through IDNA, and refuses those that are not: with underscores, or with hyphens at
    their ends. A resolver knows such names. So the endpoint is given another, which it does not refuse.

    Attributes:
        reactor: the reactor that connects.
        name: the name.
    """

    reactor: Any
    name: str

    @property
    def nameResolver(self) -> IHostnameResolver:
        return cast("IHostnameResolver", self)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        return cast("IHostnameResolver", self.reactor.installNameResolver(resolver))

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: "Sequence[type[IAddress]] | None" = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look the name up, in the place of the given one."""
        longest = max(map(len, self.name.split(".")))
        # Python would put text through a codec with the bounds of DNS, and passes bytes to the system as they are.
        name: Any = self.name.encode("ascii") if longest > MAX_LABEL else self.name
        return cast(
            "IHostResolution",
            self.reactor.nameResolver.resolveHostName(
                resolutionReceiver, name, portNumber, addressTypes, transportSemantics
            ),
        )

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401  # as above
        return getattr(self.reactor, attribute)


class Pool:
    """The connections to one upstream.

    Args:
        clock: the clock of the idle connections.
        reached: the way to make a connection.
    """

    def __init__(self, clock: IReactorTime, reached: IStreamClientEndpoint) -> None:
        self._clock = clock
        self._reached = reached
        self._factory = Factory[UpstreamConnection].forProtocol(
            lambda: UpstreamConnection(clock, self._keep, self._drop)
        )
        self._factory.noisy = False
        self._idle: dict[UpstreamConnection, IDelayedCall] = {}

    def take(self) -> UpstreamConnection | None:
        """Take the connection that was idle for the shortest time; None without one."""
        if not self._idle:
            return None
        connection, call = self._idle.popitem()
        call.cancel()
        return connection

    def connect(self) -> "Deferred[UpstreamConnection]":
        """Make a connection."""
        return cast("Deferred[UpstreamConnection]", self._reached.connect(cast("Any", self._factory)))

    def _keep(self, connection: UpstreamConnection) -> None:
        if len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
            return
        # A connection that was paused is to be seen closing.
        connection.resume()
        self._idle[connection] = self._clock.callLater(IDLE_TIMEOUT, self._expired, connection)

    def _expired(self, connection: UpstreamConnection) -> None:
        del self._idle[connection]
        connection.close()

    def _drop(self, connection: UpstreamConnection) -> None:
        call = self._idle.pop(connection, None)
        if call is not None:
            call.cancel()


class Asking:
    """A question on its way: it waits for a connection, and then is on it.

    Args:
        pool: the connections to the upstream.
        question: the request.
        listener: what learns of the response.
    """

    def __init__(self, pool: Pool, question: Question, listener: Listener) -> None:
        self._pool = pool
        self._question = question
        self._listener = listener
        self._connecting: Deferred[UpstreamConnection] | None = None
        self._connection: UpstreamConnection | None = None

    def start(self) -> None:
        """Take a connection that is kept, or make one."""
        kept = self._pool.take()
        if kept is None:
            self._connect()
            return
        self._connection = kept
        kept.ask(self._question, self._listener, self._connect if self._question.repeatable else None)

    def pause(self) -> None:
        if (connection := self._current()) is not None:
            connection.pause()

    def resume(self) -> None:
        if (connection := self._current()) is not None:
            connection.resume()

    def cancel(self) -> None:
        if self._connecting is not None:
            connecting, self._connecting = self._connecting, None
            connecting.cancel()
        if (connection := self._current()) is not None:
            connection.cancel()

    def write(self, data: bytes) -> None:
        if (connection := self._current()) is not None:
            connection.write(data)

    def tunnel(self, producer: IPushProducer) -> None:
        if (connection := self._current()) is not None:
            connection.tunnel(producer)

    def _current(self) -> UpstreamConnection | None:
        """Return the connection, as long as the question is on it.

        Later, the connection may be another question's.
        """
        connection = self._connection
        return connection if connection is not None and connection.serves(self._listener) else None

    def _connect(self) -> None:
        self._connection = None
        connecting = self._connecting = self._pool.connect()
        connecting.addCallbacks(self._connected, self._failed)

    def _connected(self, connection: UpstreamConnection) -> None:
        self._connecting = None
        self._connection = connection
        connection.ask(self._question, self._listener)

    def _failed(self, failure: "Failure") -> None:
        cancelled, self._connecting = self._connecting is None, None
        if not cancelled:
            self._listener.failed(_reason(failure))


def _reason(failure: "Failure") -> UpstreamError:
    """Say why there is no connection."""
    detail = repr(failure.value)
    if failure.check(ConnectTimeout):
        return UpstreamError("it did not accept the connection in time", late=True, detail=detail)
    if failure.check(DNSLookupError):
        return UpstreamError("its name is not known", detail=detail)
    if failure.check(ConnectionRefusedError):
        return UpstreamError("it refused the connection", detail=detail)
    if failure.check(ConnectError):
        return UpstreamError("it cannot be connected to", detail=detail)
    # An exception that is not foreseen has its traceback in the log.
    log.failure("no connection to an upstream", failure)
    return UpstreamError("it cannot be connected to")
