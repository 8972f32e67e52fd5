import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latebin.answers.seed_counter import SeedCounter
from latebin.core.endpoints import parameters
from latebin.core.http.reply import Refused
from latebin.core.language.prediction import Prediction
from latebin.core.parameters import DELAYED, DRIP, PREDICT, SECONDS, Parameter, read_text
from latebin.core.plan import Source, plan_drip, plan_echo, predict, prepare, read_arguments
from latebin.core.scenarios import BUILT_IN
from latebin.core.settings import Settings

SETTINGS = Settings(default_delay=2, max_delay=60)

QUERIES = {"delayed": DELAYED, "drip": DRIP, "predict": PREDICT}

EVERY = [(place, parameter) for place, query in QUERIES.items() for parameter in query]

PARAMETERS = [SECONDS, *(parameter for _, parameter in EVERY)]


def planned(query: str, random: Callable[[], float] = lambda: 0.5) -> Any:
    return prepare(read_arguments(query.encode(), None, SETTINGS), SETTINGS, Source(SeedCounter().next, random))()


def predicted(query: str) -> Prediction:
    return predict(query.encode(), SETTINGS)


def dripped(query: str) -> Any:
    return plan_drip(query.encode(), SETTINGS)


READERS: dict[str, Callable[[str], Any]] = {"delayed": planned, "drip": dripped, "predict": predicted}


@pytest.mark.parametrize(("parameter", "target"), parameters(), ids=lambda value: getattr(value, "name", ""))
def test_example(parameter: Parameter, target: str) -> None:
    """An example is accepted by its reader, and its target by the plan it is for."""
    read_text(parameter, parameter.example, Settings())
    path, _, query = target.strip("/").partition("?")
    place, _, segment = path.partition("/")
    if place == "as":
        assert BUILT_IN[segment]
        return
    assert plan_echo(segment, b"", SETTINGS) if segment else READERS[place](query)


DEFAULTS: dict[str, Callable[[], bool]] = {
    "`--default-delay`": lambda: planned("").wait == SETTINGS.default_delay,
    "every draw is new": lambda: planned("delay=0s..1s").wait != planned("delay=0s..1s", lambda: 0.25).wait,
    "the next one": lambda: planned("delay=0s..1s&seed=1") == planned("delay=0s..1s&seed=1&n=1"),
    "the type's own size": lambda: [planned(f"type={kind}").body.size for kind in ("html", "text")] == [52, 27],
    "no header": lambda: (planned("").retry_after, planned("").extra) == (None, ()),
    "the other parameters alone": lambda: planned("answer=1:()") == planned(""),
    "none": lambda: planned("").fault is None,
    "unknown": lambda: predicted("").cut is None,
}


@pytest.mark.parametrize(("place", "parameter"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_default(place: str, parameter: Parameter) -> None:
    """What is said to happen without a parameter happens: it is told in words, or can be asked for."""
    read_with = READERS[place]
    told = parameter.default
    assert DEFAULTS[told]() if told in DEFAULTS else read_with("") == read_with(f"{parameter.name}={told}")


def near(parameter: Parameter) -> st.SearchStrategy[tuple[Parameter, str]]:
    """Give a parameter with any text, or one that is nearly right."""
    alphabet = sorted(set(f"{parameter.example}{parameter.accepted}0189.%:"))
    return st.tuples(st.just(parameter), st.text() | st.text(alphabet, max_size=12) | st.integers().map(str))


@given(st.sampled_from(PARAMETERS).flatmap(near))
@settings(max_examples=1000)
def test_any_text(given: tuple[Parameter, str]) -> None:
    """Any text is read or refused with a 400 that names the parameter, and what the schema excludes is refused."""
    parameter, text = given
    try:
        read_text(parameter, text, SETTINGS)
    except Refused as refused:
        problem = refused.problem
        assert (problem.status, problem.parameter, problem.accepted) == (400, parameter.name, parameter.accepted)
    else:
        assert conforms(text, parameter.schema) or parameter in LENIENT


LENIENT = [SECONDS, *DRIP]
"""What is read as httpbin reads it: whatever Python takes for a number."""


def described(parameter: Parameter) -> st.SearchStrategy[tuple[Parameter, str]]:
    """Give a parameter with a text that its schema describes."""
    schema = parameter.schema
    if schema["type"] == "integer":
        texts = st.integers(schema["minimum"], schema.get("maximum", 10**20)).map(str)
    else:
        texts = st.sampled_from(schema["enum"]) if "enum" in schema else st.from_regex(schema["pattern"])
    return st.tuples(st.just(parameter), texts.filter(lambda text: conforms(text, schema)))


EXACT = [parameter for parameter in PARAMETERS if "format" not in parameter.schema]


@given(st.sampled_from(EXACT).flatmap(described))
@settings(max_examples=500)
def test_exact_schema(given: tuple[Parameter, str]) -> None:
    """Where a schema needs no format of our own, whatever it describes is read."""
    read_text(*given, SETTINGS)


def conforms(text: str, schema: Any) -> bool:
    """Tell whether the text of a parameter is what its schema describes, as a client of OpenAPI sees it."""
    if schema["type"] == "integer":
        return text.isdigit() and schema["minimum"] <= int(text) <= schema.get("maximum", int(text))
    if "enum" in schema:
        return text in schema["enum"]
    # A pattern of JSON Schema ends where the text ends; in Python, $ allows a newline there.
    ends = re.sub(r"\$$", r"\\Z", schema["pattern"])
    return bool(re.search(ends, text)) and schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 10**6)


def test_schemas_are_json() -> None:
    """A schema can be written as JSON."""
    for parameter in PARAMETERS:
        assert json.loads(json.dumps(parameter.schema)) == parameter.schema
