"""The state of several workers that have none in common, which refuses most of it."""

from typing import Final

from latebin.core.http.reply import Problem, Refused
from latebin.core.journal import Asked
from latebin.core.steering import GateWait, PoolWait
from latebin.state.interfaces import Counted, Place, Record, Waiter
from latebin.state.journal import DROPPED, MemoryJournal
from latebin.state.memory import MemoryGates, MemoryKeys, MemoryPools

UNSHARED: Final = Problem(
    409,
    "Keys, gates and pools need one process: each worker would have its own.",
    parameter="workers",
    accepted="--workers 1, or --state",
)
"""The refusal of a key, a gate or a pool where several workers have no state in common."""


class UnsharedKeys(MemoryKeys):
    """Seeds, counted by each worker for itself, and no keys."""

    def take(self, key: str | None, style: str, counted: Counted | None) -> tuple[int, int]:
        if key is not None:
            raise Refused(UNSHARED)
        return super().take(key, style, counted)


class UnsharedGates(MemoryGates):
    def arrive(self, wait: GateWait, waiter: Waiter, n: int) -> Place:
        raise Refused(UNSHARED)


class UnsharedPools(MemoryPools):
    def arrive(self, wait: PoolWait, waiter: Waiter) -> Place:
        raise Refused(UNSHARED)


class UnsharedJournal(MemoryJournal):
    """The journal of a worker without a common state, which keeps nothing."""

    def begin(self, key: str, asked: Asked, connection: object) -> Record:
        return DROPPED
