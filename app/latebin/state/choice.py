"""The choice of a service's state: in memory, in Redis, or of each worker."""

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime

from latebin.core.settings import Settings
from latebin.state.interfaces import State
from latebin.state.journal import MemoryJournal
from latebin.state.memory import MemoryGates, MemoryKeys, MemoryPools, MemoryState
from latebin.state.unshared import UnsharedGates, UnsharedJournal, UnsharedKeys, UnsharedPools

if TYPE_CHECKING:
    from latebin.state.redis.connection import Store


def make_state(settings: Settings, clock: IReactorTime, store: "Store | None" = None) -> State:
    """Make the state of a service.

    It is in Redis where there is one, and otherwise in memory. With several workers and no Redis, keys, gates and pools
    are refused.

    Args:
        settings: the number of workers, and the lifetime of keys and the like.
        clock: the clock of that time, in memory.
        store: the Redis; None without one.
    """
    if store is not None:
        from latebin.state.redis.state import make_redis_state  # noqa: PLC0415  # for services with --state

        return make_redis_state(settings, clock, store)
    alone, given = settings.workers == 1, (clock, settings.state_lifetime)
    return MemoryState(
        keys=(MemoryKeys if alone else UnsharedKeys)(*given),
        gates=(MemoryGates if alone else UnsharedGates)(*given),
        pools=(MemoryPools if alone else UnsharedPools)(*given),
        journal=(MemoryJournal if alone else UnsharedJournal)(*given),
    )
