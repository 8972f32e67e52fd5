import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor

from latebin.overrides.ports import AT_ONCE, SharingReactor

COMING = 20


class Counting(Factory[Protocol]):
    """Counts the connections that were accepted."""

    noisy = False

    def __init__(self) -> None:
        self.accepted = 0

    def buildProtocol(self, addr: object) -> None:
        self.accepted += 1


def listeners(path: Path) -> list[socket.socket]:
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    return [tcp, unix]


@pytest.fixture(params=["listenTCP", "listenUNIX"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def listener(method: str, tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that listens, and has connections waiting."""
    made = listeners(tmp_path / "socket")
    listener = made[method == "listenUNIX"]
    listener.settimeout(0)
    clients = [socket.socket(listener.family) for _ in range(COMING)]
    for client in clients:
        client.connect(listener.getsockname())
    yield listener
    for each in (*made, *clients):
        each.close()


def test_few_at_once(method: str, listener: socket.socket) -> None:
    """A turn of the reactor accepts a few connections, also after a turn with many."""
    factory = Counting()
    port = getattr(SharingReactor(MemoryReactor(), listener.fileno()), method)(listener.getsockname(), factory)
    for turn in range(1, COMING // AT_ONCE + 1):
        port.doRead()
        assert factory.accepted == turn * AT_ONCE
    port.doRead()
    assert factory.accepted == COMING
    port.connectionLost(None)


def test_the_end_of_a_port(method: str, listener: socket.socket) -> None:
    """A port that ends leaves the socket listening, and its path where it is."""
    port = getattr(SharingReactor(MemoryReactor(), listener.fileno()), method)(listener.getsockname(), Counting())
    port.connectionLost(None)
    with socket.socket(listener.family) as another:
        another.connect(listener.getsockname())
