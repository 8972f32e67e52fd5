import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactor
from twisted.logger import capturedLogs

from latebin.overrides import ports
from latebin.overrides.ports import AT_ONCE, REST, SILENCE, AcceptWatch, SharingReactor

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


class Full:
    """A socket that listens, and whose connections cannot be accepted."""

    def __init__(self, number: int) -> None:
        self.number = number

    def accept(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


class Watched:
    """A port that cannot accept, and what is counted of it."""

    def __init__(self, number: int) -> None:
        self.clock = Clock()
        self.reactor = MemoryReactor()
        self.port: Any = Port(0, Counting(), reactor=self.reactor)
        self.port.socket, self.port.connected, self.port.numberAccepts = Full(number), True, 1
        self.port.startReading()
        self.failed = 0
        AcceptWatch(self.port, self.clock, self.count)

    def count(self) -> None:
        self.failed += 1

    def read(self) -> list[Any]:
        """Call the port as the reactor does, and return the errors that it logs."""
        with capturedLogs() as events:
            self.port.doRead()
        return [event["error"] for event in events if event["log_namespace"] == ports.__name__]

    @property
    def reads(self) -> bool:
        return self.port in self.reactor.getReaders()


@pytest.mark.parametrize("error", ["ENFILE", "ENOBUFS", "ENOMEM"])
def test_out_of_memory(error: str) -> None:
    """A port rests, and each connection is counted, when descriptors or memory are exhausted."""
    watched = Watched(getattr(errno, error))
    assert watched.read() == [error]
    assert (watched.failed, watched.reads) == (1, False)
    watched.clock.advance(REST)
    assert watched.reads
    assert watched.read() == []
    assert watched.failed == 2


def test_said_again() -> None:
    """The log has another line when there was a pause in between."""
    watched = Watched(errno.ENFILE)
    assert watched.read() == ["ENFILE"]
    for _ in range(3):
        watched.clock.advance(SILENCE / 2)
        assert watched.read() == []
    watched.clock.advance(SILENCE)
    assert watched.read() == ["ENFILE"]


def test_rest_and_end() -> None:
    """A port that was closed meanwhile is not read when its rest is over."""
    watched = Watched(errno.ENFILE)
    watched.read()
    watched.port.connected = False
    watched.clock.advance(REST)
    assert not watched.reads


@pytest.mark.parametrize("error", ["ECONNABORTED", "EPERM", "EAGAIN"])
def test_other_errors(error: str) -> None:
    """A connection is not counted when it failed for another reason."""
    watched = Watched(getattr(errno, error))
    assert watched.read() == []
    assert (watched.failed, watched.reads) == (0, True)
