from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from latebin.answers.throttle import Throttle
from tests.support.sockets import asynchronous, until
from tests.support.upstream import ask, both


def throttled(rate: int) -> tuple[Throttle, Clock, list[bytes], list[float]]:
    clock, written, drained = Clock(), [], []  # type: tuple[Clock, list[bytes], list[float]]
    throttle = Throttle(rate, clock, written.append, lambda: drained.append(clock.seconds()))
    return throttle, clock, written, drained


def test_even() -> None:
    """Bytes leave in tenths of a second, and the last piece takes its own time."""
    throttle, clock, written, drained = throttled(100)
    throttle.take(b"x" * 25)
    counts = []
    for _ in range(6):
        clock.advance(0.05)
        counts.append(len(b"".join(written)))
    assert counts == [0, 10, 10, 20, 25, 25]
    assert drained == [pytest.approx(0.25)]


def test_pause() -> None:
    """Nothing leaves while the client does not read."""
    throttle, clock, written, _ = throttled(100)
    throttle.pause()
    throttle.take(b"x" * 10)
    clock.advance(9)
    assert not written
    throttle.resume()
    clock.advance(0.1)
    assert written == [b"x" * 10]


def test_pause_in_a_piece() -> None:
    """A piece that is under way waits, too, and takes its time anew."""
    throttle, clock, written, _ = throttled(100)
    throttle.take(b"x" * 10)
    clock.advance(0.05)
    throttle.pause()
    clock.advance(9)
    assert not written
    throttle.resume()
    clock.advance(0.09)
    assert not written
    clock.advance(0.02)
    assert written == [b"x" * 10]


def test_late_reactor() -> None:
    """A timer that is late makes no later piece late."""
    throttle, clock, written, _ = throttled(100)
    throttle.take(b"x" * 100)
    clock.advance(0.55)
    assert len(b"".join(written)) == 50
    clock.advance(0.06)
    assert len(b"".join(written)) == 60


def test_stop() -> None:
    """A throttle that is stopped drops what waits, and leaves no timer."""
    throttle, clock, _, _ = throttled(1)
    throttle.take(b"xy")
    throttle.stop()
    assert not throttle
    assert clock.getDelayedCalls() == []


@given(st.integers(1, 1000), st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=5))
def test_time(rate: int, pieces: list[bytes]) -> None:
    """All bytes leave, in order, after as many seconds as they take at the rate."""
    throttle, clock, written, drained = throttled(rate)
    data = b"".join(pieces)
    for piece in pieces:
        throttle.take(piece)
    while throttle:
        [call] = clock.getDelayedCalls()
        clock.advance(call.getTime() - clock.seconds())
    assert b"".join(written) == data
    assert drained == [pytest.approx(len(data) / rate)]


@asynchronous
async def test_upstream(prefix: str) -> None:
    """The answer of an upstream has a rate, to its last byte."""
    async with both() as (up, service):
        client = await ask(service, f"{prefix}/via/up/", "Latebin-Rate: 100k", "Connection: close")
        body = bytes(range(256)) * 100
        (await up.asked()).transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 25600\r\n\r\n" + body)
        await until(lambda: client.data.endswith(body))


@asynchronous
@pytest.mark.parametrize("fault", ["truncate", "reset", "close"])
@pytest.mark.parametrize("rate", ["", "Latebin-Rate: 10k"])
async def test_fault_in_the_middle(prefix: str, fault: str, rate: str) -> None:
    """A fault with a place ends the answer of an upstream at this place."""
    async with both() as (up, service):
        headers = [f"Latebin-Fault: {fault}@1k", *([rate] if rate else [])]
        client: Any = await ask(service, f"{prefix}/via/up/", *headers)
        peer = await up.asked()
        peer.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n" + b"x" * 4096)
        await until(lambda: not client.transport.connected)
        assert client.data.partition(b"\r\n\r\n")[2] == b"x" * 1024
