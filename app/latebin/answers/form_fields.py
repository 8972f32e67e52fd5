"""The fields of a form: their bounds, their groups, and those in a urlencoded body."""

import codecs
from collections.abc import Generator, Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import RequestEntityTooLarge

from latebin.core.http.echo import escape_bytes

MAX_PARTS: Final = 1000
"""Fields and files in a form."""

MAX_FIELD: Final = 500_000
"""Bytes of a field in multipart/form-data, files excepted."""

SLICE: Final = 2 * 1024
"""Bytes of a form that are read as one piece of work, of which even the worst take a millisecond."""

FIELDS: Final = 8
"""Fields of a form that are read as one piece of work."""


def grouped(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Put the values of each name behind the first of them."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return tuple((name, value) for name, values in found.items() for value in values)


def urlencoded(body: bytes) -> Generator[None, None, list[tuple[str, str]]]:
    """Read a form as application/x-www-form-urlencoded.

    Yields:
        After each piece of the work.

    Returns:
        The pairs of name and value.

    Raises:
        RequestEntityTooLarge: the form has too many fields.
        ValueError: the form is not UTF-8.
    """
    if body.count(b"&") >= MAX_PARTS:
        raise RequestEntityTooLarge
    body.decode()
    found, size, number = [], 0, 0
    for field in filter(None, body.split(b"&")):
        name, _, value = field.partition(b"=")
        found.append(((yield from _unquoted(name)), (yield from _unquoted(value))))
        size, number = size + len(field), number + 1
        if size >= SLICE or number == FIELDS:
            size = number = 0
            yield
    return found


def _unquoted(text: bytes) -> Generator[None, None, str]:
    """Decode percent-encoded UTF-8, in slices that end between two escapes."""
    if len(text) <= SLICE:
        return escape_bytes(_plain(text).decode("utf-8", "surrogateescape"))
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    pieces, at = [], 0
    while len(text) - at > SLICE:
        cut = text.find(b"%", at + SLICE - 2, at + SLICE)
        end = at + SLICE if cut < 0 else cut
        pieces.append(escape_bytes(decoder.decode(_plain(text[at:end]))))
        at = end
        yield
    pieces.append(escape_bytes(decoder.decode(_plain(text[at:]), final=True)))
    return "".join(pieces)


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
