import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.proxy_protocol import ProxyHeader, read
from tests.support.proxy_protocol import BEHIND, FOUR, MALFORMED, SIGNATURE, SIX, binary

MAPPED = bytes(10) + b"\xff\xff" + FOUR[:4] + bytes(10) + b"\xff\xff" + FOUR[4:]

ONE_FOUR = ProxyHeader(0, ("192.0.2.1", 4711), ("192.0.2.2", 80))

ONE_SIX = ProxyHeader(0, ("2001:db8::1", 4711), ("2001:db8::2", 80))

EMPTY = ProxyHeader(0)

VALID = [
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n", ONE_FOUR),
    (b"PROXY TCP6 2001:DB8:0::1 2001:db8::2 4711 80\r\n", ONE_SIX),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 4711 80\r\n", ONE_FOUR),
    (b"PROXY UNKNOWN\r\n", EMPTY),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", EMPTY),
    (b"PROXY UNKNOWN \n\xff\0\r\n", EMPTY),
    (b"PROXY UNKNOWN " + b"a" * 91 + b"\r\n", EMPTY),
    (binary(0x21, 0x11, FOUR), ONE_FOUR),
    (binary(0x21, 0x21, SIX), ONE_SIX),
    (binary(0x21, 0x21, MAPPED), ONE_FOUR),
    (binary(0x21, 0x11, FOUR + b"\x04\0\x01a"), ONE_FOUR),
    (binary(0x21, 0x11, FOUR + bytes(65535 - len(FOUR))), ONE_FOUR),
    (binary(0x20, 0x11, FOUR), EMPTY),
    (binary(0x20, 0, b""), EMPTY),
    (binary(0x20, 0xFF, b""), EMPTY),
    (binary(0x21, 0x00, b""), EMPTY),
    (binary(0x21, 0x12, FOUR), EMPTY),
    (binary(0x21, 0x31, bytes(216)), EMPTY),
]
"""Headers, and their content without the length."""


@pytest.mark.parametrize(("data", "content"), VALID)
def test_valid(data: bytes, content: ProxyHeader) -> None:
    """A header of either version has both addresses, or none, and its length."""
    for behind in (b"", BEHIND):
        assert read(bytearray(data + behind)) == ProxyHeader(len(data), content.source, content.destination)


@pytest.mark.parametrize("data", [data for data, _ in VALID])
def test_pieces(data: bytes) -> None:
    """The result is None when the header is not complete."""
    for length in {*range(min(len(data), 300)), len(data) - 1}:
        assert read(bytearray(data[:length])) is None


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed(data: bytes) -> None:
    """Data is refused when it cannot become a header."""
    with pytest.raises(ValueError, match=r".") as refused:
        read(bytearray(data))
    assert not isinstance(refused.value, UnicodeError)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0"]))
def test_anything(data: bytes, before: bytes) -> None:
    """Any data is a header with valid addresses, the start of one, or refused."""
    found = None
    with contextlib.suppress(ValueError):
        found = read(bytearray(before + data))
    for end in (found.source, found.destination) if found else ():
        assert end is None or str(ip_address(end[0])) == end[0]


def test_never_without_end() -> None:
    """The longest header has 64 kB."""
    assert read(bytearray(SIGNATURE + b"\x21\x11\xff\xff" + bytes(65534))) is None
    assert read(bytearray(SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535))) is not None
