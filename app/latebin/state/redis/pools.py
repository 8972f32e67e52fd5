"""The pools in Redis, and the answers of this process in service and in line."""

from collections.abc import Iterator, Sequence
from typing import Final

import attrs
from twisted.python.failure import Failure

from latebin.core.http.reply import Problem, Refused, problem_of
from latebin.core.steering import PoolWait
from latebin.state.interfaces import Place, PoolStatus, Waiter
from latebin.state.memory import MOST_POOLS, line_full, too_many
from latebin.state.redis.library import GIVE_UP, script
from latebin.state.redis.membership import Membership

_ARRIVE: Final = script(
    """
local name, member, servers, most_in_line = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
if not call('ZSCORE', pools, name) and call('ZCARD', pools) >= tonumber(ARGV[9]) then return {'full'} end
call('ZADD', pools, text(now), name)
call('HSET', pool(name), 'servers', servers)
-- There may be more servers than before.
if call('EXISTS', queue(name)) == 1 then serve(name) end
local in_line, number = call('ZCARD', queue(name)), stamp()
local reply = {'served', number}
if in_line == 0 and call('SCARD', busy(name)) < servers and not is_recovering() then
    call('SADD', busy(name), member)
elseif most_in_line and in_line >= most_in_line then
    serve(name)
    return {'line'}
else
    call('ZADD', queue(name), number, member)
    reply = {'waiting', number}
end
have(me, 'p ' .. name .. ' ' .. member)
for _, each in ipairs({pools, pool(name), busy(name), queue(name)}) do put(each) end
return reply
""",
    members_only=True,
)


@attrs.define(eq=False)
class RedisPoolPlace:
    """The place of an answer in a pool: in line, and then in service.

    Attributes:
        wait: the pool.
        waiter: the answer.
        number: its number in this process.
        member: its name in Redis.
        waiting: whether it is in line.
        stamp: its number among the arrivals; empty until Redis has it.
        problem: the refusal of an arrival that has not returned; None without one.
        returned: whether `arrive` has returned.
    """

    _pools: "RedisPools"
    wait: PoolWait
    waiter: Waiter
    number: int
    member: str
    waiting: bool = True
    stamp: str = ""
    problem: Problem | None = None
    returned: bool = False

    def leave(self) -> None:
        self._pools.left(self)

    def item(self) -> str:
        """Return the place as `Membership` enters it again."""
        state = "served" if not self.waiting else "waits" if self.stamp else "asked"
        return f"p {self.wait.name} {self.member} {state} {self.stamp or 0} {self.wait.servers}"


class RedisPools:
    """The pools of all processes.

    Args:
        membership: the membership of this process.
    """

    def __init__(self, membership: Membership) -> None:
        self._members = membership
        self._places: dict[int, RedisPoolPlace] = {}
        membership.add(self, {"p": self._served})

    def arrive(self, wait: PoolWait, waiter: Waiter) -> Place:
        number = self._members.number()
        place = RedisPoolPlace(self, wait, waiter, number, self._members.member(number))
        self._places[number] = place
        most_in_line = "" if wait.queue is None else wait.queue
        asked = self._members.run(_ARRIVE, wait.name, place.member, wait.servers, most_in_line, MOST_POOLS)
        asked.addCallback(self._arrived, place).addErrback(self._failed, place)
        place.returned = True
        if place.problem is not None:
            raise Refused(place.problem)
        return place

    def all(self) -> list[PoolStatus]:
        return self._members.pools

    def items(self) -> Iterator[str]:
        yield from [place.item() for place in self._places.values()]

    def settle(self, full: Sequence[tuple[str, int]]) -> None:
        """Do nothing more: the pools serve their lines themselves."""

    def left(self, place: RedisPoolPlace) -> None:
        """Give up a place, as soon as Redis has it."""
        if self._places.pop(place.number, None) is not None and place.stamp:
            self._members.attempt(GIVE_UP, f"p {place.wait.name} {place.member}")

    def _arrived(self, reply: Sequence[bytes], place: RedisPoolPlace) -> None:
        if reply[0] == b"full":
            raise too_many("pool", MOST_POOLS, "one that is not used any longer")
        if reply[0] == b"line":
            raise line_full(place.wait)
        place.stamp = reply[1].decode("ascii")
        if place.number not in self._places:
            self._members.attempt(GIVE_UP, f"p {place.wait.name} {place.member}")
        elif reply[0] == b"served":
            self._served(str(place.number))

    def _failed(self, failure: Failure, place: RedisPoolPlace) -> None:
        self._members.failed(failure)
        there = self._places.pop(place.number, None) is not None
        problem = problem_of(failure.value)
        if not place.returned:
            place.problem = problem
        elif there and place.waiting:
            place.waiter.end(problem)

    def _served(self, number: str) -> None:
        place = self._places.get(int(number))
        if place is not None and place.waiting:
            place.waiting = False
            # The message may be faster than the reply.
            place.stamp = place.stamp or "0"
            if place.returned:
                place.waiter.passed()
