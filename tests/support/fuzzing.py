"""The hooks of schemathesis for this service, loaded by schemathesis.toml.

They add two facts to the OpenAPI document. JSON Schema cannot express all rules of a parameter, and a service that
fails on purpose looks like a broken one. No check is switched off.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import schemathesis
from hypothesis import strategies as st

from latebin.core import faults
from latebin.core.language import duration, variants
from latebin.core.parameters import DELAY, DRIP, SCENARIO, SECONDS
from latebin.core.scenarios import MATCHERS

MAX_BODY = 10_000

BESIDE = {parameter.name: parameter.beside for parameter in (*DRIP, *SCENARIO)}

PREDICTED = {name: {"rate": "200"} for name in ("servers", "queue", "seed")}
"""The same for `/predict`, where `rate` and `seed` mean something else."""

FAULT = re.compile("|".join(faults.KINDS))

short = st.integers(0, 5000).map(lambda microseconds: microseconds / 1e6)

# Simple templates: the strategies of the grammar's own tests are too slow here.
FORMS = (
    "{0}us",
    "{0}us .. 5ms",
    "uniform({0}us,0.005)",
    "normal({0}us,1ms)",
    "exponential({0}us)",
    "lognormal(median={0}us,p99=9ms)",
    "lognormal(median={0}us,sigma=0.6)",
    "pareto(min={0}us,alpha=1.5)",
    "percentiles(50={0}us,99.9=6ms)",
    "mix(95%:{0}us,0.04:5ms,1%:mix(1:1ms..2ms))",
)

schemathesis.openapi.format("delay", st.builds(str.format, st.sampled_from(FORMS), st.integers(1, 5000)))
ANSWERS = ("1:(delay={0}us)", "95%:(delay={0}us,type=json),5%:(delay=0,fault=reset:0)", "0.5:(),0.5:(size={0})")

schemathesis.openapi.format("answers", st.builds(str.format, st.sampled_from(ANSWERS), st.integers(1, 5000)))
SCENARIOS = (
    "delay={0}us",
    "delay={0}us&status=503:2%",
    "body=x{0}&content-type=text/csv",
    "answer=9%:(),91%:(size={0})",
)

schemathesis.openapi.format("scenario", st.builds(str.format, st.sampled_from(SCENARIOS), st.integers(1, 5000)))
schemathesis.openapi.format("etags", st.just("*"))
schemathesis.openapi.format("answer-header", st.from_regex(r"X-[A-Za-z0-9]{1,8}: ?[!-~]{1,20}", fullmatch=True))
STATUSES = st.integers(200, 599).map(str)

schemathesis.openapi.format("statuses", STATUSES | STATUSES.map("{}:0.5".format) | STATUSES.map("{}*2,none".format))
schemathesis.openapi.format("faults", st.sampled_from([*faults.KINDS, "none", "reset:0*2,none"]))
schemathesis.openapi.format("load", st.integers(1, 1000).map(str))
schemathesis.openapi.format("period", short.map(duration.render))
schemathesis.openapi.format("seconds", short.map(duration.render) | short.map("{:f}".format))
schemathesis.openapi.format("size", st.integers(0, MAX_BODY).map(str) | st.integers(0, 9).map("{}k".format))


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Make a generated query acceptable, harmless and quick.

    A fault gets a share of 0: it would leave no answer to check, and has tests of its own.
    """
    case.query.update(_harmless(case.query))
    if case.meta.generation.mode.is_positive:
        if case.path.endswith("/predict"):
            _add_beside(case.query, PREDICTED)
        else:
            _complete(case.query)
        _shorten(case.path, case.query, case.path_parameters)
        if case.path.startswith("/control/scenarios"):
            _change(case)
    return case


def _change(case: Any) -> None:
    """Make a generated scenario acceptable, without a condition on another."""
    for name in ("If-Match", "If-None-Match"):
        case.headers.pop(name, None)
    if isinstance(case.body, dict):
        _complete(case.body)
        dropped = {"upstream", *(("body", "content-type") if case.body.keys() & {"size", "type"} else ())}
        case.body = {name: value for name, value in case.body.items() if name not in dropped}
        rules = case.body.get("rule", [])
        case.body["rule"] = [{name: rule[name] for name in rule if name in {*MATCHERS, "delay"}} for rule in rules]


def _harmless(query: dict[str, Any]) -> dict[str, str]:
    return {"fault": "reset:0"} if FAULT.search(str(query.get("fault"))) else {}


def _complete(query: dict[str, Any]) -> None:
    """Apply the rules that no schema expresses.

    Add the parameters that others require, give a body in pieces enough bytes, and make shares add up.
    """
    _add_beside(query, BESIDE)
    _reconcile(query)
    if "," in str(query.get("status")) + str(query.get("fault")):
        query.setdefault("n", 1)
    if "gate" in query:
        query["within"] = "1ms"
    if "chunks" in query:
        query["size"] = str(MAX_BODY)
        query.pop("answer", None)  # an answer with a size of its own may have fewer bytes
        query["chunks"] = max(int(query["chunks"]), 2)
    if "answer" in query:
        try:
            variants.parse(query["answer"])
        except ValueError:
            query["answer"] = "1:()".ljust(len(query["answer"]))


def _add_beside(query: dict[str, Any], beside: Mapping[str, Mapping[str, str]]) -> None:
    """Add the parameters that others require."""
    for name in list(query):
        query.update({other: value for other, value in beside.get(name, {}).items() if other not in query})


def _reconcile(query: dict[str, Any]) -> None:
    """Drop parameters that exclude one another, and give Retry-After its status."""
    if query.keys() & {"chunks", "over", "every"}:
        query.pop("rate", None)
    for name in {"rate", "read"} & query.keys():
        query[name] = "1m"  # any body within the longest delay
    if "every" in query:
        query.pop("over", None)
    if query.get("type") in {"sse", "ndjson"}:
        query.pop("framing", None)  # the length of a stream is unknown
    if "retry-after" in query:
        query["status"] = "503"


def _shorten(operation: str, query: dict[str, Any], path: dict[str, Any]) -> None:
    """Shorten the slow requests: the examples of the document, and `/drip`.

    Other tests request these as they are.
    """
    if "over" in query:
        query["over"] = "1ms"
    if "every" in query:
        query["every"] = "1us"
    for place in (query, path):
        # A value for the path may already be percent-encoded.
        if unquote(str(place.get("delay"))) in SLOW:
            place["delay"] = "1ms"
    if operation.endswith("/drip"):
        query["duration"] = "1ms"
        query["numbytes"] = min(int(query.get("numbytes", 10)), 100)


SLOW = {parameter.example for parameter in (DELAY, SECONDS, *DRIP)}


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Keep a failure unless it is about a requested status or about a 414.

    A request line can be too long before its parameters are read.
    """
    requested = re.split("[:*,]", str(case.query.get("status", case.query.get("code", ""))))[0]
    statuses = {requested, *re.findall(r"status=([0-9]+)", str(case.query.get("answer")))}
    planned = "server-timing" in response.headers
    about_the_status = type(failure).__name__ in {"ServerError", "RejectedPositiveData"}
    too_long = (
        type(failure).__name__ == "AcceptedNegativeData" and response.status_code == HTTPStatus.REQUEST_URI_TOO_LONG
    )
    # A scenario answers every method, also those that OpenAPI 3.1 has no name for.
    unnamed = type(failure).__name__ == "UnsupportedMethodResponse" and "/as/" in case.path
    return not (unnamed or too_long or (planned and about_the_status and str(response.status_code) in statuses))


@schemathesis.check
def refused_by_a_problem(context: Any, response: Any, case: Any) -> None:
    """Check that every refusal is a problem, and that a 400 names a parameter."""
    if response.status_code >= 400 and "server-timing" not in response.headers and case.method != "HEAD":
        assert response.headers["content-type"] == ["application/problem+json"]
        assert response.status_code != 400 or "parameter" in response.json()
