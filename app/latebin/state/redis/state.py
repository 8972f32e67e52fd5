"""The whole state of a process whose service keeps it in Redis."""

import attrs
from twisted.internet.interfaces import IReactorTime

from latebin.core.settings import Settings
from latebin.state.redis.connection import Store
from latebin.state.redis.gates import RedisGates
from latebin.state.redis.journal import RedisJournal
from latebin.state.redis.keys import RedisKeys
from latebin.state.redis.membership import Membership
from latebin.state.redis.pending import RedisPeers
from latebin.state.redis.pools import RedisPools


@attrs.frozen(eq=False)
class RedisState:
    """The state that all processes with one Redis have in common.

    Attributes:
        membership: the membership of this process.
    """

    membership: Membership
    keys: RedisKeys
    gates: RedisGates
    pools: RedisPools
    journal: RedisJournal
    peers: RedisPeers


def make_redis_state(settings: Settings, clock: IReactorTime, store: Store) -> RedisState:
    """Make the state that all processes with this Redis have in common."""
    lifetime = settings.state_lifetime
    membership = Membership(store, clock, lifetime, settings.max_delay)
    state = RedisState(
        membership,
        keys=RedisKeys(store, lifetime),
        gates=RedisGates(membership),
        pools=RedisPools(membership),
        journal=RedisJournal(membership),
        peers=RedisPeers(membership),
    )
    membership.start()
    return state
