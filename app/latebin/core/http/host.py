"""The syntax of a host with its port."""

import re
from functools import lru_cache
from typing import Final

_HOST: Final = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)?)(?::[0-9]{0,5})?"
)


@lru_cache(maxsize=256)
def is_host(text: bytes) -> bool:
    """Check that text is a host with an optional port (RFC 9110, section 7.2).

    A host is a name or an address. Labels are at most 63 characters long (RFC 1035, section 2.3.4), because Klein's
    router raises on longer ones. The result is cached: most requests are for the same few hosts.
    """
    return _HOST.fullmatch(text) is not None
