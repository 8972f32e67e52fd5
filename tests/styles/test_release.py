"""An answer that is let go before it is due, in both styles."""

import json

from latebin.compare.contract import comparable
from latebin.core.endpoints import PREFIXES
from latebin.core.http.reply import STOPPING
from tests.support.wire import House, Wire


def asked(house: House, style: str, query: str = "delay=1m") -> Wire:
    wire = house.wire()
    wire.send(f"GET {PREFIXES[style]}/delayed?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    house.clock.advance(1)
    return wire


def test_release(house: House, style: str) -> None:
    """An answer comes at once, as planned and measured, when it is released."""
    wire, other = asked(house, style), asked(house, style)
    house.service(style).pending.release(1)
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Server-Timing: delay;dur=2000.000, asked;dur=60000.000" in head
    assert body == b"<html><body>Sorry to keep you waiting.</body></html>"
    assert (other.received, len(house.service(style).pending)) == (b"", 1)
    house.clock.advance(60)


def test_end(house: House, style: str) -> None:
    """An answer is a refusal, at once, when it is ended."""
    wire = asked(house, style)
    house.service(style).pending.end(1, STOPPING)
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert json.loads(body)["detail"] == STOPPING.detail
    assert wire.connected
    assert len(house.service(style).pending) == 0


def test_same_bytes(house: House) -> None:
    """Both styles end an answer with the same bytes."""
    received = []
    for style in PREFIXES:
        wire = asked(house, style)
        house.service(style).pending.end(1, STOPPING)
        received.append(comparable(wire.received, style))
    assert received[0] == received[1]


def test_end_after_the_headers(house: House, style: str) -> None:
    """An answer is broken off when it is ended after its headers have left."""
    wire = asked(house, style, "delay=1m&at=body")
    assert wire.received.endswith(b"\r\n\r\n")
    before = len(wire.received)
    house.service(style).pending.end(1, STOPPING)
    house.clock.advance(0)
    assert (len(wire.received), wire.connected) == (before, False)
