"""Sizes of bodies as a URL spells them: `100`, `64k`, `16m`."""

import re
from typing import Final

ACCEPTED: Final = "a size in bytes such as 100, 64k or 1m; k and m are powers of 1024"

_SIZE: Final = re.compile(r"([0-9]{1,15})([bkm]?)")

_BYTES: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2}


def parse(text: str) -> int:
    """Read a size.

    Returns:
        Bytes.

    Raises:
        ValueError: text is not a size.
    """
    parts = _SIZE.fullmatch(text)
    if not parts:
        raise ValueError(f"expected {ACCEPTED}")
    return int(parts[1]) * _BYTES[parts[2]]


def render(size: int) -> str:
    """Write a size in the largest unit that divides it.

    Args:
        size: bytes.
    """
    for unit in ("m", "k"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return str(size)
