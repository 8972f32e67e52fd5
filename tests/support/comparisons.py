"""Made-up results of `latebin compare`, for tests without a service."""

import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import attrs

from latebin.compare.findings import Ceiling, Comparison, Outcome, Round, Sample
from latebin.compare.parity import Difference, Parity
from latebin.compare.run import style_source
from latebin.compare.source import code_lines, definitions
from latebin.load.percentiles import Percentiles
from latebin.load.report import Cost, Report
from latebin.load.schedule import Schedule

SCHEDULE = Schedule(rate=100.0, delay=0.5, duration=1.0, warm_up=0.1)

SCHEMA_FILE = Path(str(files("latebin.compare") / "comparison.schema.json"))

EVIL = "<script>alert('x')</script>&\"]]>"
"""Text that a page must escape."""


def report(milliseconds: float, cpu: float | None = None, **changes: Any) -> Report:
    """Make the report of a turn whose answers were all about this late."""
    cost = Cost(cpu_per_answer=cpu, idle=1000, plateau=51_000, per_pending=1000.0, source="pss") if cpu else None
    good = Report(
        url="http://127.0.0.1:1/delayed",
        schedule=SCHEDULE,
        connections="keep",
        began=datetime(2026, 11, 22, 12, tzinfo=UTC),
        elapsed=2.0,
        sent=SCHEDULE.count,
        answered=SCHEDULE.count,
        early=0,
        errors={},
        unfinished=0,
        opened=50,
        pending=50,
        lateness=Percentiles.of([milliseconds * (1 + n / 100) / 1000 for n in range(100)]),
        lag=Percentiles.of([0.0001]),
        cpu=0.1,
        cost=cost,
        interrupted=False,
        python="3.13.0",
        machine="Linux",
    )
    return attrs.evolve(good, **changes)


BOTTLENECK = report(1.0, lag=Percentiles.of([0.1]))


def turns(klein: float, resource: float) -> Round:
    """Make a round from two factors that scale the lateness and cost of each style."""
    return Round(
        *(Sample(report(times, cpu=times * 1e-4), Ceiling(10_000 / times)) for times in (klein, resource)),
    )


def comparison(*rounds: Round, **changes: Any) -> Comparison:
    """Make a comparison with the real style files and the given rounds."""
    sources = {style: style_source(style) for style in ("klein", "resource")}
    found = Comparison(
        url="http://127.0.0.1:1",
        own=True,
        began=datetime(2026, 11, 22, 12, tzinfo=UTC),
        elapsed=12.5,
        parity=Parity(("one", "two"), ("three",), 5.0, (), {"four": "a reason"}),
        rounds=rounds,
        planned=len(rounds),
        klein=definitions(sources["klein"]),
        resource=definitions(sources["resource"]),
        lines={style: code_lines(source) for style, source in sources.items()},
        python="3.13.0",
        machine="Linux",
    )
    return attrs.evolve(found, **changes)


DIFFERENT = Parity(
    ("one", EVIL), (EVIL,), 5.0, (Difference(EVIL, ("--- klein", "+++ resource", f"-{EVIL}", "+b")),), {EVIL: EVIL}
)

FLAWED = Round(Sample(report(1.0, early=2, errors={"closed": 1})), Sample(report(1.0)))

UNJUDGED = Round(Sample(BOTTLENECK), Sample(report(1.0)))
"""A round in which the load generator was the bottleneck."""

EXAMPLES = {
    Outcome.SAME: comparison(turns(2, 1), turns(3, 1), turns(2.5, 1)),
    Outcome.DIFFERENT: comparison(turns(2, 1), parity=DIFFERENT),
    Outcome.FLAWED: comparison(turns(2, 1), FLAWED),
    Outcome.NO_VERDICT: comparison(UNJUDGED),
}


def parsed(text: str) -> ET.Element:
    """Read a page as XML, which every element of it has to be well-formed for."""
    return ET.fromstring(re.sub("^<!DOCTYPE html>", "", text))  # noqa: S314  # the project's own page
