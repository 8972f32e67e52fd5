"""The chunked transfer coding of a request's body (RFC 9112, section 7.1)."""

import re
from collections.abc import Callable
from typing import Final

from latebin.core.http.request_head import malformed

LINE: Final = 1024
"""Bytes of the longest line with the size of a chunk, its extensions and its end included."""

MOST: Final = 16 * 1024
"""Bytes of all extensions of a body together, and of all its trailers."""

# Extensions are dropped: they are held to their characters alone.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]+)([ \t]*;[\t -~\x80-\xff]*)?\r\n").match

_PART_OF_SIZE: Final = re.compile(rb"[0-9A-Fa-f]+(?:[ \t]*|[ \t]*;[\t -~\x80-\xff]*\r?|\r)").fullmatch

_TRAILER: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*)?\r\n").match

_PART_OF_TRAILER: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+(?::[^\0\r\n]*\r?)?|\r)").fullmatch

_CRLF: Final = b"\r\n"

_CHUNKS: Final = f"chunks with sizes in hexadecimal digits, in lines of at most {LINE} bytes (RFC 9112, section 7.1)"


class ChunkedBody:
    """The bytes of a chunked body, taken apart as they come.

    Attributes:
        announced: bytes of the chunks whose sizes have come.
        left: bytes of the present chunk that have not come.
        rest: the bytes behind the body; None until it ends.
    """

    __slots__ = ("_at", "_data", "_overhead", "_part", "announced", "left", "rest")

    def __init__(self) -> None:
        self.announced = 0
        self.rest: bytes | None = None
        self._data = b""
        self._at = 0
        self.left = 0
        self._overhead = 0
        # Not a bound method: this object and the method would refer to each other.
        self._part: Callable[[ChunkedBody, list[bytes]], bool] = ChunkedBody._size

    @property
    def ending(self) -> bool:
        """Whether the last chunk has come, and not all that follows."""
        return self._part is ChunkedBody._trailer and self.rest is None

    def feed(self, data: bytes) -> bytes:
        """Take bytes in, and return those of the body.

        After the end of the body, no more are to be taken in.

        Raises:
            Refused: 400, the bytes are not chunks.
        """
        self._data = self._data + data if self._data else data
        self._at = 0
        pieces: list[bytes] = []
        while self._part(self, pieces):
            pass
        self._data = self._data[self._at :]
        if self.rest is not None:
            self.rest, self._data = self._data, b""
        return b"".join(pieces)

    def _size(self, _: list[bytes]) -> bool:
        """Read the line with a size; return whether it is whole, as the others do."""
        line = _SIZE(self._data, self._at)
        if line is None:
            self._check(_PART_OF_SIZE, LINE, "a chunk has no size")
            return False
        if line.end() - self._at > LINE:
            raise malformed("a chunk has no size", _CHUNKS)
        if line[2]:
            self._count(len(line[2]))
        self.left = int(line[1], 16)
        self.announced += self.left
        self._at = line.end()
        self._part = ChunkedBody._content if self.left else ChunkedBody._trailer
        return True

    def _content(self, pieces: list[bytes]) -> bool:
        piece = self._data[self._at : self._at + self.left]
        pieces.append(piece)
        self._at += len(piece)
        self.left -= len(piece)
        if self.left:
            return False
        self._part = ChunkedBody._end
        return True

    def _end(self, _: list[bytes]) -> bool:
        end = self._data[self._at : self._at + 2]
        if not _CRLF.startswith(end):
            raise malformed("a chunk is longer than its size", _CHUNKS)
        if len(end) < len(_CRLF):
            return False
        self._at += len(_CRLF)
        self._part = ChunkedBody._size
        return True

    def _trailer(self, _: list[bytes]) -> bool:
        line = _TRAILER(self._data, self._at)
        if line is None:
            self._check(_PART_OF_TRAILER, MOST, "neither a trailer nor the end follows the last chunk")
            return False
        length = line.end() - self._at
        self._count(length)
        self._at = line.end()
        if length == len(_CRLF):
            self.rest = b""
        return self.rest is None

    def _check(self, part: Callable[[bytes], object], most: int, detail: str) -> None:
        """Refuse a line that is not whole yet, and cannot become a right one."""
        rest = self._data[self._at :]
        if rest and (len(rest) > most or not part(rest)):
            raise malformed(detail, _CHUNKS)

    def _count(self, length: int) -> None:
        self._overhead += length
        if self._overhead > MOST:
            raise malformed("its chunk extensions or trailers are too long", f"at most {MOST} bytes of them")
