"""Traces: recorded latencies from a file that is read at the start."""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from typing import Final

from attrs import Attribute, Factory, field, frozen

from latebin.core.language import duration

MAX_VALUES: Final = 1_000_000
"""The most values in one trace; they take 72 MB (CPython 3.13)."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The name of a trace, which stands in a delay without quotes."""

_BYTE_ORDER_MARK: Final = "\ufeff"


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


def read(name: str, lines: Iterable[str]) -> Trace:
    """Read a trace from the lines of a file.

    Each line has one duration, or a CSV file has them in its first column. A number without a unit is seconds. Blank
    lines and lines that begin with `#` are skipped, and so is one header: a first line that begins with a letter.

    Args:
        name: the name of the trace; matches NAME.
        lines: the lines of the file, with or without their ends.

    Raises:
        TraceError: a line is not a duration, or the number of durations is 0 or above MAX_VALUES.
        ValueError: the name does not match NAME.
    """
    cells = _first_column(lines)
    # Only the very first cell can be a header: a letter further down is a mistake.
    first = [cell for cell in (next(cells, None),) if cell and not cell[1][:1].isalpha()]
    values: list[float] = []
    for line, cell in chain(first, cells):
        if len(values) == MAX_VALUES:
            raise TraceError(line, f"more than {MAX_VALUES} values")
        try:
            values.append(duration.parse(cell))
        except ValueError as error:
            raise TraceError(line, str(error)) from None
    if not values:
        raise TraceError(0, "no durations")
    return Trace(name, tuple(values))


def _first_column(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        text = line.lstrip(_BYTE_ORDER_MARK).strip()
        if text and not text.startswith("#"):
            yield number, text.partition(",")[0].strip().strip('"')
