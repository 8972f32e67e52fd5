"""Two services with one Redis, asked in turn as if they were one."""

from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.internet.interfaces import IDelayedCall

pytest.importorskip("txredisapi")

from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite, make_site
from latebin.site.root import root
from latebin.state.interfaces import PoolStatus
from tests.styles.test_steering import Bench, header, status
from tests.styles.test_steering_machine import Steering
from tests.support.pumped import PumpedStore
from tests.support.redis import RedisServer, needed
from tests.support.states import FUTURE
from tests.support.wire import Wire

if TYPE_CHECKING:
    from latebin.state.redis.connection import Store

pytestmark = needed

EXAMPLES = 15


class SharedBench(Bench):
    """Two services with a Redis, which is empty at first."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        server.ask("FLUSHALL")
        self.server = server
        self.stores = [PumpedStore(server), PumpedStore(server)]
        chosen, clock = Settings(), self.clock
        # The idle timeout of a connection is not tested here: its clock stands still.
        roots = [root(chosen, clock, store=cast("Store", store)) for store in self.stores]
        self.sites = [make_site(each, clock, chosen, type(clock)()) for each in roots]
        self._turns = cycle(self.sites)
        self.settle()

    def ask(self, target: str, method: str = "GET", body: str = "", on: ServiceSite | None = None) -> Wire:
        wire = super().ask(target, method, body, on or next(self._turns))
        self.settle()
        return wire

    def pools(self) -> list[PoolStatus]:
        for store in self.stores:
            # However slow the machine is, no process counts as absent.
            self.server.ask("ZADD", "latebin:instances", "XX", FUTURE, store.instance)
        state = self.sites[0].resource.state_control.state
        state.membership.beat()
        self.settle()
        return list(state.pools.all())

    def settle(self) -> None:
        self.clock.advance(0)
        while sum(store.replies() or store.messages() for store in self.stores):
            self.clock.advance(0)

    def end(self) -> list[IDelayedCall]:
        for site, store in zip(self.sites, self.stores, strict=True):
            site.resource.state_control.state.membership.stop()
            store.close()
        return super().end()


@pytest.fixture
def bench(server: RedisServer) -> Iterator[SharedBench]:
    bench = SharedBench(server)
    yield bench
    bench.end()


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_away(bench: SharedBench, style: str) -> None:
    """A request that needs Redis is a 503 at once when Redis is away."""
    site, store = bench.sites[0], bench.stores[0]
    target = f"{PREFIXES[style]}/delayed?delay=0"
    needing = [f"{target}&gate=g", f"{target}&pool=p&servers=1", f"{target}&key=a"]
    under_way = [Bench.ask(bench, each, on=site) for each in needing]
    assert [status(wire.received) for wire in under_way] == [0, 0, 0]
    store.cut()
    needing += ["/control/gates", "/control/gates/g?waiting=1", "/control/journal?key=a", "/control/pending"]
    refused = under_way + [bench.ask(each, on=site) for each in needing]
    refused.append(bench.ask("/control/gates/g", "POST", '{"open": true}', on=site))
    refused.append(bench.ask("/control/pending/a-1", "DELETE", on=site))
    for wire in refused:
        assert (status(wire.received), header(wire, "Retry-After")) == (503, "1")
    assert status(bench.ask(target, on=site).received) == 200
    store.mend()
    bench.settle()
    assert bench.pending() == []
    gates = bench.ask("/control/gates", on=bench.sites[1])
    assert b'"gates": []' in gates.received
    assert [(each.busy, each.waiting) for each in bench.pools()] == []


@pytest.mark.parametrize("style", sorted(PREFIXES))
def test_waits_on(bench: SharedBench, style: str) -> None:
    """An answer at a gate waits on when Redis is away."""
    target = f"{PREFIXES[style]}/delayed?delay=0&gate=g&within="
    short, long = (bench.ask(target + within, on=bench.sites[0]) for within in ("2s", "20s"))
    bench.stores[0].cut()
    bench.clock.advance(2)
    assert (status(short.received), status(long.received)) == (200, 0)
    assert b'gate;dur=2000.000;desc="expired"' in short.received
    released = bench.ask("/control/gates/g", "POST", '{"release": "all"}', on=bench.sites[1])
    # For Redis, the first is still there.
    assert b'"released": 2' in released.received
    bench.stores[0].mend()
    bench.settle()
    assert status(long.received) == 200


def test_machine(server: RedisServer) -> None:
    """Two services answer like one when their requests wait at gates and in pools."""

    class Shared(Steering):
        def make_bench(self) -> Bench:
            return SharedBench(server)

    run_state_machine_as_test(Shared, settings=settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None))
