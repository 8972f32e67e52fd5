"""Hypothesis strategies for delays, and the traces that the delays name."""

from hypothesis import strategies as st

from latebin.core.language.distributions import (
    Distribution,
    Exponential,
    Fixed,
    Limited,
    Lognormal,
    Mix,
    Normal,
    Pareto,
    Percentiles,
    Recorded,
    Uniform,
)
from latebin.core.language.grammar import ALPHAS, LONGEST, SIGMAS
from latebin.core.language.trace import Trace

TRACES = {
    "checkout": Trace("checkout", (0.25, 0.05, 0.1, 0.05, 2.0)),
    "a-1.b_c": Trace("a-1.b_c", (1.0,)),
}

tame = st.integers(1, 100_000).map(lambda milliseconds: milliseconds / 1000)
"""Durations from 1 ms to 100 s, far enough apart that rounding decides no test."""

wild = st.floats(min_value=1e-12, max_value=LONGEST)
"""Durations with all the digits that a float can have, from 1 ps to the longest."""


def delays(durations: st.SearchStrategy[float]) -> st.SearchStrategy[Distribution]:
    """Return a strategy for every kind of delay.

    Args:
        durations: a strategy for the durations in a delay, all above 0.
    """
    simple = _simple(durations)
    return st.recursive(simple | _limited(simple, durations), _mixes, max_leaves=8)


def _limited(
    inner: st.SearchStrategy[Distribution], limits: st.SearchStrategy[float]
) -> st.SearchStrategy[Distribution]:
    forms = inner.filter(lambda delay: not isinstance(delay, Fixed))
    return st.builds(Limited, forms, limits).filter(lambda limited: limited.delay.cdf(limited.limit) > 0)


def _simple(durations: st.SearchStrategy[float]) -> st.SearchStrategy[Distribution]:
    return st.one_of(
        (durations | st.just(0.0)).map(Fixed),
        _ascending(durations, 2).map(lambda ends: Uniform(*ends)),
        st.builds(Normal, durations | st.just(0.0), durations),
        durations.map(Exponential),
        st.builds(Lognormal, durations, st.floats(*SIGMAS)),
        _ascending(durations, 2)
        .map(lambda ends: Lognormal.through(*ends))
        .filter(lambda delay: SIGMAS[0] <= delay.sigma <= SIGMAS[1]),
        st.builds(Pareto, durations, st.floats(*ALPHAS)),
        st.integers(1, 5).flatmap(lambda size: st.builds(Percentiles, _shares(size), _ascending(durations, size))),
        st.builds(Recorded, st.sampled_from(list(TRACES.values())), st.booleans()),
    )


def _ascending(durations: st.SearchStrategy[float], size: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.lists(durations, min_size=size, max_size=size).map(lambda some: tuple(sorted(some)))


def _shares(size: int) -> st.SearchStrategy[tuple[float, ...]]:
    tenths_of_percent = st.lists(st.integers(0, 1000), min_size=size, max_size=size, unique=True)
    return tenths_of_percent.map(lambda some: tuple(sorted(tenths / 1000 for tenths in some)))


def _mixes(inner: st.SearchStrategy[Distribution]) -> st.SearchStrategy[Distribution]:
    return st.lists(st.tuples(st.integers(0, 100), inner), min_size=1, max_size=4).filter(_some_weight).map(_mix)


def _some_weight(parts: list[tuple[int, Distribution]]) -> bool:
    return any(weight for weight, _ in parts)


def _mix(parts: list[tuple[int, Distribution]]) -> Mix:
    total = sum(weight for weight, _ in parts)
    return Mix(tuple((weight / total, delay) for weight, delay in parts))
