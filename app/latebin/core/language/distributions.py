"""Delays as distributions of seconds, with their draws, quantiles and means.

Every draw is an inversion: the quantile of a uniform number. So it depends on its arguments alone, and a larger number
never gives a smaller delay. `grammar.parse` makes the values and checks the bounds that each class names; the classes
do not check them again.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect, bisect_left
from collections.abc import Iterator
from decimal import Decimal
from itertools import accumulate, pairwise
from statistics import NormalDist
from struct import Struct
from typing import Final

from attrs import Factory, field, frozen

from latebin.core.language import share
from latebin.core.language.duration import render
from latebin.core.language.trace import Trace

_STANDARD: Final = NormalDist()

_Z99: Final = _STANDARD.inv_cdf(0.99)

_FLOAT: Final = Struct("d")

_BITS: Final = Struct("q")


class Distribution(ABC):
    """A distribution of delays in seconds, none of them negative.

    `str` returns the canonical text, which `grammar.parse` reads back as an equal value.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def least(self) -> float:
        """The smallest delay that can be drawn, in seconds."""

    @property
    @abstractmethod
    def most(self) -> float:
        """The upper end of the delays that can be drawn, in seconds; may be infinite."""

    @abstractmethod
    def draw(self, uniforms: Iterator[float], n: int) -> float:
        """Draw the delay of one request.

        Args:
            uniforms: numbers in the open interval (0, 1), as from `draw.seeded`; the draw takes as many as it needs.
            n: the number of the request, counted from 1; only a replayed trace uses it.

        Returns:
            Seconds, neither negative nor infinite.
        """

    def sample(self, uniforms: Iterator[float], n: int) -> tuple[float, bool]:
        """Draw the delay of one request, as `draw` does.

        Returns:
            The delay, and whether a limit cut it.
        """
        return self.draw(uniforms, n), False

    @abstractmethod
    def quantile(self, p: float) -> float:
        """Return the delay that a share p of the requests does not exceed.

        Args:
            p: from 0, for `least`, to 1, for `most`.

        Returns:
            The smallest x, in seconds, for which cdf(x) >= p.
        """

    @abstractmethod
    def cdf(self, x: float) -> float:
        """Return the share of requests whose delay is at most x seconds."""

    @abstractmethod
    def below(self, x: float) -> float:
        """Return the share of requests whose delay is less than x seconds."""

    @abstractmethod
    def mean(self) -> float:
        """Return the mean in seconds; infinite if the tail is too heavy for a mean."""

    @abstractmethod
    def capped_mean(self, cap: float) -> float:
        """Return the mean of min(X, cap) in seconds, the integral of 1 - cdf.

        Args:
            cap: seconds, not negative; may be infinite. It is the upper end of the integral from 0.
        """


@frozen
class Fixed(Distribution):
    """The same delay for every request.

    Attributes:
        seconds: not negative.
    """

    seconds: float

    def __str__(self) -> str:
        return render(self.seconds)

    @property
    def least(self) -> float:
        return self.seconds

    @property
    def most(self) -> float:
        return self.seconds

    def draw(self, uniforms: Iterator[float], n: int) -> float:  # the same for every request
        return self.seconds

    def quantile(self, p: float) -> float:  # every quantile is the one value
        return self.seconds

    def cdf(self, x: float) -> float:
        return float(x >= self.seconds)

    def below(self, x: float) -> float:
        return float(x > self.seconds)

    def mean(self) -> float:
        return self.seconds

    def capped_mean(self, cap: float) -> float:
        return min(cap, self.seconds)


class _Spread(Distribution):
    """A delay that varies.

    This class handles both ends of the range, so that the formulas of its subclasses need to hold inside only.
    """

    __slots__ = ()

    @abstractmethod
    def _inverse(self, p: float) -> float:
        """Return the quantile for 0 < p < 1."""

    @abstractmethod
    def _share_up_to(self, x: float) -> float:
        """Return the cdf for least <= x < most."""

    def _share_below(self, x: float) -> float:
        """Return the share of delays less than x, for least < x <= most.

        It is the cdf, unless a single delay has weight.
        """
        return self._share_up_to(x)

    @abstractmethod
    def _mean_under(self, cap: float) -> float:
        """Return the capped mean for least < cap < most."""

    def draw(self, uniforms: Iterator[float], n: int) -> float:  # the number of the request does not matter
        return self._inverse(next(uniforms))

    def quantile(self, p: float) -> float:
        if p <= 0:
            return self.least
        return self._inverse(p) if p < 1 else self.most

    def cdf(self, x: float) -> float:
        if x < self.least:
            return 0.0
        return self._share_up_to(x) if x < self.most else 1.0

    def below(self, x: float) -> float:
        if x <= self.least:
            return 0.0
        return self._share_below(x) if x <= self.most else 1.0

    def capped_mean(self, cap: float) -> float:
        if cap >= self.most:
            return self.mean()
        return self._mean_under(cap) if cap > self.least else cap


@frozen
class Uniform(_Spread):
    """Any delay in a range, with equal probability.

    Attributes:
        least: seconds, not negative.
        most: seconds, not below `least`.
    """

    least: float
    most: float

    def __str__(self) -> str:
        return f"{render(self.least)}..{render(self.most)}"

    def mean(self) -> float:
        return (self.least + self.most) / 2

    def _inverse(self, p: float) -> float:
        return min(self.least + (self.most - self.least) * p, self.most)

    def _share_up_to(self, x: float) -> float:
        return (x - self.least) / (self.most - self.least)

    def _mean_under(self, cap: float) -> float:
        return cap - (cap - self.least) * self._share_up_to(cap) / 2


class _Unbounded(_Spread):
    """A delay from 0 to infinity."""

    __slots__ = ()

    @property
    def least(self) -> float:
        return 0.0

    @property
    def most(self) -> float:
        return math.inf


@frozen
class Normal(_Unbounded):
    """A normal distribution with its negative part clamped to 0.

    A draw is max(0, Y) for a normal Y. Clamping keeps the quantiles where the two parameters place them, which
    drawing again until positive would not. It raises the mean above `centre`, by 0.85 % of `sd` if `centre` is 2 sd.

    Attributes:
        centre: mean and median of the unclamped curve, in seconds, not negative.
        sd: standard deviation of the unclamped curve, in seconds, above 0.
    """

    centre: float
    sd: float

    def __str__(self) -> str:
        return f"normal({render(self.centre)},{render(self.sd)})"

    def mean(self) -> float:
        return self._excess(0.0)

    def _inverse(self, p: float) -> float:
        return max(0.0, self.centre + self.sd * _STANDARD.inv_cdf(p))

    def _share_up_to(self, x: float) -> float:
        return _phi((x - self.centre) / self.sd)

    def _mean_under(self, cap: float) -> float:
        return self._excess(0.0) - self._excess(cap)

    def _excess(self, x: float) -> float:
        """Return the mean of max(0, Y - x) for the unclamped curve Y."""
        z = (x - self.centre) / self.sd
        return self.sd * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * _phi(-z))


@frozen
class Exponential(_Unbounded):
    """The time until an event that is equally likely at every moment.

    Attributes:
        average: the mean in seconds, above 0.
    """

    average: float

    def __str__(self) -> str:
        return f"exponential({render(self.average)})"

    def mean(self) -> float:
        return self.average

    def _inverse(self, p: float) -> float:
        return -self.average * math.log1p(-p)

    def _share_up_to(self, x: float) -> float:
        return -math.expm1(-x / self.average)

    def _mean_under(self, cap: float) -> float:
        return self.average * self._share_up_to(cap)


@frozen
class Lognormal(_Unbounded):
    """A delay whose logarithm is normal, like most latencies except for their tail.

    WireMock's lognormal delay takes `median` and `sigma`, MockServer's takes `median` and `p99`.

    Attributes:
        median: seconds, above 0.
        sigma: standard deviation of the natural logarithm, above 0.
        p99: the 99th percentile in seconds if the delay was defined by it; `str` then writes it instead of `sigma`.
    """

    median: float
    sigma: float
    p99: float | None = None

    @classmethod
    def through(cls, median: float, p99: float) -> "Lognormal":
        """Make the distribution with this median and this 99th percentile.

        Args:
            median: seconds, above 0.
            p99: seconds, above the median.
        """
        return cls(median, math.log(p99 / median) / _Z99, p99)

    def __str__(self) -> str:
        tail = f"sigma={_plain(self.sigma)}" if self.p99 is None else f"p99={render(self.p99)}"
        return f"lognormal(median={render(self.median)},{tail})"

    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)

    def _inverse(self, p: float) -> float:
        return self.median * math.exp(self.sigma * _STANDARD.inv_cdf(p))

    def _share_up_to(self, x: float) -> float:
        return _phi(self._z(x)) if x else 0.0

    def _mean_under(self, cap: float) -> float:
        z = self._z(cap)
        return self.mean() * _phi(z - self.sigma) + cap * _phi(-z)

    def _z(self, x: float) -> float:
        return (math.log(x) - math.log(self.median)) / self.sigma


@frozen
class Pareto(_Spread):
    """A power law: the share of requests beyond x is proportional to x**-alpha.

    Attributes:
        least: seconds, above 0.
        alpha: the tail index, above 0. A smaller one makes a heavier tail; at 1 and below the mean is infinite.
    """

    least: float
    alpha: float

    def __str__(self) -> str:
        return f"pareto(min={render(self.least)},alpha={_plain(self.alpha)})"

    @property
    def most(self) -> float:
        return math.inf

    def mean(self) -> float:
        return self.least * self.alpha / (self.alpha - 1) if self.alpha > 1 else math.inf

    def _inverse(self, p: float) -> float:
        return self.least * math.pow(1 - p, -1 / self.alpha)

    def _share_up_to(self, x: float) -> float:
        return 1 - math.pow(self.least / x, self.alpha)

    def _mean_under(self, cap: float) -> float:
        growth = math.log(cap / self.least)
        bend = 1 - self.alpha
        return self.least * (1 + (math.expm1(bend * growth) / bend if bend else growth))


@frozen
class Percentiles(_Spread):
    """A delay that passes through given percentiles, such as those of a dashboard.

    Between two of them the logarithm of the delay rises linearly with the share. Requests below the first percentile
    take its delay, and requests above the last take that of the last.

    Attributes:
        shares: from 0 to 1, strictly ascending; at least one.
        delays: the delay at each share in seconds, above 0, ascending.
    """

    shares: tuple[float, ...]
    delays: tuple[float, ...]

    def __str__(self) -> str:
        points = zip(self.shares, self.delays, strict=True)
        return f"percentiles({','.join(f'{share.render(p)[:-1]}={render(x)}' for p, x in points)})"

    @property
    def least(self) -> float:
        return self.delays[0]

    @property
    def most(self) -> float:
        return self.delays[-1]

    def mean(self) -> float:
        widths = (after - before for before, after in pairwise(self.shares))
        inside = sum(width * _log_mean(a, b) for width, (a, b) in zip(widths, pairwise(self.delays), strict=True))
        return self.shares[0] * self.least + inside + (1 - self.shares[-1]) * self.most

    def _inverse(self, p: float) -> float:
        right = bisect(self.shares, p)
        if right in {0, len(self.shares)}:
            return self.delays[max(right - 1, 0)]
        before, after = self.shares[right - 1 : right + 1]
        a, b = self.delays[right - 1 : right + 1]
        return min(a * math.exp(_log_ratio(a, b) * (p - before) / (after - before)), b)

    def _share_up_to(self, x: float) -> float:
        right = bisect(self.delays, x)
        before, after = self.shares[right - 1 : right + 1]
        a, b = self.delays[right - 1 : right + 1]
        return before + (after - before) * _log_ratio(a, x) / _log_ratio(a, b)

    def _share_below(self, x: float) -> float:
        right = bisect_left(self.delays, x)
        return self.shares[right] if self.delays[right] == x else self._share_up_to(x)

    def _mean_under(self, cap: float) -> float:
        right = bisect(self.delays, cap)
        return Percentiles((*self.shares[:right], self._share_up_to(cap)), (*self.delays[:right], cap)).mean()


@frozen
class Recorded(_Spread):
    """The latencies of a trace, drawn at random or replayed in order.

    Attributes:
        trace: the recording.
        replay: whether the n-th request takes the n-th value; after the last value the first follows again.
    """

    trace: Trace
    replay: bool = False

    def __str__(self) -> str:
        return f"trace({self.trace.name}{',replay' if self.replay else ''})"

    @property
    def least(self) -> float:
        return self.trace.ascending[0]

    @property
    def most(self) -> float:
        return self.trace.ascending[-1]

    def draw(self, uniforms: Iterator[float], n: int) -> float:
        values = self.trace.values
        return values[(n - 1) % len(values)] if self.replay else self._inverse(next(uniforms))

    def mean(self) -> float:
        return self.trace.sums[-1] / len(self.trace.values)

    def _inverse(self, p: float) -> float:
        ascending = self.trace.ascending
        size = len(ascending)
        return ascending[bisect_left(range(size), p, key=lambda index: (index + 1) / size)]

    def _share_up_to(self, x: float) -> float:
        return bisect(self.trace.ascending, x) / len(self.trace.values)

    def _share_below(self, x: float) -> float:
        return bisect_left(self.trace.ascending, x) / len(self.trace.values)

    def _mean_under(self, cap: float) -> float:
        below = bisect(self.trace.ascending, cap)
        size = len(self.trace.values)
        return (self.trace.sums[below] + (size - below) * cap) / size


@frozen
class Mix(_Spread):
    """One of several delays, chosen by weight.

    A draw takes one number to choose among the leaves of the tree of mixes, in written order. The leaf then takes the
    numbers that it needs.

    Attributes:
        branches: weights, which add up to 1 within rounding, each with its delay.
        leaves: the branches with every nested mix replaced by its own branches, without those of weight 0. The weights
            are scaled to add up to 1.
    """

    branches: tuple[tuple[float, Distribution], ...]
    leaves: tuple[tuple[float, Distribution], ...] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: _leaves(self.branches), takes_self=True)
    )
    _steps: tuple[float, ...] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: _steps(self.leaves), takes_self=True)
    )

    def __str__(self) -> str:
        return f"mix({','.join(f'{share.render(weight)}:{delay}' for weight, delay in self.branches)})"

    @property
    def least(self) -> float:
        return min(delay.least for _, delay in self.leaves)

    @property
    def most(self) -> float:
        return max(delay.most for _, delay in self.leaves)

    def draw(self, uniforms: Iterator[float], n: int) -> float:
        return self.sample(uniforms, n)[0]

    def sample(self, uniforms: Iterator[float], n: int) -> tuple[float, bool]:
        return self.leaves[bisect(self._steps, next(uniforms))][1].sample(uniforms, n)

    def mean(self) -> float:
        return sum(weight * delay.mean() for weight, delay in self.leaves)

    def _inverse(self, p: float) -> float:
        quantiles = [delay.quantile(p) for _, delay in self.leaves]
        # Bisecting the order of floats takes at most 64 steps. Bisecting their values takes up to a thousand: that
        # often a heavy tail can be halved.
        ranks = range(_rank(min(quantiles)), _rank(max(quantiles)))
        return _of_rank(ranks.start + bisect_left(ranks, p, key=lambda rank: self.cdf(_of_rank(rank))))

    def _share_up_to(self, x: float) -> float:
        return min(1.0, sum(weight * delay.cdf(x) for weight, delay in self.leaves))

    def _share_below(self, x: float) -> float:
        return min(1.0, sum(weight * delay.below(x) for weight, delay in self.leaves))

    def _mean_under(self, cap: float) -> float:
        return sum(weight * delay.capped_mean(cap) for weight, delay in self.leaves)


@frozen
class Limited(Distribution):
    """A delay with a limit of its own, to which a longer draw is cut.

    Cutting keeps every quantile below the limit where the delay has it, which drawing again would not. The share of
    the draws above the limit is the weight of the limit itself.

    Attributes:
        delay: the delay without the limit; a form with parentheses.
        limit: seconds, above 0; some draws are not above it.
    """

    delay: Distribution
    limit: float

    def __str__(self) -> str:
        delay = self.delay
        form = f"uniform({render(delay.least)},{render(delay.most)})" if isinstance(delay, Uniform) else str(delay)
        return f"{form[:-1]},max={render(self.limit)})"

    @property
    def least(self) -> float:
        return self.delay.least

    @property
    def most(self) -> float:
        return min(self.delay.most, self.limit)

    def draw(self, uniforms: Iterator[float], n: int) -> float:
        return self.sample(uniforms, n)[0]

    def sample(self, uniforms: Iterator[float], n: int) -> tuple[float, bool]:
        seconds, cut = self.delay.sample(uniforms, n)
        return (self.limit, True) if seconds > self.limit else (seconds, cut)

    def quantile(self, p: float) -> float:
        return min(self.delay.quantile(p), self.limit)

    def cdf(self, x: float) -> float:
        return self.delay.cdf(x) if x < self.limit else 1.0

    def below(self, x: float) -> float:
        return self.delay.below(x) if x <= self.limit else 1.0

    def mean(self) -> float:
        return self.delay.capped_mean(self.limit)

    def capped_mean(self, cap: float) -> float:
        return self.delay.capped_mean(min(cap, self.limit))


def _leaves(branches: tuple[tuple[float, Distribution], ...]) -> tuple[tuple[float, Distribution], ...]:
    total = sum(weight for weight, _ in branches)
    return tuple(
        (weight / total * part, leaf)
        for weight, delay in branches
        if weight
        for part, leaf in (delay.leaves if isinstance(delay, Mix) else ((1.0, delay),))
    )


def _steps(leaves: tuple[tuple[float, Distribution], ...]) -> tuple[float, ...]:
    """Return the running sums of the weights, without the last.

    The last should be 1, but rounding could leave a gap below 1.
    """
    return tuple(accumulate(weight for weight, _ in leaves[:-1]))


def _rank(x: float) -> int:
    """Return the rank of x >= 0 among floats, whose bits are in order (IEEE 754)."""
    [rank] = _BITS.unpack(_FLOAT.pack(x))
    return int(rank)


def _of_rank(rank: int) -> float:
    """Return the float of a rank."""
    [x] = _FLOAT.unpack(_BITS.pack(rank))
    return float(x)


def _phi(z: float) -> float:
    """Return the standard normal cdf, also accurate in its lower tail."""
    return math.erfc(-z / math.sqrt(2)) / 2


def _log_ratio(a: float, b: float) -> float:
    """Return log(b / a) for 0 < a <= b, without rounding b / a to 1."""
    return math.log1p((b - a) / a)


def _log_mean(a: float, b: float) -> float:
    """Return the logarithmic mean of 0 < a <= b, the mean on a log-linear segment."""
    return (b - a) / _log_ratio(a, b) if b > a else a


def _plain(number: float) -> str:
    return f"{Decimal(repr(number)).normalize():f}"
