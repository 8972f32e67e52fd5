import re
from http.client import BadStatusLine, HTTPConnection, HTTPResponse, IncompleteRead, RemoteDisconnected
from itertools import pairwise
from typing import Any, cast

import pytest
import treq
from twisted.internet import threads
from twisted.logger import LogLevel, capturedLogs
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers

from latebin.answers.delivery import begin
from latebin.answers.producer import PIECE, WRITES
from latebin.compare.contract import Case
from latebin.core.endpoints import PREFIXES
from latebin.core.http.body import sized
from latebin.core.http.status import CHALLENGE
from latebin.core.plan import Plan
from tests.overrides.test_channel_share import make_line
from tests.support.sockets import BOUND, Served, asynchronous, connect, served, until
from tests.support.wire import House, Wire


def sent(house: House, style: str, target: str, **attributes: Any) -> Wire:
    wire = house.wire()
    wire.send(Case("", target, **attributes).request(style))
    return wire


def bodies(wire: Wire) -> list[bytes]:
    return re.split(rb"HTTP/1\.1 .*?\r\n\r\n", wire.received, flags=re.DOTALL)[1:]


def test_at_body(house: House, style: str) -> None:
    """The headers come at once, and the body when it is due, with at=body."""
    wire = sent(house, style, "/delayed?delay=1s&at=body&status=503")
    assert wire.received.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nServer-Timing: asked;dur=1000.000\r\n" in wire.received
    assert bodies(wire) == [b""]
    house.clock.advance(1)
    assert bodies(wire) == [b"<html><body>Sorry to keep you waiting.</body></html>"]


def test_late_pieces(house: House, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that were due apart are one write when the reactor is late."""
    wire = sent(house, style, "/delayed?delay=0&type=bytes&chunks=10000&over=1s&size=10000")
    house.clock.advance(0)
    writes: list[bytes] = []
    monkeypatch.setattr(wire, "write", writes.append)
    house.clock.advance(0.5)
    house.clock.advance(0.5)
    assert len(writes) == 2
    assert len(b"".join(writes)) == 9999


@pytest.mark.parametrize("pieces", ["over=1s", "every=100us", "every=exponential(100us)&seed=1", "rate=10k"])
def test_late_bytes(house: House, style: str, pieces: str) -> None:
    """The body is whole when its pieces are late by any time."""
    chunks = "" if pieces.startswith("rate") else "&chunks=10000"
    wire = sent(house, style, f"/delayed?delay=0&type=text&size=10000&{pieces}{chunks}")
    for late in (0, 0.0001, 0.3, 0.001, 0.2501, 9):
        house.clock.advance(late)
        house.clock.advance(0)
    house.clock.pump([0] * 100)
    assert bodies(wire) == [sized("text", 10000).piece(0, 10000)]


def test_chunks_in_turns(style: str, stack: str) -> None:
    """A turn writes a bounded number of chunks when thousands are due."""
    line = make_line(stack)
    prefix = PREFIXES[style]
    target = f"{prefix}/delayed?delay=0&type=bytes&chunks=1000&size=1000&framing=chunked"
    line.wire.send(line.ask(target, 1))
    written = []
    line.clock.turns(lambda: written.append(line.wire.received.count(b"1\r\n")))
    assert max(after - before for before, after in pairwise(written)) <= WRITES + 1
    assert line.wire.received.endswith(b"\r\n0\r\n\r\n")
    line.wire.leave()


def test_chunks_over(house: House, style: str) -> None:
    """The pieces leave evenly: the first after the wait, the last when `over` has passed."""
    wire = sent(house, style, "/delayed?delay=1s&type=bytes&chunks=3&over=4s&size=10")
    arrived = []
    for _ in range(5):
        house.clock.advance(1)
        arrived.append(len(bodies(wire)[0]))
    assert arrived == [3, 3, 6, 6, 10]


def test_framing_chunked(house: House, style: str) -> None:
    """Each piece is a chunk, and no header has the length, with framing=chunked."""
    wire = sent(house, style, "/delayed?delay=0&type=bytes&size=4&chunks=2&framing=chunked")
    house.clock.advance(0)
    assert b"Content-Length" not in wire.received
    assert bodies(wire) == [b"2\r\nSo\r\n2\r\nrr\r\n0\r\n\r\n"]


def test_leaving_in_the_middle(house: House, style: str) -> None:
    """A client that leaves between two pieces stops them; nothing is logged as an error."""
    with capturedLogs() as events:
        wire = sent(house, style, "/delayed?delay=0&chunks=2&over=4s")
        house.clock.advance(1)
        wire.leave()
    assert house.clock.getDelayedCalls() == []
    assert [event["status"] for event in events if "status" in event] == ["left"]
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


def test_pausing(house: House, style: str) -> None:
    """A piece that is due while the client does not read waits until it does."""
    wire = sent(house, style, "/delayed?delay=0&type=bytes&size=2&chunks=2&over=1s")
    house.clock.advance(0)
    wire.producer.pauseProducing()
    house.clock.advance(5)
    assert bodies(wire) == [b"S"]
    wire.producer.resumeProducing()
    assert bodies(wire) == [b"So"]


def test_resuming_before_the_next_piece(house: House, style: str) -> None:
    """A client that pauses and resumes between two pieces leaves the second as it was."""
    wire = sent(house, style, "/delayed?delay=0&type=bytes&size=2&chunks=2&over=1s")
    house.clock.advance(0)
    wire.producer.pauseProducing()
    wire.producer.resumeProducing()
    assert len(house.clock.getDelayedCalls()) == 1
    house.clock.advance(1)
    assert bodies(wire) == [b"So"]


def test_pipelined_behind_a_large_body(house: House, style: str) -> None:
    """A request behind a large body is answered after that body."""
    wire = house.wire()
    large = Case("", f"/delayed?delay=0&type=bytes&size={3 * PIECE + 1}").request(style)
    wire.send(large + Case("", "/delayed?delay=0&type=text").request(style))
    house.clock.pump([0, 0])
    first, second = bodies(wire)
    assert (len(first), second) == (3 * PIECE + 1, b"Sorry to keep you waiting.\n")


FAULTS = {
    "reset": b"",
    "close": b"",
    "truncate": b"HTTP/1.1 200 OK\r\n.*\r\nContent-Length: 52\r\n.*\r\n\r\n<html><body>Sorry to keep ",
    "garbage": b"\x00\xff\x00 this is not HTTP \x00\xff\x00\r\n\r\n",
    "badchunk": b"HTTP/1.1 200 OK\r\n.*\r\n\r\n1a\r\n<html><body>Sorry to keep \r\n400\r\nSorry",
    "hang": b"HTTP/1.1 200 OK\r\n.*\r\nContent-Length: 52\r\n.*\r\n\r\n",
}
"""The bytes that are left of an answer after each fault."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["first", "second"])
def test_fault(house: House, style: str, fault: str, before: bytes) -> None:
    """A fault leaves its bytes and no others when the wait is over."""
    wire = house.wire()
    with capturedLogs() as events:
        wire.send(before)
        healthy = len(wire.received)
        wire.send(Case("", f"/delayed?delay=1s&fault={fault}").request(style))
        house.clock.advance(0.999)
        assert wire.connected
        assert len(wire.received) == healthy
        house.clock.advance(0.001)
        assert wire.connected == (fault == "hang")
        house.clock.advance(600)
        assert not wire.connected
    assert re.fullmatch(FAULTS[fault], wire.received[healthy:], re.DOTALL)
    assert [event["status"] for event in events if "status" in event][-1] == fault
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_for_none(house: House, style: str, fault: str) -> None:
    """A fault never happens when its share is 0."""
    wire = sent(house, style, f"/delayed?delay=0&fault={fault}:0")
    house.clock.advance(0)
    assert bodies(wire) == [b"<html><body>Sorry to keep you waiting.</body></html>"]


def test_leaving_what_hangs(house: House, style: str) -> None:
    """A client that gives up on an answer that hangs cancels the last timer."""
    wire = sent(house, style, "/delayed?delay=0&fault=hang")
    house.clock.advance(0)
    assert len(house.clock.getDelayedCalls()) == 1
    wire.leave()
    assert house.clock.getDelayedCalls() == []


@asynchronous
async def test_slow_reader(style: str) -> None:
    """A large body stays in the service until the client reads, and arrives whole."""
    size = 16 * 1024**2
    async with served() as service:
        client = await connect(service)
        client.transport.pauseProducing()
        close = ("Connection: close",)
        client.transport.write(Case("", f"/delayed?delay=0&type=bytes&size={size}", headers=close).request(style))
        written: list[int] = []

        def stalled() -> bool:
            written.append(sum(request.sentLength for request in service.requests()))
            return len(written) > 20 and written[-1] == written[-20] > 0

        await until(stalled)
        assert written[-1] < size
        client.transport.resumeProducing()
        await client.lost
        assert len(client.data.partition(b"\r\n\r\n")[2]) == size


def ask(service: Served, path: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", service.port, timeout=BOUND)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        connection.request("GET", path)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


STANDARD = {
    "reset": ConnectionResetError,
    "close": RemoteDisconnected,
    "truncate": IncompleteRead,
    "garbage": BadStatusLine,
    "badchunk": IncompleteRead,
    "hang": IncompleteRead,
}
"""The exception of http.client for each fault; for `hang`, after the longest delay."""


@pytest.mark.parametrize("fault", STANDARD)
@asynchronous
async def test_fault_seen_by_http_client(style: str, fault: str) -> None:
    """The standard library's client sees the fault of the name on a connection kept alive."""
    async with served(default_delay=0, max_delay=0.1) as service:
        with pytest.raises(STANDARD[fault]):
            await threads.deferToThread(ask, service, f"{PREFIXES[style]}/delayed?delay=10ms&fault={fault}")


@pytest.mark.parametrize("fault", ["reset", "close", "truncate", "garbage", "badchunk"])
@asynchronous
async def test_fault_seen_by_treq(style: str, fault: str) -> None:
    """Treq sees that there was no answer, or that it was not whole."""
    async with served() as service:

        async def whole() -> None:
            await treq.content(await service.get(f"{PREFIXES[style]}/delayed?delay=10ms&fault={fault}"))

        with pytest.raises(ResponseFailed):
            await whole()


@asynchronous
async def test_hang_seen_by_treq(style: str) -> None:
    """Treq sees headers and no end when an answer hangs."""
    async with served() as service:
        response = await service.get(f"{PREFIXES[style]}/delayed?delay=10ms&fault=hang")
        assert response.code == 200
        body = treq.content(response)
        [request] = service.requests()
        request.channel.transport.abortConnection()
        with pytest.raises(ResponseFailed):
            await body


class Answer:
    """A request that keeps what is set on it."""

    def __init__(self, version: bytes) -> None:
        self.clientproto = version
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.responseHeaders = Headers()

    def setResponseCode(self, code: int) -> None:
        self.status = code

    def setHeader(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value


def headers(plan: Plan, measured: float | None = None, version: bytes = b"HTTP/1.1") -> dict[bytes, bytes]:
    answer = Answer(version)
    begin(cast("Any", answer), plan, measured)
    assert answer.status == plan.status
    return answer.headers | {name: values[-1] for name, values in answer.responseHeaders.getAllRawHeaders()}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (206, {b"Content-Range": b"bytes 0-51/52"}),
        (401, {b"WWW-Authenticate": CHALLENGE}),
        (405, {b"Allow": b"OPTIONS"}),
        (407, {b"Proxy-Authenticate": CHALLENGE}),
        (416, {b"Content-Range": b"bytes */52"}),
        (426, {b"Upgrade": b"HTTP/2.0", b"Connection": b"Upgrade"}),
    ],
)
def test_required(status: int, expected: dict[bytes, bytes]) -> None:
    """An answer has the headers that RFC 9110 requires when its status has such."""
    found = headers(Plan(0.0, status=status))
    assert {name: found[name] for name in found if name not in headers(Plan(0.0))} == expected


def test_upgrade() -> None:
    """Over HTTP/2, a 426 has no header of a connection."""
    assert headers(Plan(0.0, status=426), version=b"HTTP/2") == headers(Plan(0.0))


def test_empty_part() -> None:
    """A 206 without a byte has no range of bytes."""
    assert headers(Plan(0.0, status=206, body=sized("bytes", 0)))[b"Content-Range"] == b"bytes */0"


def test_timing() -> None:
    """Server-Timing has milliseconds, measured and asked; before the wait, only those asked."""
    plan = Plan(wait=0.25)
    assert headers(plan, 0.2506)[b"Server-Timing"] == b"delay;dur=250.600, asked;dur=250.000"
    assert headers(plan)[b"Server-Timing"] == b"asked;dur=250.000"


def test_length() -> None:
    """A body has Content-Length when it is not chunked."""
    assert headers(Plan(1.0))[b"Content-Length"] == b"52"
    assert b"Content-Length" not in headers(Plan(1.0, chunked=True))


@pytest.mark.parametrize(("status", "length"), [(204, None), (304, None), (205, b"0")])
def test_without_a_body(status: int, length: bytes | None) -> None:
    """A status without a body has no Content-Type, and a length only for 205."""
    found = headers(Plan(1.0, status=status, body=None))
    assert b"Content-Type" not in found
    assert found.get(b"Content-Length") == length


def test_retry_after() -> None:
    """Retry-After is there if it was asked for, also with 0."""
    assert headers(Plan(1.0, retry_after=0))[b"Retry-After"] == b"0"
    assert b"Retry-After" not in headers(Plan(1.0))
