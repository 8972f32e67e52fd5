import pytest

from latebin.core.http.cors import Cors, parse

SHOP = b"https://shop.example"


@pytest.mark.parametrize("text", ["*", "https://shop.example", "http://localhost:5173", "http://[::1]:80", "null"])
def test_parse(text: str) -> None:
    """An origin is accepted when it is one as browsers write it."""
    assert parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "shop.example", "https://shop.example/", "https://Shop.example", "ftp://a", "https://*.a"]
)
def test_parse_refuses(text: str) -> None:
    """A text is refused, with an example, when it is not an origin."""
    with pytest.raises(ValueError, match="not an origin such as"):
        parse(text)


def test_allowed() -> None:
    """A page may read the answer, its headers and timing when its origin is allowed."""
    headers = dict(Cors([SHOP.decode()]).headers(SHOP))
    assert headers[b"Access-Control-Allow-Origin"] == headers[b"Timing-Allow-Origin"] == SHOP
    assert headers[b"Vary"] == b"Origin"
    assert b"Server-Timing" in headers[b"Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", [None, b"https://evil.example", b"null", b"https://shop.example.evil.example"])
def test_not_allowed(origin: bytes | None) -> None:
    """An answer only varies by the origin when that is not one of those allowed."""
    assert Cors([SHOP.decode()]).headers(origin) == ((b"Vary", b"Origin"),)
    assert Cors([SHOP.decode()]).preflight(origin, b"PUT", None) is None


def test_any() -> None:
    """Any page may read the answer when an asterisk allows it, without Vary."""
    headers = dict(Cors(["*"]).headers(None))
    assert headers[b"Access-Control-Allow-Origin"] == b"*"
    assert b"Vary" not in headers


def test_preflight() -> None:
    """A preflight allows the method and the headers that it asks for."""
    reply = Cors(["*"]).preflight(SHOP, b"PUT", b"content-type, latebin-delay")
    assert reply is not None
    headers = dict(reply.headers)
    assert (reply.status, headers[b"Access-Control-Allow-Methods"]) == (204, b"PUT")
    assert headers[b"Access-Control-Allow-Headers"] == b"content-type, latebin-delay"


@pytest.mark.parametrize("field", [b"", b"a b", b"a\xff", b"a,,b"])
def test_preflight_reflects_no_other_text(field: bytes) -> None:
    """A preflight reflects no header list when that is not one of tokens."""
    reply = Cors(["*"]).preflight(SHOP, b"PUT", field)
    assert reply is not None
    assert b"Access-Control-Allow-Headers" not in dict(reply.headers)
    assert Cors(["*"]).preflight(SHOP, b"P T", None) is None
    assert Cors(["*"]).preflight(SHOP, None, None) is None
