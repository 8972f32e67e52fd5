"""Connections to Redis whose replies and messages arrive when a test says so."""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from latebin.core.http.reply import Refused
from latebin.state.redis.connection import AWAY, Script
from tests.support.process import BOUND
from tests.support.redis import RedisServer, encoded, read

_numbers = count(1)


class _Line:
    """A connection to Redis that waits for each reply."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=BOUND)
        self._file = self._socket.makefile("rb")

    def ask(self, *words: object) -> Any:
        self._socket.sendall(encoded(words))
        return self.read()

    def read(self) -> Any:
        return read(self._file)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class PumpedStore:
    """The `Store` of one process, in the hands of a test.

    A script runs in Redis when it is sent. Its reply and the messages arrive when the test calls `replies` and
    `messages`.

    Attributes:
        instance: the name of the process.
        away: whether the process is cut off from Redis.
        url: where Redis is.
        observer: as `Store` has it; nothing is reported to it.
        silent: whether messages are left lying, as by a process that is stopped.
    """

    def __init__(self, server: RedisServer) -> None:
        self.instance = f"process{next(_numbers)}"
        self.away = self.silent = False
        self.url = server.url
        self.observer: object = None
        self._server = server
        self._commands = _Line(server.port)
        self._subscriber = _Line(server.port)
        self._waiting: deque[tuple[Deferred[Any], Any]] = deque()
        self._listeners: dict[bytes, tuple[Callable[[bytes], object], Callable[[], object]]] = {}
        self._news: deque[tuple[bytes, bytes]] = deque()

    @property
    def connected(self) -> bool:
        return not self.away

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes | float] = ()) -> Deferred[Any]:
        if self.away:
            return fail(Refused(AWAY))
        reply = self._commands.ask("EVAL", script.text, len(keys), *keys, *arguments)
        result: Deferred[Any] = Deferred()
        self._waiting.append((result, reply))
        return result

    def listen(self, channel: str, heard: Callable[[bytes], object], again: Callable[[], object]) -> None:
        self._listeners[channel.encode()] = heard, again
        self._subscriber.ask("SUBSCRIBE", channel)
        again()

    def on_beat(self, function: Callable[[], object]) -> None:
        """Call nothing regularly: time is in the hands of the test."""

    def replies(self, most: int | None = None) -> bool:
        """Let replies arrive; return whether one did."""
        arrived = 0
        while self._waiting and arrived != most:
            result, reply = self._waiting.popleft()
            result.callback(reply)
            arrived += 1
        return arrived > 0

    def messages(self) -> bool:
        """Let the messages arrive that were published so far; return whether one did."""
        if self.away or self.silent:
            return False
        self._fetch()
        arrived = len(self._news)
        while self._news:
            channel, text = self._news.popleft()
            self._listeners[channel][0](text)
        return arrived > 0

    def cut(self) -> None:
        """Cut the process off: what is under way is lost."""
        self._fetch()
        self.away = True
        self._news.clear()
        lost, self._waiting = self._waiting, deque()
        for result, _ in lost:
            result.errback(Refused(AWAY))
        self._commands.close()
        self._subscriber.close()

    def mend(self) -> None:
        """Connect again."""
        self._commands, self._subscriber = _Line(self._server.port), _Line(self._server.port)
        self.away = False
        for channel, (_, again) in self._listeners.items():
            self._subscriber.ask("SUBSCRIBE", channel.decode())
            again()

    def stop(self) -> Deferred[None]:
        """Close the connections, as at the end of a service."""
        self.close()
        return succeed(None)

    def close(self) -> None:
        self._commands.close()
        self._subscriber.close()

    def _fetch(self) -> None:
        # The reply comes behind all that was published before.
        reply = self._subscriber.ask("PING")
        while reply[0] == b"message":
            self._news.append((reply[1], reply[2]))
            reply = self._subscriber.read()
