"""The changes of scenarios in Redis, with a copy in each process.

Redis has the scenarios that were changed and nothing of those of the start, which each process has by itself. Each
change has a number, one more than the one before. It goes to all processes as a message with this number; a process
that missed one reads everything again.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from latebin.core.http.reply import Refused
from latebin.state.interfaces import StateError
from latebin.state.redis.connection import AWAY, PREFIX, Script, Store

log = Logger()

CHANGES: Final = f"{PREFIX}scenarios"
"""The hash of the changed scenarios, and the beginning of the channel of the changes."""

VERSION: Final = f"{PREFIX}scenarios:version"
"""The number of the last change."""

CHANGE: Final = Script(
    """
local kind, name, text, version, lifetime, channel = unpack(ARGV)
local last = redis.call('GET', KEYS[2]) or '0'
if last ~= version then
    return last
end
if kind == 'reset' then
    redis.call('DEL', KEYS[1])
elseif kind == 'put' then
    redis.call('HSET', KEYS[1], name, text)
else
    redis.call('HDEL', KEYS[1], name)
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    -- A Redis that lost everything begins above all numbers that it gave before.
    local time = redis.call('TIME')
    redis.call('SET', KEYS[2], string.format('%.0f', time[1] * 1000000 + time[2]))
end
local made = redis.call('INCR', KEYS[2])
redis.call('PEXPIRE', KEYS[1], lifetime)
redis.call('PEXPIRE', KEYS[2], lifetime)
redis.call('PUBLISH', channel, redis.call('GET', KEYS[2]) .. ' ' .. kind .. ' ' .. name .. ' ' .. text)
return made
"""
)
"""Make a change where the last one has the given number: ARGV are kind, name, text, number, lifetime, channel.

The reply is the number of the change, as an integer. Where the last one has another number, it is that one, as a text.
"""

MESSAGE_TIME: Final = 0.5
"""Seconds that a change is waited for whose number is known; then everything is read."""

ATTEMPTS: Final = 100
"""The most attempts of a change, each after another process was first."""

READ: Final = Script(
    """
local found = redis.call('HGETALL', KEYS[1])
return (redis.call('GET', KEYS[2]) or '0') .. ' ' .. (#found == 0 and '[]' or cjson.encode(found))
"""
)
"""Read the number of the last change and all changed scenarios, as one text that txredisapi reads at once."""

KEEP: Final = Script(
    """
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('PEXPIRE', KEYS[2], ARGV[1])
"""
)


class SharedChanges:
    """The changed scenarios, in the copy of this process.

    The changes outlive the last process by the lifetime.

    Args:
        store: the Redis.
        clock: the clock of the deadlines.
        lifetime: seconds.
        changed: is called when the copy is another one.

    Attributes:
        texts: the changed scenarios as JSON, by name.
        version: the number of the last change in the copy.
    """

    def __init__(
        self, store: Store, clock: IReactorTime, lifetime: float, changed: Callable[[Mapping[str, str]], object]
    ) -> None:
        self.texts: dict[str, str] = {}
        self.version = 0
        self._store = store
        self._clock = clock
        self._lifetime = max(1, round(lifetime * 1000))
        self._changed = changed
        self._lock = DeferredLock()
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._reading: list[Deferred[None]] = []
        self._newest = 0
        self._first: Deferred[None] = Deferred()
        # A channel is heard in every database.
        self._channel = f"{CHANGES}:{store.url.database}"
        store.listen(self._channel, self._heard, self._read)
        store.on_beat(self._keep)

    def ready(self) -> Deferred[None]:
        """Wait until the copy has been read for the first time.

        Returns:
            A Deferred that fires then, for one caller; it fails with StateError if that reading fails.
        """
        return self._first

    def change(self, make: Callable[[], tuple[str, str, str]]) -> Deferred[None]:
        """Make a change of what the copy has now.

        Changes of this process are made one after the other. Where another process is first, the copy takes its change
        over, and this one is tried again.

        Args:
            make: returns the kind of the change, which is put, delete or reset, a name and a text. It is called for
                each attempt.

        Returns:
            A Deferred that fires when the copy has the change; it fails with what `make` raises, or with Refused.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._change(make)))

    async def _change(self, make: Callable[[], tuple[str, str, str]]) -> None:
        for _ in range(ATTEMPTS):
            if not self._store.connected:
                break
            version = self.version
            arguments = *make(), str(version), self._lifetime, self._channel
            made = await self._store.run(CHANGE, [CHANGES, VERSION], arguments)
            if isinstance(made, int):
                return await self._reached(made)
            # A Redis that lost its data has a lower number, or none, and sends no message.
            await (self._reached(int(made)) if int(made) > version else self._read())
        raise Refused(AWAY)

    def _reached(self, version: int) -> Deferred[None]:
        """Wait until the copy has a change."""
        if self.version >= version:
            return succeed(None)
        reached: Deferred[None] = Deferred(lambda reached: self._waiting.remove((version, reached)))
        self._waiting.append((version, reached))
        late = self._clock.callLater(MESSAGE_TIME, self._too_late, version, reached)

        def stop(result: Any) -> Any:  # noqa: ANN401  # None, or a Failure
            if late.active():
                late.cancel()
            return result

        return reached.addBoth(stop)

    def _too_late(self, version: int, reached: Deferred[None]) -> None:
        """Read everything, as the message of a change is lost."""
        self._read().addCallback(lambda _: self._give_up(version, reached))

    def _give_up(self, version: int, reached: Deferred[None]) -> None:
        if not reached.called:
            self._waiting.remove((version, reached))
            reached.errback(Refused(AWAY))

    def _heard(self, message: bytes) -> None:
        """Take a change over, or read everything if one is missing before it."""
        number, kind, name, text = message.decode().split(" ", 3)
        self._newest = int(number)
        if self._newest == self.version + 1 and not self._reading:
            self._set(self._newest, _changed(self.texts, kind, name, text))
        elif self._newest > self.version:
            self._read()

    def _read(self) -> Deferred[None]:
        """Read everything, unless that is under way.

        Returns:
            A Deferred that fires at the end, whether everything is read or not.
        """
        done: Deferred[None] = Deferred()
        self._reading.append(done)
        if len(self._reading) == 1:
            self._newest = 0
            read = self._store.run(READ, [CHANGES, VERSION])
            read.addCallback(self._take_over).addErrback(self._not_read).addCallback(self._end_reading)
        return done

    def _end_reading(self, _: None) -> None:
        done, self._reading = self._reading, []
        for each in done:
            each.callback(None)
        if self._newest > self.version and self._store.connected:
            # A message came while this was read.
            self._read()

    def _take_over(self, reply: bytes) -> None:
        number, _, found = reply.decode().partition(" ")
        flat = iter(json.loads(found))
        self._set(int(number), dict(zip(flat, flat, strict=True)))

    def _not_read(self, failure: Failure) -> None:
        # A lost connection comes back, and then the changes are read.
        if not self._first.called:
            self._first.errback(StateError(f"cannot read the scenarios in Redis: {failure.value}"))
        if not failure.check(Refused):
            log.failure("the changes of scenarios could not be read", failure)

    def _set(self, version: int, texts: dict[str, str]) -> None:
        self.version, self.texts = version, texts
        self._changed(texts)
        for each in [each for each in self._waiting if each[0] <= version]:
            self._waiting.remove(each)
            each[1].callback(None)
        if not self._first.called:
            self._first.callback(None)

    def _keep(self) -> None:
        """Let the changes live on."""
        self._store.run(KEEP, [CHANGES, VERSION], [self._lifetime]).addErrback(self._not_kept)

    def _not_kept(self, failure: Failure) -> None:
        if not failure.check(Refused):
            log.failure("the changes of scenarios could not be kept", failure)


def _changed(texts: Mapping[str, str], kind: str, name: str, text: str) -> dict[str, str]:
    if kind == "reset":
        return {}
    others = {each: given for each, given in texts.items() if each != name}
    return {**others, name: text} if kind == "put" else others
