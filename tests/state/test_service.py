"""Two services whose state is in one Redis, asked in turn, as if they were one."""

from itertools import cycle
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.internet.interfaces import IDelayedCall

pytest.importorskip("txredisapi")

from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite, make_site
from latebin.site.root import root
from latebin.state.interfaces import PoolStatus
from tests.styles.test_steering import Bench
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
        while sum(store.replies() or store.messages() for store in self.stores):
            self.clock.advance(0)

    def end(self) -> list[IDelayedCall]:
        for site, store in zip(self.sites, self.stores, strict=True):
            site.resource.state_control.state.membership.stop()
            store.close()
        return super().end()


def test_machine(server: RedisServer) -> None:
    """Two services answer like one when their requests wait at gates and in pools."""

    class Shared(Steering):
        def make_bench(self) -> Bench:
            return SharedBench(server)

    run_state_machine_as_test(Shared, settings=settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None))
