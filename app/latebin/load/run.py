"""Measurement of a server's lateness under an open-loop load."""

import gc
import multiprocessing
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Final, TypedDict, Unpack

import attrs

from latebin.load import footprint, target
from latebin.load.footprint import Footprint
from latebin.load.generator import Address, Connections, Load, Tls
from latebin.load.percentiles import Percentiles
from latebin.load.report import Cost, Report
from latebin.load.schedule import RunError, Schedule

GRACE: Final = 5.0
"""How late the last answers may be before they count as unfinished, in seconds."""

MAX_GRACE: Final = 60.0

_SPARE_CONNECTIONS: Final = 16

_SPARE_SHARE: Final = 0.02
"""Connections opened beyond the expected pending answers, as a part of their number: for answers that are late."""

_SHORTEST: Final = 0.05
"""The shortest plateau for the generator's CPU use, in seconds; a run stopped before has too little to measure."""

_OTHER_DESCRIPTORS: Final = 64
"""The file descriptors that stay free for the rest of the process."""


class _Inputs(TypedDict):
    """The fields of a report that are known before the load."""

    url: str
    schedule: Schedule
    connections: Connections
    began: datetime


@attrs.frozen(kw_only=True)
class _Snapshot:
    """The state of a run at one moment."""

    at: float = attrs.field(factory=time.monotonic)
    own_cpu: float = attrs.field(factory=time.process_time)
    answers: int
    pending: int
    server: Footprint | None


def run(
    url: str,
    schedule: Schedule,
    *,
    connections: Connections = "keep",
    grace: float = GRACE,
    pids: Sequence[int] = (),
    insecure: bool = False,
) -> Report:
    """Put a server under load until every request is answered or the time is up.

    The call blocks. Meanwhile the process has its garbage collector off and its limit of open files at the hard limit.
    A first SIGINT ends the run with a report; a second one acts as before the run. `run_apart` leaves the process as it
    is.

    Args:
        url: an http or https URL, see `target.parse`.
        schedule: from `make_schedule`.
        connections: "keep" opens connections beforehand, for one outstanding request each, and opens more if all are
            busy; "fresh" opens one for each request. The time for opening one for a request is part of the lateness.
        grace: seconds to wait beyond the delay for the last answers, at most MAX_GRACE.
        insecure: whether any certificate of the server is accepted, over TLS.
        pids: process ids of the server; the report then has the cost of these processes and their descendants.

    Returns:
        The report.

    Raises:
        RunError: the run is not possible; nothing was sent.
    """
    if not 0 <= grace <= MAX_GRACE:
        raise RunError(f"grace is {grace:g} s; it must be between 0 and {MAX_GRACE:g} s")
    aim = target.parse(url, schedule.delay)
    pool = _pool_size(schedule)
    idle = footprint.read(pids) if pids else None
    tls = None
    if aim.secure:
        context = target.tls_context(insecure=insecure)
        context.set_alpn_protocols(["http/1.1"])
        tls = Tls(context, aim.host)
    with Load(_address(aim), aim.request(keep=connections == "keep"), schedule, connections, tls) as load:
        # A garbage collection in this process would be measured as lateness of the server.
        with _collector_off(), _stopped_by_sigint(load):
            load.open_pool(pool if connections == "keep" else 0)
            began = datetime.now(UTC)
            snapshots = _drive(load, schedule, grace, pids)
        return _report(load, snapshots, idle, url=url, schedule=schedule, connections=connections, began=began)


class Options(TypedDict, total=False):
    """The optional arguments of `run`."""

    connections: Connections
    grace: float
    pids: Sequence[int]
    insecure: bool


def run_apart(url: str, schedule: Schedule, **options: Unpack[Options]) -> Report:
    """Call `run` in a new process, with memory and a garbage collector of its own.

    Args:
        url: as in `run`.
        schedule: as in `run`.
        options: as in `run`.

    Returns:
        The report.

    Raises:
        RunError: as in `run`.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as apart:
        return apart.submit(run, url, schedule, **options).result()


def _pool_size(schedule: Schedule) -> int:
    """Raise the limit of open files, and return how many connections to open beforehand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    size = int(schedule.pending * (1 + _SPARE_SHARE)) + _SPARE_CONNECTIONS
    most = hard - _OTHER_DESCRIPTORS
    if size > most:
        raise RunError(
            f"{schedule.pending:g} pending answers need {size} connections; this process may open {most} (ulimit -n)"
        )
    return size


def _address(aim: target.Target) -> Address:
    """Choose the first address of a target that accepts a connection.

    If none does, the first address is chosen, and its refusals are counted.
    """
    try:
        results = socket.getaddrinfo(aim.host, aim.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RunError(f"cannot resolve {aim.host}: {error.strerror}") from error
    addresses: list[Address] = [(family, address) for family, _, _, _, address in results]
    if len(addresses) == 1:
        # A probe would be one connection more than the run's own: without a choice it is left out.
        return addresses[0]
    for family, where in addresses:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            if probe.connect_ex(where) == 0:
                return family, where
    return addresses[0]


@contextmanager
def _collector_off() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


@contextmanager
def _stopped_by_sigint(load: Load) -> Iterator[None]:
    """Make SIGINT stop a load between two events; KeyboardInterrupt would end its counting anywhere."""
    # Only the main thread may set a signal handler.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        load.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _drive(load: Load, schedule: Schedule, grace: float, pids: Sequence[int]) -> tuple[_Snapshot, ...]:
    """Run a load; return snapshots of start, plateau, full load and end."""
    load.start()
    start = _snapshot(load, ())
    load.proceed(schedule.plateau)
    plateau = _snapshot(load, pids)
    load.proceed(schedule.span)
    full = _snapshot(load, pids)
    load.proceed(schedule.span + schedule.delay + grace)
    return start, plateau, full, _snapshot(load, ())


def _snapshot(load: Load, pids: Sequence[int]) -> _Snapshot:
    server = None
    if pids:
        # A server that ended during the run has no cost, but the run has a report.
        with suppress(RunError):
            server = footprint.read(pids)
    return _Snapshot(answers=load.tally.answered + load.tally.failed, pending=load.unfinished, server=server)


def _report(load: Load, snapshots: tuple[_Snapshot, ...], idle: Footprint | None, **inputs: Unpack[_Inputs]) -> Report:
    start, plateau, full, end = snapshots
    window = full.at - plateau.at
    tally = load.tally
    return Report(
        **inputs,
        elapsed=end.at - start.at,
        sent=tally.sent,
        answered=tally.answered,
        early=tally.early,
        errors=dict(tally.errors.most_common()),
        unfinished=load.unfinished,
        opened=tally.opened,
        pending=full.pending,
        lateness=Percentiles.of(tally.lateness),
        lag=Percentiles.of(tally.lag),
        cpu=(full.own_cpu - plateau.own_cpu) / window if window > _SHORTEST else 0.0,
        cost=_cost(idle, plateau, full),
        interrupted=load.stopped,
    )


def _cost(idle: Footprint | None, plateau: _Snapshot, full: _Snapshot) -> Cost | None:
    if not (idle and plateau.server and full.server):
        return None
    answers = full.answers - plateau.answers
    # Memory that is not above that of the idle server is too little to measure.
    grown = full.server.memory - idle.memory
    return Cost(
        cpu_per_answer=(full.server.cpu - plateau.server.cpu) / answers if answers else None,
        idle=idle.memory,
        plateau=full.server.memory,
        per_pending=grown / full.pending if full.pending and grown > 0 else None,
        source=full.server.source,
    )
