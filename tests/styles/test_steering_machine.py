"""Gates, keys, pools, leaving clients and time, in any order, against a model."""

import re
from itertools import islice

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from latebin.state.interfaces import PoolStatus
from tests.styles.test_steering import Bench, header
from tests.support.wire import Wire

STEP = 0.5
"""Seconds of the least move of the clock; every time in a request is a multiple of that."""

WITHIN = 3.0
"""Seconds that a request waits at a gate."""


@attrs.define(eq=False)
class Asked:
    """A request, and the part of its answer that the model foresees."""

    wire: Wire
    delay: float
    pool: bool
    begins: float | None
    """When the gate is passed; None before that."""
    turn: int | None
    answered: float | None = None


class Steering(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = self.make_bench()
        self.asked: list[Asked] = []
        self.lines: dict[str, dict[Asked, float]] = {"g": {}, "h": {}}
        self.open: set[str] = set()
        self.turns: dict[str, int] = {}

    def make_bench(self) -> Bench:
        return Bench()

    @property
    def now(self) -> float:
        return self.bench.clock.seconds()

    @rule(
        prefix=st.sampled_from(["", "/raw"]),
        delay=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        gate=st.sampled_from([None, "g", "h"]),
        pool=st.booleans(),
        key=st.sampled_from([None, "a", "b"]),
    )
    def ask(self, prefix: str, delay: float, gate: str | None, pool: bool, key: str | None) -> None:  # noqa: FBT001  # drawn
        query = f"delay={delay}s" + (f"&key={key}" if key else "") + ("&pool=p&servers=1" if pool else "")
        wire = self.bench.ask(f"{prefix}/delayed?{query}" + (f"&gate={gate}&within={WITHIN}s" if gate else ""))
        if key is not None:
            self.turns[key] = self.turns.get(key, 0) + 1
        waits = gate is not None and gate not in self.open
        asked = Asked(wire, delay, pool, None if waits else self.now, self.turns[key] if key else None)
        self.asked.append(asked)
        if gate is not None and waits:
            self.lines[gate][asked] = self.now + WITHIN
        self.settle()

    @rule(gate=st.sampled_from(["g", "h"]), count=st.integers(1, 3))
    def release(self, gate: str, count: int) -> None:
        went = self.bench.now(f"/control/gates/{gate}", "POST", f'{{"release": {count}}}')[1]["released"]
        assert went == self.passed(gate, count)
        self.settle()

    @rule(gate=st.sampled_from(["g", "h"]), opened=st.booleans())
    def set_open(self, gate: str, opened: bool) -> None:  # noqa: FBT001  # drawn
        went = self.bench.now(f"/control/gates/{gate}", "POST", f'{{"open": {str(opened).lower()}}}')[1]["released"]
        (self.open.add if opened else self.open.discard)(gate)
        assert went == (self.passed(gate, None) if opened else 0)
        self.settle()

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiting = [each for each in self.asked if each.answered is None]
        if waiting:
            gone = data.draw(st.sampled_from(waiting))
            gone.wire.leave()
            self.asked.remove(gone)
            for line in self.lines.values():
                line.pop(gone, None)
            self.settle()

    @rule(key=st.sampled_from(["a", "b"]))
    def forget(self, key: str) -> None:
        known = self.bench.now(f"/control/keys/{key}", "DELETE")[1]["deleted"]
        assert known == (self.turns.pop(key, None) is not None)

    @rule(steps=st.integers(1, 6))
    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.bench.clock.advance(STEP)
            for line in self.lines.values():
                for expired in [each for each, until in line.items() if until <= self.now]:
                    del line[expired]
                    expired.begins = self.now
            self.settle()

    def passed(self, gate: str, count: int | None) -> int:
        """Let the oldest in the model's line go, and return how many do."""
        line = self.lines[gate]
        chosen = list(islice(line, count))
        for each in chosen:
            del line[each]
            each.begins = self.now
        return len(chosen)

    def settle(self) -> None:
        """Let the turns pass that need no time, and note new answers."""
        self.bench.clock.advance(0)
        self.bench.settle()
        for each in self.asked:
            if each.answered is None and each.wire.received:
                each.answered = self.now

    @invariant()
    def on_time_and_once(self) -> None:
        """No answer is early, late or given twice; only a pool adds time."""
        for each in self.asked:
            assert len(re.findall(rb"HTTP/1\.1 200 ", each.wire.received)) == (each.answered is not None)
            due = None if each.begins is None else each.begins + each.delay
            if each.answered is not None:
                assert due is not None
                assert each.answered >= due if each.pool else each.answered == due
                assert header(each.wire, "Latebin-Turn") == (None if each.turn is None else str(each.turn))
            else:
                assert due is None or each.pool or due > self.now

    @invariant()
    def counted(self) -> None:
        """Gates, pool and list of pending answers agree with the model."""
        gates = {each["name"]: each for each in self.bench.now("/control/gates")[1]["gates"]}
        for name, line in self.lines.items():
            assert gates.get(name, {}).get("waiting", 0) == len(line)
            assert gates.get(name, {}).get("open", False) == (name in self.open)
        waiting = [each for each in self.asked if each.answered is None]
        assert len(self.bench.pending()) == len(waiting)
        pooled = [each for each in waiting if each.pool and each.begins is not None]
        pools = self.bench.pools()
        # As many as there are servers are in service while there is a line.
        assert [(each.busy, each.waiting) for each in pools or [PoolStatus("p", 0, 0)]] == [
            (min(len(pooled), 1), max(len(pooled) - 1, 0))
        ]

    def teardown(self) -> None:
        """Nothing stays behind when all gates have opened and all time has passed."""
        for gate in self.lines:
            self.set_open(gate, opened=True)
        self.advance(4 * sum(each.answered is None for each in self.asked) + 4)
        assert all(each.answered is not None for each in self.asked)
        self.on_time_and_once()
        for gate in self.lines:
            self.set_open(gate, opened=False)
        self.counted()
        assert self.bench.end() == []


def test_steering() -> None:
    """The service behaves like its model when the steps come in any order."""
    run_state_machine_as_test(Steering, settings=settings(max_examples=25, stateful_step_count=25))
