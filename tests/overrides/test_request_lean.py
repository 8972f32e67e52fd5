from typing import Any

import pytest
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from latebin.overrides import request as overrides
from latebin.overrides.request import SPELT
from tests.support.wire import House


class Plain(Resource):
    """A resource without a status of its own, which uses Twisted's request as usual."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def render_GET(self, request: Any) -> int:
        self.asked.append(request.args)
        request.setHeader(b"content-TYPE", b"text/plain\r\nX-Evil: 1")
        request.setHeader("Server-Timing", "a\nb")
        request.setHeader(b"Cache-Control", b"no-store\r\nX-Evil: 2")
        request.write(b"plain")
        request.finish()
        return NOT_DONE_YET

    def render_DELETE(self, request: Any) -> bytes:
        request.setHeader(b"Date", b"Sun, 09 Sep 2001 01:47:40 GMT")
        return b""

    def render_POST(self, request: Any) -> bytes:
        raise ZeroDivisionError


@pytest.fixture
def plain(house: House) -> Plain:
    resource = Plain()
    house.root.putChild(b"plain", resource)
    return resource


def test_date(house: House, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """An answer has the date of its own beginning, after any delay."""
    monkeypatch.setattr(overrides, "time", lambda: 1e9 + house.clock.seconds())
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


@pytest.mark.parametrize("name", sorted(SPELT))
def test_spelt(name: bytes) -> None:
    """A name counts as spelt when Twisted would spell it like that."""
    headers = Headers()
    headers.setRawHeaders(name.lower(), [b"value"])
    assert list(headers.getAllRawHeaders()) == [(name, [b"value"])]


def test_introduced(house: House, plain: Plain) -> None:
    """An answer has a status and the common headers when its resource sets none."""
    wire = house.wire()
    wire.send(b"GET /plain HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n")
    head, _, body = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert [head.count(name) for name in (b"\r\nServer: ", b"\r\nDate: ", b"\r\nX-Request-Id: mine")] == [1, 1, 1]
    assert body == b"5\r\nplain\r\n0\r\n\r\n"


def test_introduced_with_a_date_of_its_own(house: House, plain: Plain) -> None:
    """An answer has the common headers when its resource sets only the date."""
    wire = house.wire()
    wire.send(b"DELETE /plain HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n")
    assert b"\r\nX-Request-Id: mine\r\n" in wire.received
    assert b"\r\nServer: " in wire.received


def test_no_header_is_split(house: House, plain: Plain) -> None:
    """A value of several lines is folded into one, as Twisted does it."""
    wire = house.wire()
    wire.send(b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"\r\nContent-Type: text/plain X-Evil: 1\r\n" in wire.received
    assert b"\r\nServer-Timing: a b\r\n" in wire.received
    assert b"\r\nCache-Control: no-store X-Evil: 2\r\n" in wire.received


def test_args(house: House, plain: Plain) -> None:
    """A resource has the arguments of the query when it reads them."""
    house.wire().send(b"GET /plain?a=1&b=%20&a=2&c= HTTP/1.1\r\nHost: a\r\n\r\n")
    assert plain.asked == [{b"a": [b"1", b"2"], b"b": [b" "], b"c": [b""]}]


def test_what_raises_is_answered(house: House, plain: Plain) -> None:
    """A resource that raises is a 500, and the connection goes on."""
    wire = house.wire()
    wire.send(b"POST /plain HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.received.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"ZeroDivisionError" not in wire.received


def test_star(house: House) -> None:
    """`OPTIONS *` is about the whole server, and other methods of `*` are refused."""
    wire = house.wire()
    wire.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    wire.send(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 405 Method Not Allowed\r\n" in wire.received
