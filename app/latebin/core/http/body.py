"""Bodies of any size, made piece by piece and never held whole."""

from typing import Final

import attrs

SENTENCE: Final = b"Sorry to keep you waiting."


@attrs.frozen
class Body:
    """A body whose bytes are computed from their offset, without memory for the whole.

    Attributes:
        content_type: the value of Content-Type.
        head: the first bytes.
        filler: the bytes that repeat between head and tail; at least one.
        tail: the last bytes.
        size: the size in bytes, at least that of head and tail.
    """

    content_type: bytes
    head: bytes
    filler: bytes
    tail: bytes
    size: int

    def piece(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets.

        Args:
            start: the first offset, from 0.
            stop: the offset behind the last byte; at most `size`.
        """
        if stop <= len(self.head):
            return self.head[start:stop]
        end = self.size - len(self.tail)
        offset = max(start - len(self.head), 0) % len(self.filler)
        length = max(min(stop, end) - max(start, len(self.head)), 0)
        filling = self.filler * (length // len(self.filler) + 2) if length else b""
        return (
            self.head[start:stop]
            + filling[offset : offset + length]
            + self.tail[max(start - end, 0) : max(stop - end, 0)]
        )


TYPES: Final = {
    "html": Body(b"text/html", b"<html><body>", SENTENCE, b"</body></html>", 52),
    "json": Body(b"application/json", b'{"message": "', SENTENCE, b'"}', 41),
    "text": Body(b"text/plain; charset=utf-8", b"", SENTENCE + b"\n", b"", 27),
    "bytes": Body(b"application/octet-stream", b"", SENTENCE, b"", 26),
}
"""The parts and the own size of a body of each type; `html` is the body of the original example."""


def whole(content_type: bytes, content: bytes) -> Body:
    """Make a body from its whole content."""
    return Body(content_type, content, b" ", b"", len(content))


SENTENCES: Final = {kind: whole(body.content_type, body.piece(0, body.size)) for kind, body in TYPES.items()}
"""The body of each type in its own size."""


def sized(kind: str, size: int | None) -> Body:
    """Return a body of a type and a size.

    If the size is too small for the type's head and tail, the body has the filler alone. For JSON that is a number.

    Args:
        kind: one of TYPES.
        size: bytes; None for the type's own size.
    """
    if size is None:
        return SENTENCES[kind]
    body = TYPES[kind]
    if size < len(body.head) + len(body.tail):
        return Body(body.content_type, b"", b"1" if kind == "json" else body.filler, b"", size)
    return attrs.evolve(body, size=size)
