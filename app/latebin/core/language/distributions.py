"""What a delay can be: a distribution of seconds, with its draws, quantiles and means.

Every draw is an inversion: the quantile of a uniform number, so that it depends on nothing but its arguments and a
larger uniform never gives a smaller delay. The values are made by `delay.parse`, which has checked the bounds that each
class names; they are not checked again here.
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

    `str` gives the canonical text, which `delay.parse` reads back as an equal value.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def least(self) -> float:
        """The lower end of what can be drawn, in seconds."""

    @property
    @abstractmethod
    def most(self) -> float:
        """The upper end of what can be drawn, in seconds; may be infinite."""

    @abstractmethod
    def draw(self, uniforms: Iterator[float], n: int) -> float:
        """Draw the delay of one request.

        Args:
            uniforms: numbers in the open interval (0, 1), as `draw.seeded` gives; as many are taken as are needed.
            n: which request it is, counted from 1; only a replayed trace looks at it.

        Returns:
            Seconds, neither negative nor infinite.
        """

    @abstractmethod
    def quantile(self, p: float) -> float:
        """Give the delay that a share p of the requests does not exceed.

        Args:
            p: from 0 (which gives `least`) to 1 (which gives `most`).

        Returns:
            The smallest x, in seconds, for which cdf(x) >= p.
        """

    @abstractmethod
    def cdf(self, x: float) -> float:
        """Give the share of the requests whose delay is at most x seconds."""

    @abstractmethod
    def mean(self) -> float:
        """Give the mean in seconds; infinite where the tail is too heavy to have one."""

    @abstractmethod
    def capped_mean(self, cap: float) -> float:
        """Give the mean of min(X, cap), in seconds: the integral of 1 - cdf from 0 to cap.

        Args:
            cap: seconds, not negative; infinite for none.
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

    def draw(self, uniforms: Iterator[float], n: int) -> float:  # nothing is left to chance
        return self.seconds

    def quantile(self, p: float) -> float:  # every quantile is the one value
        return self.seconds

    def cdf(self, x: float) -> float:
        return float(x >= self.seconds)

    def mean(self) -> float:
        return self.seconds

    def capped_mean(self, cap: float) -> float:
        return min(cap, self.seconds)


class _Spread(Distribution):
    """A delay that varies: the ends of its range are settled here, so that each formula holds for the inside alone."""

    __slots__ = ()

    @abstractmethod
    def _inverse(self, p: float) -> float:
        """Give the quantile for 0 < p < 1."""

    @abstractmethod
    def _share_up_to(self, x: float) -> float:
        """Give the cdf for least <= x < most."""

    @abstractmethod
    def _mean_under(self, cap: float) -> float:
        """Give the capped mean for least < cap < most."""

    def draw(self, uniforms: Iterator[float], n: int) -> float:  # one draw is like another
        return self._inverse(next(uniforms))

    def quantile(self, p: float) -> float:
        if p <= 0:
            return self.least
        return self._inverse(p) if p < 1 else self.most

    def cdf(self, x: float) -> float:
        if x < self.least:
            return 0.0
        return self._share_up_to(x) if x < self.most else 1.0

    def capped_mean(self, cap: float) -> float:
        if cap >= self.most:
            return self.mean()
        return self._mean_under(cap) if cap > self.least else cap


@frozen
class Uniform(_Spread):
    """Any delay of a range, each as likely as another.

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
    """A delay that can be as short as nothing and as long as anything."""

    __slots__ = ()

    @property
    def least(self) -> float:
        return 0.0

    @property
    def most(self) -> float:
        return math.inf


@frozen
class Normal(_Unbounded):
    """The bell curve, its negative part put at zero: max(0, Y) for a normal Y.

    To clamp, rather than to draw again until it is positive, keeps the quantiles where the two figures say they are;
    the mean of what is drawn is then a little above `centre`, by 0.4 % of `sd` where `centre` is 2 sd.

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
        """Give the mean of max(0, Y - x): what the unclamped curve has beyond x."""
        z = (x - self.centre) / self.sd
        return self.sd * (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * _phi(-z))


@frozen
class Exponential(_Unbounded):
    """The time until something that is equally likely at every moment.

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
    """A delay whose logarithm is normal: what most services look like until their tail.

    `median` and `sigma` are what WireMock's lognormal delay takes, `median` and `p99` what MockServer's does.

    Attributes:
        median: seconds, above 0.
        sigma: standard deviation of the natural logarithm, above 0.
        p99: the 99th percentile in seconds if the delay was given by it; what `str` writes in the place of `sigma`.
    """

    median: float
    sigma: float
    p99: float | None = None

    @classmethod
    def through(cls, median: float, p99: float) -> "Lognormal":
        """Make the one with this median and this 99th percentile.

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
    """A power law: the share of requests beyond x falls as x to the power of -alpha.

    Attributes:
        least: seconds, above 0.
        alpha: the tail index; the smaller, the heavier the tail, and from 1 down there is no mean.
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
    """What a dashboard shows: the delay passes through given percentiles.

    Between two of them the logarithm of the delay rises linearly with the share. Nothing is made up outside of them:
    the requests below the first take the first delay, those above the last take the last.

    Attributes:
        shares: from 0 to 1, each above the one before; at least one.
        delays: the delay at each share in seconds, above 0, none below the one before.
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

    def _mean_under(self, cap: float) -> float:
        right = bisect(self.delays, cap)
        return Percentiles((*self.shares[:right], self._share_up_to(cap)), (*self.delays[:right], cap)).mean()


@frozen
class Recorded(_Spread):
    """The latencies of a trace: one of them at random, or each in its turn.

    Attributes:
        trace: what was recorded.
        replay: whether the n-th request takes the n-th value, from the start again after the last.
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

    def _mean_under(self, cap: float) -> float:
        below = bisect(self.trace.ascending, cap)
        size = len(self.trace.values)
        return (self.trace.sums[below] + (size - below) * cap) / size


@frozen
class Mix(_Spread):
    """One of several delays, chosen by weight.

    A draw takes one uniform to choose among the leaves of the tree of mixes, in the order in which they are written,
    and what that leaf takes.

    Attributes:
        branches: weights, which add up to 1 within rounding, each with its delay.
        leaves: the branches with every nested mix replaced by its own, without those of no weight; the weights are
            scaled to add up to 1.
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
        return self.leaves[bisect(self._steps, next(uniforms))][1].draw(uniforms, n)

    def mean(self) -> float:
        return sum(weight * delay.mean() for weight, delay in self.leaves)

    def _inverse(self, p: float) -> float:
        quantiles = [delay.quantile(p) for _, delay in self.leaves]
        # By the places of floats and not by their values, between which a heavy tail can leave a thousand halves.
        places = range(_place(min(quantiles)), _place(max(quantiles)))
        return _at(places.start + bisect_left(places, p, key=lambda place: self.cdf(_at(place))))

    def _share_up_to(self, x: float) -> float:
        return min(1.0, sum(weight * delay.cdf(x) for weight, delay in self.leaves))

    def _mean_under(self, cap: float) -> float:
        return sum(weight * delay.capped_mean(cap) for weight, delay in self.leaves)


def _leaves(branches: tuple[tuple[float, Distribution], ...]) -> tuple[tuple[float, Distribution], ...]:
    total = sum(weight for weight, _ in branches)
    return tuple(
        (weight / total * part, leaf)
        for weight, delay in branches
        if weight
        for part, leaf in (delay.leaves if isinstance(delay, Mix) else ((1.0, delay),))
    )


def _steps(leaves: tuple[tuple[float, Distribution], ...]) -> tuple[float, ...]:
    """Give where one leaf ends and the next begins; the last has no end, so that rounding leaves no gap at 1."""
    return tuple(accumulate(weight for weight, _ in leaves[:-1]))


def _place(x: float) -> int:
    """Count the floats between 0 and x, which is not negative: their bits are in their order (IEEE 754)."""
    [place] = _BITS.unpack(_FLOAT.pack(x))
    return int(place)


def _at(place: int) -> float:
    """Give the float at a place."""
    [x] = _FLOAT.unpack(_BITS.pack(place))
    return float(x)


def _phi(z: float) -> float:
    """Give the standard normal cdf, accurate in its lower tail too."""
    return math.erfc(-z / math.sqrt(2)) / 2


def _log_ratio(a: float, b: float) -> float:
    """Give log(b / a) for 0 < a <= b, above 0 even where b / a would be rounded to 1."""
    return math.log1p((b - a) / a)


def _log_mean(a: float, b: float) -> float:
    """Give the logarithmic mean of 0 < a <= b: that of a delay whose logarithm rises linearly from one to the other."""
    return (b - a) / _log_ratio(a, b) if b > a else a


def _plain(number: float) -> str:
    return f"{Decimal(repr(number)).normalize():f}"
