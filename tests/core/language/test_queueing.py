import pytest

from latebin.core.language.distributions import Exponential, Fixed
from latebin.core.language.queueing import ALL, Load, Simulation


def simulated(load: Load) -> dict[str, object]:
    simulation = Simulation(load)
    assert simulation.run(ALL)
    return simulation.as_json()


def mean_wait(load: Load) -> float:
    waiting = simulated(load)["waiting"]
    assert isinstance(waiting, dict)
    return float(waiting["mean_ms"])


@pytest.mark.parametrize(
    ("load", "exact"),
    [
        # Kendall's M/M/1: rho / (mu - lambda). Pollaczek and Khinchine's M/D/1: half of that.
        (Load(Exponential(0.1), 60, rate=5, seed=1), 100.0),
        (Load(Fixed(0.1), 60, rate=5, seed=1), 50.0),
        # Erlang's C for two servers and a load of 1: a third of the requests wait, for 100 ms on average.
        (Load(Exponential(0.1), 60, rate=10, servers=2, seed=1), 33.333),
    ],
)
def test_mean_wait(load: Load, exact: float) -> None:
    """The mean wait is near the exact one where queueing theory has a formula."""
    assert mean_wait(load) == pytest.approx(exact, rel=0.15)


def test_lost() -> None:
    """The share of refused requests is near Erlang's B when there is no line."""
    found = simulated(Load(Exponential(0.1), 60, rate=10, servers=1, queue=0, seed=1))
    assert found["refused"] == pytest.approx(0.5, abs=0.03)
    assert found["waiting"] == dict.fromkeys(["mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"], 0.0)


def test_repeatable() -> None:
    """The figures are the same again with the same seed, however large the slices are."""
    load = Load(Exponential(0.1), 60, rate=5, seed=7, timeout=0.2)
    sliced = Simulation(load)
    while not sliced.run(37):
        pass
    assert sliced.as_json() == simulated(load)
    assert sliced.as_json() != simulated(Load(Exponential(0.1), 60, rate=5, seed=8, timeout=0.2))


def test_unstable() -> None:
    """A pool is called unstable when requests come faster than it serves them."""
    assert simulated(Load(Fixed(0.1), 60, rate=11))["stable"] is False
    assert simulated(Load(Fixed(0.1), 60, rate=11, queue=5))["stable"] is True
