"""JSON as `/control` takes it: nothing in it is passed over."""

import json
from typing import Final

MAX_DIGITS: Final = 20
"""The most digits of a number; the largest seed has as many."""


def parse(text: str | bytes) -> object:
    """Read a JSON text.

    Raises:
        ValueError: the text is not JSON (RFC 8259), an object has a name twice, or a number is too long.
        RecursionError: the text is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_members, parse_int=_integer, parse_constant=_no_number)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice in an object")
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is not JSON (RFC 8259, section 6)")
