"""Scenarios changed at run time, which two processes have in common."""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

pytest.importorskip("txredisapi")

from twisted.internet import reactor
from twisted.internet.defer import DeferredList, gatherResults
from twisted.logger import capturedLogs

from latebin.answers import scenarios as memory
from latebin.answers.scenarios import Condition, etag_of
from latebin.answers.shared_scenarios import SharedScenarios
from latebin.core.http.reply import Refused
from latebin.core.scenarios import BUILT_IN
from latebin.core.settings import Settings
from latebin.state.interfaces import StateError
from latebin.state.redis.connection import Store
from latebin.state.redis.scenarios import CHANGES, VERSION, SharedChanges
from tests.support.redis import RedisServer, needed, running
from tests.support.sockets import asynchronous, until

pytestmark = needed

REACTOR = cast("Any", reactor)

START = Settings(scenarios={"payments": "delay=50ms"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@attrs.frozen
class Replica:
    """The scenarios of one process."""

    store: Store
    scenarios: SharedScenarios
    changes: SharedChanges

    def delay(self, name: str) -> str | None:
        found = {each.name: each for each in self.scenarios}.get(name)
        return None if found is None else str(found.rules[0].arguments["delay"])


async def replica(server: RedisServer, settings: Settings = START) -> Replica:
    store, scenarios = Store(REACTOR, REACTOR, server.url), SharedScenarios(settings)
    changes = SharedChanges(store, REACTOR, 3600.0, scenarios.take_over)
    scenarios.changes = changes
    await store.start()
    await changes.ready()
    return Replica(store, scenarios, changes)


@asynccontextmanager
async def replicas(server: RedisServer, *settings: Settings) -> AsyncIterator[list[Replica]]:
    server.ask("FLUSHALL")
    made: list[Replica] = []
    try:
        for each in settings or (START, START):
            made.append(await replica(server, each))  # noqa: PERF401  # those before a failure are closed
        yield made
    finally:
        for one in made:
            await one.store.stop()


async def status(change: Any) -> int:
    with pytest.raises(Refused) as refused:
        await change
    return refused.value.problem.status


@asynchronous
async def test_put_and_delete(server: RedisServer) -> None:
    """A change is in its own process when it is answered, others follow."""
    async with replicas(server) as (one, two):
        assert (await one.scenarios.put("mine", {"delay": "2s", "status": 503})).name == "mine"
        assert one.delay("mine") == "2s"
        await one.scenarios.put("payments", "delay=1s")
        await until(lambda: (two.delay("payments"), two.delay("mine")) == ("1s", "2s"))
        first = await two.scenarios.delete("payments")
        assert first is not None
        assert (first.given, await two.scenarios.delete("mine")) == ("delay=50ms", None)
        await until(lambda: (one.delay("payments"), one.delay("mine")) == ("50ms", None))
        assert await status(two.scenarios.delete("mine")) == 404
        late = await replica(server)
        assert late.delay("payments") == "50ms"
        await late.store.stop()


@asynchronous
async def test_reset(server: RedisServer) -> None:
    """Every process has the scenarios of its start when one of them resets them."""
    async with replicas(server) as (one, two):
        for name in ("mine", "payments"):
            await one.scenarios.put(name, "delay=1s")
        late = await replica(server)
        assert (late.delay("mine"), late.delay("payments")) == ("1s", "1s")
        await two.scenarios.reset()
        assert (two.delay("mine"), two.delay("payments")) == (None, "50ms")
        await until(lambda: (late.delay("mine"), one.delay("mine"), one.delay("payments")) == (None, None, "50ms"))
        await late.store.stop()


@asynchronous
async def test_condition(server: RedisServer) -> None:
    """One of many changes is made when all ask for the same former scenario."""
    async with replicas(server) as both:
        tag = etag_of(both[0].scenarios.find("payments"))
        asked = [
            each.scenarios.put("payments", f"delay={number}s", Condition(match=tag))
            for number in range(1, 11)
            for each in both
        ]
        results = await DeferredList(asked, consumeErrors=True)
        assert [made for made, _ in results].count(True) == 1
        refused = [cast("Any", result).value.problem.status for made, result in results if not made]
        assert refused == [412] * 19


@asynchronous
async def test_bound(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more scenarios than the bound are made when two processes make some at once."""
    async with replicas(server) as both:
        monkeypatch.setattr(memory, "MOST", len(list(both[0].scenarios)) + 3)
        asked = [each.scenarios.put(f"s{number}", "delay=1s") for number in range(5) for each in both]
        results = await DeferredList(asked, consumeErrors=True)
        assert [made for made, _ in results].count(True) == 6
        assert server.ask("HLEN", CHANGES) == 3


@asynchronous
async def test_contention(server: RedisServer) -> None:
    """All changes are made when two processes change different scenarios at once."""
    async with replicas(server) as both:
        asked = [
            each.scenarios.put(f"s{number}-{at}", "delay=1s") for number in range(20) for at, each in enumerate(both)
        ]
        await gatherResults(asked)
        assert server.ask("HLEN", CHANGES) == 40
        await until(lambda: both[0].changes.version == both[1].changes.version)
        assert both[0].changes.texts == both[1].changes.texts
        assert server.ask("PTTL", CHANGES) > 0
        assert server.ask("PTTL", VERSION) > 0


@asynchronous
@pytest.mark.parametrize("seed", range(5))
async def test_any_order(server: RedisServer, seed: int) -> None:
    """All processes end with the scenarios that Redis has when they change any at once."""
    draw = random.Random(seed)  # noqa: S311  # the same changes again
    async with replicas(server, START, START, START) as each:
        asked: list[Any] = []
        for number in range(60):
            scenarios, name = draw.choice(each).scenarios, f"s{draw.randrange(4)}"
            kind = draw.choice(["put"] * 6 + ["delete"] * 3 + ["reset"])
            if kind == "put":
                asked.append(scenarios.put(name, f"delay={number}s"))
            else:
                asked.append(scenarios.delete(name) if kind == "delete" else scenarios.reset())
            if draw.random() < 0.2:
                await DeferredList(asked, consumeErrors=True)
        results = await DeferredList(asked, consumeErrors=True)
        # A scenario that is gone by the turn of its change is unknown.
        assert {cast("Any", result).value.problem.status for made, result in results if not made} <= {404}
        await until(lambda: len({replica.changes.version for replica in each}) == 1)
        flat = [text.decode() for text in server.ask("HGETALL", CHANGES)]
        kept = dict(zip(flat[::2], flat[1::2], strict=True))
        for replica in each:
            assert replica.changes.texts == kept
            first = {*BUILT_IN, "payments"}
            assert {f'"delay={replica.delay(name)}"' for name in kept} == set(kept.values())
            assert {scenario.name for scenario in replica.scenarios} == first | kept.keys()


@asynchronous
async def test_unreadable(server: RedisServer) -> None:
    """A process keeps its scenario, and logs it once, when it cannot read another."""
    narrow = attrs.evolve(START, max_delay=10.0)
    async with replicas(server, START, narrow) as (one, two):
        with capturedLogs() as events:
            await one.scenarios.put("payments", "delay=60s")
            await one.scenarios.put("mine", "delay=60s")
            await one.scenarios.put("other", "delay=1s")
            await until(lambda: two.delay("other") == "1s")
        assert (two.delay("payments"), two.delay("mine")) == ("50ms", None)
        warned = [event["name"] for event in events if "cannot be read here" in event["log_format"]]
        assert warned == ["payments", "mine"]


@asynchronous
@pytest.mark.parametrize("text", ["no JSON", "1", "[" * 100_000, '{"delay": "1s"', '{"delay": []}'])
async def test_not_ours(server: RedisServer, text: str) -> None:
    """A process has all other scenarios when something else wrote one that cannot be read."""
    async with replicas(server) as (one, two):
        await one.scenarios.put("mine", "delay=1s")
        server.ask("HSET", CHANGES, "payments", text)
        server.ask("INCR", VERSION)
        await one.scenarios.put("other", "delay=2s")
        await until(lambda: two.delay("other") == "2s")
        assert [(each.delay("payments"), each.delay("mine")) for each in (one, two)] == [("50ms", "1s")] * 2


@asynchronous
async def test_lost_data(server: RedisServer) -> None:
    """A change is made when Redis has lost all those before."""
    async with replicas(server) as both:
        await both[0].scenarios.put("mine", "delay=1s")
        server.ask("FLUSHALL")
        await both[1].scenarios.put("other", "delay=2s")
        await until(lambda: [each.delay("mine") for each in both] == [None, None])
        assert [each.delay("other") for each in both] == ["2s", "2s"]


@asynchronous
async def test_not_readable(tmp_path: Path) -> None:
    """The start fails when the user of Redis may not read the scenarios."""
    rights = "~latebin:*", "&latebin:*", "+@all", "-hgetall"
    with running(tmp_path, "--user", "late", "on", ">s3cret", *rights) as server:
        url = attrs.evolve(server.url, user="late", password="s3cret")  # noqa: S106  # a test's own
        store = Store(REACTOR, REACTOR, url)
        changes = SharedChanges(store, REACTOR, 3600.0, lambda _: None)
        await store.start()
        with pytest.raises(StateError, match="cannot read the scenarios in Redis"):
            await changes.ready()
        await store.stop()


@asynchronous
async def test_away(server: RedisServer) -> None:
    """A change is refused and not made when Redis is away."""
    async with replicas(server) as [one, _]:
        pass
    assert await status(one.scenarios.put("mine", "delay=1s")) == 503
    assert await status(one.scenarios.reset()) == 503
    assert one.delay("mine") is None
