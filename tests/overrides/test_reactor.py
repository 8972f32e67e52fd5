import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import attrs
import pytest
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from zope.interface import implementer

pytest.importorskip("twisted.internet.epollreactor", reason="the platform has no epoll")

from latebin.overrides.reactor import AT_ONCE, DirectReactor

SHOWN = """
import {first}
from latebin.overrides.stack import TUNED
reactor = TUNED.reactor()
from twisted.internet import reactor as installed
assert reactor is installed
print(type(reactor).__name__)
"""


@implementer(IReadDescriptor)
@attrs.define(eq=False)
class Reader:
    """A pipe that is read, one byte at a time."""

    reads: int
    writes: int
    then: Callable[[], object] = lambda: None
    read: int = 0
    lost: Failure | None = None

    def fileno(self) -> int:
        return self.reads

    def doRead(self) -> None:
        self.read += len(os.read(self.reads, 1))
        self.then()

    def connectionLost(self, reason: Failure) -> None:
        self.lost = reason

    def logPrefix(self) -> str:
        return "-"


@pytest.fixture
def reactor() -> Iterator[DirectReactor]:
    reactor = DirectReactor()
    yield reactor
    reactor.waker.connectionLost(None)
    reactor._poller.close()  # a reactor is never closed otherwise, as a process has but one


Readers = Callable[[int], list[Reader]]


@pytest.fixture
def readers(reactor: DirectReactor) -> Iterator[Readers]:
    with ExitStack() as opened:

        def readable(number: int) -> list[Reader]:
            made = []
            for _ in range(number):
                reader = Reader(*os.pipe())
                opened.callback(os.close, reader.reads)
                opened.callback(os.close, reader.writes)
                os.write(reader.writes, b"x")
                reactor.addReader(reader)
                made.append(reader)
            return made

        yield readable


def test_more_than_are_taken_at_once(reactor: DirectReactor, readers: Readers) -> None:
    """Events beyond those of one turn come in the next, each once."""
    many = readers(AT_ONCE + 10)
    reactor.doPoll(0)
    assert sum(reader.read for reader in many) == AT_ONCE
    reactor.doPoll(0)
    reactor.doPoll(0)
    assert {reader.read for reader in many} == {1}


def test_one_closes_another(reactor: DirectReactor, readers: Readers) -> None:
    """A descriptor is left alone when an earlier one of its turn removed it."""
    one, other = readers(2)
    one.then = lambda: reactor.removeReader(other)
    other.then = lambda: reactor.removeReader(one)
    reactor.doPoll(0)
    reactor.doPoll(0)
    assert sorted([one.read, other.read]) == [0, 1]


def test_one_raises(reactor: DirectReactor, readers: Readers) -> None:
    """A descriptor that raises is logged and lost, and the others are read."""
    failing, other = readers(2)

    def fail() -> None:
        raise ValueError("read")

    failing.then = fail
    with capturedLogs() as events:
        reactor.doPoll(0)
    assert failing.lost is not None
    assert failing.lost.check(ValueError)
    assert (other.read, other.lost) == (1, None)
    [event] = [event for event in events if event["log_level"] is LogLevel.critical]
    assert event["failure"].check(ValueError)


def test_waits_for_an_event(reactor: DirectReactor, readers: Readers) -> None:
    """Without a time it waits until there is something."""
    [reader] = readers(1)
    reactor.doPoll(None)
    assert reader.read == 1


@pytest.mark.parametrize(("first", "name"), [("os", "DirectReactor"), ("twisted.internet.reactor", "EPollReactor")])
def test_installed(first: str, name: str) -> None:
    """Serving has it for its reactor, but where there is one already."""
    command = [sys.executable, "-c", SHOWN.format(first=first)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert shown.stdout.strip() == name
