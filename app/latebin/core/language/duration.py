"""Durations as a URL spells them: `250ms`, `1m30s`, `0.25`."""

import re
from decimal import Decimal
from typing import Final

ACCEPTED: Final = "a duration such as 2, 0.25, 250ms, 1.5s, 2m, 1h, 1m30s or 300us; bare seconds up to 60"

MAX_BARE: Final = 60.0
"""The largest number that is read without a unit, in seconds: above it, milliseconds may be meant."""

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
"""Seconds from which on `render` writes seconds alone: the 28 digits of Decimal no longer suffice for its divisions."""

UNITS: Final = tuple(_SECONDS)
"""The units, from the largest to the smallest."""

_NUMBER: Final = r"[0-9]+(?:\.[0-9]+)?"

_BARE: Final = re.compile(_NUMBER)

MICRO: Final = "[\u00b5\u03bc]|\u00c2\u00b5|\u00ce\u00bc"
"""The signs for micro: Unicode has two, and a URL or a header with raw UTF-8 is read as Latin-1."""

_MICRO: Final = re.compile(f"(?:{MICRO})s")

_UNITS: Final = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _SECONDS))


class AmbiguousError(ValueError):
    """A number that has no unit and is above MAX_BARE."""

    def __init__(self, text: str) -> None:
        super().__init__(f"did you mean {text}ms or {text}s? A number above {MAX_BARE:.0f} needs a unit")


def parse(text: str) -> float:
    """Read a duration.

    Units go from the largest to the smallest, each at most once: `1m30s`, not `30s1m`. A sign and an exponent are not
    accepted, so that every duration is finite and not negative.

    Args:
        text: the duration, as in ACCEPTED; at most MAX_LENGTH characters.

    Returns:
        Seconds, correctly rounded from the decimal text.

    Raises:
        AmbiguousError: text is a number above MAX_BARE without a unit.
        ValueError: text is not a duration.
    """
    if len(text) <= MAX_LENGTH:
        if _BARE.fullmatch(text):
            if float(text) > MAX_BARE:
                raise AmbiguousError(text)
            return float(text)
        parts = _UNITS.fullmatch(text if text.isascii() else _MICRO.sub("us", text))
        if text and parts:
            return float(sum(Decimal(n) * _SECONDS[unit] for unit, n in parts.groupdict().items() if n))
    raise ValueError(f"expected {ACCEPTED}")


def render(seconds: float) -> str:
    """Write a duration so that `parse` returns the very same float.

    Args:
        seconds: finite and not negative.
    """
    if seconds >= _ENDLESS:
        return f"{seconds:.0f}s"
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
