"""The connections to Redis: replies, losses and messages, tried with a real one."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("txredisapi")

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogLevel, capturedLogs

from latebin.core.http.reply import Refused
from latebin.core.state_url import StateUrl
from latebin.state.interfaces import StateError
from latebin.state.redis import connection
from latebin.state.redis.connection import Script, Store
from tests.support.certificate import certificate
from tests.support.process import ports
from tests.support.process import until as wait
from tests.support.redis import RedisServer, needed, running
from tests.support.sockets import asynchronous, until

pytestmark = needed

COUNT = Script("return redis.call('INCR', KEYS[1])")
ECHO = Script("return {ARGV[1], #KEYS, false, ARGV[2]}")
BROKEN = Script("return redis.call('INCR', 'latebin:alive', 1)")
PUSH = Script("return redis.call('APPEND', KEYS[1], 'x')")
PUBLISH = Script("return redis.call('PUBLISH', KEYS[1], ARGV[1])")

REACTOR = cast("Any", reactor)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


class Seen:
    """The metrics of a store, as lists."""

    def __init__(self) -> None:
        self.ups: list[bool] = []
        self.seconds: list[float] = []
        self.failures = 0

    def state_up(self, up: bool) -> None:  # noqa: FBT001  # as the interface has it
        self.ups.append(up)

    def state_answered(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def state_failed(self) -> None:
        self.failures += 1


@asynccontextmanager
async def stored(url: StateUrl) -> AsyncIterator[Store]:
    store = Store(REACTOR, REACTOR, url, Seen())
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def refusal(store: Store) -> int:
    with pytest.raises(Refused) as refused:
        await store.run(COUNT, ["latebin:test"])
    assert refused.value.problem.headers == ((b"Retry-After", b"1"),)
    return refused.value.problem.status


@asynchronous
async def test_replies(server: RedisServer) -> None:
    """Replies are bytes, integers and None in the order of the calls when scripts run."""
    server.ask("FLUSHALL")
    async with stored(server.url) as store:
        assert await store.run(ECHO, ["a"], ["1.50", 0.1]) == [b"1.50", 1, None, b"0.1"]
        counts = await gatherResults([store.run(COUNT, ["latebin:test"]) for _ in range(100)])
        assert counts == list(range(1, 101))
        seen = cast("Seen", store.observer)
        assert (seen.ups, len(seen.seconds), seen.failures) == ([True], 101, 0)


@asynchronous
async def test_forgotten_script(server: RedisServer) -> None:
    """A script runs once when Redis has forgotten it."""
    server.ask("FLUSHALL")
    async with stored(server.url) as store:
        await store.run(COUNT, ["latebin:test"])
        server.ask("SCRIPT", "FLUSH")
        assert await store.run(COUNT, ["latebin:test"]) == 2


@asynchronous
async def test_cancelled(server: RedisServer) -> None:
    """The next reply is not mistaken for the one before when that is cancelled."""
    server.ask("FLUSHALL")
    async with stored(server.url) as store:
        first, second = (store.run(COUNT, ["latebin:test"]) for _ in range(2))
        first.cancel()
        assert await second == 2
        with pytest.raises(CancelledError):
            await first


@asynchronous
async def test_defect(server: RedisServer) -> None:
    """A script fails with the error of Redis, unrefused, when Redis rejects the script."""
    async with stored(server.url) as store:
        with pytest.raises(Exception, match="rong number of arg") as failed:
            await store.run(BROKEN, [])
        assert not isinstance(failed.value, Refused)


@asynchronous
async def test_messages(server: RedisServer) -> None:
    """A message reaches every subscription of its channel until it stops."""
    async with stored(server.url) as store:
        heard: list[tuple[int, bytes]] = []
        again: list[int] = []
        one, two = (
            store.listen("latebin:here", lambda text, n=n: heard.append((n, text)), lambda n=n: again.append(n))  # type: ignore[misc]  # mypy takes no defaults
            for n in range(2)
        )
        await until(lambda: len(again) == 2)
        assert await store.run(PUBLISH, ["latebin:here"], [b"a\xff"]) == 1
        await until(lambda: len(heard) == 2)
        one.stop()
        one.stop()
        await store.run(PUBLISH, ["latebin:here"], ["b"])
        await until(lambda: len(heard) == 3)
        assert heard == [(0, b"a\xff"), (1, b"a\xff"), (1, b"b")]
        two.stop()
        # The connection is in order behind the end of its last subscription.
        last = store.listen("latebin:here", lambda text: heard.append((2, text)), lambda: again.append(2))
        await until(lambda: again == [0, 1, 2])
        last.stop()


@asynchronous
async def test_killed(tmp_path: Path) -> None:
    """Scripts fail at once while Redis is away, and run again when it is back."""
    with running(tmp_path) as server:
        async with stored(server.url) as store:
            again: list[bool] = []
            store.listen("latebin:here", lambda _: None, lambda: again.append(store.connected))
            await until(lambda: len(again) == 1)
            await store.run(COUNT, ["latebin:test"])
            os.kill(server.pid, signal.SIGSTOP)
            waiting = [store.run(COUNT, ["latebin:test"]) for _ in range(3)]
            server.kill()
            for each in waiting:
                with pytest.raises(Refused):
                    await each
            await until(lambda: not store.connected)
            refused = store.run(COUNT, ["latebin:test"])
            assert refused.called
            with pytest.raises(Refused):
                await refused
            server.start()
            await until(lambda: len(again) > 1)
            assert all(again)
            assert await store.run(COUNT, ["latebin:test"]) == 2
            assert cast("Seen", store.observer).ups == [True, False, True]


@asynchronous
async def test_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script is refused when Redis is silent for the time of a reply."""
    with running(tmp_path) as server:
        async with stored(server.url) as store:
            os.kill(server.pid, signal.SIGSTOP)
            with monkeypatch.context() as patched:
                patched.setattr(connection, "PATIENCE", 0.05)
                assert await refusal(store) == 503
            os.kill(server.pid, signal.SIGCONT)
            await until(lambda: store.connected)


@asynchronous
async def test_slow_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply counts when this process stood still for too long to read it."""
    with running(tmp_path) as server:
        async with stored(server.url) as store:
            monkeypatch.setattr(connection, "PATIENCE", 0.5)
            asked = [store.run(COUNT, ["latebin:test"]) for _ in range(3)]
            over = time.monotonic() + 0.6

            def stand_still() -> None:
                wait(lambda: server.ask("GET", "latebin:test") == b"3" and time.monotonic() > over)

            # The commands are sent at the end of a turn of the reactor. In the next, this comes before the timers.
            REACTOR.callLater(0, REACTOR.callFromThread, stand_still)
            assert await gatherResults(asked) == [1, 2, 3]
            assert cast("Seen", store.observer).ups == [True]


@asynchronous
async def test_full(tmp_path: Path) -> None:
    """A script is refused when Redis has no memory for it."""
    with running(tmp_path) as server:
        async with stored(server.url) as store:
            server.ask("CONFIG", "SET", "maxmemory", "1")
            with capturedLogs() as events:
                for script in (PUSH, COUNT, PUSH):
                    with pytest.raises(Refused):
                        await store.run(script, ["latebin:test"])
                assert await refusal(store) == 503
            assert [each["text"].partition(" ")[0] for each in events] == ["OOM"]


@asynchronous
async def test_wrong_type(server: RedisServer) -> None:
    """A script is refused when a key in Redis is of another type."""
    server.ask("FLUSHALL")
    server.ask("RPUSH", "latebin:test", "another's")
    async with stored(server.url) as store:
        assert await refusal(store) == 503
        server.ask("DEL", "latebin:test")
        assert await store.run(COUNT, ["latebin:test"]) == 1


class Fake(Protocol):
    """A server that answers all that it reads with the same bytes."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply

    def dataReceived(self, data: bytes) -> None:  # as Twisted has it
        assert self.transport is not None
        self.transport.write(self.reply)


@asynchronous
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"\xff\xfe\r\n", "the server does not speak Redis' protocol"),
        (b"x" * 100_000, "the server does not speak Redis' protocol"),
        (b":7\r\n", "the server does not speak Redis' protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r"no reply within 0\.2s"),
        (b"", r"no reply within 0\.2s"),
    ],
)
async def test_no_redis(reply: bytes, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails with a plain error when something else listens at the address."""
    port = REACTOR.listenTCP(0, Factory.forProtocol(partial(Fake, reply)), interface="127.0.0.1")
    store = Store(REACTOR, REACTOR, StateUrl("127.0.0.1", port.getHost().port))
    if "no reply" in error:
        monkeypatch.setattr(connection, "PATIENCE", 0.2)
    with capturedLogs() as events, pytest.raises(StateError, match=error):
        await store.start()
    await store.stop()
    await port.stopListening()
    assert [each for each in events if each["log_level"] > LogLevel.info] == []


@asynchronous
async def test_user(tmp_path: Path) -> None:
    """A store uses the user, the password and the database of its URL."""
    with running(tmp_path, "--user", "late", "on", ">s3/cret", "~latebin:*", "&latebin:*", "+@all") as server:
        url = StateUrl("127.0.0.1", server.port, 3, user="late", password="s3/cret")  # noqa: S106  # a test's own
        async with stored(url) as store:
            await store.run(COUNT, ["latebin:test"])
        server.ask("SELECT", 3)
        assert b"db3:keys=1" in server.ask("INFO", "keyspace")


@asynchronous
@pytest.mark.parametrize("password", [None, "wrong"])
async def test_refused_at_start(tmp_path: Path, password: str | None) -> None:
    """The start fails with the error of Redis when it refuses the connection."""
    with running(tmp_path, "--requirepass", "s3cret") as server:
        store = Store(REACTOR, REACTOR, StateUrl("127.0.0.1", server.port, password=password))
        with pytest.raises(StateError, match=rf"cannot reach redis://127.0.0.1:{server.port}/0: (NOAUTH|WRONGPASS)"):
            await store.start()
        await store.stop()


@asynchronous
async def test_secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store reaches Redis over TLS when it trusts the certificate, and otherwise not."""
    pem, [secure] = tmp_path / "localhost.pem", ports(1)
    certificate(pem)
    files = "--tls-cert-file", str(pem), "--tls-key-file", str(pem), "--tls-ca-cert-file", str(pem)
    with running(tmp_path, "--tls-port", str(secure), "--tls-auth-clients", "no", *files):
        url = StateUrl("localhost", secure, secure=True)
        store = Store(REACTOR, REACTOR, url)
        with pytest.raises(StateError, match=rf"cannot reach rediss://localhost:{secure}/0: .*certificate"):
            await store.start()
        await store.stop()
        # OpenSSL reads this variable for the certificates of the system.
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        async with stored(url) as trusting:
            assert await trusting.run(COUNT, ["latebin:test"]) == 1


@asynchronous
async def test_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails when a first attempt takes too long."""
    monkeypatch.setattr(connection, "START_TIME", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = Store(REACTOR, REACTOR, StateUrl("127.0.0.1", silent.getsockname()[1]))
        with pytest.raises(StateError, match=r"no answer within 0\.01s"):
            await store.start()
        await store.stop()


@asynchronous
async def test_away_at_start() -> None:
    """The start fails with an error that names the address when nothing listens there."""
    [port] = ports(1)
    store = Store(REACTOR, REACTOR, StateUrl("127.0.0.1", port))
    with pytest.raises(StateError, match=rf"^cannot reach redis://127.0.0.1:{port}/0: .*refused"):
        await store.start()
    await store.stop()
