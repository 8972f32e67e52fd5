"""A serving process, from its first log line to its exit code.

To import this module is to import Twisted, so `Stack.prepare` comes before.
"""

import gc
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import attrs
import click
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from latebin.core.settings import Settings
from latebin.overrides.stack import choose
from latebin.server.machine import most_pending, raise_descriptors
from latebin.server.signals import Signals
from latebin.server.worker_config import WorkerConfig
from latebin.server.workers import BOARD, WorkersFailedError
from latebin.telemetry.counters import shared
from latebin.telemetry.log import Lines, observer
from latebin.telemetry.metrics import WIDTH

if TYPE_CHECKING:
    from latebin.server.listening import Hurry


def serve(settings: Settings) -> NoReturn:
    """Serve until a signal stops this process, alone or with workers."""
    raise_descriptors()
    settings = attrs.evolve(settings, max_pending=settings.max_pending or most_pending())
    board = None
    if settings.workers > 1:
        board = shared(WIDTH, settings.workers)
        gc.enable()  # the parent of workers has no schedule of its own
    _begin_log(settings, board)
    if settings.control == "open":
        Logger().warn("every client that reaches this service can change its scenarios: --control open")
    react(_when_running, (partial(_listening(settings).serve, settings, board=board),))


def work(config: WorkerConfig) -> NoReturn:
    """Serve as one of several workers, until a signal or the end of the parent."""
    # Ctrl-C signals every process of a terminal; the parent gets it too, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _begin_log(config.settings, BOARD, config.worker)
    react(_when_running, (partial(_listening(config.settings).accept, config),))


def _listening(settings: Settings) -> ModuleType:
    """Import all that serves; that imports Klein, which installs Twisted's reactor where none is installed."""
    choose(settings.stack).reactor()
    return import_module("latebin.server.listening")


def _begin_log(settings: Settings, lock: int | None, worker: int | None = None) -> None:
    lines = Lines(sys.stdout.fileno(), lock)
    globalLogBeginner.beginLoggingTo([observer(lines, settings.log_format, worker)], redirectStandardIO=False)


def _when_running(reactor: ReactorBase, start: Callable[[ReactorBase], "Deferred[Hurry]"]) -> Deferred[object]:
    """Serve until a signal stops the reactor; the Deferred fails at a second signal."""
    # Only a running reactor handles signals, so the URLs are logged when it runs.
    running: Deferred[object] = Deferred()
    reactor.callWhenRunning(running.callback, None)
    served = running.addCallback(lambda _: start(reactor)).addErrback(_unable)
    return served.addCallback(lambda hurry: Signals(reactor, hurry).hurried)


def _unable(failure: Failure) -> NoReturn:
    # Twisted wraps what the system says of an address, but not of a lock or a number.
    failure.trap(CannotListenError, OSError, OverflowError, WorkersFailedError)
    click.echo(f"latebin: {failure.value}", err=True)
    raise SystemExit(2 if failure.check(OverflowError) else 1)
