from contextlib import nullcontext
from typing import Any

import pytest

from latebin.compare import run
from latebin.compare.findings import Ceiling, Outcome
from latebin.compare.parity import Parity
from latebin.compare.run import Agenda, Kept, Subject, bracket, kept_up, plan, search
from latebin.load.percentiles import Percentiles
from latebin.load.report import Report
from latebin.load.schedule import RunError
from tests.support.comparisons import BOTTLENECK, SCHEDULE, report


def test_plan() -> None:
    """The time that is left when everything has its least goes to measuring, and all of it fits."""
    short, long, boundless = (plan(pending=2000, rounds=3, longest=5, bound=bound) for bound in (98, 120, 10_000))
    assert short.schedule.pending == 2000
    assert short.schedule.duration < long.schedule.duration
    assert long.expected == pytest.approx(120)
    assert boundless.schedule.duration == run.LONGEST


def test_plan_without_load() -> None:
    """Without rounds, only the answers take time."""
    assert plan(pending=50, rounds=0, longest=1, bound=10).expected < 10


def test_too_little_time() -> None:
    """A bound that cannot be kept is refused before anything is begun."""
    with pytest.raises(RunError, match=r"3 rounds take at least \d+ s; the bound is 10 s"):
        plan(pending=2000, rounds=3, longest=5, bound=10)


def server(most: float, generator: float = 1e9) -> Any:
    """A probe of a server that keeps up with so many per second, by a generator that manages so many."""

    def probe(rate: float) -> Kept:
        if rate > generator:
            return Kept.UNKNOWN
        return Kept.YES if rate <= most else Kept.NO

    return probe


@pytest.mark.parametrize("most", [120, 1000, 3000, 9000])
def test_search(most: float) -> None:
    """The greatest rate is found to within what so many probes can tell, from below."""
    found = search(server(most), 100, 10_000, probes=10)
    assert not found.limited
    assert found.rate is not None
    assert most / 1.01 <= found.rate <= most


def test_search_finds_nothing() -> None:
    """A server that keeps up with none of the rates has no greatest one."""
    assert search(server(10), 100, 10_000) == Ceiling(None)


def test_search_by_a_slow_generator() -> None:
    """Where the generator failed first, it is said; where it failed and then the server did, it does not matter."""
    assert search(server(9000, generator=500), 100, 10_000).limited
    assert not search(server(400, generator=2000), 100, 10_000, probes=6).limited


def test_bracket() -> None:
    """The CPU time of an answer says where to look; without it, everywhere is looked."""
    low, high = bracket(report(1.0, cpu=0.001))
    assert 100 < low < 1000 < high < 2000
    assert bracket(report(1.0)) == run.RATES
    assert bracket(report(1.0, cpu=1e-9)) == (run.RATES[1], run.RATES[1])


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (report(1.0), Kept.YES),
        (report(500.0), Kept.NO),
        (report(1.0, errors={"closed": 1}), Kept.NO),
        (report(1.0, lateness=None), Kept.NO),
        (BOTTLENECK, Kept.UNKNOWN),
        (report(500.0, lag=Percentiles.of([0.1])), Kept.UNKNOWN),
    ],
)
def test_kept_up(found: Report, kept: Kept) -> None:
    """A rate is kept up with if all are answered, and nearly all at once; of a late generator nothing is known."""
    assert kept_up(found) is kept


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that would have been put under load."""
    urls: list[str] = []

    def run_apart(url: str, *_: object, **__: object) -> Report:
        urls.append(url)
        return report(1.0, cpu=1e-4)

    def answers(*_: object, **__: object) -> Parity:
        return Parity(("one",), (), 5.0, ())

    monkeypatch.setattr(run, "run_apart", run_apart)
    monkeypatch.setattr(run, "compare_answers", answers)
    return urls


def agenda(rounds: int, bound: float) -> Agenda:
    return Agenda(schedule=SCHEDULE, rounds=rounds, longest=5.0, bound=bound)


def test_turns(asked: list[str]) -> None:
    """The styles take turns, each with a service of its own, and the progress adds up to what was planned."""
    fresh: list[Subject] = []

    def subjects() -> Any:
        fresh.append(Subject("http://127.0.0.1:1", (1,)))
        return nullcontext(fresh[-1])

    done: list[float] = []
    planned = agenda(2, 1000)
    found = run.compare(planned, subjects, own=True, progress=lambda _, seconds: done.append(seconds))
    loads = [url for url in asked if url.endswith("{delay}")]
    klein, resource = "http://127.0.0.1:1/delayed/{delay}", "http://127.0.0.1:1/raw/delayed/{delay}"
    assert loads == [klein, resource, klein, resource]
    assert len(fresh) == 5
    assert len(asked) == 4 * (1 + run.PROBES)
    assert found.outcome is Outcome.SAME
    assert sum(done) == pytest.approx(2 * 2 * planned.turn)


def test_no_round_is_begun_without_time(asked: list[str]) -> None:
    """When time is up after the first round, the others are left out, and that is said."""

    def subjects() -> Any:
        return nullcontext(Subject("http://127.0.0.1:1"))

    found = run.compare(agenda(3, 0), subjects, own=False, progress=lambda *_: None)
    assert (len(found.rounds), found.planned) == (1, 3)


def test_a_turn_is_repeated(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    """A turn in which the generator was the bottleneck is had again while there is time, and no rate is tried then."""

    def run_apart(url: str, *_: object, **__: object) -> Report:
        asked.append(url)
        return BOTTLENECK

    monkeypatch.setattr(run, "run_apart", run_apart)

    def subjects() -> Any:
        return nullcontext(Subject("http://127.0.0.1:1"))

    for bound, times in ((1000, run.ATTEMPTS), (-1000, 1)):
        asked.clear()
        found = run.compare(agenda(1, bound), subjects, own=False, progress=lambda *_: None)
        assert len(asked) == 2 * times
        assert found.outcome is Outcome.NO_VERDICT
