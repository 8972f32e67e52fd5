"""Journals in memory and in the Redis of two processes."""

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from latebin.core.http.reply import Refused
from latebin.core.journal import Asked, End, Kept
from latebin.state import journal as memory
from latebin.state.interfaces import Record
from latebin.state.redis import journal
from tests.support.redis import needed
from tests.support.states import RedisWorld, World

pytestmark = needed


class Connection:
    """A connection, of which only the identity counts."""


CONNECTIONS = Connection(), Connection()


def begin(shared: World, member: int = 0, key: str = "a", connection: int = 0) -> Record:
    asked = Asked(b"id-1", "klein", b"GET", b"/delayed?key=a\xff", 1e9, shared.clock.seconds())
    journals = shared.members[member % len(shared.members)].journal
    found: Record = journals.begin(key, asked, CONNECTIONS[connection])
    return found


def kept(shared: World, key: str = "a", member: int = -1) -> Kept:
    shared.settle()
    found: Kept = shared.result(shared.members[member].journal.of(key))
    return found


def figures(shared: World, *names: str) -> list[list[Any]]:
    return [[each[name] for name in names] for each in kept(shared).as_json()["requests"]]


def finish(shared: World, records: Sequence[Record], ended: Any = "answered") -> None:
    for record in records:
        record.end(End(ended, shared.clock.seconds(), 200, 1.5, "FIN" if ended == "left" else None))


def test_entry(shared: World) -> None:
    """An entry has all that its process wrote when another process reads it."""
    record = begin(shared)
    record.planned(3, 250.0)
    [pending] = kept(shared).as_json()["requests"]
    assert (pending["n"], pending["asked_ms"], pending["ended"], pending["gap_ms"]) == (3, 250.0, None, None)
    shared.clock.advance(0.125)
    finish(shared, [record, record], "left")
    [entry] = kept(shared).as_json()["requests"]
    assert entry == {
        **pending,
        "ended": "left",
        "left_by": "FIN",
        "left_after_ms": 125.0,
        "status": 200,
        "measured_ms": 1.5,
    }
    assert entry == {
        **entry,
        "id": "id-1",
        "style": "klein",
        "method": "GET",
        "path": "/delayed",
        "query": "key=a\xff",
        "at": "2001-09-09T01:46:40.000Z",
        "connection": 1,
        "overlaps": 0,
    }


def test_gaps_and_connections(shared: World) -> None:
    """Gaps are those of the process's own clock, and connections are counted for each key."""
    first = begin(shared)
    second = begin(shared)
    finish(shared, [first])
    shared.clock.advance(0.25)
    third = begin(shared, connection=1)
    finish(shared, [third])
    shared.clock.advance(0.5)
    begin(shared)
    finish(shared, [second])
    assert figures(shared, "gap_ms", "overlaps", "connection") == [
        [None, 0, 1],
        [None, 1, 1],
        [None, 1, 2],
        [500.0, 1, 1],
    ]


def test_two_processes(redis: RedisWorld) -> None:
    """A journal has the requests to every process in the order of acceptance."""
    records = [begin(redis, n % 2) for n in range(3)]
    redis.settle()
    finish(redis, records)
    redis.settle()
    records.append(begin(redis, 0))
    assert figures(redis, "overlaps", "connection", "ended") == [
        [0, 1, "answered"],
        [1, 2, "answered"],
        [2, 1, "answered"],
        [0, 1, None],
    ]
    [[gap]] = figures(redis, "gap_ms")[3:]
    assert gap >= 0


def test_until(shared: World) -> None:
    """A watch fires when so many requests have ended, in any process."""
    results: list[Any] = []
    shared.members[-1].journal.until("a", 2).addBoth(results.append)
    records = [begin(shared, 0), begin(shared, 1)]
    shared.settle()
    finish(shared, records[:1])
    shared.settle()
    assert results == []
    finish(shared, records[1:])
    shared.settle()
    assert results == [None]
    assert shared.result(shared.members[0].journal.until("a", 1)) is None
    gone = shared.members[0].journal.until("a", 3)
    gone.addBoth(results.append)
    shared.settle()
    gone.cancel()
    assert results[1].check(CancelledError)
    shared.settle()
    finish(shared, [begin(shared)])
    assert kept(shared).ended == 3


def test_forget(shared: World) -> None:
    """A forgotten journal is empty, and the ends of pending requests are dropped."""
    record = begin(shared)
    shared.settle()
    shared.members[-1].journal.forget("a")
    shared.settle()
    record.planned(1, None)
    finish(shared, [record])
    assert (list(kept(shared).entries), kept(shared).complete) == ([], True)


def test_expiry(redis: RedisWorld) -> None:
    """Every key in Redis expires when a journal is forgotten that never was, and later."""
    redis.members[0].journal.forget("never")
    redis.settle()
    assert b"journals:total" not in redis.kept()
    begin(redis)
    redis.settle()
    redis.members[0].journal.forget("a")
    redis.settle()
    keys = redis.server.ask("KEYS", "*")
    assert [key for key in keys if redis.server.ask("TTL", key) < 0] == []


def test_bounds(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request beyond a bound is dropped, and its journal is not complete."""
    for module in (memory, journal):
        monkeypatch.setattr(module, "MOST_OF_KEY", 2)
        monkeypatch.setattr(module, "MOST_ENTRIES", 3)
        monkeypatch.setattr(module, "MOST_JOURNALS", 3)
    for key in "aaabcd":
        record = begin(shared, key=key)
        record.planned(1, None)
        finish(shared, [record])
    found = [(len(each.entries), each.complete) for each in (kept(shared, key) for key in "abcd")]
    assert found == [(2, False), (1, True), (0, False), (0, False)]
    shared.members[0].journal.forget("a")
    shared.settle()
    begin(shared, key="e")
    assert len(kept(shared, "e").entries) == 1
    for module in (memory, journal):
        monkeypatch.setattr(module, "MOST_WATCHES", 0)
    with pytest.raises(Refused):
        shared.members[0].journal.until("a", 1)


def test_away(redis: RedisWorld) -> None:
    """A journal is not complete when a request came, or ended, while Redis was away."""
    ended, pending, other = begin(redis, 1), begin(redis, 1, "b"), begin(redis, 0, "a")
    redis.settle()
    redis.members[1].store.cut()
    finish(redis, [ended])
    lost = begin(redis, 1, "c")
    lost.planned(1, None)
    finish(redis, [lost])
    assert kept(redis, "c", 0).complete
    redis.members[1].store.mend()
    redis.settle()
    finish(redis, [pending, other])
    found = [(kept(redis, key).ended, len(kept(redis, key).entries), kept(redis, key).complete) for key in "abc"]
    assert found == [(1, 1, False), (1, 1, True), (0, 0, False)]


def test_slow(redis: RedisWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is dropped, and the journal says so, when too much is under way."""
    monkeypatch.setattr(journal, "MOST_WRITES", 1)
    begin(redis)
    begin(redis)
    redis.settle()
    redis.members[0].membership.beat()
    found = kept(redis)
    assert (len(found.entries), found.complete) == (1, False)


def test_died(redis: RedisWorld) -> None:
    """A request is broken off when its process has died."""
    begin(redis, 1)
    redis.settle()
    redis.members[1].store.cut()
    redis.give_up(1)
    assert [entry.as_json()["ended"] for entry in kept(redis, member=0).entries] == ["broken"]


def test_data_lost(redis: RedisWorld) -> None:
    """A journal is not complete when Redis has lost its data."""
    pending = begin(redis, 0)
    finish(redis, [begin(redis, 0, "b")])
    redis.settle()
    redis.server.ask("FLUSHALL")
    begin(redis, 0, "c")
    redis.settle()
    finish(redis, [pending])
    assert [kept(redis, key).complete for key in "abc"] == [False, False, True]
