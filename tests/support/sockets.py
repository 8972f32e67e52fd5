"""A service on a real port, and real clients of it."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import pytest
import pytest_twisted
import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.web.client import HTTPConnectionPool

from latebin.answers.upstreams import Upstreams
from latebin.core.settings import Settings
from latebin.server.listening import endpoints
from latebin.site.factory import site
from latebin.timing import wakers

BOUND = 60
"""The longest time, in seconds, to wait for a condition."""


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., object]:
    """Make a test of a coroutine function: the reactor runs it."""
    return cast("Callable[..., object]", pytest_twisted.ensureDeferred(test))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    for _ in range(BOUND * 100):
        if condition():
            return
        await deferLater(reactor, 0.01)
    pytest.fail("the condition never held")


class Accepted:
    """The HTTP connections that a port accepts.

    They are recorded here because a reactor forgets a connection that is neither read nor written.

    Args:
        port: the listening port, before it has accepted a connection.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self._build = port.factory.buildProtocol
        self._protocols: list[Any] = []
        port.factory.buildProtocol = self._remember

    def open(self) -> list[Any]:
        """Return the channels of the open connections."""
        channels = [protocol._channel for protocol in self._protocols]
        # A watched connection has forgotten its channel when it is lost.
        return [channel for channel in channels if channel and channel.transport and channel.transport.connected]

    async def close(self) -> None:
        """Stop listening, and abort every connection."""
        await self._port.stopListening()
        for channel in self.open():
            channel.transport.abortConnection()
        await until(lambda: not self.open())

    def _remember(self, address: object) -> Any:
        self._protocols.append(self._build(address))
        return self._protocols[-1]


@attrs.frozen
class Served:
    """A service on a real port."""

    port: int
    pending: Callable[[], int]
    pool: HTTPConnectionPool
    accepted: Accepted

    def requests(self) -> list[Any]:
        """Return the unfinished requests on the connections of this port."""
        return [request for channel in self.accepted.open() for request in channel.requests]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def get(self, path: str, method: str = "GET") -> Any:
        return await treq.request(method, self.url(path), pool=self.pool, timeout=BOUND)


@asynccontextmanager
async def served(clock: Clock | None = None, **chosen: Any) -> AsyncIterator[Served]:
    """Serve on a free port.

    Args:
        clock: the clock of all delays and timeouts; without it, they go by the reactor.
        chosen: settings.
    """
    settings = Settings(port=0, **chosen)
    upstreams = Upstreams(reactor, settings) if settings.upstreams else None
    factory: Any = site(settings, clock or wakers.for_reactor(cast("Any", reactor)), upstreams)
    port: Any = await serverFromString(reactor, endpoints(settings)[0]).listen(factory)
    accepted, root = Accepted(port), factory.resource
    pool = HTTPConnectionPool(reactor, persistent=False)
    try:
        yield Served(port.getHost().port, lambda: root.pending, pool, accepted)
    finally:
        await cast("Deferred[None]", pool.closeCachedConnections())
        await accepted.close()


class Client(Protocol):
    """A client that records the bytes it receives."""

    transport: Any

    def __init__(self) -> None:
        self._data = bytearray()
        self.lost: Deferred[None] = Deferred()

    @property
    def data(self) -> bytes:
        """The bytes so far."""
        return bytes(self._data)

    def dataReceived(self, data: bytes) -> None:
        self._data += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


async def connect(service: Served) -> Client:
    client = Client()
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", service.port), client)
    return client
