"""Scenarios: plans with a name, for clients whose paths and headers nobody can change."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from latebin.core.http.reply import Problem, Refused
from latebin.core.language.chance import Chance
from latebin.core.language.distributions import Distribution, Fixed, Mix
from latebin.core.language.duration import render as render_duration
from latebin.core.language.prediction import Prediction, predict
from latebin.core.language.share import render as render_share
from latebin.core.parameters import DELAYED, NAME, SCENARIO, VIA, Answers, read_fields, read_text, split_query, wrong
from latebin.core.settings import Settings

MOST: Final = 1000
"""The most scenarios that there can be at once."""

MAX_LENGTH: Final = 16 * 1024
"""The longest scenario, in characters without its body: as long as a URL may be."""

MAX_BODY: Final = 64 * 1024
"""Bytes of the largest body that a scenario brings in its text; a file that the operator names may be larger."""

MAX_RULES: Final = 100
"""The most rules of one scenario."""

Given = str | Mapping[str, Any]
"""A scenario as it is given: a query string, or a table of TOML or an object of JSON."""

_MATCHERS: Final = ("path", "method", "header")

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@attrs.frozen
class BuiltIn:
    """A scenario that is always there.

    Attributes:
        query: what it does.
        meaning: what it stands for.
        source: where its figures are from.
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
"""The scenarios for the usual wishes, by name."""


@attrs.frozen(eq=False)
class Glob:
    """A pattern: `*` is any text without a slash, `**` any text, `?` one character that is no slash.

    Attributes:
        text: the pattern.
        slashes: whether `*` and `?` match a slash as well, as in the value of a header.
    """

    text: str
    slashes: bool = False
    _pattern: re.Pattern[str] = attrs.field(init=False, repr=False)

    @_pattern.default
    def _compiled(self) -> re.Pattern[str]:
        one = "." if self.slashes else "[^/]"
        signs = {"**": ".*", "*": f"{one}*", "?": one}
        parts = re.split(r"(\*\*|\*|\?)", self.text)
        return re.compile("".join(signs.get(part, re.escape(part)) for part in parts), re.DOTALL)

    def matches(self, text: str) -> bool:
        return self._pattern.fullmatch(text) is not None


@attrs.frozen(eq=False)
class Rule:
    """The answers to some of a scenario's requests.

    Attributes:
        arguments: the parameters, by name; those of the scenario that the rule does not set are among them.
        path: what the path behind the scenario's name must match; None for any.
        method: the method; None for any.
        header: the name of a request header, and what one of its values must match; None for no condition.
    """

    arguments: Mapping[str, Any]
    path: Glob | None = None
    method: str | None = None
    header: tuple[str, Glob] | None = None

    def matches(self, method: str, path: str, values: Callable[[str], Iterable[str]]) -> bool:
        """Return whether a request is one of this rule's.

        Args:
            method: of the request.
            path: behind the scenario's name, decoded, with its first slash.
            values: gives the values of a request header by its name.
        """
        if self.method is not None and self.method != method:
            return False
        if self.path is not None and not self.path.matches(path):
            return False
        return self.header is None or any(map(self.header[1].matches, values(self.header[0])))


@attrs.frozen(eq=False)
class Scenario:
    """A plan with a name, or several with the rules that choose among them.

    Attributes:
        name: what it is called.
        given: the text or the table that it was made of; a body is left out of it.
        rules: in the order in which they are tried; the last matches every request.
    """

    name: str
    given: Given
    rules: tuple[Rule, ...]

    def rule(self, request: Callable[[], tuple[str, str, Callable[[str], Iterable[str]]]]) -> Rule:
        """Return the first rule that matches a request.

        Args:
            request: gives method, path and headers as `Rule.matches` takes them, if there is a choice.
        """
        if len(self.rules) == 1:
            return self.rules[0]
        asked = request()
        return next(rule for rule in self.rules if rule.matches(*asked))

    def as_json(self, settings: Settings) -> dict[str, Any]:
        """Return the scenario as plain values: as given, as understood, and the prediction of each rule's delay."""
        *rules, otherwise = (_rule_as_json(rule, settings) for rule in self.rules)
        return {"name": self.name, "given": self.given, **otherwise, **({"rules": rules} if rules else {})}


def read(name: str, given: Given, settings: Settings) -> Scenario:
    """Read a scenario.

    Args:
        name: what it is called.
        given: a query string, in which a percent sign need not be escaped, or a table whose keys are the parameters;
            the table's `rule` is a list of tables with `path`, `method`, `header` and parameters of their own.
        settings: the limits, and the upstreams that there are.

    Raises:
        Refused: 400, with the parameter that is wrong; that of a rule is `rule[1].delay`, counted from 1.
    """
    read_text(NAME, name, settings)
    if _length(given) > MAX_LENGTH:
        raise wrong("The scenario is too long.", "scenario", name, f"at most {MAX_LENGTH} characters without its body")
    if isinstance(given, str):
        fields = split_query(given.encode("utf-8", "surrogateescape"))
        return Scenario(name, given, (Rule(_together(read_fields(fields, SCENARIO, settings))),))
    table = dict(given)
    tables = table.pop("rule", [])
    shared = _table_arguments(table, settings)
    rules = [*_rules(tables, shared, settings), Rule(_together(shared))]
    return Scenario(name, _shown(given), tuple(rules))


def _rules(tables: object, shared: Mapping[str, Any], settings: Settings) -> Iterable[Rule]:
    if not isinstance(tables, list) or not all(isinstance(each, Mapping) for each in tables):
        raise wrong("Invalid rules.", "rule", str(tables), "a list of tables")
    if len(tables) > MAX_RULES:
        raise wrong("Too many rules.", "rule", str(len(tables)), f"at most {MAX_RULES}")
    for number, each in enumerate(tables, 1):
        try:
            yield _rule(dict(each), shared, settings)
        except Refused as error:
            raise Refused(attrs.evolve(error.problem, parameter=f"rule[{number}].{error.problem.parameter}")) from None


def _rule(table: dict[str, Any], shared: Mapping[str, Any], settings: Settings) -> Rule:
    path, method, header = (_matcher(table, name) for name in _MATCHERS)
    if path is method is header is None:
        raise wrong("A rule matches by path, method or header; this one has neither.", "path", "", "such as /v1/**")
    if method is not None and not _METHOD.fullmatch(method):
        raise wrong("Invalid method.", "method", method, "a method such as POST")
    if path is not None and not path.startswith(("/", "*")):
        raise wrong("Invalid path.", "path", path, "a pattern that begins with a slash or an asterisk")
    # In a rule, `header` is what the request has; the answer's own headers go by another name.
    if "answer-header" in table:
        table["header"] = table.pop("answer-header")
    arguments = _together({**shared, **_table_arguments(table, settings)})
    glob = None if path is None else Glob(path)
    return Rule(arguments, glob, method, None if header is None else _header_matcher(header))


def _matcher(table: dict[str, Any], name: str) -> str | None:
    value = table.pop(name, None)
    if value is not None and (not isinstance(value, str) or not value):
        raise wrong(f"Invalid {name}.", name, str(value), "a text")
    return value


def _header_matcher(text: str) -> tuple[str, Glob]:
    name, colon, value = text.partition(":")
    if not _METHOD.fullmatch(name):
        raise wrong("Invalid header to match.", "header", text, "a name, or a name and a pattern as in Accept: *json*")
    return name, Glob(value.strip() if colon else "*", slashes=True)


def _table_arguments(table: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    return read_fields(_table_fields(table), SCENARIO, settings)


def _table_fields(table: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Give the parameters of a table as a query would have them: numbers as text, a list once for each of its items."""
    for name, value in table.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, bool) or not isinstance(each, str | int | float):
                raise wrong("Invalid value.", str(name), str(each), "a text or a number")
            yield str(name), str(each)


def _together(arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse parameters that do not go together."""
    if "upstream" in arguments:
        shape = arguments.keys() - {"upstream", "delay", "seed", "n", "status", "fault"}
        if shape:
            first = min(shape)
            accepted = "delay, seed, n, status and fault beside an upstream"
            raise wrong("The upstream gives the answer its shape.", first, str(arguments[first]), accepted)
    if "body" in arguments and arguments.keys() & {"size", "type"}:
        other = min(arguments.keys() & {"size", "type"})
        raise wrong("A scenario with a body has its size and type.", other, str(arguments[other]), "a body alone")
    if "content-type" in arguments and "body" not in arguments:
        raise wrong("There is no body to describe.", "content-type", arguments["content-type"], "a body beside it")
    return arguments


def overridden(rule: Rule, fields: Iterable[tuple[str, str]], settings: Settings) -> Mapping[str, Any]:
    """Return the arguments of a rule with those in a request's headers in their place.

    Raises:
        Refused: 400, a parameter in the headers is wrong, or does not go with the scenario's.
    """
    known = VIA if "upstream" in rule.arguments else DELAYED
    return _together({**rule.arguments, **read_fields(fields, known, settings)})


def delay_of(arguments: Mapping[str, Any], settings: Settings) -> Distribution:
    """Return what the waits of some arguments are drawn from; of several answers, their mix."""
    delay: Distribution = arguments.get("delay") or Fixed(settings.default_delay)
    if "answer" not in arguments:
        return delay
    return Mix(tuple((part, own.get("delay") or delay) for part, own in arguments["answer"].variants))


def prediction_of(rule: Rule, settings: Settings) -> Prediction:
    """Work out what to expect of a rule's delay."""
    return predict(delay_of(rule.arguments, settings), None, settings.max_delay)


def _rule_as_json(rule: Rule, settings: Settings) -> dict[str, Any]:
    matchers = {
        "path": rule.path and rule.path.text,
        "method": rule.method,
        "header": rule.header and f"{rule.header[0]}: {rule.header[1].text}",
    }
    return {
        **{name: text for name, text in matchers.items() if text is not None},
        "understood": understood(rule.arguments),
        "prediction": prediction_of(rule, settings).as_json(),
    }


def understood(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Write arguments as JSON has them: each in its canonical text."""
    return {name: _canonical(name, value) for name, value in arguments.items()}


def _canonical(name: str, value: object) -> object:
    if isinstance(value, Chance):
        return value.what if value.share == 1 else f"{value.what}:{render_share(value.share)}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if name == "over" and isinstance(value, float):
        return render_duration(value)
    if name == "header" and isinstance(value, tuple):
        return [b": ".join(each).decode("ascii") for each in value]
    if isinstance(value, Answers):
        return [{"share": render_share(part), **understood(own)} for part, own in value.variants]
    return value if isinstance(value, int) else str(value)


def _length(given: Given) -> int:
    """Count the characters of a scenario, in whichever form it is given; a body counts elsewhere."""
    if isinstance(given, str):
        return len(given)
    if isinstance(given, Mapping):
        return sum(len(str(key)) + _length(value) for key, value in given.items() if key != "body")
    return sum(map(_length, given)) if isinstance(given, list) else len(str(given))


def _shown(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a table as JSON has it: a body that came from a file shows its size."""
    return {key: f"{len(value)} bytes of a file" if isinstance(value, bytes) else value for key, value in given.items()}


def missing(name: str, names: Iterable[str]) -> Refused:
    """Refuse a name that no scenario has, and list those that there are."""
    accepted = ", ".join(sorted(names))
    return Refused(Problem(404, "There is no scenario of this name.", parameter="name", given=name, accepted=accepted))
