"""How late a server answers, told by a load that does not wait for it."""

import gc
import multiprocessing
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Final, TypedDict, Unpack

import attrs

from latebin.load import footprint, target
from latebin.load.footprint import Footprint
from latebin.load.generator import Address, Connections, Load
from latebin.load.percentiles import Percentiles
from latebin.load.report import Cost, Report
from latebin.load.schedule import RunError, Schedule

GRACE: Final = 5.0
"""For how long the last answers may be late before they count as unfinished, in seconds."""

MAX_GRACE: Final = 60.0


_SPARE_CONNECTIONS: Final = 16

_SPARE_SHARE: Final = 0.02
"""What is opened beyond the pending answers, as a part of them: at once idle when all are punctual."""

_SHORTEST: Final = 0.05
"""The shortest plateau whose CPU time is told, in seconds: a run stopped before has next to none."""

_OTHER_DESCRIPTORS: Final = 64
"""How many descriptors are left to the rest of the process."""


class _Given(TypedDict):
    """What of a report is known before its load."""

    url: str
    schedule: Schedule
    connections: Connections
    began: datetime


@attrs.frozen(kw_only=True)
class _Mark:
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
) -> Report:
    """Put a server under load and wait until all is answered or the time is up.

    It blocks, in this process, whose garbage collector rests meanwhile and whose limit of open files goes up to its
    hard limit. A first SIGINT ends the run with a report, a second one as ever. See `run_apart` for a process that has
    anything else to do.

    Args:
        url: an http URL, see `target.parse`.
        schedule: from `schedule.agree`.
        connections: "keep" opens connections beforehand and has one request outstanding on each, opening more when none
            is idle; "fresh" opens one for each request. A connection opened for a request is part of its lateness.
        grace: how long to wait beyond the delay for the last answers, in seconds, at most MAX_GRACE.
        pids: the server's processes, whose cost is looked at, their children included.

    Returns:
        The report.

    Raises:
        RunError: the run cannot be; nothing was sent.
    """
    if not 0 <= grace <= MAX_GRACE:
        raise RunError(f"grace is {grace:g}; it must be between 0 and {MAX_GRACE:g}")
    aim = target.parse(url, schedule.delay)
    pool = _pool(schedule)
    idle = footprint.read(pids) if pids else None
    with Load(_address(aim), aim.request(keep=connections == "keep"), schedule, connections) as load:
        with _resting_collector(), _stopping(load):
            load.open_pool(pool if connections == "keep" else 0)
            began = datetime.now(UTC)
            marks = _conduct(load, schedule, grace, pids)
        return _report(load, marks, idle, url=url, schedule=schedule, connections=connections, began=began)


class Options(TypedDict, total=False):
    """What `run` can be told, but need not be."""

    connections: Connections
    grace: float
    pids: Sequence[int]


def run_apart(url: str, schedule: Schedule, **options: Unpack[Options]) -> Report:
    """Do the same as `run` in a new process, which shares neither heap nor interpreter with this one.

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


def _pool(schedule: Schedule) -> int:
    pool = int(schedule.pending * (1 + _SPARE_SHARE)) + _SPARE_CONNECTIONS
    most = _raise_descriptor_limit() - _OTHER_DESCRIPTORS
    if pool > most:
        raise RunError(f"{schedule.pending:g} pending need {pool} connections; {most} can be open here (ulimit -n)")
    return pool


def _raise_descriptor_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _address(aim: target.Target) -> Address:
    """Choose the first address that takes a connection, or else the first, whose refusals are then counted."""
    try:
        found = socket.getaddrinfo(aim.host, aim.port, type=socket.SOCK_STREAM)
    except OSError as refusal:
        raise RunError(f"{aim.host}: {refusal.strerror}") from refusal
    addresses: list[Address] = [(family, address) for family, _, _, _, address in found]
    if len(addresses) == 1:
        # Not tried out: the server sees no connection but those of the run.
        return addresses[0]
    return next(filter(_takes_connections, addresses), addresses[0])


def _takes_connections(address: Address) -> bool:
    family, where = address
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(where) == 0


@contextmanager
def _resting_collector() -> Iterator[None]:
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
def _stopping(load: Load) -> Iterator[None]:
    """Let SIGINT stop a load instead of breaking it off in the middle of its counting."""
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


def _conduct(load: Load, schedule: Schedule, grace: float, pids: Sequence[int]) -> tuple[_Mark, ...]:
    load.start()
    start = _mark(load, ())
    load.proceed(schedule.plateau)
    plateau = _mark(load, pids)
    load.proceed(schedule.span)
    full = _mark(load, pids)
    load.proceed(schedule.span + schedule.delay + grace)
    return start, plateau, full, _mark(load, ())


def _mark(load: Load, pids: Sequence[int]) -> _Mark:
    return _Mark(
        answers=load.tally.answered + load.tally.failed, pending=load.unfinished, server=_living(pids) if pids else None
    )


def _living(pids: Sequence[int]) -> Footprint | None:
    try:
        return footprint.read(pids)
    except RunError:
        return None


def _report(load: Load, marks: tuple[_Mark, ...], idle: Footprint | None, **given: Unpack[_Given]) -> Report:
    start, plateau, full, end = marks
    window = full.at - plateau.at
    tally = load.tally
    return Report(
        **given,
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


def _cost(idle: Footprint | None, plateau: _Mark, full: _Mark) -> Cost | None:
    if not (idle and plateau.server and full.server):
        return None
    answers = full.answers - plateau.answers
    return Cost(
        cpu_per_answer=(full.server.cpu - plateau.server.cpu) / answers if answers else None,
        idle=idle.memory,
        plateau=full.server.memory,
        per_pending=(full.server.memory - idle.memory) / full.pending if full.pending else None,
        source=full.server.source,
    )
