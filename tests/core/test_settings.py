import pytest

from latebin.core.settings import Settings


def test_default_delay_above_the_longest() -> None:
    """A default delay is refused when it is above the longest delay."""
    with pytest.raises(ValueError, match="1m30s, is above the longest, 1m"):
        Settings(default_delay=90, max_delay=60)


def test_log_format() -> None:
    """An unknown log format is refused."""
    with pytest.raises(ValueError, match="log_format"):
        Settings(log_format="xml")
