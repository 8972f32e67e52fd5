import contextlib
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.proxy_protocol import ProxyHeader, read

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

BEHIND = b"GET / HTTP/1.1\r\n\r\n"


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def ends(source: str, destination: str) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", 4711, 80)


FOUR, SIX = ends("192.0.2.1", "192.0.2.2"), ends("2001:db8::1", "2001:db8::2")

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

MALFORMED = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY TCP5 192.0.2.1 192.0.2.2 4711 80\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80 1\r\n",
    b"PROXY TCP4  192.0.2.1 192.0.2.2 4711 80\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\n\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 a 80\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 80\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.256 192.0.2.2 4711 80\r\n",
    b"PROXY TCP4 192.0.2.1\n 192.0.2.2 4711 80\r\n",
    b"PROXY TCP4 <script> 192.0.2.2 4711 80\r\n",
    b"PROXY TCP4 \xff 192.0.2.2 4711 80\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 4711 80\r\n",
    b"PROXY TCP6 192.0.2.1 192.0.2.2 4711 80\r\n",
    b"PROXY TCP6 fe80::1%a 2001:db8::2 4711 80\r\n",
    b"PROXY UNKNOWN " + b"a" * 92 + b"\r\n",
    b"PROXY " + b"a" * 101,
    SIGNATURE[:-1] + b"\r",
    binary(0x11, 0x11, FOUR),
    binary(0x22, 0x11, FOUR),
    binary(0x21, 0x41, FOUR),
    binary(0x21, 0x13, FOUR),
    binary(0x21, 0x11, FOUR[:-1]),
    binary(0x21, 0x21, SIX[:-1]),
]


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
