"""The figures of all workers in Prometheus' text format.

Only the page at `/metrics` imports this module: a service without scrapes has no use for prometheus-client.
"""

import platform
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate, compress, product
from typing import Final, cast

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from latebin.state.interfaces import PoolStatus
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.families import (
    BUCKETS,
    BY_STATUS,
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    MOST_POOLS,
    POOLS,
    START,
    STATUSES,
    Family,
)

OPENMETRICS_TYPE: Final = openmetrics_exposition.CONTENT_TYPE_LATEST.encode("ascii")

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4.encode("ascii")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"  # the package runs from its sources and was never installed


BUILD: Final = {
    "version": _version("latebin"),
    "python": platform.python_version(),
    **{name: _version(name) for name in ("twisted", "klein")},
}
"""The labels of `latebin_build_info`."""


SAMPLES: Final = 50
"""Lines that are rendered as one piece of work, in less than a millisecond."""


def rendering(
    counters: SharedCounters,
    pools: Iterable[PoolStatus] = (),
    *,
    openmetrics: bool = False,
    state: bool = False,
) -> Generator[None, None, bytes]:
    """Render the figures of all workers and of the pools.

    Args:
        counters: those of all workers.
        pools: the pools.
        openmetrics: whether to use OpenMetrics 1.0.0 instead of text format 0.0.4.
        state: whether the figures of a state in Redis are among them.

    Yields:
        After each piece of the work: there is a line for each status of each method that was ever answered.

    Returns:
        The page.
    """
    generate = _generate_openmetrics if openmetrics else generate_latest
    part, rendered, lines, before = _Part(), [], 0, ""
    registry = CollectorRegistry()
    registry.register(part)
    for part.metric in _AllWorkers(counters, _by_name(pools), state).parts():
        lines += 1 + len(part.metric.samples)
        if lines > SAMPLES:
            lines = 0
            yield
        text = generate(registry).removesuffix(_END)
        # A further part of a family comes with two lines about the family again.
        rendered.append(text.split(b"\n", 2)[2] if part.metric.name == before else text)
        before = part.metric.name
    return b"".join((*rendered, _END if openmetrics else b""))


_END: Final = b"# EOF\n"


def _generate_openmetrics(registry: CollectorRegistry) -> bytes:
    return cast("bytes", openmetrics_exposition.generate_latest(registry))


def _by_name(pools: Iterable[PoolStatus]) -> Mapping[str, tuple[int, int]]:
    """Add up the pools above MOST_POOLS: their names are a caller's."""
    found: dict[str, tuple[int, int]] = {}
    for each in sorted(pools, key=lambda pool: pool.name):
        name = each.name if len(found) < MOST_POOLS else "other"
        busy, waiting = found.get(name, (0, 0))
        found[name] = busy + each.busy, waiting + each.waiting
    return found


@attrs.define(eq=False)
class _Part(Collector):
    """A part of the page, as prometheus-client collects it."""

    metric: Metric = attrs.field(init=False)

    def collect(self) -> Iterator[Metric]:
        yield self.metric


@attrs.frozen(eq=False)
class _AllWorkers:
    """The sums over all workers."""

    _counters: SharedCounters
    _pools: Mapping[str, tuple[int, int]]
    _state: bool

    def parts(self) -> Iterator[Metric]:
        """Give the families in their order; a large one comes in several parts."""
        for family in BY_STATUS:
            yield from self._by_status(family)
        for family in self._exposed(COUNTERS):
            yield self._filled(CounterMetricFamily(family.name, family.text, labels=list(family.labels)), family)
        for family in self._exposed(HISTOGRAMS):
            yield self._histogram(family)
        for family in self._exposed(GAUGES):
            yield self._filled(GaugeMetricFamily(family.name, family.text, labels=list(family.labels)), family)
        for figure, family in enumerate(POOLS):
            metric = GaugeMetricFamily(family.name, family.text, labels=list(family.labels))
            for name, figures in self._pools.items():
                metric.add_metric([name], figures[figure])
            yield metric
        yield InfoMetricFamily("latebin_build", "The versions that run.", BUILD)

    def _exposed(self, families: Iterable[Family]) -> Iterator[Family]:
        return (family for family in families if self._state or not family.state)

    def _by_status(self, family: Family) -> Iterator[Metric]:
        """Leave out the statuses that no answer had: their zeros would be 10,000 lines."""
        names = [*family.labels, "status"]
        metric = CounterMetricFamily(family.name, family.text, labels=names)
        for labelled, counts in self._cells(family):
            # Nearly all stretches are zeros, which are found sooner alone than with their statuses.
            if not any(counts):
                continue
            for status, count in compress(zip(STATUSES, counts, strict=True), counts):
                if len(metric.samples) == SAMPLES:
                    yield metric
                    metric = CounterMetricFamily(family.name, family.text, labels=names)
                metric.add_metric([*labelled, status], count)
        yield metric

    def _filled(self, metric: CounterMetricFamily | GaugeMetricFamily, family: Family) -> Metric:
        for labelled, [value] in self._cells(family):
            if value or family.zeros:
                metric.add_metric(labelled, value)
        return metric

    def _histogram(self, family: Family) -> Metric:
        metric = HistogramMetricFamily(family.name, family.text, labels=list(family.labels))
        for labelled, [*counts, total] in self._cells(family):
            buckets = zip(map(floatToGoString, BUCKETS), accumulate(counts), strict=True)
            metric.add_metric(labelled, list(buckets), total)
        return metric

    def _cells(self, family: Family) -> Iterator[tuple[tuple[str, ...], Sequence[float]]]:
        """Give the cells of each combination of labels."""
        at = START[family.name]
        starts = range(at, at + family.width, family.depth)
        for labelled, start in zip(product(*family.labels.values()), starts, strict=True):
            yield labelled, self._counters.total(start, start + family.depth)
