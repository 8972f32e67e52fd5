"""The scenarios of a service whose processes have their changes in common."""

import json
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from latebin.answers.scenarios import ALWAYS, Condition, Scenarios
from latebin.core.http.reply import Refused
from latebin.core.scenarios import Given, Scenario, read

log = Logger()

_NO_TEXT: Final = ""


class Changes(Protocol):
    """The changes that all processes have in common, as `latebin.state.redis.scenarios.SharedChanges` keeps them."""

    def change(self, make: Callable[[], tuple[str, str, str]], /) -> Deferred[None]:
        """Make a change: its kind, the name of the scenario, and the scenario as JSON."""
        ...


@attrs.define(eq=False)
class SharedScenarios(Scenarios):
    """Scenarios whose changes reach every process.

    The scenarios of the start are those of this process. A change is checked by the process that takes it. Another
    process that cannot read it, because of other settings, keeps the scenario that it had.

    Attributes:
        changes: the changes.
    """

    changes: Changes = attrs.field(init=False)
    _texts: dict[str, str] = attrs.field(factory=dict, init=False)

    def put(self, name: str, given: Given, condition: Condition = ALWAYS) -> Deferred[Scenario]:  # type: ignore[override]  # later
        made: list[Scenario] = []

        def make() -> tuple[str, str, str]:
            made[:] = [self.check(name, given, condition)]
            return "put", name, json.dumps(given)

        return self.changes.change(make).addCallback(lambda _: made[0])

    def delete(self, name: str, condition: Condition = ALWAYS) -> Deferred[Scenario | None]:  # type: ignore[override]  # later
        def make() -> tuple[str, str, str]:
            self.find(name)
            self._check(name, condition)
            return "delete", name, _NO_TEXT

        return self.changes.change(make).addCallback(lambda _: self._first.get(name))

    def reset(self) -> Deferred[None]:  # type: ignore[override]  # later
        return self.changes.change(lambda: ("reset", "", _NO_TEXT))

    def take_over(self, texts: Mapping[str, str]) -> None:
        """Make the scenarios those of the start with these changes.

        Args:
            texts: the changed scenarios as JSON, by name.
        """
        now = dict(self._first)
        for name in sorted(texts):
            found = self._now.get(name) if texts[name] == self._texts.get(name) else self._read(name, texts[name])
            if found is not None:
                now[name] = found
        self._texts = dict(texts)
        self._now.clear()
        self._now.update(now)

    def _read(self, name: str, text: str) -> Scenario | None:
        """Read a changed scenario; return the one before if that fails."""
        try:
            given = json.loads(text)
            if not isinstance(given, str | dict):
                raise ValueError("neither a text nor an object")  # noqa: TRY004, TRY301  # as for wrong JSON
            return read(name, given, self.settings)
        except (Refused, ValueError, RecursionError) as error:
            log.warn("the changed scenario {name} cannot be read here: {error}", name=name, error=str(error))
            return self._now.get(name)
