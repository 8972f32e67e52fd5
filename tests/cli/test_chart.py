import pytest

from latebin.cli.chart import WIDTH, duration, histogram, percentage
from latebin.core.language.grammar import parse
from latebin.core.language.prediction import predict


@pytest.mark.parametrize(
    ("share", "written"),
    [(0, "0.00%"), (-1e-17, "0.00%"), (1e-9, "<0.01%"), (0.0001, "0.01%"), (0.5, "50.00%"), (1, "100.00%")],
)
def test_percentage(share: float, written: str) -> None:
    """A share has two places, and one that is not nothing is never written as nothing."""
    assert percentage(share) == written


@pytest.mark.parametrize(("seconds", "written"), [(0, "0s"), (0.0123456, "12.3ms"), (3661, "1h1m"), (90.04, "1m30s")])
def test_duration(seconds: float, written: str) -> None:
    """A duration has three digits."""
    assert duration(seconds) == written


def test_rare_is_seen() -> None:
    """A bin that holds next to nothing has a bar, and one that holds nothing has none."""
    table = histogram(predict(parse("mix(99.9999%:1s,0.0001%:2s)", {}), None, 600, 3), "#")
    assert list(table.columns[2].cells) == ["#" * WIDTH, "", "#"]
