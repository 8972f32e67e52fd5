"""Bodies of any size, made piece by piece as they are sent and never held whole."""

from typing import Final

import attrs

SENTENCE: Final = b"Sorry to keep you waiting."


@attrs.frozen
class Body:
    """A body that is worked out from the place in it, so that its size costs nothing.

    Attributes:
        content_type: the value of Content-Type.
        head: how it begins.
        filler: what is repeated in between; at least one byte.
        tail: how it ends.
        size: bytes in all, at least those of head and tail.
    """

    content_type: bytes
    head: bytes
    filler: bytes
    tail: bytes
    size: int

    def piece(self, start: int, stop: int) -> bytes:
        """Give the bytes from one place to another.

        Args:
            start: from 0.
            stop: the first byte that is left out; at most `size`.
        """
        if stop <= len(self.head):
            return self.head[start:stop]
        fill = self.size - len(self.tail)
        return (
            self.head[start:stop]
            + self._filling(max(start, len(self.head)), min(stop, fill))
            + self.tail[max(start - fill, 0) : max(stop - fill, 0)]
        )

    def _filling(self, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        offset = (start - len(self.head)) % len(self.filler)
        return (self.filler * ((stop - start) // len(self.filler) + 2))[offset : offset + stop - start]


TYPES: Final = {
    "html": Body(b"text/html", b"<html><body>", SENTENCE, b"</body></html>", 52),
    "json": Body(b"application/json", b'{"message": "', SENTENCE, b'"}', 41),
    "text": Body(b"text/plain; charset=utf-8", b"", SENTENCE + b"\n", b"", 27),
    "bytes": Body(b"application/octet-stream", b"", SENTENCE, b"", 26),
}
"""What a body of each type is made of, and the size that it has by itself; that of `html` is the original example's."""


def whole(content_type: bytes, content: bytes) -> Body:
    """Give a body that is there already."""
    return Body(content_type, content, b" ", b"", len(content))


SENTENCES: Final = {kind: whole(body.content_type, body.piece(0, body.size)) for kind, body in TYPES.items()}
"""The body of each type where no size is asked for, ready to be sent."""


def sized(kind: str, size: int | None) -> Body:
    """Give a body of a type and a size.

    A size that does not hold the type's head and tail is filled without them: JSON that short is a number.

    Args:
        kind: one of TYPES.
        size: bytes; None for the size that the type has by itself.
    """
    if size is None:
        return SENTENCES[kind]
    body = TYPES[kind]
    if size < len(body.head) + len(body.tail):
        return Body(body.content_type, b"", b"1" if kind == "json" else body.filler, b"", size)
    return attrs.evolve(body, size=size)
