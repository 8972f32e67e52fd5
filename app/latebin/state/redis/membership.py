"""The membership of a process: its signs of life, and the messages to it."""

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from itertools import count
from math import ceil
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from latebin.core.http.reply import Refused
from latebin.state.interfaces import PoolStatus
from latebin.state.redis.connection import AWAY, PREFIX, Script
from latebin.state.redis.library import script

log = Logger()

BEAT: Final = 1.0
"""Seconds from one sign of life to the next."""

LEASE: Final = 5.0
"""Seconds without a sign of life after which a process is absent, and what it had is given up."""

FAREWELL: Final = 0.5
"""Seconds that the end of a process waits for Redis at most; without a farewell, LEASE ends its membership."""

SPARE: Final = 60.0
"""Seconds that a key in Redis is kept beyond its lifetime and the longest wait."""

ATTEMPTS: Final = 3
"""How often a script is tried that Redis refuses because it does not know the process."""

Heard = Callable[[str], object]
"""Takes a message, without its kind."""

CONFIRMED: Final = frozenset("gpvw")
"""The kinds of messages that Redis keeps until they are confirmed."""

_BEAT: Final = script("""
local found = member_of(me)
local last = tonumber(call('GET', key('beat')))
if last and now - last > lease then
    -- Redis was away for all: each gets the time to be back before it counts as absent.
    call('SET', key('grace'), text(now + lease), 'EX', kept)
end
call('SET', key('beat'), text(now), 'EX', kept)
if found then
    call('ZADD', instances, text(now), me)
    for _, each in ipairs({instances, own(me), key('gone', me), key('generation')}) do put(each) end
end
if (tonumber(call('GET', key('grace'))) or 0) <= now then
    local absent = {}
    for _, instance in ipairs(call('ZRANGEBYSCORE', instances, '-inf', text(now - lease))) do
        call('ZREM', instances, instance)
        table.insert(absent, {instance = instance, items = call('SMEMBERS', own(instance))})
    end
    give_up(absent, true)
end
local recovering = tonumber(call('GET', key('recovering')))
if recovering and recovering <= now then
    call('DEL', key('recovering'))
    for _, name in ipairs(call('ZRANGE', pools, 0, -1)) do serve(name) end
end
local figures = {found and 1 or 0}
for _, name in ipairs(call('ZRANGE', pools, 0, -1)) do
    table.insert(figures, name)
    table.insert(figures, call('SCARD', busy(name)))
    table.insert(figures, call('ZCARD', queue(name)))
end
return figures
""")

_LEAVE: Final = script("""
call('ZREM', instances, me)
give_up({{instance = me, items = call('SMEMBERS', own(me))}}, false)
return call('DEL', own(me), key('gone', me))
""")

_GONE: Final = script("return call('SMEMBERS', key('gone', me))")

_CONFIRM: Final = script("for i = 5, #ARGV do call('SREM', key('gone', me), ARGV[i]) end return 0")

_JOIN: Final = script("""
local generation = call('GET', key('generation'))
if not generation then
    generation = text(now)
    call('SET', key('generation'), generation, 'EX', kept)
end
local data_lost = ARGV[5] ~= '' and ARGV[5] ~= generation
if data_lost then
    -- Redis has lost its data: no pool serves its line until the places in service had the time to be entered again.
    call('SET', key('recovering'), text(now + lease), 'EX', kept)
    call('SET', key('journals', 'lost'), text(now), 'EX', kept)
end
call('ZADD', instances, text(now), me)
put(instances)
local items, words = {}, {}
for i = 6, #ARGV do
    local each = {}
    for word in string.gmatch(ARGV[i], '%S+') do table.insert(each, word) end
    items[i], words[each[1] .. ' ' .. each[2] .. ' ' .. each[3]] = each, true
end
local given_up = {}
for _, item in ipairs(call('SMEMBERS', own(me))) do
    if not words[item] then table.insert(given_up, item) end
end
give_up({{instance = me, items = given_up}}, false)
local full, served = {generation}, {}
for i = 6, #ARGV do
    local kind, name, member, state = unpack(items[i], 1, 4)
    local item, more = kind .. ' ' .. name .. ' ' .. member, {unpack(items[i], 5)}
    local _, number = owner(member)
    if state == 'asked' then
        -- Its own script is under way.
    elseif kind == 'g' then
        local passed = call('SISMEMBER', key('gone', me), 'g ' .. number) == 1
        if not passed and not call('ZSCORE', line(name), member) then
            call('SREM', lost(name), member)
            if is_open(name) then
                deliver(me, {'g ' .. number})
            else
                call('ZADD', line(name), more[1], member)
                have(me, item)
                call('HSETNX', gate(name), 'order', more[2])
                touch_gate(name)
                notify_watches(name)
                if more[3] and call('ZCARD', line(name)) >= tonumber(more[3]) then
                    table.insert(full, name)
                    table.insert(full, more[3])
                end
            end
        end
    elseif kind == 'w' and call('SISMEMBER', own(me), item) == 0 then
        call('HSET', watches(name), member, more[1])
        have(me, item)
        touch_gate(name)
        notify_watches(name)
    elseif kind == 'p' then
        served[name] = true
        call('ZADD', pools, text(now), name)
        call('HSETNX', pool(name), 'servers', more[2])
        have(me, item)
        if state == 'served' then
            call('ZREM', queue(name), member)
            call('SADD', busy(name), member)
        elseif call('SISMEMBER', busy(name), member) == 0 and not call('ZSCORE', queue(name), member) then
            call('ZADD', queue(name), more[1], member)
        end
    elseif kind == 'j' and data_lost then
        call('ZADD', journals, 'NX', text(now), name)
        call('HSET', journal(name), 'dropped', 1)
        put(journals)
        put(journal(name))
    elseif kind == 'v' and call('SISMEMBER', own(me), item) == 0 then
        call('HSET', readers(name), member, more[1])
        put(readers(name))
        have(me, item)
        notify_readers(name)
    end
end
for name in pairs(served) do serve(name) end
return full
""")


class Connected(Protocol):
    """The part of `Store` that is needed here.

    Attributes:
        instance: the name of this process in Redis.
    """

    instance: str

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float] = ()) -> Deferred[Any]:
        """Run a script; fail with `Refused` where Redis is away."""
        ...

    def listen(self, channel: str, heard: Callable[[bytes], object], again: Callable[[], object]) -> object:
        """Hear the messages of a channel."""
        ...


class Part(Protocol):
    """One part of the state, such as the gates."""

    def items(self) -> Iterable[str]:
        """Yield all that this process has there, each as one text.

        A text is kind, name, member, state, and further words as the script of `join` reads them.
        """
        ...

    def settle(self, full: Sequence[tuple[str, int]]) -> None:
        """Finish a return to Redis.

        Args:
            full: the names of barriers that are full now, with their sizes.
        """
        ...


class Membership:
    """The membership of this process in a Redis.

    It is given up by other processes if there is no sign of life for LEASE seconds. A process that is back enters all
    that it has again: its waiting answers, those in service, and its watches.

    Args:
        store: the connections.
        clock: the clock of the signs of life, whose turns let answers go.
        lifetime: seconds that keys, gates and journals are kept after their last requests.
        longest: seconds of the longest wait.

    Attributes:
        clock: the clock.
        instance: the name of this process in Redis.
        pools: the figures of all pools, as of the last sign of life; empty while Redis is away.
    """

    def __init__(self, store: Connected, clock: IReactorTime, lifetime: float, longest: float) -> None:
        self.clock = clock
        self.instance = store.instance
        self.pools: list[PoolStatus] = []
        self._store = store
        kept = ceil(lifetime + longest + SPARE)
        self._common = store.instance, kept, int(lifetime * 1e6), int(LEASE * 1e6)
        self._numbers = count(1)
        self._generation = ""
        self._stale = True
        self._ended = False
        self._joining: list[Deferred[bool]] = []
        self._heard: dict[str, Heard] = {}
        self._parts: list[Part] = []
        self._beat = LoopingCall(self.beat)
        self._beat.clock = clock

    def start(self) -> None:
        """Hear messages, and give signs of life from now on."""
        self._store.listen(f"{PREFIX}to:{self.instance}", self.hear, self.join)
        self._beat.start(BEAT, now=False).addErrback(
            lambda failure: log.failure("there are no more signs of life", failure)
        )

    def stop(self) -> None:
        """Give no more signs of life."""
        if self._beat.running:
            self._beat.stop()

    def add(self, part: Part, heard: dict[str, Heard]) -> None:
        """Enter a part of the state, with the kinds of messages that it takes."""
        self._parts.append(part)
        self.hear_also(heard)

    def hear_also(self, heard: dict[str, Heard]) -> None:
        """Hand messages of some kinds to functions."""
        self._heard |= heard

    def number(self) -> int:
        """Return a number that no place, watch or entry of this process had before."""
        return next(self._numbers)

    def member(self, number: int) -> str:
        """Return the name of a place, watch or entry, which no other process has."""
        return f"{self.instance}:{number}"

    def run(self, script: Script, *arguments: str | bytes | float) -> Deferred[Any]:
        """Run a script; enter this process again where Redis does not know it.

        Returns:
            A Deferred of the reply; it fails with `Refused` where Redis is away.
        """
        return self._run(script, arguments, ATTEMPTS)

    def _run(self, script: Script, arguments: Sequence[str | bytes | float], attempts: int) -> Deferred[Any]:
        def replied(reply: Any) -> Any:  # noqa: ANN401  # as Redis replies
            if not isinstance(reply, list) or reply[:1] != [b"join"]:
                return reply
            if attempts == 1:
                raise Refused(AWAY)
            self._stale = True
            return self.join().addCallback(lambda _: self._run(script, arguments, attempts - 1))

        return self._store.run(script, (), (*self._common, *arguments)).addCallback(replied)

    def attempt(self, script: Script, *arguments: str | bytes | float) -> None:
        """Run a script whose reply does not matter.

        If it fails, the next entry of this process sets right what it was to do.
        """
        self.run(script, *arguments).addErrback(self.failed)

    def failed(self, failure: Failure) -> None:
        """Take note that a script failed, and may have run or not."""
        if not isinstance(failure.value, Refused):
            log.failure("a script of the state failed", failure)
        elif failure.value.problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._stale = True

    def look_again(self) -> None:
        """Have the next sign of life enter this process again."""
        self._stale = True

    def beat(self) -> Deferred[Any]:
        """Give a sign of life; give up what absent processes had."""
        # A reply that cannot be read does not end the signs of life either.
        return self._store.run(_BEAT, (), self._common).addCallback(self._beaten).addErrback(self._not_beaten)

    def _beaten(self, reply: Sequence[Any]) -> Deferred[Any] | None:
        known, *figures = reply
        names = (name.decode("ascii") for name in figures[::3])
        self.pools = [PoolStatus(*each) for each in zip(names, figures[1::3], figures[2::3], strict=True)]
        return None if known and not self._stale else self.join()

    def _not_beaten(self, failure: Failure) -> None:
        self.pools = []
        self.failed(failure)

    def leave(self) -> Deferred[Any]:
        """Give up all that this process has, for good.

        Returns:
            A Deferred that fires when Redis has done so, or when FAREWELL is over.
        """
        self.stop()
        self._ended = True
        left = self._store.run(_LEAVE, (), self._common)
        return left.addTimeout(FAREWELL, self.clock, lambda *_: None).addErrback(self.failed)

    def hear(self, text: bytes) -> None:
        """Take messages, and confirm those that Redis keeps until then."""
        messages = text.decode("utf-8").split("\n")
        kept = [each for each in messages if each[:1] in CONFIRMED]
        if kept:
            self.attempt(_CONFIRM, *kept)
        for each in messages:
            kind, _, rest = each.partition(" ")
            heard = self._heard.get(kind)
            if heard is not None:
                heard(rest)

    def join(self) -> Deferred[bool]:
        """Enter this process with all that it has, unless that is under way.

        Returns:
            A Deferred of whether Redis knows all of it now.
        """
        joined: Deferred[bool] = Deferred()
        self._joining.append(joined)
        # The entry under way may have missed the reason for this call: the next sign of life looks again.
        self._stale = len(self._joining) > 1
        if self._ended:
            self._joined(None)
        elif not self._stale:
            begun = self._store.run(_GONE, (), self._common)
            begun.addCallback(self._enter).addCallback(self._entered).addErrback(self.failed).addCallback(self._joined)
        return joined

    def _enter(self, gone: Sequence[bytes]) -> Deferred[Any]:
        if gone:
            self.hear(b"\n".join(gone))
        items = [item for part in self._parts for item in part.items()]
        return self._store.run(_JOIN, (), (*self._common, self._generation, *items))

    def _entered(self, reply: Sequence[bytes]) -> None:
        self._generation, *full = (each.decode("ascii") for each in reply)
        for part in self._parts:
            part.settle(list(zip(full[::2], map(int, full[1::2]), strict=True)))

    def _joined(self, _: None) -> None:
        joining, self._joining = self._joining, []
        for joined in joining:
            joined.callback(not self._stale)
