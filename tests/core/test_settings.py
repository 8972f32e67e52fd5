from collections.abc import Callable
from functools import partial

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


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (partial(Settings, header_timeout=0.0), "the timeout of headers is 0s: each request"),
        (partial(Settings, body_timeout=0.0), "the timeout of bodies is 0s: each body"),
        (partial(Settings, max_unread=0), "no byte may be unread: each answer"),
        (partial(Settings, state_lifetime=0.0), "the lifetime of the state is 0s: each key"),
        (partial(Settings, upstream_timeout=0.0), "the timeout of upstreams is 0s: every request"),
    ],
)
def test_no_time(settings: Callable[[], Settings], reason: str) -> None:
    """A setting of 0 is refused with its effect when nothing would work."""
    with pytest.raises(ValueError, match=reason):
        settings()
