from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.forwarded import HOPS, LONGEST, NOTHING, SCHEMES, Forwarded, Headers, believed
from latebin.core.http.host import is_host
from latebin.core.http.networks import parse

PEER = "10.0.0.1"

NETWORKS = (parse("10.0.0.0/8"), parse("2001:db8:a::/48"))


def headers(**values: Sequence[bytes]) -> Headers:
    """Make headers from names with underscores for the dashes."""
    found = {name.replace("_", "-").lower().encode(): list(value) for name, value in values.items()}
    return lambda name: found.get(name.lower())


def x_forwarded_for(*values: bytes) -> Forwarded:
    return believed(headers(X_Forwarded_For=values), PEER, NETWORKS)


def forwarded(*values: bytes) -> Forwarded:
    return believed(headers(Forwarded=values), PEER, NETWORKS)


def test_nothing() -> None:
    """Nothing is believed when the proxy adds no headers."""
    assert believed(headers(), PEER, NETWORKS) == NOTHING


@pytest.mark.parametrize("peer", ["11.0.0.1", "2001:db8:b::1", "", None])
@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Forwarded_Proto", "X_Forwarded_Host", "Forwarded"])
@pytest.mark.parametrize("value", [b"192.0.2.1", b"https", b"for=192.0.2.1;proto=https;host=a"])
def test_untrusted(peer: str | None, name: str, value: bytes) -> None:
    """Nothing is believed when the peer is not in the networks."""
    assert believed(headers(**{name: [value]}), peer, NETWORKS) == NOTHING


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([b"192.0.2.1"], "192.0.2.1"),
        ([b"192.0.2.9, 192.0.2.1"], "192.0.2.1"),
        ([b"192.0.2.9,192.0.2.1 "], "192.0.2.1"),
        ([b"192.0.2.9", b"192.0.2.1"], "192.0.2.1"),
        ([b"192.0.2.9, 192.0.2.1, 10.0.0.3, 10.0.0.2"], "192.0.2.1"),
        ([b"192.0.2.9, 192.0.2.1", b"10.0.0.3", b"10.0.0.2"], "192.0.2.1"),
        ([b"10.0.0.9, 192.0.2.1, [2001:db8:a::1]:4711"], "192.0.2.1"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"<script>, 192.0.2.1"], "192.0.2.1"),
        ([b"192.0.2.1:4711"], "192.0.2.1"),
        ([b"::ffff:192.0.2.1"], "192.0.2.1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"2001:DB8:0:0:0:0:0:1"], "2001:db8::1"),
        ([b"[2001:db8::1]"], "2001:db8::1"),
        ([b"[2001:db8::1]:4711"], "2001:db8::1"),
        ([b"[192.0.2.1]"], "192.0.2.1"),
        ([b"192.0.2.1,"], "192.0.2.1"),
        ([b"192.0.2.9,, ,192.0.2.1 , ,10.0.0.2,"], "192.0.2.1"),
        ([b"192.0.2.1", b"", b","], "192.0.2.1"),
    ],
)
def test_x_forwarded_for(values: list[bytes], client: str) -> None:
    """The client is the last untrusted address, or the first when all are trusted."""
    assert x_forwarded_for(*values) == Forwarded(client)


@pytest.mark.parametrize(
    "value",
    [
        b"unknown", b"192.0.2.256", b"192.0.2", b"192.0.2.1:", b"[192.0.2.1", b"a.example",
        b"fe80::1%<script>", b"192.0.2.\xb2", b"192.0.2.1\n10.0.0.1", b"\xff", b"192.0.2.1 10.0.0.1", b"300.0.0.1",
    ],
)  # fmt: skip
def test_malformed_address(value: bytes) -> None:
    """The client is unknown when the last untrusted address is malformed."""
    assert x_forwarded_for(value) == x_forwarded_for(b"192.0.2.9", value) == NOTHING
    assert x_forwarded_for(b"192.0.2.9, " + value + b", 10.0.0.2") == NOTHING


def test_scheme_and_host() -> None:
    """Scheme and host are those of the nearest proxy when several are given."""
    found = headers(X_Forwarded_Proto=[b"http, HTTPS,"], X_Forwarded_Host=[b"a", b"b.example:8443", b" ,"])
    assert believed(found, PEER, NETWORKS) == Forwarded(None, "https", "b.example:8443")


@pytest.mark.parametrize("scheme", [b"", b"ws", b"https:", b"javascript", b","])
@pytest.mark.parametrize("host", [b"", b"a b", b"a/b", b"<script>", b"\xe9", b"a" * 64, b"a:b", b","])
def test_malformed(scheme: bytes, host: bytes) -> None:
    """A scheme or a host is not believed when it is malformed."""
    assert believed(headers(X_Forwarded_Proto=[scheme], X_Forwarded_Host=[host]), PEER, NETWORKS) == NOTHING


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"for=192.0.2.60;proto=http;by=203.0.113.43"], Forwarded("192.0.2.60", "http")),
        ([b"for=192.0.2.43, for=198.51.100.17"], Forwarded("198.51.100.17")),
        ([b"for=192.0.2.43;proto=https, for=198.51.100.17"], Forwarded("198.51.100.17")),
        ([b"for=192.0.2.43", b"for=198.51.100.17"], Forwarded("198.51.100.17")),
        ([b"for=192.0.2.9, for=192.0.2.1;proto=https;host=a, for=10.0.0.2"], Forwarded("192.0.2.1", "https", "a")),
        ([b"for=192.0.2.1;proto=https", b'for="[2001:db8:a::1]";proto=http'], Forwarded("192.0.2.1", "https")),
        ([b"for=10.0.0.3;host=a, for=10.0.0.2;host=b"], Forwarded("10.0.0.3", None, "a")),
        ([b'For="[2001:db8:cafe::17]:4711"'], Forwarded("2001:db8:cafe::17")),
        ([b'for="192.0.2.1:_a"'], Forwarded("192.0.2.1")),
        ([b'for=192.0.2.1 ; PROTO=HTTPS ;host="a.example:8443"'], Forwarded("192.0.2.1", "https", "a.example:8443")),
        ([rb'for="192.0.\2.1"'], Forwarded("192.0.2.1")),
        ([b'by="a,for=192.0.2.2;b";for=192.0.2.1'], Forwarded("192.0.2.1")),
        ([b"for=192.0.2.1,,"], Forwarded("192.0.2.1")),
        ([b";for=192.0.2.1;;proto=http;"], Forwarded("192.0.2.1", "http")),
        ([b"for=192.0.2.9, for=unknown;proto=https"], Forwarded(None, "https")),
        ([b"for=192.0.2.9, for=_hidden"], NOTHING),
        ([b'for=""'], NOTHING),
        ([b""], NOTHING),
        ([b",;,"], NOTHING),
    ],
)
def test_forwarded(values: list[bytes], expected: Forwarded) -> None:
    """The element of `Forwarded` counts whose client is not a trusted proxy (RFC 7239)."""
    assert forwarded(*values) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"for=192.0.2.1;for=192.0.2.2",
        b"for=a;FOR=192.0.2.2",
        b"for=1;for=1",
        b"for=[2001:db8::1]",
        b"for = 192.0.2.1",
        b'for="192.0.2.1',
        b'for="192.0.2.1"x',
        b"192.0.2.1",
        b"for=192.0.2.1 proto=http",
        b'by="a, for=192.0.2.1',
        b"for=",
    ],
)
def test_malformed_forwarded(value: bytes) -> None:
    """Nothing is believed when the last field is malformed anywhere."""
    assert forwarded(value) == forwarded(b"for=192.0.2.9", value) == NOTHING
    assert forwarded(value, b"for=192.0.2.9") == Forwarded("192.0.2.9")


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Forwarded_Proto", "X_Forwarded_Host"])
def test_both(name: str) -> None:
    """Nothing is believed when a request has both kinds of headers."""
    found = headers(**{name: [b"192.0.2.1"], "Forwarded": [b"for=192.0.2.2;proto=https;host=a"]})
    assert believed(found, PEER, NETWORKS) == NOTHING


@given(st.lists(st.binary(max_size=50)), st.lists(st.binary(max_size=50)))
def test_harmless(some: list[bytes], others: list[bytes]) -> None:
    """Only a valid address, scheme and host are believed, for any headers."""
    for found in (
        believed(headers(X_Forwarded_For=some, X_Forwarded_Proto=others, X_Forwarded_Host=some), PEER, NETWORKS),
        forwarded(*some),
    ):
        assert found.client is None or str(ip_address(found.client)) == found.client
        assert found.scheme in {None, *SCHEMES}
        assert found.host is None or is_host(found.host.encode("ascii"))


def test_forged_chain() -> None:
    """A chain of proxies is followed up to a bound when it is too long."""
    chain = [f"10.0.1.{number}" for number in range(HOPS + 5)]
    followed = chain[-HOPS]
    assert x_forwarded_for(", ".join(chain).encode()) == Forwarded(followed)
    assert forwarded(", ".join(f"for={node}" for node in chain).encode()) == Forwarded(followed)


def test_forged_field() -> None:
    """A forged field is not read when it is longer than the bound."""
    forged = b"for=10.0.0.2;by=" + b"a" * LONGEST
    assert forwarded(forged) == forwarded(forged, b"for=10.0.0.2") == NOTHING
    assert forwarded(forged, b"for=192.0.2.1") == Forwarded("192.0.2.1")
