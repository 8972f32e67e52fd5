"""Durations as a URL spells them: `250ms`, `1m30s`, `0.25`."""

import re
from decimal import Decimal
from typing import Final

ACCEPTED: Final = "a duration such as 2, 0.25, 250ms, 1.5s, 2m, 1h, 1m30s or 300us; a bare number is seconds"

MAX_LENGTH: Final = 40
"""The longest text that is read as a duration, in characters."""

_SECONDS: Final = {
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}

_ENDLESS: Final = 1e15
"""Seconds from which on `render` writes no units: the 28 digits of Decimal no longer suffice for its divisions."""

UNITS: Final = tuple(_SECONDS)
"""The units, from the largest to the smallest."""

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"

_BARE: Final = re.compile(_NUMBER)

_UNITS: Final = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _SECONDS))


def parse(text: str) -> float:
    """Read a duration.

    Units go from the largest to the smallest, each at most once: `1m30s`, not `30s1m`. A sign and an exponent are not
    accepted, so that every duration is finite and not negative.

    Args:
        text: the duration, as in ACCEPTED; at most MAX_LENGTH characters.

    Returns:
        Seconds, correctly rounded from the decimal text.

    Raises:
        ValueError: text is not a duration.
    """
    if len(text) <= MAX_LENGTH:
        if _BARE.fullmatch(text):
            return float(text)
        parts = _UNITS.fullmatch(text)
        if text and parts:
            return float(sum(Decimal(n) * _SECONDS[unit] for unit, n in parts.groupdict().items() if n))
    raise ValueError(f"expected {ACCEPTED}")


def render(seconds: float) -> str:
    """Write a duration so that `parse` returns the very same float.

    Args:
        seconds: finite and not negative.
    """
    if seconds >= _ENDLESS:
        return f"{seconds:.0f}"
    exact = Decimal(repr(seconds))
    if not exact:
        return "0s"
    if exact < 1:
        unit = "us" if exact < _SECONDS["ms"] else "ms"
        parts = [(exact / _SECONDS[unit], unit)]
    else:
        minutes, rest = divmod(exact, 60)
        hours, minutes = divmod(minutes, 60)
        parts = [(hours, "h"), (minutes, "m"), (rest, "s")]
    return "".join(f"{number.normalize():f}{unit}" for number, unit in parts if number)
