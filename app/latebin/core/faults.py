"""The failures that an answer can have on purpose, and their place in its body."""

from typing import Final

import attrs

from latebin.core.language import size

KINDS: Final = {
    "reset": "the connection is reset (RST)",
    "close": "the connection is closed without an answer (FIN)",
    "truncate": "half of the body that Content-Length announces, then the connection is closed",
    "garbage": "bytes that are not HTTP, then the connection is closed",
    "badchunk": "a chunked body that breaks off inside a chunk",
    "hang": "headers, then nothing until the client leaves or the longest delay has passed",
}

GARBAGE: Final = b"\x00\xff\x00 this is not HTTP \x00\xff\x00\r\n\r\n"
"""The bytes of `garbage`: neither a status line nor text."""

HALF_CHUNK: Final = b"400\r\nSorry"
"""The last bytes of `badchunk`: a chunk that announces 1,024 bytes and has five."""

ACCEPTED: Final = f"{', '.join(KINDS)}, each with a place in the body behind an @, such as truncate@2k"


@attrs.frozen
class Place:
    """The part of a body that is sent before a fault.

    Attributes:
        amount: bytes of the body, or events of a stream.
        unitless: whether the amount has no unit: in a stream, it is a number of events.
    """

    amount: int
    unitless: bool


def parse(text: str) -> tuple[str, Place | None]:
    """Read a fault such as `reset` or `truncate@2k`.

    Returns:
        One of KINDS, and the place; None for the kind's own place.

    Raises:
        ValueError: the kind or the place is wrong.
    """
    kind, at, place = text.partition("@")
    if kind not in KINDS:
        raise ValueError(f"expected one of {', '.join(KINDS)}")
    return kind, Place(size.parse(place), place.isdigit()) if at else None
