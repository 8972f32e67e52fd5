from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from latebin.timing.budget import PIECES
from tests.overrides.test_channel_share import Line, make_line
from tests.support.turns import calls
from tests.support.wire import Wire

HOGS = 40
"""Hostile connections, each with more work than a turn has room for."""

MOST = 80_000
"""Calls of a turn, for all connections together."""

BUSY = 5
"""Turns that pass before another client asks."""


def post(target: str, content_type: str, body: bytes) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


CHUNKS = b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"
FORM = "application/x-www-form-urlencoded"
MIXED = ",".join(["1ms"] * 8)

WORK = {
    "requests": lambda prefix: f"GET {prefix}/predict?delay=choice({MIXED}) HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 500,
    "chunks": lambda prefix: (
        f"POST {prefix}/delay/0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + CHUNKS
    ),
    "form": lambda prefix: post(f"{prefix}/delay/0", FORM, b"a=" + b"%ff" * 100_000),
    "parameters": lambda prefix: (
        f"GET {prefix}/delay/0?{urlencode([(f'a{n}', '%ff') for n in range(800)])} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        * 20
    ),
    "pieces": lambda prefix: (
        f"GET {prefix}/delayed?delay=0&type=bytes&chunks=1000&size=1000&framing=chunked HTTP/1.1\r\n"
        f"Host: a\r\n\r\n".encode()
    ),
}
"""By name: the bytes that a hostile client sends."""


@pytest.fixture
def line(every_stack: str) -> Iterator[Line]:
    line = make_line(every_stack)
    yield line
    line.wire.leave()


@pytest.mark.parametrize("work", WORK)
def test_fresh_connection(line: Line, prefix: str, work: str) -> None:
    """A fresh connection is answered at once when many others have work."""
    hogs = [Wire(line.site, line.clock) for _ in range(HOGS)]
    sent = WORK[work](prefix)
    for hog in hogs:
        hog.send(sent)
    turns = [calls(line.clock.turn) for _ in range(BUSY)]
    line.wire.send(line.ask(f"{prefix}/predict?delay=1s", 1))
    assert line.answered == [1]
    line.wire.send(line.ask(f"{prefix}/delayed?delay=0", 2))
    turns.append(calls(line.clock.turn))
    assert line.answered == [1, 2]
    assert any(call.getTime() <= line.clock.seconds() for call in line.clock.getDelayedCalls()), "no work waited"
    assert max(turns) < MOST
    for hog in hogs:
        hog.leave()


def test_chunks_share_turns(line: Line, prefix: str) -> None:
    """A turn writes a bounded number of late chunks when many answers have them."""
    hogs = [Wire(line.site, line.clock) for _ in range(HOGS)]
    for hog in hogs:
        hog.send(WORK["pieces"](prefix).replace(b"1000", b"100"))
    line.clock.turn()
    before = 0
    for number in range(BUSY):
        written = sum(hog.received.count(b"\r\n1\r\n") for hog in hogs)
        assert not number or 0 < written - before <= PIECES
        before = written
        line.clock.turn()
    line.clock.turns()
    assert all(hog.received.endswith(b"\r\n0\r\n\r\n") for hog in hogs)
    for hog in hogs:
        hog.leave()
