"""The header of the PROXY protocol, with which a proxy begins a client's connection.

The reference is HAProxy's proxy-protocol.txt, versions 1 and 2, whose sections the comments name.
"""

import re
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import attrs

from latebin.core.http.host import MAX_PORT
from latebin.core.http.networks import Address, unmapped

Socket = tuple[str, int]
"""An address and a port."""

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

_WORD: Final = b"PROXY "

_LONGEST: Final = 107
"""Bytes of the longest line of version 1, including its end (section 2.1)."""

_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|(TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5}))", re.DOTALL
)

_KINDS: Final[dict[bytes, type[Address]]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}

_FIXED: Final = 16
"""Bytes of the fixed part of version 2: signature, command, family and length (section 2.2)."""

_LOCAL, _PROXY = 0x20, 0x21

_FAMILIES: Final = frozenset(family << 4 | protocol for family in range(4) for protocol in range(3))
"""The valid families; a connection with another one must be closed (section 2.2)."""

_STREAMS: Final[dict[int, tuple[str, type[Address]]]] = {
    0x11: ("!4s4sHH", IPv4Address),
    0x21: ("!16s16sHH", IPv6Address),
}


@attrs.frozen
class ProxyHeader:
    """The content of a header.

    Attributes:
        length: the length of the header in bytes.
        source: the address of the client; None if the proxy connects on its own behalf or forwards no TCP.
        destination: the address that the client connected to; None as above.
    """

    length: int
    source: Socket | None = None
    destination: Socket | None = None


def read(data: bytearray) -> ProxyHeader | None:
    """Read the header at the beginning of a connection.

    Args:
        data: all bytes received so far.

    Returns:
        The header; None if it is not complete yet.

    Raises:
        ValueError: data cannot become a header.
    """
    if data.startswith(_SIGNATURE):
        return _binary(data)
    if data.startswith(_WORD):
        return _text(data)
    if _SIGNATURE.startswith(data) or _WORD.startswith(data):
        return None
    raise ValueError("neither version of the PROXY protocol")


def _text(data: bytearray) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _LONGEST)
    if end < 0 and len(data) < _LONGEST:
        return None
    line = _LINE.fullmatch(data[:end]) if end > 0 else None
    if line is None:
        raise ValueError("malformed line")
    if line[1] is None:
        return ProxyHeader(end + 2)
    kind = _KINDS[line[1]]
    source, destination = (_socket(kind(line[at].decode("ascii")), int(line[at + 2])) for at in (2, 3))
    return ProxyHeader(end + 2, source, destination)


def _binary(data: bytearray) -> ProxyHeader | None:
    if len(data) < _FIXED:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(_SIGNATURE))
    if command != _LOCAL and (command != _PROXY or family not in _FAMILIES):
        raise ValueError("unknown command or family")
    end = _FIXED + length
    if len(data) < end:
        return None
    if command == _LOCAL or family not in _STREAMS:
        return ProxyHeader(end)
    layout, kind = _STREAMS[family]
    if length < struct.calcsize(layout):
        raise ValueError("addresses missing")
    source, destination, source_port, destination_port = struct.unpack_from(layout, data, _FIXED)
    return ProxyHeader(end, _socket(kind(source), source_port), _socket(kind(destination), destination_port))


def _socket(address: Address, port: int) -> Socket:
    if port > MAX_PORT:
        raise ValueError("port above 65535")
    return str(unmapped(address)), port
