"""The journal in the memory of one process."""

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final
from weakref import WeakKeyDictionary, ref

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from latebin.core.http.reply import Problem, Refused
from latebin.core.journal import MOST_ENTRIES, MOST_OF_KEY, Asked, End, Entry, Kept
from latebin.state.interfaces import Record

MOST_JOURNALS: Final = 10_000
"""Keys with a journal, also with an empty one."""

MOST_WATCHES: Final = 1_000
"""Requests that wait at once until so many of a key have ended."""

TOO_MANY: Final = Problem(
    429,
    "Too many requests wait for the ends of others.",
    parameter="ended",
    accepted=f"at most {MOST_WATCHES} at once",
    headers=((b"Retry-After", b"1"),),
)


def _nothing() -> None:
    """Stand for the connection of a journal without one."""


@attrs.define(eq=False)
class _Journal:
    """The journal of one key; `dropped` is whether an entry is missing."""

    last: float
    entries: list[Entry] = attrs.field(factory=list)
    pending: int = 0
    dropped: bool = False
    connections: "WeakKeyDictionary[object, int]" = attrs.field(factory=WeakKeyDictionary)
    numbered: int = 0
    latest: Callable[[], object] = _nothing
    number: int = 0

    def begin(self, asked: Asked, connection: object) -> Entry:
        before = self.entries[-1].end if self.entries else None
        gap_ms = None if before is None else round((asked.accepted - before.at) * 1000, 3)
        # Most requests come on the connection of the one before; the dictionary takes ten times as long.
        if self.latest() is not connection:
            self.latest, self.number = ref(connection), self._find_number(connection)
        entry = Entry(asked, self.pending, gap_ms, self.number)
        self.entries.append(entry)
        self.pending += 1
        return entry

    def _find_number(self, connection: object) -> int:
        found = self.connections.get(connection)
        if found is None:
            self.numbered += 1
            found = self.connections[connection] = self.numbered
        return found


class DroppedRecord:
    """The record of a request that is not kept."""

    def planned(self, n: int | None, asked_ms: float | None) -> None:
        """Keep nothing."""

    def end(self, end: End) -> None:
        """Keep nothing."""


DROPPED: Final = DroppedRecord()


@attrs.define(eq=False)
class _KeptRecord:
    _owner: "MemoryJournal"
    _key: str
    _journal: _Journal
    _entry: Entry

    def planned(self, n: int | None, asked_ms: float | None) -> None:
        self._entry.n, self._entry.asked_ms = n, asked_ms

    def end(self, end: End) -> None:
        if self._entry.end is None:
            self._entry.end = end
            self._journal.pending -= 1
            self._owner.notify(self._key)


class MemoryJournal:
    """The journals of all keys.

    The journal of a key is forgotten some time after its last request.

    Args:
        clock: the clock of that time.
        lifetime: seconds of that time.
    """

    def __init__(self, clock: IReactorTime, lifetime: float) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._journals: OrderedDict[str, _Journal] = OrderedDict()
        # Before this moment no journal is too old.
        self._old_at = -inf
        self._entries = 0
        # When a request was dropped whose key had no journal.
        self._lost = -inf
        self._watches: dict[str, dict[Deferred[None], int]] = {}

    def begin(self, key: str, asked: Asked, connection: object) -> Record:
        now = asked.accepted
        if now >= self._old_at:
            self._forget_old(now)
        journal = self._journals.get(key)
        if journal is None:
            if len(self._journals) >= MOST_JOURNALS:
                self._lost = now
                return DROPPED
            journal = self._journals[key] = _Journal(now)
        else:
            self._journals.move_to_end(key)
            journal.last = now
        if self._entries >= MOST_ENTRIES or len(journal.entries) >= MOST_OF_KEY:
            journal.dropped = True
            return DROPPED
        self._entries += 1
        return _KeptRecord(self, key, journal, journal.begin(asked, connection))

    def of(self, key: str) -> Kept:
        now = self._clock.seconds()
        self._forget_old(now)
        journal = self._journals.get(key)
        if journal is None:
            return Kept(complete=self._lost + self._lifetime <= now)
        return Kept(list(journal.entries), not journal.dropped)

    def until(self, key: str, ended: int) -> Deferred[None]:
        if sum(map(len, self._watches.values())) >= MOST_WATCHES:
            raise Refused(TOO_MANY)
        watch: Deferred[None] = Deferred(lambda watch: self._unwatch(key, watch))
        self._watches.setdefault(key, {})[watch] = ended
        self.notify(key)
        return watch

    def forget(self, key: str) -> None:
        journal = self._journals.pop(key, None)
        if journal is not None:
            self._entries -= len(journal.entries)

    def notify(self, key: str) -> None:
        """Notify those that wait until so many requests of the key have ended."""
        watches = self._watches.get(key)
        if watches is None:
            return
        ended = self.of(key).ended
        for watch in [watch for watch, least in watches.items() if least <= ended]:
            self._unwatch(key, watch)
            watch.callback(None)

    def _unwatch(self, key: str, watch: Deferred[None]) -> None:
        watches = self._watches[key]
        del watches[watch]
        if not watches:
            del self._watches[key]

    def _forget_old(self, now: float) -> None:
        # The journals are in the order of their last requests.
        journals = self._journals
        self._old_at = now + self._lifetime
        while journals:
            first = next(iter(journals))
            old_at = journals[first].last + self._lifetime
            if old_at > now:
                self._old_at = old_at
                return
            self.forget(first)
