"""Traces: recorded latencies from a file that is read at the start."""

import re
from itertools import accumulate
from typing import Final

from attrs import Attribute, Factory, field, frozen

MAX_VALUES: Final = 1_000_000
"""The most values in one trace; they take 72 MB (CPython 3.13)."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The name of a trace, which stands in a delay without quotes."""

UNITS: Final = ("h", "m", "s", "ms", "us", "ns")
"""The units that a column can have."""


@frozen
class TraceError(ValueError):
    """A fault in the lines of a trace.

    Attributes:
        line: the number of the wrong line, counted from 1; 0 if the fault is not in one line.
        reason: a description of the fault.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}" if self.line else self.reason


def _check_name(_trace: "Trace", _field: "Attribute[str]", name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError("expected a trace name of up to 64 letters, digits, '.', '_' and '-', first a letter or digit")


def _check_values(_trace: "Trace", _field: "Attribute[tuple[float, ...]]", values: tuple[float, ...]) -> None:
    if not values:
        raise ValueError("expected at least one value")


@frozen
class Trace:
    """Recorded latencies under a name.

    Attributes:
        name: matches NAME.
        values: seconds, in the order of the recording; at least one.
        ascending: the same values, sorted.
        sums: the running sums of `ascending`, from 0 on, which give a mean without a walk through all values.

    Raises:
        ValueError: the name does not match NAME, or there are no values.
    """

    name: str = field(validator=_check_name)
    # A delay is hashed at each look-up in a cache, which must not take a walk through a million values.
    values: tuple[float, ...] = field(validator=_check_values, hash=False, repr=False)
    ascending: tuple[float, ...] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: tuple(sorted(self.values)), takes_self=True)
    )
    sums: tuple[float, ...] = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(lambda self: tuple(accumulate(self.ascending, initial=0.0)), takes_self=True),
    )


@frozen
class Columns:
    """The column of a file that has the latencies, and its unit.

    Attributes:
        column: the name of the column, or its number: from 1 on, or from -1 back from the last. None for the first
            column, or for the column of a format that is known.
        unit: the unit of numbers without one, one of UNITS. None for seconds up to 60, or for the unit of a format
            that is known.
        where: the name or number of a column and the value that it has in the rows to read; None for all rows.
    """

    column: str | None = None
    unit: str | None = None
    where: tuple[str, str] | None = None
