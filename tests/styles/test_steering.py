"""Keys, gates, pools and `/control`, in memory, on a clock that the test moves."""

import json
import re
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from latebin.compare.contract import comparable
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite, make_site, scenario_site
from latebin.site.root import root
from latebin.state import memory
from latebin.state.interfaces import PoolStatus
from tests.support.wire import Wire

STATUS = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2}) ")


class Bench:
    """The whole service, with a request on each of many connections."""

    def __init__(self, **chosen: Any) -> None:
        self.clock = Clock()
        settings = Settings(scenarios={"mine": "delay=1s&status=503*1,200"}, **chosen)
        # The idle timeout of a connection is not tested here: its clock stands still.
        self.site: ServiceSite = make_site(root(settings, self.clock), self.clock, settings, Clock())

    def ask(self, target: str, method: str = "GET", body: str = "", on: ServiceSite | None = None) -> Wire:
        """Send a request, whose answer may come later."""
        wire = Wire(on or self.site, self.clock)
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        wire.send(f"{head}\r\n{body}".encode())
        return wire

    def now(self, target: str, method: str = "GET", body: str = "") -> tuple[int, Any]:
        """Send a request; return status and JSON of an answer at once."""
        wire = self.ask(target, method, body)
        received = wire.received
        wire.leave()
        return status(received), json.loads(received.partition(b"\r\n\r\n")[2])

    def pools(self) -> list[PoolStatus]:
        """Return the figures of the pools."""
        return list(self.site.resource.state_control.state.pools.all())

    def settle(self) -> None:
        """Let everything arrive that is under way; for memory, this is nothing."""

    def end(self) -> list[IDelayedCall]:
        """End the service; return the timers that it has left behind."""
        return list(self.clock.getDelayedCalls())

    def pending(self, **query: str) -> list[dict[str, Any]]:
        text = "&".join(f"{name}={value}" for name, value in query.items())
        found: list[dict[str, Any]] = self.now(f"/control/pending?{text}")[1]["pending"]
        return found


def status(received: bytes) -> int:
    found = STATUS.search(received)
    return int(found[1]) if found else 0


def header(wire: Wire, name: str) -> str | None:
    found = re.search(rf"^{name}: (.*?)\r$".encode(), wire.received, re.MULTILINE | re.IGNORECASE)
    return None if found is None else found[1].decode()


@pytest.fixture(params=["tuned", "stock"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(stack=request.param)


def dues(wire: Wire) -> list[tuple[float, float]]:
    found = re.findall(rb'"due_ms": ([0-9.]+), "left_ms": ([0-9.]+)', wire.received)
    return [(float(due), float(left)) for due, left in found]


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_stream_behind_a_gate(bench: Bench, style: str) -> None:
    """An event is due by the time at which gate, line or release let go."""
    stream = f"{PREFIXES[style]}/delayed?delay=2s&type=ndjson&chunks=2&every=1s"
    gated, expired, released = (bench.ask(f"{stream}&gate={gate}") for gate in ("g", "h&within=3s", "i"))
    first, second, forced = (bench.ask(f"{stream}&pool=p&servers=1") for _ in range(3))
    bench.clock.pump([1] * 3)
    bench.now("/control/gates/g", "POST", '{"release": 1}')
    bench.clock.pump([0, 0.5])
    for each in bench.pending():
        if each["for"] in {"gate", "queue"}:
            bench.now(f"/control/pending/{each['id']}", "POST", '{"release": true}')
    bench.clock.pump([0.5] * 6)
    assert dues(gated) == dues(expired) == [(5000, 5000), (6000, 6000)]
    assert dues(first) == [(2000, 2000), (3000, 3000)]
    assert dues(second) == [(4000, 4000), (5000, 5000)]
    assert dues(released) == dues(forced) == [(3500, 3500), (4500, 4500)]


@pytest.mark.parametrize("value", ["1", "1.0", "false", "null", '"true"', "[true]"])
def test_released_by_true_alone(bench: Bench, value: str) -> None:
    """A pending answer waits on when its release is anything but true."""
    wire = bench.ask("/delayed?delay=9s&key=a")
    [waiting] = bench.pending(key="a")
    assert bench.now(f"/control/pending/{waiting['id']}", "POST", f'{{"release": {value}}}')[0] == 400
    assert (len(bench.pending(key="a")), wire.received) == (1, b"")


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_stream_that_is_released(bench: Bench, style: str) -> None:
    """The first event is due when a release ends the delay of its stream."""
    wire = bench.ask(f"{PREFIXES[style]}/delayed?delay=9s&type=ndjson&chunks=2&every=1s&key=a")
    bench.clock.advance(3)
    [waiting] = bench.pending(key="a")
    bench.now(f"/control/pending/{waiting['id']}", "POST", '{"release": true}')
    bench.clock.advance(1)
    assert dues(wire) == [(3000, 3000), (4000, 4000)]


def test_release_before_the_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has no plan to be released by while its turn is awaited."""
    turn: Deferred[tuple[int, int]] = Deferred()
    monkeypatch.setattr(memory.MemoryKeys, "take", lambda *_: turn)
    wire = bench.ask("/delayed?delay=1s&key=a")
    [waiting] = bench.pending(key="a")
    assert waiting["for"] == "turn"
    assert bench.now(f"/control/pending/{waiting['id']}", "POST", '{"release": true}')[0] == 409
    turn.callback((1, 1))
    bench.clock.advance(1)
    assert status(wire.received) == 200


def test_turns(bench: Bench) -> None:
    """A request takes the next step of its key at any path."""
    port = scenario_site(bench.site, bench.clock, "mine")
    asked = [
        bench.ask("/delayed?delay=1s&key=a"),
        bench.ask("/raw/delay/1"),
        bench.ask("/raw/as/mine;key=a/v1"),
        bench.ask("/drip?delay=1s&duration=0&key=a"),
        bench.ask("/as/mine;key=b", on=port),
        bench.ask("/as/mine;key=b/x"),
    ]
    bench.clock.advance(1)
    assert [header(each, "Latebin-Turn") for each in asked] == ["1", None, "2", "3", None, "1"]
    # On the scenario's own port, the path is the client's: without a key, the sequence is refused.
    assert [status(each.received) for each in asked] == [200, 200, 200, 200, 400, 503]


def test_turn_is_taken_when_accepted(bench: Bench) -> None:
    """A client that gives up and tries again gets the next step."""
    bench.ask("/delayed?delay=1m*1,1s&key=a").leave()
    second = bench.ask("/delayed?delay=1m*1,1s&key=a")
    bench.clock.advance(1)
    assert (status(second.received), header(second, "Latebin-Turn")) == (200, "2")


def test_forgotten(bench: Bench) -> None:
    """A key starts anew when it is forgotten, by a request or after its time."""
    asked = "/delayed?delay=0&key=a&status=503*1,200"
    assert status(advanced(bench, bench.ask(asked))) == 503
    assert bench.now("/control/keys")[1] == {"keys": [{"key": "a", "turn": 1, "idle_ms": 0.0}], "complete": True}
    assert bench.now("/control/keys/a", "DELETE") == (200, {"key": "a", "deleted": True})
    assert bench.now("/control/keys/a", "DELETE") == (200, {"key": "a", "deleted": False})
    assert bench.now("/control/keys/a") == (200, {"key": "a", "turn": 0, "idle_ms": None})
    assert status(advanced(bench, bench.ask(asked))) == 503
    assert status(advanced(bench, bench.ask(asked))) == 200
    bench.clock.advance(3600)
    assert status(advanced(bench, bench.ask(asked))) == 503


def advanced(bench: Bench, wire: Wire) -> bytes:
    bench.clock.advance(0)
    return wire.received


def test_bound_of_keys(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key is refused at the bound, and a known one is not."""
    monkeypatch.setattr(memory, "MOST_KEYS", 2)
    asked = [bench.ask(f"/delayed?delay=0&key={key}") for key in "abca"]
    bench.clock.advance(0)
    assert [status(each.received) for each in asked] == [200, 200, 429, 200]


def test_seeds_by_key(bench: Bench) -> None:
    """Two keys draw the same, each from its first draw on."""
    target = "/delayed?delay=1ms..1s&seed=7&key="
    asked = [bench.ask(target + key) for key in "aabb"]
    bench.clock.advance(1)
    drawn = [re.findall("asked;dur=(.*)", header(each, "Server-Timing") or "") for each in asked]
    assert (drawn[:2], drawn[0] != drawn[1]) == (drawn[2:], True)


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_gate(bench: Bench, style: str) -> None:
    """An answer waits at its gate, then for its delay, and says so."""
    wire = bench.ask(f"{PREFIXES[style]}/delayed?delay=2s&gate=g&key=a")
    bench.clock.advance(5)
    assert [(each["for"], each["key"], each["style"]) for each in bench.pending(key="a")] == [("gate", "a", style)]
    assert bench.now("/control/gates/g", "POST", '{"release": 1}')[1]["released"] == 1
    bench.clock.advance(0)
    assert [(each["for"], each["left_ms"]) for each in bench.pending()] == [("delay", 2000.0)]
    bench.clock.advance(1.999)
    assert wire.received == b""
    bench.clock.advance(0.001)
    assert header(wire, "Server-Timing") == "gate;dur=5000.000, delay;dur=2000.000, asked;dur=2000.000"


def test_same_bytes(bench: Bench) -> None:
    """Both styles answer with the same bytes behind a gate and a line."""
    received = []
    for style in PREFIXES:
        wires = [bench.ask(f"{PREFIXES[style]}/delayed?delay=1s&gate={style}:2&pool={style}&servers=1&key={style}")]
        wires.append(bench.ask(f"{PREFIXES[style]}/delayed?delay=1s&gate={style}:2&pool={style}&servers=1&key={style}"))
        bench.clock.pump([0, 1, 1])
        received.append([comparable(wire.received, style) for wire in wires])
        assert header(wires[1], "Server-Timing") == (
            "gate;dur=0.000, queue;dur=1000.000, delay;dur=1000.000, asked;dur=1000.000"
        )
    assert received[0] == received[1]


def test_expired(bench: Bench) -> None:
    """An answer goes on by itself when its time at the gate is over."""
    wire = bench.ask("/delayed?delay=1s&gate=g&within=3s")
    bench.clock.advance(3)
    bench.clock.advance(1)
    assert header(wire, "Server-Timing") == ('gate;dur=3000.000;desc="expired", delay;dur=1000.000, asked;dur=1000.000')
    assert bench.now("/control/gates")[1]["gates"] == []


@pytest.mark.parametrize(("order", "expected"), [("fifo", [0, 1, 2]), ("lifo", [2, 1, 0])])
def test_barrier(bench: Bench, order: str, expected: list[int]) -> None:
    """A barrier lets its requests go in order, one in each turn."""
    wires = [bench.ask(f"/delayed?delay=0&gate=g:3&order={order}") for _ in range(2)]
    bench.clock.advance(9)
    assert [wire.received for wire in wires] == [b"", b""]
    wires.append(bench.ask(f"/delayed?delay=0&gate=g:3&order={order}"))
    gone: list[int] = []
    calls = bench.clock.calls
    while calls and calls[0].getTime() <= bench.clock.seconds():
        call = calls.pop(0)
        call.called = 1
        call.func(*call.args, **call.kw)
        gone += [index for index, wire in enumerate(wires) if wire.received and index not in gone]
    assert gone == expected


def test_random_order(bench: Bench) -> None:
    """A random order is the same again with the same seed."""
    orders = []
    for key in "ab":
        wires = [bench.ask(f"/delayed?delay=0&gate={key}&order=random&seed=7&key={key}") for _ in range(8)]
        order: list[int] = []
        for _ in wires:
            bench.now(f"/control/gates/{key}", "POST", '{"release": 1}')
            bench.clock.advance(0)
            order += [index for index, wire in enumerate(wires) if wire.received and index not in order]
        orders.append(order)
    assert sorted(orders[0]) == list(range(8))
    assert [len(order) for order in orders] == [8, 8]


def test_until(bench: Bench) -> None:
    """A request to a gate is answered when so many wait, or 408."""
    late = bench.ask("/control/gates/g?waiting=3&timeout=2s")
    watch = bench.ask("/control/gates/g?waiting=2&timeout=9s")
    first = bench.ask("/delayed?gate=g")
    assert watch.received == b""
    second = bench.ask("/delayed?gate=g")
    assert json.loads(watch.received.partition(b"\r\n\r\n")[2])["waiting"] == 2
    bench.clock.advance(2)
    assert status(late.received) == 408
    assert b"2 answers wait at the gate" in late.received
    bench.ask("/control/gates/g?waiting=3").leave()
    first.leave()
    assert bench.now("/control/gates/g")[1]["waiting"] == 1
    second.leave()
    bench.clock.advance(0)
    assert bench.now("/control/gates")[1]["gates"] == []
    assert bench.clock.getDelayedCalls() == []


def test_open(bench: Bench) -> None:
    """An open gate lets each answer through until it is closed, or forgotten."""
    waiting = bench.ask("/delayed?delay=0&gate=g")
    assert bench.now("/control/gates/g", "POST", '{"open": true}')[1]["released"] == 1
    later = bench.ask("/delayed?delay=0&gate=g:5")
    bench.clock.advance(0)
    assert [status(waiting.received), status(later.received)] == [200, 200]
    assert header(later, "Server-Timing") == "gate;dur=0.000, delay;dur=0.000, asked;dur=0.000"
    bench.clock.advance(3600)
    closed = bench.ask("/delayed?delay=0&gate=g")
    bench.clock.advance(0)
    assert closed.received == b""
    assert bench.now("/control/gates/g", "POST", '{"open": false}')[1]["open"] is False
    closed.leave()


def test_bound_of_gates(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new gate is refused at the bound until another is empty."""
    monkeypatch.setattr(memory, "MOST_GATES", 1)
    first, refused = bench.ask("/delayed?gate=a"), bench.ask("/delayed?gate=b")
    bench.clock.advance(0)
    assert status(refused.received) == 429
    first.leave()
    second = bench.ask("/delayed?gate=b")
    bench.clock.advance(0)
    assert second.received == b""
    second.leave()


@pytest.mark.parametrize("gate", ["", "&gate=g", "&pool=p&servers=1"])
@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_pending(bench: Bench, style: str, gate: str) -> None:
    """A pending answer goes as planned when released, and as 503 when ended."""
    if "pool" in gate:
        bench.ask(f"/delayed?delay=9m{gate}")
    target = f"{PREFIXES[style]}/delayed?delay=1m&key=a{gate}"
    released, ended, other = (bench.ask(target) for _ in range(3))
    first, second, _ = bench.pending(key="a")
    assert first["path"] == f"{PREFIXES[style]}/delayed"
    assert bench.now(f"/control/pending/{first['id']}", "POST", '{"release": true}')[0] == 200
    assert bench.now(f"/control/pending/{second['id']}", "DELETE") == (200, {"id": second["id"], "ended": 1})
    assert [status(each.received) for each in (released, ended, other)] == [200, 503, 0]
    assert bench.now(f"/control/pending/{first['id']}", "DELETE")[0] == 404
    assert bench.now("/control/pending?key=a", "DELETE") == (200, {"key": "a", "ended": 1})
    assert status(other.received) == 503
    assert bench.pending(key="a") == []


def test_queue(bench: Bench) -> None:
    """A pool serves as it has servers, and refuses beyond its line."""
    target = "/delayed?delay=1s&pool=p&servers=1&queue=2"
    wires = [bench.ask(target) for _ in range(4)]
    bench.clock.advance(0)
    assert [status(wire.received) for wire in wires] == [0, 0, 0, 503]
    assert header(wires[3], "Retry-After") == "1"
    wires[1].leave()
    bench.clock.advance(1)
    assert [status(wires[0].received), status(wires[2].received)] == [200, 0]
    bench.clock.advance(1)
    assert header(wires[2], "Server-Timing") == "queue;dur=1000.000, delay;dur=1000.000, asked;dur=1000.000"


def test_figures_of_pools(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics have each pool, and add up those above the bound."""
    monkeypatch.setattr("latebin.telemetry.exposition.MOST_POOLS", 1)
    for pool in "aabb":
        bench.ask(f"/delayed?delay=1s&pool={pool}&servers=1")
    page = bench.ask("/metrics").received.decode()
    for line in ('busy{pool="a"} 1.0', 'waiting{pool="a"} 1.0', 'busy{pool="other"} 1.0', 'waiting{pool="other"} 1.0'):
        assert f"latebin_pool_{line}" in page


def test_more_servers(bench: Bench) -> None:
    """A line goes on at once when a request brings more servers to its pool."""
    wires = [bench.ask("/delayed?delay=1s&pool=p&servers=1") for _ in range(2)]
    wires.append(bench.ask("/delayed?delay=1s&pool=p&servers=3"))
    bench.clock.advance(1)
    assert [status(wire.received) for wire in wires] == [200, 200, 200]


@pytest.mark.parametrize("query", ["key=a", "gate=a", "pool=a&servers=1"])
def test_many_workers(query: str) -> None:
    """A request that needs state is refused when several workers have none in common."""
    bench = Bench(workers=2)
    wire = bench.ask(f"/delayed?delay=0&{query}")
    bench.clock.advance(0)
    assert status(wire.received) == 409
    assert b"--workers 1" in wire.received
    assert status(advanced(bench, bench.ask("/delayed?delay=0..0&seed=7"))) == 200


@pytest.mark.parametrize(
    ("target", "method", "body", "expected"),
    [
        ("/control/gates/g", "POST", '{"release": 0}', 400),
        ("/control/gates/g", "POST", '{"release": true}', 400),
        ("/control/gates/g", "POST", '{"release": 1, "open": true}', 400),
        ("/control/gates/g", "POST", '{"open": 1}', 400),
        ("/control/gates/g", "POST", '{"release": 1, "release": 2}', 400),
        ("/control/gates/g", "POST", '{"open": true, "open": false}', 400),
        ("/control/gates/g", "POST", '{"release": NaN}', 400),
        ("/control/gates/g", "POST", f'{{"release": {"9" * 900}}}', 400),
        ("/control/gates/g", "POST", "{" * 900, 400),
        ("/control/gates/g", "POST", "x" * 1001, 413),
        ("/control/gates/g", "PUT", "", 405),
        ("/control/gates/a b", "GET", "", 400),
        ("/control/gates/g?timeout=1s", "GET", "", 400),
        ("/control/gates/g?waiting=0", "GET", "", 400),
        ("/control/gates?x=1", "GET", "", 400),
        ("/control/gates", "DELETE", "", 405),
        ("/control/keys/..%2f", "GET", "", 404),
        ("/control/keys/a!", "GET", "", 400),
        ("/control/keys/a/b", "GET", "", 404),
        ("/control/keys", "POST", "", 405),
        ("/control/pending", "DELETE", "", 400),
        ("/control/pending/1", "DELETE", "", 404),
        ("/control/pending/1", "GET", "", 405),
        ("/control/pending?id=1", "GET", "", 400),
    ],
)
def test_refused(target: str, method: str, body: str, expected: int) -> None:
    """A wrong request to `/control` is a problem."""
    wire = Bench().ask(target.replace(" ", "%20"), method, body)
    assert status(wire.received) == expected
    assert b"application/problem+json" in wire.received


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_simulation(bench: Bench, style: str) -> None:
    """A prediction with a rate is simulated, and says what it is."""
    target = f"{PREFIXES[style]}/predict?delay=100ms&rate=5&servers=1&seed=7&timeout=150ms"
    wire, gone = bench.ask(target), bench.ask(target.replace("seed=7", "seed=8"))
    assert wire.received == b""
    gone.leave()
    bench.clock.advance(0)
    found = json.loads(wire.received.partition(b"\r\n\r\n")[2])
    assert found["p50_ms"] == 100.0
    assert found["simulation"]["method"].startswith("a simulation")
    assert found["simulation"]["utilisation"] == 0.5
    assert 0 < found["simulation"]["cut"] < 1
    assert bench.now(target) == (200, found)
    assert bench.clock.getDelayedCalls() == []
