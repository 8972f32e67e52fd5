"""Recorded latencies, read from a file that was given at the start."""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from typing import Final

from attrs import Attribute, Factory, field, frozen

from latebin.core.language import duration

MAX_VALUES: Final = 1_000_000
"""The most values one trace may have: what fits in memory many times over."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a trace may be called: that can stand in a delay without quotes."""

_BYTE_ORDER_MARK: Final = "\ufeff"


@frozen
class TraceError(ValueError):
    """Lines that are not a trace.

    Attributes:
        line: the number of the offending line, counted from 1; 0 if none is to blame.
        reason: what is wrong with it.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}" if self.line else self.reason


def _check_name(_trace: "Trace", _field: "Attribute[str]", name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError("a trace's name is up to 64 letters, digits, '.', '_' and '-', a letter or digit first")


def _check_values(_trace: "Trace", _field: "Attribute[tuple[float, ...]]", values: tuple[float, ...]) -> None:
    if not values:
        raise ValueError("a trace has at least one value")


@frozen
class Trace:
    """Recorded latencies under a name.

    Attributes:
        name: matches NAME.
        values: seconds, in the order of the recording; at least one.
        ascending: the same values, sorted.
        sums: the running sums of `ascending`, from 0 on, so that a mean never walks through a million values.

    Raises:
        ValueError: a name that does not match NAME, or no values.
    """

    name: str = field(validator=_check_name)
    # A delay is hashed at each look-up in a cache: that must not take a walk through a million values.
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
    """Read a trace: one duration a line, or a CSV whose first column is one.

    Blank lines and lines that begin with `#` are skipped. So is one header: a first line that begins with a
    letter. A number without a unit is seconds.

    Args:
        name: what the trace will be called; matches NAME.
        lines: the lines of the file, with or without their ends.

    Raises:
        TraceError: a line is not a duration, or there is none, or there are more than MAX_VALUES.
        ValueError: the name does not match NAME.
    """
    values: list[float] = []
    for line, cell in _without_header(_first_column(lines)):
        if len(values) == MAX_VALUES:
            raise TraceError(line, f"more than {MAX_VALUES} values")
        values.append(_seconds(line, cell))
    if not values:
        raise TraceError(0, "no durations")
    return Trace(name, tuple(values))


def _first_column(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        text = line.lstrip(_BYTE_ORDER_MARK).strip()
        if text and not text.startswith("#"):
            yield number, text.partition(",")[0].strip().strip('"')


def _without_header(cells: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    first = [cell for cell in (next(cells, None),) if cell and not cell[1][:1].isalpha()]
    return chain(first, cells)


def _seconds(line: int, cell: str) -> float:
    try:
        seconds = duration.parse(cell)
    except ValueError as error:
        raise TraceError(line, str(error)) from None
    return seconds
