"""Bodies that are forms, read as httpbin reads them, a slice at a time."""

import codecs
from collections.abc import Generator, Iterable
from typing import Final, cast
from urllib.parse import unquote_to_bytes

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from latebin.core.http.echo import Content
from latebin.core.http.reply import Problem, Refused

MAX_PARTS: Final = 1000
"""Fields and files in a form."""

MAX_FIELD: Final = 500_000
"""Bytes of a field in multipart/form-data, files excepted."""

SLICE: Final = 2 * 1024
"""Bytes of a form that are read as one piece of work, of which even the worst take a millisecond."""

FIELDS: Final = 8
"""Fields of a form that are read as one piece of work."""

_ESCAPES: Final = "latebin.escapes"
"""The handler of bytes that are not UTF-8: they stay percent-encoded, as Werkzeug leaves them."""

_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"

_TOO_LARGE: Final = Problem(
    413,
    "This form is too large.",
    parameter="body",
    accepted=f"at most {MAX_PARTS} fields and files, and {MAX_FIELD} bytes in a field",
)


def understand(content_type: str, body: bytes) -> Content:
    """Read a body in one go, as `reading` does piece by piece.

    Raises:
        Refused: as `reading`.
    """
    steps = reading(content_type, body)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Content", end.value)


def reading(content_type: str, body: bytes) -> Generator[None, None, Content]:
    """Read a body as its Content-Type says: as a form, or as mere bytes.

    Args:
        content_type: the header; empty for a request without it.
        body: the whole body.

    Yields:
        After each piece of the work.

    Returns:
        The content, when all is read.

    Raises:
        Refused: 400 for a form that is malformed, 413 for one with too many parts.
    """
    kind, options = parse_options_header(content_type)
    mimetype = kind.lower()
    # Without a boundary there is nothing to look for: httpbin gives such a body back as it is.
    if not body or mimetype not in (_URLENCODED, _MULTIPART) or (mimetype == _MULTIPART and "boundary" not in options):
        return Content(body)
    try:
        if mimetype == _URLENCODED:
            return Content(b"", grouped((yield from _fields(body))))
        from latebin.answers.multipart import parts  # noqa: PLC0415  # for the first of these forms

        return (yield from parts(body, options["boundary"].encode("ascii")))
    except RequestEntityTooLarge:
        raise Refused(_TOO_LARGE) from None
    except ValueError:
        malformed = Problem(
            400, "The body is not the form that it is said to be.", "body", content_type, "a well-formed form"
        )
        raise Refused(malformed) from None


_ESCAPED: Final = [f"%{byte:02X}" for byte in range(256)]


def grouped(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Put the values of each name behind the first of them."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return tuple((name, value) for name, values in found.items() for value in values)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(map(_ESCAPED.__getitem__, error.object[error.start : error.end])), error.end


codecs.register_error(_ESCAPES, _escape)


def _fields(body: bytes) -> Generator[None, None, list[tuple[str, str]]]:
    if body.count(b"&") >= MAX_PARTS:
        raise RequestEntityTooLarge
    body.decode()
    found = []
    for number, field in enumerate(filter(None, body.split(b"&"))):
        name, _, value = field.partition(b"=")
        found.append(((yield from _unquoted(name)), (yield from _unquoted(value))))
        if number % FIELDS == FIELDS - 1:
            yield
    return found


def _unquoted(text: bytes) -> Generator[None, None, str]:
    """Decode percent-encoded UTF-8, in slices that end between two escapes."""
    if len(text) <= SLICE:
        return _plain(text).decode("utf-8", _ESCAPES)
    decoder = codecs.getincrementaldecoder("utf-8")(_ESCAPES)
    pieces, at = [], 0
    while len(text) - at > SLICE:
        cut = text.find(b"%", at + SLICE - 2, at + SLICE)
        end = at + SLICE if cut < 0 else cut
        pieces.append(decoder.decode(_plain(text[at:end])))
        at = end
        yield
    pieces.append(decoder.decode(_plain(text[at:]), final=True))
    return "".join(pieces)


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
