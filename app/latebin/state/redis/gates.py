"""The gates in Redis, and the answers of this process that wait at them."""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from latebin.core.http.reply import Problem, Refused, problem_of
from latebin.core.language import draw
from latebin.core.steering import GateWait
from latebin.state.interfaces import GateStatus, Place, Waiter
from latebin.state.memory import MOST_GATES, MOST_WATCHES, too_many
from latebin.state.redis.connection import Script
from latebin.state.redis.library import GIVE_UP, script
from latebin.state.redis.membership import Membership

_ARRIVE: Final = script(
    """
local name, order, size, most = ARGV[5], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local member = ARGV[6]
if not is_room_for_gate(name, most) then return {'full'} end
if is_open(name) then
    touch_gate(name, 'order', order)
    return {'open'}
end
local chosen = {}
if size and call('ZCARD', line(name)) + 1 >= size then
    chosen = call('ZRANGE', line(name), 0, size - 1)
    if #chosen < size then table.insert(chosen, member) end
    local places = arranged(chosen, order, ARGV[10], ARGV[11])
    if not places then return draw_for(chosen) end
    chosen = places
end
local number = stamp()
call('ZADD', line(name), number, member)
have(me, 'g ' .. name .. ' ' .. member)
touch_gate(name, 'order', order)
notify_watches(name)
let_go(name, chosen)
settle_gate(name)
return {'waiting', number}
""",
    members_only=True,
)

_RELEASE: Final = script("""
-- The kind is `some` or `all`, or `first` for a barrier: the first members alone, and only if there are so many.
local name, kind, count = ARGV[5], ARGV[6], tonumber(ARGV[7])
local members, order = {}, call('HGET', gate(name), 'order') or 'fifo'
if kind == 'first' then
    members = call('ZRANGE', line(name), 0, count - 1)
    if #members < count then return {'went', 0} end
else
    members = call('ZRANGE', line(name), 0, -1)
end
local places = arranged(members, order, ARGV[8], ARGV[9])
if not places then return draw_for(members) end
local chosen = {}
for i = 1, math.min(count or #places, #places) do chosen[i] = places[i] end
let_go(name, chosen)
if kind == 'all' then let_lost_go(name) end
settle_gate(name)
return {'went', #chosen}
""")

_OPEN: Final = script("""
local name = ARGV[5]
if not is_room_for_gate(name, tonumber(ARGV[6])) then return {'full'} end
local members = call('ZRANGE', line(name), 0, -1)
local places = arranged(members, call('HGET', gate(name), 'order') or 'fifo', ARGV[7], ARGV[8])
if not places then return draw_for(members) end
touch_gate(name, 'open', 1)
let_go(name, places)
let_lost_go(name)
return {'went', #places}
""")

_CLOSE: Final = script("""
if not has_gate(ARGV[5]) then return 0 end
touch_gate(ARGV[5], 'open', 0)
settle_gate(ARGV[5])
return 0
""")

_WATCH: Final = script(
    """
local name, member, least = ARGV[5], ARGV[6], tonumber(ARGV[7])
if not is_room_for_gate(name, tonumber(ARGV[8])) then return {'full'} end
local waiting = call('ZCARD', line(name))
if waiting >= least then return {'there', waiting} end
call('HSET', watches(name), member, least)
have(me, 'w ' .. name .. ' ' .. member)
touch_gate(name)
return {'waiting', waiting}
""",
    members_only=True,
)

_STATUS: Final = script("return {call('ZCARD', line(ARGV[5])), is_open(ARGV[5]) and 1 or 0}")

_ALL: Final = script("""
local found = {}
for _, name in ipairs(call('ZRANGE', gates, 0, -1)) do
    local waiting, opened = call('ZCARD', line(name)), is_open(name)
    if waiting > 0 or opened then
        table.insert(found, name)
        table.insert(found, waiting)
        table.insert(found, opened and 1 or 0)
    end
end
return found
""")


@attrs.define(eq=False)
class GatePlace:
    """The place of an answer at a gate.

    Attributes:
        wait: the gate.
        waiter: the answer.
        number: its number in this process.
        member: its name in Redis.
        waiting: whether the answer waits.
        stamp: its number among the arrivals, while it waits in Redis; empty before and after.
        problem: the refusal of an arrival that has not returned; None without one.
        returned: whether `arrive` has returned.
        left: whether it was left before it was let go.
    """

    _gates: "RedisGates"
    wait: GateWait
    waiter: Waiter
    number: int
    member: str
    waiting: bool = True
    stamp: str = ""
    problem: Problem | None = None
    returned: bool = False
    left: bool = False

    def leave(self) -> None:
        if self.waiting:
            self.waiting, self.left = False, True
            self._gates.left(self)

    def item(self) -> str:
        """Return the place as `Membership` enters it again."""
        stamp, order, size = self.stamp or "0", self.wait.order, self.wait.size
        state = "waits" if self.stamp else "asked"
        return f"g {self.wait.name} {self.member} {state} {stamp} {order}" + ("" if size is None else f" {size}")


@attrs.define(eq=False)
class _Watch:
    name: str
    number: int
    member: str
    waiting: int
    fired: Deferred[int] = attrs.field(init=False)
    entered: bool = False
    left: bool = False

    def item(self) -> str:
        return f"w {self.name} {self.member} {'waits' if self.entered else 'asked'} {self.waiting}"


class RedisGates:
    """The gates of all processes.

    Args:
        membership: the membership of this process.
    """

    def __init__(self, membership: Membership) -> None:
        self._members = membership
        self._places: dict[int, GatePlace] = {}
        self._watches: dict[int, _Watch] = {}
        self._going: deque[GatePlace] = deque()
        membership.add(self, {"g": self._passed, "w": self._reached})

    def arrive(self, wait: GateWait, waiter: Waiter, n: int) -> Place:
        number = self._members.number()
        seed = "" if wait.seed is None else wait.seed
        place = GatePlace(self, wait, waiter, number, f"{self._members.member(number)}:{seed}:{n}")
        self._places[number] = place
        asked = wait.name, place.member, wait.order, "" if wait.size is None else wait.size, MOST_GATES
        self._drawn(wait.name, _ARRIVE, *asked).addCallback(self._arrived, place).addErrback(self._failed, place)
        place.returned = True
        if place.problem is not None:
            raise Refused(place.problem)
        return place

    def release(self, name: str, count: int | None) -> Deferred[int]:
        kind = ("all", "") if count is None else ("some", count)
        return self._drawn(name, _RELEASE, name, *kind).addCallback(_went)

    def open(self, name: str, *, open: bool) -> Deferred[int]:  # noqa: A002  # as the interface has it
        if not open:
            return self._members.run(_CLOSE, name)
        return self._drawn(name, _OPEN, name, MOST_GATES).addCallback(_went)

    def until(self, name: str, waiting: int) -> Deferred[int]:
        if len(self._watches) >= MOST_WATCHES:
            raise too_many("gate", MOST_WATCHES, "wait for one gate after the other")
        number = self._members.number()
        watch = self._watches[number] = _Watch(name, number, self._members.member(number), waiting)
        watch.fired = Deferred(lambda _: self._unwatch(watch))
        asked = self._members.run(_WATCH, name, watch.member, waiting, MOST_GATES)
        asked.addCallback(self._watched, watch).addErrback(self._not_watched, watch)
        return watch.fired

    def status(self, name: str) -> Deferred[GateStatus]:
        asked = self._members.run(_STATUS, name)
        return asked.addCallback(lambda found: GateStatus(name, found[0], open=bool(found[1])))

    def all(self) -> Deferred[Iterable[GateStatus]]:
        return self._members.run(_ALL).addCallback(lambda found: list(_statuses(found)))

    def items(self) -> Iterator[str]:
        yield from [place.item() for place in self._places.values() if place.waiting]
        yield from [watch.item() for watch in self._watches.values()]

    def settle(self, full: Sequence[tuple[str, int]]) -> None:
        for name, size in full:
            self._drawn(name, _RELEASE, name, "first", size).addErrback(self._members.failed)

    def left(self, place: GatePlace) -> None:
        """Give up a place, as soon as Redis has it."""
        self._places.pop(place.number, None)
        if place.stamp:
            self._members.attempt(GIVE_UP, f"g {place.wait.name} {place.member}")

    def _drawn(self, name: str, script: Script, *arguments: str | float) -> Deferred[Any]:
        """Run a script that may need numbers for a random order, again with these."""

        def replied(reply: Sequence[Any]) -> Any:  # noqa: ANN401  # the reply, or a Deferred
            if reply[0] != b"draw":
                return reply
            drawn, count = reply[1].decode("ascii"), reply[2]
            uniforms = " ".join(map(repr, islice(_uniforms(name, drawn), count)))
            return self._members.run(script, *arguments, drawn, uniforms).addCallback(replied)

        return self._members.run(script, *arguments, "", "").addCallback(replied)

    def _arrived(self, reply: Sequence[bytes], place: GatePlace) -> None:
        if reply[0] == b"full":
            raise too_many("gate", MOST_GATES, "one that nothing waits at any longer")
        if reply[0] == b"waiting":
            if place.number in self._places:
                place.stamp = reply[1].decode("ascii")
            elif place.left:
                self._members.attempt(GIVE_UP, f"g {place.wait.name} {place.member}")
        elif not place.returned:
            place.waiting = False
            del self._places[place.number]
        else:
            self._passed(str(place.number))

    def _failed(self, failure: Failure, place: GatePlace) -> None:
        self._members.failed(failure)
        self._places.pop(place.number, None)
        problem = problem_of(failure.value)
        if not place.returned:
            place.problem = problem
        elif place.waiting:
            place.waiting = False
            place.waiter.end(problem)

    def _passed(self, number: str) -> None:
        """Let an answer go, one in each turn of the reactor."""
        place = self._places.pop(int(number), None)
        if place is not None:
            place.stamp = ""
            self._going.append(place)
            if len(self._going) == 1:
                self._members.clock.callLater(0, self._let_one_go)

    def _let_one_go(self) -> None:
        while self._going:
            place = self._going.popleft()
            if place.waiting:
                place.waiting = False
                place.waiter.passed()
                break
        if self._going:
            self._members.clock.callLater(0, self._let_one_go)

    def _watched(self, reply: Sequence[Any], watch: _Watch) -> None:
        if reply[0] == b"full":
            raise too_many("gate", MOST_GATES, "one that nothing waits at any longer")
        if reply[0] == b"there":
            self._reached(f"{watch.number} {reply[1]}")
        elif watch.number in self._watches:
            watch.entered = True
        elif watch.left:
            self._members.attempt(GIVE_UP, f"w {watch.name} {watch.member}")

    def _not_watched(self, failure: Failure, watch: _Watch) -> None:
        self._members.failed(failure)
        if self._watches.pop(watch.number, None) is not None:
            watch.fired.errback(failure)

    def _reached(self, text: str) -> None:
        number, waiting = map(int, text.split(" "))
        watch = self._watches.pop(number, None)
        if watch is not None:
            watch.fired.callback(waiting)

    def _unwatch(self, watch: _Watch) -> None:
        watch.left = True
        if self._watches.pop(watch.number, None) is not None and watch.entered:
            self._members.attempt(GIVE_UP, f"w {watch.name} {watch.member}")


def _uniforms(name: str, drawn: str) -> Iterator[float]:
    """Yield the numbers of a random order."""
    seed, _, n = drawn.partition(":")
    return draw.seeded("order", int(seed), name, int(n)) if seed else draw.unseeded(random.SystemRandom().random)


def _went(reply: Sequence[Any]) -> int:
    if reply[0] == b"full":
        raise too_many("gate", MOST_GATES, "one that nothing waits at any longer")
    return int(reply[1])


def _statuses(found: Sequence[Any]) -> Iterator[GateStatus]:
    for name, waiting, opened in zip(found[::3], found[1::3], found[2::3], strict=True):
        yield GateStatus(name.decode("ascii"), waiting, open=bool(opened))
