import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latebin.core.http.upstream_response import (
    MAX_FIELDS,
    MAX_HEAD,
    MAX_INTERIM,
    End,
    Event,
    Head,
    ResponseError,
    ResponseParser,
)

OK = b"HTTP/1.1 200 OK\r\n"

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parsed(data: bytes, method: bytes = b"GET", *, end: bool = False) -> list[Event]:
    parser = ResponseParser(method)
    events = list(parser.feed(data)) if data else []
    return [*events, parser.end()] if end else events


@pytest.mark.parametrize(
    ("data", "method", "expected"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", b"GET", [b"hi", End()]),
        (OK + b"Content-Length: 2, 2\r\ncontent-length: 2\r\n\r\nhi", b"GET", [b"hi", End()]),
        (OK + b"Content-Length: 0\r\n\r\n", b"GET", [End()]),
        (OK + b"Content-Length: 2\r\n\r\n", b"HEAD", [End()]),
        (CHUNKED, b"HEAD", [End()]),
        (b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n", b"GET", [End()]),
        (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", b"GET", [End()]),
        (CHUNKED + b"2;a=b\r\nhi\r\n1 \r\n!\r\n0\r\n\r\n", b"GET", [b"hi!", End()]),
        (CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n", b"GET", [End(((b"X-Sum", b"1"),))]),
        (OK.replace(b"\r", b"") + b"Content-Length: 2\n\nhi", b"GET", [b"hi", End()]),
    ],
)
def test_whole(data: bytes, method: bytes, expected: list[Event]) -> None:
    """A response ends as its framing says, also when its bytes come one by one."""
    parser = ResponseParser(method)
    assert list(parser.feed(data))[1:] == expected
    assert parser.reusable
    slow = ResponseParser(method)
    events = [event for byte in data for event in slow.feed(bytes([byte]))]
    assert b"".join(event for event in events if isinstance(event, bytes)) == b"".join(
        event for event in expected if isinstance(event, bytes)
    )
    assert events[-1] == expected[-1]


def test_head() -> None:
    """Any status, any reason and any header of 60 kB is taken."""
    value = b"x" * 60_000
    [head] = parsed(b"HTTP/1.0 999 Not \xfc so\r\nX-Long: \t" + value + b" \r\nx-Empty:\r\nSet-Cookie: a\r\n\r\n")
    fields = (b"X-Long", value), (b"x-Empty", b""), (b"Set-Cookie", b"a")
    assert head == Head(0, 999, b"Not \xfc so", fields)


@pytest.mark.parametrize("lengths", [b"Content-Length: 2, 2", b"content-length: 2\r\nContent-Length: 2"])
def test_one_length(lengths: bytes) -> None:
    """A length that is given several times is one header."""
    head = parsed(OK + b"A: b\r\n" + lengths + b"\r\nC: d\r\n\r\n")[0]
    assert isinstance(head, Head)
    assert head.fields == ((b"A", b"b"), (b"C", b"d"), (b"Content-Length", b"2"))


def test_interim() -> None:
    """Interim responses come before the final one, and a 101 is the last."""
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 101 Switching\r\n\r\n\x81\x00"
    parser = ResponseParser(b"GET")
    events = list(parser.feed(data))
    assert [event.status for event in events if isinstance(event, Head)] == [100, 103, 101]
    assert parser.rest() == b"\x81\x00"


def test_unframed() -> None:
    """A response without framing ends with its connection, which is not reused."""
    parser = ResponseParser(b"GET")
    events = list(parser.feed(b"HTTP/1.0 200 OK\r\n\r\nold"))
    assert [*events[1:], parser.end()] == [b"old", End()]
    assert not parser.reusable


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Connection: Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 0\r\n\r\nsurplus",
    ],
)
def test_last(data: bytes) -> None:
    """A connection is not reused after its last answer, or when more bytes follow."""
    parser = ResponseParser(b"GET")
    assert isinstance(list(parser.feed(data))[-1], End)
    assert not parser.reusable


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH", "does not speak HTTP/1"),
        (b"HTTP/2 200 OK\r\n", "does not speak HTTP/1"),
        (b"HTTP/1.1 99 Odd\r\n", "status line"),
        (b"HTTP/1.1 1000 Odd\r\n", "status line"),
        (b"HTTP/1.1 200 O\x00K\r\n", "status line"),
        (OK + b"A: a\x00b\r\n", "control character"),
        (OK + b"A: a\rb\r\n", "control character"),
        (OK + b"A: a\r\n b\r\n", "folded"),
        (OK + b"A b: a\r\n", "name of one of its headers"),
        (OK + b"A : a\r\n", "name of one of its headers"),
        (OK + b": a\r\n", "name of one of its headers"),
        (OK + b"no header\r\n", "name of one of its headers"),
        (OK + b"A: " + b"x" * MAX_HEAD, "headers are too large"),
        (OK + b"A: b\r\n" * (MAX_FIELDS + 1), "more than 500 headers"),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "differ"),
        (OK + b"Content-Length: 1, 2\r\n\r\n", "differ"),
        (OK + b"Content-Length: -1\r\n\r\n", "Content-Length is malformed"),
        (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "transfer coding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer coding"),
        (CHUNKED + b"x\r\n", "chunk of its body"),
        (CHUNKED + b"1\r\nab\r\n", "chunk of its body"),
        (CHUNKED + b"-1\r\n", "chunk of its body"),
        (CHUNKED + b"1;" + b"a" * 5000, "chunk line is too long"),
        (CHUNKED + b"0\r\nA: \x00\r\n", "control character"),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * (MAX_FIELDS + 1), "more than 500 trailers"),
        (b"HTTP/1.1 103 Early\r\n\r\n" * (MAX_INTERIM + 1), "interim answers"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    """A response that cannot be passed on is refused with the reason."""
    with pytest.raises(ResponseError, match=reason):
        parsed(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "before its answer"),
        (b"HTTP/1.1 2", "middle of its headers"),
        (b"HTTP/1.1 103 Early\r\n\r\n", "middle of its headers"),
        (OK + b"Content-Length: 2\r\n\r\nh", "middle of its body"),
        (CHUNKED + b"1\r\na", "middle of its body"),
        (CHUNKED + b"0\r\n", "middle of its body"),
    ],
)
def test_broken_off(data: bytes, reason: str) -> None:
    """A response that its connection ends too early is refused with the place."""
    with pytest.raises(ResponseError, match=reason):
        parsed(data, end=True)


def test_bounded() -> None:
    """Endless headers are refused before they are kept."""
    parser = ResponseParser(b"GET")
    list(parser.feed(OK))
    with pytest.raises(ResponseError):  # noqa: PT012  # any of the pieces may be the one
        for _ in range(100):
            list(parser.feed(b"A: " + b"x" * 8000 + b"\r\n"))


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.data())
def test_chunks(pieces: list[bytes], data: st.DataObject) -> None:
    """A chunked body is the same with all sizes of chunks and of reads."""
    raw = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    parser, body, at = ResponseParser(b"GET"), b"", 0
    events: list[Event] = []
    while at < len(raw):
        step = data.draw(st.integers(1, 40))
        events += parser.feed(raw[at : at + step])
        at += step
    body = b"".join(event for event in events if isinstance(event, bytes))
    assert (body, events[-1], parser.reusable) == (b"".join(pieces), End(), True)
