"""What is sent is what the URL says, to the byte."""

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
def test_a_url_is_sent_as_it_is_but_for_the_placeholder(
    url: str, delay: float, host: str, port: int, line: bytes
) -> None:
    """`{delay}` becomes plain seconds; nothing else is changed or added."""
    target = parse(url, delay)
    assert (target.host, target.port) == (host, port)
    assert target.request(keep=True).split(b"\r\n")[0] == line


@pytest.mark.parametrize(("keep", "option"), [(True, b"keep-alive"), (False, b"close")])
def test_a_request_says_whether_the_connection_is_kept(keep: bool, option: bytes) -> None:  # noqa: FBT001 - parametrized
    """The head is whole, names the host as the URL does, and says what becomes of the connection."""
    request = parse("http://Host:8080/", 1).request(keep=keep)
    assert b"\r\nHost: Host:8080\r\n" in request
    assert request.endswith(b"\r\nConnection: " + option + b"\r\n\r\n")


@pytest.mark.parametrize(
    "url",
    [
        "https://h/",
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
def test_a_url_that_cannot_be_sent_to_is_refused(url: str) -> None:
    """TLS, other schemes, passwords, no host, or a host or a port that is none are refused before anything is sent."""
    with pytest.raises(RunError):
        parse(url, 1)


def test_a_url_cannot_bring_in_a_header() -> None:
    """Line ends in a URL never reach the request."""
    assert b"\r\nX-Evil" not in parse("http://h/\r\nX-Evil: 1", 1).request(keep=True)
