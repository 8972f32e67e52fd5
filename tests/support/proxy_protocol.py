"""Headers of the PROXY protocol, well-formed and malformed."""

import struct
from ipaddress import ip_address

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

BEHIND = b"GET / HTTP/1.1\r\n\r\n"


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def ends(source: str, destination: str) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", 4711, 80)


FOUR, SIX = ends("192.0.2.1", "192.0.2.2"), ends("2001:db8::1", "2001:db8::2")

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
