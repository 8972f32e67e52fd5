"""What a delay will do to those who wait for it, worked out from its distribution before anybody waits."""

from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from latebin.core.language.distributions import Distribution

BINS: Final = 20
"""How many bins a histogram has unless its maker says otherwise."""

_CENTRAL: Final = (0.001, 0.999)
"""The quantiles that a histogram spreads its bins between: the few beyond would squeeze all others together."""

_WIDEST: Final = 10_000.0
"""The greatest ratio between the last and the first edge inside a histogram; a logarithmic scale has no zero."""


@frozen
class Bin:
    """The share of requests that are delayed by more than `lower` and at most `upper`.

    Attributes:
        lower: seconds; in the first bin, itself included.
        upper: seconds.
        share: from 0 to 1.
    """

    lower: float
    upper: float
    share: float


@frozen
class Prediction:
    """What to expect of a delay that is cut to a cap; in seconds, and none of it infinite.

    Attributes:
        mean: the mean.
        p50: the median; and so on, the delay that the named percentage of requests does not exceed.
        max: the longest that anybody waits.
        timeout: how long the client waits, if that is known.
        cut: the share of requests that take longer than the timeout; None without one.
        histogram: from the least delay to the greatest; the shares add up to 1.
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
        """Give the same as plain values for JSON.

        Returns:
            `mean_ms`, `p50_ms`, `p90_ms`, `p95_ms`, `p99_ms`, `p99_9_ms`, `max_ms` and `timeout_ms` in milliseconds,
            rounded to a nanosecond; `cut` as a share from 0 to 1, rounded to 12 places; `histogram` as a list of
            `lower_ms`, `upper_ms` and `share`. Without a timeout, `timeout_ms` and `cut` are None.
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
"""The figures of a prediction that are delays, by their names, from the first told to the last."""


def predict(delay: Distribution, timeout: float | None, cap: float, bins: int = BINS) -> Prediction:
    """Work out what to expect of a delay whose draws are cut to a cap.

    Args:
        delay: what is drawn from.
        timeout: seconds that the client waits, or None if that is not known.
        cap: seconds to which a longer draw is cut; finite.
        bins: how many bins the histogram has; one that would span a single value has one.
    """

    def capped(p: float) -> float:
        return min(delay.quantile(p), cap)

    return Prediction(
        mean=delay.capped_mean(cap),
        p50=capped(0.5),
        p90=capped(0.9),
        p95=capped(0.95),
        p99=capped(0.99),
        p99_9=capped(0.999),
        max=capped(1),
        timeout=timeout,
        cut=None if timeout is None else _share_beyond(delay, timeout, cap),
        histogram=_histogram(delay, cap, bins),
    )


def _share_beyond(delay: Distribution, timeout: float, cap: float) -> float:
    return 1 - delay.cdf(timeout) if timeout < cap else 0.0


def _histogram(delay: Distribution, cap: float, bins: int) -> tuple[Bin, ...]:
    least, most = (min(end, cap) for end in (delay.least, delay.most))
    inner = _inner_edges(delay, cap, bins)
    edges = (least, *inner, most)
    up_to = (0.0, *(delay.cdf(edge) for edge in inner), 1.0)
    shares = (after - before for before, after in pairwise(up_to))
    return tuple(Bin(lower, upper, share) for (lower, upper), share in zip(pairwise(edges), shares, strict=True))


def _inner_edges(delay: Distribution, cap: float, bins: int) -> list[float]:
    """Give what parts the bins, evenly on a logarithmic scale; the outer two reach to the ends of the delay."""
    low, high = (min(delay.quantile(p), cap) for p in _CENTRAL)
    if low == high:
        low, high = (min(delay.quantile(p), cap) for p in (0, 1))
    low = max(low, high / _WIDEST)
    if not 0 < low < high:
        return []
    return [low * (high / low) ** (k / bins) for k in range(1, bins)]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 6)
