"""Percentiles never flatter: they are at least the truth, and close to it."""

from hypothesis import given
from hypothesis import strategies as st

from latebin.load.percentiles import CURVE, HIGHEST, Percentiles

durations = st.lists(st.floats(0, 100), min_size=1, max_size=200)


@given(durations)
def test_a_percentile_is_at_least_the_truth_and_close_to_it(values: list[float]) -> None:
    """The duration nearest in rank is met from above, to a thousandth and a microsecond or two."""
    percentiles = Percentiles.of(values)
    assert percentiles is not None
    for percent, found in ((50, percentiles.p50), (90, percentiles.p90), (99, percentiles.p99)):
        truth = sorted(values)[max(0, int(percent * len(values) / 100 + 0.5) - 1)]
        assert truth - 1e-9 <= found <= truth * 1.001 + 2e-6
    assert percentiles.most == max(values)
    assert percentiles.number == len(values)


@given(durations)
def test_the_curve_rises(values: list[float]) -> None:
    """The cumulative curve has a point for each percentile and never falls."""
    percentiles = Percentiles.of(values)
    assert percentiles is not None
    assert [percentile for percentile, _ in percentiles.curve] == list(CURVE)
    heights = [height for _, height in percentiles.curve]
    assert heights == sorted(heights)


def test_what_is_below_zero_counts_as_zero_but_is_not_hidden() -> None:
    """An early answer cannot make a percentile negative; the least still tells it."""
    percentiles = Percentiles.of([-1.0, -1.0, 0.5])
    assert percentiles is not None
    assert percentiles.p50 == 0
    assert percentiles.least == -1
    assert percentiles.mean == -0.5


def test_what_is_beyond_the_histogram_is_its_highest() -> None:
    """No lateness, however large, is lost."""
    percentiles = Percentiles.of([HIGHEST * 10])
    assert percentiles is not None
    assert percentiles.p50 >= HIGHEST
    assert percentiles.most == HIGHEST * 10


def test_nothing_has_no_percentiles() -> None:
    """Without a duration there is no figure, and none is made up."""
    assert Percentiles.of([]) is None
