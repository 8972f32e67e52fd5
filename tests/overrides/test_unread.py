"""Bytes that are written to a connection of HTTP/1.1 and not read, on each stack."""

from collections.abc import Callable, Iterator

import attrs
import pytest
from twisted.internet.task import Clock

from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.connections import ASSUMED
from latebin.site.factory import ServiceSite, make_site
from latebin.site.root import Root
from tests.support.tls_wire import TLSWire
from tests.support.wire import Wire

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

STYLES = {prefix: style for style, prefix in PREFIXES.items()}

FULL = 64 * 1024
"""Bytes that TCP keeps before it asks for a pause, as Twisted has it."""

MOST = 512 * 1024
"""Bytes that a connection may keep: a piece, what TCP and TLS keep before a pause, and one small answer."""


class Clogging:
    """The part of TCP that keeps bytes until the test takes them."""

    _tempDataLen = 0
    dataBuffer = b""
    offset = 0
    paused = False
    clogged = True
    reading = True

    def write(self, data: bytes) -> None:
        super().write(data)  # type: ignore[misc]  # a mixin
        self._tempDataLen += len(data) if self.clogged else 0
        if self._tempDataLen > FULL and self.producer is not None:  # type: ignore[attr-defined]
            self.paused = True
            self.producer.pauseProducing()  # type: ignore[attr-defined]

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def take(self) -> None:
        """Take what was kept."""
        self._tempDataLen = 0
        if self.paused:
            self.paused = False
            self.producer.resumeProducing()  # type: ignore[attr-defined]


class Plain(Clogging, Wire):
    """A plain connection that keeps what is written."""

    def say(self, data: bytes) -> None:
        self.send(data)
        self._clock.pump([0, 0])

    @property
    def heard(self) -> bytes:
        return self.received


class Secure(Clogging, TLSWire):
    """A connection of TLS that keeps what is written, after its handshake."""

    clogged = False

    def __init__(self, site: ServiceSite, clock: Clock) -> None:
        super().__init__(site, clock)
        self.clogged = True


@attrs.frozen
class Place:
    """A service, and how its clients connect."""

    clock: Clock
    root: Root
    site: ServiceSite
    kind: Callable[[ServiceSite, Clock], "Plain | Secure"]

    def connect(self) -> "Plain | Secure":
        return self.kind(self.site, self.clock)

    @property
    def unread(self) -> int:
        return self.root.unread.total


@pytest.fixture(params=["plain", "TLS"])
def kind(request: pytest.FixtureRequest) -> Callable[[ServiceSite, Clock], "Plain | Secure"]:
    kinds: dict[str, Callable[[ServiceSite, Clock], Plain | Secure]] = {"plain": Plain, "TLS": Secure}
    return kinds[request.param]


@pytest.fixture
def place(every_stack: str, kind: Callable[[ServiceSite, Clock], "Plain | Secure"]) -> Iterator[Place]:
    clock, settings = Clock(), Settings(stack=every_stack, max_unread=10 * ASSUMED)
    klein, resource = (Service(clock, settings) for _ in PREFIXES)
    root = Root(klein, resource, settings)
    yield Place(clock, root, make_site(root, clock, settings), kind)
    assert root.unread.total == 0
    assert root.pending == 0


def get(prefix: str, target: str) -> bytes:
    return f"GET {prefix}{target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


LARGE = {
    "whole": "/delayed/0?size=16m",
    "pieces": "/delayed/0?size=16m&chunks=10000",
    "timed": "/delayed/0?size=16m&chunks=1000&over=10s",
    "drip": "/drip?duration=10&numbytes=1000000",
}


@pytest.mark.parametrize("target", LARGE)
def test_large(place: Place, prefix: str, target: str) -> None:
    """A large answer keeps a piece in memory when its client reads nothing."""
    line = place.connect()
    line.say(get(prefix, LARGE[target]))
    place.clock.pump([0.1] * 200)
    assert line._tempDataLen <= MOST
    assert FULL < place.unread <= MOST
    line.leave()


def test_pipelined_behind(place: Place, prefix: str) -> None:
    """A large answer keeps a piece when it comes behind others that are not read."""
    line = place.connect()
    line.say(get(prefix, "/delayed/0?size=16k") * 5 + get(prefix, "/delayed/0?size=16m") * 2)
    place.clock.pump([0] * 10)
    assert line._tempDataLen <= MOST
    line.leave()


@pytest.mark.parametrize("size", ["16k", "1k", "17k"])
def test_pipelined(place: Place, prefix: str, size: str) -> None:
    """No further request is taken from a connection whose answers are not read."""
    line = place.connect()
    for _ in range(60):
        if line.reading:
            line.say(get(prefix, f"/delayed/0?size={size}") * 20)
            place.clock.pump([0] * 10)
    assert line._tempDataLen <= MOST
    assert not line.reading
    line.leave()


def test_goes_on(place: Place, prefix: str) -> None:
    """All pipelined requests are answered when the client reads on."""
    line = place.connect()
    line.say(get(prefix, "/delayed/0?size=16k") * 40)
    for _ in range(40):
        line.take()
        line.say(b"")
        place.clock.pump([0] * 10)
    assert line.heard.count(b"HTTP/1.1 200 OK") == 40
    assert line.reading
    assert place.unread == 0
    line.leave()


def test_longest(place: Place, prefix: str) -> None:
    """The client that has read nothing for longest loses its connection when too much waits."""
    lines: list[Plain | Secure] = []
    lost: list[int] = []
    while len(lost) < 3:
        assert len(lines) < 20
        lines.append(place.connect())
        lines[-1].say(get(prefix, "/delayed/0?size=16m"))
        place.clock.pump([0] * 10)
        if len(lines) == 4:
            lines[0].take()
            place.clock.pump([0] * 10)
        assert place.unread <= 10 * ASSUMED
        lost += [number for number, line in enumerate(lines) if line.protocol is None and number not in lost]
    assert lost == [1, 2, 3]
    page = place.root.metrics.page().body.decode()
    assert f'latebin_lost_total{{end="unread",style="{STYLES[prefix]}"}} 3.0' in page
    assert "latebin_unread_aborts_total 3.0" in page
    for line in lines:
        line.leave()
