"""The work of one request in one turn, as calls: no timing decides."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.web.http_headers import Headers
from twisted.web.resource import getChildForRequest

from latebin.core.endpoints import PREFIXES
from latebin.core.plan import forecast
from latebin.core.scenarios import read
from latebin.core.settings import Settings
from latebin.site.factory import site
from latebin.site.state_control import MOST_ENDED
from tests.support.turns import TurnClock, calls, pieces
from tests.support.wire import Wire, make_house

MOST = 20_000
"""Calls that take a few milliseconds."""

MIX = f"mix({','.join(f'2%:{n}ms..{n}s' for n in range(1, 51))})"
"""A mix of many delays."""


@pytest.mark.parametrize("stack", ["tuned", "stock"])
@pytest.mark.parametrize("first", ["control", "raw", "raw/delayed", "raw/delayed/1ms", "raw/predict", "docs", ""])
def test_path_of_many_segments(stack: str, first: str) -> None:
    """A path is routed in a few steps when it has thousands of segments."""
    path = f"/{first}{'/' * 8000}".encode()
    request: Any = SimpleNamespace(path=path, uri=path, prepath=[], postpath=path[1:].split(b"/"))
    request.requestHeaders = Headers({"Host": ["localhost"]})
    root = make_house(stack).root
    assert calls(lambda: getChildForRequest(root, request)) < 500


def test_pieces_of_a_prediction() -> None:
    """A prediction is made in short pieces when its mix is large."""
    asked = forecast(f"delay={MIX}".encode(), Settings())
    counted, found = pieces(asked.predicting())
    assert max(counted) < MOST
    assert found == asked.predict()


@pytest.mark.parametrize("prefix", PREFIXES.values())
def test_long_prediction(prefix: str) -> None:
    """A prediction and its simulation wait for later turns when they take long."""
    house = make_house("tuned")
    wire = house.wire()
    for query in (f"delay={MIX}&rate=1", f"delay={MIX}&rate=2"):
        before = len(wire.received)
        wire.send(f"GET {prefix}/predict?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert len(wire.received) == before
        house.clock.advance(0)
        assert wire.received[before:].startswith(b"HTTP/1.1 200 ")
    wire.leave()


def test_pieces_of_a_scenario() -> None:
    """A scenario is described rule by rule when it has many."""
    rules = [{"path": f"/{n}", "delay": "mix(25%:1ms..2ms,25%:3ms..4ms,50%:5s)"} for n in range(100)]
    counted, found = pieces(read("a", {"rule": rules}, Settings()).describing(Settings()))
    assert max(counted) < MOST
    assert len(found["rules"]) == len(rules)


def test_many_are_ended() -> None:
    """A turn ends few answers when one request asks for the end of many."""
    clock = TurnClock()
    made = site(Settings(), clock)
    wires = [Wire(made, clock) for _ in range(3 * MOST_ENDED)]
    for wire in wires:
        wire.send(b"GET /delayed?delay=1m&key=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    asking = Wire(made, clock)
    ended = [0]

    def look() -> None:
        ended.append(sum(wire.received.startswith(b"HTTP/1.1 503 ") for wire in wires))

    asking.send(b"DELETE /control/pending?key=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    look()
    clock.turns(look)
    assert b'"ended": %d' % len(wires) in asking.received
    assert ended[-1] == len(wires)
    assert max(after - before for before, after in pairwise(ended)) == MOST_ENDED
    for wire in (*wires, asking):
        wire.leave()
