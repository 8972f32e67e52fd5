"""The frames of an HTTP/2 connection, with stream errors that end one stream alone.

Overrides `h2.connection.H2Connection` and `h2.frame_buffer.FrameBuffer` of h2 4.4. They end the connection at most
errors, and do not always use the error code of RFC 9113, section 7.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self, cast

from h2.connection import AllowedStreamIDs, ConnectionInputs, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event, StreamReset, TrailersReceived
from h2.exceptions import (
    DenialOfServiceError,
    FlowControlError,
    FrameTooLargeError,
    InvalidBodyLengthError,
    ProtocolError,
    StreamClosedError,
)
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes
from h2.stream import H2Stream, StreamClosedBy, StreamState
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hyperframe.exceptions import HyperframeError, InvalidFrameError
from hyperframe.frame import (
    AltSvcFrame,
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from latebin.core.http.request_head import ENDLESS

if TYPE_CHECKING:
    from h2.config import H2Configuration
    from typing_extensions import Buffer

Taken = tuple[list[Frame], list[Event]]
"""The frames that answer a frame, and the events that it is for the connection."""

HEADER: Final = 9
"""Bytes of a frame's header (RFC 9113, section 4.1)."""

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch

_VISIBLE: Final = re.compile(rb"[!\"$-~\x80-\xb0]*").fullmatch
"""As a request target over HTTP/1.1, which has no fragment."""

_ENDLESS: Final = b"%d" % ENDLESS

TABLE: Final = 4096
"""Bytes of the table that answers are compressed with; a client that allows more would have them kept for it."""

BLOCK: Final = 16 * 1024
"""Bytes of a compressed header block; the library copies what is left of the block for each field in it."""

HEADERS: Final = 24 * 1024
"""Bytes of a request's headers, with 32 more for each (RFC 9113, section 6.5.2), so that there are at most 768."""

_SETTINGS: Final = frozenset(SettingCodes)

_UPDATE: Final = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*.){3}", re.DOTALL).match
"""A header block begins with at most two updates of the table's size (RFC 7541, section 4.2)."""

REMEMBERED: Final = 1000
"""Streams of a connection that are known to have been closed, and by which end; of an older one, frames are late."""


class CompressionError(ProtocolError):
    """A header block that cannot be decompressed (RFC 9113, section 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class FrameSizeError(ProtocolError):
    """A frame of a length that its type does not have (RFC 9113, section 4.2)."""

    error_code = ErrorCodes.FRAME_SIZE_ERROR


class FaultyFrame(Frame):
    """A frame that breaks a rule which is its stream's alone."""

    stream_association = "either"

    def __init__(self, stream_id: int, code: ErrorCodes) -> None:
        super().__init__(stream_id)
        self.code = code


class IncomingFrames(FrameBuffer):
    """The bytes of incomplete frames and header blocks.

    The header of a frame is enough to refuse a long one.
    """

    _block = 0
    """Bytes of a header block that has begun."""

    def __next__(self) -> Frame:
        while True:
            part = self._parsed()
            frame = self._update_header_buffer(part)
            if frame is not None:
                self._block = 0
                return frame
            self._block += part.body_len
            if self._block > BLOCK:
                raise DenialOfServiceError("a header block that is too long")

    def _parsed(self) -> Frame:
        if len(self._data) < HEADER:
            raise StopIteration
        try:
            frame, length = Frame.parse_frame_header(memoryview(bytes(self._data[:HEADER])))
        except HyperframeError as error:
            raise ProtocolError(str(error)) from error
        if length > self.max_frame_size:
            raise FrameTooLargeError(f"a frame of {length} bytes, where at most {self.max_frame_size} are taken")
        if len(self._data) < HEADER + length:
            raise StopIteration
        body = memoryview(bytes(self._data[HEADER : HEADER + length]))
        del self._data[: HEADER + length]
        return _parse_body(frame, body)


def _parse_body(frame: Frame, body: memoryview) -> Frame:
    if isinstance(frame, WindowUpdateFrame) and len(body) and body[0] & 0x80:
        # A reserved bit, which is ignored (RFC 9113, section 6.9); the library takes it for a part of the number.
        body = memoryview(bytes((body[0] & 0x7F, *body[1:])))
    try:
        frame.parse_body(body)
    except HyperframeError as error:
        if isinstance(frame, AltSvcFrame):
            # A server ignores it (RFC 7838, section 4).
            return frame
        if isinstance(frame, PriorityFrame):
            return FaultyFrame(frame.stream_id, ErrorCodes.FRAME_SIZE_ERROR)
        if isinstance(frame, WindowUpdateFrame) and frame.stream_id and len(body) == 4:  # noqa: PLR2004  # its length
            return FaultyFrame(frame.stream_id, ErrorCodes.PROTOCOL_ERROR)
        if isinstance(error, InvalidFrameError) or isinstance(frame, SettingsFrame):
            raise FrameSizeError(str(error)) from error
        raise ProtocolError(str(error)) from error
    return frame


def _many_updates(block: bytes) -> bool:
    """Return whether a header block begins with more updates than it may."""
    return _UPDATE(block) is not None


def _is_request(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether HTTP/1.1 could have sent this request (RFC 9113, section 8.3.1)."""
    method, target = b"", b"/"
    for name, value in headers:
        if name == b":method":
            method = value
        elif name == b":path":
            target = value
        elif name == b":protocol" or (name == b":authority" and not _VISIBLE(value)):
            # The first is an extension that this service has not offered (RFC 8441, section 3).
            return False
        elif not name.startswith(b":"):
            break
    origin = target.startswith(b"/") or (target == b"*" and method == b"OPTIONS")
    return bool(origin and _TOKEN(method) and _VISIBLE(target))


def _has_one_length(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a request has one content-length at most, and cut it to ENDLESS.

    The library reads other numbers of Python as well, such as 1_0, and none with more than 4,300 digits.
    """
    places = [place for place, (name, _) in enumerate(headers) if name == b"content-length"]
    for place in places:
        digits = headers[place][1]
        if not digits.isdigit():
            return False
        if len(digits) >= len(_ENDLESS):
            headers[place] = b"content-length", digits.lstrip(b"0")[: len(_ENDLESS)].ljust(1, b"0")
    return len(places) <= 1


class Frames(H2Connection):
    """The frames of a connection, of which some streams end by a reset.

    Attributes:
        broken: the streams whose answers are to end by a reset.
        partial: whether the last bytes completed no frame that has a meaning.
        final: the last stream that is served, for a service that stops; None while all are.
    """

    MAX_CLOSED_STREAMS = REMEMBERED
    DEFAULT_MAX_HEADER_LIST_SIZE = HEADERS

    def __init__(self, config: "H2Configuration") -> None:
        super().__init__(config)
        self.incoming_buffer = IncomingFrames(server=True)
        # Functions, where h2 has bound methods: the connection and its table would be a cycle.
        methods: Any = self._frame_dispatch_table
        self._handlers = {kind: method.__func__ for kind, method in methods.items()}
        self._handlers[FaultyFrame] = Frames._receive_faulty_frame
        methods.clear()
        self.broken: set[int] = set()
        self.partial = False
        self.final: int | None = None

    @classmethod
    def replace(cls, made: H2Connection) -> Self:
        """Make the frames of a connection in place of h2's own, which are a cycle."""
        made._frame_dispatch_table.clear()  # noqa: SLF001  # of the class that this one overrides
        return cls(made.config)

    @property
    def more(self) -> bool:
        """Whether enough bytes wait for another frame to begin."""
        return len(self.incoming_buffer._data) >= HEADER  # noqa: SLF001  # it has no other name

    def keep(self, data: "Buffer") -> None:
        """Keep bytes for `receive`.

        Raises:
            ProtocolError: this is not HTTP/2.
        """
        self.incoming_buffer.add_data(data)

    def receive(self) -> Iterator[list[Event]]:
        """Take in the kept bytes, frame by frame; the caller may stop after any.

        Yields:
            The events of each frame, if there are any.

        Raises:
            ProtocolError: the connection is to be closed, with the error's code.
        """
        self.partial = True
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        for frame in self.incoming_buffer:
            events = self._receive_frame(frame)
            self.partial = self.partial and not events
            yield events

    def go_away(self, code: ErrorCodes, last: int | None = None, text: str = "") -> None:
        """Announce the end of the connection.

        Args:
            code: the reason.
            last: the last stream that is served; None for the last that has begun.
            text: a remark for people that read the frames.
        """
        frame = GoAwayFrame(0, self.highest_inbound_stream_id if last is None else last, code)
        frame.additional_data = text.encode("ascii", "backslashreplace")[:200]
        self._prepare_for_sending([frame])

    def end_stream(self, stream_id: int) -> None:
        """End an answer, by a reset where it is broken."""
        if stream_id in self.broken:
            self.reset_stream(stream_id)
        else:
            super().end_stream(stream_id)

    def coming(self, stream_id: int) -> bool:
        """Return whether more of a stream's request may come, also after its answer."""
        stream = self.streams.get(stream_id)
        return stream is not None and stream.open

    def end_request(self, stream_id: int) -> None:
        """Reset a stream whose answer ends before its request (RFC 9113, section 8.1)."""
        if self.coming(stream_id):
            super().reset_stream(stream_id, ErrorCodes.NO_ERROR)

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = ErrorCodes.INTERNAL_ERROR) -> None:
        # NO_ERROR, the library's own, is for answers that are whole.
        super().reset_stream(stream_id, error_code)

    def _receive_frame(self, frame: Frame) -> list[Event]:
        # As the library does it, but that it writes each frame out for a log that nothing reads.
        try:
            frames, events = self._handlers[frame.__class__](self, frame)
        except StreamClosedError as error:
            if not self._stream_is_closed_by_reset(error.stream_id):
                raise
            frames, events = [RstStreamFrame(error.stream_id, error.error_code)], error._events  # noqa: SLF001  # as it does
        self._prepare_for_sending(frames)
        return cast("list[Event]", events)

    def _fault(self, number: int, code: ErrorCodes, stream: H2Stream | None = None) -> Taken:
        """Reset a stream for what the client did with it (RFC 9113, section 5.4.2)."""
        if stream is not None:
            stream.state_machine.state = StreamState.CLOSED
            stream.state_machine.stream_closed_by = StreamClosedBy.SEND_RST_STREAM
        elif number <= self.highest_inbound_stream_id:
            self._closed_streams[number] = StreamClosedBy.SEND_RST_STREAM
        return [RstStreamFrame(number, code)], [StreamReset(stream_id=number, error_code=code, remote_reset=False)]

    def _receive_headers_frame(self, frame: HeadersFrame) -> Taken:
        # First of all, as each block changes what the next ones are decompressed with.
        headers = self._decompressed(frame.data)
        # To count the open streams is to forget those that are closed.
        full = self.open_inbound_streams >= self.local_settings.max_concurrent_streams
        number, stream = frame.stream_id, self.streams.get(frame.stream_id)
        if stream is None:
            closed_by = self._closed_streams.get(number)
            if closed_by is StreamClosedBy.SEND_RST_STREAM:
                # The client had sent them when the reset came.
                return [], []
            if closed_by is StreamClosedBy.RECV_RST_STREAM:
                return self._fault(number, ErrorCodes.STREAM_CLOSED)
            if closed_by is not None:
                raise StreamClosedError(number)
            self.state_machine.process_input(ConnectionInputs.RECV_HEADERS)
            stream = self._begin_new_stream(number, AllowedStreamIDs.ODD)
            if self.final is not None:
                # The client may ask again, on another connection (RFC 9113, section 6.8).
                self.go_away(ErrorCodes.NO_ERROR, self.final)
                return self._fault(number, ErrorCodes.REFUSED_STREAM, stream)
            if full:
                return self._fault(number, ErrorCodes.REFUSED_STREAM, stream)
        if "PRIORITY" in frame.flags and frame.depends_on == number:
            return self._fault(number, ErrorCodes.PROTOCOL_ERROR, stream)
        return self._receive_headers(stream, headers, ended="END_STREAM" in frame.flags)

    def _receive_headers(self, stream: H2Stream, headers: list[tuple[bytes, bytes]], *, ended: bool) -> Taken:
        if not _has_one_length(headers):
            return self._fault(stream.stream_id, ErrorCodes.PROTOCOL_ERROR, stream)
        announced = stream._expected_content_length  # noqa: SLF001  # it has no other name
        try:
            frames, events = stream.receive_headers(headers, ended, self.config.header_encoding)
        except StreamClosedError:
            raise
        except ProtocolError:
            return self._fault(stream.stream_id, ErrorCodes.PROTOCOL_ERROR, stream)
        if isinstance(events[0], TrailersReceived):
            # They announce no length; the library takes what they say, or do not, for that of the body.
            stream._expected_content_length = announced  # noqa: SLF001  # as above
        elif not _is_request(headers):
            return self._fault(stream.stream_id, ErrorCodes.PROTOCOL_ERROR, stream)
        if ended and stream._expected_content_length not in {None, stream._actual_content_length}:  # noqa: SLF001  # as above
            return self._fault(stream.stream_id, ErrorCodes.PROTOCOL_ERROR, stream)
        return frames, events

    def open_connection_window(self, length: int) -> None:
        """Let the client send so many bytes again, on any of its streams."""
        increment = self._inbound_flow_control_window_manager.process_bytes(length)
        if increment:
            self._prepare_for_sending([WindowUpdateFrame(0, increment)])

    def open_stream_window(self, length: int, number: int) -> None:
        """Let the client send so many bytes again on one stream, unless that has ended."""
        stream = self.streams.get(number)
        if stream is not None and stream.open:
            self._prepare_for_sending(stream.acknowledge_received_data(length))

    def _decompressed(self, block: bytes) -> list[tuple[bytes, bytes]]:
        if len(block) > BLOCK or _many_updates(block):
            raise DenialOfServiceError("a header block that takes too long to decompress")
        try:
            return cast("list[tuple[bytes, bytes]]", self.decoder.decode(block, raw=True))
        except OversizedHeaderListError as error:
            raise DenialOfServiceError(str(error)) from error
        except HPACKError as error:
            # The library's own text may have an address of this process.
            raise CompressionError("a header block that cannot be decompressed") from error

    def _receive_data_frame(self, frame: DataFrame) -> Taken:
        try:
            return super()._receive_data_frame(frame)
        except (InvalidBodyLengthError, FlowControlError) as error:
            manager, stream = self._inbound_flow_control_window_manager, self.streams.get(frame.stream_id)
            if manager.current_window_size < 0 or stream is None:
                raise
            frames, events = self._fault(frame.stream_id, error.error_code, stream)
            increment = manager.process_bytes(frame.flow_controlled_length)
            return [*frames, *([WindowUpdateFrame(0, increment)] if increment else [])], events

    def _handle_data_on_closed_stream(self, events: list[Event], exc: StreamClosedError, frame: DataFrame) -> Taken:
        number = frame.stream_id
        frames, events = super()._handle_data_on_closed_stream(events, exc, frame)
        if events:
            return frames, events
        if self._stream_closed_by(number) is StreamClosedBy.SEND_RST_STREAM:
            # The client had sent it when the reset came.
            return [each for each in frames if isinstance(each, WindowUpdateFrame)], []
        return frames, self._fault(number, ErrorCodes.STREAM_CLOSED)[1]

    def _receive_settings_frame(self, frame: SettingsFrame) -> Taken:
        if SettingCodes.HEADER_TABLE_SIZE in frame.settings:
            frame.settings[SettingCodes.HEADER_TABLE_SIZE] = min(TABLE, frame.settings[SettingCodes.HEADER_TABLE_SIZE])
        # The library would keep others, and look at all of them at each frame (RFC 9113, section 6.5.2).
        frame.settings = {code: value for code, value in frame.settings.items() if code in _SETTINGS}
        taken = super()._receive_settings_frame(frame)
        self._merge_table_sizes()
        return taken

    def _merge_table_sizes(self) -> None:
        """Have the next answer announce two sizes of its table at most.

        They are the smallest and the last (RFC 7541, section 4.2). The library announces each size since the last
        answer, or none if the last was given twice.
        """
        changes = self.encoder.table_size_changes
        if changes:
            self.encoder.table_size_changes = sorted({min(changes), changes[-1]})
            self.encoder.header_table.resized = True

    def _receive_rst_stream_frame(self, frame: RstStreamFrame) -> Taken:
        if frame.stream_id > self.highest_inbound_stream_id or not frame.stream_id % 2:
            raise ProtocolError(f"a reset of stream {frame.stream_id}, which is idle")
        return super()._receive_rst_stream_frame(frame)

    def _receive_priority_frame(self, frame: HeadersFrame | PriorityFrame) -> Taken:
        """Refuse a stream that depends on itself, and ignore priorities."""
        if frame.depends_on == frame.stream_id:
            return self._fault(frame.stream_id, ErrorCodes.PROTOCOL_ERROR, self.streams.get(frame.stream_id))
        return [], []

    def _receive_faulty_frame(self, frame: FaultyFrame) -> Taken:
        number, idle = frame.stream_id, frame.stream_id > self.highest_inbound_stream_id or not frame.stream_id % 2
        if idle and frame.code is ErrorCodes.PROTOCOL_ERROR:
            raise ProtocolError(f"a window of stream {number}, which is idle")
        return self._fault(number, frame.code, self.streams.get(number))

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> Taken:
        """Note that the client opens no more streams (RFC 9113, section 6.8)."""
        event = ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]

    def _receive_naked_continuation(self, frame: ContinuationFrame) -> None:
        raise ProtocolError(f"a continuation on stream {frame.stream_id} of no headers")

    def _receive_alt_svc_frame(self, frame: Frame) -> Taken:
        """Ignore what only servers send (RFC 7838, section 4)."""
        return [], []

    _receive_unknown_frame = _receive_alt_svc_frame
