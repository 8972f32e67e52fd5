"""Turns of keys and seeds in Redis, taken by two processes at once."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import pytest

pytest.importorskip("txredisapi")

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from latebin.core.http.reply import Refused
from latebin.state.redis import keys
from latebin.state.redis.connection import Store
from latebin.state.redis.keys import RedisKeys
from tests.support.redis import RedisServer, needed, running
from tests.support.sockets import asynchronous, until

pytestmark = needed

LIFETIME = 3600.0

REACTOR = cast("Any", reactor)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@attrs.frozen
class Two:
    """The keys of two processes, which have one Redis."""

    one: RedisKeys
    two: RedisKeys

    async def take(self, *arguments: Any) -> tuple[int, int]:
        taken = self.one.take(*arguments)
        return await taken if isinstance(taken, Deferred) else taken


@asynccontextmanager
async def two(server: RedisServer, lifetime: float = LIFETIME) -> AsyncIterator[Two]:
    server.ask("FLUSHALL")
    stores = [Store(REACTOR, REACTOR, server.url) for _ in range(2)]
    try:
        for store in stores:
            await store.start()
        yield Two(*(RedisKeys(store, lifetime) for store in stores))
    finally:
        for store in stores:
            await store.stop()


async def refusal(two: Two, *arguments: Any) -> tuple[int, str | None]:
    with pytest.raises(Refused) as refused:
        await two.take(*arguments)
    return refused.value.problem.status, refused.value.problem.parameter


@asynchronous
async def test_different(server: RedisServer) -> None:
    """Each turn of a key is taken once when two processes take turns at once."""
    async with two(server) as both:
        asked = [each.take("a", "klein", None) for _ in range(100) for each in (both.one, both.two)]
        taken = await gatherResults(cast("list[Deferred[Any]]", asked))
        assert sorted(turn for turn, _ in taken) == list(range(1, 201))
        assert await both.take("b", "klein", None) == (1, 1)


@asynchronous
async def test_seeds(server: RedisServer) -> None:
    """A seed counts by key, and without a key by style, when it is given."""
    async with two(server) as both:
        assert await both.take("a", "klein", (7, "1s")) == (1, 1)
        assert await both.take("a", "resource", None) == (2, 2)
        assert await both.take("a", "klein", (7, "1s")) == (3, 2)
        assert await both.take(None, "klein", (7, "1s")) == (1, 1)
        assert await both.take(None, "klein", (7, "1s")) == (1, 2)
        assert await both.take(None, "resource", (7, "1s")) == (1, 1)
        assert await both.take(None, "klein", (7, "2s")) == (1, 1)


@asynchronous
async def test_untouched(server: RedisServer) -> None:
    """A request with neither a key nor a seed asks nothing of Redis."""
    async with two(server) as both:
        assert both.one.take(None, "klein", None) == (1, 1)
        assert [both.one.take(None, "klein", (None, "1s")) for _ in range(2)] == [(1, 1), (1, 2)]


@asynchronous
async def test_forget(server: RedisServer) -> None:
    """A key begins anew with its seeds when any process forgets it."""
    async with two(server) as both:
        await both.take("a", "klein", (7, "1s"))
        assert await both.two.status("b") is None
        found = await both.two.status("a")
        assert found is not None
        assert (found.key, found.turn, 0 <= found.idle < LIFETIME) == ("a", 1, True)
        assert (await both.two.forget("a"), await both.two.forget("a")) == (True, False)
        assert await both.take("a", "klein", (7, "1s")) == (1, 1)


@asynchronous
async def test_list(server: RedisServer) -> None:
    """The keys are listed in the order of their last requests when there are several."""
    async with two(server) as both:
        for key in ("b", "a", "b"):
            await both.take(key, "klein", None)
            # Redis keeps the order by its milliseconds.
            before = server.ask("TIME")
            await until(lambda before=before: server.ask("TIME")[1][:-3] != before[1][:-3])  # type: ignore[misc]  # mypy takes no defaults
        assert [(each.key, each.turn) for each in await both.two.all()] == [("a", 1), ("b", 2)]


@asynchronous
async def test_lifetime(server: RedisServer) -> None:
    """A key is forgotten, and leaves nothing, when its lifetime is over."""
    async with two(server, lifetime=0.001) as both:
        await both.take("a", "klein", (7, "1s"))
        await both.take(None, "klein", (7, "1s"))
        await until(lambda: not server.ask("KEYS", "*"))
        assert await both.one.status("a") is None
        assert await both.take("a", "klein", None) == (1, 1)


@asynchronous
async def test_bounds(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key or seed is refused, and takes no turn, at the bound."""
    monkeypatch.setattr(keys, "MOST_KEYS", 2)
    monkeypatch.setattr(keys, "MOST_COUNTED", 1)
    monkeypatch.setattr(keys, "MAX_KEYS", 1)
    async with two(server) as both:
        for key in ("a", "b"):
            await both.take(key, "klein", (7, "1s"))
        assert await refusal(both, "c", "klein", None) == (429, "key")
        assert await refusal(both, "a", "klein", (8, "1s")) == (429, "seed")
        assert await both.take("a", "klein", (7, "1s")) == (2, 2)
        # Without a key, the seed that was used the longest ago makes room.
        for seed, turn in ((7, 1), (7, 2), (8, 1), (7, 1)):
            assert await both.take(None, "klein", (seed, "1s")) == (1, turn)


@asynchronous
async def test_away(server: RedisServer) -> None:
    """A turn is refused in the call itself when Redis is away."""
    async with two(server) as both:
        pass
    for key, counted in (("a", None), (None, (7, "1s"))):
        with pytest.raises(Refused) as refused:
            both.one.take(key, "klein", counted)
        assert refused.value.problem.status == 503
