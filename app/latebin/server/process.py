"""A serving process, from its first log line to its exit code.

This module imports Twisted, so `Stack.prepare` is called before its import.
"""

import gc
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import NoReturn

import attrs
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.logger import Logger, LoggingFile, LogLevel, globalLogBeginner
from twisted.python.failure import Failure

from latebin.core.settings import Settings
from latebin.overrides.stack import choose
from latebin.server.drain import longest
from latebin.server.guard import FLUSH, GRACE, KILL, Guard
from latebin.server.machine import most_pending
from latebin.server.signals import IGNORED, Signals, ignore
from latebin.server.worker_config import WorkerConfig
from latebin.server.workers import COUNTERS, WorkersFailedError, counters_of
from latebin.state.interfaces import StateError
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.families import WIDTH
from latebin.telemetry.log import dropped, formatter, observer
from latebin.telemetry.metrics import log_lines_dropped
from latebin.telemetry.writer import SEPARATOR, LogWriter, Telemetry

Start = Callable[..., Deferred[object]]
"""A function that starts to serve; its arguments are `reactor` and `signals`."""

STDOUT, STDERR = 1, 2


def serve(settings: Settings) -> NoReturn:
    """Serve until a signal stops this process, alone or with workers."""
    ignore()
    settings = attrs.evolve(settings, max_pending=settings.max_pending or most_pending())
    single = settings.workers == 1
    if not single:
        gc.enable()  # the parent of workers has no schedule of its own
    counters = SharedCounters(WIDTH) if single else counters_of(settings.workers)
    lines = _begin_log(settings, counters.row(0 if single else settings.workers))
    if settings.control == "open":
        Logger().warn("every client that reaches this service can change its scenarios: --control open")
    guard = Guard(longest(settings) + GRACE + (0 if single else KILL))
    _react(lines, guard, partial(_listening(settings).serve, settings, Telemetry(counters, lines)))


def work(config: WorkerConfig) -> NoReturn:
    """Serve as one of several workers, until a signal or the end of the parent."""
    # Ctrl-C signals every process of a terminal; the parent gets it too, and ends its workers.
    for number in (signal.SIGINT, *IGNORED):
        signal.signal(number, signal.SIG_IGN)
    settings, counters = config.settings, counters_of(config.settings.workers, COUNTERS)
    lines = _begin_log(settings, counters.row(config.worker), config.worker)
    _react(lines, Guard(longest(settings) + GRACE), partial(_listening(settings).accept, config, counters))


def _listening(settings: Settings) -> ModuleType:
    """Import all that serves; that imports Klein, which installs Twisted's reactor where none is installed."""
    choose(settings.stack).reactor()
    return import_module("latebin.server.listening")


def _begin_log(settings: Settings, row: "memoryview[float]", worker: int | None = None) -> LogWriter:
    """Write the log to standard output, with all that libraries print.

    A library that prints would wait for the reader of its file.
    """
    written = formatter(settings.log_format, worker)
    end = "" if worker is None else SEPARATOR
    lines = LogWriter(STDOUT, settings.log_buffer, lambda count: written(dropped(count)), log_lines_dropped(row), end)
    globalLogBeginner.beginLoggingTo([observer(lines, written)], redirectStandardIO=False)
    for name in ("stdout", "stderr"):
        setattr(sys, name, LoggingFile(Logger(name), LogLevel.warn))
    return lines


def _react(lines: LogWriter, guard: Guard, start: Start) -> NoReturn:
    try:
        react(_serving, (guard, start))
    finally:
        lines.close(FLUSH)


def _serving(reactor: ReactorBase, guard: Guard, start: Start) -> Deferred[object]:
    """Serve until a signal stops the reactor.

    Returns:
        A Deferred that never fires, unless the service cannot start, or another signal makes it fail.
    """

    def begin(_: None) -> Deferred[NoReturn]:
        signals = Signals(reactor, guard)
        maybeDeferred(start, reactor=reactor, signals=signals).addErrback(_unable).addErrback(signals.fail)
        return signals.ended

    # Only a running reactor handles signals, so the URLs are logged when it runs.
    running: Deferred[None] = Deferred()
    reactor.callWhenRunning(running.callback, None)
    return running.addCallback(begin)


def _unable(failure: Failure) -> NoReturn:
    # Twisted wraps what the system says of an address, but not of a lock or a number.
    failure.trap(CannotListenError, OSError, OverflowError, StateError, WorkersFailedError)
    # Standard error may be a pipe that nothing reads: that must not keep the process.
    room = select.poll()
    room.register(STDERR, select.POLLOUT)
    if room.poll(FLUSH * 1000):
        with suppress(OSError):
            os.write(STDERR, f"latebin: {failure.value}\n".encode("utf-8", "backslashreplace"))
    raise SystemExit(2 if failure.check(OverflowError) else 1)
