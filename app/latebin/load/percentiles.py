"""The distribution of durations in a few figures."""

from collections.abc import Sequence
from math import ceil, fsum
from typing import Final, Self

import attrs

HIGHEST: Final = 3600.0
"""The longest duration of a percentile, in seconds; longer ones count as this long."""

DIGITS: Final = 3
"""The number of significant decimal digits of a percentile."""

CURVE: Final = (*(n / 10 for n in range(0, 990, 10)), *(n / 10 for n in range(990, 1000)), 99.99, 100.0)
"""The percentiles of a cumulative curve: every whole one, every tenth from 99 on, 99.99 and 100."""

_MICROSECONDS: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Percentiles:
    """The distribution of durations, in seconds.

    A percentile is the duration of the nearest rank, rounded up. It comes from a high dynamic range histogram (Gil
    Tene's HdrHistogram) of microseconds, in which a negative duration counts as zero.

    The attributes `least`, `mean` and `most` are exact.

    Attributes:
        number: how many durations there were.
        curve: pairs of percentile and duration, for each percentile of CURVE.
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
        """Compute the percentiles of durations.

        Args:
            durations: in seconds, in any order.

        Returns:
            The percentiles, or None for an empty sequence.
        """
        if not durations:
            return None
        # An extra, which the help of a command can do without.
        from hdrh.histogram import HdrHistogram  # noqa: PLC0415

        histogram = HdrHistogram(1, int(HIGHEST * _MICROSECONDS), DIGITS)
        for duration in durations:
            # Rounded up: a percentile must not be better than the truth.
            histogram.record_value(ceil(min(max(duration, 0.0), HIGHEST) * _MICROSECONDS))
        values = histogram.get_percentile_to_value_dict(CURVE)
        curve = tuple((percentile, values[percentile] / _MICROSECONDS) for percentile in CURVE)
        at = dict(curve)
        return cls(
            number=len(durations),
            least=min(durations),
            mean=fsum(durations) / len(durations),
            p50=at[50],
            p90=at[90],
            p99=at[99],
            p999=at[99.9],
            most=max(durations),
            curve=curve,
        )
