"""The whole state of a process whose service keeps it in Redis."""

from twisted.internet.interfaces import IReactorTime

from latebin.core.settings import Settings
from latebin.state.interfaces import State
from latebin.state.journal import MemoryJournal
from latebin.state.memory import MemoryGates, MemoryPools, MemoryState
from latebin.state.redis.connection import Store
from latebin.state.redis.keys import RedisKeys


def make_redis_state(settings: Settings, clock: IReactorTime, store: Store) -> State:
    """Make the state that all processes with this Redis have in common."""
    lifetime = settings.state_lifetime
    return MemoryState(
        keys=RedisKeys(store, lifetime),
        gates=MemoryGates(clock, lifetime),
        pools=MemoryPools(clock, lifetime),
        journal=MemoryJournal(clock, lifetime),
    )
