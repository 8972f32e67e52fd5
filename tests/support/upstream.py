"""An upstream that a test controls, and the service before it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from tests.support.sockets import Client, Served, connect, served, until

MEGABYTE: Final = 1024**2


class Peer(Protocol):
    """One connection to an upstream that does what the test says."""

    transport: Any

    def __init__(self) -> None:
        self._data = bytearray()
        self.gone = False

    @property
    def data(self) -> bytes:
        """The bytes so far."""
        return bytes(self._data)

    def dataReceived(self, data: bytes) -> None:
        self._data += data

    def connectionLost(self, reason: object = None) -> None:
        self.gone = True


@attrs.frozen
class Upstream:
    """An upstream that is nothing but its connections."""

    port: int
    peers: list[Peer]

    async def asked(self, count: int = 1) -> Peer:
        """Wait for the headers of a request."""
        await until(lambda: len(self.peers) >= count and b"\r\n\r\n" in self.peers[count - 1].data)
        return self.peers[count - 1]


@asynccontextmanager
async def upstream(place: str = "127.0.0.1") -> AsyncIterator[Upstream]:
    """Listen on an address, or on a UNIX socket by its path."""
    peers: list[Peer] = []

    class Peers(Factory[Peer]):
        def buildProtocol(self, addr: object) -> Peer:
            peers.append(Peer())
            return peers[-1]

    listening: Any = reactor
    if place.startswith("/"):
        port = listening.listenUNIX(place, Peers())
    else:
        port = listening.listenTCP(0, Peers(), interface=place)
    try:
        yield Upstream(getattr(port.getHost(), "port", 0), peers)
    finally:
        for peer in peers:
            peer.transport.abortConnection()
        await until(lambda: all(peer.gone for peer in peers))
        await port.stopListening()


@asynccontextmanager
async def before(port: int, path: str = "", **chosen: Any) -> AsyncIterator[Served]:
    """Serve with an upstream, and without a delay unless one is asked for."""
    upstreams = {"up": f"http://127.0.0.1:{port}{path}"}
    defaults: dict[str, Any] = {"default_delay": 0.0, "max_body": 128 * MEGABYTE, "upstreams": upstreams}
    async with served(**(defaults | chosen)) as service:
        yield service


@asynccontextmanager
async def both(**chosen: Any) -> AsyncIterator[tuple[Upstream, Served]]:
    async with upstream() as up, before(up.port, **chosen) as service:
        yield up, service


async def send(service: Served, request: bytes) -> Client:
    client = await connect(service)
    client.transport.write(request)
    return client


async def ask(service: Served, target: str, *headers: str) -> Client:
    return await send(service, "\r\n".join([f"GET {target} HTTP/1.1", "Host: here", *headers, "", ""]).encode())


class Flood:
    """A pull producer that counts what it could write."""

    def __init__(self, consumer: Any, size: int) -> None:
        self.left = self.size = size
        self._consumer = consumer
        consumer.registerProducer(self, streaming=False)

    @property
    def written(self) -> int:
        return self.size - self.left

    def resumeProducing(self) -> None:
        self._consumer.write(b"x" * 65536)
        self.left -= 65536
        if not self.left:
            self._consumer.unregisterProducer()

    def stopProducing(self) -> None:
        pass


async def settled(figure: Callable[[], int]) -> int:
    """Wait until a figure has begun to grow, and then stays for a hundred looks."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(figure())
        return seen[-1] > 0 and len(seen) > 100 and seen[-1] == seen[-100]

    await until(still)
    return seen[-1]
