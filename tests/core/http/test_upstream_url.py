import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.upstream_url import mounted, origin, parse, streams, target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api=http://127.0.0.1:9000", ("api", "http://127.0.0.1:9000")),
        ("a-b_c.1=https://shop.example/v2/", ("a-b_c.1", "https://shop.example/v2")),
        ("six=http://[::1]:80/", ("six", "http://[::1]:80")),
        ("x=http://under_score/a%20b/c;d=1", ("x", "http://under_score/a%20b/c;d=1")),
        ("x=http://-a--b-.example.:80", ("x", "http://-a--b-.example.:80")),
        (f"x=http://{'l' * 70}", ("x", f"http://{'l' * 70}")),
        ("x=http://[fe80::1%25eth0]:80", ("x", "http://[fe80::1%25eth0]:80")),
        ("x=http://Hö.example/a", ("x", "http://xn--h-1ga.example/a")),
        ("x=unix:/run/app.sock", ("x", "http+unix://%2Frun%2Fapp.sock")),
    ],
)
def test_parse(text: str, expected: tuple[str, str]) -> None:
    """An upstream is a name and an absolute URL, with or without a path."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://127.0.0.1",
        "=http://127.0.0.1",
        "a/b=http://127.0.0.1",
        "a b=http://127.0.0.1",
        "a=",
        "a=127.0.0.1:9000",
        "a=//127.0.0.1",
        "a=ftp://127.0.0.1",
        "a=http://",
        "a=http:///path",
        "a=http://user@host",
        "a=http://user:word@host",
        "a=http://host?query",
        "a=http://host/#fragment",
        "a=http://host:0",
        "a=http://host:65536",
        "a=http://host:port",
        "a=http://host//path",
        "a=http://host/a/../b",
        "a=http://host/%2e%2e/b",
        "a=http://host/a b",
        "a=http://host/%zz",
        "a=http://host\r\n",
        "a=http://[::1%25]",
        "a=unix:app.sock",
        "a=unix:/",
    ],
)
def test_parse_refuses(text: str) -> None:
    """Other text is refused with an example of an upstream."""
    with pytest.raises(ValueError, match="expected NAME=URL such as"):
        parse(text)


def test_parse_refuses_no_domain() -> None:
    """A host is refused with the reason when it cannot be a domain name."""
    with pytest.raises(ValueError, match="not a domain name"):
        parse("a=http://☃️‍.example")
    with pytest.raises(ValueError, match="at most 255"):
        parse(f"a=http://{'l' * 256}")


@pytest.mark.parametrize(
    ("base", "authority", "host", "port"),
    [
        ("http://a_b/c", b"a_b", "a_b", 80),
        ("https://a.", b"a.", "a.", 443),
        ("http://[::1]:8080", b"[::1]:8080", "::1", 8080),
        ("http://[fe80::1%25lo]:80", b"[fe80::1]:80", "fe80::1%lo", 80),
        ("http+unix://%2Frun%2Fapp.sock", b"localhost", "localhost", 80),
    ],
)
def test_origin(base: str, authority: bytes, host: str, port: int) -> None:
    """A server has a Host for its requests, a name or address, and a port."""
    found = origin(base)
    assert (found.authority, found.host, found.port) == (authority, host, port)
    assert found.secure == base.startswith("https")
    assert found.socket == ("/run/app.sock" if "unix" in base else "")


@pytest.mark.parametrize(
    ("base", "uri", "expected"),
    [
        ("http://h:1", b"/via/a", b"/"),
        ("http://h:1", b"/via/a/", b"/"),
        ("http://h:1", b"/raw/via/a/b?c=%2F&d", b"/b?c=%2F&d"),
        ("http://h:1", b"/via/a?", b"/?"),
        ("http://h:1/v2", b"/via/a", b"/v2"),
        ("http://h:1/v2", b"/via/a/", b"/v2/"),
        ("http://h:1/v2", b"/%76ia/a/via/b%2fc%20/%FF;x", b"/v2/via/b%2fc%20/%FF;x"),
        ("http://h:1", b"/via/a//evil.example/", b"//evil.example/"),
        ("http://h:1", b"/via/a/@evil.example:80/", b"/@evil.example:80/"),
        ("http://h:1", b"/via/a/%0d%0aHost:%20evil", b"/%0d%0aHost:%20evil"),
        ("http://h:1", b"/via/a/..b/c../...?../..", b"/..b/c../...?../.."),
    ],
)
def test_target(base: str, uri: bytes, expected: bytes) -> None:
    """The rest of the path follows the upstream's URL, with its escapes unchanged."""
    assert target(base, uri, mounted(uri, b"via")) == expected


@pytest.mark.parametrize(
    "rest",
    [b"/..", b"/b/../c", b"/%2e%2e/c", b"/.%2E", b"/b%2f..%2fc", b"/..;/c", b"/..%5cc", b"/b#c", b"/\x85", b"?#"],
)
def test_target_refuses(rest: bytes) -> None:
    """A rest is refused when it climbs out of the upstream's path or is malformed."""
    with pytest.raises(ValueError, match=r"expected (a path without \.\.|visible ASCII)"):
        target("http://h:1/v2", b"/via/a" + rest, 2)


@given(st.binary())
def test_target_stays(rest: bytes) -> None:
    """The target is all of the rest, and nothing else, when it is passed on."""
    uri = b"/via/a/" + rest
    try:
        assert target("http://h:1", uri, 2) == b"/" + rest
    except ValueError:
        assert b"#" in rest or b"." in rest or b"%" in rest or any(not 32 < byte < 127 for byte in rest)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (b"/via/a", True),
        (b"/raw/via/a/b", True),
        (b"/%76ia/a", True),
        (b"/r%61w/via", True),
        (b"/delayed/via", False),
        (b"/via2/a", False),
        (b"/?/via/a", False),
        (b"/raw", False),
        (b"*", False),
    ],
)
def test_streams(uri: bytes, expected: bool) -> None:  # noqa: FBT001  # one column of the table
    """A body is streamed when its request is passed on, however the path is encoded."""
    assert streams(uri) is expected
