"""The scenarios of a service: those of its start, and those of now."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from json import dumps
from typing import Final

import attrs

from latebin.core.http.reply import Problem, Refused
from latebin.core.scenarios import BUILT_IN, LONGEST, MOST, Given, Scenario, missing, read
from latebin.core.settings import Settings

FULL: Final = Problem(409, "There are as many scenarios as there may be.", parameter="name", accepted=f"at most {MOST}")

CHANGED: Final = Problem(412, "The scenario is not the one that If-Match or If-None-Match asks for.", parameter="ETag")


@attrs.frozen
class Condition:
    """A precondition on the scenario of a request (RFC 9110, section 13.1).

    Attributes:
        match: the tags of `If-Match`; None without this header.
        none_match: the tags of `If-None-Match`; None without this header.
    """

    match: str | None = None
    none_match: str | None = None

    def allows(self, scenario: Scenario | None) -> bool:
        """Check whether a request may be performed.

        Args:
            scenario: the scenario that it is about; None if it does not exist yet.
        """
        matched = self.match is None or _is_one_of(self.match, scenario)
        # The comparison is weak here, and strong above (section 8.8.3.2).
        return matched and (self.none_match is None or not _is_one_of(self.none_match.replace("W/", ""), scenario))


def _is_one_of(tags: str, scenario: Scenario | None) -> bool:
    if scenario is None:
        return False
    return tags.strip() == "*" or etag_of(scenario) in map(str.strip, tags.split(","))


ALWAYS: Final = Condition()
"""The condition of a request without one."""


@attrs.define(eq=False)
class Scenarios:
    """The scenarios by their names; both styles of a service share them.

    Attributes:
        settings: the limits, and the scenarios given at the start beside those that are built in.
    """

    settings: Settings

    @cached_property
    def _first(self) -> Mapping[str, Scenario]:
        # Built-in scenarios have their own limit of a delay, above any of the operator's.
        wide = attrs.evolve(self.settings, max_delay=max(self.settings.max_delay, LONGEST))
        built_in = {name: read(name, each.query, wide) for name, each in BUILT_IN.items()}
        return built_in | {name: read(name, each, self.settings) for name, each in self.settings.scenarios.items()}

    @cached_property
    def _now(self) -> dict[str, Scenario]:
        return dict(self._first)

    def __iter__(self) -> Iterator[Scenario]:
        return iter(self._now.values())

    def find(self, name: str) -> Scenario:
        """Return a scenario.

        Raises:
            Refused: 404, no scenario has this name.
        """
        found = self._now.get(name)
        if found is None:
            raise missing(name, self._now)
        return found

    def get(self, name: str) -> Scenario | None:
        """Return a scenario; None if no scenario has this name."""
        return self._now.get(name)

    def forwards(self, name: str) -> bool:
        """Return whether a scenario passes requests on to an upstream, by any of its rules."""
        found = self._now.get(name)
        return found is not None and any("upstream" in rule.arguments for rule in found.rules)

    def put(self, name: str, given: Given, condition: Condition = ALWAYS) -> Scenario:
        """Make a scenario or replace it, from the next request on.

        An answer that waits stays as it was planned.

        Args:
            name: the scenario's name.
            given: the scenario as `latebin.core.scenarios.read` takes it.
            condition: the condition on the scenario to replace.

        Raises:
            Refused: 400 for an invalid scenario, 409 for one more than `MOST`, 412 if the condition fails.
        """
        scenario = self._now[name] = self.check(name, given, condition)
        return scenario

    def check(self, name: str, given: Given, condition: Condition = ALWAYS) -> Scenario:
        """Read a scenario that may be put, as `put` does."""
        self._check(name, condition)
        scenario = read(name, given, self.settings)
        if name not in self._now and len(self._now) >= MOST:
            raise Refused(FULL)
        return scenario

    def delete(self, name: str, condition: Condition = ALWAYS) -> Scenario | None:
        """Set a scenario back to its state at the start, or remove it.

        Returns:
            The scenario of the start; None if this one was added since.

        Raises:
            Refused: 404, no scenario has this name; 412 if the condition fails.
        """
        self.find(name)
        self._check(name, condition)
        first = self._first.get(name)
        if first is None:
            del self._now[name]
        else:
            self._now[name] = first
        return first

    def reset(self) -> None:
        """Set all scenarios back to what they were at the start."""
        self._now.clear()
        self._now.update(self._first)

    def _check(self, name: str, condition: Condition) -> None:
        if not condition.allows(self._now.get(name)):
            raise Refused(CHANGED)


def etag_of(scenario: Scenario) -> str:
    """Return the entity tag of a scenario (RFC 9110, section 8.8.3).

    Scenarios that were given in the same way have the same tag.
    """
    given = dumps([scenario.name, scenario.given], sort_keys=True, default=str)
    return f'"{blake2b(given.encode(), digest_size=12).hexdigest()}"'
