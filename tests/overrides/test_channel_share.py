import re
from collections.abc import Iterator
from itertools import pairwise

import attrs
import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from latebin.answers.request_body import StreamedBody
from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.overrides.channel_share import EAGER
from latebin.site.factory import ServiceSite, make_site
from latebin.site.root import Root
from latebin.timing.budget import PIECES, TurnBudget
from tests.support.turns import TurnClock, calls
from tests.support.wire import Wire

MANY = 250

SETTINGS = Settings(max_body=2**20)


@attrs.frozen
class Line:
    """A connection to a service whose turns are made one by one."""

    clock: TurnClock
    site: ServiceSite
    wire: Wire

    def ask(self, target: str, *ids: int, lines: tuple[str, ...] = ()) -> bytes:
        """Write requests for one target, with ids that their answers have as well."""
        more = "".join(f"{line}\r\n" for line in lines)
        asked = (f"GET {target} HTTP/1.1\r\nHost: a\r\nX-Request-ID: {number}\r\n{more}\r\n" for number in ids)
        return "".join(asked).encode()

    @property
    def answered(self) -> list[int]:
        return [int(number) for number in re.findall(rb"\r\nX-Request-Id: (\d+)\r\n", self.wire.received)]

    @property
    def read(self) -> bool:
        """Whether the connection is read."""
        return bool(self.wire.producerState == "producing")


def make_line(stack: str) -> Line:
    clock, settings = TurnClock(), attrs.evolve(SETTINGS, stack=stack)
    budget = TurnBudget(clock)
    root = Root(Service(clock, settings, budget=budget), Service(clock, settings, budget=budget), settings)
    site = make_site(root, clock, settings, Clock())
    return Line(clock, site, Wire(site, clock))


@pytest.fixture
def stack(every_stack: str) -> str:
    return every_stack


@pytest.fixture
def line(stack: str) -> Iterator[Line]:
    line = make_line(stack)
    yield line
    line.wire.leave()
    assert line.clock.getDelayedCalls() == [], "a timer outlived the connection it was for"


@pytest.mark.parametrize(
    "target",
    ["/", "/nothing", "/healthz"]
    + [f"{prefix}{path}" for prefix in PREFIXES.values() for path in ("/delayed?delay=soon", "/predict?delay=1s")],
)
def test_pipelined(line: Line, target: str) -> None:
    """No turn answers more than its budget when hundreds of requests come at once."""
    seen = [0]

    def look() -> None:
        seen.append(line.wire.received.count(b"\r\nX-Request-Id: "))

    line.wire.send(line.ask(target, *range(MANY)))
    look()
    assert not line.read
    line.clock.turns(look)
    assert max(after - before for before, after in pairwise(seen)) <= PIECES + 1
    assert line.answered == list(range(MANY))
    assert line.read


def test_pipelined_and_pending(line: Line, prefix: str) -> None:
    """Requests wait behind a pending answer, and are answered in order after it."""
    target = f"{prefix}/delayed?delay=1s"
    line.wire.send(line.ask(target, 0))
    line.wire.send(line.ask(f"{prefix}/predict?delay=1s", *range(1, 100)))
    assert line.read
    assert line.answered == []
    line.wire.send(line.ask(f"{prefix}/predict?delay=1s", *range(100, 300)))
    assert not line.read, f"more than {EAGER} bytes wait"
    line.clock.advance(1)
    line.clock.turns()
    assert line.answered == list(range(300))
    assert line.read


def test_pipelined_delays(line: Line, prefix: str) -> None:
    """Each request is accepted when the answer before it has left."""
    line.wire.send(line.ask(f"{prefix}/delayed?delay=10ms", *range(40)))
    for number in range(40):
        assert line.answered == list(range(number))
        line.clock.advance(0.01)
    assert line.answered == list(range(40))


def test_pieces_of_a_segment(line: Line) -> None:
    """The bytes stay in order when more come before the turn of the first."""
    data = line.ask("/healthz", *range(200))
    for start in range(0, len(data), 1000):
        line.wire.send(data[start : start + 1000])
    line.clock.turns()
    assert line.answered == list(range(200))


def test_small_chunks(line: Line, prefix: str) -> None:
    """The calls of a turn are bounded when chunks have one byte."""
    line.wire.send(f"POST {prefix}/delay/0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    turns = [calls(lambda: line.wire.send(b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"))]
    while not line.read:
        turns.append(calls(line.clock.turn))
    line.clock.turns()
    assert f'"data": "{"x" * 5000}"'.encode() in line.wire.received
    assert max(turns) < 50_000 < sum(turns)


def test_linear(prefix: str, stack: str) -> None:
    """Twice as many requests and chunks cost twice as many calls."""
    chunked = f"POST {prefix}/delayed?delay=0s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    def work(number: int) -> int:
        line = make_line(stack)

        def run() -> None:
            line.wire.send(line.ask(f"{prefix}/predict?delay=1s", *range(number)))
            line.clock.turns()
            line.wire.send(chunked + b"1\r\nx\r\n" * number * 10 + b"0\r\n\r\n")
            line.clock.turns()

        return calls(run)

    work(10)
    assert work(200) < 2.2 * work(100)


def test_streamed_body_is_linear() -> None:
    """A streamed body costs as many calls for each piece when many of them wait."""

    class Source:
        def hold(self) -> None: ...
        def release(self) -> None: ...

    def work(number: int) -> int:
        body = StreamedBody(None, Source(), 2**20)
        return calls(lambda: [body.write(b"x") for _ in range(number)])

    assert work(2000) < 2.1 * work(1000)


def test_client_that_leaves(line: Line) -> None:
    """Nothing more is answered, and no turn is waited for, when the client leaves."""
    line.wire.send(line.ask("/healthz", *range(MANY)))
    before = len(line.answered)
    line.wire.leave()
    assert line.clock.getDelayedCalls() == []
    assert len(line.answered) == before


def test_client_that_does_not_read(line: Line) -> None:
    """Requests wait when the client leaves the answers unread."""
    line.wire.send(line.ask("/healthz", *range(MANY)))
    line.wire.producer.pauseProducing()
    before = len(line.answered)
    line.clock.turns()
    assert len(line.answered) == before
    line.wire.producer.resumeProducing()
    line.clock.turns()
    assert line.answered == list(range(MANY))


def test_last_request(line: Line) -> None:
    """Requests behind the last one are dropped when the connection closes after its answer."""
    asked = line.ask("/healthz", *range(50)), line.ask("/healthz", 50, lines=("Connection: close",))
    line.wire.send(b"".join(asked) + line.ask("/healthz", *range(51, 100)))
    line.clock.turns()
    assert line.answered == list(range(51))
    assert not line.wire.connected


def test_garbage(line: Line) -> None:
    """Garbage is refused in its turn, behind the answers before it."""
    line.wire.send(line.ask("/healthz", *range(100)) + b"garbage\r\n\r\n" + line.ask("/healthz", 200))
    line.clock.turns()
    line.clock.advance(100)
    assert line.answered[:100] == list(range(100))
    assert 200 not in line.answered
    assert b"HTTP/1.1 400 " in line.wire.received


def test_stop(line: Line) -> None:
    """The next answer is the connection's last when the service stops."""
    line.wire.send(line.ask("/healthz", *range(MANY)))
    before = len(line.answered)
    connections = line.site.connections
    connections.start_ending()
    connections.end()
    line.clock.turns()
    assert line.answered == list(range(before + 1))
    assert line.wire.received.rpartition(b"HTTP/1.1 ")[2].count(b"\r\nConnection: close\r\n") == 1
    assert not line.wire.connected


def test_stop_behind_part_of_a_request(line: Line) -> None:
    """A connection closes when the service stops and only a part of a request waits."""
    line.wire.send(b"\r\n" + b"x" * 8000)
    line.site.connections.end()
    line.clock.turns()
    assert not line.wire.connected


def test_failure_in_a_later_turn(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection ends alone when its bytes raise in a later turn."""
    other = Wire(line.site, line.clock)
    for wire in (line.wire, other):
        wire.send(line.ask("/healthz", *range(100)))
    with capturedLogs() as events, monkeypatch.context() as patched:
        patched.setattr(line.wire.protocol._channel, "checkPersistence", lambda *_: 1 / 0)
        line.clock.turns()
    assert not line.wire.connected
    assert other.connected
    assert other.received.count(b"HTTP/1.1 200 ") == 100
    assert [event["log_failure"].type for event in events if "log_failure" in event] == [ZeroDivisionError]


class HalfClosedWire(Wire):
    """A connection whose sending half can be closed alone, as that of TCP can."""

    half_closable = True

    def loseWriteConnection(self) -> None:
        """Send nothing more."""


def test_refused_without_room() -> None:
    """A refused client is read on when its turn has no room."""
    line = make_line("tuned")
    line.site.budget.pieces = 0
    wire = HalfClosedWire(line.site, line.clock)
    wire.send(b"GET /\xc3\xbf/" + b"x" * 8000)
    assert wire.received.startswith(b"HTTP/1.1 400 ")
    assert wire.producerState == "producing"
    wire.leave()
