import socket
from collections.abc import Iterator
from typing import cast

import pytest
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.internet.tcp import Port, Server
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure

from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.overrides.channel_output import LARGEST
from latebin.site.factory import ServiceSite
from latebin.site.root import Root


@pytest.fixture
def wire() -> Iterator[tuple[Clock, Server, socket.socket]]:
    """Join a connection of the service, on a reactor that never turns, to its client."""
    clock = Clock()
    site = ServiceSite(Root(Service(clock), Service(clock), Settings()), clock)
    with socket.create_server(("127.0.0.1", 0)) as port, socket.create_connection(port.getsockname()) as far:
        near, _ = port.accept()
        channel = site.buildProtocol(None)
        connection = Server(near, channel, far.getsockname(), cast("Port", None), 0, MemoryReactor())
        channel.makeConnection(connection)
        far.settimeout(10)
        yield clock, connection, far
        connection.connectionLost(Failure(CONNECTION_DONE))


@pytest.mark.parametrize("prefix", PREFIXES.values())
def test_leaves_at_once(wire: tuple[Clock, Server, socket.socket], prefix: str) -> None:
    """An answer is with its client before the reactor turns to anything else."""
    clock, connection, client = wire
    connection.protocol.dataReceived(f"GET {prefix}/delayed HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    clock.advance(5)
    assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("prefix", PREFIXES.values())
def test_cannot_leave(wire: tuple[Clock, Server, socket.socket], prefix: str) -> None:
    """Bytes that cannot be sent for any reason are left to the reactor."""
    clock, connection, _ = wire
    connection.protocol.dataReceived(f"GET {prefix}/delayed HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    connection.socket.shutdown(socket.SHUT_WR)
    clock.advance(5)
    assert connection in connection.reactor.getWriters()
    assert connection.doWrite() is CONNECTION_LOST


def test_behind_what_waits(wire: tuple[Clock, Server, socket.socket]) -> None:
    """Bytes that are written behind waiting ones leave behind them."""
    clock, connection, client = wire
    connection.write(b"first ")
    connection.protocol.dataReceived(b"GET /delayed/0 HTTP/1.1\r\nHost: a\r\n\r\n")
    clock.advance(0)
    client.settimeout(0)
    with pytest.raises(BlockingIOError):
        client.recv(4096)
    connection.doWrite()
    client.settimeout(10)
    assert client.recv(4096).startswith(b"first HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(("size", "waits"), [(LARGEST // 2, False), (LARGEST, True)])
def test_large(wire: tuple[Clock, Server, socket.socket], size: int, waits: bool) -> None:  # noqa: FBT001  # both ways
    """A large piece is left to the transport, which pauses its producer."""
    clock, connection, _ = wire
    connection.protocol.dataReceived(f"GET /delayed/0?size={size} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    clock.advance(0)
    assert (connection in connection.reactor.getWriters()) == waits
