"""Where an HTTP/1 answer ends: bytes in, whole answers out, no input or output (RFC 9112)."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

CLOSED: Final = "closed"
"""The connection ended without a byte of an answer."""

SHORT: Final = "short"
"""The connection ended inside an answer."""

GARBAGE: Final = "garbage"
"""What came is not HTTP/1."""

SURPLUS: Final = "surplus"
"""More came than the one answer that was asked for."""

MAX_HEAD: Final = 65_536
"""The most bytes of status line and headers, or of one line between chunks, that are still taken for HTTP."""

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
"""Statuses that another answer follows; 101 is not one of them (RFC 9110, section 15.2)."""

_BODILESS: Final = frozenset({204, 304})


class ProtocolError(Exception):
    """What came is no answer.

    Attributes:
        kind: CLOSED, SHORT or GARBAGE.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Answer(NamedTuple):
    """An answer that has come in whole."""

    status: int
    reusable: bool
    """Whether another request may follow on the same connection."""

    surplus: bool
    """Whether bytes came behind it that nobody had asked for."""


class _Body(Protocol):
    ends_with_connection: bool

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; return what came behind the body's end, or None as long as it has not ended."""


class ResponseParser:
    """Reads the answers of one connection, one after the other."""

    __slots__ = ("_body", "_held", "_reusable", "_status")

    def __init__(self) -> None:
        self._held = b""
        self._body: _Body | None = None
        self._status = 0
        self._reusable = False

    @property
    def begun(self) -> bool:
        """Whether part of an answer has come, interim ones (RFC 9110, section 15.2) aside."""
        return self._body is not None or bool(self._held)

    def feed(self, data: bytes) -> Answer | None:
        """Take bytes as they come.

        Args:
            data: not empty.

        Returns:
            The answer, once its last byte is there.

        Raises:
            ProtocolError: they are not HTTP/1.
        """
        if self._body is None:
            self._held += data
            data = self._read_head()
            if self._body is None:
                return None
        surplus = self._body.feed(data)
        return None if surplus is None else self._finish(surplus)

    def end(self) -> Answer:
        """Take the end of the connection.

        Returns:
            The answer that the end completes.

        Raises:
            ProtocolError: it completes none.
        """
        if self._body is not None and self._body.ends_with_connection:
            return self._finish(b"")
        raise ProtocolError(SHORT if self.begun else CLOSED)

    def _finish(self, surplus: bytes) -> Answer:
        self._body = None
        return Answer(self._status, self._reusable, bool(surplus))

    def _read_head(self) -> bytes:
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head, rest = self._held[: end + 2], self._held[end + 4 :]
            self._held = b""
            self._understand(head)
            if self._body is not None:
                return rest
            self._held = rest
        if not self._held.startswith(_START[: len(self._held)]) or len(self._held) > MAX_HEAD:
            raise ProtocolError(GARBAGE)
        return b""

    def _understand(self, head: bytes) -> None:
        line = _HEAD.fullmatch(head)
        if line is None:
            raise ProtocolError(GARBAGE)
        self._status = int(line["status"])
        if self._status in _INTERIM:
            return
        fields = _fields(head)
        self._body = _body(self._status, fields)
        self._reusable = not self._body.ends_with_connection and _persists(line["minor"], fields)


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
        """Go on: only the end of the connection ends it."""


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
            self._skip()
            line, found, rest = self._held.partition(b"\r\n")
            if self._left or not found:
                self._refuse_endless()
                return None
            self._held = rest
            self._expect = self._expect(line)
        return self._held

    def _skip(self) -> None:
        skipped = self._held[: self._left]
        self._held = self._held[len(skipped) :]
        self._left -= len(skipped)

    def _refuse_endless(self) -> None:
        if len(self._held) > MAX_HEAD:
            raise ProtocolError(GARBAGE)

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
        fields[key] = fields[key] + b"," + value if key in fields else value
    return fields


def _body(status: int, fields: dict[bytes, bytes]) -> _Body:
    """Choose how the body ends (RFC 9112, section 6.3)."""
    if status in _BODILESS:
        return _Sized(0)
    if b"transfer-encoding" in fields:
        return _Chunked() if _tokens(fields[b"transfer-encoding"])[-1] == b"chunked" else _Unbounded()
    if b"content-length" in fields:
        return _Sized(_length(fields[b"content-length"]))
    return _Unbounded()


def _length(value: bytes) -> int:
    lengths = set(_tokens(value))
    length = lengths.pop()
    if lengths or not length.isdigit():
        raise ProtocolError(GARBAGE)
    return int(length)


def _persists(minor: bytes, fields: dict[bytes, bytes]) -> bool:
    """Tell whether the connection stays open (RFC 9112, section 9.3)."""
    options = _tokens(fields.get(b"connection", b""))
    return b"close" not in options and (minor == b"1" or b"keep-alive" in options)


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.lower().split(b",")]
