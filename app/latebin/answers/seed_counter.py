"""Which request of its seed and expression a request is."""

from collections import OrderedDict
from typing import Final

MAX_KEYS: Final = 10_000
"""How many pairs of seed and expression are counted; of more, the one that was used the longest ago starts anew."""


class SeedCounter:
    """Counts the requests of each seed and expression, from 1, in the order in which they arrive."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[int | None, str], int] = OrderedDict()

    def next(self, seed: int | None, expression: str) -> int:
        """Count a request.

        Args:
            seed: None for the requests that have none.
            expression: the canonical text of the delay.
        """
        key = seed, expression
        turn = self._counts.pop(key, 0) + 1
        self._counts[key] = turn
        if len(self._counts) > MAX_KEYS:
            self._counts.popitem(last=False)
        return turn
