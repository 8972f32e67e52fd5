"""The figures of `/metrics`."""

from prometheus_client.parser import text_string_to_metric_families

from latebin.testing.process import ServiceProcess
from tests.support.process import get
from tests.support.wire import House

Samples = dict[tuple[str, ...], float]
"""Values by the name of the sample and the values of its labels, in the order of the labels' names."""


def read(page: bytes) -> Samples:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def figures(house: House) -> Samples:
    return read(house.root.metrics.page().body)


def figures_of(process: ServiceProcess) -> Samples:
    return read(get(process.port, "/metrics")[1])


def pending(port: int) -> float:
    """Add up the answers that are pending in both styles."""
    return sum(value for key, value in read(get(port, "/metrics")[1]).items() if key[0] == "latebin_pending")
