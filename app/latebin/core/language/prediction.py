"""The effect of a delay on its clients, computed from the distribution before any request."""

from collections.abc import Generator
from itertools import pairwise
from typing import Any, Final, cast

from attrs import frozen

from latebin.core.language.distributions import Distribution

BINS: Final = 20
"""The default number of bins in a histogram."""

_CENTRAL: Final = (0.001, 0.999)
"""The quantiles between which a histogram spreads its bins: the few delays beyond would squeeze all other bins."""

_WIDEST: Final = 10_000.0
"""The greatest ratio of the last inner edge of a histogram to the first: a logarithmic scale has no zero."""


@frozen
class Bin:
    """The share of requests with a delay above `lower` and at most `upper`.

    Attributes:
        lower: seconds; the first bin includes it.
        upper: seconds.
        share: from 0 to 1.
    """

    lower: float
    upper: float
    share: float


@frozen
class Prediction:
    """The figures of a delay with draws cut to a cap; finite, in seconds.

    Attributes:
        mean: the mean.
        p50: the median. p90 and the others are likewise the delay that this percentage of requests does not exceed.
        max: the longest delay.
        timeout: the timeout of the client; None if unknown.
        cut: the share of requests whose delay is not below the timeout; None without a timeout.
        histogram: bins from the least delay to the greatest; their shares add up to 1.
    """

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    max: float
    timeout: float | None
    cut: float | None
    histogram: tuple[Bin, ...]

    def as_json(self) -> dict[str, Any]:
        """Convert the prediction to plain values for JSON.

        Returns:
            `mean_ms`, `p50_ms`, `p90_ms`, `p95_ms`, `p99_ms`, `p99_9_ms`, `max_ms` and `timeout_ms` in milliseconds,
            rounded to a nanosecond. `cut` is a share from 0 to 1, rounded to 12 places. `histogram` is a list of
            objects with `lower_ms`, `upper_ms` and `share`. Without a timeout, `timeout_ms` and `cut` are None.
        """
        return {
            **{f"{name}_ms": _milliseconds(getattr(self, name)) for name in FIGURES},
            "timeout_ms": None if self.timeout is None else _milliseconds(self.timeout),
            "cut": None if self.cut is None else round(self.cut, 12),
            "histogram": [
                {
                    "lower_ms": _milliseconds(each.lower),
                    "upper_ms": _milliseconds(each.upper),
                    "share": round(each.share, 12),
                }
                for each in self.histogram
            ],
        }


FIGURES: Final = ("mean", "p50", "p90", "p95", "p99", "p99_9", "max")
"""The names of the figures that are delays, in their order."""


def predict(delay: Distribution, timeout: float | None, cap: float, bins: int = BINS) -> Prediction:
    """Compute the figures of a delay in one go.

    The arguments are those of `predicting`.
    """
    steps = predicting(delay, timeout, cap, bins)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Prediction", end.value)


def predicting(
    delay: Distribution, timeout: float | None, cap: float, bins: int = BINS
) -> Generator[None, None, Prediction]:
    """Compute the figures of a delay whose draws are cut, piece by piece.

    A figure of a mix of 64 delays takes milliseconds.

    Args:
        delay: the distribution.
        timeout: the timeout of the client in seconds; None if unknown.
        cap: seconds to which a longer draw is cut; finite.
        bins: the number of bins in the histogram. A histogram of a single value has one bin.

    Returns:
        A generator that yields behind each figure, and returns all of them.
    """
    cut = None
    if timeout is not None:
        # An answer is never early, so that a delay as long as the timeout is cut. A client that waits longer than the
        # cap is never cut, although the distribution goes on.
        cut = max(0.0, 1 - delay.below(timeout)) if timeout <= cap else 0.0
    mean = delay.capped_mean(cap)
    quantiles = []
    for p in (0.5, 0.9, 0.95, 0.99, 0.999, 1):
        yield
        quantiles.append(min(delay.quantile(p), cap))
    p50, p90, p95, p99, p99_9, most = quantiles
    yield
    histogram = yield from _histogram(delay, cap, bins)
    return Prediction(mean, p50, p90, p95, p99, p99_9, most, timeout, cut, histogram)


def _histogram(delay: Distribution, cap: float, bins: int) -> Generator[None, None, tuple[Bin, ...]]:
    least, most = (min(end, cap) for end in (delay.least, delay.most))
    # The inner edges are evenly spaced on a logarithmic scale; the two outer bins reach to the ends of the delay.
    low = min(delay.quantile(_CENTRAL[0]), cap)
    yield
    high = min(delay.quantile(_CENTRAL[1]), cap)
    if low == high:
        low, high = (min(delay.quantile(p), cap) for p in (0, 1))
    yield
    low = max(low, high / _WIDEST)
    inner = [low * (high / low) ** (k / bins) for k in range(1, bins)] if 0 < low < high else []
    edges = (least, *inner, most)
    up_to = (0.0, *(delay.cdf(edge) for edge in inner), 1.0)
    shares = (after - before for before, after in pairwise(up_to))
    return tuple(Bin(lower, upper, share) for (lower, upper), share in zip(pairwise(edges), shares, strict=True))


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 6)
