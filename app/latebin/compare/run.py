"""The comparison of the two styles: what is asked of the service, in which order, and for how long."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial
from importlib.resources import files
from math import sqrt
from typing import Final

import attrs

from latebin.compare.contract import CONVERSATIONS
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
"""The delay under load, in seconds: with it the pending answers give the rate."""

WARM_UP: Final = 0.5

GRACE: Final = 2.0
"""How late the last answers of a turn may be before they count as unfinished, in seconds."""

SHORTEST: Final = 1.0
"""The least time to measure in one turn, in seconds; with less, a turn has no tail to speak of."""

LONGEST: Final = 10.0

STARTING: Final = 2.0
"""What it takes to start and stop the service and the generator once, in seconds, as it is planned for."""

ATTEMPTS: Final = 3
"""How often a turn is begun at most, as long as the generator is its bottleneck and there is time."""

PROBES: Final = 4
"""How many rates are tried to find how many answers per second a style gives."""

PROBE_TIME: Final = 0.5
"""How long each of them is measured, in seconds."""

_PROBE_WARM_UP: Final = 0.2

_PROBE_GRACE: Final = 1.0

_PROBE_STARTING: Final = 0.6

PUNCTUAL: Final = 0.02
"""The p90 lateness up to which a rate was kept up with, in seconds: beyond what a server can do it only grows."""

BRACKET: Final = (0.6, 1.5)
"""Where the greatest rate is looked for, as parts of what the CPU time per answer would allow on one core."""

RATES: Final = (100.0, 20_000.0)
"""Where it is looked for at all, per second."""


@attrs.frozen
class Subject:
    """A service to compare.

    Attributes:
        url: without a path.
        pids: its processes, if its cost is to be looked at.
    """

    url: str
    pids: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Agenda:
    """What a comparison will do, told in advance.

    Attributes:
        schedule: of each turn under load.
        rounds: how many turns each style has.
        longest: seconds that a conversation may wait.
        bound: seconds after which nothing new is begun.
    """

    schedule: Schedule
    rounds: int
    longest: float
    bound: float

    @property
    def turn(self) -> float:
        """How long a turn is to take, in seconds."""
        schedule = self.schedule
        return STARTING + schedule.span + schedule.delay + PROBES * _PROBE

    @property
    def expected(self) -> float:
        """How long all of it is to take, in seconds."""
        return _parity_time(self.longest) + 2 * self.rounds * self.turn


_PROBE: Final = _PROBE_STARTING + _PROBE_WARM_UP + PROBE_TIME


def _parity_time(longest: float) -> float:
    return longest + STARTING


def plan(*, pending: float, rounds: int, longest: float, bound: float) -> Agenda:
    """Divide the time.

    Args:
        pending: answers pending at once.
        rounds: turns of each style; 0 compares the answers alone.
        longest: seconds that a conversation may wait.
        bound: seconds for everything.

    Returns:
        The agenda: the more time there is, the longer each turn measures.

    Raises:
        RunError: the time is too short, or the load cannot be.
    """
    least = _agenda(pending, rounds, longest, bound, SHORTEST)
    if least.expected > bound:
        raise RunError(f"{rounds} rounds take at least {least.expected:.0f} s; the bound is {bound:g} s")
    spare = (bound - least.expected) / (2 * rounds) if rounds else 0.0
    return _agenda(pending, rounds, longest, bound, min(SHORTEST + spare, LONGEST))


def _agenda(pending: float, rounds: int, longest: float, bound: float, duration: float) -> Agenda:
    schedule = make_schedule(pending=pending, delay=DELAY, duration=duration, warm_up=WARM_UP)
    return Agenda(schedule=schedule, rounds=rounds, longest=longest, bound=bound)


Progress = Callable[[str, float], object]
"""Is told what is done next, and how many seconds of the agenda are done."""

Subjects = Callable[[], AbstractContextManager[Subject]]
"""Gives the service, each time it is to be a fresh one."""


def compare(agenda: Agenda, subjects: Subjects, *, own: bool, progress: Progress) -> Comparison:
    """Compare the two styles of a service.

    Args:
        agenda: what to do.
        subjects: where the service comes from.
        own: whether it is started for this.
        progress: is told how far it is.

    Returns:
        What was found.

    Raises:
        RunError: the service cannot be compared.
        OSError: it cannot be reached.
    """
    began, started = datetime.now(UTC), time.monotonic()
    progress("same answers", 0.0)
    with subjects() as subject:
        parity = _answers(agenda, subject, progress)
    rounds = tuple(_rounds(agenda, subjects, started, progress))
    sources = {style: _source(style) for style in PREFIXES}
    return Comparison(
        url=subject.url,
        own=own,
        began=began,
        elapsed=time.monotonic() - started,
        parity=parity,
        rounds=rounds,
        planned=agenda.rounds,
        klein=definitions(sources["klein"]),
        resource=definitions(sources["resource"]),
        lines={style: code_lines(source) for style, source in sources.items()},
    )


def _source(style: str) -> str:
    return (files("latebin.styles") / f"{style}.py").read_text("utf-8")


def _answers(agenda: Agenda, subject: Subject, progress: Progress) -> Parity:
    """Compare the answers, telling the progress by the conversations that are over."""
    turns = 2 * sum(each.wait <= agenda.longest for each in CONVERSATIONS)
    step = _parity_time(agenda.longest) / max(turns, 1)
    return compare_answers(
        address(subject.url), CONVERSATIONS, agenda.longest, progress=lambda: progress("same answers", step)
    )


def _rounds(agenda: Agenda, subjects: Subjects, started: float, progress: Progress) -> Iterator[Round]:
    until = started + agenda.bound
    for number in range(agenda.rounds):
        # The first round is what the agenda was made for; those that a slow machine leaves no time for are left out.
        if number and until - time.monotonic() < 2 * agenda.turn:
            return
        turns = {}
        for behind, style in zip(reversed(range(len(PREFIXES))), PREFIXES, strict=True):
            told = f"round {number + 1} of {agenda.rounds}, {style}"
            last = until - (1 + behind) * agenda.turn
            turns[style] = _turn(agenda, subjects, style, last, partial(progress, told))
        yield Round(**turns)


def _turn(agenda: Agenda, subjects: Subjects, style: str, last: float, progress: Callable[[float], object]) -> Sample:
    """Have a turn; have it again if the generator was its bottleneck, unless the time is past `last`."""
    progress(0.0)
    for attempt in range(1, ATTEMPTS + 1):
        with subjects() as subject:
            sample = Sample(_load(agenda, subject, style))
            if sample.sound:
                progress(agenda.turn - PROBES * _PROBE)
                return attrs.evolve(sample, ceiling=_ceiling(subject, style, sample.report, progress))
        if attempt == ATTEMPTS or time.monotonic() > last:
            break
    progress(agenda.turn)
    return sample


def _load(agenda: Agenda, subject: Subject, style: str) -> Report:
    url = f"{subject.url}{PREFIXES[style]}/delayed/{PLACEHOLDER}"
    return run_apart(url, agenda.schedule, grace=GRACE, pids=subject.pids)


def _ceiling(subject: Subject, style: str, report: Report, progress: Callable[[float], object]) -> Ceiling:
    def probe(rate: float) -> Kept:
        schedule = make_schedule(rate=rate, delay=0.0, duration=PROBE_TIME, warm_up=_PROBE_WARM_UP)
        kept = kept_up(run_apart(f"{subject.url}{PREFIXES[style]}/delayed/0", schedule, grace=_PROBE_GRACE))
        progress(_PROBE)
        return kept

    return search(probe, *bracket(report))


class Kept(Enum):
    """Whether a server kept up with a rate."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()
    """The generator did not."""


def kept_up(report: Report) -> Kept:
    """Tell whether the server kept up with a rate.

    Args:
        report: of answers that do not wait.

    Returns:
        UNKNOWN if the generator was the bottleneck.
    """
    if report.verdict is Verdict.BOTTLENECK:
        return Kept.UNKNOWN
    late = report.lateness is None or report.lateness.p90 > PUNCTUAL
    return Kept.NO if late or report.verdict is not Verdict.PUNCTUAL else Kept.YES


def bracket(report: Report) -> tuple[float, float]:
    """Tell between which rates the greatest is to be looked for.

    Args:
        report: of a load, with the server's CPU time if that is known.

    Returns:
        Two rates per second, the lower one first.
    """
    cpu = report.cost.cpu_per_answer if report.cost is not None else None
    if not cpu:
        return RATES
    least, most = RATES
    low, high = (min(max(part / cpu, least), most) for part in BRACKET)
    return low, high


def search(probe: Callable[[float], Kept], low: float, high: float, probes: int = PROBES) -> Ceiling:
    """Look for the greatest rate that a server keeps up with, halving the ratio between two rates each time.

    Args:
        probe: tries a rate.
        low: the least rate, per second.
        high: the greatest.
        probes: how many rates to try.

    Returns:
        The greatest rate that was kept; limited if the generator failed at the lowest rate that was not kept.
    """
    best, limited = None, False
    for _ in range(probes):
        rate = sqrt(low * high)
        kept = probe(rate)
        if kept is Kept.YES:
            best = low = rate
        else:
            high, limited = rate, kept is Kept.UNKNOWN
    return Ceiling(best, limited)
