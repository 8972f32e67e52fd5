from typing import Any

import pytest
from twisted.web.http import HTTPChannel

from latebin.core.settings import STACKS
from latebin.overrides.channel_head import HeadChannel
from tests.support.tls_wire import TLSWire
from tests.support.wire import Wire, make_house

# Twisted hands the certificate of an endpoint to pyOpenSSL in a form that is to be given up.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("kind", [Wire, TLSWire])
@pytest.mark.parametrize("place", ["lineReceived", "allContentReceived", "connectionLost"])
def test_exception(stack: str, kind: Any, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception ends its connection on each stack when bytes cause it."""
    house = make_house(stack)
    wire = kind(house.site, house.clock)

    def throw(*_: object) -> None:
        raise RuntimeError

    own = stack == "tuned" and place == "lineReceived"
    monkeypatch.setattr(HeadChannel if own else HTTPChannel, place, throw)
    request = b"GET /delayed/1m HTTP/1.1\r\nHost: a\r\n\r\n"
    if place == "connectionLost":
        wire.leave()
    elif kind is Wire:
        wire.send(request)
    else:
        wire.say(request, request)
    house.clock.advance(0)
    monkeypatch.undo()
    assert not wire.connected
    assert house.root.connections.end().called
