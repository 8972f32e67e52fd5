"""The journal of a key, in memory, on a clock that the test moves."""

import json
import re
from typing import Any, cast

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from latebin.answers.interfaces import dismiss
from latebin.core import journal as core
from latebin.core.endpoints import PREFIXES
from latebin.core.http.reply import STOPPING
from latebin.site.factory import scenario_site
from latebin.state import journal
from tests.overrides.test_http2 import Client
from tests.styles.test_steering import Bench, advanced, status
from tests.support.wire import House, Wire


@pytest.fixture(params=["tuned", "stock"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(stack=request.param)


def kept(bench: Bench, key: str = "a") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bench.now(f"/control/journal?key={key}")[1]["requests"]
    return found


def ends(bench: Bench) -> list[tuple[Any, Any, Any]]:
    return [(each["n"], each["status"], each["ended"]) for each in kept(bench)]


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_entry(bench: Bench, style: str) -> None:
    """A request with a key is written down when accepted, and when it ends."""
    wire = bench.ask(f"{PREFIXES[style]}/delayed?delay=250ms&key=a", "PUT")
    bench.ask("/delayed?delay=1s")
    (entry,) = kept(bench)
    pending = {
        "n": 1,
        "style": style,
        "method": "PUT",
        "path": f"{PREFIXES[style]}/delayed",
        "query": "delay=250ms&key=a",
        "asked_ms": 250.0,
        "measured_ms": None,
        "status": None,
        "ended": None,
        "left_after_ms": None,
        "left_by": None,
        "gap_ms": None,
        "overlaps": 0,
        "connection": 1,
    }
    assert {name: entry[name] for name in pending} == pending
    bench.clock.advance(0.25)
    (entry,) = kept(bench)
    ended = {**pending, "measured_ms": 250.0, "status": 200, "ended": "answered"}
    assert {name: entry[name] for name in pending} == ended
    assert f"x-request-id: {entry['id']}" in wire.received.decode().lower()
    assert entry["at"].endswith("Z")


def test_endpoints(bench: Bench) -> None:
    """Every endpoint with a key writes into the journal, and none without one."""
    port = scenario_site(bench.site, bench.clock, "mine")
    for target in (
        "/delayed?delay=1s&key=a",
        "/raw/drip?delay=1s&duration=0&key=a",
        "/sse?delay=1s&count=2&duration=0&key=a",
        "/raw/jsonl?delay=1s&count=2&duration=0&key=a",
        "/as/mine;key=a/v1?x=y",
        "/delayed?delay=1s",
        "/delay/1",
        "/as/mine;delay=1s;status=200",
    ):
        bench.ask(target)
    wire = Wire(port, bench.clock)
    wire.send(b"GET /own?key=no HTTP/1.1\r\nHost: localhost\r\nLatebin-Key: a\r\n\r\n")
    bench.clock.advance(1)
    assert ends(bench) == [
        (1, 200, "answered"),
        (2, 200, "answered"),
        (3, 200, "answered"),
        (4, 200, "answered"),
        (5, 200, "answered"),
        (6, 200, "answered"),
    ]
    assert [(each["path"], each["query"]) for each in kept(bench)][-2:] == [
        ("/as/mine;key=a/v1", "x=y"),
        ("/own", "key=no"),
    ]


def test_retries(bench: Bench) -> None:
    """The gaps are measured from the end of a request to the next."""
    for gap in (0.0, 0.2, 0.4):
        bench.clock.advance(gap)
        bench.ask("/delayed?delay=50ms&key=a&status=503*2,200")
        bench.clock.advance(0.05)
    assert ends(bench) == [(1, 503, "answered"), (2, 503, "answered"), (3, 200, "answered")]
    assert [each["gap_ms"] for each in kept(bench)] == [None, 200.0, 400.0]
    assert bench.now("/control/journal?key=a")[1]["summary"] == {
        "attempts": 3,
        "least_gap_ms": 200.0,
        "median_gap_ms": 300.0,
        "greatest_gap_ms": 400.0,
        "timeout_ms": None,
        "backoff_grows": True,
        "backoff_jittered": None,
    }


class SlowWire(Wire):
    """A connection whose client has each byte, and each cut, before the service goes on."""

    left = 0.0

    def write(self, data: bytes) -> None:
        super().write(data)
        self._pass()

    def loseConnection(self) -> None:
        super().loseConnection()
        self._pass()

    def _pass(self) -> None:
        self.left = self._clock.seconds()
        self._clock.rightNow += 0.125


@pytest.mark.parametrize("style", sorted(PREFIXES))
@pytest.mark.parametrize(
    "target",
    [
        "/delayed?delay=1s&size=100",
        "/delayed?delay=1s&size=100&chunks=2&over=1s",
        "/delayed?delay=1s&fault=reset",
        "/delayed?delay=1s&fault=close",
        "/delayed?delay=1s&size=100&fault=truncate@50",
        "/drip?delay=1&numbytes=2&duration=1",
        "/sse?delay=1s&count=2&duration=1s",
        "/delayed?gate=g&within=1s&delay=0",
    ],
)
def test_gap_is_not_shorter(bench: Bench, style: str, target: str) -> None:
    """A gap is not shorter than the wait of the client, however late the service."""
    wire = SlowWire(bench.site, bench.clock)
    wire.send(f"GET {PREFIXES[style]}{target}&key=a HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for _ in range(16):
        bench.clock.advance(0.25)
    (first,) = kept(bench)
    assert first["ended"] in {"answered", "fault"}
    slept = (bench.clock.seconds() - wire.left) * 1000
    bench.ask("/delayed?key=a")
    assert kept(bench)[1]["gap_ms"] >= slept


@pytest.mark.parametrize(("error", "ended", "left_by"), [(None, "left", "FIN"), (ConnectionLost(), "reset", "RST")])
def test_leaving(bench: Bench, error: Exception | None, ended: str, left_by: str) -> None:
    """The journal has FIN or RST when a client leaves, also during a hang."""
    for target in (
        "/delayed?delay=9s",
        "/raw/sse?count=9&duration=9s",
        "/delayed?delay=0&fault=hang",
        "/delayed?gate=a",
    ):
        wire = bench.ask(f"{target}{'&' if '?' in target else '?'}key=a")
        bench.clock.advance(0.1)
        if error is None:
            wire.leave()
        else:
            wire.connected = False
            wire.protocol.connectionLost(Failure(error))
    found = [(each["ended"], each["left_by"], each["left_after_ms"]) for each in kept(bench)]
    assert found == [(ended, left_by, 100.0)] * 4
    assert [each["status"] for each in kept(bench)] == [None, 200, 200, None]
    assert bench.now("/control/journal?key=a")[1]["summary"]["timeout_ms"] == 100.0


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_streams(bench: Bench, style: str) -> None:
    """The journal has RST_STREAM when a client resets a stream alone."""
    client = Client(cast("House", bench))
    streams = [client.ask(f"{PREFIXES[style]}/delayed?delay=1s&key=a") for _ in range(3)]
    client.reset(streams[1])
    client.advance(1)
    client.line.leave()
    bench.ask("/delayed?delay=0&key=a")
    assert [(each["ended"], each["left_by"], each["connection"]) for each in kept(bench)] == [
        ("answered", None, 1),
        ("reset", "RST_STREAM", 1),
        ("answered", None, 1),
        (None, None, 2),
    ]


def test_faults(bench: Bench) -> None:
    """A request ends as a fault, also when a hang is given up."""
    for fault in ("reset", "close", "truncate", "hang"):
        bench.ask(f"/delayed?delay=0&fault={fault}&key=a")
    bench.clock.advance(0)
    bench.clock.advance(600)
    bench.clock.advance(0)
    assert [each["ended"] for each in kept(bench)] == ["fault"] * 4
    assert [each["status"] for each in kept(bench)] == [None, None, 200, 200]


def test_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is refused is in the journal if its key can be read."""
    asked = [
        "/delayed?key=a&delay=soon",
        "/delayed?key=b%20c",
        "/as/none;key=a",
        "/via/none;key=a",
        "/raw/delayed?delya=1&key=a",
    ]
    asked += ["/unknown?key=a", "/delayed?key=a&key=a", "/delayed?delay=0&pool=p&servers=1&queue=0&key=a"]
    bench.ask("/delayed?delay=1s&pool=p&servers=1")
    for target in asked:
        advanced(bench, bench.ask(target))
    monkeypatch.setattr("latebin.state.memory.MOST_KEYS", 1)
    advanced(bench, bench.ask("/delayed?key=new"))
    assert ends(bench) == [
        (None, 400, "refused"),
        (None, 404, "refused"),
        (None, 404, "refused"),
        (None, 400, "refused"),
        (1, 503, "refused"),
    ]
    assert [(each["n"], each["status"]) for each in kept(bench, "new")] == [(None, 429)]


def test_full() -> None:
    """A request is in the journal that the limit of pending answers refuses."""
    bench = Bench(max_pending=1)
    bench.ask("/delayed?delay=1s&key=a")
    bench.ask("/delayed?delay=1s&key=a")
    assert ends(bench) == [(1, None, None), (None, 503, "refused")]


def test_let_go(bench: Bench) -> None:
    """An answer that is released is answered, and one that is ended is refused."""
    for _ in range(3):
        bench.ask("/delayed?delay=1s&gate=g&key=a")
    bench.now("/control/gates/g", "POST", '{"release": 1}')
    bench.clock.advance(0)
    second, third = bench.pending(key="a")[1:]
    bench.now(f"/control/pending/{second['id']}", "POST", '{"release": true}')
    bench.now(f"/control/pending/{third['id']}", "DELETE")
    bench.clock.advance(1)
    assert ends(bench) == [(1, 200, "answered"), (2, 200, "answered"), (3, 503, "refused")]


def test_dismissed(bench: Bench) -> None:
    """An answer that is dismissed when the service stops is refused."""
    for prefix in PREFIXES.values():
        bench.ask(f"{prefix}/delayed?delay=9s&key=a")
    asked = [request for request in bench.site.connections.requests if request.style != "site"]
    control = bench.ask("/control/journal?key=a&ended=2&timeout=9s")
    for request in asked:
        dismiss(request, STOPPING.reply())
    found = json.loads(control.received.partition(b"\r\n\r\n")[2])["requests"]
    assert [(each["status"], each["ended"]) for each in found] == [(503, "refused")] * 2


def test_same_journal(bench: Bench) -> None:
    """Both styles write the same into the journal."""
    pages = []
    for style, prefix in PREFIXES.items():
        for query in (
            "delay=1s&at=body",
            "delay=1s&fault=truncate",
            "delay=soon",
            "delay=1s&gate=g:1&status=503",
            "delay=9s",
        ):
            wire = bench.ask(f"{prefix}/delayed?key={style}&{query}", "POST", "abc")
            bench.clock.pump([0, 1, 0])
            wire.leave()
        text = bench.ask(f"/control/journal?key={style}").received.partition(b"\r\n\r\n")[2].decode()
        text = text.replace(f'"path": "{prefix}/', '"path": "/').replace(style, "STYLE")
        pages.append(re.sub('"(id|at)": "[^"]+"', "", text))
    assert pages[0] == pages[1]
    assert [each["ended"] for each in json.loads(text)["requests"]] == [
        "answered",
        "fault",
        "refused",
        "answered",
        "left",
    ]


def test_hedging(bench: Bench) -> None:
    """The overlaps show how many requests of the key were pending."""
    wires = [bench.ask("/delayed?delay=1s&key=a") for _ in range(3)]
    bench.ask("/delayed?delay=1s&key=b")
    wires[0].leave()
    bench.ask("/delayed?delay=1s&key=a")
    assert [each["overlaps"] for each in kept(bench)] == [0, 1, 2, 2]
    assert [each["gap_ms"] for each in kept(bench)] == [None] * 4


def test_connections(bench: Bench) -> None:
    """A connection that is used again has the same number."""
    request = b"GET /delayed?delay=0&key=a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    first, second = Wire(bench.site, bench.clock), Wire(bench.site, bench.clock)
    for wire in (first, first, second, first):
        wire.send(request)
        bench.clock.advance(0)
    assert [each["connection"] for each in kept(bench)] == [1, 1, 2, 1]


def test_until(bench: Bench) -> None:
    """The journal is answered when so many have ended, or as a 408."""
    late = bench.ask("/control/journal?key=a&ended=2&timeout=2s")
    watch = bench.ask("/control/journal?key=a&ended=1&timeout=9s")
    bench.ask("/control/journal?key=a&ended=1").leave()
    bench.ask("/delayed?delay=1s&key=a")
    assert watch.received == b""
    bench.clock.advance(1)
    assert status(watch.received) == 200
    assert status(bench.ask("/control/journal?key=a&ended=1").received) == 200
    bench.clock.advance(1)
    assert status(late.received) == 408
    problem = json.loads(late.received.partition(b"\r\n\r\n")[2])
    assert problem["detail"] == "1 request has ended within the timeout, and not 2."
    assert [each["ended"] for each in problem["requests"]] == ["answered"]
    assert bench.clock.getDelayedCalls() == []


def test_lines(bench: Bench) -> None:
    """The journal has a line for each request if the client names NDJSON."""
    for _ in range(2):
        advanced(bench, bench.ask("/delayed?delay=0&key=a"))

    def page(accept: str) -> bytes:
        wire = Wire(bench.site, bench.clock)
        wire.send(f"GET /control/journal?key=a HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
        return wire.received

    lines = page("application/x-ndjson, */*;q=0.1").partition(b"\r\n\r\n")[2].splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2]
    assert b"Content-Type: application/x-ndjson\r\n" in page("application/x-ndjson")
    for accept in ("*/*", "application/json, application/x-ndjson;q=0.5", "application/x-ndjson;q=0"):
        assert b"Content-Type: application/json\r\n" in page(accept)


def test_bounds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal drops and reports a newcomer at each bound, and nothing else."""
    monkeypatch.setattr(journal, "MOST_OF_KEY", 2)
    monkeypatch.setattr(journal, "MOST_ENTRIES", 3)
    monkeypatch.setattr(journal, "MOST_JOURNALS", 3)
    for key in "aaabcd":
        advanced(bench, bench.ask(f"/delayed?delay=0&key={key}"))
    found = [bench.now(f"/control/journal?key={key}")[1] for key in "abcde"]
    assert [len(each["requests"]) for each in found] == [2, 1, 0, 0, 0]
    assert [each["complete"] for each in found] == [False, True, False, False, False]
    wire = Wire(bench.site, bench.clock)
    wire.send(b"GET /control/journal?key=c HTTP/1.1\r\nHost: a\r\nAccept: application/x-ndjson\r\n\r\n")
    assert wire.received.endswith(b'\r\n\r\n{"complete": false}\n')
    bench.now("/control/keys/a", "DELETE")
    advanced(bench, bench.ask("/delayed?delay=0&key=b"))
    assert len(kept(bench, "b")) == 2
    bench.clock.advance(3600)
    assert bench.now("/control/journal?key=e")[1] == {
        "requests": [],
        "summary": core.summary([]),
        "complete": True,
    }


def test_forgotten(bench: Bench) -> None:
    """A journal is forgotten with its key, though a request of it is pending."""
    bench.ask("/delayed?delay=1s&key=a")
    bench.now("/control/keys/a", "DELETE")
    bench.ask("/delayed?delay=2s&key=a")
    bench.clock.advance(1)
    assert [(each["n"], each["ended"], each["overlaps"]) for each in kept(bench)] == [(1, None, 0)]
    bench.clock.advance(1)
    assert [each["ended"] for each in kept(bench)] == ["answered"]


def test_long_target(bench: Bench) -> None:
    """A long target is cut in the journal."""
    bench.ask(f"/as/mine;key=a/{'x' * 100}?{'y' * 900}")
    (entry,) = kept(bench)
    assert len(entry["path"]) + 1 + len(entry["query"]) == core.MAX_TEXT


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "key"),
        ("?key=a%20b", "key"),
        ("?key=a&timeout=1s", "timeout"),
        ("?key=a&ended=0", "ended"),
        ("?key=a&x=1", "x"),
    ],
)
def test_wrong(query: str, parameter: str) -> None:
    """A wrong request to the journal is a 400 that names the parameter."""
    code, problem = Bench().now(f"/control/journal{query}")
    assert (code, problem["parameter"]) == (400, parameter)


def test_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that would wait for ends is refused at the bound."""
    monkeypatch.setattr(journal, "MOST_WATCHES", 1)
    bench = Bench()
    bench.ask("/control/journal?key=a&ended=1")
    assert status(bench.ask("/control/journal?key=a&ended=1").received) == 429
