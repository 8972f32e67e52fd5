"""Made-up results of `latebin compare`, for tests without a service."""

from datetime import UTC, datetime
from typing import Any

import attrs

from latebin.compare.findings import Ceiling, Comparison, Round, Sample
from latebin.compare.parity import Difference, Parity
from latebin.compare.run import _source
from latebin.compare.source import code_lines, definitions
from latebin.load.percentiles import Percentiles
from latebin.load.report import Cost, Report
from latebin.load.schedule import Schedule

SCHEDULE = Schedule(rate=100.0, delay=0.5, duration=1.0, warm_up=0.1)

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
    sources = {style: _source(style) for style in ("klein", "resource")}
    found = Comparison(
        url="http://127.0.0.1:1",
        own=True,
        began=datetime(2026, 11, 22, 12, tzinfo=UTC),
        elapsed=12.5,
        parity=Parity(("one", "two"), ("three",), 5.0, ()),
        rounds=rounds,
        planned=len(rounds),
        klein=definitions(sources["klein"]),
        resource=definitions(sources["resource"]),
        lines={style: code_lines(source) for style, source in sources.items()},
        python="3.13.0",
        machine="Linux",
    )
    return attrs.evolve(found, **changes)


DIFFERENT = Parity(("one", EVIL), (EVIL,), 5.0, (Difference(EVIL, ("--- klein", "+++ resource", f"-{EVIL}", "+b")),))
