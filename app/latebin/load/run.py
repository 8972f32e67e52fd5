"""How late a server answers, told by a load that does not wait for it."""

import gc
import multiprocessing
import platform
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from types import FrameType
from typing import Any, Final, TypedDict, Unpack

import attrs

from latebin.load import footprint, target
from latebin.load.footprint import Footprint
from latebin.load.generator import Address, Connections, Load
from latebin.load.percentiles import Percentiles
from latebin.load.schedule import RunError, Schedule

SCHEMA: Final = 1
"""The version of what `as_json` returns; it goes up when a field changes its meaning or goes."""

LAG_BOUND: Final = 0.002
"""The generator's own p99 lag, in seconds, above which its figures say nothing about the server."""

CPU_BOUND: Final = 0.95
"""The part of one core used by the generator above which the same holds."""

GRACE: Final = 5.0
"""For how long the last answers may be late before they count as unfinished, in seconds."""

MAX_GRACE: Final = 60.0

EXHAUSTED: Final = frozenset({"EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"})
"""Errors that say that the generator, and not the server, ran out of something."""

_SPARE_CONNECTIONS: Final = 16

_SPARE_SHARE: Final = 0.02
"""What is opened beyond the pending answers, as a part of them: at once idle when all are punctual."""

_SHORTEST: Final = 0.05
"""The shortest plateau whose CPU time is told, in seconds: a run stopped before has next to none."""

_OTHER_DESCRIPTORS: Final = 64
"""How many descriptors are left to the rest of the process."""


class Verdict(StrEnum):
    """What a run allows to be said about the server."""

    PUNCTUAL = "punctual"
    """Every request was answered, and none early: the lateness stands for all of them."""

    FLAWED = "flawed"
    """Some requests failed, were answered early or were not answered at all."""

    BOTTLENECK = "bottleneck"
    """The generator was itself too late, too busy or out of resources: nothing is said about the server."""

    INTERRUPTED = "interrupted"
    """The run was stopped before its end: the figures are for what was measured until then."""


@attrs.frozen(kw_only=True)
class Cost:
    """What the server's processes used.

    Attributes:
        cpu_per_answer: seconds of CPU time per answer on the plateau, or None if there was none.
        idle: bytes before the first connection.
        plateau: bytes when the last request had been sent.
        per_pending: bytes for each answer pending then, connection included, or None if none was.
        source: as in Footprint.
    """

    cpu_per_answer: float | None
    idle: int
    plateau: int
    per_pending: float | None
    source: str


@attrs.frozen(kw_only=True)
class Report:
    """Everything that a run found, all times in seconds.

    `sent` is `answered` + the sum of `errors` + `unfinished`. These count the whole run; `lateness` is for the measured
    answers alone, and for 2xx ones alone.

    Attributes:
        url: as it was given.
        schedule: what was planned.
        connections: as in `run`.
        began: when.
        elapsed: how long the run took, connections opened beforehand left aside.
        sent: requests whose turn came; less than `schedule.count` when the run was stopped, or its time was up.
        answered: whole answers with a 2xx status.
        early: those of them that began before the delay had passed since their request was really sent.
        errors: the failed ones by kind.
        unfinished: requests that had neither an answer nor an error at the end.
        opened: connections opened.
        pending: requests outstanding when the last one had been sent.
        lateness: from a request's planned time to its answer's last byte, less the delay; None without any answer.
        lag: how late the generator itself sent the requests after the warm-up; None if it sent none.
        cpu: the part of one core that the generator used on the plateau; 0 if the run was stopped before.
        cost: of the server, if its process ids were given and its processes lived to the end.
        interrupted: whether the run was stopped.
        python: what the generator ran on.
        machine: the same, of the kernel and the processor.
    """

    url: str
    schedule: Schedule
    connections: Connections
    began: datetime
    elapsed: float
    sent: int
    answered: int
    early: int
    errors: Mapping[str, int]
    unfinished: int
    opened: int
    pending: int
    lateness: Percentiles | None
    lag: Percentiles | None
    cpu: float
    cost: Cost | None
    interrupted: bool
    python: str = attrs.field(factory=platform.python_version)
    machine: str = attrs.field(factory=platform.platform)

    @property
    def failed(self) -> int:
        """How many requests ended as errors."""
        return sum(self.errors.values())

    @property
    def verdict(self) -> Verdict:
        """What can be said; the bottleneck goes first, because it may be what caused all the rest."""
        if self.bottlenecks:
            return Verdict.BOTTLENECK
        if self.interrupted:
            return Verdict.INTERRUPTED
        flawed = self.early or self.failed or self.unfinished or self.sent < self.schedule.count
        return Verdict.FLAWED if flawed else Verdict.PUNCTUAL

    @property
    def bottlenecks(self) -> tuple[str, ...]:
        """Why the generator was the bottleneck, a reason each; empty if it was not."""
        exhausted = sorted(EXHAUSTED.intersection(self.errors))
        reasons = (
            self.lag is not None and self.lag.p99 > LAG_BOUND and f"its p99 lag was {self.lag.p99 * 1000:.1f} ms",
            self.cpu > CPU_BOUND and f"it used {self.cpu:.0%} of a core",
            exhausted and f"it ran out of resources ({', '.join(exhausted)})",
        )
        return tuple(reason for reason in reasons if reason)


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


def as_json(report: Report) -> dict[str, Any]:
    """Write a report for machines.

    Every name that ends in `_ms`, `_us`, `_s`, `_bytes` or `_per_s` has its unit there; what was not measured is null.

    - `schema`: SCHEMA.
    - `url`, `connections`, `began` (ISO 8601, UTC), `elapsed_s`, `python`, `machine`.
    - `plan`: `rate_per_s`, `delay_ms`, `pending`, `warm_up_s`, `duration_s`, `requests`.
    - `verdict`: a Verdict; `bottlenecks`: sentences, empty unless the verdict is `bottleneck`; `interrupted`: whether
      the run was stopped, whatever the verdict.
    - `requests`: `sent`, `answered`, `early` (part of `answered`), `errors` (number by kind), `failed` (their sum),
      `unfinished`, `pending` (when the last was sent), `connections_opened`.
    - `lateness` and `generator.lag`: null, or `number`, `least_ms`, `mean_ms`, `p50_ms`, `p90_ms`, `p99_ms`,
      `p99_9_ms`, `max_ms`, `curve` (pairs of a percentile and its ms). Only `least_ms`, `mean_ms` and `max_ms` can be
      below zero: by as much as an early answer was.
    - `generator`: `lag`, `cpu` (part of one core).
    - `server`: null, or `cpu_per_answer_us`, `idle_bytes`, `plateau_bytes`, `per_pending_bytes`, `memory` (pss or rss).

    Args:
        report: of any run.

    Returns:
        What `json.dumps` takes.
    """
    return {
        "schema": SCHEMA,
        "url": report.url,
        "connections": report.connections,
        "began": report.began.isoformat(),
        "elapsed_s": report.elapsed,
        "python": report.python,
        "machine": report.machine,
        "plan": _plan_json(report.schedule),
        "verdict": report.verdict.value,
        "bottlenecks": list(report.bottlenecks),
        "interrupted": report.interrupted,
        "requests": _requests_json(report),
        "lateness": _percentiles_json(report.lateness),
        "generator": {"lag": _percentiles_json(report.lag), "cpu": report.cpu},
        "server": _cost_json(report.cost),
    }


def _plan_json(schedule: Schedule) -> dict[str, float]:
    return {
        "rate_per_s": schedule.rate,
        "delay_ms": _ms(schedule.delay),
        "pending": schedule.pending,
        "warm_up_s": schedule.warm_up,
        "duration_s": schedule.duration,
        "requests": schedule.count,
    }


def _requests_json(report: Report) -> dict[str, Any]:
    return {
        "sent": report.sent,
        "answered": report.answered,
        "early": report.early,
        "errors": dict(report.errors),
        "failed": report.failed,
        "unfinished": report.unfinished,
        "pending": report.pending,
        "connections_opened": report.opened,
    }


def _percentiles_json(percentiles: Percentiles | None) -> dict[str, Any] | None:
    if percentiles is None:
        return None
    return {
        "number": percentiles.number,
        "least_ms": _ms(percentiles.least),
        "mean_ms": _ms(percentiles.mean),
        "p50_ms": _ms(percentiles.p50),
        "p90_ms": _ms(percentiles.p90),
        "p99_ms": _ms(percentiles.p99),
        "p99_9_ms": _ms(percentiles.p999),
        "max_ms": _ms(percentiles.most),
        "curve": [[percentile, _ms(duration)] for percentile, duration in percentiles.curve],
    }


def _cost_json(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {
        "cpu_per_answer_us": None if cost.cpu_per_answer is None else cost.cpu_per_answer * 1_000_000,
        "idle_bytes": cost.idle,
        "plateau_bytes": cost.plateau,
        "per_pending_bytes": cost.per_pending,
        "memory": cost.source,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 6)


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
