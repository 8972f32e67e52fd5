import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor, StringTransport

from latebin.overrides.haproxy import ProxyProtocolReactor
from tests.support.proxy_protocol import BEHIND, FOUR, SIGNATURE, binary

CLIENT = "192.0.2.1"


class Remembering(Protocol):
    """Remembers what it was sent."""

    received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Adopter(MemoryReactor):
    """A reactor that remembers the factory of an adopted socket."""

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> None:
        self.tcpServers.append((fileDescriptor, factory, 0, ""))


LISTENING: dict[str, Callable[[Any, Any], object]] = {
    "tcp": lambda reactor, factory: serverFromString(reactor, "tcp:80").listen(factory),
    "unix": lambda reactor, factory: serverFromString(reactor, "unix:/nowhere").listen(factory),
    "adopted": lambda reactor, factory: reactor.adoptStreamPort(0, socket.AF_INET, factory),
}


@pytest.mark.parametrize("kind", LISTENING)
def test_listening(kind: str) -> None:
    """A connection begins with its header and goes on behind it, on any endpoint."""
    reactor = Adopter()
    LISTENING[kind](ProxyProtocolReactor(reactor), Factory.forProtocol(Remembering))
    servers: list[Any] = [*reactor.tcpServers, *reactor.unixServers]
    connection = servers[0][1].buildProtocol(None)
    connection.makeConnection(StringTransport())
    connection.dataReceived(SIGNATURE)
    connection.dataReceived((binary(0x21, 0x11, FOUR) + BEHIND).removeprefix(SIGNATURE))
    assert connection.wrappedProtocol.received == BEHIND
    assert (connection.getPeer().host, connection.getHost().host) == (CLIENT, "192.0.2.2")
