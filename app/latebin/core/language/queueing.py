"""A simulation of M/G/k: requests that come at random, k servers, and one line.

The times between requests are exponential. The first in line is served first. A request that finds the line full is
refused, and comes back no more. With a seed, all figures are the same again.
"""

from collections import deque
from heapq import heapreplace
from math import log
from typing import Any, Final

import attrs

from latebin.core.language import draw
from latebin.core.language.distributions import Distribution

ARRIVALS: Final = 10_000
"""Requests whose figures count: one in a hundred of them is above the 99th percentile."""

WARM_UP: Final = 1_000
"""Requests before them, which find the line shorter than the later ones do."""

ALL: Final = WARM_UP + ARRIVALS
"""All requests of a run."""

PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@attrs.frozen
class Load:
    """The load of a pool of servers.

    Attributes:
        delay: the time of service.
        cap: seconds to which a longer time of service is cut.
        rate: requests in a second, on average.
        servers: the most requests in service at once.
        queue: the most requests in line; None for no limit.
        seed: the seed of the draws.
        timeout: the timeout of the clients in seconds; None if unknown.
    """

    delay: Distribution
    cap: float
    rate: float
    servers: int = 1
    queue: int | None = None
    seed: int = 0
    timeout: float | None = None


class Simulation:
    """One run of a simulation, in slices as large as the caller likes.

    Attributes:
        load: the load.
    """

    def __init__(self, load: Load) -> None:
        self.load = load
        self._between = draw.seeded("arrival", load.seed, str(load.delay), 1)
        self._service = draw.seeded("delay", load.seed, str(load.delay), 1)
        self._now = 0.0
        self._number = 0
        self._free = [0.0] * load.servers
        # When the service begins of those that were in line; never one before another.
        self._begins: deque[float] = deque()
        self._waited: list[float] = []
        self._took: list[float] = []

    def run(self, requests: int) -> bool:
        """Simulate some more requests; return whether these were the last."""
        load, begins = self.load, self._begins
        for _ in range(min(requests, ALL - self._number)):
            self._number += 1
            self._now -= log(next(self._between)) / load.rate
            service = min(load.delay.draw(self._service, self._number), load.cap)
            while begins and begins[0] <= self._now:
                begins.popleft()
            begin = max(self._now, self._free[0])
            if begin > self._now:
                if load.queue is not None and len(begins) >= load.queue:
                    continue
                begins.append(begin)
            heapreplace(self._free, begin + service)
            if self._number > WARM_UP:
                self._waited.append(begin - self._now)
                self._took.append(begin - self._now + service)
        return self._number == ALL

    def as_json(self) -> dict[str, Any]:
        """Return the figures of the whole run, as plain values for JSON."""
        load = self.load
        utilisation = load.rate * load.delay.capped_mean(load.cap) / load.servers
        late = None if load.timeout is None else sum(took >= load.timeout for took in self._took)
        return {
            "method": "a simulation of M/G/k, and not a computation",
            "requests": ARRIVALS,
            "seed": load.seed,
            "rate": load.rate,
            "servers": load.servers,
            "queue": load.queue,
            "utilisation": round(utilisation, 6),
            # Without a limit, the line of such a pool grows as long as requests come.
            "stable": utilisation < 1 or load.queue is not None,
            "refused": (ARRIVALS - len(self._took)) / ARRIVALS,
            "cut": None if late is None else late / max(len(self._took), 1),
            "waiting": _figures(self._waited),
            "response": _figures(self._took),
        }


def _figures(times: list[float]) -> dict[str, float]:
    """Return the mean and the percentiles of some times, in milliseconds."""
    found = sorted(times) or [0.0]
    at = {name: found[min(int(part * len(found)), len(found) - 1)] for name, part in PERCENTILES.items()}
    figures = {"mean": sum(found) / len(found), **at, "max": found[-1]}
    return {f"{name}_ms": round(seconds * 1000, 3) for name, seconds in figures.items()}
