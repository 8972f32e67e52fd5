"""What a host is called, and where."""

import re
from functools import lru_cache
from typing import Final

_HOST: Final = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?)?)(?::[0-9]{0,5})?"
)


@lru_cache(maxsize=256)
def is_host(text: bytes) -> bool:
    """Tell whether this is a name or an address, and perhaps a port (RFC 9110, section 7.2).

    A name is one that Klein's router can take: longer labels (RFC 1035, section 2.3.4) make it raise. Most requests are
    for the same few hosts, which are remembered.
    """
    return _HOST.fullmatch(text) is not None
