"""The turns of keys and seeds in Redis."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

from twisted.internet.defer import Deferred

from latebin.core.http.reply import Refused
from latebin.state.interfaces import Counted, KeyStatus
from latebin.state.memory import MOST_COUNTED, MOST_KEYS, too_many, too_many_counted
from latebin.state.redis.connection import AWAY, PREFIX, Script, Store
from latebin.state.seed_counter import MAX_KEYS, SeedCounter

KEYS: Final = f"{PREFIX}keys"
"""A sorted set of the keys, by the milliseconds of their last requests."""

KEY: Final = f"{PREFIX}key:"
"""The beginning of the hash of one key: its turn, and the counts of its seeds."""

SEEDS: Final = f"{PREFIX}seeds:"
"""The beginning of the sorted set of the seeds of a style, by the microseconds of their last requests."""

TURNS: Final = f"{PREFIX}turns:"
"""The beginning of the hash of the counts of these seeds."""

MOST_READ: Final = 1001
"""The most keys that are listed: one more than are shown."""

_NOW: Final = """
local function milliseconds()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = milliseconds()
"""

_FORGET_OLD: Final = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
"""

TAKE: Final = Script(
    _NOW
    + _FORGET_OLD
    + """
local key, most, counted, most_counted = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
if not redis.call('ZSCORE', KEYS[1], key) then
    if redis.call('ZCARD', KEYS[1]) >= most then
        return {-1, 0}
    end
    redis.call('DEL', KEYS[2])
end
if counted ~= '' and redis.call('HEXISTS', KEYS[2], counted) == 0 then
    -- Its turn is one field more, from its first request on.
    if redis.call('HLEN', KEYS[2]) - redis.call('HEXISTS', KEYS[2], 'turn') >= most_counted then
        return {-2, 0}
    end
end
local turn = redis.call('HINCRBY', KEYS[2], 'turn', 1)
local n = turn
if counted ~= '' then
    n = redis.call('HINCRBY', KEYS[2], counted, 1)
end
redis.call('ZADD', KEYS[1], now, key)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return {turn, n}
"""
)
"""Take a turn: KEYS are the set and the hash; ARGV are lifetime, key, bound, seed, bound of seeds."""

COUNT: Final = Script(
    """
local time = redis.call('TIME')
local n = redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
redis.call('ZADD', KEYS[1], time[1] * 1000000 + time[2], ARGV[2])
if redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[2], redis.call('ZPOPMIN', KEYS[1])[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return n
"""
)
"""Count a request with a seed and without a key: ARGV are lifetime, seed, bound."""

FORGET: Final = Script(
    _NOW
    + _FORGET_OLD
    + """
redis.call('DEL', KEYS[2])
return redis.call('ZREM', KEYS[1], ARGV[2])
"""
)

STATUS: Final = Script(
    _NOW
    + _FORGET_OLD
    + """
local last = redis.call('ZSCORE', KEYS[1], ARGV[2])
local turn = redis.call('HGET', KEYS[2], 'turn')
if not last or not turn then
    return false
end
return {tonumber(turn), now - last}
"""
)

LIST: Final = Script(
    _NOW
    + _FORGET_OLD
    + """
local lines = {}
local found = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1, 'WITHSCORES')
for at = 1, #found, 2 do
    local turn = redis.call('HGET', ARGV[3] .. found[at], 'turn')
    lines[#lines + 1] = found[at] .. ' ' .. (turn or '0') .. ' ' .. string.format('%.0f', now - found[at + 1])
end
return table.concat(lines, '\\n')
"""
)
"""List the keys in the order of their last requests, a line each: txredisapi reads one text faster than many."""


class RedisKeys:
    """The turns of keys and of seeds, which all processes share.

    A key is forgotten some time after its last request. So are the seeds without a key, all of a style together.

    Args:
        store: the Redis.
        lifetime: seconds of that time.
    """

    def __init__(self, store: Store, lifetime: float) -> None:
        self._store = store
        # Redis takes no lifetime of 0.
        self._lifetime = max(1, round(lifetime * 1000))
        # Draws without a seed differ from process to process in any case.
        self._unseeded: dict[str, SeedCounter] = {}

    def take(self, key: str | None, style: str, counted: Counted | None) -> tuple[int, int] | Deferred[tuple[int, int]]:
        if key is None:
            return self._count(style, counted)
        if not self._store.connected:
            raise Refused(AWAY)
        field = "" if counted is None else _field(counted)
        arguments = self._lifetime, key, MOST_KEYS, field, MOST_COUNTED
        return self._store.run(TAKE, [KEYS, KEY + key], arguments).addCallback(_taken)

    def forget(self, key: str) -> Deferred[bool]:
        return self._store.run(FORGET, [KEYS, KEY + key], [self._lifetime, key]).addCallback(bool)

    def status(self, key: str) -> Deferred[KeyStatus | None]:
        found = self._store.run(STATUS, [KEYS, KEY + key], [self._lifetime, key])
        return found.addCallback(lambda found: None if found is None else KeyStatus(key, found[0], found[1] / 1000))

    def all(self) -> Deferred[Iterable[KeyStatus]]:
        return self._store.run(LIST, [KEYS], [self._lifetime, MOST_READ, KEY]).addCallback(_listed)

    def _count(self, style: str, counted: Counted | None) -> tuple[int, int] | Deferred[tuple[int, int]]:
        if counted is None:
            return 1, 1
        if counted[0] is None:
            return 1, self._unseeded.setdefault(style, SeedCounter()).next(*counted)
        if not self._store.connected:
            raise Refused(AWAY)
        arguments = self._lifetime, _field(counted), MAX_KEYS
        return self._store.run(COUNT, [SEEDS + style, TURNS + style], arguments).addCallback(lambda n: (1, n))


def _field(counted: Counted) -> str:
    """Name a pair of a seed and an expression, whose text may be long."""
    seed, expression = counted
    return f"{seed}:{blake2b(expression.encode(), digest_size=16).hexdigest()}"


def _taken(reply: Any) -> tuple[int, int]:  # noqa: ANN401  # as Redis replies
    turn, n = reply
    if turn == -1:
        raise too_many("key", MOST_KEYS, "DELETE /control/keys/KEY to forget one")
    if turn < 0:
        raise too_many_counted()
    return turn, n


def _listed(reply: bytes) -> Iterable[KeyStatus]:
    lines = (line.split() for line in reply.decode().splitlines())
    return [KeyStatus(key, int(turn), int(idle) / 1000) for key, turn, idle in lines]
