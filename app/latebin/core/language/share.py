"""Shares of requests as a URL spells them: `5%`, or `0.05` without an escape."""

import re
from decimal import Decimal
from typing import Final

ACCEPTED: Final = "a share such as 5%, 0.1% or 0.05, from 0 to 1 (100%)"

MAX_LENGTH: Final = 40
"""The longest text that is read as a share, in characters."""

_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(%?)")


def parse(text: str) -> float:
    """Read a share.

    Args:
        text: a percentage with its sign, or a plain fraction; at most MAX_LENGTH characters.

    Returns:
        A fraction from 0 to 1, correctly rounded from the decimal text.

    Raises:
        ValueError: text is not a share.
    """
    parts = _SHARE.fullmatch(text)
    if parts and len(text) <= MAX_LENGTH:
        number, percent = parts.groups()
        share = float(number + "e-2" if percent else number)
        if share <= 1:
            return share
    raise ValueError(f"expected {ACCEPTED}")


def render(share: float) -> str:
    """Write a share as a percentage, so that `parse` returns the very same float.

    Args:
        share: from 0 to 1.
    """
    return f"{(Decimal(repr(share)) * 100).normalize():f}%"
