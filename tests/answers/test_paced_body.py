"""The body of a request at a rate."""

import re
from time import monotonic
from typing import Any

import pytest
from twisted.logger import capturedLogs

from latebin.answers.request_body import WINDOW
from latebin.core.endpoints import PREFIXES
from tests.support.late_server import refusing_port
from tests.support.log import accesses
from tests.support.sockets import asynchronous, until
from tests.support.upstream import MEGABYTE, Flood, before, both, send
from tests.support.wire import House, Wire, make_house


@pytest.fixture
def house() -> House:
    return make_house("tuned")


def begun(house: House, target: str, length: int, *headers: str, method: str = "POST") -> Wire:
    wire = house.wire()
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers, "", ""]
    wire.send("\r\n".join(lines).encode())
    return wire


def answered_after(house: House, wire: Wire, longest: int = 100) -> float:
    """Return the tenths of a second after which an answer is there."""
    for tenth in range(longest):
        if wire.received:
            return tenth / 10
        house.clock.advance(0.1)
    pytest.fail("no answer came")


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/delayed?delay=1s&read=1k", ()),
        ("/delayed/1s?%72ead=1k", ()),
        ("/delayed/1s", ("Latebin-Read: 1k",)),
        ("/delay/1", ("latebin-read: 1k",)),
        ("/as/slow;read=1k;delay=1s/anything", ()),
        ("/as/slow/?read=1b", ("Latebin-Read: 1k", "Latebin-Delay: 1s")),
    ],
)
def test_taken_at_a_rate(house: House, prefix: str, target: str, headers: tuple[str, ...]) -> None:
    """The delay begins when the body is taken at its rate."""
    wire = begun(house, prefix + target, 4096, *headers)
    wire.send(b"x" * 4096)
    assert answered_after(house, wire) == pytest.approx(5, abs=0.11)
    assert b"asked;dur=1000.000" in wire.received


def test_scenario(house: House, prefix: str) -> None:
    """The rule of a scenario that matches the request has its rate."""
    table = {"delay": "0", "rule": [{"path": "/upload", "method": "PUT", "read": "1k"}]}
    house.root.scenarios.put("disk", table)
    taken = []
    for method, path in (("PUT", "/upload"), ("POST", "/upload"), ("PUT", "/else")):
        wire = begun(house, f"{prefix}/as/disk{path}", 2048, method=method)
        wire.send(b"x" * 2048)
        taken.append(answered_after(house, wire))
    assert taken == [pytest.approx(2, abs=0.11), pytest.approx(0, abs=0.11), pytest.approx(0, abs=0.11)]


def test_echo(house: House, prefix: str) -> None:
    """The echo has every byte of a body that came at a rate."""
    wire = begun(house, f"{prefix}/delay/0", 3000, "Latebin-Read: 2k", "Content-Type: text/plain")
    wire.send(b"abc" * 1000)
    answered_after(house, wire)
    assert b'"data": "' + b"abc" * 1000 + b'"' in wire.received


def test_back_pressure(house: House, prefix: str) -> None:
    """The connection is left unread as long as a window of the body waits."""
    wire = begun(house, f"{prefix}/delayed?delay=0&read=64k", 3 * WINDOW)
    states = []
    for _ in range(2):
        wire.send(b"x" * WINDOW)
        states.append(wire.producerState)
        house.clock.advance(0.1)
        states.append(wire.producerState)
        house.clock.advance(1)
    assert states == ["paused", "producing"] * 2
    wire.send(b"x" * WINDOW)
    assert answered_after(house, wire) > 0.8


@pytest.mark.parametrize("chunked", [False, True])
def test_too_long(house: House, prefix: str, chunked: bool) -> None:  # noqa: FBT001  # both ways
    """A body that would take longer than the longest delay is refused."""
    wire = house.wire()
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 2000"
    head = f"POST {prefix}/delayed?delay=0&read=1 HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"
    wire.send(head.encode() + (b"7d0\r\n" + b"x" * 2000 if chunked else b""))
    assert b" 400 " in wire.received
    assert b'"parameter": "read"' in wire.received
    house.clock.advance(30)
    wire.leave()
    assert house.clock.getDelayedCalls() == []


@pytest.mark.parametrize("rate", ["0", "1025m", "fast", "", "1k&read=1k"])
def test_wrong(house: House, prefix: str, rate: str) -> None:
    """A wrong rate is refused as any parameter is."""
    wire = begun(house, f"{prefix}/delayed?delay=0&read={rate}", 1000)
    wire.send(b"x" * 1000)
    house.clock.advance(0)
    assert b" 400 " in wire.received
    assert b'"parameter": "read"' in wire.received


def test_client_that_leaves(house: House, prefix: str, style: str) -> None:
    """A client that leaves in the middle of its body is in the log."""
    with capturedLogs() as events:
        wire = begun(house, f"{prefix}/delayed?delay=0&read=1k", 4096)
        wire.send(b"x" * 2048)
        house.clock.advance(0.5)
        wire.leave()
    [access] = accesses(events)
    assert access[:5] == (style, "POST", f"{prefix}/delayed", "delay=0&read=1k", "left")
    assert events[0]["request_id"]
    assert house.clock.getDelayedCalls() == []


def test_pipelined(house: House, prefix: str) -> None:
    """A request behind a body with a rate is answered after that."""
    wire = begun(house, f"{prefix}/delayed?delay=0&read=1k", 1024)
    wire.send(b"x" * 1024 + f"GET {prefix}/delayed/0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    house.clock.advance(0.5)
    assert not wire.received
    for _ in range(7):
        house.clock.advance(0.1)
    assert re.findall(rb"HTTP/1.1 (\d+)", wire.received) == [b"200", b"200"]


def test_stock() -> None:
    """The stock stack refuses the parameter, and names the one that has it."""
    house = make_house("stock")
    for prefix in PREFIXES.values():
        wire = begun(house, f"{prefix}/delayed?delay=0&read=1k", 1)
        wire.send(b"x")
        assert b" 400 " in wire.received
        assert b"--stack tuned" in wire.received


@asynchronous
@pytest.mark.parametrize("target", ["/via/up/", "/via/up;read=400000/", "/as/held/"])
async def test_upload_to_an_upstream(prefix: str, target: str) -> None:
    """An upstream gets a body no faster than the rate, and in order."""
    rate, body = 400_000, bytes(range(256)) * 800
    async with both(scenarios={"held": f"upstream=up&delay=0&read={rate}"}) as (up, service):
        since = monotonic()
        fields = [f"PUT {prefix}{target} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}"]
        fields += [f"Latebin-Read: {rate}"] if target == "/via/up/" else []
        await send(service, "\r\n".join([*fields, "", ""]).encode() + body)
        peer, seen = await up.asked(), []

        def came() -> bool:
            data = peer.data.partition(b"\r\n\r\n")[2]
            seen.append((len(data), monotonic() - since))
            return len(data) == len(body)

        await until(came)
        assert peer.data.endswith(body)
    # However late a look at the bytes is, they took their time before it.
    assert [(size, at) for size, at in seen if size > rate * at] == []
    assert len({size for size, _ in seen}) > 2


@asynchronous
async def test_client_that_leaves_an_upload_to_an_upstream(prefix: str) -> None:
    """An upstream's request is given up when the client leaves its upload."""
    async with both() as (up, service):
        head = f"PUT {prefix}/via/up/ HTTP/1.1\r\nHost: a\r\nLatebin-Read: 10k\r\nContent-Length: 30000\r\n\r\n"
        client: Any = await send(service, head.encode() + b"x" * 20000)
        peer = await up.asked()
        client.transport.abortConnection()
        await until(lambda: peer.gone)


@asynchronous
async def test_large_upload(prefix: str) -> None:
    """A large body is taken no faster than the rate."""
    rate = 16 * MEGABYTE
    async with both() as (_, service):
        head = (
            f"POST {prefix}/delayed?read={rate} HTTP/1.1\r\nHost: a\r\n"
            f"Content-Length: {16 * MEGABYTE}\r\nConnection: close\r\n\r\n"
        )
        since = monotonic()
        client: Any = await send(service, head.encode())
        flood = Flood(client.transport, 16 * MEGABYTE)
        await until(lambda: b"Sorry" in client.data)
        assert flood.written == 16 * MEGABYTE
        assert monotonic() - since >= 1


@asynchronous
async def test_answer_before_an_upload(prefix: str) -> None:
    """The rest of a body comes at once when its request is answered before."""
    async with before(refusing_port()) as service:
        head = f"PUT {prefix}/via/up/ HTTP/1.1\r\nHost: a\r\nLatebin-Read: 100\r\nContent-Length: 30000\r\n\r\n"
        with capturedLogs() as events:
            client: Any = await send(service, head.encode() + b"x" * 30000)
            await until(lambda: b" 502 " in client.data)
            client.transport.write(f"GET {prefix}/delayed/0 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            await until(lambda: b"Sorry" in client.data)
        assert [event for event in events if "log_failure" in event] == []
