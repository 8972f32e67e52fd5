from contextlib import nullcontext
from typing import Any

import pytest

from latebin.compare import run
from latebin.compare.control import IN_USE, OPERATED
from latebin.compare.findings import Ceiling, Outcome
from latebin.compare.parity import Parity
from latebin.compare.run import KeptUp, Service, Timetable, bracket, kept_up, make_timetable, search
from latebin.load.percentiles import Percentiles
from latebin.load.report import Report
from latebin.load.schedule import RunError
from tests.support.comparisons import BOTTLENECK, SCHEDULE, report


def test_timetable() -> None:
    """Samples are longer when there is more time, and the whole comparison fits in."""
    short, long, boundless = (
        make_timetable(pending=2000, rounds=3, longest=5, bound=bound) for bound in (98, 120, 10_000)
    )
    assert short.schedule.pending == 2000
    assert short.schedule.duration < long.schedule.duration
    assert long.expected == pytest.approx(120)
    assert boundless.schedule.duration == run.LONGEST


def test_timetable_without_load() -> None:
    """Only the answers take time when there are no rounds."""
    assert make_timetable(pending=50, rounds=0, longest=1, bound=10).expected < 10


def test_too_little_time() -> None:
    """`make_timetable` raises RunError when the rounds take longer than the bound."""
    with pytest.raises(RunError, match=r"3 rounds take at least \d+ s; the bound is 10 s"):
        make_timetable(pending=2000, rounds=3, longest=5, bound=10)


def server(most: float, generator: float = 1e9) -> Any:
    """Return the probe of a server and a generator with their greatest rates."""

    def probe(rate: float) -> KeptUp:
        if rate > generator:
            return KeptUp.UNKNOWN
        return KeptUp.YES if rate <= most else KeptUp.NO

    return probe


@pytest.mark.parametrize("most", [120, 1000, 3000, 9000])
def test_search(most: float) -> None:
    """`search` finds the greatest rate from below, as exactly as its probes allow."""
    found = search(server(most), 100, 10_000, probes=10)
    assert not found.limited
    assert found.rate is not None
    assert most / 1.01 <= found.rate <= most


def test_search_finds_nothing() -> None:
    """A ceiling has no rate when the server keeps up with no rate."""
    assert search(server(10), 100, 10_000) == Ceiling(None)


def test_search_by_a_slow_generator() -> None:
    """A ceiling is limited when the generator fails at a lower rate than the server."""
    assert search(server(9000, generator=500), 100, 10_000).limited
    assert not search(server(400, generator=2000), 100, 10_000, probes=6).limited


def test_bracket() -> None:
    """The bracket is around the rate of the CPU time, and RATES without one."""
    low, high = bracket(report(1.0, cpu=0.001))
    assert 100 < low < 1000 < high < 2000
    assert bracket(report(1.0)) == run.RATES
    assert bracket(report(1.0, cpu=1e-9)) == (run.RATES[1], run.RATES[1])


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (report(1.0), KeptUp.YES),
        (report(500.0), KeptUp.NO),
        (report(1.0, errors={"closed": 1}), KeptUp.NO),
        (report(1.0, lateness=None), KeptUp.NO),
        (BOTTLENECK, KeptUp.UNKNOWN),
        (report(500.0, lag=Percentiles.of([0.1])), KeptUp.UNKNOWN),
    ],
)
def test_kept_up(found: Report, kept: KeptUp) -> None:
    """A server keeps up when it answers all requests, nearly all of them at once."""
    assert kept_up(found) is kept


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs of the loads, none of which is run."""
    urls: list[str] = []

    def run_apart(url: str, *_: object, **__: object) -> Report:
        urls.append(url)
        return report(1.0, cpu=1e-4)

    def answers(*_: object, **__: object) -> Parity:
        return Parity(("one",), (), 5.0, ())

    monkeypatch.setattr(run, "run_apart", run_apart)
    monkeypatch.setattr(run, "compare_answers", answers)
    return urls


def timetable(rounds: int, bound: float) -> Timetable:
    return Timetable(schedule=SCHEDULE, rounds=rounds, longest=5.0, bound=bound)


def test_rounds(loads: list[str]) -> None:
    """The styles alternate with fresh services, and the progress adds up to the timetable."""
    fresh: list[Service] = []
    operated: list[Service] = []

    def open_service(**variables: str) -> Any:
        service = Service("http://127.0.0.1:1", (1,))
        (operated if variables else fresh).append(service)
        return nullcontext(service)

    done: list[float] = []
    planned = timetable(2, 1000)
    found = run.compare(planned, open_service, own=True, progress=lambda _, seconds: done.append(seconds))
    delayed = [url for url in loads if url.endswith("{delay}")]
    klein, resource = "http://127.0.0.1:1/delayed/{delay}", "http://127.0.0.1:1/raw/delayed/{delay}"
    assert delayed == [klein, resource, klein, resource]
    assert (len(fresh), len(operated)) == (5, len(OPERATED))
    assert len(loads) == 4 * (1 + run.PROBES)
    assert found.outcome is Outcome.SAME
    assert sum(done) == pytest.approx(2 * 2 * planned.sample_time)


def test_no_round_begins_without_time(loads: list[str]) -> None:
    """Only the first round is run when the time is up after it."""

    def open_service() -> Any:
        return nullcontext(Service("http://127.0.0.1:1"))

    found = run.compare(timetable(3, 0), open_service, own=False, progress=lambda *_: None)
    assert (len(found.rounds), found.planned) == (1, 3)
    # Nor is a service that is in use asked to change.
    assert found.parity.held == ("one",)
    assert found.parity.skipped == {held.name: IN_USE for each in OPERATED for held in each.conversations}


def test_a_sample_is_repeated(monkeypatch: pytest.MonkeyPatch, loads: list[str]) -> None:
    """A sample is repeated, and no rate probed, when the generator was the bottleneck."""

    def run_apart(url: str, *_: object, **__: object) -> Report:
        loads.append(url)
        return BOTTLENECK

    monkeypatch.setattr(run, "run_apart", run_apart)

    def open_service() -> Any:
        return nullcontext(Service("http://127.0.0.1:1"))

    for bound, times in ((1000, run.ATTEMPTS), (-1000, 1)):
        loads.clear()
        found = run.compare(timetable(1, bound), open_service, own=False, progress=lambda *_: None)
        assert len(loads) == 2 * times
        assert found.outcome is Outcome.NO_VERDICT
