"""When each request of a measured run is to be sent, decided before the first one is."""

from math import ceil, isfinite
from typing import Final

import attrs

MAX_DELAY: Final = 600.0
"""The longest delay that a run can ask for, in seconds."""

MAX_DURATION: Final = 600.0
"""The longest measured part of a run, in seconds: a load generator that is forgotten must end by itself."""

MAX_REQUESTS: Final = 2_000_000
"""The most requests that one run sends."""

_TOLERANCE: Final = 1e-6
"""How far three given figures may disagree, relatively: rounding in what a person types, and no more."""


class RunError(ValueError):
    """A run that cannot be, told before anything is sent."""


@attrs.frozen(kw_only=True)
class Schedule:
    """Requests evenly spaced in time, whatever the server does.

    The first `delay` seconds fill the server up: nothing is due yet. Then `warm_up` seconds of answers are due that are
    left out of the figures, and then `duration` seconds of answers that are in them. Requests go on being sent until
    the last of these is due, so that every answer in the figures is due while the server is full and being sent to.

    A fixed plan is what keeps a late server from hiding its lateness by slowing the sender down: Gil Tene, "How NOT to
    measure latency" (2013), calls that coordinated omission.

    Attributes:
        rate: requests per second.
        delay: the delay that every answer is expected to have, in seconds.
        duration: for how long answers are due that count in the figures, in seconds.
        warm_up: for how long answers are due before that, in seconds.
    """

    rate: float
    delay: float
    duration: float = 10.0
    warm_up: float = 1.0

    @property
    def pending(self) -> float:
        """How many answers are pending at once when all are punctual: Little's law, L = rate * delay."""
        return self.rate * self.delay

    @property
    def plateau(self) -> float:
        """From when answers count in the figures, in seconds after the first request."""
        return self.delay + self.warm_up

    @property
    def span(self) -> float:
        """For how long requests are sent, in seconds."""
        return self.plateau + self.duration

    @property
    def count(self) -> int:
        """How many requests are planned: those whose time is before `span`."""
        return self._planned_before(self.span)

    @property
    def measured(self) -> range:
        """The numbers of the requests whose answers count in the figures."""
        return range(self._planned_before(self.warm_up), self._planned_before(self.warm_up + self.duration))

    def planned(self, number: int) -> float:
        """Tell when a request is to be sent.

        Args:
            number: which request, from 0.

        Returns:
            Seconds after the first request.
        """
        return number / self.rate

    def _planned_before(self, moment: float) -> int:
        nearest = round(moment * self.rate)
        return nearest if self.planned(nearest) == moment else ceil(moment * self.rate)


def agree(
    *,
    pending: float | None = None,
    rate: float | None = None,
    delay: float | None = None,
    duration: float = 10.0,
    warm_up: float = 1.0,
) -> Schedule:
    """Make a schedule of any two of how many are pending, how many come per second and how long each waits.

    Args:
        pending: how many answers are pending at once in the steady state.
        rate: requests per second.
        delay: seconds.
        duration: as in Schedule, in seconds.
        warm_up: as in Schedule, in seconds.

    Returns:
        A schedule that keeps to every limit of this module.

    Raises:
        RunError: fewer than two are given, all three are and do not agree, or a limit is passed.
    """
    _refuse_senseless(pending=pending, rate=rate, delay=delay, duration=duration, warm_up=warm_up)
    if rate is not None and delay is not None:
        _refuse_disagreement(pending, rate, delay)
    elif rate is not None and pending is not None:
        delay = pending / rate
    elif delay and pending:
        rate = pending / delay
    else:
        raise RunError("give two of pending, rate and delay: the third follows, as pending = rate x delay")
    return _limited(Schedule(rate=rate, delay=delay, duration=duration, warm_up=warm_up))


def _refuse_senseless(**figures: float | None) -> None:
    for name, figure in figures.items():
        if figure is not None and not (isfinite(figure) and figure >= 0):
            raise RunError(f"{name} is {figure:g}; it must be finite and not negative")
    if figures["rate"] == 0:
        raise RunError("rate is 0; at least something must be sent")


def _refuse_disagreement(pending: float | None, rate: float, delay: float) -> None:
    product = rate * delay
    if pending is not None and abs(pending - product) > _TOLERANCE * max(pending, product):
        raise RunError(
            f"{pending:g} pending does not agree with {rate:g}/s x {delay:g} s = {product:g} pending; leave one out"
        )


def _limited(schedule: Schedule) -> Schedule:
    limits = (
        ("delay", schedule.delay, MAX_DELAY),
        ("duration", schedule.duration, MAX_DURATION),
        ("warm_up", schedule.warm_up, MAX_DURATION),
        ("number of requests", schedule.span * schedule.rate, MAX_REQUESTS),
    )
    for name, figure, most in limits:
        if figure > most:
            raise RunError(f"{name} is {figure:g}; it may be at most {most:g}")
    if not schedule.measured:
        raise RunError(f"{schedule.duration:g} s at {schedule.rate:g}/s leave no request to measure")
    return schedule
