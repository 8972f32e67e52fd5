"""What a comparison of the two styles found: its figures, their ratios, and what may be said of them."""

import platform
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import Any, Final

import attrs

from latebin.compare.duties import DUTIES, Duty, Side
from latebin.compare.parity import Parity
from latebin.compare.source import Definition
from latebin.load.report import Report, Verdict
from latebin.load.report import as_json as report_json

SCHEMA: Final = 1
"""The version of what `as_json` returns; it goes up when a field changes its meaning or goes."""


class Outcome(StrEnum):
    """What a comparison ends in."""

    SAME = "same"
    """Both styles gave the same answers, and kept what they promised under load."""

    DIFFERENT = "different"
    """Some answers are not the same, or not as promised."""

    FLAWED = "flawed"
    """The answers are the same, but under load some failed, came early or did not come."""

    NO_VERDICT = "no verdict"
    """The answers are the same, but the generator was the bottleneck in every round: nothing is said of the cost."""


@attrs.frozen
class Ceiling:
    """How many answers per second a style gives when they do not wait.

    Attributes:
        rate: the greatest rate that was kept up with, per second; None if none was.
        limited: whether the generator was what could not go further.
    """

    rate: float | None
    limited: bool = False


@attrs.frozen
class Sample:
    """One style's turn in a round.

    Attributes:
        report: of the load with answers pending.
        ceiling: None if there was no time for it.
    """

    report: Report
    ceiling: Ceiling | None = None

    @property
    def sound(self) -> bool:
        """Whether its figures are the server's and not the generator's."""
        return self.report.verdict is not Verdict.BOTTLENECK


@attrs.frozen
class Round:
    """Both styles' turns, one after the other."""

    klein: Sample
    resource: Sample


@attrs.frozen
class Spread:
    """How far a figure varies over the rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread | None":
        """Sum figures up, if there are any."""
        found = sorted(figures)
        return cls(found[0], median(found), found[-1]) if found else None


@attrs.frozen
class Figure:
    """Something that is measured in each round.

    Attributes:
        key: its name in JSON, with its unit at the end.
        name: in words.
        unit: the same unit, to be shown.
        of: its value in a sample; None where it was not measured.
        more: whether more is better.
    """

    key: str
    name: str
    unit: str
    of: Callable[[Sample], float | None] = attrs.field(repr=False)
    more: bool = False


def _lateness(percentile: str) -> Callable[[Sample], float | None]:
    def read(sample: Sample) -> float | None:
        spread = sample.report.lateness if sample.sound else None
        return None if spread is None else float(getattr(spread, percentile)) * 1000

    return read


def _cpu(sample: Sample) -> float | None:
    cost = sample.report.cost if sample.sound else None
    return None if cost is None or cost.cpu_per_answer is None else cost.cpu_per_answer * 1_000_000


def _memory(sample: Sample) -> float | None:
    cost = sample.report.cost if sample.sound else None
    return None if cost is None or cost.per_pending is None else cost.per_pending / 1000


def _rate(sample: Sample) -> float | None:
    return None if sample.ceiling is None or sample.ceiling.limited else sample.ceiling.rate


FIGURES: Final = (
    Figure("lateness_p50_ms", "lateness, p50", "ms", _lateness("p50")),
    Figure("lateness_p90_ms", "lateness, p90", "ms", _lateness("p90")),
    Figure("lateness_p99_ms", "lateness, p99", "ms", _lateness("p99")),
    Figure("lateness_p99_9_ms", "lateness, p99.9", "ms", _lateness("p999")),
    Figure("lateness_max_ms", "lateness, max", "ms", _lateness("most")),
    Figure("cpu_per_answer_us", "CPU time per answer", "us", _cpu),
    Figure("memory_per_pending_kb", "memory per pending answer", "kB", _memory),
    Figure("answers_per_s", "answers per second, without a delay", "/s", _rate, more=True),
)
"""Everything that is compared in figures, in the order in which it is shown."""


@attrs.frozen
class Row:
    """A figure of both styles over all rounds.

    Attributes:
        figure: what it is.
        klein: its spread over the rounds; None if it was never measured.
        resource: the same, of the raw style.
        ratio: klein / raw in each round that has both, and its spread.
    """

    figure: Figure
    klein: Spread | None
    resource: Spread | None
    ratio: Spread | None


@attrs.frozen(kw_only=True)
class Comparison:
    """Everything that a comparison found.

    Attributes:
        url: of the service.
        own: whether the service was started for it.
        began: when.
        elapsed: seconds.
        parity: whether the answers are the same.
        rounds: the load's, each style in turn.
        planned: how many rounds there were to be.
        klein: the definitions of its style file.
        resource: those of the other.
        lines: lines of code of each style file, by style.
        python: what all of it ran on.
        machine: the kernel and the processor.
    """

    url: str
    own: bool
    began: datetime
    elapsed: float
    parity: Parity
    rounds: tuple[Round, ...]
    planned: int
    klein: tuple[Definition, ...]
    resource: tuple[Definition, ...]
    lines: dict[str, int]
    python: str = attrs.field(factory=platform.python_version)
    machine: str = attrs.field(factory=platform.platform)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every turn of the load."""
        return tuple(sample for each in self.rounds for sample in (each.klein, each.resource))

    @property
    def rows(self) -> tuple[Row, ...]:
        """The figures and their ratios."""
        return tuple(_row(figure, self.rounds) for figure in FIGURES)

    @property
    def outcome(self) -> Outcome:
        """What it ends in; a difference goes first."""
        if self.parity.differences:
            return Outcome.DIFFERENT
        verdicts = [sample.report.verdict for sample in self.samples]
        if set(verdicts) & {Verdict.FLAWED, Verdict.INTERRUPTED}:
            return Outcome.FLAWED
        judged = any(each.klein.sound and each.resource.sound for each in self.rounds)
        return Outcome.SAME if judged or not self.planned else Outcome.NO_VERDICT


def _row(figure: Figure, rounds: tuple[Round, ...]) -> Row:
    both = [(figure.of(each.klein), figure.of(each.resource)) for each in rounds]
    ratios = (klein / resource for klein, resource in both if klein is not None and resource)
    return Row(
        figure,
        Spread.of(klein for klein, _ in both if klein is not None),
        Spread.of(resource for _, resource in both if resource is not None),
        Spread.of(ratios),
    )


def by_hand(duties: Iterable[Duty] = DUTIES) -> dict[str, tuple[str, ...]]:
    """Name the duties that are left to the author, by style."""
    told = tuple(duties)
    return {
        style: tuple(duty.name for duty in told if getattr(duty, style).by == "hand") for style in ("klein", "resource")
    }


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Say what a comparison allows to be said: of the answers, of the punctuality, of the cost, of the author's part.

    Args:
        comparison: any.

    Returns:
        A sentence or two each; nothing about the server where the generator was the bottleneck.
    """
    return (
        _answers(comparison.parity),
        *(_load(comparison) if comparison.planned else ()),
        _author(comparison),
    )


def _answers(parity: Parity) -> str:
    left = (
        f" {len(parity.left_out)} that wait for more than {parity.longest:g} s were left out."
        if parity.left_out
        else ""
    )
    if parity.differences:
        return f"Different answers: {len(parity.differences)} of {len(parity.held)} conversations differ.{left}"
    return f"Same answers: {len(parity.held)} conversations, not one byte of difference.{left}"


def _load(comparison: Comparison) -> tuple[str, ...]:
    unsound = sum(not sample.sound for sample in comparison.samples)
    short = len(comparison.rounds) < comparison.planned
    rows = {row.figure.key: row for row in comparison.rows}
    return (
        *((f"Only {len(comparison.rounds)} of {comparison.planned} rounds fit into the time.",) if short else ()),
        *(
            (f"In {unsound} of {len(comparison.samples)} turns the generator was the bottleneck: they do not count.",)
            if unsound
            else ()
        ),
        *_flaws(comparison),
        *filter(None, (_ratio_sentence(words, rows[key]) for words, key in _SAID)),
    )


_SAID: Final = (
    ("The p99 lateness is", "lateness_p99_ms"),
    ("An answer takes Klein", "cpu_per_answer_us"),
    ("A pending answer takes Klein", "memory_per_pending_kb"),
    ("Without a delay, Klein gives", "answers_per_s"),
)


def _ratio_sentence(words: str, row: Row) -> str | None:
    if row.ratio is None or row.klein is None or row.resource is None:
        return None
    unit = row.figure.unit
    own = f"{number(row.klein.median)} against {number(row.resource.median)} {unit}"
    kind = {"us": " the CPU time", "kB": " the memory", "/s": " the answers per second"}.get(unit, "")
    ratio = f"{times(row.ratio.median)} times ({times(row.ratio.least)} to {times(row.ratio.most)})"
    if not kind:
        return f"{words} {own}: Klein's is {ratio} the raw resource's."
    return f"{words} {ratio}{kind}: {own}."


def _flaws(comparison: Comparison) -> tuple[str, ...]:
    flawed = [sample.report for sample in comparison.samples if sample.report.verdict is Verdict.FLAWED]
    if not flawed:
        return ()
    counts = {
        "early": sum(report.early for report in flawed),
        "failed": sum(report.failed for report in flawed),
        "unfinished": sum(report.unfinished for report in flawed),
        "not sent": sum(report.schedule.count - report.sent for report in flawed),
    }
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return (f"Flawed: in {len(flawed)} of {len(comparison.samples)} turns some requests went wrong ({told}).",)


def _author(comparison: Comparison) -> str:
    hand = by_hand()
    klein, resource = (
        f"{comparison.lines[style]} lines and {len(hand[style])} of {len(DUTIES)} duties by hand"
        for style in ("klein", "resource")
    )
    return f"Klein asks for {klein}; raw resources for {resource}."


def number(figure: float) -> str:
    """Write a figure with three significant digits."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"  # noqa: PLR2004  # three digits


def times(ratio: float) -> str:
    """Write a ratio with two digits behind the point."""
    return f"{ratio:,.2f}"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Write a comparison for machines, as `comparison.schema.json` has it.

    Args:
        comparison: any.

    Returns:
        What `json.dumps` takes; every name has its unit at its end, and what was not measured is null.
    """
    return {
        "schema": SCHEMA,
        "url": comparison.url,
        "own_service": comparison.own,
        "began": comparison.began.isoformat(),
        "elapsed_s": round(comparison.elapsed, 3),
        "python": comparison.python,
        "machine": comparison.machine,
        "outcome": comparison.outcome.value,
        "verdict": list(sentences(comparison)),
        "parity": _parity_json(comparison.parity),
        "figures": {row.figure.key: _row_json(row) for row in comparison.rows},
        "rounds_planned": comparison.planned,
        "rounds": [
            {style: _sample_json(getattr(each, style)) for style in ("klein", "resource")} for each in comparison.rounds
        ],
        "duties": [_duty_json(duty) for duty in DUTIES],
        "source": {style: _source_json(comparison, style) for style in ("klein", "resource")},
    }


def _parity_json(parity: Parity) -> dict[str, Any]:
    return {
        "held": list(parity.held),
        "left_out": list(parity.left_out),
        "longest_s": parity.longest,
        "differences": [{"name": each.name, "diff": list(each.diff)} for each in parity.differences],
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "klein": _spread_json(row.klein),
        "resource": _spread_json(row.resource),
        "ratio": _spread_json(row.ratio),
        "more_is_better": row.figure.more,
    }


def _spread_json(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else {"min": spread.least, "median": spread.median, "max": spread.most}


def _sample_json(sample: Sample) -> dict[str, Any]:
    ceiling = sample.ceiling
    return {
        "load": report_json(sample.report),
        "answers_per_s": None if ceiling is None else ceiling.rate,
        "answers_per_s_limited_by_generator": None if ceiling is None else ceiling.limited,
    }


def _duty_json(duty: Duty) -> dict[str, Any]:
    return {"name": duty.name, "klein": _side_json(duty.klein), "resource": _side_json(duty.resource)}


def _side_json(side: Side) -> dict[str, Any]:
    return {"by": side.by, "how": side.how, "definitions": [side.example.definition]}


def _source_json(comparison: Comparison, style: str) -> dict[str, Any]:
    definitions: tuple[Definition, ...] = getattr(comparison, style)
    return {
        "lines": comparison.lines[style],
        "branches": sum(each.branches for each in definitions),
        "definitions": [
            {"name": each.name, "twin": each.common, "lines": each.lines, "branches": each.branches}
            for each in definitions
        ],
    }
