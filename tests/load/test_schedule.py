"""Properties of a schedule for any rate, delay and duration."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.load.schedule import MAX_DELAY, MAX_DURATION, MAX_REQUESTS, RunError, Schedule, make_schedule

rates = st.floats(0.5, 5000)
delays = st.floats(0, 60)
lengths = st.floats(3, 60)
# Half of the least float that is above zero is zero.
warm_ups = st.floats(0, 10, allow_subnormal=False)


@given(rate=rates, delay=st.floats(0.001, 60), duration=lengths)
def test_any_two_of_pending_rate_and_delay_give_the_third(rate: float, delay: float, duration: float) -> None:
    """`make_schedule` returns the same schedule when any two of its numbers are given."""
    pending = rate * delay
    schedules = (
        make_schedule(rate=rate, delay=delay, duration=duration),
        make_schedule(rate=rate, pending=pending, duration=duration),
        make_schedule(pending=pending, delay=delay, duration=duration),
        make_schedule(pending=pending, rate=rate, delay=delay, duration=duration),
    )
    for schedule in schedules:
        assert math.isclose(schedule.rate, rate)
        assert math.isclose(schedule.delay, delay)
        assert math.isclose(schedule.pending, pending)


@given(rate=rates, delay=delays, duration=lengths, warm_up=warm_ups)
def test_requests_are_planned_for_the_whole_span_and_not_beyond(
    rate: float, delay: float, duration: float, warm_up: float
) -> None:
    """The last request is before the end of the span; a further one is not."""
    schedule = Schedule(rate=rate, delay=delay, duration=duration, warm_up=warm_up)
    assert schedule.planned(0) == 0
    assert schedule.planned(schedule.count - 1) < schedule.span
    assert schedule.planned(schedule.count) >= schedule.span * (1 - 1e-12)


@given(rate=rates, delay=delays, duration=lengths, warm_up=warm_ups)
def test_measured_answers_are_due_while_the_server_is_full(
    rate: float, delay: float, duration: float, warm_up: float
) -> None:
    """The measured answers are due after the warm-up and before the last request."""
    schedule = Schedule(rate=rate, delay=delay, duration=duration, warm_up=warm_up)
    due = [schedule.planned(schedule.measured[index]) + delay for index in (0, -1)]
    assert due[0] >= schedule.plateau * (1 - 1e-12)
    assert due[1] < schedule.span * (1 + 1e-12)
    assert schedule.measured[-1] < schedule.count


@given(rate=rates, number=st.integers(0, MAX_REQUESTS))
def test_requests_are_evenly_spaced(rate: float, number: int) -> None:
    """Each request is one period after the one before it, without drift."""
    schedule = Schedule(rate=rate, delay=1)
    assert math.isclose(schedule.planned(number + 1) - schedule.planned(number), 1 / rate, rel_tol=1e-5)


def test_ten_thousand_pending() -> None:
    """`make_schedule` returns 2,000 requests per second when 10,000 answers of 5 s are pending."""
    schedule = make_schedule(pending=10_000, delay=5)
    assert schedule.rate == 2000
    assert schedule.count == 32_000
    assert schedule.measured == range(2000, 22_000)


def test_without_a_delay_nothing_is_pending() -> None:
    """A schedule has no pending answers when the delay is 0."""
    assert make_schedule(rate=100, delay=0).pending == 0


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, "give two"),
        ({"rate": 5.0}, "give two"),
        ({"pending": 5.0}, "give two"),
        ({"pending": 5.0, "delay": 0.0}, "give two"),
        ({"pending": 10.0, "rate": 1.0, "delay": 5.0}, "10 pending does not agree with 1/s x 5 s = 5 pending"),
        ({"rate": 0.0, "delay": 1.0}, "rate is 0"),
        ({"rate": -1.0, "delay": 1.0}, "rate is -1"),
        ({"rate": math.nan, "delay": 1.0}, "rate is nan"),
        ({"rate": 1.0, "delay": math.inf}, "delay is inf"),
        ({"rate": 1.0, "delay": MAX_DELAY + 1}, "delay is 601 s; it may be at most 600 s"),
        ({"rate": 1.0, "delay": 1.0, "duration": MAX_DURATION + 1}, "duration is 601 s"),
        ({"rate": 1.0, "delay": 1.0, "warm_up": MAX_DURATION + 1}, "warm_up is 601 s"),
        ({"rate": 1e6, "delay": 1.0}, "number of requests is 1.2e"),
        ({"rate": 1.0, "delay": 1.0, "duration": 0.0}, "a duration of 0 s at 1/s has no request to measure"),
    ],
)
def test_an_impossible_schedule_is_refused(figures: dict[str, float], words: str) -> None:
    """`make_schedule` raises RunError with the number when it is out of its limits."""
    with pytest.raises(RunError, match=words.replace("+", r"\+")):
        make_schedule(**figures)
