"""The keys and journals in memory, against a model that compares every age."""

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from latebin.core.journal import Asked
from latebin.state.journal import MemoryJournal
from latebin.state.memory import MemoryKeys

KEYS = st.sampled_from("abc")

STEPS = st.lists(
    st.tuples(st.just("take"), KEYS)
    | st.tuples(st.just("forget"), KEYS)
    | st.tuples(st.just("wait"), st.sampled_from([0.0, 1.0, 4.0, 5.0, 100.0])),
    max_size=30,
)


class Connection:
    """The connection of every request."""


@attrs.define
class Model:
    """The last request of each key and the number of its requests, by key."""

    lifetime: float
    found: dict[str, tuple[float, int]] = attrs.field(factory=dict)

    def take(self, key: str, now: float) -> int:
        turn = self.turns(now).get(key, 0) + 1
        self.found[key] = now, turn
        return turn

    def turns(self, now: float) -> dict[str, int]:
        return {key: turn for key, (last, turn) in self.found.items() if last + self.lifetime > now}


@given(steps=STEPS, lifetime=st.sampled_from([0.0, 1.0, 5.0]))
@example(steps=[("take", "a"), ("wait", 1.0), ("take", "a")], lifetime=1.0)
@example(steps=[("take", "a"), ("wait", 4.0), ("take", "b"), ("wait", 1.0), ("take", "a")], lifetime=5.0)
@settings(max_examples=100, deadline=None)
def test_forgetting(steps: list[tuple[str, str | float]], lifetime: float) -> None:
    """A key and its journal are forgotten when their lifetime is over, and never before."""
    clock, connection, model = Clock(), Connection(), Model(lifetime)
    keys, journal = MemoryKeys(clock, lifetime), MemoryJournal(clock, lifetime)
    for step, value in steps:
        now = clock.seconds()
        if isinstance(value, float):
            clock.advance(value)
        elif step == "take":
            journal.begin(value, Asked(b"", "klein", b"GET", b"/", 0.0, now), connection)
            assert keys.take(value, "klein", None)[0] == model.take(value, now)
        else:
            assert keys.forget(value) == (value in model.turns(now))
            journal.forget(value)
            model.found.pop(value, None)
    turns = model.turns(clock.seconds())
    assert {key: len(journal.of(key).entries) for key in "abc"} == {key: turns.get(key, 0) for key in "abc"}
    assert {each.key: each.turn for each in keys.all()} == turns
