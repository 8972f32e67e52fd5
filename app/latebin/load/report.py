"""The report of a load run, and its JSON."""

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
"""The version of the JSON of `as_json`; it goes up when a field changes its meaning or is removed."""

LAG_BOUND: Final = 0.002
"""The p99 lag of the generator, in seconds, above which the figures are not the server's."""

CPU_BOUND: Final = 0.95
"""The part of one core used by the generator above which the figures are not the server's."""

EXHAUSTED: Final = frozenset({"EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"})
"""Errors of a generator that ran out of a resource; the server did not cause them."""


class Verdict(StrEnum):
    """The conclusion about the server that a run allows."""

    PUNCTUAL = "punctual"
    """Every request was answered, and none early: the lateness is that of all requests."""

    FLAWED = "flawed"
    """Some requests failed, were answered early or were not answered at all."""

    BOTTLENECK = "bottleneck"
    """The generator was itself too late, too busy or out of resources: the run shows nothing about the server."""

    INTERRUPTED = "interrupted"
    """The run was stopped before its end: the figures cover the time until then."""


@attrs.frozen(kw_only=True)
class Cost:
    """CPU time and memory of the server's processes.

    Attributes:
        cpu_per_answer: seconds of CPU time per answer on the plateau; None without an answer.
        idle: bytes before the first connection.
        plateau: bytes after the last request was sent.
        per_pending: bytes for each answer pending at that moment, with its connection; None without a pending answer.
        source: as in Footprint.
    """

    cpu_per_answer: float | None
    idle: int
    plateau: int
    per_pending: float | None
    source: str


@attrs.frozen(kw_only=True)
class Report:
    """The result of a run, with all times in seconds.

    `sent` is `answered` + the sum of `errors` + `unfinished`. These count the whole run; `lateness` covers only the
    measured answers with a 2xx status.

    Attributes:
        url: the URL as it was given.
        schedule: the planned requests.
        connections: as in `run`.
        began: the time of the start.
        elapsed: the length of the run, without the time for connections opened beforehand.
        sent: requests whose planned time came; less than `schedule.count` if the run was stopped or out of time.
        answered: complete answers with a 2xx status.
        early: answers among them whose first byte came before the delay had passed since their request was sent.
        errors: failed requests by kind.
        unfinished: requests with neither an answer nor an error at the end.
        opened: connections opened.
        pending: outstanding requests after the last one was sent.
        lateness: from a request's planned time to its answer's last byte, less the delay; None without an answer.
        lag: from a request's planned time to its sending, after the warm-up; None without such a request.
        cpu: the part of one core that the generator used on the plateau; 0 if the run was stopped before.
        cost: of the server; None without process ids, or if a process ended during the run.
        interrupted: whether the run was stopped.
        python: the version of the generator's Python.
        machine: the generator's kernel and processor.
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
        """The number of failed requests."""
        return sum(self.errors.values())

    @property
    def verdict(self) -> Verdict:
        """The conclusion about the server."""
        # First, because a generator that is the bottleneck may have caused every other flaw.
        if self.bottlenecks:
            return Verdict.BOTTLENECK
        if self.interrupted:
            return Verdict.INTERRUPTED
        flawed = self.early or self.failed or self.unfinished or self.sent < self.schedule.count
        return Verdict.FLAWED if flawed else Verdict.PUNCTUAL

    @property
    def bottlenecks(self) -> tuple[str, ...]:
        """The reasons why the generator was the bottleneck; empty if it was not."""
        exhausted = sorted(EXHAUSTED.intersection(self.errors))
        reasons = []
        if self.lag is not None and self.lag.p99 > LAG_BOUND:
            reasons.append(f"p99 lag of {self.lag.p99 * 1000:.1f} ms, above {LAG_BOUND * 1000:g} ms")
        if self.cpu > CPU_BOUND:
            reasons.append(f"CPU use of {self.cpu:.0%} of a core, above {CPU_BOUND:.0%}")
        if exhausted:
            reasons.append(f"out of resources ({', '.join(exhausted)})")
        return tuple(reasons)


def as_json(report: Report) -> dict[str, Any]:
    """Convert a report to JSON.

    A name that ends in `_ms`, `_us`, `_s`, `_bytes` or `_per_s` has its unit there; a figure without a measurement is
    null.

    - `schema`: SCHEMA.
    - `url`, `connections`, `began` (ISO 8601, UTC), `elapsed_s`, `python`, `machine`.
    - `plan`: `rate_per_s`, `delay_ms`, `pending`, `warm_up_s`, `duration_s`, `requests`.
    - `verdict`: a Verdict; `bottlenecks`: reasons, empty unless the verdict is `bottleneck`; `interrupted`: whether
      the run was stopped, for every verdict.
    - `requests`: `sent`, `answered`, `early` (part of `answered`), `errors` (number by kind), `failed` (their sum),
      `unfinished`, `pending` (after the last was sent), `connections_opened`.
    - `lateness` and `generator.lag`: null, or `number`, `least_ms`, `mean_ms`, `p50_ms`, `p90_ms`, `p99_ms`,
      `p99_9_ms`, `max_ms`, `curve` (pairs of a percentile and its ms). Only `least_ms`, `mean_ms` and `max_ms` can be
      negative: early answers make them so.
    - `generator`: `lag`, `cpu` (part of one core).
    - `server`: null, or `cpu_per_answer_us`, `idle_bytes`, `plateau_bytes`, `per_pending_bytes`, `memory` (pss or rss).

    Args:
        report: of any run.

    Returns:
        An object for `json.dumps`.
    """
    schedule = report.schedule
    return {
        "schema": SCHEMA,
        "url": report.url,
        "connections": report.connections,
        "began": report.began.isoformat(),
        "elapsed_s": report.elapsed,
        "python": report.python,
        "machine": report.machine,
        "plan": {
            "rate_per_s": schedule.rate,
            "delay_ms": _ms(schedule.delay),
            "pending": schedule.pending,
            "warm_up_s": schedule.warm_up,
            "duration_s": schedule.duration,
            "requests": schedule.count,
        },
        "verdict": report.verdict.value,
        "bottlenecks": list(report.bottlenecks),
        "interrupted": report.interrupted,
        "requests": {
            "sent": report.sent,
            "answered": report.answered,
            "early": report.early,
            "errors": dict(report.errors),
            "failed": report.failed,
            "unfinished": report.unfinished,
            "pending": report.pending,
            "connections_opened": report.opened,
        },
        "lateness": _percentiles_json(report.lateness),
        "generator": {"lag": _percentiles_json(report.lag), "cpu": report.cpu},
        "server": _cost_json(report.cost),
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
