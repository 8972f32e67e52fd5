"""Streams of events as data: server-sent events and NDJSON."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal

import attrs

from latebin.core.http.body import SENTENCE

Kind = Literal["sse", "ndjson"]

TYPES: Final[dict[Kind, bytes]] = {"sse": b"text/event-stream", "ndjson": b"application/x-ndjson"}
"""The media type of each kind (HTML, section 9.2.5; the NDJSON specification, section 3.3)."""

PIECES: Final = ("words", "lines", "events")
"""The pieces of a body that one event each can carry."""

MAX_DATA: Final = 64 * 1024
"""Bytes of the largest `data` in one event, which is made in memory."""

RETRY: Final = 1000
"""Milliseconds after which a client connects again, as the first event of a connection says."""

COMMENT: Final = b": nothing yet\n\n"
"""A comment, which a client skips, and which shows every proxy that the connection is in use."""

MAX_ID_DIGITS: Final = 15
"""Digits of the largest id that a stream without end goes on behind."""

_LINE_END: Final = rb"(?:\r\n|\r(?!\n)|\n)"
"""The end of a line (HTML, section 9.2.5)."""

_ID: Final = re.compile(rb"(?:\A|[\r\n])id: ?([^\0\r\n]*)(?=[\r\n])")

_EVENT: Final = re.compile(rb".+?(?:%b{2}|\Z)" % _LINE_END, re.DOTALL)

_WHOLE: Final = re.compile(rb".*%b{2}" % _LINE_END, re.DOTALL)

_MARK: Final = b"\xef\xbb\xbf"
"""The byte order mark, which begins no event."""

_WORD: Final = re.compile(r"\s*\S+\s*")


@attrs.frozen
class Stream:
    """A body of events, each of which is sent when it is due.

    Attributes:
        kind: the format of the events.
        count: the number of events; 0 for events without end.
        pieces: the `data` of each event as JSON, repeated after the last; without one, events have no `data`.
        verbatim: whether the pieces are whole events, sent as they are.
        first: the number of the first event, above 1 for a client that comes back.
        ping: whether an event has the members and the name that go-httpbin gives it.
    """

    kind: Kind
    count: int = 1
    pieces: Sequence[bytes] = ()
    verbatim: bool = False
    first: int = 1
    ping: bool = False

    @property
    def ended(self) -> bool:
        """Whether a client that comes back has every event already."""
        return 0 < self.count < self.first

    def event(self, number: int, due: float, left: float, now: float = 0.0) -> bytes:
        """Return the bytes of an event.

        Args:
            number: its number, from 1.
            due: seconds from the acceptance of the request to the moment when the event was to leave.
            left: seconds to the moment when it leaves.
            now: that moment in seconds of UNIX time, for a ping.
        """
        piece = self.pieces[(number - 1) % len(self.pieces)] if self.pieces else b""
        if self.verbatim:
            return piece
        data = b', "data": %b' % piece if piece else b""
        count = b'"id": %d, "timestamp": %d' % (number - 1, now * 1000) if self.ping else b'"n": %d' % number
        described = b'{%b, "due_ms": %.3f, "left_ms": %.3f%b}' % (count, due * 1000, left * 1000, data)
        if self.kind == "ndjson":
            return described + b"\n"
        retry = b"retry: %d\n" % RETRY if number == self.first else b""
        name = b"event: ping\n" if self.ping else b""
        return b"%bid: %d\n%bdata: %b\n\n" % (retry, number, name, described)

    def behind(self, last: bytes) -> "Stream":
        """Return the rest of the stream for a client that comes back (HTML, section 9.2.4).

        Args:
            last: the id of the last event that the client has.

        Raises:
            ValueError: the stream has no event of this id.
        """
        if self.verbatim:
            # A header has no blanks around its value.
            ids = [_id(piece) for piece in self.pieces]
            if last.strip() not in ids:
                raise ValueError("expected the id of an event in the body")
            return attrs.evolve(self, first=ids.index(last.strip()) + 2)
        if not (last.isdigit() and len(last) <= MAX_ID_DIGITS):
            raise ValueError("expected the number of an event")
        if self.count and int(last) > self.count:
            raise ValueError(f"expected the number of an event, at most {self.count}")
        return attrs.evolve(self, first=int(last) + 1)


def stream(kind: Kind, count: int | None, size: int | None) -> Stream:
    """Make a stream of events of our own.

    Args:
        kind: the format of the events.
        count: the number of events, 0 for events without end; None for one.
        size: bytes of `data` in each event; None for none.
    """
    pieces = () if size is None else (b'"%b"' % (SENTENCE * (size // len(SENTENCE) + 1))[:size],)
    return Stream(kind, 1 if count is None else count, pieces)


@lru_cache(16)
def stream_of(kind: Kind, count: int | None, body: bytes, unit: str) -> Stream:
    """Make a stream that carries a body, a piece in each event.

    Args:
        kind: the format of the events.
        count: the number of events, 0 for events without end; None for one of each piece.
        body: the body.
        unit: one of PIECES; `events` sends each event of the body as it is.

    Raises:
        ValueError: the body has no piece, or is not UTF-8.
    """
    if unit == "events":
        pieces = _events(kind, body)
    else:
        text = body.decode("utf-8")
        parts = _WORD.findall(text) if unit == "words" else text.splitlines(keepends=True)
        pieces = [json.dumps(part).encode("ascii") for part in parts]
    if not pieces:
        raise ValueError(f"expected a body with {unit}")
    return Stream(kind, len(pieces) if count is None else count, tuple(pieces), unit == "events")


def _events(kind: Kind, body: bytes) -> list[bytes]:
    """Split a body into events, each with the end that it needs."""
    body = body.removeprefix(_MARK)
    if kind == "ndjson":
        return [line.rstrip(b"\r\n") + b"\n" for line in body.splitlines(keepends=True) if line.strip()]
    events = [event for event in _EVENT.findall(body) if event.strip()]
    return [event if _WHOLE.fullmatch(event) else event.rstrip(b"\r\n") + b"\n\n" for event in events]


def _id(event: bytes) -> bytes | None:
    found: list[bytes] = _ID.findall(event)
    return found[-1].strip() if found else None
