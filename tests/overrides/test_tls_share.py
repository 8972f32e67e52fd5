from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from latebin.answers.service import Service
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite, make_site
from latebin.site.root import Root
from latebin.timing.budget import PIECES, TurnBudget
from tests.support.tls_wire import TLSWire
from tests.support.turns import TurnClock, calls

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

ASK = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def clock() -> TurnClock:
    return TurnClock()


@pytest.fixture
def site(clock: TurnClock) -> ServiceSite:
    settings = Settings()
    budget = TurnBudget(clock)
    root = Root(Service(clock, settings, budget=budget), Service(clock, settings, budget=budget), settings)
    return make_site(root, clock, settings, Clock())


@pytest.fixture
def wire(site: ServiceSite, clock: TurnClock) -> Iterator[TLSWire]:
    wire = TLSWire(site, clock)
    yield wire
    wire.leave()
    clock.turns()
    assert clock.getDelayedCalls() == [], "a timer outlived the connection it was for"


def records(wire: TLSWire, data: bytes) -> bytes:
    """Encrypt data, each byte as a record of its own."""
    for byte in data:
        wire.client.write(bytes([byte]))
    return wire._outgoing.read()


def test_small_records(wire: TLSWire, clock: TurnClock) -> None:
    """The calls of a turn are bounded when each record has a byte."""
    sent = records(wire, ASK * 200)
    made = [calls(lambda: wire.send(sent))]
    assert wire.producerState == "paused"
    while wire.producerState == "paused":
        made.append(calls(clock.turn))
    assert max(made) < 100_000
    assert sum(made) > 2 * max(made)
    wire.exchange()
    assert wire.heard.count(b"HTTP/1.1 200 ") == 200


def test_more_while_some_wait(wire: TLSWire, clock: TurnClock) -> None:
    """Records stay in order when more come while some wait."""
    sent = records(wire, ASK * 100)
    for start in range(0, len(sent), 20_000):
        wire.send(sent[start : start + 20_000])
    clock.turns()
    wire.exchange()
    assert wire.heard.count(b"HTTP/1.1 200 ") == 100


def test_large_records(wire: TLSWire) -> None:
    """A large body is taken in as it comes."""
    head = b"POST /delayed/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"
    wire.say(head + b"x" * 300_000, ASK)
    assert wire.heard.count(b"HTTP/1.1 200 ") == 2


def test_client_that_leaves(wire: TLSWire, clock: TurnClock) -> None:
    """No turn is waited for when the client leaves while its records wait."""
    wire.send(records(wire, ASK * 100))
    assert wire.producerState == "paused"
    wire.leave()
    clock.turns(most=2)


def test_body_that_is_held(wire: TLSWire, clock: TurnClock) -> None:
    """Nothing is decrypted when the channel leaves the connection unread."""
    channel = wire.protocol.wrappedProtocol._channel
    channel.hold()
    wire.send(records(wire, ASK * 100)[:40_000])
    clock.turns()
    assert wire.producerState == "paused"
    channel.release()
    clock.turns()
    wire.exchange()
    assert wire.heard.count(b"HTTP/1.1 200 ") > 10


def test_handshakes(site: ServiceSite, clock: TurnClock) -> None:
    """A turn answers a bounded number of handshakes when many clients connect at once."""
    wires = [TLSWire(site, clock, begin=False) for _ in range(3 * PIECES)]
    before, most = 0, 0

    def look() -> None:
        nonlocal before, most
        answered = sum(bool(wire.received) for wire in wires)
        before, most = answered, max(most, answered - before)

    for wire in wires:
        wire.greet()
    look()
    clock.turns(look)
    assert before == len(wires)
    assert most <= PIECES
    for wire in wires:
        wire.exchange()
        wire.say(ASK)
        assert wire.heard.count(b"HTTP/1.1 200 ") == 1
        wire.leave()
    clock.turns()
    assert clock.getDelayedCalls() == []
