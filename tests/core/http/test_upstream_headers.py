import pytest

from latebin.core.http.upstream_headers import MAX_FORWARDS, asked_upgrade, end_to_end, forwards_left, trailers


def test_end_to_end() -> None:
    """A header is left out when it is one of one hop, or a parameter."""
    names = [b"Keep-Alive", b"X-Hop", b"Proxy-Connection", b"TE", b"Upgrade", b"Latebin-Delay", b"Etag", b"Trailer"]
    kept = end_to_end([(name, b"1") for name in names], [b"x-hop"], {b"etag"})
    assert list(kept) == [(b"Trailer", b"1")]


def test_trailers() -> None:
    """A trailer that belongs in front of the content is left out."""
    fields = [(b"X-Sum", b"1"), (b"Content-Length", b"1"), (b"Transfer-Encoding", b"x"), (b"Set-Cookie", b"a=1")]
    assert trailers(fields) == [(b"X-Sum", b"1")]


@pytest.mark.parametrize(
    ("connection", "upgrade", "expected"),
    [
        ([b"Upgrade"], [b"websocket"], b"websocket"),
        ([b"keep-alive, upgrade"], [b"WebSocket"], b"WebSocket"),
        ([b"keep-alive", b"Upgrade"], [b"a/1, h2c", b"b"], b"a/1, b"),
        ([b"Upgrade, HTTP2-Settings"], [b"h2c"], b""),
        ([b"keep-alive"], [b"websocket"], b""),
        ([], [b"websocket"], b""),
        ([b"Upgrade"], [], b""),
    ],
)
def test_asked_upgrade(connection: list[bytes], upgrade: list[bytes], expected: bytes) -> None:
    """An upgrade is asked for when Connection names it, and not to another HTTP."""
    assert asked_upgrade(connection, upgrade) == expected


@pytest.mark.parametrize(
    ("method", "values", "expected"),
    [
        (b"TRACE", [b"0"], 0),
        (b"OPTIONS", [b"007"], 7),
        (b"OPTIONS", [b"9" * 5000], MAX_FORWARDS),
        (b"OPTIONS", [b"9999999999"], MAX_FORWARDS),
        (b"GET", [b"0"], None),
        (b"TRACE", [], None),
        (b"TRACE", [b"-1"], None),
        (b"TRACE", [b"1", b"2"], None),
    ],
)
def test_forwards_left(method: bytes, values: list[bytes], expected: int | None) -> None:
    """Max-Forwards counts for OPTIONS and TRACE, and as one number."""
    assert forwards_left(method, values) == expected
