"""Many durations as the few figures that say how they are spread."""

from collections.abc import Sequence
from math import ceil, fsum
from typing import Final, Self

import attrs
from hdrh.histogram import HdrHistogram

HIGHEST: Final = 3600.0
"""The longest duration that a histogram tells apart from longer ones, in seconds."""

DIGITS: Final = 3
"""To how many significant decimal digits a percentile is right."""

CURVE: Final = (*(n / 10 for n in range(0, 990, 10)), *(n / 10 for n in range(990, 1000)), 99.99, 100.0)
"""The percentiles of a cumulative curve: finer where the late ones are."""

_MICROSECONDS: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Percentiles:
    """How durations are spread, in seconds.

    Percentiles come from a high dynamic range histogram (Gil Tene's HdrHistogram) of microseconds: the duration nearest
    in rank, rounded up. `least`, `mean` and `most` are exact. What is below zero is zero to the histogram alone.

    Attributes:
        number: how many durations there were.
        curve: percentile and duration in pairs, for each of CURVE.
    """

    number: int
    least: float
    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    most: float
    curve: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, durations: Sequence[float]) -> Self | None:
        """Sum durations up.

        Args:
            durations: in seconds, in any order.

        Returns:
            Their percentiles, or None if there are no durations.
        """
        if not durations:
            return None
        found = _found(_histogram(durations))
        return cls(
            number=len(durations),
            least=min(durations),
            mean=fsum(durations) / len(durations),
            p50=found[50],
            p90=found[90],
            p99=found[99],
            p999=found[99.9],
            most=max(durations),
            curve=tuple((percentile, found[percentile]) for percentile in CURVE),
        )


def _histogram(durations: Sequence[float]) -> HdrHistogram:
    histogram = HdrHistogram(1, int(HIGHEST * _MICROSECONDS), DIGITS)
    for duration in durations:
        histogram.record_value(ceil(min(max(duration, 0.0), HIGHEST) * _MICROSECONDS))
    return histogram


def _found(histogram: HdrHistogram) -> dict[float, float]:
    values = histogram.get_percentile_to_value_dict(CURVE)
    return {percentile: value / _MICROSECONDS for percentile, value in values.items()}
