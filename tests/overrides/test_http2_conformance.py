"""The cases that h2spec tries on a server, as raw frames with one right outcome.

h2spec takes a connection error for a stream error, and the end of a connection for either. Here, an error that RFC 9113
gives to a stream is that stream's alone: the connection answers another request behind it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest
from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)
from twisted.internet.task import Clock

from latebin.answers.service import Service
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from tests.overrides.test_http2 import Line

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
START = PREFACE + SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 65535}).serialize()
PAYLOAD = b"h2cases\0"
PING = PingFrame(0, PAYLOAD).serialize()

Fields = Sequence[tuple[str, str]]

METHOD, SCHEME, PATH, AUTHORITY = (
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/healthz"),
    (":authority", "localhost"),
)
GET: Fields = (METHOD, SCHEME, PATH, AUTHORITY)
HEAD: Fields = ((":method", "HEAD"), *GET[1:])
POST: Fields = ((":method", "POST"), SCHEME, (":path", "/delayed/0"), AUTHORITY)
LATE: Fields = (METHOD, SCHEME, (":path", "/delayed/1m"), AUTHORITY)
DUMMY = ("x-dummy", "x" * 4000)


def block(fields: Fields) -> bytes:
    """Compress fields; without the table of an earlier block, which a decompressor does not need."""
    return Encoder().encode(fields, huffman=False)


def raw(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> bytes:
    """Write a frame that no library would."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def headers(
    fields: Fields = GET, stream: int = 1, *, end: bool = True, whole: bool = True, tail: bytes = b"", head: bytes = b""
) -> bytes:
    return raw(1, end * 0x1 | whole * 0x4, stream, head + block(fields) + tail)


def data(payload: bytes = b"test", stream: int = 1, *, end: bool = True) -> bytes:
    return raw(0, end * 0x1, stream, payload)


def continuation(payload: bytes, stream: int = 1, *, whole: bool = True) -> bytes:
    frame = ContinuationFrame(1, payload)
    if whole:
        frame.flags.add("END_HEADERS")
    return frame.serialize()[:5] + stream.to_bytes(4, "big") + payload


def priority(stream: int = 1, depends_on: int = 0, weight: int = 255, *, exclusive: bool = False) -> bytes:
    return raw(2, 0, stream, (depends_on | exclusive << 31).to_bytes(4, "big") + bytes((weight,)))


def reset(stream: int = 1, code: int = ErrorCodes.CANCEL) -> bytes:
    return raw(3, 0, stream, code.to_bytes(4, "big"))


def settings(*pairs: tuple[int, int]) -> bytes:
    return raw(4, 0, 0, b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs))


def window(increment: int, stream: int = 0) -> bytes:
    return raw(8, 0, stream, increment.to_bytes(4, "big"))


def initial(size: int) -> bytes:
    return settings((SettingsFrame.INITIAL_WINDOW_SIZE, size))


def goaway(code: int, stream: int = 0) -> bytes:
    return raw(7, 0, stream, bytes(4) + code.to_bytes(4, "big"))


def _status(decoder: Decoder, block: bytes) -> str:
    fields: dict[Any, Any] = dict(decoder.decode(block))
    return str(fields[":status"])


@attrs.define
class Peer:
    """One connection whose client writes frames as it likes."""

    line: Line
    clock: Clock
    frames: list[Any] = attrs.field(factory=list)
    statuses: dict[int, str] = attrs.field(factory=dict)
    _read: int = 0
    _decoder: Decoder = attrs.field(factory=Decoder)

    def send(self, sent: bytes) -> None:
        if self.line.protocol is not None:
            self.line.send(sent)
        self.clock.pump([0] * 4)
        come, self._read = memoryview(self.line.received)[self._read :], len(self.line.received)
        while come:
            frame, length = Frame.parse_frame_header(come[:9])
            frame.parse_body(come[9 : 9 + length])
            come = come[9 + length :]
            self.frames.append(frame)
            if isinstance(frame, HeadersFrame):
                self.statuses[frame.stream_id] = _status(self._decoder, frame.data)

    def of(self, kind: type[Any], stream: int | None = None) -> list[Any]:
        return [each for each in self.frames if isinstance(each, kind) and stream in {None, each.stream_id}]

    def goes_on(self) -> None:
        """Check that a further request is answered."""
        self.send(window(65535, 0) + headers(stream=9001))
        assert self.statuses.get(9001) == "200", "the connection was taken along"


class Answered:
    """An answer to the request; the connection goes on."""

    def __init__(self, status: str = "200", stream: int = 1) -> None:
        self.status, self.stream = status, stream

    def check(self, peer: Peer) -> None:
        assert peer.statuses.get(self.stream) == self.status
        assert peer.of(GoAwayFrame) == []


class Pong:
    """The answer to a PING."""

    def check(self, peer: Peer) -> None:
        [pong] = peer.of(PingFrame)
        assert "ACK" in pong.flags
        assert pong.opaque_data == PAYLOAD
        assert peer.of(GoAwayFrame) == []


class AnyPong:
    """The answer to a PING of zeros."""

    def check(self, peer: Peer) -> None:
        [pong] = peer.of(PingFrame)
        assert "ACK" in pong.flags


class Acknowledged:
    """The acknowledgement of two SETTINGS."""

    def check(self, peer: Peer) -> None:
        first, *acknowledged = peer.of(SettingsFrame)
        assert "ACK" not in first.flags
        assert ["ACK" in each.flags for each in acknowledged] == [True] * 2
        peer.goes_on()


class Prefaced:
    """SETTINGS as the first frame."""

    def check(self, peer: Peer) -> None:
        assert isinstance(peer.frames[0], SettingsFrame)
        assert "ACK" not in peer.frames[0].flags


class Sent:
    """DATA frames of these lengths, and no more."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = list(lengths)

    def check(self, peer: Peer) -> None:
        assert [len(each.data) for each in peer.of(DataFrame, 1)] == self.lengths
        peer.goes_on()


class Resized:
    """An answer whose header block begins with these updates of a table's size alone."""

    def __init__(self, updates: bytes) -> None:
        self.updates = updates

    def check(self, peer: Peer) -> None:
        [answer] = peer.of(HeadersFrame, 1)
        assert answer.data.startswith(self.updates)
        assert answer.data[len(self.updates)] & 0xE0 != 0x20
        peer.goes_on()


class Cancelled:
    """No more of a stream, whose connection goes on."""

    def check(self, peer: Peer) -> None:
        assert peer.statuses == {}
        assert len(peer.of(PingFrame)) == 1
        peer.goes_on()


class Closed:
    """The end of the connection without an error."""

    def check(self, peer: Peer) -> None:
        [last] = peer.of(GoAwayFrame)
        assert last.error_code == ErrorCodes.NO_ERROR
        assert not peer.line.connected


class StreamError:
    """A reset of the stream alone."""

    def __init__(self, code: ErrorCodes, stream: int = 1) -> None:
        self.code, self.stream = code, stream

    def check(self, peer: Peer) -> None:
        assert [each.error_code for each in peer.of(RstStreamFrame, self.stream)] == [self.code]
        peer.goes_on()


class Terminated:
    """A GOAWAY, and the end of the connection at once."""

    def __init__(self, code: ErrorCodes) -> None:
        self.code = code

    def check(self, peer: Peer) -> None:
        [last] = peer.of(GoAwayFrame)
        assert last.error_code == self.code
        assert b"0x" not in last.additional_data, "an address of the process"
        assert peer.frames[-1] is last
        assert not peer.line.connected


BROKEN = Terminated(ErrorCodes.PROTOCOL_ERROR)
UNSIZED = Terminated(ErrorCodes.FRAME_SIZE_ERROR)
UNPACKED = Terminated(ErrorCodes.COMPRESSION_ERROR)
OVERFLOWN = Terminated(ErrorCodes.FLOW_CONTROL_ERROR)
LATECOMER = Terminated(ErrorCodes.STREAM_CLOSED)
MALFORMED = StreamError(ErrorCodes.PROTOCOL_ERROR)
CLOSED = StreamError(ErrorCodes.STREAM_CLOSED)
OK, PONG = Answered(), Pong()

BLOCK = block(GET)
LITERAL = b"\x0auser-agent\x06h2case"
HUFFMAN = b"\x87\xb5\x05\xb1\x61\xcc\x5a\x93" + b"\x84\x9c\x48\xac\xa4"
UNKNOWN = raw(0x16, 0, 0, bytes(8))

CASES: dict[str, tuple[list[bytes], Any]] = {
    "generic/1/1": ([], Prefaced()),
    "generic/2/1": ([priority() + PING], PONG),
    "generic/2/2": ([initial(0), headers(), window(1, 1)], Sent(1)),
    "generic/2/3": ([initial(0), headers(), priority() + window(1, 1)], Sent(1)),
    "generic/2/4": ([headers(LATE), reset() + PING], Cancelled()),
    "generic/2/5": ([headers(), priority() + PING], PONG),
    "generic/3.1/1": ([headers(POST, end=False) + data()], OK),
    "generic/3.1/2": ([headers(POST, end=False) + data(end=False) + data()], OK),
    "generic/3.1/3": ([headers(POST, end=False) + raw(0, 0x9, 1, b"\x05test" + bytes(5))], OK),
    "generic/3.2/1": ([headers()], OK),
    "generic/3.2/2": ([raw(1, 0xD, 1, b"\x08" + BLOCK + bytes(8))], OK),
    "generic/3.2/3": ([raw(1, 0x25, 1, bytes(4) + b"\xff" + BLOCK)], OK),
    "generic/3.3/1": ([priority(weight=0) + headers()], OK),
    "generic/3.3/2": ([priority(weight=255) + headers()], OK),
    "generic/3.3/3": ([priority(3, depends_on=1) + headers()], OK),
    "generic/3.3/4": ([priority(exclusive=True) + headers()], OK),
    "generic/3.3/5": ([priority(3) + headers()], OK),
    "generic/3.4/1": ([headers(POST, end=False), reset() + PING], Cancelled()),
    "generic/3.5/1": ([settings((1, 4096), (2, 1), (3, 100), (4, 65535), (5, 16384), (6, 100))], Acknowledged()),
    "generic/3.7/1": ([PING], PONG),
    "generic/3.8/1": ([goaway(ErrorCodes.NO_ERROR) + PING], Closed()),
    "generic/3.9/1": ([window(1) + PING], PONG),
    "generic/3.9/2": ([headers() + window(1, 1)], OK),
    "generic/3.10/1": ([raw(1, 0x1, 1, BLOCK[:5]) + continuation(BLOCK[5:])], OK),
    "generic/3.10/2": (
        [raw(1, 0x1, 1, BLOCK[:5]) + continuation(BLOCK[5:10], whole=False) + continuation(BLOCK[10:])],
        OK,
    ),
    "generic/4/1": ([headers()], OK),
    "generic/4/2": ([headers(HEAD)], OK),
    "generic/4/3": ([headers(POST, end=False) + data()], OK),
    "generic/4/4": (
        [headers((*POST, ("trailer", "x-test")), end=False) + data(end=False) + headers((("x-test", "ok"),))],
        OK,
    ),
    "generic/5/1": ([headers(tail=b"\xba")], OK),
    "generic/5/2": ([headers(tail=b"\x7a\x06h2case")], OK),
    "generic/5/3": ([headers(tail=b"\x7a\x84\x9c\x48\xac\xa4")], OK),
    "generic/5/4": ([headers(tail=b"\x40" + LITERAL)], OK),
    "generic/5/5": ([headers(tail=b"\x40" + HUFFMAN)], OK),
    "generic/5/6": ([headers(tail=b"\x0f\x2b\x06h2case")], OK),
    "generic/5/7": ([headers(tail=b"\x0f\x2b\x84\x9c\x48\xac\xa4")], OK),
    "generic/5/8": ([headers(tail=b"\x00" + LITERAL)], OK),
    "generic/5/9": ([headers(tail=b"\x00" + HUFFMAN)], OK),
    "generic/5/10": ([headers(tail=b"\x1f\x2b\x06h2case")], OK),
    "generic/5/11": ([headers(tail=b"\x1f\x2b\x84\x9c\x48\xac\xa4")], OK),
    "generic/5/12": ([headers(tail=b"\x10" + LITERAL)], OK),
    "generic/5/13": ([headers(tail=b"\x10" + HUFFMAN)], OK),
    "generic/5/14": ([headers(head=b"\x3f\x01")], OK),
    "generic/5/15": ([headers(head=b"\x20\x3f\x01")], OK),
    "http2/3.5/1": ([], Prefaced()),
    "http2/3.5/2": ([], BROKEN),
    "http2/4.1/1": ([UNKNOWN + PING], PONG),
    "http2/4.1/2": ([raw(6, 0x16, 0, bytes(8))], AnyPong()),
    "http2/4.1/3": ([raw(6, 0x16, 1 << 31, bytes(8))], AnyPong()),
    "http2/4.2/1": ([headers(POST, end=False) + data(bytes(2**14))], OK),
    "http2/4.2/2": ([headers(POST, end=False) + data(bytes(2**14 + 1))], UNSIZED),
    "http2/4.2/3": ([headers((*GET, *((f"x-{number}", "x" * 4000) for number in range(5))))], UNSIZED),
    "http2/4.3/1": ([raw(1, 0x5, 1, b"\x40")], UNPACKED),
    "http2/4.3/2": ([headers(whole=False) + priority() + continuation(block([DUMMY]))], BROKEN),
    "http2/4.3/3": ([headers(whole=False) + headers(stream=3) + continuation(block([DUMMY]))], BROKEN),
    "http2/5.1/1": ([data()], BROKEN),
    "http2/5.1/2": ([reset()], BROKEN),
    "http2/5.1/3": ([window(100, 1)], BROKEN),
    "http2/5.1/4": ([continuation(BLOCK)], BROKEN),
    "http2/5.1/5": ([headers(LATE) + data()], CLOSED),
    "http2/5.1/6": ([headers(LATE) + headers(LATE)], CLOSED),
    "http2/5.1/7": ([headers(LATE) + continuation(BLOCK)], BROKEN),
    "http2/5.1/8": ([headers(POST, end=False) + reset() + data()], CLOSED),
    "http2/5.1/9": ([headers(POST, end=False) + reset() + headers()], CLOSED),
    "http2/5.1/10": ([headers(POST, end=False) + reset() + continuation(BLOCK)], BROKEN),
    "http2/5.1/11": ([headers(), data()], CLOSED),
    "http2/5.1/12": ([headers(), headers()], LATECOMER),
    "http2/5.1/13": ([headers(), continuation(block([DUMMY]))], BROKEN),
    "http2/5.1.1/1": ([headers(stream=2)], BROKEN),
    "http2/5.1.1/2": ([headers(stream=5), headers(stream=3)], BROKEN),
    "http2/5.1.2/1": (
        [initial(0) + b"".join(headers(LATE, stream) for stream in range(1, 203, 2)), reset()],
        StreamError(ErrorCodes.REFUSED_STREAM, 201),
    ),
    "http2/5.3.1/1": ([raw(1, 0x25, 1, b"\0\0\0\1\xff" + BLOCK)], MALFORMED),
    "http2/5.3.1/2": ([priority(depends_on=1)], MALFORMED),
    "http2/5.4.1/1": ([raw(6, 0, 3, bytes(8))], BROKEN),
    "http2/5.5/1": ([UNKNOWN + PING], PONG),
    "http2/5.5/2": ([headers(whole=False) + UNKNOWN], BROKEN),
    "http2/6.1/1": ([data(stream=0)], BROKEN),
    "http2/6.1/2": ([headers(LATE) + data()], CLOSED),
    "http2/6.1/3": ([headers((*POST, ("content-length", "4")), end=False) + raw(0, 0x9, 1, b"\x06test")], BROKEN),
    "http2/6.2/1": ([headers(end=False, whole=False) + priority() + continuation(block([DUMMY]))], BROKEN),
    "http2/6.2/2": (
        [headers(end=False, whole=False) + headers(stream=3) + continuation(block([DUMMY]))],
        BROKEN,
    ),
    "http2/6.2/3": ([headers(stream=0)], BROKEN),
    "http2/6.2/4": ([raw(1, 0xD, 1, bytes((len(BLOCK) + 2,)) + BLOCK)], BROKEN),
    "http2/6.3/1": ([priority(0)], BROKEN),
    "http2/6.3/2": ([headers(LATE), raw(2, 0, 1, b"\x80\0\0\1")], StreamError(ErrorCodes.FRAME_SIZE_ERROR)),
    "http2/6.4/1": ([reset(0)], BROKEN),
    "http2/6.4/2": ([reset(1)], BROKEN),
    "http2/6.4/3": ([headers(LATE), raw(3, 0, 1, bytes(3))], UNSIZED),
    "http2/6.5/1": ([raw(4, 0x1, 0, b"\0")], UNSIZED),
    "http2/6.5/2": ([raw(4, 0, 1, b"\0\3\0\0\0\x64")], BROKEN),
    "http2/6.5/3": ([raw(4, 0, 0, b"\0\3\0")], UNSIZED),
    "http2/6.5.2/1": ([settings((2, 2))], BROKEN),
    "http2/6.5.2/2": ([settings((4, 2**31))], OVERFLOWN),
    "http2/6.5.2/3": ([settings((5, 2**14 - 1))], BROKEN),
    "http2/6.5.2/4": ([settings((5, 2**24))], BROKEN),
    "http2/6.5.2/5": ([settings((0xFF, 1)) + PING], PONG),
    "http2/6.5.3/1": ([settings((4, 100), (4, 1)), headers()], Sent(1)),
    "http2/6.5.3/2": ([settings((2, 0))], Acknowledged()),
    "http2/6.7/1": ([PING], PONG),
    "http2/6.7/2": ([raw(6, 0x1, 0, b"unasked!") + PING], PONG),
    "http2/6.7/3": ([raw(6, 0, 1, bytes(8))], BROKEN),
    "http2/6.7/4": ([raw(6, 0, 0, bytes(6))], UNSIZED),
    "http2/6.8/1": ([raw(7, 0, 1, bytes(8))], BROKEN),
    "http2/6.9/1": ([window(0)], BROKEN),
    "http2/6.9/2": ([headers(POST, end=False) + window(0, 1)], MALFORMED),
    "http2/6.9/3": ([raw(8, 0, 0, b"\0\0\1")], UNSIZED),
    "http2/6.9.1/1": ([initial(1), headers()], Sent(1)),
    "http2/6.9.1/2": ([window(2**31 - 1) + window(2**31 - 1)], OVERFLOWN),
    "http2/6.9.1/3": (
        [headers(POST, end=False) + window(2**31 - 1, 1) + window(2**31 - 1, 1)],
        StreamError(ErrorCodes.FLOW_CONTROL_ERROR),
    ),
    "http2/6.9.2/1": ([initial(0), headers(), initial(1)], Sent(1)),
    "http2/6.9.2/2": ([initial(3), headers(), initial(2), window(2, 1)], Sent(3, 1)),
    "http2/6.9.2/3": ([initial(2**31)], OVERFLOWN),
    "http2/6.10/1": (
        [headers(whole=False) + continuation(block([DUMMY]), whole=False) + continuation(block([DUMMY]))],
        OK,
    ),
    "http2/6.10/2": (
        [headers(POST, end=False, whole=False) + continuation(block([DUMMY]), whole=False) + data()],
        BROKEN,
    ),
    "http2/6.10/3": ([headers(whole=False) + continuation(block([DUMMY]), 0)], BROKEN),
    "http2/6.10/4": ([headers() + continuation(block([DUMMY]))], BROKEN),
    "http2/6.10/5": (
        [headers(whole=False) + continuation(block([DUMMY])) + continuation(block([DUMMY]))],
        BROKEN,
    ),
    "http2/6.10/6": (
        [headers(POST, end=False) + data(end=False) + continuation(block([DUMMY]), whole=False)],
        BROKEN,
    ),
    "http2/7/1": ([goaway(0xFF) + PING], Closed()),
    "http2/7/2": ([headers(POST, end=False) + reset(1, 0xFF) + PING], Cancelled()),
    "http2/8.1/1": ([headers(POST, end=False) + data(end=False) + headers([("x-test", "ok")], end=False)], MALFORMED),
    "http2/8.1.2/1": ([headers((*GET, ("X-TEST", "ok")))], MALFORMED),
    "http2/8.1.2.1/1": ([headers((*GET, (":test", "ok")))], MALFORMED),
    "http2/8.1.2.1/2": ([headers((*GET, (":status", "200")))], MALFORMED),
    "http2/8.1.2.1/3": ([headers(POST, end=False) + data(end=False) + headers([(":method", "POST")])], MALFORMED),
    "http2/8.1.2.1/4": ([headers((("x-test", "ok"), *GET))], MALFORMED),
    "http2/8.1.2.2/1": ([headers((*GET, ("connection", "keep-alive")))], MALFORMED),
    "http2/8.1.2.2/2": ([headers((*GET, ("te", "trailers, deflate")))], MALFORMED),
    "http2/8.1.2.3/1": ([headers((METHOD, SCHEME, (":path", ""), AUTHORITY))], MALFORMED),
    "http2/8.1.2.3/2": ([headers((SCHEME, PATH, AUTHORITY))], MALFORMED),
    "http2/8.1.2.3/3": ([headers((METHOD, PATH, AUTHORITY))], MALFORMED),
    "http2/8.1.2.3/4": ([headers((METHOD, SCHEME, AUTHORITY))], MALFORMED),
    "http2/8.1.2.3/5": ([headers((METHOD, *GET))], MALFORMED),
    "http2/8.1.2.3/6": ([headers((METHOD, SCHEME, SCHEME, PATH, AUTHORITY))], MALFORMED),
    "http2/8.1.2.3/7": ([headers((METHOD, SCHEME, PATH, PATH, AUTHORITY))], MALFORMED),
    "http2/8.1.2.6/1": ([headers((*POST, ("content-length", "1")), end=False) + data()], MALFORMED),
    "http2/8.1.2.6/2": (
        [headers((*POST, ("content-length", "1")), end=False) + data(b"", end=False) + data(b"te")],
        MALFORMED,
    ),
    "http2/8.2/1": ([headers(LATE), raw(5, 0x4, 1, b"\0\0\0\3" + BLOCK)], BROKEN),
    "hpack/2.3.3/1": ([headers(tail=b"\xc6")], UNPACKED),
    "hpack/2.3.3/2": ([headers(tail=b"\x7f\x07\x00")], UNPACKED),
    "hpack/4.2/1": ([headers(tail=b"\x21")], UNPACKED),
    "hpack/5.2/1": ([headers(tail=b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")], UNPACKED),
    "hpack/5.2/2": ([headers(tail=b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")], UNPACKED),
    "hpack/5.2/3": ([headers(tail=b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")], UNPACKED),
    "hpack/6.1/1": ([headers(tail=b"\x80")], UNPACKED),
    "hpack/6.3/1": ([headers(head=b"\x3f\xe2\x1f")], UNPACKED),
}
"""The segments behind the client's preface, and the answer to them, by h2spec's numbers."""

FURTHER: dict[str, tuple[list[bytes], Any]] = {
    "8.1.1: a length, and no body": ([headers((*POST, ("content-length", "5")))], MALFORMED),
    "8.1.1: trailers before the announced length": (
        [headers((*POST, ("content-length", "9")), end=False) + data(end=False) + headers([("x-test", "ok")])],
        MALFORMED,
    ),
    "8.1.1: trailers behind the announced length": (
        [headers((*POST, ("content-length", "4")), end=False) + data(end=False) + headers([("x-test", "ok")])],
        OK,
    ),
    "8.1.1: a length of 5,000 digits": ([headers((*POST, ("content-length", "9" * 5000)), end=False)], Answered("413")),
    "8.1.1: a length with a sign": ([headers((*POST, ("content-length", "+4")), end=False)], MALFORMED),
    "8.1.1: a length with an underscore": ([headers((*POST, ("content-length", "1_0")), end=False)], MALFORMED),
    "8.1.1: two lengths": ([headers((*POST, *[("content-length", "4")] * 2), end=False)], MALFORMED),
    "8.3.1: another host than the authority": ([headers((*GET, ("host", "other")))], MALFORMED),
    "8.3.1: the host of the authority": ([headers((*GET, ("host", "localhost")))], OK),
    "8.3.1: a host in the place of the authority": ([headers((*GET[:3], ("host", "localhost")))], OK),
    "8.3.1: no authority and no host": ([headers(GET[:3])], MALFORMED),
    "8.3.1: two hosts": ([headers((*GET[:3], ("host", "a"), ("host", "b")))], MALFORMED),
    "8.3.1: a malformed authority": ([headers((*GET[:3], (":authority", "a..b")))], Answered("400")),
    "8.3.1: an authority with a name of a user": ([headers((*GET[:3], (":authority", "a@b")))], Answered("400")),
    "8.3.1: a scheme of another protocol": ([headers((METHOD, (":scheme", "ftp"), *GET[2:]))], Answered("421")),
    "8.3.1: a scheme in upper case": ([headers((METHOD, (":scheme", "HTTPS"), *GET[2:]))], OK),
    "8.1: an expectation that is unknown": ([headers((*GET, ("expect", "miracles")))], Answered("417")),
    "8.1: an unknown expectation before a body": (
        [headers((*POST, ("expect", "miracles")), end=False)],
        StreamError(ErrorCodes.NO_ERROR),
    ),
    "8.3.1: a scheme of another protocol before a body": (
        [headers((POST[0], (":scheme", "ftp"), *POST[2:]), end=False) + data()],
        Answered("421"),
    ),
    "8.3.1: an authority with brackets around no address": (
        [headers((*GET[:2], (":path", "/predict"), (":authority", "[....]")))],
        Answered("400"),
    ),
    "8.3.1: a path with a fragment": ([headers((METHOD, SCHEME, (":path", "/healthz#a"), AUTHORITY))], MALFORMED),
    "8.3.1: a method that is not a token": ([headers(((":method", "G T"), *GET[1:]))], MALFORMED),
    "8.3.1: a path with a space": ([headers((METHOD, SCHEME, (":path", "/a 200 b"), AUTHORITY))], MALFORMED),
    "8.3.1: a path of absolute form": ([headers((METHOD, SCHEME, (":path", "https://a/"), AUTHORITY))], MALFORMED),
    "8.3.1: an asterisk": ([headers(((":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY))], OK),
    "8.5: CONNECT": ([headers(((":method", "CONNECT"), AUTHORITY), end=False)], Answered("405")),
    "8.5: extended CONNECT": (
        [headers(((":method", "CONNECT"), (":protocol", "websocket"), *GET[1:]), end=False)],
        MALFORMED,
    ),
    "6.3: a PRIORITY of six bytes": ([headers(LATE), raw(2, 0, 1, bytes(6))], StreamError(ErrorCodes.FRAME_SIZE_ERROR)),
    "6.3: PRIORITY of 4,000 idle streams": ([b"".join(map(priority, range(1, 8001, 2))), headers()], OK),
    "6.3: PRIORITY in a circle": (
        [priority(3, 5) + priority(5, 7) + priority(7, 3) + priority(5, 3, exclusive=True), headers()],
        OK,
    ),
    "6.4: a reset of an idle stream behind a request": ([headers(), reset(7)], BROKEN),
    "6.8: GOAWAY(NO_ERROR) before a request is answered": (
        [headers(LATE) + goaway(ErrorCodes.NO_ERROR) + PING],
        PONG,
    ),
    "6.9: a window of an idle stream that is not opened": ([headers(), window(0, 7)], BROKEN),
    "6.9: a window with the reserved bit": ([window(2**31 + 1) + PING, headers()], OK),
    "6.9: a window of 0 with the reserved bit": ([window(2**31)], BROKEN),
    "6.9.2: a window that is lowered while an answer waits for it": (
        [initial(0), headers(), initial(0), window(3, 1), initial(5)],
        Sent(3, 5),
    ),
    "7541 4.2: a table of no size, twice": ([settings((1, 0)) * 2, headers()], Resized(b"\x20")),
    "7541 4.2: a table that is emptied": (
        [settings((1, 0)) + settings((1, 4096)), headers()],
        Resized(b"\x20\x3f\xe1\x1f"),
    ),
    "7541 4.2: a table of many sizes": (
        [(settings((1, 7)) + settings((1, 4000))) * 100 + settings((1, 100)), headers()],
        Resized(b"\x27\x3f\x45"),
    ),
    "7541 5.1: a number of too many bytes": ([headers(tail=b"\xff" * 20)], UNPACKED),
    "10.5: a header block of 17 kB, of which no end has come": (
        [headers(whole=False) + continuation(bytes(2**14), whole=False)],
        Terminated(ErrorCodes.ENHANCE_YOUR_CALM),
    ),
    "10.5: a frame of 16 MB, of which the header has come": ([raw(0, 0, 1, b"", 2**24 - 1)], UNSIZED),
    "7838: a malformed ALTSVC from a client": ([raw(0xA, 0, 0, b"\xff" * 3) + PING], PONG),
    "7838: ALTSVC from a client": ([raw(0xA, 0, 0, b"\0\1a" + b"h2") + PING], PONG),
}
"""More of the kinds that h2spec has one case of."""


@pytest.fixture
def peer() -> Iterator[Peer]:
    clock, chosen = Clock(), Settings()
    klein, resource = Service(clock, chosen), Service(clock, chosen)
    root = Root(klein, resource, chosen)
    site = ServiceSite(root, clock)
    peer = Peer(Line(site, clock), clock)
    yield peer
    peer.line.leave()
    clock.pump([0, 0])
    assert clock.getDelayedCalls() == []
    assert root.connections.open == 0


def test_count() -> None:
    """All of the 146 cases are here when their numbers are counted.

    The strict one, a GOAWAY before the end, is that of any connection error.
    """
    assert len(CASES) == 146


@pytest.mark.parametrize("name", [*CASES, *FURTHER])
def test_case(peer: Peer, name: str) -> None:
    """Frames have the outcome that RFC 9113 gives them."""
    sent, outcome = (CASES | FURTHER)[name]
    peer.send(b"INVALID CONNECTION PREFACE\r\n\r\n" if name == "http2/3.5/2" else START)
    for segment in sent:
        peer.send(segment)
    outcome.check(peer)
