"""The report of a measured run, and its JSON."""

import platform
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import attrs

from latebin.load.generator import Connections
from latebin.load.percentiles import Percentiles
from latebin.load.schedule import Schedule

SCHEMA: Final = 1
"""The version of what `as_json` returns; it goes up when a field changes its meaning or goes."""


LAG_BOUND: Final = 0.002
"""The generator's own p99 lag, in seconds, above which its figures say nothing about the server."""


CPU_BOUND: Final = 0.95
"""The part of one core used by the generator above which the same holds."""


EXHAUSTED: Final = frozenset({"EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"})
"""Errors that say that the generator, and not the server, ran out of something."""


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
