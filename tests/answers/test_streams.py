import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latebin.answers.producer import SILENCE
from latebin.compare.contract import MEASURED, Case
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import STACKS
from tests.support.wire import House, Wire, make_house


def sent(house: House, style: str, target: str, *headers: str) -> Wire:
    wire = house.wire()
    wire.send(Case("", target, headers=headers).request(style))
    return wire


def numbers(wire: Wire) -> list[int]:
    return [int(number) for number in re.findall(rb'"n": ([0-9]+)', wire.received)]


def test_gaps(house: House, style: str) -> None:
    """An event leaves when it is due, and says so."""
    wire = sent(house, style, "/delayed?delay=1s&type=ndjson&chunks=3&every=2s")
    arrived = []
    for _ in range(6):
        house.clock.advance(1)
        arrived.append(numbers(wire))
    assert arrived == [[1], [1], [1, 2], [1, 2], [1, 2, 3], [1, 2, 3]]
    events = [json.loads(line) for line in re.findall(rb"{.*}", wire.received)]
    assert [event["due_ms"] for event in events] == [event["left_ms"] for event in events] == [1000, 3000, 5000]
    assert wire.received.endswith(b"\r\n0\r\n\r\n")


def test_late_event(house: House, style: str) -> None:
    """An event that waits for a slow client shows it; the next is on time."""
    wire = sent(house, style, "/delayed?delay=0&type=ndjson&chunks=3&every=1s")
    house.clock.advance(0)
    wire.producer.pauseProducing()
    house.clock.advance(1.5)
    assert numbers(wire) == [1]
    wire.producer.resumeProducing()
    assert b'{"n": 2, "due_ms": 1000.000, "left_ms": 1500.000}' in wire.received
    house.clock.advance(0.5)
    assert b'{"n": 3, "due_ms": 2000.000, "left_ms": 2000.000}' in wire.received


def test_without_end(house: House, style: str) -> None:
    """A stream without end goes on until its client leaves, and leaves nothing behind."""
    wire = sent(house, style, "/delayed?delay=0&type=sse&chunks=0&every=1s")
    for _ in range(50):
        house.clock.advance(1)
    assert numbers(wire) == list(range(1, 52))
    wire.leave()
    assert house.clock.getDelayedCalls() == []


def test_comment(house: House, style: str) -> None:
    """A stream of server-sent events breaks a silence of 15 s with a comment."""
    wires = [sent(house, style, f"/delayed?delay=0&type={kind}&chunks=2&every=40s") for kind in ("sse", "ndjson")]
    for _ in range(8):
        house.clock.advance(5)
    assert SILENCE == 15
    assert [wire.received.count(b": nothing yet\n\n") for wire in wires] == [2, 0]
    assert [numbers(wire) for wire in wires] == [[1, 2], [1, 2]]


def test_coming_back(house: House, style: str) -> None:
    """A client that comes back gets the events behind its last, with their gaps."""
    target = "/delayed?delay=1s&type=sse&chunks=4&every=1s..9s&seed=3&n=1"
    whole, rest = sent(house, style, target), sent(house, style, target, "Last-Event-ID: 2")
    for _ in range(300):
        house.clock.advance(0.1)
    assert (numbers(whole), numbers(rest)) == ([1, 2, 3, 4], [3, 4])
    dues = [[float(due) for due in re.findall(rb'"due_ms": ([0-9.]+)', wire.received)] for wire in (whole, rest)]
    assert dues[1][0] == 1000
    assert dues[1][1] - dues[1][0] == pytest.approx(dues[0][3] - dues[0][2])


@pytest.mark.parametrize("kind", ["truncate", "reset", "close", "garbage", "badchunk", "hang"])
@pytest.mark.parametrize("place", ["2", "100b"])
def test_fault_at_its_place(house: House, style: str, kind: str, place: str) -> None:
    """A fault happens behind that much of a stream, and no event comes after it."""
    wire = sent(house, style, f"/delayed?delay=0&type=ndjson&chunks=9&every=1s&fault={kind}@{place}")
    for _ in range(20):
        house.clock.advance(1)
    body = b"".join(
        re.findall(rb"^[0-9a-f]+\r\n(.*?)\r\n", wire.received.partition(b"\r\n\r\n")[2], re.DOTALL | re.MULTILINE)
    )
    assert wire.connected == (kind == "hang")
    if place == "2":
        assert numbers(wire) == [1, 2]
    else:
        assert len(body) == 100
    if wire.connected:
        wire.leave()
    assert house.clock.getDelayedCalls() == []


def test_fault_behind_bytes(house: House, style: str) -> None:
    """A fault happens behind that much of a body whose length was announced."""
    wire = sent(house, style, "/delayed?delay=0&size=4k&type=bytes&fault=truncate@1k")
    house.clock.advance(0)
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert b"Content-Length: 4096" in head
    assert len(body) == 1024


def test_end_before_the_fault(house: House, style: str) -> None:
    """A stream ends as usual when its rest is shorter than the fault's place."""
    wire = sent(house, style, "/delayed?delay=0&type=sse&chunks=4&fault=reset@3", "Last-Event-ID: 3")
    house.clock.advance(0)
    house.clock.advance(1)
    assert numbers(wire) == [4]
    assert wire.received.endswith(b"0\r\n\r\n")
    assert wire.connected


def test_rate(house: House, style: str) -> None:
    """A body with a rate leaves evenly, its headers before it."""
    wire = sent(house, style, "/delayed?delay=1s&size=100&type=bytes&rate=100")
    house.clock.advance(1)
    assert wire.received.endswith(b"\r\n\r\n")
    arrived = []
    for _ in range(10):
        house.clock.advance(0.1001)
        arrived.append(len(wire.received.partition(b"\r\n\r\n")[2]))
    assert arrived == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_ping(house: House, style: str) -> None:
    """The events of `/sse` have the name and the members that go-httpbin gives them."""
    wire = sent(house, style, "/sse?count=2&duration=1s")
    house.clock.advance(0)
    house.clock.advance(1)
    events = re.findall(rb"event: ping\ndata: (.*)\n\n", wire.received)
    assert [json.loads(event)["id"] for event in events] == [0, 1]
    assert all(json.loads(event)["timestamp"] > 1_700_000_000_000 for event in events)


HOUSES = [make_house(stack) for stack in STACKS]

IDS = st.binary(max_size=20).filter(lambda value: not set(value) & set(b"\r\n\0")) | st.integers().map(b"%d".__mod__)


@given(value=IDS, count=st.integers(0, 3))
@example(value=b"3", count=3)
@example(value=b"\xc3\xa9", count=0)
@example(value=b"9" * 15, count=0)
@settings(max_examples=80)
def test_any_last_id(value: bytes, count: int) -> None:
    """Both styles go on, are over or refuse alike behind any id."""
    # One test for both stacks: pytest-twisted runs no test of hypothesis that is parametrized.
    for house in HOUSES:
        answers = []
        for prefix in PREFIXES.values():
            wire = house.wire()
            target = f"{prefix}/delayed?delay=0&type=sse&chunks={count}&every=1s"
            wire.send(f"GET {target} HTTP/1.1\r\nHost: a\r\nLast-Event-ID: ".encode() + value + b"\r\n\r\n")
            house.clock.pump([0, 1, 1, 1])
            answers.append(MEASURED.sub(b"", wire.received))
            wire.leave()
        assert re.match(rb"HTTP/1\.1 (200|204|400) ", answers[0])
        assert answers[0] == answers[1]
