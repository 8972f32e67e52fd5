"""The figures of all workers in Prometheus' text format, version 0.0.4.

The service writes the format by itself: a client library takes longer to import than a first scrape may wait. The page
at `/metrics` imports this module, and nothing else does.
"""

import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate, compress, product
from math import inf
from typing import Final

from latebin.telemetry.counters import SharedCounters
from latebin.telemetry.metrics import BUCKETS, BY_STATUS, COUNTERS, GAUGES, HISTOGRAMS, START, STATUSES, Family

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_PLAIN_DIGITS: Final = 6
"""Digits before the point of the largest numbers that are written without an exponent, as Go writes them."""


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
"""The labels of `latebin_build_info`; neither these nor any other values need an escape."""


def expose(counters: SharedCounters) -> bytes:
    """Render the figures of all workers."""
    return "".join(_lines(counters)).encode("ascii")


def _lines(counters: SharedCounters) -> Iterator[str]:
    for family in BY_STATUS:
        yield _head(f"{family.name}_total", family.text, "counter")
        yield from _by_status(family, counters)
    for family in COUNTERS:
        yield _head(f"{family.name}_total", family.text, "counter")
        yield from _values(f"{family.name}_total", family, counters)
    for family in HISTOGRAMS:
        yield _head(family.name, family.text, "histogram")
        yield from _histogram(family, counters)
    for family in GAUGES:
        yield _head(family.name, family.text, "gauge")
        yield from _values(family.name, family, counters)
    yield _head("latebin_build_info", "The versions that run.", "gauge")
    yield _sample("latebin_build_info", BUILD.items(), 1.0)


def _by_status(family: Family, counters: SharedCounters) -> Iterator[str]:
    """Leave out the statuses that no answer had: their zeros would be 10,000 lines."""
    for labels, counts in _cells(family, counters):
        for status, count in compress(zip(STATUSES, counts, strict=True), counts):
            yield _sample(f"{family.name}_total", [*labels, ("status", status)], count)


def _values(name: str, family: Family, counters: SharedCounters) -> Iterator[str]:
    for labels, [value] in _cells(family, counters):
        if value or family.zeros:
            yield _sample(name, labels, value)


def _histogram(family: Family, counters: SharedCounters) -> Iterator[str]:
    for labels, [*counts, total] in _cells(family, counters):
        up_to = list(accumulate(counts))
        for bound, count in zip(BUCKETS, up_to, strict=True):
            yield _sample(f"{family.name}_bucket", [*labels, ("le", _number(bound))], count)
        yield _sample(f"{family.name}_count", labels, up_to[-1])
        yield _sample(f"{family.name}_sum", labels, total)


def _cells(family: Family, counters: SharedCounters) -> Iterator[tuple[list[tuple[str, str]], Sequence[float]]]:
    """Add up the cells of each combination of labels."""
    start = START[family.name]
    for values in product(*family.labels.values()):
        yield list(zip(family.labels, values, strict=True)), counters.total(start, start + family.depth)
        start += family.depth


def _head(name: str, text: str, kind: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _sample(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    written = ",".join(f'{label}="{text}"' for label, text in sorted(labels))
    return f"{name}{{{written}}} {_number(value)}\n" if written else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    """Write a number as Prometheus' own clients do, with an exponent from a million on."""
    if value == inf:
        return "+Inf"
    text = repr(float(value))
    whole, point, fraction = text.partition(".")
    if value < 0 or not point or len(whole) <= _PLAIN_DIGITS:
        return text
    digits = f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0").rstrip(".")
    return f"{digits}e+{len(whole) - 1:02}"
