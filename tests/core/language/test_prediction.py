"""Predictions of a delay whose draws are cut to a cap."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language.distributions import Distribution
from latebin.core.language.grammar import parse
from latebin.core.language.prediction import BINS, Prediction, predict
from tests.support.strategies import TRACES, delays, tame


def predicted(text: str, timeout: float | None = None, cap: float = 600.0) -> Prediction:
    return predict(parse(text, TRACES), timeout, cap)


def test_figures_of_a_range() -> None:
    """Mean, quantiles, maximum and the share beyond the timeout are those of the distribution."""
    found = predicted("0s..1s", timeout=0.75)
    figures = (found.mean, found.p50, found.p90, found.p95, found.p99, found.p99_9, found.max, found.cut)
    assert figures == (0.5, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0, 0.25)


def test_cap() -> None:
    """Every figure is that of the draws after they are cut to the cap."""
    found = predicted("0s..4s", timeout=1.0, cap=2.0)
    assert (found.mean, found.p50, found.p90, found.max, found.cut) == (1.5, 2.0, 2.0, 2.0, 0.75)


@pytest.mark.parametrize(("timeout", "cut"), [(2.0, 0.5), (2.001, 0.0), (1.999, 1 - 1.999 / 4)])
def test_timeout_near_the_cap(timeout: float, cut: float) -> None:
    """Draws at the cap count when the timeout is not longer."""
    assert predicted("0s..4s", timeout=timeout, cap=2.0).cut == pytest.approx(cut)


@pytest.mark.parametrize(
    ("text", "timeout", "cut"),
    [
        ("250ms", 0.25, 1.0),
        ("250ms", 0.2501, 0.0),
        ("0", 0.0, 1.0),
        ("2s..2s", 2.0, 1.0),
        ("1s..2s", 2.0, 0.0),
        ("1s..2s", 1.0, 1.0),
        ("mix(95%:50ms,5%:2s)", 2.0, 0.05),
        ("mix(95%:50ms,5%:2s)", 0.05, 1.0),
        ("mix(50%:mix(50%:1s,50%:2s),50%:normal(1s,1ms,max=1s))", 1.0, 0.75),
        ("mix(50%:1s,50%:mix(40%:1s,60%:2s))", 2.0, 0.3),
        ("percentiles(50=80ms,90=80ms,100=2s)", 0.08, 1.0),
        ("percentiles(10=10ms,50=80ms,90=80ms,95=2s)", 0.08, 0.5),
        ("percentiles(50=80ms,95=2s)", 2.0, 0.05),
        ("trace(a-1.b_c)", max(TRACES["a-1.b_c"].values), 1 / len(TRACES["a-1.b_c"].values)),
        ("exponential(1s,max=2s)", 2.0, math.exp(-2)),
        ("exponential(1s,max=2s)", 2.0001, 0.0),
        ("exponential(1s)", 600.0, math.exp(-600)),
        ("normal(0s,1s)", 0.0, 1.0),
    ],
)
def test_timeout_at_a_delay_with_weight(text: str, timeout: float, cut: float) -> None:
    """A request is cut when its delay equals the timeout, because no answer is early."""
    assert predicted(text, timeout=timeout).cut == pytest.approx(cut, abs=1e-12)


def test_infinite_mean_is_finite_under_a_cap() -> None:
    """The mean is finite when a cap cuts an infinite tail."""
    assert predicted("pareto(min=1s,alpha=1)", cap=math.e).mean == pytest.approx(2.0)


def test_single_value() -> None:
    """A fixed delay has a histogram of one bin."""
    (only,) = predicted("250ms").histogram
    assert (only.lower, only.upper, only.share) == (0.25, 0.25, 1.0)


def test_rare_outlier() -> None:
    """The histogram reaches to the greatest delay when that is rare."""
    found = predicted("mix(99.99%:1s,0.01%:2s)").histogram
    assert [each.share for each in (found[0], found[-1])] == pytest.approx([0.9999, 0.0001])


def test_histogram_is_logarithmic() -> None:
    """The inner edges of a histogram have a constant ratio; the outer bins reach further."""
    found = predicted("lognormal(median=80ms,p99=1.2s)").histogram
    ratios = [each.upper / each.lower for each in found[1:-1]]
    assert ratios == pytest.approx([ratios[0]] * (BINS - 2))
    assert (found[0].lower, found[-1].upper) == (0.0, 600.0)


def test_json_of_a_fixed_delay() -> None:
    """The plain form has times in milliseconds, and shares from 0 to 1."""
    assert predicted("250ms", timeout=0.1).as_json() == {
        "mean_ms": 250.0,
        "p50_ms": 250.0,
        "p90_ms": 250.0,
        "p95_ms": 250.0,
        "p99_ms": 250.0,
        "p99_9_ms": 250.0,
        "max_ms": 250.0,
        "timeout_ms": 100.0,
        "cut": 1.0,
        "histogram": [{"lower_ms": 250.0, "upper_ms": 250.0, "share": 1.0}],
    }


def test_json_without_a_timeout() -> None:
    """The share is None when the timeout is unknown."""
    plain = predicted("250ms").as_json()
    assert (plain["timeout_ms"], plain["cut"]) == (None, None)


@given(delays(tame), st.none() | tame, st.floats(0, 3600), st.integers(1, 30))
def test_any_delay(delay: Distribution, timeout: float | None, cap: float, bins: int) -> None:
    """Any delay has ascending figures, a complete histogram and a valid JSON form."""
    found = predict(delay, timeout, cap, bins)
    figures = [found.p50, found.p90, found.p95, found.p99, found.p99_9, found.max]
    assert sorted(figures) == pytest.approx(figures)
    assert found.max <= cap
    assert found.cut is None or 0 <= found.cut <= 1
    assert 1 <= len(found.histogram) <= bins
    assert sum(each.share for each in found.histogram) == pytest.approx(1)
    assert all(each.lower <= each.upper and each.share > -1e-12 for each in found.histogram)
    json.dumps(found.as_json(), allow_nan=False)
