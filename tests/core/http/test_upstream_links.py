import pytest

from latebin.core.http.upstream_links import Links
from latebin.core.http.upstream_url import base_path, origin

BASE = "http://up.example:9000/v2"

BELOW = Links(origin(BASE), base_path(BASE), b"/via/api")

WHOLE = Links(origin("http://up.example"), b"", b"")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"http://up.example:9000/v2/x?y#z", b"/via/api/x?y#z"),
        (b"HTTP://UP.example:9000/v2/x", b"/via/api/x"),
        (b"//up.example:9000/v2/x", b"/via/api/x"),
        (b"/v2/x", b"/via/api/x"),
        (b"/v2", b"/via/api/"),
        (b"/v2?x", b"/via/api/?x"),
        (b"/v22/x", b"http://up.example:9000/v22/x"),
        (b"/", b"http://up.example:9000/"),
        (b"x/y", b"x/y"),
        (b"../x", b"../x"),
        (b"?q", b"?q"),
        (b"", b""),
        (b"https://up.example:9000/v2/x", b"https://up.example:9000/v2/x"),
        (b"http://up.example/v2/x", b"http://up.example/v2/x"),
        (b"http://elsewhere.example/v2/x", b"http://elsewhere.example/v2/x"),
        (b"http://up.example:9000@evil.example/v2/", b"http://up.example:9000@evil.example/v2/"),
        (b"mailto:a@up.example", b"mailto:a@up.example"),
    ],
)
def test_reference(given: bytes, expected: bytes) -> None:
    """A reference to the upstream becomes a path below the mount, and another stays."""
    assert BELOW.header(b"Location", given) == expected
    assert BELOW.header(b"Content-Location", given) == expected
    assert BELOW.header(b"X-Location", given) == given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"http://up.example:80/x", b"/x"),
        (b"http://up.example", b"/"),
        (b"http://up.example?x", b"/?x"),
        (b"/x", b"/x"),
        (b"http://up.example//evil.example/x", b"/.//evil.example/x"),
        (b"//evil.example/x", b"//evil.example/x"),
    ],
)
def test_reference_of_a_whole_port(given: bytes, expected: bytes) -> None:
    """A reference loses the upstream's authority alone when all paths are the upstream's."""
    assert WHOLE.header(b"Location", given) == expected


def test_reference_by_a_kept_host() -> None:
    """A reference to the client's own Host is mapped when the upstream got it."""
    kept = Links(origin(BASE), b"/v2", b"/via/api", b"late.example:8080")
    assert kept.reference(b"http://late.example:8080/v2/x") == b"/via/api/x"
    assert kept.reference(b"https://late.example:8080/v2/x") == b"/via/api/x"
    assert kept.reference(b"http://late.example/v2/x") == b"http://late.example/v2/x"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"a=1", b"a=1"),
        (b"a=1; Path=/", b"a=1; Path=/via/api/"),
        (b"a=1; path = /v2/x ; Secure", b"a=1; path =/via/api/x; Secure"),
        (b"a=1; Path=/other", b"a=1; Path=/other"),
        (b"a=1; Path=x", b"a=1; Path=x"),
        (b"a=Path=/v2; HttpOnly", b"a=Path=/v2; HttpOnly"),
        (b"a=1; Domain=up.example; Max-Age=1", b"a=1; Max-Age=1"),
        (b"a=1; domain=.EXAMPLE", b"a=1"),
        (b"a=1; Domain=other.example", b"a=1; Domain=other.example"),
        (b"a=1; Domain=p.example", b"a=1; Domain=p.example"),
        (b"__Host-a=1; Path=/; Secure", b"__Host-a=1; Path=/; Secure"),
    ],
)
def test_cookie(given: bytes, expected: bytes) -> None:
    """A cookie's path is mapped, and a domain of the upstream dropped."""
    assert BELOW.header(b"Set-Cookie", given) == expected


def test_link_and_refresh() -> None:
    """The targets in Link and Refresh are mapped."""
    link = b'</v2/a.css>; rel=preload; title="<"'
    assert BELOW.header(b"Link", link + b", <http://x.example/>") == link.replace(b"/v2", b"/via/api") + (
        b", <http://x.example/>"
    )
    assert BELOW.header(b"Refresh", b"5; url=/v2/x") == b"5; url=/via/api/x"
    assert BELOW.header(b"Refresh", b"0;URL='http://up.example:9000/v2/x'") == b"0;URL='/via/api/x'"
    assert BELOW.header(b"Refresh", b"5") == b"5"
    long = b" " * 100_000
    assert BELOW.header(b"Refresh", long) == long
