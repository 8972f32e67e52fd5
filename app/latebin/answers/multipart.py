"""Forms with files, read by Werkzeug's decoder, a slice at a time."""

from collections.abc import Generator
from typing import Final

import attrs
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from latebin.answers.form_fields import FIELDS, MAX_FIELD, MAX_PARTS, SLICE, grouped
from latebin.core.http.echo import Content, Upload

MAX_HEAD: Final = 16 * 1024
"""Bytes of the headers of a part, which are read at once."""

_CHARSETS: Final = frozenset({"ascii", "us-ascii", "utf-8", "iso-8859-1"})
"""The encodings that a field may name; any other is read as UTF-8, as by Werkzeug's own parser."""


@attrs.define
class _Part:
    """A part of a form, with the bytes of it that were found."""

    about: Field | File
    pieces: list[bytes] = attrs.field(factory=list)
    size: int = 0

    def add(self, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)
        if isinstance(self.about, Field) and self.size > MAX_FIELD:
            raise RequestEntityTooLarge


def parts(body: bytes, boundary: bytes) -> Generator[None, None, Content]:
    """Read a form as multipart/form-data (RFC 7578).

    Yields:
        After each piece of the work.

    Returns:
        The content, when all is read.

    Raises:
        ValueError: the form is malformed.
        RequestEntityTooLarge: there are too many parts, or too large ones.
    """
    fields: list[tuple[str, str]] = []
    files: dict[str, Upload] = {}
    for number, part in enumerate((yield from _found(body, boundary)), 1):
        kind, content = part.about.headers.get("Content-Type", ""), b"".join(part.pieces)
        if part.about.name is None:
            raise ValueError("a part has no name")
        if isinstance(part.about, File):
            files.setdefault(part.about.name, Upload(kind, content))
        else:
            fields.append((part.about.name, content.decode(_charset(kind), "replace")))
        if not number % FIELDS:
            yield
    return Content(b"", grouped(fields), files)


def _found(body: bytes, boundary: bytes) -> Generator[None, None, list[_Part]]:
    decoder = MultipartDecoder(boundary, MAX_FIELD, max_parts=MAX_PARTS)
    found: list[_Part] = []
    # The last slice is empty, which ends the form.
    for start in range(0, len(body) + SLICE, SLICE):
        decoder.receive_data(body[start : start + SLICE] or None)
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            _take(event, found)
            if isinstance(event, Field | File) and not len(found) % FIELDS:
                yield
        if decoder.state is State.PART and len(decoder.buffer) > MAX_HEAD:
            raise RequestEntityTooLarge
        yield
    return found


def _take(event: Event, found: list[_Part]) -> None:
    if isinstance(event, Field | File):
        found.append(_Part(event))
    elif isinstance(event, Data):
        found[-1].add(event.data)


def _charset(content_type: str) -> str:
    named = parse_options_header(content_type)[1].get("charset", "").lower()
    return named if named in _CHARSETS else "utf-8"
