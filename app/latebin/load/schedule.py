"""The planned time of each request of a load run."""

from math import ceil, isfinite
from typing import Final

import attrs

MAX_DELAY: Final = 600.0
"""The longest delay of a run, in seconds."""

MAX_DURATION: Final = 600.0
"""The longest warm-up and the longest measured part of a run, in seconds: a forgotten run must end by itself."""

MAX_REQUESTS: Final = 2_000_000
"""The most requests of one run."""

_TOLERANCE: Final = 1e-6
"""The relative difference that rate x delay may have from pending: for rounded numbers on a command line."""


class RunError(ValueError):
    """A run that is not possible; raised before the first request."""


@attrs.frozen(kw_only=True)
class Schedule:
    """Requests at even intervals, independent of the server.

    For the first `delay` seconds requests fill the server, and no answer is due. The answers of the next `warm_up`
    seconds do not count; those of the `duration` seconds after that do. Requests continue until the last of them is
    due, so that each answer that counts is due under the full load.

    With a fixed schedule a late server cannot slow the sender down and so hide its lateness. Gil Tene calls that
    coordinated omission ("How NOT to Measure Latency", 2013).

    Attributes:
        rate: requests per second.
        delay: the expected delay of every answer, in seconds.
        duration: the time in which the answers that count are due, in seconds.
        warm_up: the time before it, in which answers are due that do not count, in seconds.
    """

    rate: float
    delay: float
    duration: float = 10.0
    warm_up: float = 1.0

    @property
    def pending(self) -> float:
        """The number of answers pending at once if all are punctual (Little's law)."""
        return self.rate * self.delay

    @property
    def plateau(self) -> float:
        """When the first answer that counts is due, in seconds after the first request."""
        return self.delay + self.warm_up

    @property
    def span(self) -> float:
        """The time in which requests are sent, in seconds."""
        return self.plateau + self.duration

    @property
    def count(self) -> int:
        """The number of requests: those planned before `span`."""
        return self._planned_before(self.span)

    @property
    def measured(self) -> range:
        """The numbers of the requests whose answers count."""
        return range(self._planned_before(self.warm_up), self._planned_before(self.warm_up + self.duration))

    def planned(self, number: int) -> float:
        """Return the planned time of a request.

        Args:
            number: of the request, from 0.

        Returns:
            Seconds after the first request.
        """
        return number / self.rate

    def _planned_before(self, moment: float) -> int:
        # The float product alone is too great at times: 0.07 * 100 is 7.000000000000001: 8 requests, not 7.
        nearest = round(moment * self.rate)
        return nearest if self.planned(nearest) == moment else ceil(moment * self.rate)


def make_schedule(
    *,
    pending: float | None = None,
    rate: float | None = None,
    delay: float | None = None,
    duration: float = 10.0,
    warm_up: float = 1.0,
) -> Schedule:
    """Make a schedule from two of pending, rate and delay.

    Args:
        pending: the number of answers pending at once in the steady state.
        rate: requests per second.
        delay: in seconds.
        duration: as in Schedule, in seconds.
        warm_up: as in Schedule, in seconds.

    Returns:
        A schedule within every limit of this module.

    Raises:
        RunError: fewer than two are given, all three are given but contradict one another, or one is out of its limits.
    """
    numbers = {"pending": pending, "rate": rate, "delay": delay, "duration": duration, "warm_up": warm_up}
    for name, number in numbers.items():
        if number is not None and not (isfinite(number) and number >= 0):
            raise RunError(f"{name} is {number:g}; it must be finite and not negative")
    if rate == 0:
        raise RunError("rate is 0; it must be above 0")
    if rate is not None and delay is not None:
        product = rate * delay
        if pending is not None and abs(pending - product) > _TOLERANCE * max(pending, product):
            raise RunError(
                f"{pending:g} pending does not agree with {rate:g}/s x {delay:g} s = {product:g} pending; leave one out"
            )
    elif rate is not None and pending is not None:
        delay = pending / rate
    elif delay and pending:
        rate = pending / delay
    else:
        raise RunError("give two of pending, rate and delay: the third follows, as pending = rate x delay")
    schedule = Schedule(rate=rate, delay=delay, duration=duration, warm_up=warm_up)
    _check_limits(schedule)
    return schedule


def _check_limits(schedule: Schedule) -> None:
    limits = (
        ("delay", schedule.delay, MAX_DELAY, " s"),
        ("duration", schedule.duration, MAX_DURATION, " s"),
        ("warm_up", schedule.warm_up, MAX_DURATION, " s"),
        ("number of requests", schedule.span * schedule.rate, MAX_REQUESTS, ""),
    )
    for name, number, most, unit in limits:
        if number > most:
            raise RunError(f"{name} is {number:g}{unit}; it may be at most {most:,.0f}{unit}")
    if not schedule.measured:
        raise RunError(f"a duration of {schedule.duration:g} s at {schedule.rate:g}/s has no request to measure")
