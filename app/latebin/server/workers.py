"""Several processes that accept on the same sockets, and the parent that starts them."""

import contextlib
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.error import ProcessExitedAlready, ReactorNotRunning
from twisted.internet.interfaces import (
    IDelayedCall,
    IProcessTransport,
    IReactorFDSet,
    IReactorProcess,
    IReactorTime,
    IReadDescriptor,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from latebin.core.language.duration import render
from latebin.core.settings import Settings
from latebin.server.worker_config import WorkerConfig
from latebin.telemetry.counters import SharedCounters, shared
from latebin.telemetry.families import WIDTH
from latebin.telemetry.metrics import clear_gauges
from latebin.telemetry.writer import Relay, Telemetry

log = Logger()

PARENT, LOG, READY, COUNTERS, FIRST_SOCKET = 0, 1, 3, 4, 5
"""The descriptors of a worker, beside standard error.

The pipe PARENT brings the configuration and ends with the parent. The pipe LOG takes the log, and READY a byte when the
worker accepts. COUNTERS is the shared memory. The sockets follow in the order of the endpoints.
"""

SHORTEST: Final = 0.1
"""Seconds until a worker that died is started again, the first time; then twice as long each time."""

LONGEST: Final = 30.0
"""Seconds that it takes at most until a worker is started again."""

LIVED: Final = 10.0
"""Seconds after which a worker's death is no longer one of a row."""

ATTEMPTS: Final = 3
"""Deaths of a worker before it accepts, after which the start has failed. They count until all workers accept."""


class WorkersFailedError(Exception):
    """The workers cannot be started."""


def counters_of(workers: int, descriptor: int | None = None) -> SharedCounters:
    """Open the memory with a row for each worker and one for their parent.

    Args:
        workers: how many there are.
        descriptor: that of the memory, in a worker; None makes new memory.
    """
    rows = workers + 1
    return SharedCounters(WIDTH, rows, shared(WIDTH, rows) if descriptor is None else descriptor)


class Worker(ProcessProtocol):
    """One place among the workers, and the process that fills it now.

    Args:
        number: from 0.
        workers: all workers, which learn when the process accepts and when it ends.
    """

    transport: IProcessTransport

    def __init__(self, number: int, workers: "Workers") -> None:
        self.number = number
        self._workers = workers
        self._started = 0.0
        self._deaths = 0
        self._again: IDelayedCall | None = None
        self._relay = Relay(workers.telemetry.lines)
        self.accepts = False
        self.gone: Deferred[None] | None = None

    def start(self) -> None:
        """Start a process for this place."""
        self._again = None
        self._started = self._workers.clock.seconds()
        self.gone = Deferred()
        self._workers.spawn(self)

    def stop(self) -> Deferred[None]:
        """Ask the process to end by itself, with SIGTERM.

        Returns:
            A Deferred that fires when the place has no process.
        """
        if self._again is not None:
            self._again.cancel()
        if self.gone is None:
            return succeed(None)
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("TERM")
        return self.gone

    def kill(self) -> None:
        """End the process with SIGKILL, even one that has begun to stop."""
        if self.gone is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")

    def connectionMade(self) -> None:
        """Send the process its configuration, and keep the pipe open until the end."""
        self.transport.writeToChild(PARENT, pickle.dumps(WorkerConfig(self._workers.settings, self.number)))

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Relay the log of the process; the other pipe reports that it accepts."""
        if childFD == LOG:
            self._relay.received(data)
            return
        self.accepts = True
        self._workers.accepted()

    def processEnded(self, reason: Failure) -> None:
        """Note that the process has ended, and start another unless all are to stop."""
        gone, self.gone = self.gone, None
        self._relay.ended()
        self._workers.ended(self, reason)
        self.accepts = False
        if gone is not None:
            gone.callback(None)

    def start_again(self) -> float:
        """Schedule another process, the later the more often processes died here.

        Returns:
            Seconds until it starts.
        """
        lived = self._workers.clock.seconds() - self._started
        self._deaths = 0 if lived > LIVED else self._deaths
        wait: float = min(SHORTEST * 2 ** min(self._deaths, 10), LONGEST)
        self._deaths += 1
        self._again = self._workers.clock.callLater(wait, self.start)
        return wait

    @property
    def hopeless(self) -> bool:
        """Whether processes die here again and again before they accept."""
        return not self.accepts and self._deaths >= ATTEMPTS - 1


class Workers:
    """The worker processes of a service, each started again when it dies.

    All workers have the parent's sockets: any free one accepts, and a connection that waits to be accepted is not lost
    when a worker dies.

    Args:
        reactor: spawns the processes.
        clock: schedules the start of another worker.
        settings: those of the service.
        telemetry: the memory that the workers count in, and the log that their events go to.
        sockets: the descriptors that the workers accept on, in the order of the endpoints.

    Attributes:
        accepting: fires when all of them have accepted for the first time; fails with WorkersFailedError.
    """

    def __init__(
        self,
        reactor: IReactorProcess,
        clock: IReactorTime,
        settings: Settings,
        telemetry: Telemetry,
        sockets: Sequence[int],
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.telemetry = telemetry
        self.accepting: Deferred[None] = Deferred()
        self._reactor = reactor
        self._descriptors = {COUNTERS: telemetry.counters.descriptor, **dict(enumerate(sockets, FIRST_SOCKET))}
        self._stopping = False
        self._workers = [Worker(number, self) for number in range(settings.workers)]

    def start(self) -> Deferred[None]:
        """Start all workers, one in each turn of the reactor, which handles signals in between.

        Returns:
            `accepting`.
        """
        self._start_next(iter(self._workers))
        return self.accepting

    def _start_next(self, remaining: Iterator[Worker]) -> None:
        worker = None if self._stopping else next(remaining, None)
        if worker is not None:
            worker.start()
            self.clock.callLater(0, self._start_next, remaining)

    def stop(self) -> Deferred[list[None]]:
        """Ask all workers to end by themselves, with SIGTERM.

        Returns:
            A Deferred that fires when no process is left.
        """
        self._stopping = True
        return gatherResults([worker.stop() for worker in self._workers])

    def kill(self) -> None:
        """End all workers at once, with SIGKILL."""
        for worker in self._workers:
            worker.kill()

    def spawn(self, worker: Worker) -> None:
        """Start a process, in this interpreter and with the same modules."""
        # -P and the path of this process: the working directory may have a `latebin` of its own.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-P", "-m", "latebin", "worker"]
        files: dict[int, Any] = {PARENT: "w", LOG: "r", 2: 2, READY: "r", **self._descriptors}
        try:
            self._reactor.spawnProcess(worker, sys.executable, command, env=environment, childFDs=files)
        except OSError:  # neither a process nor a descriptor may be left
            worker.processEnded(Failure())

    def accepted(self) -> None:
        """Note that a worker accepts, and fire `accepting` after the last, unless the workers stop."""
        if not self._stopping and not self.accepting.called and all(worker.accepts for worker in self._workers):
            self.accepting.callback(None)

    def ended(self, worker: Worker, reason: Failure) -> None:
        """Note the end of a worker, and start another unless all are to stop."""
        clear_gauges(self.telemetry.counters.row(worker.number))
        if self._stopping:
            return
        if not self.accepting.called and worker.hopeless:
            self.accepting.errback(WorkersFailedError(f"worker {worker.number} cannot be started: {reason.value}"))
            return
        wait = render(worker.start_again())
        log.warn(
            "worker {number} is gone, another starts in {wait}: {why}",
            number=worker.number,
            wait=wait,
            why=reason.value,
        )


@implementer(IReadDescriptor)
class ParentWatch:
    """A reader that stops a worker when its parent is gone.

    However the parent ended, the kernel closes its end of the pipe.

    Args:
        reactor: the reactor to be stopped.
        descriptor: that of the pipe.
    """

    def __init__(self, reactor: ReactorBase, descriptor: int = PARENT) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._readers = IReactorFDSet(reactor)
        self._readers.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        """Take any input for the end: a running worker is sent nothing."""
        self._readers.removeReader(self)
        self.connectionLost(Failure(CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        """Stop the reactor unless it stops already."""
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()

    def logPrefix(self) -> str:
        return "-"
