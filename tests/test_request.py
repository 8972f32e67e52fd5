import pytest

from app import request
from app.contract import PREFIXES
from tests.conftest import House


def test_date(house: House, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """An answer has the date of its own beginning, however long ago it was asked for."""
    monkeypatch.setattr(request, "time", lambda: 1e9 + house.clock.seconds())
    wire = house.wire()
    wire.send(f"GET {prefix}/delayed/1m HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    house.clock.advance(60)
    assert b"\r\nDate: Sun, 09 Sep 2001 01:47:40 GMT\r\n" in wire.received


@pytest.mark.parametrize(
    ("status", "phrase"),
    [(429, b"Too Many Requests"), (408, b"Request Timeout"), (431, b"Request Header Fields Too Large")],
)
def test_phrase(house: House, prefix: str, status: int, phrase: bytes) -> None:
    """A status has the phrase of its RFC, those that Twisted does not know too."""
    wire = house.wire()
    wire.send(f"GET {prefix}/delayed/0?status={status} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    house.clock.advance(0)
    assert wire.received.startswith(b"HTTP/1.1 %d %b\r\n" % (status, phrase))


def test_room(house: House) -> None:
    """A connection whose requests are as they should be has no attribute for those that are not."""
    wire = house.wire()
    for prefix in PREFIXES.values():
        wire.send(f"GET {prefix}/delayed/0 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        house.clock.advance(0)
    assert not {"_missing", "_answered", "_came", "_lingering", "_deaf", "_held"} & vars(wire.protocol._channel).keys()
