"""Sequences of values, one step for each request: `503*2,200`.

    sequence = step, ",", step, { ",", step } ;
    step     = value, [ "*", count ] ;
    count    = digit, { digit } ;

This is EBNF (ISO/IEC 14977). A value reaches to the next comma outside of its own parentheses. A step without a count
is one request long, and the last step is repeated for ever.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

import attrs

T = TypeVar("T")

MAX_LENGTH: Final = 4000
"""The longest sequence, in characters."""

MAX_STEPS: Final = 64
"""The most steps in one sequence."""

MAX_COUNT: Final = 1_000_000
"""The most requests of one step."""

_COUNTED: Final = re.compile(r"(.*?)\s*\*\s*([0-9]{1,7})", re.DOTALL)


@attrs.frozen
class Sequence(Generic[T]):
    """The values of successive requests.

    Attributes:
        steps: each value with the number of requests that it is for; the last one is for all others, too.
    """

    steps: tuple[tuple[T, int], ...]

    def __str__(self) -> str:
        return ",".join(str(value) if count == 1 else f"{value}*{count}" for value, count in self.steps)

    @property
    def last(self) -> T:
        """The value that is repeated for ever."""
        return self.steps[-1][0]

    def at(self, n: int) -> T:
        """Return the value of the n-th request, counted from 1."""
        for value, count in self.steps:
            if n <= count:
                return value
            n -= count
        return self.last


def parse(text: str, read: Callable[[str], T]) -> "T | Sequence[T]":
    """Read one value or a sequence of values.

    Args:
        text: a value, or a sequence in the grammar above.
        read: reads one value, or raises ValueError.

    Raises:
        ValueError: a value is wrong, or the sequence exceeds a bound.
    """
    # The common forms of one value are found without a loop over their characters.
    head, opening, rest = text.partition("(")
    if "*" not in text and "," not in head and (not opening or rest.find(")") == len(rest) - 1):
        return read(text)
    try:
        pieces = list(parts(text))
    except ValueError:
        return read(text)  # which names the place of a wrong parenthesis
    if len(pieces) == 1:
        if _COUNTED.fullmatch(text):
            raise ValueError("expected another step behind a count: the last step is repeated for ever")
        return read(text)
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    if len(pieces) > MAX_STEPS:
        raise ValueError(f"more than {MAX_STEPS} steps")
    return Sequence(tuple(_step(number, piece.strip(), read) for number, piece in enumerate(pieces, 1)))


def _step(number: int, text: str, read: Callable[[str], T]) -> tuple[T, int]:
    counted = _COUNTED.fullmatch(text)
    value, count = (counted[1], int(counted[2])) if counted else (text, 1)
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"in step {number}, expected a count from 1 to {MAX_COUNT}")
    try:
        return read(value), count
    except ValueError as error:
        raise ValueError(f"in step {number}, {error}") from None


def parts(text: str) -> Iterator[str]:
    """Split a text at the commas outside of its parentheses.

    Raises:
        ValueError: a parenthesis is not closed, or closes nothing.
    """
    depth = start = 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            raise ValueError(f"the parenthesis at character {at} closes nothing")
        if character == "," and not depth:
            yield text[start:at]
            start = at + 1
    if depth:
        raise ValueError("a parenthesis is not closed")
    yield text[start:]
