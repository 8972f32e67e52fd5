"""An incremental parser of HTTP/1 responses (RFC 9112), without input or output of its own."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

CLOSED: Final = "closed"
"""The connection ended before the first byte of an answer."""

SHORT: Final = "short"
"""The connection ended inside an answer."""

GARBAGE: Final = "garbage"
"""The bytes are not HTTP/1."""

SURPLUS: Final = "surplus"
"""More bytes came than the one answer to the request."""

MAX_HEAD: Final = 65_536
"""The most bytes of a status line with its headers, or of one line between chunks; more are GARBAGE."""

_START: Final = b"HTTP/1."

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

_HEAD: Final = re.compile(
    rb"HTTP/1\.(?P<minor>[01]) (?P<status>[1-5][0-9][0-9])(?: [^\r\n]*)?\r\n(?:" + _TOKEN + rb":[^\r\n]*\r\n)*"
)

_FIELD: Final = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection):[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE
)

_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?")

_INTERIM: Final = frozenset({100, *range(102, 200)})
"""Statuses of interim responses, which another response follows; 101 is final (RFC 9110, section 15.2)."""

_BODILESS: Final = frozenset({204, 304})
"""Statuses of responses without a body, with any headers (RFC 9112, section 6.3)."""


class ProtocolError(Exception):
    """A response that cannot be parsed, or that is not complete.

    Attributes:
        kind: CLOSED, SHORT or GARBAGE.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Answer(NamedTuple):
    """A complete response."""

    status: int
    reusable: bool
    """Whether another request may follow on the same connection."""

    surplus: bool
    """Whether bytes followed the response that belong to no request."""


class _Body(Protocol):
    ends_with_connection: bool

    def feed(self, data: bytes) -> bytes | None:
        """Add bytes; return those behind the body's end, or None while the body is incomplete."""


class ResponseParser:
    """A parser of the responses on one connection, one after the other."""

    __slots__ = ("_body", "_held", "_reusable", "_status")

    def __init__(self) -> None:
        self._held = b""
        self._body: _Body | None = None
        self._status = 0
        self._reusable = False

    @property
    def begun(self) -> bool:
        """Whether part of a final response has come (RFC 9110, section 15)."""
        return self._body is not None or bool(self._held)

    def feed(self, data: bytes) -> Answer | None:
        """Parse the next bytes of the connection.

        Args:
            data: not empty.

        Returns:
            The answer, if `data` completes it.

        Raises:
            ProtocolError: the bytes are not HTTP/1.
        """
        if self._body is None:
            self._held += data
            data = self._parse_head()
            if self._body is None:
                return None
        surplus = self._body.feed(data)
        return None if surplus is None else self._finish(surplus)

    def end(self) -> Answer:
        """Parse the end of the connection.

        Returns:
            The answer that the end of the connection completes.

        Raises:
            ProtocolError: the connection ended before an answer (CLOSED), or inside one (SHORT).
        """
        if self._body is not None and self._body.ends_with_connection:
            return self._finish(b"")
        raise ProtocolError(SHORT if self.begun else CLOSED)

    def _finish(self, surplus: bytes) -> Answer:
        self._body = None
        return Answer(self._status, self._reusable, bool(surplus))

    def _parse_head(self) -> bytes:
        """Parse the head of the next final response; return the bytes behind it."""
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head, rest = self._held[: end + 2], self._held[end + 4 :]
            self._held = b""
            line = _HEAD.fullmatch(head)
            if line is None:
                raise ProtocolError(GARBAGE)
            self._status = int(line["status"])
            if self._status not in _INTERIM:
                fields = _fields(head)
                self._body = _body(self._status, fields)
                # RFC 9112, section 9.3, says whether the connection is persistent.
                options = _tokens(fields.get(b"connection", b""))
                persistent = b"close" not in options and (line["minor"] == b"1" or b"keep-alive" in options)
                self._reusable = persistent and not self._body.ends_with_connection
                return rest
            self._held = rest
        if not self._held.startswith(_START[: len(self._held)]) or len(self._held) > MAX_HEAD:
            raise ProtocolError(GARBAGE)
        return b""


class _Sized:
    __slots__ = ("_left",)
    ends_with_connection = False

    def __init__(self, size: int) -> None:
        self._left = size

    def feed(self, data: bytes) -> bytes | None:
        self._left -= len(data)
        if self._left > 0:
            return None
        return data[self._left :] if self._left else b""


class _Unbounded:
    __slots__ = ()
    ends_with_connection = True

    def feed(self, data: bytes) -> None:
        """Do nothing: only the end of the connection completes the body."""


class _Chunked:
    __slots__ = ("_expect", "_held", "_left")
    ends_with_connection = False

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._expect: _Line | None = self._size

    def feed(self, data: bytes) -> bytes | None:
        self._held += data
        while self._expect is not None:
            skipped = self._held[: self._left]
            self._held = self._held[len(skipped) :]
            self._left -= len(skipped)
            line, found, rest = self._held.partition(b"\r\n")
            if self._left or not found:
                if len(self._held) > MAX_HEAD:
                    raise ProtocolError(GARBAGE)
                return None
            self._held = rest
            self._expect = self._expect(line)
        return self._held

    # Each of these parses one line, and returns the one that parses the next; None is the end of the body.

    def _size(self, line: bytes) -> "_Line":
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise ProtocolError(GARBAGE)
        self._left = int(size[1], 16)
        return self._gap if self._left else self._trailer

    def _gap(self, line: bytes) -> "_Line":
        if line:
            raise ProtocolError(GARBAGE)
        return self._size

    def _trailer(self, line: bytes) -> "_Line | None":
        return self._trailer if line else None


_Line = Callable[[bytes], "_Line | None"]


def _fields(head: bytes) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(head):
        key = name.lower()
        # Lines of one name are one list (RFC 9110, section 5.3).
        fields[key] = fields[key] + b"," + value if key in fields else value
    return fields


def _body(status: int, fields: dict[bytes, bytes]) -> _Body:
    """Choose the framing of the body (RFC 9112, section 6.3)."""
    if status in _BODILESS:
        return _Sized(0)
    if b"transfer-encoding" in fields:
        return _Chunked() if _tokens(fields[b"transfer-encoding"])[-1] == b"chunked" else _Unbounded()
    if b"content-length" not in fields:
        return _Unbounded()
    # Several lengths are valid if they are equal.
    lengths = set(_tokens(fields[b"content-length"]))
    length = lengths.pop()
    if lengths or not length.isdigit():
        raise ProtocolError(GARBAGE)
    return _Sized(int(length))


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.lower().split(b",")]
