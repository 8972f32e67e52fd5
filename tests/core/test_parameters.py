import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latebin.core.endpoints import parameters
from latebin.core.http.reply import Refused
from latebin.core.language.prediction import Prediction
from latebin.core.parameters import DELAYED, DRIP, EVENTS, PREDICT, SECONDS, STEERING, Parameter, read_query, read_text
from latebin.core.plan import forecast, plan_drip, plan_echo, plan_events, prepare, read_arguments, steer
from latebin.core.scenarios import BUILT_IN
from latebin.core.settings import Settings
from latebin.core.steering import Steering
from latebin.core.stream import Kind

SETTINGS = Settings(default_delay=2, max_delay=60)

QUERIES = {"delayed": DELAYED, "drip": DRIP, "sse": EVENTS, "jsonl": EVENTS, "predict": PREDICT}

EVERY = [(place, parameter) for place, query in QUERIES.items() for parameter in query]

PARAMETERS = [SECONDS, *(parameter for _, parameter in EVERY)]


def planned(query: str, random: Callable[[], float] = lambda: 0.5) -> Any:
    prepared = prepare(read_arguments(query.encode(), None, SETTINGS), SETTINGS, random)
    return prepared.plan or prepared.draw(1, 1)


def predicted(query: str) -> Prediction:
    return forecast(query.encode(), SETTINGS).predict()


def dripped(query: str) -> Any:
    return plan_drip(read_query(query.encode(), DRIP, SETTINGS))


def streamed(kind: Kind, query: str) -> Any:
    return plan_events(read_query(query.encode(), EVENTS, SETTINGS), kind, lambda: 0.5)


READERS: dict[str, Callable[[str], Any]] = {
    "delayed": planned,
    "drip": dripped,
    "sse": partial(streamed, "sse"),
    "jsonl": partial(streamed, "ndjson"),
    "predict": predicted,
}


@pytest.mark.parametrize(("parameter", "target"), parameters(), ids=lambda value: getattr(value, "name", ""))
def test_example(parameter: Parameter, target: str) -> None:
    """The example of a parameter is accepted, alone and in its request target."""
    read_text(parameter, parameter.example, Settings())
    path, _, query = target.strip("/").partition("?")
    place, _, segment = path.partition("/")
    if place == "as":
        assert BUILT_IN[segment]
        return
    assert plan_echo(segment, b"", SETTINGS) if segment else READERS[place](query)


def steered(query: str) -> Any:
    return steer(read_query(query.encode(), STEERING, SETTINGS), SETTINGS) or Steering()


def simulated(query: str) -> Any:
    return forecast(query.encode(), SETTINGS).load


DEFAULTS: dict[str, Callable[[], bool]] = {
    "`--default-delay`": lambda: planned("").wait == SETTINGS.default_delay,
    "every draw is new": lambda: planned("delay=0s..1s").wait != planned("delay=0s..1s", lambda: 0.25).wait,
    "the next one": lambda: planned("delay=0s..1s&seed=1") == planned("delay=0s..1s&seed=1&n=1"),
    "the type's own size": lambda: [planned(f"type={kind}").body.size for kind in ("html", "text")] == [52, 27],
    "no header": lambda: (planned("").retry_after, planned("").extra) == (None, ()),
    "the other parameters alone": lambda: planned("answer=1:()") == planned(""),
    "all at once": lambda: list(planned("chunks=2").pieces()) == [(26, 0.0), (52, 0.0)],
    "as fast as the client reads": lambda: planned("").rate is None,
    "as fast as the body comes": lambda: "read" not in read_arguments(b"", None, SETTINGS),
    "5 for `/sse`, 0 for `/jsonl`": lambda: [streamed(kind, "").over for kind in ("sse", "ndjson")] == [5, 0],
    "no key": lambda: steered("").key is None,
    "no gate": lambda: steered("").gate is None,
    "no pool": lambda: steered("").pool is None,
    "`--max-delay`": lambda: steered("gate=a").gate.within == SETTINGS.max_delay,
    "fifo": lambda: steered("gate=a").gate.order == "fifo",
    "one server": lambda: simulated("rate=1").servers == 1,
    "seed 0": lambda: simulated("rate=1").seed == 0,
    "no simulation": lambda: simulated("") is None,
    "no limit": lambda: steered("pool=db&servers=1").pool.queue is simulated("rate=1").queue is None,
    "none": lambda: planned("").fault is None,
    "unknown": lambda: predicted("").cut is None,
}


@pytest.mark.parametrize(("place", "parameter"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_default(place: str, parameter: Parameter) -> None:
    """An absent parameter has the documented effect, which is a value or a described one."""
    read_with = READERS[place]
    default = parameter.default
    assert DEFAULTS[default]() if default in DEFAULTS else read_with("") == read_with(f"{parameter.name}={default}")


def near(parameter: Parameter) -> st.SearchStrategy[tuple[Parameter, str]]:
    """Return a strategy for a parameter with any text or an almost valid one."""
    alphabet = sorted(set(f"{parameter.example}{parameter.accepted}0189.%:"))
    return st.tuples(st.just(parameter), st.text() | st.text(alphabet, max_size=12) | st.integers().map(str))


@given(st.sampled_from(PARAMETERS).flatmap(near))
@settings(max_examples=150)
def test_any_text(given: tuple[Parameter, str]) -> None:
    """Any text is read if its schema allows, or refused with a problem."""
    parameter, text = given
    try:
        read_text(parameter, text, SETTINGS)
    except Refused as refused:
        problem = refused.problem
        assert (problem.status, problem.parameter, problem.accepted) == (400, parameter.name, parameter.accepted)
    else:
        assert conforms(text, parameter.schema) or parameter in LENIENT


LENIENT = [SECONDS, *DRIP]
"""The parameters that accept Python's other numbers, as httpbin does."""


def described(parameter: Parameter) -> st.SearchStrategy[tuple[Parameter, str]]:
    """Return a strategy for a parameter with a text that its schema describes."""
    schema = parameter.schema
    if schema["type"] == "integer":
        texts = st.integers(schema["minimum"], schema.get("maximum", 10**20)).map(str)
    else:
        texts = st.sampled_from(schema["enum"]) if "enum" in schema else st.from_regex(schema["pattern"])
    return st.tuples(st.just(parameter), texts.filter(lambda text: conforms(text, schema)))


EXACT = [parameter for parameter in PARAMETERS if "format" not in parameter.schema]


@given(st.sampled_from(EXACT).flatmap(described))
@settings(max_examples=100)
def test_exact_schema(given: tuple[Parameter, str]) -> None:
    """Any text that a schema describes is read when the schema has no own format."""
    read_text(*given, SETTINGS)


def conforms(text: str, schema: Any) -> bool:
    """Check the text of a parameter against its schema, as an OpenAPI client would."""
    if schema["type"] == "integer":
        return text.isdigit() and schema["minimum"] <= int(text) <= schema.get("maximum", int(text))
    if "enum" in schema:
        return text in schema["enum"]
    # A pattern of JSON Schema ends where the text ends; in Python, $ allows a newline there.
    ends = re.sub(r"\$$", r"\\Z", schema["pattern"])
    return bool(re.search(ends, text)) and schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 10**6)


def test_schemas_are_json() -> None:
    """A schema survives being written as JSON."""
    for parameter in PARAMETERS:
        assert json.loads(json.dumps(parameter.schema)) == parameter.schema
