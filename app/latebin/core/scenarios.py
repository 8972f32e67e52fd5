"""Scenarios: plans with a name, for clients with fixed paths and headers."""

import json
import math
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

import attrs

from latebin.core import stream
from latebin.core.http.reply import Problem, Refused
from latebin.core.language.distributions import Distribution, Fixed, Mix
from latebin.core.language.duration import render as render_duration
from latebin.core.language.prediction import predicting
from latebin.core.language.sequence import Sequence
from latebin.core.language.share import render as render_share
from latebin.core.language.size import render as render_size
from latebin.core.parameters import (
    DELAYED,
    NAME,
    SCENARIO,
    VIA,
    Answers,
    check_retry_after,
    has_retry_after,
    read_fields,
    read_text,
    split_query,
    wrong,
)
from latebin.core.plan import check
from latebin.core.settings import Settings

MOST: Final = 1000
"""The most scenarios at once."""

MAX_LENGTH: Final = 16 * 1024
"""The longest scenario, in characters without its body; a URL has the same limit."""

MAX_BODY: Final = 64 * 1024
"""Bytes of the largest body in the text of a scenario; a file that the operator names may be larger."""

LONGEST: Final = 600.0
"""Seconds of the longest delay that a built-in scenario may ask for; each draw is cut at the operator's limit."""

MAX_RULES: Final = 100
"""The most rules in one scenario."""

MAX_DEPTH: Final = 4
"""The deepest nesting: a list of values, in a rule, in the list of rules, in a scenario."""

MAX_SHOWN: Final = 20
"""The most names in the refusal of an unknown one."""

Given = str | Mapping[str, Any]
"""The source of a scenario: a query string, a TOML table or a JSON object."""

MATCHERS: Final = ("path", "method", "header")
"""The conditions of a rule; a rule has at least one."""

RULE: Final = (*MATCHERS, "answer-header", *(each.name for each in SCENARIO if each.name != "header"))
"""The names in a rule: its conditions, and the parameters of a scenario."""

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@attrs.frozen
class BuiltIn:
    """A scenario that every service has.

    Attributes:
        query: its parameters.
        meaning: the kind of service that it imitates.
        source: the origin of its figures.
    """

    query: str
    meaning: str
    source: str


BUILT_IN: Final = {
    "slow": BuiltIn(
        "delay=lognormal(median=1s,p99=5s)",
        "a service that answers everything, and takes seconds for it",
        "a choice: the median of 1 s is where a user's flow of thought breaks (Nielsen 1993)",
    ),
    "flaky": BuiltIn(
        "answer=90%:(delay=lognormal(median=80ms,p99=600ms)),7%:(delay=20ms,status=500),3%:(delay=20ms,fault=reset)",
        "a service that fails one request in ten, quickly, and is quick otherwise",
        "a choice: one in ten is what retry policies are commonly tried with",
    ),
    "overloaded": BuiltIn(
        "answer=60%:(delay=lognormal(median=2s,p99=20s)),40%:(delay=5ms,status=503,retry-after=1)",
        "a service that sheds two requests in five at once, and keeps the others waiting",
        "a choice after the shape of load shedding: a refusal is cheap, an accepted request queues",
    ),
    "rate-limited": BuiltIn(
        "delay=20ms&status=429&retry-after=1",
        "a service that takes nothing more from this client for a second",
        "RFC 6585, section 4",
    ),
    "dead": BuiltIn(
        "delay=0&fault=hang",
        "a service that accepts a request and never answers it",
        "a choice: the headers come, the body does not",
    ),
    "mobile": BuiltIn(
        "delay=lognormal(median=170ms,p99=1.2s)&chunks=8&over=200ms&framing=chunked",
        "a service behind a mobile network of the third generation",
        "a choice near the 150 ms round trip of WebPageTest's profile 3G Fast",
    ),
}
"""The built-in scenarios by name."""


@attrs.frozen(eq=False)
class Glob:
    """A pattern with the wildcards `*`, `**` and `?`.

    `*` matches any text without a slash, `**` any text, and `?` one character except a slash. A match reads each
    character of the text once. A regular expression with three wildcards would take minutes for a path of 16 kB.

    Attributes:
        text: the pattern.
        slashes: whether `*` and `?` match a slash, too, as in the value of a header.
    """

    text: str
    slashes: bool = False
    _prefix: str = attrs.field(init=False, repr=False)
    _rest: "_Steps" = attrs.field(init=False, repr=False)

    @_prefix.default
    def _before_wildcards(self) -> str:
        return re.split(r"[*?]", self.text, maxsplit=1)[0]

    @_rest.default
    def _after_the_prefix(self) -> "_Steps":
        return _Steps.of(self.text[len(self._prefix) :], slashes=self.slashes)

    def matches(self, text: str) -> bool:
        return text.startswith(self._prefix) and self._rest.match(text[len(self._prefix) :])


@attrs.frozen(eq=False)
class _Steps:
    """A pattern as an automaton.

    A set of its states is an integer, with a bit for each sign of the pattern.

    Attributes:
        ends: the state behind the last sign.
        optional: the states at a wildcard of any length.
        letters: for each character of the pattern, the states that it leads out of.
        any_letter: the same for every other character.
        stays: the states that a character keeps, except a slash; and those that a slash keeps.
    """

    ends: int
    optional: int
    letters: Mapping[str, int]
    any_letter: int
    stays: tuple[int, int]

    @classmethod
    def of(cls, pattern: str, *, slashes: bool) -> "_Steps":
        # Wildcards in a row are one; two asterisks among them make it match any text.
        signs = ["**" if len(sign) > 1 else sign for sign in re.findall(r"\*+|.", pattern, re.DOTALL)]
        states: dict[str, int] = {"*": 0, "**": 0, "?": 0, "/": 0}
        for position, sign in enumerate(signs):
            states[sign] = states.get(sign, 0) | 1 << position
        star, stars, one = (states.pop(sign) for sign in ("*", "**", "?"))
        letters = {letter: bits | (one if letter != "/" or slashes else 0) for letter, bits in states.items()}
        return cls(1 << len(signs), star | stars, letters, one, (star | stars, star | stars if slashes else stars))

    def match(self, text: str) -> bool:
        letters, any_letter, optional, stays = self.letters, self.any_letter, self.optional, self.stays
        states = 1 | (1 & optional) << 1
        for letter in text:
            states = (states & letters.get(letter, any_letter)) << 1 | states & stays[letter == "/"]
            states |= (states & optional) << 1
            if not states:
                return False
        return bool(states & self.ends)


@attrs.frozen(eq=False)
class Rule:
    """A condition on the requests of a scenario, with the parameters of their answers.

    Attributes:
        arguments: the parameters by name, including those that the rule inherits from the scenario.
        path: the pattern of the path behind the scenario's name; None for any path.
        method: the method; None for any method.
        header: the name of a request header and the pattern of its values, one of which must match; None for no
            condition.
        plans: the plans that services have prepared, by the service; they are gone with the rule.
    """

    arguments: Mapping[str, Any]
    path: Glob | None = None
    method: str | None = None
    header: tuple[str, Glob] | None = None
    plans: dict[object, Any] = attrs.field(factory=dict, init=False, repr=False)

    def matches(self, method: str, path: str, values: Callable[[str], Iterable[str]]) -> bool:
        """Check whether a request matches the conditions of this rule.

        Args:
            method: the method of the request.
            path: its path behind the scenario's name, decoded, with its first slash.
            values: returns the values of a request header by its name.
        """
        if self.method is not None and self.method != method:
            return False
        if self.path is not None and not self.path.matches(path):
            return False
        return self.header is None or any(map(self.header[1].matches, values(self.header[0])))

    def conditions(self) -> dict[str, str]:
        """Return the conditions of this rule, in their text."""
        header = None if self.header is None else f"{self.header[0]}: {self.header[1].text}"
        path = None if self.path is None else self.path.text
        texts = {"path": path, "method": self.method, "header": header}
        return {name: text for name, text in texts.items() if text is not None}


@attrs.frozen(eq=False)
class Scenario:
    """A plan with a name, or several with the rules that choose among them.

    Attributes:
        name: its name.
        given: its source, without a body.
        rules: the rules in the order of their trial; the last one matches every request.
    """

    name: str
    given: Given
    rules: tuple[Rule, ...]

    def rule(self, request: Callable[[], tuple[str, str, Callable[[str], Iterable[str]]]]) -> Rule:
        """Return the first rule that matches a request.

        Args:
            request: returns method, path and headers as for `Rule.matches`; called only if there is a choice.
        """
        if len(self.rules) == 1:
            return self.rules[0]
        parts = request()
        return next(rule for rule in self.rules if rule.matches(*parts))

    def describing(self, settings: Settings) -> Generator[None, None, dict[str, Any]]:
        """Convert the scenario to plain values, piece by piece.

        Returns:
            A generator that returns its source, its parameters and its predictions.
        """
        described = []
        for rule in self.rules:
            found = yield from predicting(delay_of(rule.arguments, settings), None, settings.max_delay)
            described.append(
                {**rule.conditions(), "understood": understood(rule.arguments), "prediction": found.as_json()}
            )
            yield
        *rules, otherwise = described
        return {"name": self.name, "given": self.given, **otherwise, **({"rules": rules} if rules else {})}


def read(name: str, given: Given, settings: Settings) -> Scenario:
    """Read a scenario.

    Args:
        name: its name.
        given: a query string, in which a percent sign needs no escape, or a table whose keys are the parameters. The
            table's `rule` is a list of tables with `path`, `method`, `header` and their own parameters.
        settings: the limits and the upstreams.

    Raises:
        Refused: 400, with the wrong parameter; in the first rule its name is `rule[1].delay`.
    """
    read_text(NAME, name, settings)
    if _length(given) > MAX_LENGTH:
        raise wrong("The scenario is too long.", "scenario", name, f"at most {MAX_LENGTH} characters without its body")
    if isinstance(given, str):
        fields = split_query(given.encode("utf-8", "surrogateescape"))
        arguments = _checked(read_fields(fields, SCENARIO, settings), settings)
        check_retry_after(arguments)
        return Scenario(name, given, (Rule(arguments),))
    table = dict(given)
    tables = table.pop("rule", [])
    shared = _table_arguments(table, settings)
    rules = [*_rules(tables, shared, settings), Rule(_checked(shared, settings))]
    if not any(has_retry_after(rule.arguments) for rule in rules):
        check_retry_after(shared)
    shown = {key: f"{len(text)} bytes of a file" if isinstance(text, bytes) else text for key, text in given.items()}
    return Scenario(name, shown, tuple(rules))


def _rules(tables: object, shared: Mapping[str, Any], settings: Settings) -> Iterable[Rule]:
    if not isinstance(tables, list) or not all(isinstance(each, Mapping) for each in tables):
        raise wrong("Invalid rules.", "rule", _plain(tables), "a list of tables")
    if len(tables) > MAX_RULES:
        raise wrong("Too many rules.", "rule", str(len(tables)), f"at most {MAX_RULES}")
    for number, each in enumerate(tables, 1):
        try:
            yield _rule(dict(each), shared, settings)
        except Refused as error:
            raise Refused(attrs.evolve(error.problem, parameter=f"rule[{number}].{error.problem.parameter}")) from None


def _rule(table: dict[str, Any], shared: Mapping[str, Any], settings: Settings) -> Rule:
    # Before the conditions: a misspelt one is refused by its own name.
    if unknown := [name for name in table if name not in RULE]:
        raise wrong("Unknown parameter of a rule.", unknown[0], _plain(table[unknown[0]]), ", ".join(RULE))
    path, method, header = (_matcher(table, name) for name in MATCHERS)
    if path is method is header is None:
        raise wrong("The rule has neither a path nor a method nor a header to match.", "path", "", "such as /v1/**")
    if method is not None and not _METHOD.fullmatch(method):
        raise wrong("Invalid method.", "method", method, "a method such as POST")
    if path is not None and not path.startswith(("/", "*")):
        raise wrong("Invalid path.", "path", path, "a pattern that begins with a slash or an asterisk")
    # In a rule, `header` is a condition on the request; headers of the answer have another name.
    if "answer-header" in table:
        table["header"] = table.pop("answer-header")
    own = _table_arguments(table, settings)
    arguments = _checked({**shared, **own}, settings)
    if "retry-after" in own:
        check_retry_after(arguments)
    glob = None if path is None else Glob(path)
    if header is None:
        return Rule(arguments, glob, method)
    name, colon, value = header.partition(":")
    if not _METHOD.fullmatch(name):
        accepted = "a name, or a name and a pattern as in Accept: *json*"
        raise wrong("Invalid header to match.", "header", header, accepted)
    return Rule(arguments, glob, method, (name, Glob(value.strip() if colon else "*", slashes=True)))


def _matcher(table: dict[str, Any], name: str) -> str | None:
    value = table.pop(name, None)
    if value is not None and (not isinstance(value, str) or not value):
        raise wrong(f"Invalid {name}.", name, _plain(value), "a text")
    return value


def _table_arguments(table: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    # The bytes of a file, which the operator named: the bound of a text does not hold for them.
    files = {name: value for name, value in table.items() if name == "body" and isinstance(value, bytes)}
    texts = {name: value for name, value in table.items() if name not in files}
    return read_fields(_table_fields(texts), SCENARIO, settings) | files


def _table_fields(table: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the parameters of a table as a query has them, lists by item."""
    for name, value in table.items():
        # An empty list would be a parameter that is ignored.
        for each in value if isinstance(value, list) and value else [value]:
            number = isinstance(each, int | float) and not isinstance(each, bool) and math.isfinite(each)
            if not (number or isinstance(each, str)):
                raise wrong("Invalid value.", str(name), _plain(each), "a text or a number")
            # In JSON, 503.0 is a whole number.
            yield str(name), str(int(each) if isinstance(each, float) and each.is_integer() else each)


def _plain(value: object) -> str:
    return json.dumps(value, default=str)


def _checked(arguments: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Refuse parameters of which no answer, or not each answer, can be made."""
    check(_together(arguments), settings)
    return arguments


def _together(arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse parameters that contradict each other.

    Raises:
        Refused: 400, with one of these parameters.
    """
    if "upstream" in arguments:
        names = [parameter.name for parameter in VIA]
        shape = arguments.keys() - {"upstream", *names}
        if shape:
            first = min(shape)
            accepted = f"{', '.join(names)} beside an upstream"
            raise wrong("The upstream determines the shape of the answer.", first, str(arguments[first]), accepted)
    shaping = {"size"} if arguments.get("type") in stream.TYPES else {"size", "type"}
    if "body" in arguments and arguments.keys() & shaping:
        other = min(arguments.keys() & shaping)
        raise wrong("The body already determines size and type.", other, str(arguments[other]), "a body alone")
    if "content-type" in arguments and "body" not in arguments:
        raise wrong(
            "A content-type needs a body beside it.", "content-type", arguments["content-type"], "a body beside it"
        )
    return arguments


def overridden(rule: Rule, fields: Iterable[tuple[str, str]], settings: Settings) -> Mapping[str, Any]:
    """Return the arguments of a rule, replaced by those in the headers of a request.

    Raises:
        Refused: 400, if a parameter in the headers is wrong or contradicts the scenario.
    """
    known = VIA if "upstream" in rule.arguments else DELAYED
    given = read_fields(fields, known, settings)
    arguments = _together({**rule.arguments, **given})
    # A request may give a scenario another status, which then has no use for the scenario's own Retry-After.
    if "retry-after" in given:
        check_retry_after(arguments)
    return arguments


def delay_of(arguments: Mapping[str, Any], settings: Settings) -> Distribution:
    """Return the distribution of the wait.

    For several answers it is their mix, and for a sequence its last step.
    """
    given: Distribution | Sequence[Distribution] | None = arguments.get("delay")
    delay = (given.last if isinstance(given, Sequence) else given) or Fixed(settings.default_delay)
    if "answer" not in arguments:
        return delay
    return Mix(tuple((part, own.get("delay") or delay) for part, own in arguments["answer"].variants))


def understood(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments to plain values for JSON, in their canonical text."""
    return {name: _canonical(name, value) for name, value in arguments.items()}


_RENDERED: Final[Mapping[str, Callable[[Any], str]]] = {
    "over": render_duration,
    "rate": render_size,
    "read": render_size,
    "within": render_duration,
}
"""Functions that write the values of parameters whose type does not."""


def _canonical(name: str, value: object) -> object:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if name == "gate" and isinstance(value, tuple):
        return value[0] if value[1] is None else f"{value[0]}:{value[1]}"
    if name in _RENDERED:
        return _RENDERED[name](value)
    if name == "header" and isinstance(value, tuple):
        return [b": ".join(each).decode("ascii") for each in value]
    if isinstance(value, Answers):
        return [{"share": render_share(part), **understood(own)} for part, own in value.variants]
    return value if isinstance(value, int) else str(value)


def _length(given: object, depth: int = 0) -> int:
    """Count the characters of a scenario in either form, without its body.

    Raises:
        Refused: 400, it is nested more deeply than any scenario.
    """
    if depth > MAX_DEPTH:
        raise wrong("The scenario is nested too deeply.", "scenario", "", "values, lists of values and rules")
    if isinstance(given, Mapping):
        return sum(len(str(key)) + _length(value, depth + 1) for key, value in given.items() if key != "body")
    if isinstance(given, list):
        return sum(_length(each, depth + 1) for each in given)
    return len(str(given))


def missing(name: str, names: Iterable[str]) -> Refused:
    """Make the refusal of an unknown name, with a list of the known ones.

    Args:
        name: the given name.
        names: the names of all scenarios.
    """
    known = sorted(names)
    more = f" and {len(known) - MAX_SHOWN} more" if len(known) > MAX_SHOWN else ""
    accepted = ", ".join(known[:MAX_SHOWN]) + more
    return Refused(Problem(404, "Unknown scenario.", parameter="name", given=name, accepted=accepted))
