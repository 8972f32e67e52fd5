"""Scenarios as they are given, and the rules that choose among their answers."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.reply import Refused
from latebin.core.scenarios import BUILT_IN, MAX_LENGTH, MAX_RULES, Glob, Scenario, overridden, read
from latebin.core.settings import Settings
from latebin.timing.piecewise import complete

SETTINGS = Settings(upstreams={"api": "http://127.0.0.1:9000"})

PAYMENTS = """
delay = "50ms"
retry-after = 1
header = ["X-One: 1", "X-Two: 2"]
[[rule]]
path = "/v1/charges/*"
method = "POST"
delay = "3s"
[[rule]]
header = "Accept: *json*"
status = 503
answer-header = "ETag: 1"
[[rule]]
path = "/v1/**"
"""


def payments() -> Scenario:
    return read("payments", tomllib.loads(PAYMENTS), SETTINGS)


def chosen(scenario: Scenario, method: str, path: str, **headers: str) -> int:
    """Return the number of the rule that matches, from 0."""
    return scenario.rules.index(scenario.rule(lambda: (method, path, lambda name: [headers.get(name, "")])))


def test_query() -> None:
    """A query string is a scenario with or without an escaped percent sign."""
    for text in ("delay=1s..3s&status=503:2%", "delay=1s..3s&status=503:2%25"):
        [rule] = read("a", text, SETTINGS).rules
        assert (str(rule.arguments["delay"]), rule.arguments["status"].share) == ("1s..3s", 0.02)


@pytest.mark.parametrize(
    ("method", "path", "accept", "number"),
    [
        ("POST", "/v1/charges/7", "", 0),
        ("GET", "/v1/charges/7", "", 2),
        ("POST", "/v1/charges/7/refunds", "", 2),
        ("GET", "/v1/charges/7", "application/json", 1),
        ("GET", "/v2", "", 3),
    ],
)
def test_rules(method: str, path: str, accept: str, number: int) -> None:
    """The first rule that matches is chosen, and the scenario itself when none does."""
    assert chosen(payments(), method, path, Accept=accept) == number


def test_a_rule_inherits() -> None:
    """A rule has the parameters of its scenario when it does not set them itself."""
    charges, json_rule, _, otherwise = payments().rules
    assert (str(charges.arguments["delay"]), charges.arguments["retry-after"]) == ("3s", 1)
    assert charges.arguments["header"] == otherwise.arguments["header"] == ((b"X-One", b"1"), (b"X-Two", b"2"))
    assert json_rule.arguments["header"] == ((b"ETag", b"1"),)


def test_retry_after_of_a_scenario() -> None:
    """A scenario is refused when no rule has a status for its Retry-After."""
    for source in ("retry-after=1", {"retry-after": 1, "rule": [{"path": "/a", "status": 404}]}):
        with pytest.raises(Refused, match="no answer has a status of 3xx, 429 or 503"):
            read("a", source, SETTINGS)
    with pytest.raises(Refused, match="no answer has a status"):
        read("a", {"status": 503, "rule": [{"path": "/a", "status": 404, "retry-after": 1}]}, SETTINGS)
    [rule] = read("a", "status=503&retry-after=1", SETTINGS).rules
    assert overridden(rule, [("status", "200")], SETTINGS)["retry-after"] == 1
    with pytest.raises(Refused, match="no answer has a status"):
        overridden(rule, [("status", "200"), ("retry-after", "2")], SETTINGS)


def test_as_json() -> None:
    """A scenario has its source, its parameters and its prediction in JSON."""
    shown = json.loads(json.dumps(complete(payments().describing(SETTINGS))))
    assert shown["given"] == tomllib.loads(PAYMENTS)
    assert shown["understood"] == {"delay": "50ms", "retry-after": 1, "header": ["X-One: 1", "X-Two: 2"]}
    assert (shown["prediction"]["p50_ms"], shown["rules"][0]["prediction"]["p50_ms"]) == (50, 3000)
    assert [rule.get("path") for rule in shown["rules"]] == ["/v1/charges/*", None, "/v1/**"]


def test_prediction_of_several_answers() -> None:
    """The prediction mixes the delays when a scenario has several answers."""
    shown = complete(read("a", "answer=50%:(delay=0),50%:(delay=1s)", SETTINGS).describing(SETTINGS))
    assert (shown["prediction"]["mean_ms"], shown["prediction"]["max_ms"]) == (500, 1000)
    assert [each["share"] for each in shown["understood"]["answer"]] == ["50%", "50%"]


def test_overridden() -> None:
    """A parameter in a request header wins when the scenario has it too."""
    [rule] = read("a", "delay=1s&type=text", SETTINGS).rules
    arguments = overridden(rule, [("delay", "2s")], SETTINGS)
    assert (str(arguments["delay"]), arguments["type"]) == ("2s", "text")


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ("delya=1s", "delya"),
        ("delay=soon", "delay"),
        ("upstream=nowhere", "upstream"),
        ("upstream=api&size=1k", "size"),
        ("body=x&type=text", "type"),
        ("content-type=text/plain", "content-type"),
        ("body=x&content-type=text", "content-type"),
        ("x" * (MAX_LENGTH + 1), "scenario"),
        ({"delay": True}, "delay"),
        ({"delay": {"of": "1s"}}, "delay"),
        ({"body": "x" * 70_000}, "body"),
        ({"rule": "none"}, "rule"),
        ({"rule": [{"path": "/a"}] * (MAX_RULES + 1)}, "rule"),
        ({"rule": [{"delay": "1s"}]}, "rule[1].path"),
        ({"rule": [{"paht": "/a"}]}, "rule[1].paht"),
        ({"rule": [{"path": "/a"}, {"path": "a"}]}, "rule[2].path"),
        ({"rule": [{"method": "GET POST"}]}, "rule[1].method"),
        ({"rule": [{"header": "a b"}]}, "rule[1].header"),
        ({"rule": [{"path": "/a", "status": 99}]}, "rule[1].status"),
        ({"rule": [{"path": 1}]}, "rule[1].path"),
        ({"rule": [{"path": "/a", "rule": []}]}, "rule[1].rule"),
        ({"rule": [{"path": "/a", "chunks": 2, "size": 1}]}, "rule[1].chunks"),
        ({"rule": [[[[[[["deep"]]]]]]]}, "scenario"),
        ({"header": []}, "header"),
        ({"body": float("inf")}, "body"),
        ({"body": float("nan")}, "body"),
        ({"body": "\ud800"}, "body"),
        ("n=5", "n"),
        ("over=1s", "over"),
        ("chunks=100&size=10", "chunks"),
        ("chunks=100&body=x&status=204:50%", "chunks"),
        ("chunks=4&answer=50%:(delay=1ms),50%:(size=2)", "chunks"),
        ("upstream=api&n=5", "n"),
    ],
)
def test_refused(given: Any, parameter: str) -> None:
    """A scenario is refused by its parameter when that is wrong."""
    with pytest.raises(Refused) as refused:
        read("a", given, SETTINGS)
    assert (refused.value.problem.status, refused.value.problem.parameter) == (400, parameter)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "x" * 65, ".", "..", "a\n"])
def test_name(name: str) -> None:
    """A name is refused when it has other characters, or too many."""
    with pytest.raises(Refused):
        read(name, "delay=1s", SETTINGS)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in(name: str) -> None:
    """A built-in scenario is valid and has a meaning and a source."""
    assert read(name, BUILT_IN[name].query, Settings()).rules
    assert BUILT_IN[name].meaning
    assert BUILT_IN[name].source


@pytest.mark.parametrize(
    "given", ["n=5&seed=7", "chunks=4&over=1s", "chunks=100&status=204", "answer=50%:(delay=0),50%:(status=503)"]
)
def test_accepted(given: str) -> None:
    """A scenario is accepted when each of its answers can be made."""
    assert read("a", given, SETTINGS).rules


@given(st.text("/ab*?.", max_size=12), st.text("/ab.\n", max_size=12), st.booleans())
def test_glob(pattern: str, text: str, slashes: bool) -> None:  # noqa: FBT001  # drawn by hypothesis
    """A glob agrees with the regular expression of its three signs when it is matched."""
    one = "." if slashes else "[^/]"
    wild = re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", f"{one}*").replace(r"\?", one)
    assert Glob(pattern, slashes).matches(text) == bool(re.fullmatch(wild, text, re.DOTALL))


def test_glob_against_a_long_path() -> None:
    """A match reads each character once when the pattern has many wildcards."""

    class Counted(str):
        __slots__ = ()
        read = 0

        def __iter__(self) -> Iterator[str]:
            for letter in str.__iter__(self):
                Counted.read += 1
                yield letter

    assert not Glob("/**/a/**/b/**/c")._rest.match(Counted("a/" * 4000 + "b/" * 4000))
    assert Counted.read == 16_000


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TABLES = st.dictionaries(
    st.sampled_from(["delay", "status", "rule", "path", "header", "body", "answer", "x"]),
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_size=4,
)


@given(TABLES | st.text(max_size=60))
def test_anything(given: Any) -> None:
    """Anything is either read, and can be shown as JSON, or refused with a problem."""
    try:
        scenario = read("a", given, SETTINGS)
    except Refused as error:
        assert error.problem.parameter is not None  # noqa: PT017  # a refusal names what is wrong
        return
    json.dumps(complete(scenario.describing(SETTINGS)))
