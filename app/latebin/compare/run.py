"""The comparison of the two styles: first their answers, then rounds of load."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from importlib.resources import files
from math import sqrt
from typing import Final

import attrs

from latebin.compare.contract import CONVERSATIONS, held_by
from latebin.compare.control import IN_USE, OPERATED, Operated
from latebin.compare.findings import Ceiling, Comparison, Round, Sample
from latebin.compare.parity import Parity, address
from latebin.compare.parity import compare as compare_answers
from latebin.compare.source import code_lines, definitions
from latebin.core.endpoints import PREFIXES
from latebin.load.report import Report, Verdict
from latebin.load.run import run_apart
from latebin.load.schedule import RunError, Schedule, make_schedule
from latebin.load.target import PLACEHOLDER

DELAY: Final = 2.5
"""The delay under load, in seconds; the rate is pending answers / delay."""

WARM_UP: Final = 0.5

GRACE: Final = 2.0
"""How late the last answers of a sample may be before they count as unfinished, in seconds."""

SHORTEST: Final = 1.0
"""The shortest measurement of a sample, in seconds; a shorter one has too few answers for high percentiles."""

LONGEST: Final = 10.0
"""The longest measurement of a sample, in seconds."""

STARTING: Final = 2.0
"""The time that the timetable allows for a start and a stop of service and generator, in seconds."""

ATTEMPTS: Final = 3
"""The most attempts at a sample while the generator is the bottleneck and there is time."""

PROBES: Final = 4
"""The number of rates to probe for the greatest rate of a style."""

PROBE_TIME: Final = 0.5
"""The measured time of a probe, in seconds."""

_PROBE_WARM_UP: Final = 0.2

_PROBE_GRACE: Final = 1.0

_PROBE_STARTING: Final = 0.6

_PROBE: Final = _PROBE_STARTING + _PROBE_WARM_UP + PROBE_TIME

PUNCTUAL: Final = 0.02
"""The greatest p90 lateness of a server that keeps up, in seconds; beyond its greatest rate the lateness only grows."""

BRACKET: Final = (0.6, 1.5)
"""The rates to search, as multiples of the rate that the CPU time per answer allows on one core."""

RATES: Final = (100.0, 20_000.0)
"""The least and the greatest rate to probe at all, per second."""


@attrs.frozen
class Service:
    """A service to compare.

    Attributes:
        url: the URL without a path.
        pids: process ids; empty to measure no cost.
        stack: the stack that it runs on, one of `latebin.core.settings.STACKS`.
    """

    url: str
    pids: tuple[int, ...] = ()
    stack: str = "tuned"


@attrs.frozen(kw_only=True)
class Timetable:
    """The parts of a comparison, with the time for each.

    Attributes:
        schedule: the load of each sample.
        rounds: the number of rounds, each of one sample of either style.
        longest: the longest wait of a conversation, in seconds.
        bound: the time after which no further round begins, in seconds.
    """

    schedule: Schedule
    rounds: int
    longest: float
    bound: float

    @property
    def answers_time(self) -> float:
        """The time for the comparison of the answers, in seconds."""
        return self.longest + STARTING

    @property
    def sample_time(self) -> float:
        """The time for a sample, in seconds."""
        return STARTING + self.schedule.span + self.schedule.delay + PROBES * _PROBE

    @property
    def expected(self) -> float:
        """The time for the whole comparison, in seconds."""
        return self.answers_time + 2 * self.rounds * self.sample_time


def make_timetable(*, pending: float, rounds: int, longest: float, bound: float) -> Timetable:
    """Divide the time of a comparison among its parts.

    Args:
        pending: the number of answers pending at once.
        rounds: samples of each style; 0 compares the answers alone.
        longest: the longest wait of a conversation, in seconds.
        bound: the time for the whole comparison, in seconds.

    Returns:
        A timetable; with more time, each sample is measured for longer.

    Raises:
        RunError: the time is too short, or the load is out of its limits.
    """

    def timetable(duration: float) -> Timetable:
        schedule = make_schedule(pending=pending, delay=DELAY, duration=duration, warm_up=WARM_UP)
        return Timetable(schedule=schedule, rounds=rounds, longest=longest, bound=bound)

    least = timetable(SHORTEST).expected
    if least > bound:
        raise RunError(f"{rounds} rounds take at least {least:.0f} s; the bound is {bound:g} s")
    spare = (bound - least) / (2 * rounds) if rounds else 0.0
    return timetable(min(SHORTEST + spare, LONGEST))


Progress = Callable[[str, float], object]
"""Called with the name of the current part, and the seconds of the timetable that have passed since the last call."""

OpenService = Callable[..., AbstractContextManager[Service]]
"""Returns a service, a fresh one if it is the comparison's own; its context stops it.

The arguments by name are variables of its environment.
"""


def compare(timetable: Timetable, open_service: OpenService, *, own: bool, progress: Progress) -> Comparison:
    """Compare the two styles of a service.

    Args:
        timetable: the parts of the comparison.
        open_service: called for the answers, and for each sample.
        own: whether the service is started for the comparison.
        progress: called after each step.

    Returns:
        The findings.

    Raises:
        RunError: the service cannot be compared, for example because its URL has a path.
        OSError: the service cannot be reached.
    """
    began, started = datetime.now(UTC), time.monotonic()
    progress("same answers", 0.0)
    with open_service() as service:
        held = held_by(service.stack, CONVERSATIONS)
        exchanges = 2 * sum(each.wait <= timetable.longest for each in held)
        answered = partial(progress, "same answers", timetable.answers_time / max(exchanges, 1))
        # Beside the others, which do little else than wait.
        with ThreadPoolExecutor(len(OPERATED)) as threads:
            beside = [threads.submit(_held_by_operated, each, timetable, open_service, own=own) for each in OPERATED]
            parity = compare_answers(
                address(service.url), CONVERSATIONS, timetable.longest, progress=answered, stack=service.stack
            )
        parity = parity.joined(each.result() for each in beside)
    rounds = tuple(_rounds(timetable, open_service, started, progress))
    sources = {style: style_source(style) for style in PREFIXES}
    return Comparison(
        url=service.url,
        own=own,
        began=began,
        elapsed=time.monotonic() - started,
        parity=parity,
        rounds=rounds,
        planned=timetable.rounds,
        klein=definitions(sources["klein"]),
        resource=definitions(sources["resource"]),
        lines={style: code_lines(source) for style, source in sources.items()},
    )


def _held_by_operated(operated: Operated, timetable: Timetable, open_service: OpenService, *, own: bool) -> Parity:
    """Have the conversations with a service whose operator has made a choice.

    A service that is not the comparison's own is not asked.
    """
    conversations, longest = operated.conversations, timetable.longest
    if not own:
        return Parity((), (), longest, (), {each.name: IN_USE for each in conversations})
    with open_service(**operated.variables) as service:
        return compare_answers(address(service.url), conversations, longest, stack=service.stack, connections=1)


def style_source(style: str) -> str:
    """Return the text of a style file."""
    return (files("latebin.styles") / f"{style}.py").read_text("utf-8")


def _rounds(timetable: Timetable, open_service: OpenService, started: float, progress: Progress) -> Iterator[Round]:
    until = started + timetable.bound
    for number in range(timetable.rounds):
        # The timetable has time for the first round on any machine; a slow one may leave too little for the others.
        if number and until - time.monotonic() < 2 * timetable.sample_time:
            return
        samples = {}
        for left, style in zip(reversed(range(len(PREFIXES))), PREFIXES, strict=True):
            part = f"round {number + 1} of {timetable.rounds}, {style}"
            last_start = until - (1 + left) * timetable.sample_time
            samples[style] = _sample(timetable, open_service, style, last_start, partial(progress, part))
        yield Round(**samples)


def _sample(
    timetable: Timetable,
    open_service: OpenService,
    style: str,
    last_start: float,
    progress: Callable[[float], object],
) -> Sample:
    """Take a sample, and again while the generator is its bottleneck and there is time."""
    progress(0.0)
    for attempt in range(1, ATTEMPTS + 1):
        # A fresh one: memory that an earlier load left behind must not count as this one's.
        with open_service() as service:
            url = f"{service.url}{PREFIXES[style]}/delayed"
            report = run_apart(f"{url}/{PLACEHOLDER}", timetable.schedule, grace=GRACE, pids=service.pids)
            sample = Sample(report)
            if sample.sound:
                progress(timetable.sample_time - PROBES * _PROBE)
                return attrs.evolve(sample, ceiling=search(partial(_probe, f"{url}/0", progress), *bracket(report)))
        if attempt == ATTEMPTS or time.monotonic() > last_start:
            break
    progress(timetable.sample_time)
    return sample


def _probe(url: str, progress: Callable[[float], object], rate: float) -> "KeptUp":
    schedule = make_schedule(rate=rate, delay=0.0, duration=PROBE_TIME, warm_up=_PROBE_WARM_UP)
    result = kept_up(run_apart(url, schedule, grace=_PROBE_GRACE))
    progress(_PROBE)
    return result


class KeptUp(Enum):
    """Whether a server kept up with a rate."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()
    """The generator did not keep up."""


def kept_up(report: Report) -> KeptUp:
    """Judge by a report whether the server kept up.

    Args:
        report: of a load without a delay.

    Returns:
        UNKNOWN if the generator was the bottleneck.
    """
    if report.verdict is Verdict.BOTTLENECK:
        return KeptUp.UNKNOWN
    late = report.lateness is None or report.lateness.p90 > PUNCTUAL
    return KeptUp.NO if late or report.verdict is not Verdict.PUNCTUAL else KeptUp.YES


def bracket(report: Report) -> tuple[float, float]:
    """Return the rates between which to search for the greatest one.

    Args:
        report: of a load; RATES is the bracket if it has no CPU time per answer.

    Returns:
        The lower and the upper rate, per second.
    """
    cpu = report.cost.cpu_per_answer if report.cost is not None else None
    if not cpu:
        return RATES
    least, most = RATES
    low, high = (min(max(part / cpu, least), most) for part in BRACKET)
    return low, high


def search(probe: Callable[[float], KeptUp], low: float, high: float, probes: int = PROBES) -> Ceiling:
    """Search for the greatest rate with which a server keeps up, by bisection.

    Each probe is at the geometric mean of the bracket, and halves the ratio of its ends on a logarithmic scale.

    Args:
        probe: tries a rate.
        low: the lower end of the bracket, per second.
        high: the upper end.
        probes: the number of rates to try.

    Returns:
        The greatest rate that a probe kept up with. It is limited if the generator failed at the rate next above.
    """
    best, limited = None, False
    for _ in range(probes):
        rate = sqrt(low * high)
        result = probe(rate)
        if result is KeptUp.YES:
            best = low = rate
        else:
            high, limited = rate, result is KeptUp.UNKNOWN
    return Ceiling(best, limited)
