"""A log that never waits: a bounded buffer and a thread that empties it."""

import os
import select
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Final

import attrs

from latebin.telemetry.counters import SharedCounters

PIECE: Final = 65536
"""Characters that are written at once; a slow reader frees the buffer piece by piece."""

PACE: Final = 0.02
"""Seconds between two writes, in which the lines of a busy service gather."""

SEPARATOR: Final = "\x1e"
"""The character between two events on a worker's pipe: ASCII's record separator, which no event contains."""


class LogWriter:
    """A log whose `write` never waits.

    A thread empties the buffer. A pipe that nothing reads, a terminal on hold and a disk that hangs stop that thread
    alone. `O_NONBLOCK` would not do: it belongs to the open file, which the shell and other processes share, and a
    regular file ignores it.

    An event is dropped when the buffer is full, and when the descriptor refuses it (ENOSPC, EPIPE). A full buffer
    accepts nothing until half of it is free, so that one notice covers many events. The notice stands where the events
    are missing.

    Args:
        descriptor: the file's, which stays open.
        limit: characters that the buffer holds at most.
        notice: formats the event that reports a number of dropped ones.
        dropped: a cell in which dropped events are counted.
        end: what follows each event.
    """

    def __init__(
        self,
        descriptor: int,
        limit: int,
        notice: Callable[[int], str],
        dropped: "memoryview[float]",
        end: str = "",
    ) -> None:
        self._descriptor = descriptor
        self._limit = self._threshold = limit
        self._notice = notice
        self._dropped = dropped
        self._end = end
        # Re-entrant, as an object that is freed meanwhile may log something.
        self._lock = threading.RLock()
        self._waiting: list[str | int] = []
        self._held = 0
        self._missing = 0
        self._torn = False
        self._closed = False
        self._idle = True
        self._awake = _taken_lock()
        self._closing = _taken_lock()
        # A daemon, so that a thread that is stuck in write(2) does not keep the process.
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Add an event to the buffer, or drop it."""
        size = len(text)
        with self._lock:
            if self._held > self._threshold or self._held + size > self._limit:
                self.drop()
            else:
                self._held += size
                self._threshold = self._limit
                self._waiting.append(text)
                if self._idle:
                    self._wake()
        return size

    def drop(self) -> None:
        """Count an event that is not written; a number in the buffer marks its place."""
        with self._lock:
            self._dropped[0] += 1
            self._threshold = self._limit // 2
            last = self._waiting[-1] if self._waiting else None
            if isinstance(last, int):
                self._waiting[-1] = last + 1
            else:
                self._waiting.append(1)
            if self._idle:
                self._wake()

    def close(self, within: float) -> None:
        """Write what the buffer holds, and end the thread.

        Args:
            within: seconds after which the rest is given up.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._closing.release()
                if self._idle:
                    self._wake()
        self._thread.join(within)

    def _wake(self) -> None:
        self._idle = False
        self._awake.release()

    def _run(self) -> None:
        while not self._closed:
            self._awake.acquire()
            while items := self._take():
                piece: list[str | int] = []
                size = 0
                for item in items:
                    piece.append(item)
                    size += len(item) if isinstance(item, str) else 0
                    if size >= PIECE:
                        self._write_piece(piece, size)
                        piece, size = [], 0
                if piece:
                    self._write_piece(piece, size)
                self._closing.acquire(timeout=PACE)
        self._write_piece([], 0)

    def _take(self) -> list[str | int]:
        with self._lock:
            items, self._waiting = self._waiting, []
            self._idle = not items
        return items

    def _write_piece(self, piece: list[str | int], size: int) -> None:
        """Write a piece, behind a notice if part of the last one was lost."""
        if self._missing:
            piece = [self._missing, *piece]
        texts = [(item if isinstance(item, str) else self._notice(item)) + self._end for item in piece]
        # A line that was begun is ended, so that the next is whole.
        data = _encoded("".join(["\n" * self._torn, *texts]))
        written = 0
        # The events that the descriptor refuses are counted below; there is nothing left to report the error to.
        with suppress(OSError):
            while written < len(data):
                written += self._write_some(memoryview(data)[written:])
        lost = _lost(piece, texts, written - self._torn) if written < len(data) else []
        if written:
            self._torn = written < len(data) and not data[:written].endswith(b"\n")
        self._missing = sum(item if isinstance(item, int) else 1 for item in lost)
        with self._lock:
            self._held -= size
            self._dropped[0] += sum(isinstance(item, str) for item in lost)

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # The process that opened the file asked for O_NONBLOCK.
            room = select.poll()
            room.register(self._descriptor, select.POLLOUT)
            room.poll()
            return 0


@attrs.frozen
class Telemetry:
    """The counters and the log of a process.

    Attributes:
        counters: the memory that the process counts in.
        lines: the log.
    """

    counters: SharedCounters
    lines: LogWriter


class Relay:
    """The way of a worker's events to the log of its parent.

    The workers share no file and no lock: one that stops in the middle of an event holds up no other. If it dies there,
    no part of the event is in the log.

    Args:
        log: the destination of whole events.
    """

    def __init__(self, log: LogWriter) -> None:
        self._log = log
        self._rest: list[bytes] = []

    def received(self, data: bytes) -> None:
        """Take bytes from the worker's pipe."""
        *events, rest = data.split(SEPARATOR.encode("ascii"))
        if events:
            events[0] = b"".join([*self._rest, events[0]])
            self._rest = []
        for event in events:
            self._log.write(event.decode("utf-8", "replace"))
        if rest:
            self._rest.append(rest)

    def ended(self) -> None:
        """Drop the event that the worker began and did not end."""
        if self._rest:
            self._rest = []
            self._log.drop()


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def _lost(piece: Sequence[str | int], texts: Sequence[str], written: int) -> list[str | int]:
    """Return the items of a piece that are not whole after so many bytes."""
    ends = accumulate(len(_encoded(text)) for text in texts)
    return [item for item, end in zip(piece, ends, strict=True) if end > written]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
