"""Draws, quantiles and means that agree with each other and with figures computed by hand."""

import math
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language import draw
from latebin.core.language.distributions import Distribution, Lognormal, Mix, Pareto
from latebin.core.language.grammar import parse
from latebin.core.language.trace import Trace
from tests.support.strategies import TRACES, delays, tame

ONE_OF_EACH = [
    "250ms",
    "1s..3s",
    "2s..2s",
    "normal(1s,200ms)",
    "normal(100ms,200ms)",
    "exponential(500ms)",
    "lognormal(median=80ms,p99=1.2s)",
    "lognormal(median=80ms,sigma=0.6)",
    "pareto(min=50ms,alpha=1.5)",
    "pareto(min=50ms,alpha=1)",
    "pareto(min=50ms,alpha=0.5)",
    "percentiles(50=80ms,95=400ms,99=2s,100=5s)",
    "percentiles(0=10ms,50=80ms,90=80ms,100=5s)",
    "percentiles(90=1s)",
    "mix(95%:50ms,5%:3s)",
    "mix(50%:mix(30%:1s..3s,70%:normal(2s,100ms)),20%:exponential(1s),30%:2s)",
    "trace(checkout)",
    "lognormal(median=80ms,p99=1.2s,max=500ms)",
    "mix(60%:normal(1s,1s,max=1500ms),40%:exponential(1s),max=1.8s)",
]

shares = st.floats(min_value=1e-6, max_value=1 - 1e-6)


def read(text: str) -> Distribution:
    return parse(text, TRACES)


def drawn(delay: Distribution, size: int, seed: int = 42) -> list[float]:
    """Draw as the service does, with a stream of numbers for each request."""
    text = str(delay)
    return [delay.draw(draw.seeded("delay", seed, text, n), n) for n in range(1, size + 1)]


def distance(delay: Distribution, sample: list[float]) -> float:
    """Compute the Kolmogorov-Smirnov statistic, with both sides of each step of the cdf."""
    size = len(sample)
    steps = {x: rank for rank, x in enumerate(sorted(sample), 1)}
    below = 0
    worst = 0.0
    for x, rank in steps.items():
        before = delay.cdf(math.nextafter(x, -1))
        worst = max(worst, abs(rank / size - delay.cdf(x)), abs(below / size - before))
        below = rank
    return worst


def integrated(delay: Distribution, cap: float, steps: int) -> float:
    """Integrate 1 - cdf from 0 to the cap, within cap / steps of the true value."""
    return sum(1 - delay.cdf(cap * (k + 0.5) / steps) for k in range(steps)) * cap / steps


@pytest.mark.parametrize("text", ONE_OF_EACH)
def test_draws_follow_the_cdf(text: str) -> None:
    """Two thousand draws pass a Kolmogorov-Smirnov test against the delay's cdf (alpha = 0.001)."""
    delay = read(text)
    sample = drawn(delay, 2000)
    assert distance(delay, sample) < 1.9495 / math.sqrt(2000)
    assert all(delay.least <= x <= delay.most for x in sample)


def test_the_measure_sees_a_wrong_distribution() -> None:
    """The statistic rejects draws when they come from a similar distribution."""
    assert distance(read("exponential(450ms)"), drawn(read("exponential(500ms)"), 2000)) > 1.9495 / math.sqrt(2000)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("mix(95%:50ms,5%:3s)", {0.05: 0.95, 3.0: 0.05}),
        ("mix(50%:mix(50%:1,50%:2),50%:3)", {1.0: 0.25, 2.0: 0.25, 3.0: 0.5}),
        ("mix(0%:1,100%:2)", {2.0: 1.0}),
        ("trace(checkout)", {0.05: 0.4, 0.1: 0.2, 0.25: 0.2, 2.0: 0.2}),
    ],
)
def test_draws_of_single_values(text: str, values: dict[float, float]) -> None:
    """Single values have the frequency of their weights, within four standard errors."""
    sample = drawn(read(text), 2000)
    assert set(sample) == set(values)
    for value, weight in values.items():
        assert sample.count(value) / 2000 == pytest.approx(weight, abs=4 * math.sqrt(weight * (1 - weight) / 2000))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", [0.25, 0.25, 0.25]),
        ("1s..3s", [1.6888259565888901, 1.1204080623544828, 2.959283248906222]),
        ("normal(1s,200ms)", [1.0813777161049676, 1.0654335641780353, 0.9783985591420259]),
        ("exponential(500ms)", [0.010337583991696615, 0.3808583165598191, 0.9399676797856813]),
        ("lognormal(median=80ms,p99=1.2s)", [0.03582070865451818, 0.21416314715620194, 0.4650175889458676]),
        ("lognormal(median=80ms,sigma=0.6)", [0.05613842830188998, 0.0986374546800073, 0.1300951543284421]),
        ("pareto(min=50ms,alpha=1.5)", [0.06880010714352403, 0.28196020897954316, 0.06645500725021893]),
        ("percentiles(50=80ms,95=400ms,99=2s,100=5s)", [0.08, 0.38943178611451523, 0.37924780066831243]),
        ("mix(50%:50ms,50%:1s..3s)", [1.3298189158396425, 1.8769018499972412, 2.184753461803466]),
        ("trace(checkout)", [0.1, 0.1, 2.0]),
        ("trace(checkout,replay)", [0.25, 0.05, 0.1]),
    ],
)
def test_golden_draws(text: str, seconds: list[float]) -> None:
    """The first three draws with seed 7 are these, except for the last digits."""
    assert drawn(read(text), 3, seed=7) == pytest.approx(seconds, rel=1e-14)


@pytest.mark.parametrize(
    ("text", "p", "seconds"),
    [
        ("1s..3s", 0.25, 1.5),
        ("normal(1s,200ms)", 0.5, 1.0),
        ("normal(1s,200ms)", 0.8413447460685429, 1.2),
        ("normal(100ms,200ms)", 0.1, 0.0),
        ("exponential(500ms)", 0.5, 0.5 * math.log(2)),
        ("exponential(1s)", 1 - math.exp(-3), 3.0),
        ("lognormal(median=80ms,p99=1.2s)", 0.5, 0.08),
        ("lognormal(median=80ms,p99=1.2s)", 0.99, 1.2),
        ("lognormal(median=80ms,sigma=0.6)", 0.8413447460685429, 0.08 * math.exp(0.6)),
        ("pareto(min=50ms,alpha=2)", 0.75, 0.1),
        ("percentiles(50=80ms,95=400ms,99=2s,100=5s)", 0.2, 0.08),
        ("percentiles(50=80ms,95=400ms,99=2s,100=5s)", 0.5, 0.08),
        ("percentiles(50=80ms,95=400ms,99=2s,100=5s)", 0.725, math.sqrt(0.08 * 0.4)),
        ("percentiles(50=80ms,95=400ms,99=2s,100=5s)", 0.99, 2.0),
        ("percentiles(50=80ms,95=400ms)", 0.96, 0.4),
        ("mix(95%:50ms,5%:3s)", 0.95, 0.05),
        ("mix(95%:50ms,5%:3s)", 0.951, 3.0),
        ("mix(50%:1s..2s,50%:1s..3s)", 0.375, 1.5),
        ("trace(checkout)", 0.4, 0.05),
        ("trace(checkout)", 0.41, 0.1),
        ("trace(checkout)", 0.99, 2.0),
    ],
)
def test_quantiles_by_hand(text: str, p: float, seconds: float) -> None:
    """Quantiles equal those of the formula of each distribution."""
    assert read(text).quantile(p) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("1s..3s", 2.0),
        ("normal(1s,100ms)", 1.0),
        ("normal(0s,1s)", 1 / math.sqrt(2 * math.pi)),
        ("exponential(500ms)", 0.5),
        ("lognormal(median=1s,sigma=2)", math.exp(2)),
        ("pareto(min=50ms,alpha=1.5)", 0.15),
        ("pareto(min=50ms,alpha=1)", math.inf),
        ("percentiles(0=1s,100=1s)", 1.0),
        ("percentiles(0=1s,100=2s)", 1 / math.log(2)),
        ("percentiles(50=1s,90=1s)", 1.0),
        ("percentiles(20=1s,80=2s)", 0.2 + 0.6 / math.log(2) + 0.4),
        ("mix(95%:50ms,5%:3s)", 0.1975),
        ("trace(checkout)", 0.49),
    ],
)
def test_means_by_hand(text: str, seconds: float) -> None:
    """Means equal those of the formula of each distribution."""
    assert read(text).mean() == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "cap", "seconds"),
    [
        ("250ms", 0.1, 0.1),
        ("1s..3s", 0.5, 0.5),
        ("1s..3s", 2.0, 1.75),
        ("exponential(1s)", 1.0, 1 - math.exp(-1)),
        ("pareto(min=1s,alpha=1)", math.e, 2.0),
        ("pareto(min=1s,alpha=2)", 2.0, 1.5),
        ("pareto(min=1s,alpha=0.5)", 4.0, 3.0),
        ("percentiles(0=1s,100=4s)", 2.0, 0.5 / math.log(2) + 1.0),
        ("mix(95%:50ms,5%:3s)", 1.0, 0.0975),
        ("trace(checkout)", 0.2, 0.12),
    ],
)
def test_capped_means_by_hand(text: str, cap: float, seconds: float) -> None:
    """The capped mean equals the integral of 1 - cdf up to the cap."""
    assert read(text).capped_mean(cap) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("text", ONE_OF_EACH)
@pytest.mark.parametrize("cap", [0.0, 0.01, 0.07, 0.3, 2.0, 10.0])
def test_capped_mean_is_the_integral(text: str, cap: float) -> None:
    """The closed form of a capped mean agrees with the numerical integral of 1 - cdf."""
    delay = read(text)
    assert delay.capped_mean(cap) == pytest.approx(integrated(delay, cap, 1000), abs=cap / 1000 + 1e-12)


@given(delays(tame), st.floats(0, 1e6))
def test_capped_mean_is_bounded(delay: Distribution, cap: float) -> None:
    """The capped mean exceeds neither the mean nor the cap."""
    assert 0 <= delay.capped_mean(cap) <= min(delay.mean(), cap) * (1 + 1e-9) + 1e-9
    assert delay.capped_mean(math.inf) == pytest.approx(delay.mean())


@given(delays(tame), shares)
def test_quantile_reaches_its_share(delay: Distribution, p: float) -> None:
    """The cdf reaches p at the quantile of p, and not before."""
    x = delay.quantile(p)
    assert delay.cdf(x * (1 + 1e-12)) >= p - 1e-9
    assert delay.cdf(math.nextafter(x * (1 - 1e-12), -1)) <= p + 1e-9


@given(delays(tame), tame)
def test_quantile_inverts_the_cdf(delay: Distribution, x: float) -> None:
    """The quantile is the smallest value with its share."""
    p = delay.cdf(x)
    if 1e-6 < p < 1 - 1e-6:
        assert delay.quantile(p - 1e-9) <= x * (1 + 1e-9)


@given(delays(tame), shares, shares)
def test_quantiles_rise(delay: Distribution, p: float, q: float) -> None:
    """A larger share never has a smaller quantile."""
    low, high = sorted((p, q))
    assert delay.quantile(low) <= delay.quantile(high) * (1 + 1e-12)


@given(delays(tame), tame, tame)
def test_cdf_rises(delay: Distribution, x: float, y: float) -> None:
    """The cdf rises from 0 to 1."""
    low, high = sorted((x, y))
    assert 0 <= delay.cdf(low) <= delay.cdf(high) + 1e-12 <= 1 + 1e-12


@given(delays(tame))
def test_ends(delay: Distribution) -> None:
    """The quantiles of 0 and 1 are the ends of the range."""
    assert delay.quantile(0) == delay.least <= delay.most == delay.quantile(1)
    assert delay.cdf(math.nextafter(delay.least, -1)) == 0
    assert delay.cdf(delay.most) == 1


@given(delays(tame), st.sampled_from([2.0**-53, 0.5, 1 - 2.0**-53]))
def test_extreme_uniforms(delay: Distribution, u: float) -> None:
    """A draw is finite and within its range even when the random number is extreme."""
    seconds = delay.draw(repeat(u), 1)
    assert delay.least <= seconds <= delay.most
    assert math.isfinite(seconds)


@given(delays(tame))
def test_hashable(delay: Distribution) -> None:
    """Equal delays have the same hash, so that a cache can hold them."""
    assert hash(delay) == hash(parse(str(delay), TRACES))


def test_a_limit_cuts_and_says_so() -> None:
    """A draw is cut and reported when it is above the limit in a mix."""
    delay = read("mix(50%:1s,50%:exponential(1s,max=2s))")
    assert delay.sample(iter([0.9, 0.5]), 1) == (-math.log1p(-0.5), False)
    assert delay.sample(iter([0.9, 0.99]), 1) == (2.0, True)
    assert delay.sample(iter([0.1]), 1) == (1.0, False)
    assert read("exponential(1s,max=2s)").quantile(0.5) == read("exponential(1s)").quantile(0.5)


@given(delays(tame), tame)
def test_share_below(delay: Distribution, x: float) -> None:
    """The share below a delay is the cdf just before that delay."""
    assert delay.below(x) == pytest.approx(delay.cdf(math.nextafter(x, 0)), abs=1e-6)


def test_replay_goes_by_the_number_of_the_request() -> None:
    """A replayed trace gives the n-th request the n-th value, in a cycle."""
    delay = read("trace(checkout,replay)")
    nothing = iter(())
    assert [delay.draw(nothing, n) for n in (1, 5, 2, 6, 11)] == [0.25, 2.0, 0.05, 0.25, 0.25]


def test_replay_in_a_mix() -> None:
    """A replayed trace counts requests, not draws, when it is inside a mix."""
    assert read("mix(50%:1s,50%:trace(checkout,replay))").draw(iter([0.7]), 5) == 2.0


def test_fixed_takes_no_uniform() -> None:
    """A fixed delay takes no random number."""
    assert read("250ms").draw(iter(()), 1) == 0.25


def test_mix_takes_one_uniform_to_choose() -> None:
    """A tree of mixes chooses its leaf with one number, and draws with the next."""
    delay = read("mix(50%:mix(50%:1s,50%:2s..4s),50%:8s)")
    assert delay.draw(iter([0.3, 0.5]), 1) == 3.0


def test_mix_forgives_rounding() -> None:
    """Weights are scaled to a sum of 1 when their sum is almost 1."""
    delay = read("mix(33.3333%:1s,33.3333%:2s,33.3333%:3s)")
    assert isinstance(delay, Mix)
    assert sum(weight for weight, _ in delay.leaves) == pytest.approx(1, abs=1e-15)
    assert delay.draw(iter([1 - 2.0**-53]), 1) == 3.0
    assert delay.cdf(3.0) == 1.0


def test_quantile_of_a_mix_takes_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quantile takes at most 64 looks at the cdf when the tail is heavy."""
    delay = read("mix(99%:1s..3s,1%:pareto(min=277777h,alpha=0.1))")
    looks: list[float] = []

    def looked(pareto: Pareto, x: float) -> float:
        looks.append(x)
        return 1 - (pareto.least / x) ** pareto.alpha if x > pareto.least else 0.0

    monkeypatch.setattr(Pareto, "cdf", looked)
    assert delay.quantile(0.98) == pytest.approx(1 + 2 * 0.98 / 0.99)
    assert 0 < len(looks) <= 64


def test_weightless_branch() -> None:
    """A branch of weight 0 is not drawn, but stays in the text."""
    delay = read("mix(0%:1s,100%:2s..3s)")
    assert (delay.least, delay.most, str(delay)) == (2.0, 3.0, "mix(0%:1s,100%:2s..3s)")


def test_big_trace() -> None:
    """Quantile and cdf of a trace agree exactly at each of a thousand values."""
    delay = parse("trace(big)", {"big": Trace("big", tuple(map(float, range(1000))))})
    assert all(delay.quantile(delay.cdf(float(x))) == x for x in range(1000))


def test_p99_gives_sigma() -> None:
    """A p99 defines sigma: the logarithm of p99 / median, over the normal quantile of 0.99."""
    delay = read("lognormal(median=1s,p99=4s)")
    assert isinstance(delay, Lognormal)
    assert delay.sigma == pytest.approx(math.log(4) / 2.3263478740408408)
