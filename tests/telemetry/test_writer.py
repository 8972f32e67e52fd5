import os
import re
import select
from collections.abc import Callable, Iterator
from itertools import count as count_from
from pathlib import Path
from typing import Any

import pytest

from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.writer import SEPARATOR, LogWriter, Relay
from tests.support.process import BOUND, until

LINE = "{:0>99}\n"
"""A line of a hundred characters."""

LIMIT = 100_000

BATCH = 70
"""Lines that are far less than a pipe takes, or the buffer."""


class Log:
    """A writer, and the lines that it counts."""

    def __init__(self, descriptor: int, kind: type[LogWriter] = LogWriter, **chosen: Any) -> None:
        self.descriptor = descriptor
        self.cell = SharedCounters(1).row(0)
        self.writer = kind(descriptor, LIMIT, "{} dropped\n".format, self.cell, **chosen)

    @property
    def dropped(self) -> int:
        return int(self.cell[0])

    def write(self, count: int) -> None:
        for number in range(count):
            self.writer.write(LINE.format(number))


class Pipe:
    """A pipe that the test reads."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.logs: list[Log] = []

    def log(self, kind: type[LogWriter] = LogWriter, **chosen: Any) -> Log:
        """Begin a log that is written to the pipe."""
        self.logs.append(Log(self.writing, kind, **chosen))
        return self.logs[-1]

    def read(self) -> bytes:
        """Read until nothing has the pipe open for writing."""
        self.end()
        with os.fdopen(self.reading, "rb") as file:
            self.reading = -1
            return file.read()

    def lines(self, count: int) -> list[str]:
        """Read so many lines, each as long as LINE or a shorter notice."""
        data = b""
        while data.count(b"\n") < count:
            # No more than there is for certain: the next call reads the rest.
            data += os.read(self.reading, 1 if data.count(b"\n") == count - 1 else 100)
        return data.decode().splitlines()

    def full(self) -> bool:
        return not select.select([], [self.writing], [], 0)[1]

    def leave(self) -> None:
        if self.reading >= 0:
            os.close(self.reading)
            self.reading = -1

    def end(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    # A write that still waits ends with EPIPE; only then is the descriptor's number free.
    pipe.leave()
    for log in pipe.logs:
        log.writer.close(BOUND)
    pipe.end()


def fill(pipe: Pipe, log: Log) -> int:
    """Write batches until the pipe is full and the thread waits with the last one.

    Returns:
        How many lines that took.
    """
    for count in count_from(BATCH, BATCH):
        log.write(BATCH)
        until(lambda: not log.writer._waiting and (pipe.full() or log.writer._held == 0))
        if log.writer._held:
            return count
    raise AssertionError("a pipe has a bound")


def written(lines: list[str]) -> list[int]:
    """Return the numbers of the whole lines."""
    return [int(line) for line in lines if re.fullmatch(r"\d{99}", line)]


def test_order(pipe: Pipe) -> None:
    """All lines are written in their order when something reads."""
    log = pipe.log()
    log.write(500)
    log.writer.close(BOUND)
    assert written(pipe.read().decode().splitlines()) == list(range(500))
    assert log.dropped == 0


def test_not_read(pipe: Pipe) -> None:
    """Lines are dropped, counted and reported in their place when the buffer is full."""
    log = pipe.log()
    filling = fill(pipe, log)
    log.write(5000)
    dropped = log.dropped
    assert 5000 - LIMIT // 100 <= dropped < 5000
    lines = pipe.lines(filling + 5000 - dropped + 1)
    assert written(lines)[filling:] == list(range(5000 - dropped))
    assert lines[-1] == f"{dropped} dropped"
    log.write(1)
    log.writer.close(BOUND)
    assert written(pipe.read().decode().splitlines()) == [0]
    assert log.dropped == dropped


def test_half(pipe: Pipe) -> None:
    """A buffer that was full accepts a line when half of it is free."""
    log = pipe.log()
    filling = fill(pipe, log)
    log.write(5000)
    dropped, held = log.dropped, log.writer._held
    pipe.lines(2 * BATCH)
    until(lambda: log.writer._held < held)
    log.write(1)
    assert log.dropped == dropped + 1
    pipe.lines(filling - 2 * BATCH + 5000 - dropped)
    until(lambda: log.writer._held == 0)
    log.write(1)
    assert log.dropped == dropped + 1


def test_a_line_longer_than_the_buffer(pipe: Pipe) -> None:
    """A line is dropped and the next written when it exceeds the buffer."""
    log = pipe.log()
    log.writer.write("x" * LIMIT + "\n")
    log.write(1)
    log.writer.close(BOUND)
    assert pipe.read().decode() == "1 dropped\n" + LINE.format(0)


def test_reader_leaves(pipe: Pipe) -> None:
    """Lines are counted and nothing is raised when the reader goes away."""
    log = pipe.log()
    pipe.leave()
    log.write(10)
    until(lambda: log.dropped == 10)
    log.writer.close(BOUND)
    assert not log.writer._thread.is_alive()


def test_disk_is_full(tmp_path: Path) -> None:
    """Lines are counted when a disk is full, and reported when it takes the next."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    log = Log(descriptor)
    for _ in range(3):
        log.write(4)
        until(lambda: log.dropped % 4 == 0)
    until(lambda: log.dropped == 12)
    path = tmp_path / "log"
    room = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(room, descriptor)
    log.write(1)
    log.writer.close(BOUND)
    assert path.read_text() == "12 dropped\n" + LINE.format(0)
    os.close(room)
    os.close(descriptor)


class Choking(LogWriter):
    """A writer whose descriptor takes so many bytes, then refuses the rest of the piece."""

    takes = 250

    def _write_some(self, data: memoryview) -> int:
        if not self.takes:
            raise OSError
        taken, self.takes = min(self.takes, len(data)), 0
        return os.write(self._descriptor, data[:taken])


def test_broken_off(pipe: Pipe) -> None:
    """The next event begins a new line when the last was broken off."""
    log = pipe.log(Choking)
    with log.writer._lock:
        log.write(5)
    until(lambda: log.dropped == 3)
    log.writer.takes = 10_000  # type: ignore[attr-defined]  # it is Choking's
    log.write(1)
    log.writer.close(BOUND)
    lines = pipe.read().decode().splitlines()
    assert lines == [f"{0:0>99}", f"{1:0>99}", "0" * 50, "3 dropped", f"{0:0>99}"]


def test_would_block(pipe: Pipe) -> None:
    """All lines are written when another process has made the descriptor non-blocking."""
    os.set_blocking(pipe.writing, False)
    log = pipe.log()
    log.write(1000)
    end = LINE.format(999).encode()
    read = b""
    while not read.endswith(end):
        read += os.read(pipe.reading, 65536)
    assert written(read.decode().splitlines()) == list(range(1000))
    log.writer.close(BOUND)


def test_end_has_a_bound(pipe: Pipe) -> None:
    """The end waits for its bound and no longer when nothing reads."""
    log = pipe.log()
    log.write(5000)
    log.writer.close(0.01)
    assert log.writer._thread.is_alive()


def test_reentrant(pipe: Pipe) -> None:
    """A line is added at once when it is logged while another is being added."""
    log = pipe.log()
    with log.writer._lock:
        log.write(2)
    log.writer.close(BOUND)
    assert written(pipe.read().decode().splitlines()) == [0, 1]


def test_surrogates(pipe: Pipe) -> None:
    """A text is written with escapes when UTF-8 cannot hold it."""
    log = pipe.log()
    log.writer.write("caf\xe9 \udcff\n")
    log.writer.close(BOUND)
    assert pipe.read() == "caf\xe9 \\udcff\n".encode()


@pytest.fixture
def relayed(pipe: Pipe) -> Iterator[tuple[Relay, Callable[[], str]]]:
    log = pipe.log()

    def read() -> str:
        log.writer.close(BOUND)
        return pipe.read().decode()

    yield Relay(log.writer), read
    log.writer.close(BOUND)


def test_separated(pipe: Pipe) -> None:
    """Events and notices are separated when a worker writes them to its pipe."""
    log = pipe.log(end=SEPARATOR)
    log.writer.write("x" * LIMIT + "\n")
    log.writer.write("a\n\tb\n")
    log.writer.close(BOUND)
    assert pipe.read() == b"1 dropped\n\x1ea\n\tb\n\x1e"


@pytest.mark.parametrize("size", [1, 3, 100])
def test_relay(relayed: tuple[Relay, Callable[[], str]], size: int) -> None:
    """A worker's events are passed on whole when they come in pieces."""
    relay, read = relayed
    events = "first\n\x1esecond\n\tcaf\xe9\n\x1ethird\n\x1e".encode()
    for start in range(0, len(events), size):
        relay.received(events[start : start + size])
    relay.ended()
    assert read() == "first\nsecond\n\tcaf\xe9\nthird\n"


def test_relay_of_a_dead_worker(relayed: tuple[Relay, Callable[[], str]]) -> None:
    """A part of an event is dropped when its worker has died."""
    relay, read = relayed
    relay.received(b"whole\n\x1eha")
    relay.ended()
    relay.received(b"next\n\x1e")
    assert read() == "whole\n1 dropped\nnext\n"
