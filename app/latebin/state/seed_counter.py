"""The turn of a request among those of its seed and expression."""

from collections import OrderedDict
from typing import Final

MAX_KEYS: Final = 10_000
"""Pairs of seed and expression that are counted; beyond that, the least recently used pair starts anew."""


class SeedCounter:
    """A counter, from 1, of the requests of each seed and expression."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[int | None, str], int] = OrderedDict()

    def next(self, seed: int | None, expression: str) -> int:
        """Count a request.

        Args:
            seed: the seed; None for requests without a seed.
            expression: the canonical text of the delay.

        Returns:
            The request's number among those of its seed and expression, in their order of arrival.
        """
        key = seed, expression
        turn = self._counts.pop(key, 0) + 1
        self._counts[key] = turn
        if len(self._counts) > MAX_KEYS:
            self._counts.popitem(last=False)
        return turn
