"""The values of parameters as text."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final

from latebin.client.handles import Gate

Value = str | int | float | Decimal | timedelta | Gate
"""One value of a parameter; where it is a duration, a number has seconds."""

Values = Value | Iterable[Value] | None
"""A value, several values of a parameter such as `header`, or None for its absence."""

SINGLE: Final = (str, int, float, Decimal, timedelta, Gate)
"""The types of one value."""


def several(name: str, values: Values) -> Iterable[Value]:
    """Return one value as several, and none for None.

    Args:
        name: the parameter, for the error.
        values: its values.

    Raises:
        TypeError: the values have another type. The items of bytes are numbers, and those of a mapping its names.
    """
    if values is None:
        return ()
    if isinstance(values, SINGLE):
        return (values,)
    if isinstance(values, bytes | bytearray | Mapping) or not isinstance(values, Iterable):
        found = type(values).__name__
        raise TypeError(f"{name}: expected a text, a number, a timedelta, a gate or a list of these, and not {found}")
    return values


def text_of(value: Value) -> str:
    """Return a value as the service reads it."""
    if isinstance(value, timedelta):
        return f"{value // timedelta(microseconds=1)}us"
    if isinstance(value, float):
        # Without an exponent, which no parameter takes.
        return f"{Decimal(repr(value)):f}"
    return str(value)
