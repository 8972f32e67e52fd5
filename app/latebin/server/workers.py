"""Several processes that accept on the same sockets, and the one that started them."""

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
from latebin.telemetry.metrics import WIDTH, clear_gauges
from latebin.telemetry.writer import Relay, Telemetry

log = Logger()

LEASH, LOG, READY, BOARD, FIRST_SOCKET = 0, 1, 3, 4, 5
"""The descriptors of a worker, beside standard error.

One pipe ends when its parent does, one is for its log, and on one it says that it accepts. The memory of the board is
the fourth. The sockets follow in the order of the endpoints.
"""

SHORTEST: Final = 0.1
"""Seconds until a worker that died is started again, the first time; then twice as long each time."""

LONGEST: Final = 30.0
"""Seconds that it takes at most until a worker is started again."""

LIVED: Final = 10.0
"""Seconds after which a worker's death is no longer one of a row."""

ATTEMPTS: Final = 3
"""How often a worker may die before it has accepted, while not all of them ever have: then it is no accident."""


class WorkersFailedError(Exception):
    """The workers cannot be started."""


def counters_of(workers: int, descriptor: int | None = None) -> SharedCounters:
    """Open the memory with a row for each worker and one for their parent.

    Args:
        workers: how many there are.
        descriptor: the memory's, in a worker; None makes new memory.
    """
    rows = workers + 1
    return SharedCounters(WIDTH, rows, shared(WIDTH, rows) if descriptor is None else descriptor)


class Worker(ProcessProtocol):
    """One place among the workers, and the process that fills it now.

    Args:
        number: from 0.
        workers: who is told what becomes of the process.
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
        """Tell the process to end as it would by itself.

        Returns:
            A Deferred that fires when there is none.
        """
        if self._again is not None:
            self._again.cancel()
        if self.gone is None:
            return succeed(None)
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("TERM")
        return self.gone

    def kill(self) -> None:
        """End the process, whatever it does; one that has begun to stop takes a signal of another kind for that."""
        if self.gone is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")

    def connectionMade(self) -> None:
        """Give the process what it needs; the pipe stays open, for it to see its end."""
        self.transport.writeToChild(LEASH, pickle.dumps(WorkerConfig(self._workers.settings, self.number)))

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Pass on what the process logs; on the other pipe, learn that it accepts."""
        if childFD == LOG:
            self._relay.received(data)
            return
        self.accepts = True
        self._workers.accepted()

    def processEnded(self, reason: Failure) -> None:
        """Learn that the process is gone, and see to another unless they are all to go."""
        gone, self.gone = self.gone, None
        self._relay.ended()
        self._workers.ended(self, reason)
        self.accepts = False
        if gone is not None:
            gone.callback(None)

    def start_again(self) -> float:
        """Start another process, the later the more often they died.

        Returns:
            Seconds until then.
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
    """Keeps as many processes accepting as the settings ask for, until it is told to stop.

    A worker has the parent's sockets: whoever is free accepts, and what waits to be accepted is not lost with a worker.

    Args:
        reactor: what spawns them.
        clock: what a worker that died is started again by.
        settings: what they serve with.
        telemetry: the memory that they count in, and the log that their events go to.
        sockets: the descriptors that they accept on, in the order of the endpoints.

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
        self._descriptors = {BOARD: telemetry.counters.descriptor, **dict(enumerate(sockets, FIRST_SOCKET))}
        self._stopping = False
        self._workers = [Worker(number, self) for number in range(settings.workers)]

    def start(self) -> Deferred[None]:
        """Start them all, one in each turn of the reactor, which hears signals in between.

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
        """Stop them all, each as it would by itself.

        Returns:
            A Deferred that fires when none is left.
        """
        self._stopping = True
        return gatherResults([worker.stop() for worker in self._workers])

    def kill(self) -> None:
        """End them all at once."""
        for worker in self._workers:
            worker.kill()

    def spawn(self, worker: Worker) -> None:
        """Start a process, in this interpreter and with the same modules."""
        # -P, and the path as it is here: the directory in which this was started may have an `app` of its own.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-P", "-m", "latebin", "worker"]
        files: dict[int, Any] = {LEASH: "w", LOG: "r", 2: 2, READY: "r", **self._descriptors}
        try:
            self._reactor.spawnProcess(worker, sys.executable, command, env=environment, childFDs=files)
        except OSError:  # neither a process nor a descriptor may be left
            worker.processEnded(Failure())

    def accepted(self) -> None:
        """Learn that one of them accepts; while they stop, it is too late for that."""
        if not self._stopping and not self.accepting.called and all(worker.accepts for worker in self._workers):
            self.accepting.callback(None)

    def ended(self, worker: Worker, reason: Failure) -> None:
        """Learn that one of them is gone."""
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
    """Stops a worker when its parent is gone, however it went: the kernel closes the other end of the pipe.

    Args:
        reactor: what is stopped.
        descriptor: of the pipe.
    """

    def __init__(self, reactor: ReactorBase, descriptor: int = LEASH) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._readers = IReactorFDSet(reactor)
        self._readers.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        """Take what can be read for the end: nothing is written to the pipe once the worker runs."""
        self._readers.removeReader(self)
        self.connectionLost(Failure(CONNECTION_DONE))

    def connectionLost(self, reason: Failure) -> None:
        """Stop, unless it is the reactor that stops already."""
        with contextlib.suppress(ReactorNotRunning):
            self._reactor.stop()

    def logPrefix(self) -> str:
        return "-"
