"""An incremental parser of an upstream's response (RFC 9112), without input or output.

Every bound and every check is here, and each failure has its reason. A gateway must not pass on a response that the
next recipient could read in another way (RFC 9112, section 11).
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from latebin.core.http.upstream_headers import Field, has_control, tokens

MAX_HEAD: Final = 256 * 1024
"""Bytes of a status line with its headers, and of a trailer section."""

MAX_FIELDS: Final = 500
"""Header lines of a response, and lines of a trailer section."""

MAX_INTERIM: Final = 100
"""Interim responses (1xx) before the final one."""

MAX_CHUNK_LINE: Final = 4096
"""Bytes of the line before a chunk."""

_START: Final = b"HTTP/1."

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00\r]*)?")

_BODILESS: Final = frozenset({204, 304})
"""Statuses of final responses without a body, with any headers (RFC 9112, section 6.3)."""

_SWITCHING: Final = 101

_FINAL: Final = 200
"""The first status of a final response."""


class ResponseError(Exception):
    """A response that cannot be passed on.

    The text is the reason, with no byte of the response in it.
    """


@attrs.frozen
class Head:
    """The status line of a response, with its headers.

    Attributes:
        minor: the minor version of HTTP/1.
        status: 100 to 999.
        reason: the reason phrase; it may be empty.
        fields: names and values in their order, as they were spelt.
    """

    minor: int
    status: int
    reason: bytes
    fields: tuple[Field, ...]

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all headers of a name in lower case."""
        return [value for each, value in self.fields if each.lower() == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """Return the members of a list in headers of this name, in lower case."""
        return tokens(self.values(name))

    @property
    def persists(self) -> bool:
        """Whether another request may follow on the connection (RFC 9112, section 9.3)."""
        options = self.tokens(b"connection")
        return b"close" not in options and (self.minor > 0 or b"keep-alive" in options)


@attrs.frozen
class End:
    """The end of a response.

    Attributes:
        trailers: the fields behind a chunked body.
    """

    trailers: tuple[Field, ...] = ()


Event = Head | bytes | End

_Step = Callable[[], "Event | None"]


class ResponseParser:
    """A parser of the responses to one request: interim ones, and the final one.

    Args:
        method: the method of the request; a response to HEAD has no body.
    """

    def __init__(self, method: bytes) -> None:
        self._method = method
        self._held = bytearray()
        self._sought = self._size = self._left = self._interim = 0
        self._begun = False
        self._line: bytes | None = None
        self._head: tuple[int, int, bytes] | None = None
        self._fields: list[Field] = []
        self._step: _Step | None = self._status
        self._unbounded = False
        self._persists = True

    @property
    def begun(self) -> bool:
        """Whether any byte of a response has come."""
        return self._begun

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on the connection, now that the response is whole."""
        return self._step is None and self._persists and not self._held

    def rest(self) -> bytes:
        """Take the bytes behind the response: those of another protocol after a 101."""
        rest = bytes(self._held)
        self._held.clear()
        return rest

    def feed(self, data: bytes) -> Iterator[Event]:
        """Parse the next bytes of the connection, as far as the events are taken.

        Raises:
            ResponseError: the response cannot be passed on.
        """
        self._begun = True
        if self._step == self._sized and not self._held and len(data) < self._left:
            # Most of a large body comes in this way, and is not copied.
            self._left -= len(data)
            yield data
            return
        self._held += data
        pieces: list[bytes] = []
        while self._step is not None:
            event = self._step()
            if isinstance(event, bytes):
                pieces.append(event)
                continue
            if pieces:
                # Many small chunks are one piece, which is written at once.
                yield b"".join(pieces)
                pieces.clear()
            if event is None:
                return
            yield event

    def end(self) -> End:
        """Parse the end of the connection.

        Raises:
            ResponseError: the response is not whole.
        """
        if self._unbounded:
            self._step = None
            return End()
        if not self._begun:
            raise ResponseError("it closed the connection before its answer")
        where = "headers" if self._step in (self._status, self._header) else "body"
        raise ResponseError(f"it closed the connection in the middle of its {where}")

    # Each step parses one part, and returns its event; None asks for more bytes. A step without an event of its own
    # goes on with the next step.

    def _status(self) -> Event | None:
        line = self._next_line("headers", MAX_HEAD)
        if line is None:
            if not _START.startswith(self._held[: len(_START)]):
                raise ResponseError("it does not speak HTTP/1")
            return None
        found = _STATUS_LINE.fullmatch(line)
        if found is None:
            raise ResponseError(
                "its status line is malformed" if line.startswith(_START) else "it does not speak HTTP/1"
            )
        self._head = int(found[1]), int(found[2]), found[3] or b""
        self._fields = []
        self._step = self._header
        return self._header()

    def _header(self) -> Event | None:
        while line := self._next_line("headers", MAX_HEAD):
            self._fields.append(self._field(line, "headers"))
        if line is None:
            return None
        minor, status, reason = self._head or (0, 0, b"")
        head = _with_one_length(Head(minor, status, reason, tuple(self._fields)))
        self._size = 0
        if status == _SWITCHING:
            self._step = None
        elif status < _FINAL:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise ResponseError(f"it sent more than {MAX_INTERIM} interim answers")
            self._step = self._status
        else:
            self._step = self._body(head)
            self._persists = head.persists and not self._unbounded
        return head

    def _body(self, head: Head) -> _Step:
        """Choose the framing of the body (RFC 9112, section 6.3)."""
        length, codings = _length(head), head.tokens(b"transfer-encoding")
        if codings and head.values(b"content-length"):
            raise ResponseError("it has both Transfer-Encoding and Content-Length")
        if self._method == b"HEAD" or head.status in _BODILESS:
            return self._done
        if codings:
            if codings != [b"chunked"] or not head.minor:
                raise ResponseError("its transfer coding is not the chunked one of HTTP/1.1")
            return self._chunk
        if length is None:
            self._unbounded = True
            return self._until_the_end
        self._left = length
        return self._sized

    def _done(self) -> End:
        self._step = None
        return End()

    def _until_the_end(self) -> Event | None:
        return self.rest() or None

    def _sized(self) -> Event | None:
        if not self._left:
            return self._done()
        return self._take()

    def _chunk(self) -> Event | None:
        line = self._next_line("chunk", MAX_CHUNK_LINE)
        if line is None:
            return None
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise ResponseError("a chunk of its body is malformed")
        self._size, self._left = 0, int(found[1], 16)
        if not self._left:
            self._fields = []
            self._step = self._trailer
            return self._trailer()
        self._step = self._chunk_data
        return self._chunk_data()

    def _chunk_data(self) -> Event | None:
        if self._left:
            return self._take()
        line = self._next_line("chunk", MAX_CHUNK_LINE)
        if line is None:
            return None
        if line:
            raise ResponseError("a chunk of its body is malformed")
        self._size = 0
        self._step = self._chunk
        return self._chunk()

    def _trailer(self) -> Event | None:
        while (line := self._next_line("trailers", MAX_HEAD)) is not None:
            if not line:
                self._step = None
                return End(tuple(self._fields))
            self._fields.append(self._field(line, "trailers"))
        return None

    def _take(self) -> bytes | None:
        """Take as much of the body, or of its chunk, as has come."""
        taken = bytes(self._held[: self._left])
        del self._held[: len(taken)]
        self._left -= len(taken)
        return taken or None

    def _next_line(self, part: str, most: int) -> bytes | None:
        """Take a line, with or without a CR (RFC 9112, section 2.2).

        Raises:
            ResponseError: this part of the response has become larger than it may be.
        """
        end = self._held.find(b"\n", self._sought)
        if self._size + (len(self._held) if end < 0 else end + 1) > most:
            raise ResponseError(f"its {part} line is too long" if part == "chunk" else f"its {part} are too large")
        if end < 0:
            self._sought = len(self._held)
            return None
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        self._sought = 0
        self._size += end + 1
        return line.removesuffix(b"\r")

    def _field(self, line: bytes, part: str) -> Field:
        if len(self._fields) == MAX_FIELDS:
            raise ResponseError(f"it has more than {MAX_FIELDS} {part}")
        if line[0] in b" \t":
            raise ResponseError(f"one of its {part} is folded into several lines")
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise ResponseError(f"the name of one of its {part} is invalid")
        value = value.strip(b" \t")
        if has_control(value):
            raise ResponseError(f"one of its {part} contains a control character")
        return name, value


def _with_one_length(head: Head) -> Head:
    """Make one Content-Length of several that are equal.

    As they are, they must not be passed on (RFC 9110, section 8.6).
    """
    values = head.values(b"content-length")
    lengths = {length.strip() for value in values for length in value.split(b",")}
    if len(lengths) != 1 or values == list(lengths):
        return head
    others = [field for field in head.fields if field[0].lower() != b"content-length"]
    return attrs.evolve(head, fields=(*others, (b"Content-Length", lengths.pop())))


def _length(head: Head) -> int | None:
    """Return the length that a response announces; None for no announcement.

    Raises:
        ResponseError: it is not a number, or there are two that differ.
    """
    values = head.values(b"content-length")
    lengths = {length.strip() for value in values for length in value.split(b",")}
    if not lengths:
        return None
    if len(lengths) > 1:
        raise ResponseError("it has Content-Length headers that differ")
    length = lengths.pop()
    if not _LENGTH.fullmatch(length):
        raise ResponseError("its Content-Length is malformed")
    return int(length)
