"""Bytes that are written to an HTTP/2 connection and not read."""

from collections.abc import Iterator

import attrs
import pytest
from hyperframe.frame import DataFrame
from twisted.internet.task import Clock

from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.overrides.http2 import PIECE, Stream
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from tests.overrides.test_http2 import Line
from tests.overrides.test_http2_conformance import AUTHORITY, METHOD, SCHEME, START, Peer, headers, initial, window

MOST = 64 * 1024
"""Bytes that TCP keeps for the kernel before it asks for a pause, as Twisted has it."""

LARGEST = 2**31 - 1

WIDE = START + initial(LARGEST) + window(LARGEST - 65535)


class Clogged(Line):
    """A connection whose kernel takes bytes only when the test lets it."""

    waiting = 0
    paused = False
    offset = 0
    dataBuffer = b""

    def __init__(self, site: ServiceSite, clock: Clock) -> None:
        self.unread = site.unread
        super().__init__(site, clock)

    @property
    def _tempDataLen(self) -> int:
        return self.waiting

    def write(self, data: bytes) -> None:
        super().write(data)
        self.waiting += len(data)
        if self.waiting > MOST and not self.paused and self.producer is not None:
            self.paused = True
            self.producer.pauseProducing()

    def take(self) -> None:
        self.waiting = 0
        if self.paused and self.producer is not None:
            self.paused = False
            self.producer.resumeProducing()


@attrs.frozen
class Clog:
    """A client that takes nothing of what it has asked for."""

    peer: Peer
    line: Clogged
    prefix: str

    def ask(self, number: int, target: str) -> bytes:
        return headers((METHOD, SCHEME, (":path", f"{self.prefix}{target}"), AUTHORITY), number)

    @property
    def written(self) -> int:
        """Bytes that the service keeps for the client."""
        streams: dict[int, Stream] = self.line.protocol._channel.streams
        return int(self.line.waiting) + sum(stream.queued for stream in streams.values())


LIMIT = 2 * 1024**2
"""Bytes that may wait for all clients."""


@pytest.fixture
def clog(prefix: str) -> Iterator[Clog]:
    clock, settings = Clock(), Settings(max_unread=LIMIT)
    klein, resource = (Service(clock, settings) for _ in PREFIXES)
    line = Clogged(ServiceSite(Root(klein, resource, settings), clock), clock)
    yield Clog(Peer(line, clock), line, prefix)
    line.leave()
    clock.pump([0, 0])
    assert clock.getDelayedCalls() == []
    assert line.protocol is None
    assert line.unread.total == 0


def numbers(count: int) -> range:
    return range(1, 2 * count, 2)


def test_transport(clog: Clog) -> None:
    """Forty answers of 16 MB keep a piece each when the client reads nothing."""
    clog.peer.send(WIDE + b"".join(clog.ask(number, "/delayed/0?size=16m") for number in numbers(40)))
    assert clog.written <= MOST + 40 * (PIECE + 400)
    clog.peer.clock.pump([0] * 20)
    assert clog.written <= MOST + 40 * (PIECE + 400)


def test_fair(clog: Clog) -> None:
    """Each of many answers gets on when the client reads a little at a time."""
    clog.peer.send(WIDE + b"".join(clog.ask(number, "/delayed/0?size=16m") for number in numbers(40)))
    clog.peer.send(clog.ask(81, "/delayed/0"))
    for _ in range(20):
        clog.line.take()
        clog.peer.send(b"")
    come = {number: sum(len(each.data) for each in clog.peer.of(DataFrame, number)) for number in numbers(41)}
    assert come[81] == 52
    assert min(come[number] for number in numbers(40)) > 0
    assert max(come.values()) <= 3 * min(come[number] for number in numbers(40))


def test_windows(clog: Clog) -> None:
    """A hundred answers keep a piece each when their windows have a byte each."""
    asked = b"".join(clog.ask(number, "/delayed/0?size=16m") for number in numbers(100))
    clog.peer.send(START + initial(1) + window(LARGEST - 65535) + asked)
    assert clog.written <= MOST + 100 * (PIECE + 400)


@pytest.mark.parametrize("target", ["/delayed/0?size=128k", "/delayed/0?size=17k", "/drip?duration=0&numbytes=100000"])
def test_middling(clog: Clog, target: str) -> None:
    """A hundred middling answers, each written at once, keep about a megabyte."""
    clog.peer.send(START + initial(0) + b"".join(clog.ask(number, target) for number in numbers(100)))
    assert clog.written <= MOST + 100 * (PIECE + 400)


def test_whole(clog: Clog) -> None:
    """An answer is whole when it has passed small windows and a slow transport."""
    clog.peer.send(START + initial(1000) + clog.ask(1, "/delayed/0?size=200k"))
    for _ in range(220):
        clog.line.take()
        clog.peer.send(window(1000) + window(1000, 1))
    body = b"".join(each.data for each in clog.peer.of(DataFrame, 1))
    assert len(body) == 200 * 1024
    assert "END_STREAM" in clog.peer.of(DataFrame, 1)[-1].flags


def test_counted(clog: Clog) -> None:
    """All that waits for a client is counted, in the transport and in its streams."""
    clog.peer.send(WIDE + b"".join(clog.ask(number, "/delayed/0?size=16m") for number in numbers(40)))
    assert clog.line.unread.total == clog.written > MOST


def test_counted_behind_windows(clog: Clog) -> None:
    """Answers count as unread as long as the client keeps its windows closed."""
    clog.peer.send(START + initial(0) + b"".join(clog.ask(number, "/delayed/0?size=16k") for number in numbers(50)))
    assert clog.line.unread.total == 50 * PIECE
    clog.line.take()
    clog.peer.send(window(LARGEST - 65535) + b"".join(window(PIECE, number) for number in numbers(50)))
    for _ in range(50):
        clog.line.take()
        clog.peer.send(b"")
    assert clog.line.unread.total == 0
    assert sum(len(each.data) for each in clog.peer.of(DataFrame, 1)) == PIECE


def test_too_much(clog: Clog) -> None:
    """The connection is aborted when its answers alone are above the limit."""
    other = Clogged(clog.line.protocol.site, clog.peer.clock)
    second = Peer(other, clog.peer.clock)
    for peer in (clog.peer, second):
        peer.send(START + initial(0) + b"".join(clog.ask(number, "/delayed/0?size=16k") for number in numbers(90)))
    assert clog.line.protocol is None
    assert other.protocol is not None
    other.leave()
