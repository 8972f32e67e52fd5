from collections.abc import Callable, Iterator
from itertools import pairwise

import attrs
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame
from twisted.internet.task import Clock

from latebin.answers.service import Service
from latebin.core.settings import Settings
from latebin.overrides.http2 import FRAMES
from latebin.overrides.http2_frames import BLOCK
from latebin.site.factory import make_site
from latebin.site.root import Root
from latebin.timing.budget import PIECES, TurnBudget
from tests.overrides.test_http2 import Line
from tests.overrides.test_http2_conformance import (
    GET,
    PING,
    POST,
    START,
    Peer,
    continuation,
    data,
    headers,
    priority,
    raw,
    reset,
    settings,
    window,
)
from tests.support.turns import TurnClock, calls
from tests.support.wire import make_house

MOST = (PIECES + 1) * FRAMES
"""Frames that a turn takes in."""

FLOODS: dict[str, Callable[[int], bytes]] = {
    "settings": lambda number: settings((SettingsFrame.INITIAL_WINDOW_SIZE, 65535)) * number,
    "ping": lambda number: PING * number,
    "priority": lambda number: priority(1) * number,
    "window": lambda number: window(1) * number,
    "window of a stream": lambda number: headers(POST, end=False) + window(1, 1) * number,
    "empty data": lambda number: headers(POST, end=False) + data(b"", end=False) * number,
    "data": lambda number: headers(POST, end=False) + data(b"x", end=False) * number,
    "resets": lambda number: b"".join(headers(stream=n) + reset(n) for n in range(1, number, 2)),
    "continuation": lambda number: b"".join(fragments(n) for n in range(1, number // 10, 2)),
    "unknown": lambda number: raw(0xEE, 0, 0, b"") * number,
}
"""By name: frames of one connection, about as many as asked for."""


def fragments(stream: int) -> bytes:
    whole = headers(stream=stream)
    parts = [continuation(bytes([each]), stream, whole=False) for each in whole[10:-1]]
    return raw(1, 1, stream, whole[9:10]) + b"".join(parts) + continuation(whole[-1:], stream)


@attrs.define
class Turns:
    """A connection to a service whose turns are made one by one."""

    clock: TurnClock
    peer: Peer

    def answered(self) -> int:
        self.peer.send(b"")
        return len(self.peer.statuses)

    @property
    def waits(self) -> bool:
        return bool(self.peer.line.producerState == "paused")


def make() -> Turns:
    clock, chosen = TurnClock(), Settings()
    budget = TurnBudget(clock)
    klein, resource = (Service(clock, chosen, budget=budget) for _ in range(2))
    root = Root(klein, resource, chosen)
    turns = Turns(clock, Peer(Line(make_site(root, clock, chosen, Clock()), clock), Clock()))
    turns.peer.send(START)
    clock.turns()
    return turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = make()
    yield turns
    turns.peer.line.leave()
    turns.clock.turns()
    assert turns.clock.getDelayedCalls() == [], "a timer outlived the connection it was for"


def test_requests(turns: Turns) -> None:
    """A turn takes in a bounded number of requests when a hundred come at once."""
    seen = [0]
    turns.peer.send(b"".join(headers(GET, stream) for stream in range(1, 200, 2)))
    seen.append(turns.answered())
    assert turns.waits
    turns.clock.turns(lambda: seen.append(turns.answered()))
    assert max(after - before for before, after in pairwise(seen)) <= MOST
    assert turns.peer.statuses == dict.fromkeys(range(1, 200, 2), "200")
    assert not turns.waits


@pytest.mark.parametrize("flood", FLOODS)
def test_floods(flood: str) -> None:
    """Calls are bounded for a turn, and grow linearly, when frames flood."""
    FLOODS[flood](100)

    def work(number: int) -> list[int]:
        turns = make()
        sent = FLOODS[flood](number)
        made = [calls(lambda: turns.peer.line.send(sent))]
        while any(call.getTime() <= 0 for call in turns.clock.calls):
            made.append(calls(turns.clock.turn))
        turns.peer.line.leave()
        return made

    # A header block in many frames is one piece of work, so that several of them have to make the turns.
    number = 800 if flood == "continuation" else 300
    once, twice = work(number), work(2 * number)
    assert max(*once, *twice) < (80_000 if flood == "continuation" else sum(twice) / 6)
    assert sum(twice) < 2.3 * sum(once)


def test_in_order(turns: Turns) -> None:
    """Frames are taken in as they came when more come while some wait."""
    for number in range(500):
        turns.peer.send(raw(6, 0, 0, number.to_bytes(8, "big")))
    turns.clock.turns()
    turns.peer.send(b"")
    assert [int.from_bytes(ping.opaque_data, "big") for ping in turns.peer.of(PingFrame)] == list(range(500))


def test_leaves(turns: Turns) -> None:
    """No turn is waited for when the client leaves while its frames wait."""
    turns.peer.send(PING * 5000)
    turns.peer.line.leave()
    turns.clock.turns()
    assert turns.clock.getDelayedCalls() == []


def test_error_in_a_later_turn(turns: Turns) -> None:
    """The connection ends with the right code when a later frame is malformed."""
    turns.peer.send(PING * 500 + raw(6, 0, 1, bytes(8)) + PING * 500)
    turns.clock.turns()
    turns.peer.send(b"")
    assert turns.peer.of(GoAwayFrame)[0].error_code == ErrorCodes.PROTOCOL_ERROR
    assert len(turns.peer.of(PingFrame)) == 500


def test_failure_in_a_later_turn(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends alone when a later frame raises."""
    turns.peer.send(PING * 500)
    monkeypatch.setattr(turns.peer.line.protocol._channel, "_send", lambda: 1 / 0)
    turns.clock.turns()
    assert not turns.peer.line.connected


@pytest.mark.parametrize(
    "block",
    [b"\x20" * 3, b"\x3f\x80\x80\x00" * 4, b"\x82" * (BLOCK + 1)],
    ids=["updates", "long updates", "long block"],
)
def test_costly_block(turns: Turns, block: bytes) -> None:
    """A header block that takes long to decompress ends the connection, undecoded."""
    turns.peer.send(raw(1, 1, 1, block[:100]) + continuation(block[100:]))
    assert turns.peer.of(GoAwayFrame)[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM


def test_long_block_of_small_frames(every_stack: str) -> None:
    """A header block in many frames ends the connection when it is too large."""
    house = make_house(every_stack)
    peer = Peer(Line(house.site, house.clock), house.clock)
    many = raw(1, 1, 1, b"\x82" * 100) + continuation(b"\x82" * 4000, whole=False) * 3
    peer.send(START + many)
    assert peer.line.connected
    peer.send(continuation(b"\x82" * 4285, whole=False) + continuation(b"\x82" * 4000))
    assert not peer.line.connected
    assert b'latebin_connection_errors_total{cause="client"} 1.0' in house.root.metrics.page().body
    house.clock.pump([0, 0])


def test_two_updates(turns: Turns) -> None:
    """A header block may begin with two updates of the table's size."""
    turns.peer.send(headers(head=b"\x20\x3f\xe1\x1f"))
    turns.clock.turns()
    assert turns.answered() == 1


def test_unknown_settings(turns: Turns) -> None:
    """Unknown settings are forgotten: thousands of them make no later frame cost more."""
    plain = calls(lambda: turns.peer.line.send(settings((4, 65535))))
    for start in range(1000, 11_000, 1000):
        turns.peer.send(settings(*((code, 1) for code in range(start, start + 1000))))
    turns.clock.turns()
    assert calls(lambda: turns.peer.line.send(settings((4, 65535)))) <= plain
    turns.peer.send(b"")
    assert sum("ACK" in frame.flags for frame in turns.peer.of(SettingsFrame)) == 13


def test_small_frames_of_a_held_body(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A held body is one piece, also of thousands of frames."""
    pieces: list[bytes] = []
    turns.peer.send(headers(POST, end=False))
    stream = turns.peer.line.protocol._channel.streams[1]
    stream.pauseProducing()
    turns.peer.send(data(b"x", end=False) * 10_000 + data(b"y"))
    turns.clock.turns()
    assert stream.waiting() == 10_001
    assert len(stream._inboundDataBuffer) == 2
    monkeypatch.setattr(stream.request, "handleContentChunk", pieces.append)
    stream.resumeProducing()
    assert list(map(len, pieces)) == [10_001]
    turns.clock.turns()
    turns.peer.send(b"")
    assert [frame.stream_id for frame in turns.peer.of(HeadersFrame)] == [1]
    assert turns.peer.of(DataFrame)
