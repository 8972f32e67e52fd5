"""The summary of a journal."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.journal import NOISE_MS, Asked, End, Ended, Entry, grows, is_jittered, summary

ASKED = Asked(b"id", "klein", b"GET", b"/", at=0.0, accepted=0.0)

GAPS = st.lists(st.floats(20, 60_000), min_size=4, max_size=8)


def entry(ended: Ended | None, gap_ms: float | None = None, status: int | None = 200, after: float = 0.1) -> Entry:
    end = None if ended is None else End(ended, after, status)
    return Entry(ASKED, 0, gap_ms, 1, end=end)


def figures(entries: Sequence[Entry], *names: str) -> list[Any]:
    found = summary(entries)
    return [found[name] for name in names]


def test_nothing() -> None:
    """Every figure is None without requests."""
    found = summary([])
    assert found.pop("attempts") == 0
    assert set(found.values()) == {None}


@pytest.mark.parametrize(
    ("back_offs", "grown", "jittered"),
    [
        ([], None, None),
        ([100], None, None),
        ([100, 100], False, None),
        ([100, 200], True, None),
        ([0.1, 0.4], False, None),
        ([100, 100, 100], False, False),
        ([100, 200, 300, 400], True, False),
        ([100, 200, 400, 800], True, False),
        ([0.3, 200, 400, 800], True, False),
        ([100, 200, 400, 500, 500, 500], True, False),
        ([100, 250, 260, 900], True, True),
        ([300, 100, 250], False, True),
        ([0.2, 0.3, 0.2], False, None),
    ],
)
def test_back_offs(back_offs: list[float], grown: object, jittered: object) -> None:
    """Back-offs grow or are jittered as they are defined."""
    assert (grows(back_offs), is_jittered(back_offs)) == (grown, jittered)


@given(st.floats(20, 1000), st.floats(1.6, 4), st.integers(3, 7), st.data())
def test_noise(first: float, factor: float, count: int, data: st.DataObject) -> None:
    """Exponential back-offs grow without jitter, also when each is some milliseconds late."""
    late = st.floats(0, NOISE_MS / 8)
    back_offs = [first * factor**step + data.draw(late) for step in range(count)]
    assert grows(back_offs) is True
    # The noise of three back-offs adds up: c - b * b / a is off by (factor + 1) ** 2 times that of one.
    if (factor + 1) ** 2 < 8:
        assert is_jittered(back_offs) is False


@given(GAPS, st.floats(1, 100))
def test_gaps(gaps: list[float], think: float) -> None:
    """The gap behind a success is a gap, and no back-off."""
    entries = [entry("answered", None, 503), *(entry("answered", gap, 503) for gap in gaps[1:]), entry("left", gaps[0])]
    entries.append(entry("answered", think))
    again = [*entries, entry("answered", think, 503), entry("answered", think, 200)]
    assert figures(again, "attempts", "least_gap_ms", "greatest_gap_ms") == [
        len(again),
        min(think, *gaps),
        max(think, *gaps),
    ]
    names = "backoff_grows", "backoff_jittered"
    assert figures(again, *names) == figures(entries, *names)


def test_series() -> None:
    """A request that overlaps the one before ends a series of back-offs."""
    failed = [entry("answered", gap, 503) for gap in (None, 100, 200, None, 100)]
    assert figures(failed, "backoff_grows", "median_gap_ms") == [True, 100]
    assert figures([*failed, entry(None, None), entry("answered", 5, 503)], "backoff_grows", "attempts") == [True, 7]


@pytest.mark.parametrize(
    ("left", "timeout"),
    [([], None), ([0.1], 100.0), ([0.1, 0.103, 0.104], 103.0), ([0.1, 0.1, 0.9], 100.0), ([0.1, 0.9], None)],
)
def test_timeout(left: list[float], timeout: float | None) -> None:
    """A client seems to have a timeout if half of the times are the same."""
    entries = [entry("answered"), *(entry("reset", after=after) for after in left)]
    assert figures(entries, "timeout_ms") == [timeout]
