"""The syntax of a host with its port."""

import re
from functools import lru_cache
from typing import Final

from latebin.core.http.networks import is_address

_HOST: Final = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)?)(?::([0-9]{0,5}))?"
)

MAX_PORT: Final = 65535
"""The largest number of a TCP port."""


@lru_cache(maxsize=256)
def is_host(text: bytes) -> bool:
    """Check that text is a host with an optional port (RFC 9110, section 7.2).

    A host is a name, or an address of IPv6 in brackets. Labels are at most 63 characters long (RFC 1035, section
    2.3.4), because Klein's router raises on longer ones, and on empty ones within brackets. The result is cached: most
    requests are for the same few hosts.
    """
    parts = _HOST.fullmatch(text)
    if parts is None or int(parts[2] or 0) > MAX_PORT:
        return False
    return parts[1] is None or (b":" in parts[1] and is_address(parts[1].decode("ascii")))
