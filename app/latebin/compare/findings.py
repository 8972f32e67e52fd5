"""The findings of a comparison of the two styles: figures, ratios and conclusions."""

import platform
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from statistics import median
from typing import Any, Final

import attrs

from latebin.compare.duties import DUTIES, Side
from latebin.compare.parity import Parity
from latebin.compare.source import Definition
from latebin.load.report import Report, Verdict
from latebin.load.report import as_json as report_json

SCHEMA: Final = 1
"""The version of the JSON of `as_json`; it goes up when a field changes its meaning or is removed."""


class Outcome(StrEnum):
    """The conclusion of a comparison."""

    SAME = "same"
    """Both styles gave the same answers, and answered every request under load."""

    DIFFERENT = "different"
    """Some answers differ between the styles, or from the contract."""

    FLAWED = "flawed"
    """The answers are the same, but under load some failed, came early or did not come."""

    NO_VERDICT = "no verdict"
    """The answers are the same, but the cost is unknown: the generator was the bottleneck in every round."""


@attrs.frozen
class Ceiling:
    """The greatest rate of answers without a delay.

    Attributes:
        rate: the greatest rate at which the server kept up, per second; None if it kept up at no rate.
        limited: whether the generator, and not the server, was the limit.
    """

    rate: float | None
    limited: bool = False


@attrs.frozen
class Sample:
    """One style's measurements in a round.

    Attributes:
        report: of the load with pending answers.
        ceiling: None if there was no time to find it.
    """

    report: Report
    ceiling: Ceiling | None = None

    @property
    def sound(self) -> bool:
        """Whether the figures are the server's and not the generator's."""
        return self.report.verdict is not Verdict.BOTTLENECK


@attrs.frozen
class Round:
    """One sample of each style, one after the other."""

    klein: Sample
    resource: Sample


@attrs.frozen
class Spread:
    """The range of a figure over the rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> "Spread | None":
        """Compute the spread of figures; return None without any."""
        found = sorted(figures)
        return cls(found[0], median(found), found[-1]) if found else None


@attrs.frozen
class Figure:
    """A figure that each round measures.

    Attributes:
        key: the name in JSON, with the unit at the end.
        name: the name to show.
        unit: the unit to show.
        of: returns the figure of a sample; None without a measurement.
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


def _cost(field: str, units: float) -> Callable[[Sample], float | None]:
    def read(sample: Sample) -> float | None:
        cost = sample.report.cost if sample.sound else None
        figure: float | None = getattr(cost, field, None)
        return None if figure is None else figure * units

    return read


def _rate(sample: Sample) -> float | None:
    return None if sample.ceiling is None or sample.ceiling.limited else sample.ceiling.rate


FIGURES: Final = (
    Figure("lateness_p50_ms", "lateness, p50", "ms", _lateness("p50")),
    Figure("lateness_p90_ms", "lateness, p90", "ms", _lateness("p90")),
    Figure("lateness_p99_ms", "lateness, p99", "ms", _lateness("p99")),
    Figure("lateness_p99_9_ms", "lateness, p99.9", "ms", _lateness("p999")),
    Figure("lateness_max_ms", "lateness, max", "ms", _lateness("most")),
    Figure("cpu_per_answer_us", "CPU time per answer", "us", _cost("cpu_per_answer", 1_000_000)),
    Figure("memory_per_pending_kb", "memory per pending answer", "kB", _cost("per_pending", 1 / 1000)),
    Figure("answers_per_s", "answers per second, without a delay", "/s", _rate, more=True),
)
"""All figures, in the order of the tables."""

SUMMARY: Final = ("lateness_p99_ms", "cpu_per_answer_us", "memory_per_pending_kb", "answers_per_s")
"""The keys of the figures that have a sentence."""


@attrs.frozen
class Row:
    """A figure of both styles over all rounds.

    Attributes:
        figure: the figure.
        klein: the spread of Klein's; None without a measurement.
        resource: the spread of the raw style's; None without a measurement.
        ratio: the spread of klein / raw over the rounds with both; None without such a round.
        compared: the number of these rounds.
    """

    figure: Figure
    klein: Spread | None
    resource: Spread | None
    ratio: Spread | None
    compared: int


@attrs.frozen(kw_only=True)
class Comparison:
    """All findings of a comparison.

    Attributes:
        url: of the service.
        own: whether the comparison started the service.
        began: the time of the start.
        elapsed: the length of the comparison, in seconds.
        parity: the comparison of the answers.
        rounds: the rounds of load.
        planned: the number of rounds that were planned.
        klein: the definitions of Klein's style file.
        resource: the definitions of the raw style file.
        lines: the lines of code of each style file, by style.
        python: the version of Python.
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
        """The samples of both styles in all rounds."""
        return tuple(sample for each in self.rounds for sample in (each.klein, each.resource))

    @property
    def rows(self) -> tuple[Row, ...]:
        """All figures with their ratios."""
        rows = []
        for figure in FIGURES:
            both = [(figure.of(each.klein), figure.of(each.resource)) for each in self.rounds]
            # Within a round: a change of the machine's speed between rounds then cancels out.
            ratios = [klein / resource for klein, resource in both if klein is not None and resource]
            klein = Spread.of(klein for klein, _ in both if klein is not None)
            resource = Spread.of(resource for _, resource in both if resource is not None)
            rows.append(Row(figure, klein, resource, Spread.of(ratios), len(ratios)))
        return tuple(rows)

    @property
    def outcome(self) -> Outcome:
        """The conclusion; a difference of the answers goes first."""
        if self.parity.differences:
            return Outcome.DIFFERENT
        verdicts = {sample.report.verdict for sample in self.samples}
        if verdicts & {Verdict.FLAWED, Verdict.INTERRUPTED}:
            return Outcome.FLAWED
        sound = any(each.klein.sound and each.resource.sound for each in self.rounds)
        return Outcome.SAME if sound or not self.planned else Outcome.NO_VERDICT


def sentences(comparison: Comparison) -> tuple[str, ...]:
    """Write the conclusions of a comparison: on answers, on load, and on code.

    Args:
        comparison: of any outcome.

    Returns:
        A few sentences. Samples of a generator that was the bottleneck have no part in them.
    """
    by_hand = {style: sum(getattr(duty, style).by == "hand" for duty in DUTIES) for style in ("klein", "resource")}
    klein, resource = (
        f"{comparison.lines[style]} lines of code, with {duties} of {len(DUTIES)} duties by hand"
        for style, duties in by_hand.items()
    )
    return (
        _answers(comparison.parity),
        *(_flaws(comparison) if comparison.planned else ()),
        *(_ratio(row) for row in comparison.rows if row.figure.key in SUMMARY and row.ratio is not None),
        f"Klein takes {klein}; raw resources take {resource}.",
    )


def _answers(parity: Parity) -> str:
    held = len(parity.held)
    text = f"Same answers: {held} conversations have the same bytes in both styles."
    if parity.differences:
        text = f"Different answers: {len(parity.differences)} of {held} conversations differ."
    if parity.left_out:
        text += f" Left out for a wait of more than {parity.longest:g} s: {len(parity.left_out)}."
    if parity.skipped:
        text += f" Skipped, each for a reason of its own: {len(parity.skipped)}."
    return text


def _flaws(comparison: Comparison) -> Iterator[str]:
    samples = comparison.samples
    if len(comparison.rounds) < comparison.planned:
        yield f"The time was enough for only {len(comparison.rounds)} of {comparison.planned} rounds."
    if unsound := sum(not sample.sound for sample in samples):
        yield f"The load generator was the bottleneck in {unsound} of {len(samples)} samples; these do not count."
    flawed = [sample.report for sample in samples if sample.report.verdict is Verdict.FLAWED]
    if flawed:
        counts = {
            "early": sum(report.early for report in flawed),
            "failed": sum(report.failed for report in flawed),
            "unfinished": sum(report.unfinished for report in flawed),
            "not sent": sum(report.schedule.count - report.sent for report in flawed),
        }
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        yield f"Requests went wrong in {len(flawed)} of {len(samples)} samples: {kinds}."


def _ratio(row: Row) -> str:
    unit = row.figure.unit if row.figure.unit.startswith("/") else f" {row.figure.unit}"
    klein, resource = (f"{number(spread.median)}{unit}" for spread in (row.klein, row.resource) if spread)
    ratio = ratio_text(row) if row.compared == 1 else f"Klein / raw is {ratio_text(row)}"
    name = row.figure.name[0].upper() + row.figure.name[1:]
    return f"{name}: {klein} with Klein, {resource} with raw resources; {ratio}."


def number(figure: float) -> str:
    """Format a figure with three significant digits."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"  # noqa: PLR2004  # three digits


def times(ratio: float) -> str:
    """Format a ratio with two decimal places."""
    return f"{ratio:,.2f}"


def ratio_text(row: Row) -> str:
    """Format the ratio of a row as median, least and most; empty without a ratio.

    One round shows no difference between the styles: the next can show the opposite.
    """
    ratio = row.ratio
    if ratio is None:
        return ""
    if row.compared == 1:
        return "no verdict from one round"
    return f"{times(ratio.median)} ({times(ratio.least)} to {times(ratio.most)})"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Convert a comparison to JSON of the schema `comparison.schema.json`.

    Args:
        comparison: of any outcome.

    Returns:
        An object for `json.dumps`; the name of each figure ends in its unit, and a missing figure is null.
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
        "parity": {
            "held": list(comparison.parity.held),
            "left_out": list(comparison.parity.left_out),
            "skipped": [{"name": name, "reason": reason} for name, reason in comparison.parity.skipped.items()],
            "longest_s": comparison.parity.longest,
            "differences": [{"name": each.name, "diff": list(each.diff)} for each in comparison.parity.differences],
        },
        "figures": {
            row.figure.key: {
                "klein": _spread_json(row.klein),
                "resource": _spread_json(row.resource),
                "ratio": _spread_json(row.ratio),
                "more_is_better": row.figure.more,
            }
            for row in comparison.rows
        },
        "rounds_planned": comparison.planned,
        "rounds": [
            {style: _sample_json(getattr(each, style)) for style in ("klein", "resource")} for each in comparison.rounds
        ],
        "duties": [
            {"name": duty.name, "klein": _side_json(duty.klein), "resource": _side_json(duty.resource)}
            for duty in DUTIES
        ],
        "source": {style: _source_json(comparison, style) for style in ("klein", "resource")},
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
