"""Percentiles are never below the exact ones, and close to them."""

from hypothesis import given
from hypothesis import strategies as st

from latebin.load.percentiles import CURVE, HIGHEST, Percentiles

durations = st.lists(st.floats(0, 100), min_size=1, max_size=200)


@given(durations)
def test_a_percentile_is_at_least_the_exact_one_and_close_to_it(values: list[float]) -> None:
    """A percentile is above the exact one by at most 0.1 % and 2 us."""
    percentiles = Percentiles.of(values)
    assert percentiles is not None
    for percent, percentile in ((50, percentiles.p50), (90, percentiles.p90), (99, percentiles.p99)):
        exact = sorted(values)[max(0, int(percent * len(values) / 100 + 0.5) - 1)]
        assert exact - 1e-9 <= percentile <= exact * 1.001 + 2e-6
    assert percentiles.most == max(values)
    assert percentiles.number == len(values)


@given(durations)
def test_the_curve_rises(values: list[float]) -> None:
    """The curve has a point for each percentile of CURVE, and never falls."""
    percentiles = Percentiles.of(values)
    assert percentiles is not None
    assert [percentile for percentile, _ in percentiles.curve] == list(CURVE)
    heights = [height for _, height in percentiles.curve]
    assert heights == sorted(heights)


def test_a_negative_duration_counts_as_zero_in_a_percentile() -> None:
    """A percentile is zero, and `least` and `mean` are exact, when durations are negative."""
    percentiles = Percentiles.of([-1.0, -1.0, 0.5])
    assert percentiles is not None
    assert percentiles.p50 == 0
    assert percentiles.least == -1
    assert percentiles.mean == -0.5


def test_a_duration_beyond_the_histogram_is_its_highest() -> None:
    """A percentile is HIGHEST, and `most` is exact, when a duration is longer."""
    percentiles = Percentiles.of([HIGHEST * 10])
    assert percentiles is not None
    assert percentiles.p50 >= HIGHEST
    assert percentiles.most == HIGHEST * 10


def test_without_durations_there_are_no_percentiles() -> None:
    """`of` returns None when there are no durations."""
    assert Percentiles.of([]) is None
