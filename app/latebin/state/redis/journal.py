"""The journals in Redis, and the records of this process's requests."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from latebin.core.http.reply import Refused
from latebin.core.journal import MOST_ENTRIES, MOST_OF_KEY, Asked, End, Entry, Kept
from latebin.state.interfaces import Record
from latebin.state.journal import DROPPED, MOST_JOURNALS, MOST_WATCHES, TOO_MANY
from latebin.state.redis.connection import Script
from latebin.state.redis.library import GIVE_UP, script
from latebin.state.redis.membership import Membership

MOST_WRITES: Final = 1_000
"""Scripts of the journal that may be under way at once; a request beyond is dropped."""

MOST_INCOMPLETE: Final = 1_000
"""Keys of dropped requests that are remembered until Redis is back."""

_BEGIN: Final = script(
    """
local name, id, connection = ARGV[5], ARGV[6], ARGV[7]
local most, most_of_key, most_journals = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
forget_old_journals()
if not call('ZSCORE', journals, name) and call('ZCARD', journals) >= most_journals then
    call('SET', key('journals', 'lost'), text(now), 'EX', kept)
    return {'dropped'}
end
local kept_of_key, kept_of_all = tonumber(call('HGET', counts, name)) or 0, tonumber(call('GET', entries_of_all)) or 0
call('ZADD', journals, text(now), name)
if kept_of_all >= most or kept_of_key >= most_of_key then
    call('HSET', journal(name), 'dropped', 1)
    for _, each in ipairs({journals, journal(name), entries(name), counts}) do put(each) end
    return {'dropped'}
end
call('INCR', entries_of_all)
call('HINCRBY', counts, name, 1)
local number = call('HGET', journal(name), 'connection ' .. connection)
if not number then
    number = call('HINCRBY', journal(name), 'connections', 1)
    call('HSET', journal(name), 'connection ' .. connection, number)
end
local pending, gap = tonumber(call('HGET', journal(name), 'pending')) or 0, '-'
local last, ended, there = unpack(call('HMGET', journal(name), 'last', 'last_end', 'last_end_there'))
if ended and there ~= '' and string.match(last, '^%w+') == me then
    -- The clock of one process is exact; two processes have that of Redis in common.
    gap = text(ARGV[12] - there)
elseif ended then
    gap = text(math.max(0, now - ended))
end
local place = call('HINCRBY', journal(name), 'begun', 1)
local noted = table.concat({place, text(now), pending, gap, number}, ' ')
call('HSET', entries(name), 'begun ' .. id, noted .. ' ' .. ARGV[8])
call('HINCRBY', journal(name), 'pending', 1)
call('HSET', journal(name), 'last', id)
call('HDEL', journal(name), 'last_end', 'last_end_there')
have(me, 'j ' .. name .. ' ' .. id)
for _, each in ipairs({journals, journal(name), entries(name), counts, entries_of_all}) do put(each) end
return {'kept'}
""",
    members_only=True,
)

_PLANNED: Final = script("""
if call('HEXISTS', entries(ARGV[5]), 'begun ' .. ARGV[6]) == 1 then
    call('HSET', entries(ARGV[5]), 'planned ' .. ARGV[6], ARGV[7])
end
return 0
""")

_END: Final = script("end_entry(ARGV[5], ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])) return 0")

_OF: Final = script("""
forget_old_journals()
local name, lost_at = ARGV[5], tonumber(call('GET', key('journals', 'lost')))
if call('ZSCORE', journals, name) then
    local found = call('HGETALL', entries(name))
    table.insert(found, 1, call('HEXISTS', journal(name), 'dropped') == 0 and 1 or 0)
    return found
end
return {lost_at and lost_at + lifetime > now and 0 or 1}
""")

_UNTIL: Final = script(
    """
local name, member, least = ARGV[5], ARGV[6], tonumber(ARGV[7])
forget_old_journals()
if (tonumber(call('HGET', journal(name), 'ended')) or 0) >= least then return {'there'} end
call('HSET', readers(name), member, least)
put(readers(name))
have(me, 'v ' .. name .. ' ' .. member)
return {'waiting'}
""",
    members_only=True,
)

_FORGET: Final = script("forget_journal(ARGV[5]) return 0")

_INCOMPLETE: Final = script("""
-- Each key is one whose request was dropped; without one, the key is not known any more.
if #ARGV == 4 then call('SET', key('journals', 'lost'), text(now), 'EX', kept) end
for i = 5, #ARGV do
    call('ZADD', journals, 'NX', text(now), ARGV[i])
    call('HSET', journal(ARGV[i]), 'dropped', 1)
    put(journals)
    put(journal(ARGV[i]))
end
return 0
""")


@attrs.define(eq=False)
class RedisRecord:
    """The record of one request of this process.

    Attributes:
        key: its key.
        member: its name in Redis.
        kept: whether Redis has it; None until that is known.
    """

    _journal: "RedisJournal"
    key: str
    number: int
    member: str
    _accepted: float
    kept: bool | None = None

    def planned(self, n: int | None, asked_ms: float | None) -> None:
        self._journal.planned(self, n, asked_ms)

    def end(self, end: End) -> None:
        took = end.at - self._accepted
        how = json.dumps([end.ended, round(took * 1000, 3), end.status, end.measured_ms, end.left_by])
        self._journal.end(self, how, _micros(end.at), _micros(took))

    def item(self) -> str:
        return f"j {self.key} {self.member} {'asked' if self.kept is None else 'kept'}"


@attrs.define(eq=False)
class _Watch:
    key: str
    number: int
    member: str
    ended: int
    fired: Deferred[None] = attrs.field(init=False)
    entered: bool = False
    left: bool = False

    def item(self) -> str:
        return f"v {self.key} {self.member} {'waits' if self.entered else 'asked'} {self.ended}"


class RedisJournal:
    """The journals of all keys, written without waiting for Redis.

    A request is dropped where Redis is away, or slow: then the journal of its key is not complete.

    Args:
        membership: the membership of this process.
    """

    def __init__(self, membership: Membership) -> None:
        self._members = membership
        self._records: dict[int, RedisRecord] = {}
        self._watches: dict[int, _Watch] = {}
        self._connections: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._connected = count(1)
        self._writes = 0
        self._incomplete: set[str] = set()
        self._forgotten = False
        membership.add(self, {"v": self._reached})

    def begin(self, key: str, asked: Asked, connection: object) -> Record:
        if self._writes >= MOST_WRITES:
            self._drop(key)
            return DROPPED
        number = self._members.number()
        record = self._records[number] = RedisRecord(self, key, number, self._members.member(number), asked.accepted)
        target, method = asked.target.decode("latin-1"), asked.method.decode("latin-1")
        text = json.dumps([asked.id.decode("latin-1"), asked.style, method, target, asked.at])
        bounds = MOST_ENTRIES, MOST_OF_KEY, MOST_JOURNALS
        self._writes += 1
        begun = self._members.run(
            _BEGIN, key, record.member, self._token(connection), text, *bounds, _micros(asked.accepted)
        )
        begun.addCallback(self._begun, record).addErrback(self._not_begun, record)
        return record

    def planned(self, record: RedisRecord, n: int | None, asked_ms: float | None) -> None:
        """Note the turn of a request, and the delay that it asked for."""
        if record.number in self._records:
            self._write(record, _PLANNED, json.dumps([n, asked_ms]))

    def end(self, record: RedisRecord, how: str, at: int, took: int) -> None:
        """Note the end of a request; a second call has no effect.

        Args:
            record: its record.
            how: the end as JSON.
            at: when it ended, in microseconds of this process's clock.
            took: microseconds since the acceptance.
        """
        if self._records.pop(record.number, None) is not None:
            self._write(record, _END, how, at, took)

    def of(self, key: str) -> Deferred[Kept]:
        return self._members.run(_OF, key).addCallback(_kept)

    def until(self, key: str, ended: int) -> Deferred[None]:
        if len(self._watches) >= MOST_WATCHES:
            raise Refused(TOO_MANY)
        number = self._members.number()
        watch = self._watches[number] = _Watch(key, number, self._members.member(number), ended)
        watch.fired = Deferred(lambda _: self._leave(watch))
        asked = self._members.run(_UNTIL, key, watch.member, ended)
        asked.addCallback(self._watched, watch).addErrback(self._not_watched, watch)
        return watch.fired

    def forget(self, key: str) -> None:
        self._members.attempt(_FORGET, key)

    def items(self) -> Iterator[str]:
        yield from [record.item() for record in self._records.values()]
        yield from [watch.item() for watch in self._watches.values()]

    def settle(self, full: Sequence[tuple[str, int]]) -> None:
        """Report the keys whose requests were dropped while Redis was away."""
        keys, self._incomplete = self._incomplete, set()
        forgotten, self._forgotten = self._forgotten, False
        for lost in ([keys] if keys else []) + ([set()] if forgotten else []):
            self._members.run(_INCOMPLETE, *sorted(lost)).addErrback(self._not_reported, lost)

    def _token(self, connection: object) -> str:
        """Return a name of a connection that no other process has."""
        found = self._connections.get(connection)
        if found is None:
            found = self._connections[connection] = next(self._connected)
        return self._members.member(found)

    def _write(self, record: RedisRecord, what: Script, *arguments: str | int) -> None:
        self._writes += 1
        asked = self._members.run(what, record.key, record.member, *arguments)
        asked.addErrback(self._not_written, record).addBoth(self._written)

    def _written(self, _: object) -> None:
        self._writes -= 1

    def _begun(self, reply: Sequence[bytes], record: RedisRecord) -> None:
        self._writes -= 1
        record.kept = reply[0] == b"kept"
        if not record.kept:
            self._records.pop(record.number, None)

    def _not_begun(self, failure: Failure, record: RedisRecord) -> None:
        self._writes -= 1
        self._members.failed(failure)
        self._records.pop(record.number, None)
        self._drop(record.key)

    def _not_written(self, failure: Failure, record: RedisRecord) -> None:
        # Redis may have the entry, without its end: the next entry of this process takes it out.
        self._members.failed(failure)
        self._drop(record.key)

    def _not_reported(self, failure: Failure, lost: set[str]) -> None:
        self._members.failed(failure)
        for key in lost:
            self._drop(key)
        self._forgotten = self._forgotten or not lost

    def _drop(self, key: str) -> None:
        """Remember that the journal of a key is not complete."""
        if len(self._incomplete) < MOST_INCOMPLETE or key in self._incomplete:
            self._incomplete.add(key)
        else:
            self._forgotten = True
        self._members.look_again()

    def _watched(self, reply: Sequence[bytes], watch: _Watch) -> None:
        if reply[0] == b"there":
            self._reached(str(watch.number))
        elif watch.number in self._watches:
            watch.entered = True
        elif watch.left:
            self._members.attempt(GIVE_UP, f"v {watch.key} {watch.member}")

    def _not_watched(self, failure: Failure, watch: _Watch) -> None:
        self._members.failed(failure)
        if self._watches.pop(watch.number, None) is not None:
            watch.fired.errback(failure)

    def _reached(self, number: str) -> None:
        watch = self._watches.pop(int(number), None)
        if watch is not None:
            watch.fired.callback(None)

    def _leave(self, watch: _Watch) -> None:
        watch.left = True
        if self._watches.pop(watch.number, None) is not None and watch.entered:
            self._members.attempt(GIVE_UP, f"v {watch.key} {watch.member}")


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)


def _kept(reply: Sequence[Any]) -> Kept:
    complete, *rest = reply
    fields = dict(zip(rest[::2], rest[1::2], strict=True))
    begun = [(name.partition(b" ")[2], text) for name, text in fields.items() if name.startswith(b"begun ")]
    found = [(int(text.partition(b" ")[0]), _entry(text, member, fields)) for member, text in begun]
    return Kept([entry for _, entry in sorted(found, key=lambda pair: pair[0])], bool(complete))


def _entry(text: bytes, member: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """Make an entry, with the seconds of Redis's clock."""
    _, at, overlaps, gap, connection, given = text.split(b" ", 5)
    number, style, method, target, day = json.loads(given)
    accepted = int(at) / 1e6
    asked = Asked(number.encode("latin-1"), style, method.encode("latin-1"), target.encode("latin-1"), day, accepted)
    gap_ms = None if gap == b"-" else int(gap) / 1000
    planned = json.loads(fields.get(b"planned " + member, b"[null, null]"))
    entry = Entry(asked, int(overlaps), gap_ms, int(connection), *planned)
    if (ended := fields.get(b"ended " + member)) is not None:
        how, took_ms, *more = json.loads(ended)
        entry.end = End(how, accepted + took_ms / 1000, *more)
    return entry
