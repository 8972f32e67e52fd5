"""The figures of all workers in Prometheus' text format.

Only the page at `/metrics` imports this module: a service without scrapes has no use for prometheus-client.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from latebin.state.interfaces import PoolStatus
from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.metrics import (
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

OPENMETRICS_TYPE: Final = openmetrics.CONTENT_TYPE_LATEST.encode("ascii")

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


def expose(registry: CollectorRegistry) -> bytes:
    """Render the figures in text format 0.0.4."""
    return generate_latest(registry)


def expose_openmetrics(registry: CollectorRegistry) -> bytes:
    """Render the figures in OpenMetrics 1.0.0."""
    return cast("bytes", openmetrics.generate_latest(registry))


def registry(counters: SharedCounters, pools: Iterable[PoolStatus] = (), *, state: bool = False) -> CollectorRegistry:
    """Make the registry of the figures of all workers and of the pools.

    Args:
        counters: the counters of all workers.
        pools: the pools.
        state: whether the figures of a state in Redis are among them.
    """
    made = CollectorRegistry()
    made.register(_AllWorkers(counters, _by_name(pools), state))
    return made


def _by_name(pools: Iterable[PoolStatus]) -> Mapping[str, tuple[int, int]]:
    """Add up the pools above MOST_POOLS: their names are a caller's."""
    found: dict[str, tuple[int, int]] = {}
    for each in sorted(pools, key=lambda pool: pool.name):
        name = each.name if len(found) < MOST_POOLS else "other"
        busy, waiting = found.get(name, (0, 0))
        found[name] = busy + each.busy, waiting + each.waiting
    return found


@attrs.frozen(eq=False)
class _AllWorkers(Collector):
    """The sums over all workers, as prometheus-client collects them."""

    _counters: SharedCounters
    _pools: Mapping[str, tuple[int, int]]
    _state: bool

    def collect(self) -> Iterator[Metric]:
        for family in BY_STATUS:
            yield self._by_status(family)
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

    def _by_status(self, family: Family) -> Metric:
        """Leave out the statuses that no answer had: their zeros would be 10,000 lines."""
        metric = CounterMetricFamily(family.name, family.text, labels=[*family.labels, "status"])
        for labelled, counts in self._cells(family):
            for status, count in compress(zip(STATUSES, counts, strict=True), counts):
                metric.add_metric([*labelled, status], count)
        return metric

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
