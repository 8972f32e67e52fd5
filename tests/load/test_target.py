"""A request has the bytes of its URL."""

import pytest

from latebin.load.schedule import RunError
from latebin.load.target import parse


@pytest.mark.parametrize(
    ("url", "delay", "host", "port", "line"),
    [
        ("http://localhost", 5, "localhost", 80, b"GET / HTTP/1.1"),
        ("http://127.0.0.1:8080/delayed?delay=5s", 1, "127.0.0.1", 8080, b"GET /delayed?delay=5s HTTP/1.1"),
        ("http://h/delay/{delay}", 5, "h", 80, b"GET /delay/5 HTTP/1.1"),
        ("http://h/?delay={delay}&x={delay}", 0.25, "h", 80, b"GET /?delay=0.25&x=0.25 HTTP/1.1"),
        ("http://h/?delay={delay}", 0.00001, "h", 80, b"GET /?delay=0.00001 HTTP/1.1"),
        ("http://[::1]:81/a%20b#c", 5, "::1", 81, b"GET /a%20b HTTP/1.1"),
        ("http://h?q", 5, "h", 80, b"GET /?q HTTP/1.1"),
        ("http://h/a b", 5, "h", 80, b"GET /a%20b HTTP/1.1"),
    ],
)
def test_a_url_is_sent_as_it_is_except_the_placeholder(
    url: str, delay: float, host: str, port: int, line: bytes
) -> None:
    """`parse` replaces `{delay}` by plain seconds, and changes nothing else."""
    target = parse(url, delay)
    assert (target.host, target.port) == (host, port)
    assert target.request(keep=True).split(b"\r\n")[0] == line


@pytest.mark.parametrize(("keep", "option"), [(True, b"keep-alive"), (False, b"close")])
def test_a_request_says_whether_the_connection_is_kept(keep: bool, option: bytes) -> None:  # noqa: FBT001 - parametrized
    """A request has the URL's host, and keep-alive when its connection is kept, otherwise close."""
    request = parse("http://Host:8080/", 1).request(keep=keep)
    assert b"\r\nHost: Host:8080\r\n" in request
    assert request.endswith(b"\r\nConnection: " + option + b"\r\n\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/",
        "h:80/x",
        "",
        "http://",
        "http://h:x/",
        "http://h:99999/",
        "http://u:p@h/",
        "http://h/\u00e9",
        "http://[h/",
        "http://a..b/",
        f"http://{'a' * 64}/",
    ],
)
def test_an_invalid_url_is_refused(url: str) -> None:
    """`parse` raises RunError when a URL is invalid, or has a password."""
    with pytest.raises(RunError):
        parse(url, 1)


def test_a_url_cannot_bring_in_a_header() -> None:
    """A request has no further header when the URL has line ends in it."""
    assert b"\r\nX-Evil" not in parse("http://h/\r\nX-Evil: 1", 1).request(keep=True)
