"""A report as it could have been found, without a server."""

from datetime import UTC, datetime

from latebin.load.percentiles import Percentiles
from latebin.load.report import LAG_BOUND, Report
from latebin.load.schedule import make_schedule

SCHEDULE = make_schedule(rate=100, delay=0.05, duration=0.27, warm_up=0.08)

GOOD = Report(
    url="http://127.0.0.1/",
    schedule=SCHEDULE,
    connections="keep",
    began=datetime(2026, 1, 1, tzinfo=UTC),
    elapsed=1.0,
    sent=SCHEDULE.count,
    answered=SCHEDULE.count,
    early=0,
    errors={},
    unfinished=0,
    opened=10,
    pending=5,
    lateness=Percentiles.of([0.001]),
    lag=Percentiles.of([LAG_BOUND / 2]),
    cpu=0.5,
    cost=None,
    interrupted=False,
)
