"""A reader of traces in plain text, CSV, access logs and JSON."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import attrs

from latebin.core.language import duration
from latebin.core.language.trace import MAX_VALUES, Columns, Trace, TraceError

LONGEST: Final = 1e9
"""The longest value in seconds (32 years), as of any delay; a column of dates is far above it."""

_UNITS: Final = {
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("1e-3"),
    "us": Decimal("1e-6"),
    "ns": Decimal("1e-9"),
}
"""Seconds in each of `trace.UNITS`."""

_BYTE_ORDER_MARK: Final = "\ufeff"

_SHOWN: Final = 40
"""The most characters of a line or cell in a refusal."""

_VALUE: Final = re.compile(
    rf"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{{1,4}})? *(h|m|s|ms|us|ns|(?:{duration.MICRO})s)?"
)

_DECIMAL_COMMA: Final = re.compile(r"[0-9.]*,[0-9]+ *[a-z]*", re.IGNORECASE)

_NOT_FINITE: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)

_TWO_NUMBERS: Final = re.compile(r"\s*[0-9]+,[0-9]+(?:[a-z]*|,.*)\s*", re.IGNORECASE)
"""An unquoted decimal comma, or two columns."""

_UNIT_OF_NAME: Final = re.compile(
    r"(?:(?:^|[^a-z])(?:[mun\u00b5\u03bc]s|(?:milli|micro|nano)(?:s|seconds?))|(?-i:[a-z](?:[MUN]s|(?:Milli|Micro|Nano)\w*)))"
    r"[\])]?$",
    re.IGNORECASE,
)
"""The end of a column's name that says its unit."""

_ACCESS_LOG: Final = re.compile(r"\S+ \S+ \S+ \[")
"""The beginning of a line in the common log format, which nginx, Apache httpd and others write."""

_WORD: Final = re.compile(r'\[[^\]]*\]|"(?:[^"\\]|\\.)*"|(?:[^\s"]|"(?:[^"\\]|\\.)*")+')
"""A column of an access log: a word, or a text in quotes or brackets."""


@attrs.frozen
class _Format:
    """A file format that is known by the columns in its header."""

    header: frozenset[str]
    column: str
    unit: str
    where: tuple[str, str] | None = None


_FORMATS: Final = (
    _Format(frozenset({"timeStamp", "elapsed"}), "elapsed", "ms"),
    _Format(frozenset({"metric_name", "metric_value"}), "metric_value", "ms", ("metric_name", "http_req_duration")),
)
"""The formats of JMeter and k6."""


@attrs.define
class _Lines:
    """The lines of a file, with the number of the line where a record begins.

    Between records, blank lines and comments are skipped; within quotes, no line is.
    """

    _lines: Iterator[str]
    first: int = 0
    _number: int = 0
    _between: bool = True
    _again: str | None = None

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        while True:
            line, self._again = (next(self._lines) if self._again is None else self._again), None
            self._number += 1
            if self._number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if not self._between:
                return line
            if (text := line.strip()) and not text.startswith("#"):
                self.first, self._between = self._number, False
                return line

    def records(self, rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
        """Yield the records that are made from these lines, each with its first line."""
        while True:
            self._between = True
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise TraceError(self.first, f"not CSV as RFC 4180 has it: {error}") from None
            if row is None:
                return
            yield self.first, row

    def peek(self) -> str:
        """Return the next line that is neither blank nor a comment, or an empty text."""
        line = next(self, "")
        if line:
            self._again, self._number = line, self._number - 1
        self._between = True
        return line


def read(name: str, lines: Iterable[str], columns: Columns | None = None) -> Trace:
    """Read a trace from the lines of a file.

    The file has one value a line, or is a CSV (RFC 4180) whose separator is a comma, a semicolon or a tab. It can also
    be an access log, whose columns have spaces between them, or have one JSON object a line. Blank lines and lines that
    begin with `#` are skipped, and so is a header. A value is a number such as 0.25 or 1e-3, or a duration.

    Args:
        name: the name of the trace; matches NAME.
        lines: the lines of the file, with or without their ends.
        columns: the column to read.

    Raises:
        TraceError: a line is wrong, or the number of values is 0 or above MAX_VALUES.
        ValueError: the name does not match NAME.
    """
    source, columns = _Lines(iter(lines)), columns or Columns()
    first = source.peek()
    if first.lstrip().startswith("{"):
        found = _from_json(source, columns)
    elif _ACCESS_LOG.match(first) or _has_words(first, columns.column):
        found = _from_words(source, columns)
    else:
        found = _from_csv(source, columns, _separator(first) or ",")
    values: list[float] = []
    for line, seconds in found:
        if len(values) == MAX_VALUES:
            raise TraceError(line, f"more than {MAX_VALUES} values")
        values.append(seconds)
    if not values:
        raise TraceError(0, "no durations")
    return Trace(name, tuple(values))


def _separator(line: str) -> str:
    outside = re.sub(r'"[^"]*"?', "", line)
    return next((each for each in ";\t," if each in outside), "")


def _has_words(line: str, column: str | None) -> bool:
    """Check whether the column is a word of a line, instead of a cell."""
    # A quote that is not closed in the line begins a cell of a CSV that goes on.
    if column is None or line.strip() == column or line.count('"') % 2:
        return False
    return f" {column}=" in f" {line}" or (not _separator(line) and len(_WORD.findall(line)) > 1)


def _from_csv(lines: _Lines, columns: Columns, separator: str) -> Iterator[tuple[int, float]]:
    text = _without_commas(lines, columns, separator)
    rows = lines.records(csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True))
    line, first = next(rows, (0, []))
    names = [cell.strip() for cell in first]
    if not _is_header(names, columns.column):
        rows, names = chain([(line, first)] if first else [], rows), []
    columns = _completed(names, columns)
    find, chosen = _finder(line, columns.column or "1", names), _chooser(line, columns.where, names)
    name = find(line, names) if names else ""
    if columns.unit is None and _UNIT_OF_NAME.search(name):
        raise TraceError(line, f"the name of the column {name[:_SHOWN]!r} has a unit: add it, as in ,unit=ms")
    for number, row in rows:
        if not chosen(number, row):
            continue
        seconds = _seconds(number, find(number, row), columns.unit)
        if len(row) > len(first):
            raise TraceError(number, f"{_count(len(row))}, where the first line has {len(first)}: a decimal comma?")
        yield number, seconds


def _without_commas(lines: _Lines, columns: Columns, separator: str) -> Iterator[str]:
    """Yield the lines, unless a decimal comma looks like two columns in them."""
    first = lines.peek()
    if separator == "," and columns.column is None and _TWO_NUMBERS.fullmatch(first):
        shown = first.strip()[:_SHOWN]
        reason = f"{shown!r} may have a decimal comma: write 0.5 for 0,5, or choose the column, as in ,column=1"
        raise TraceError(lines.first, reason)
    yield from lines


def _is_header(cells: list[str], column: str | None) -> bool:
    """Check whether the first record has the names of columns."""
    if column is not None and not _is_number(column):
        return True
    index = int(column or 1)
    at = index - (index > 0)
    cell = cells[at] if -len(cells) <= at < len(cells) else ""
    return (
        bool(re.search("[^\\W0-9_]", cell)) and not re.match("[-+.,]?[0-9]", cell) and not _NOT_FINITE.fullmatch(cell)
    )


def _completed(names: list[str], columns: Columns) -> Columns:
    """Complete the columns by the format that the header shows."""
    for each in _FORMATS:
        if each.header <= set(names) and columns.column in {None, each.column}:
            return Columns(each.column, columns.unit or each.unit, columns.where or each.where)
    return columns


def _from_words(lines: _Lines, columns: Columns) -> Iterator[tuple[int, float]]:
    """Read an access log; a name stands before its value, as in `rt=0.25`."""
    column = columns.column
    if column is None:
        raise TraceError(0, "this is an access log: choose the column, as in ,column=rt for rt=0.25, or ,column=-1")
    for number, row in lines.records(_WORD.findall(line) for line in lines):
        where = columns.where
        if where is None or _word(number, row, where[0]) == where[1]:
            yield number, _seconds(number, _word(number, row, column), columns.unit)


def _word(line: int, row: list[str], column: str) -> str:
    if _is_number(column):
        return _at(line, row, int(column)).strip('"')
    for word in row:
        name, _, value = word.partition("=")
        if name == column:
            return value.strip('"')
    raise TraceError(line, f"there is no {column}=")


def _from_json(lines: _Lines, columns: Columns) -> Iterator[tuple[int, float]]:
    """Read one JSON object a line, as many services write their access logs."""
    column, where = columns.column, columns.where
    for number, text in lines.records([line] for line in lines):
        try:
            found: Any = json.loads(text[0])
        except (ValueError, RecursionError):
            raise TraceError(number, "not a JSON object") from None
        if not isinstance(found, dict):
            raise TraceError(number, "not a JSON object")
        if column is None:
            raise TraceError(number, f"choose one of the keys, as in ,column=KEY: {', '.join(found)[: 4 * _SHOWN]}")
        if where is None or str(found.get(where[0])) == where[1]:
            if column not in found:
                raise TraceError(number, f"there is no {column!r}")
            yield number, _seconds(number, str(found[column]), columns.unit)


def _finder(line: int, column: str, names: list[str]) -> Callable[[int, list[str]], str]:
    """Make a function that finds the cell of a column in a row."""
    if column in names:
        if names.count(column) > 1:
            raise TraceError(line, f"two columns are called {column!r}: give its number")
        index = names.index(column) + 1
    elif _is_number(column):
        index = int(column)
    else:
        there_are = ", ".join(names)[: 4 * _SHOWN] or "none with a name"
        raise TraceError(line, f"there is no column {column!r}; the columns are {there_are}")
    return lambda number, row: _at(number, row, index)


def _chooser(line: int, where: tuple[str, str] | None, names: list[str]) -> Callable[[int, list[str]], bool]:
    if where is None:
        return lambda _line, _row: True
    find, value = _finder(line, where[0], names), where[1]
    return lambda number, row: find(number, row).strip() == value


def _is_number(column: str) -> bool:
    return re.fullmatch(r"-?[1-9][0-9]{0,3}", column) is not None


def _at(line: int, row: list[str], index: int) -> str:
    try:
        return row[index - (index > 0)]
    except IndexError:
        raise TraceError(line, f"there is no column {index}: the line has {_count(len(row))}") from None


def _count(columns: int) -> str:
    return "1 column" if columns == 1 else f"{columns} columns"


def _seconds(line: int, cell: str, unit: str | None) -> float:
    """Read a value.

    Raises:
        TraceError: it is not a number or a duration, is not finite, or is above LONGEST.
    """
    text = cell.strip()
    found = _VALUE.fullmatch(text) if len(text) <= duration.MAX_LENGTH else None
    if found is None:
        try:
            seconds = duration.parse(text)
        except ValueError as error:
            raise TraceError(line, _reason(text, error)) from None
    else:
        digits, exponent, own = found.groups()
        number = Decimal(digits + (exponent or ""))
        if own is None and unit is None and duration.MAX_BARE < number <= LONGEST:
            raise TraceError(line, f"did you mean {text}ms or {text}s? Add ,unit=ms or ,unit=s behind the file")
        seconds = float(number * _UNITS["us" if own and own not in _UNITS else own or unit or "s"])
    if seconds > LONGEST:
        raise TraceError(line, f"{text[:_SHOWN]!r} is above {LONGEST:.0f} seconds")
    return seconds


def _reason(text: str, error: ValueError) -> str:
    shown = repr(text[:_SHOWN])
    if not text:
        return "expected a duration, and the cell is empty"
    if _DECIMAL_COMMA.fullmatch(text):
        return f"expected a duration, and {shown} has a decimal comma: write {text.replace(',', '.')[:_SHOWN]}"
    if _NOT_FINITE.fullmatch(text):
        return f"expected a duration, and {shown} is not a finite number"
    if text.startswith(("-", "\u2212")):
        return f"expected a duration, and {shown} is negative or not a number"
    return f"{error}, not {shown}"
