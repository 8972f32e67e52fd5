"""The OpenAPI 3.1 document of a service, made from the table of endpoints."""

from collections.abc import Mapping
from typing import Any, Final

from latebin.core import stream
from latebin.core.endpoints import PREFIXES, Endpoint, endpoints, with_values
from latebin.core.http.accept import NDJSON
from latebin.core.http.body import TYPES
from latebin.core.http.reply import MAX_GIVEN
from latebin.core.http.request_id import PATTERN
from latebin.core.journal import ENDED, LEFT_BY, MOST_OF_KEY
from latebin.core.language.prediction import FIGURES
from latebin.core.parameters import HEADER, PREFIX, SCENARIO, Parameter
from latebin.core.plan import EMPTY, EXCLUSIVE
from latebin.core.scenarios import MATCHERS, MAX_RULES
from latebin.core.settings import Settings
from latebin.core.steering import MAX_BARRIER

Json = Mapping[str, Any]

TITLE: Final = "latebin"

STACK: Final = "x-latebin-stack"
"""The field of `info` with the service's stack, by which `latebin compare --url` knows which promises to expect."""

_NUMBER: Final = {"type": "number", "minimum": 0}

_TEXT: Final = {"type": "string"}

_SEGMENT: Final = {"type": "string", "pattern": "^[^/]+$"}


def _object(properties: Json, *optional: str) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


_BIN: Final = _object({"lower_ms": _NUMBER, "upper_ms": _NUMBER, "share": {"type": "number"}})

_PREDICTION: Final = {"$ref": "#/components/schemas/Prediction"}

_MATCHED: Final = {
    "path": {**_TEXT, "pattern": "^[/*]", "description": "A pattern of the path behind the name, such as /v1/**."},
    "method": {**_TEXT, "pattern": "^[A-Z]+$", "description": "The method."},
    "header": {
        **_TEXT,
        "pattern": "^[A-Za-z0-9-]+(:.+)?$",
        "description": "The name of a request header, or the name and a pattern of its value.",
    },
}
"""The conditions of a rule."""


def _several(parameter: Parameter) -> Json:
    """Return the schema of a parameter in a table, which may list its values."""
    if parameter.most == 1:
        return parameter.schema
    listed = {"type": "array", "minItems": 1, "maxItems": parameter.most, "items": parameter.schema}
    return {"anyOf": [parameter.schema, listed]}


def _table(more: Json, *without: Parameter) -> dict[str, Any]:
    values = {each.name: _several(each) for each in SCENARIO if each not in without}
    return {
        "type": "object",
        "properties": {**values, **more},
        "dependentRequired": {each.name: [*each.beside] for each in SCENARIO if each.beside},
        "additionalProperties": False,
    }


_FIELDS: Final = {
    "type": "object",
    "additionalProperties": {"anyOf": [_TEXT, {"type": "array", "minItems": 2, "items": _TEXT}]},
}

_COUNT: Final = {"type": "integer", "minimum": 0}

_BOOLEAN: Final = {"type": "boolean"}

_KEY: Final = _object({"key": _TEXT, "turn": _COUNT, "idle_ms": _nullable(_NUMBER)})

_GATE: Final = {"name": _TEXT, "waiting": _COUNT, "open": _BOOLEAN}

_WAITING: Final = _object(
    {
        "id": _TEXT,
        "key": _nullable(_TEXT),
        "path": _TEXT,
        "style": _TEXT,
        "for": {"type": "string", "enum": ["turn", "gate", "queue", "delay", "upstream"]},
        "left_ms": _nullable(_NUMBER),
    }
)

_PROBLEM_MEMBERS: Final = {
    "type": {"const": "about:blank"},
    "title": _TEXT,
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "detail": _TEXT,
    "parameter": {**_TEXT, "maxLength": MAX_GIVEN},
    "given": {**_TEXT, "maxLength": MAX_GIVEN},
    "accepted": _TEXT,
}

_OPTIONAL: Final = "parameter", "given", "accepted"

_ENTRY: Final = _object(
    {
        "n": _nullable(_COUNT),
        "id": _TEXT,
        "style": {"type": "string", "enum": [*PREFIXES]},
        "method": _TEXT,
        "path": _TEXT,
        "query": _TEXT,
        "at": {"type": "string", "format": "date-time"},
        "asked_ms": _nullable(_NUMBER),
        "measured_ms": _nullable(_NUMBER),
        "status": _nullable(_COUNT),
        "ended": {"enum": [*ENDED, None]},
        "left_after_ms": _nullable(_NUMBER),
        "left_by": {"enum": [*LEFT_BY, None]},
        "gap_ms": _nullable(_NUMBER),
        "overlaps": _COUNT,
        "connection": {"type": "integer", "minimum": 1},
    }
)

_JOURNAL: Final = {
    "requests": {"type": "array", "maxItems": MOST_OF_KEY, "items": _ENTRY},
    "summary": _object(
        {
            "attempts": _COUNT,
            **{name: _nullable(_NUMBER) for name in ("least_gap_ms", "median_gap_ms", "greatest_gap_ms", "timeout_ms")},
            "backoff_grows": _nullable(_BOOLEAN),
            "backoff_jittered": _nullable(_BOOLEAN),
        }
    ),
    "complete": _BOOLEAN,
}

SCHEMAS: Final = {
    "Problem": {
        "description": "The reason of a refusal (RFC 9457).",
        **_object(_PROBLEM_MEMBERS, *_OPTIONAL),
    },
    "Journal": {
        "description": "The requests of a key in the order of acceptance, and a summary of its client.",
        **_object(_JOURNAL),
    },
    "Entry": _ENTRY,
    "TooFewEnded": {
        "description": "A problem, with the requests so far.",
        **_object({**_PROBLEM_MEMBERS, **_JOURNAL}, *_OPTIONAL),
    },
    "Prediction": {
        "description": "The figures of a delay in milliseconds; `cut` is the share of requests that the timeout cuts.",
        **_object(
            {
                **{f"{name}_ms": _NUMBER for name in FIGURES},
                "timeout_ms": _nullable(_NUMBER),
                "cut": _nullable({"type": "number", "minimum": 0, "maximum": 1}),
                "histogram": {"type": "array", "minItems": 1, "items": _BIN},
                "simulation": {
                    "description": "With a rate, the figures of M/G/k as simulated.",
                    "type": "object",
                },
            },
            "simulation",
        ),
    },
    "Echo": {
        "description": "The description of a request, as from httpbin.",
        **_object(
            {
                "args": _FIELDS,
                "data": _TEXT,
                "files": {"type": "object", "additionalProperties": _TEXT},
                "form": _FIELDS,
                "headers": {"type": "object", "additionalProperties": _TEXT},
                "origin": _nullable(_TEXT),
                "url": _TEXT,
            }
        ),
    },
    "Health": _object({"status": {"const": "ok"}}),
    "Key": _KEY,
    "Keys": _object({"keys": {"type": "array", "items": _KEY}, "complete": _BOOLEAN}),
    "Forgotten": _object({"key": _TEXT, "deleted": _BOOLEAN}),
    "Gate": _object(_GATE),
    "Gates": _object({"gates": {"type": "array", "items": _object(_GATE)}, "complete": _BOOLEAN}),
    "Released": _object({**_GATE, "released": _COUNT}),
    "Pending": _object({"pending": {"type": "array", "items": _WAITING}, "complete": _BOOLEAN}),
    "Ended": _object(
        {"key": _TEXT, "id": _TEXT, "ended": _COUNT, "released": _COUNT}, "key", "id", "ended", "released"
    ),
    "Scenario": {
        "description": "A scenario as it was given, and as it is understood, with the prediction of its delay.",
        **_object(
            {
                "name": _TEXT,
                "given": {"anyOf": [_TEXT, {"type": "object"}]},
                "understood": {"type": "object"},
                "prediction": _PREDICTION,
                "rules": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_RULES,
                    "items": _object(
                        {**dict.fromkeys(MATCHERS, _TEXT), "understood": {"type": "object"}, "prediction": _PREDICTION},
                        *MATCHERS,
                    ),
                },
            },
            "rules",
        ),
    },
    "Scenarios": _object({"scenarios": {"type": "array", "items": {"$ref": "#/components/schemas/Scenario"}}}),
    "Removed": _object({"name": _TEXT, "deleted": {"const": True}}),
    "Names": _object({"scenarios": {"type": "array", "items": _TEXT}}),
    "Table": {
        "description": "The parameters of a scenario by name, and its rules: the first that matches answers.",
        **_table(
            {
                "rule": {
                    "type": "array",
                    "maxItems": MAX_RULES,
                    "items": {
                        **_table({**_MATCHED, "answer-header": _several(HEADER)}, HEADER),
                        "anyOf": [{"required": [name]} for name in MATCHERS],
                    },
                }
            }
        ),
    },
}
"""The schemas of JSON bodies, by name."""


def _header(description: str, schema: Json = _TEXT) -> Json:
    return {"description": description, "required": True, "schema": schema}


_ALLOW: Final = {"Allow": _header("The methods that are answered.")}

_TIMING: Final = {
    "Server-Timing": _header(
        "The delay in milliseconds, as measured and as asked; without the measured one if the headers did not wait.",
        {
            **_TEXT,
            "pattern": r'^((gate;dur=[0-9.]+(;desc="expired")?, )?(queue;dur=[0-9.]+, )?delay;dur=[0-9.]+, )?'
            r"asked;dur=[0-9.]+$",
        },
    ),
    "Latebin-Turn": {
        "description": "The number of the request among those of its key; only with a key.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Retry-After": {
        "description": "The value of the parameter retry-after.",
        "schema": {"type": "integer", "minimum": 0},
    },
}

_REQUEST_ID: Final = "X-Request-ID"

HEADERS: Final = {
    _REQUEST_ID: _header(
        "The id of the request: the one in X-Request-ID or traceparent, or a new one.",
        {**_TEXT, "pattern": f"^{PATTERN}$"},
    )
}
"""The headers of every answer, by name."""


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schema(name: str) -> Json:
    return {"schema": _reference("schemas", name)}


def _response(description: str, content: Json, headers: Json | None = None) -> Json:
    request_id = {_REQUEST_ID: _reference("headers", _REQUEST_ID)}
    parts = {"description": description, "headers": {**request_id, **(headers or {})}, "content": content}
    return {name: part for name, part in parts.items() if part}


_PROBLEM: Final = {"application/problem+json": _schema("Problem")}

_DRIPPED: Final[Json] = {"application/octet-stream": {}}

_LATE: Final[Json] = {
    content_type.decode("ascii").partition(";")[0]: {}
    for content_type in (*(body.content_type for body in TYPES.values()), *stream.TYPES.values())
}

_REFUSED: Final = {
    "400": _response("A parameter is wrong; the problem names it.", _PROBLEM),
    "404": _response("The path is unknown.", _PROBLEM),
    "405": _response("The method is not allowed here.", _PROBLEM, _ALLOW),
    "414": _response("The request line is too long.", _PROBLEM),
}

_AS_ASKED: Final = "An answer with the requested status."


def _refused_or(content: Json) -> Json:
    """Return the refusals of an endpoint whose answers can have the same statuses."""
    return {
        status: _response(f"{refusal['description']} Or an answer with this requested status.", {**_PROBLEM, **content})
        for status, refusal in _REFUSED.items()
    }


def _at_once(content: Json, headers: Json | None = None) -> Json:
    return {"200": _response("The answer, at once.", content, headers), **_REFUSED}


_CLOSED: Final = {
    "403": _response("The request may not change the service; the problem says which setting allows it.", _PROBLEM),
    "409": _response("There is more than one worker and no --state, or there are too many scenarios.", _PROBLEM),
    "503": _response("The state in Redis cannot be reached.", _PROBLEM),
}

_ETAG: Final = {"ETag": _header("The tag of the scenario, for If-Match and If-None-Match.")}

_CHANGED: Final = {"412": _response("The scenario is not the one that the condition asks for.", _PROBLEM)}

_DELETED: Final = {
    "application/json": {"schema": {"anyOf": [_reference("schemas", "Scenario"), _reference("schemas", "Removed")]}}
}

_SCENARIO: Final = {**_at_once({"application/json": _schema("Scenario")}, _ETAG), **_CLOSED}


_TOO_MANY: Final = _response("There are too many gates.", _PROBLEM)

_TOO_FEW: Final = {"408": _response("Fewer answers wait within the timeout.", _PROBLEM), "429": _TOO_MANY}

_CHANGING: Final = {"413": _response("The body is too large.", _PROBLEM), "429": _TOO_MANY}

_VARY: Final = {"Vary": _header("The header by which the format is chosen.", {"const": "Accept"})}

_TOO_FEW_ENDED: Final = {
    "408": _response(
        "Fewer requests have ended within the timeout.",
        {"application/problem+json": _schema("TooFewEnded")},
        _VARY,
    ),
    "429": _response("Too many requests wait for the ends of others.", _PROBLEM),
}

ANSWERS: Final[Mapping[str, Json]] = {
    "late": {
        "200": _response("The answer, late.", _LATE, _TIMING),
        **{str(status): _response("An answer without a body.", {}, _TIMING) for status in sorted(EMPTY)},
        "2XX": _response(_AS_ASKED, _LATE, _TIMING),
        "3XX": _response(_AS_ASKED, _LATE, _TIMING),
        **_refused_or(_LATE),
        "4XX": _response(_AS_ASKED, _LATE, _TIMING),
        "5XX": _response(f"{_AS_ASKED} Or the service failed.", {**_PROBLEM, **_LATE}),
    },
    "echo": {
        "200": _response("The request, late.", {"application/json": _schema("Echo")}, _TIMING),
        **_REFUSED,
        "413": _response("The body is too large for an echo.", _PROBLEM),
        "503": _response("Too much is pending, or the state in Redis cannot be reached.", _PROBLEM),
    },
    "drip": {
        "200": _response("Bytes, one by one.", _DRIPPED, _TIMING),
        **{str(status): _response("An answer without a body.", {}, _TIMING) for status in sorted(EMPTY)},
        **_refused_or(_DRIPPED),
        "default": _response(f"{_AS_ASKED} Or the service failed.", {**_PROBLEM, **_DRIPPED}),
    },
    **{
        name: {
            "200": _response(text, {kind: {}}, _TIMING),
            **_REFUSED,
            "503": _response("Too much is pending, or the state in Redis cannot be reached.", _PROBLEM),
        }
        for name, text, kind in (
            ("sse", "Events, one by one.", "text/event-stream"),
            ("jsonl", "Lines of JSON, one by one.", "application/x-ndjson"),
        )
    },
    "via": {
        **_refused_or({"*/*": {}}),
        "502": _response("The upstream did not answer. Or the upstream's own answer.", {**_PROBLEM, "*/*": {}}),
        "504": _response("The upstream began no answer in time. Or its own answer.", {**_PROBLEM, "*/*": {}}),
        "default": _response("The upstream's answer, late. Or an answer with the requested status.", {"*/*": {}}),
    },
    "prediction": _at_once({"application/json": _schema("Prediction")}),
    "health": _at_once({"application/json": _schema("Health")}),
    "readiness": {
        **_at_once({"application/json": _schema("Health")}),
        "503": _response("The service is stopping and takes no more traffic.", _PROBLEM),
    },
    "description": _at_once({"application/json": {"schema": {"type": "object"}}}),
    "page": _at_once({"text/html": {}}),
    "figures": _at_once({"text/plain": {}}),
    "scenarios": {**_at_once({"application/json": _schema("Scenarios")}), **_CLOSED},
    "scenario": {**_SCENARIO, "304": _response("The scenario is the one of If-None-Match.", {}, _ETAG)},
    "scenario.put": {
        **_SCENARIO,
        **_CHANGED,
        "413": _response("The scenario is too large.", _PROBLEM),
        "415": _response("The type of the body is neither text/plain nor application/json.", _PROBLEM),
    },
    "scenario.delete": {
        **_SCENARIO,
        **_CHANGED,
        "200": _response("The scenario of the start, or the name of the one that is gone.", _DELETED),
    },
    "reset": {**_at_once({"application/json": _schema("Names")}), **_CLOSED},
    **{
        name: {**_at_once({"application/json": _schema(schema)}), **_CLOSED, **more}
        for name, schema, more in (
            ("keys", "Keys", {}),
            ("key", "Key", {}),
            ("key.delete", "Forgotten", {}),
            ("gates", "Gates", {}),
            ("gate", "Gate", _TOO_FEW),
            ("gate.post", "Released", _CHANGING),
            ("pending", "Pending", {}),
            ("pending.delete", "Ended", {}),
            ("waiting", "Ended", _CHANGING),
        )
    },
    "journal": {
        **_at_once({"application/json": _schema("Journal"), NDJSON: _schema("Entry")}, _VARY),
        **_CLOSED,
        **_TOO_FEW_ENDED,
    },
    "options": {"204": _response("The methods, at once.", {}, _ALLOW), **_REFUSED},
}
"""The responses of each kind of answer, by status."""


def _condition(name: str, meaning: str) -> Json:
    return {"name": name, "in": "header", "description": meaning, "schema": {**_TEXT, "format": "etags"}}


_CONDITIONS: Final = (
    _condition("If-Match", "The tags of the scenarios that may be replaced, or * for any (RFC 9110, section 13.1.1)."),
    _condition("If-None-Match", "The tags of the scenarios to leave out, or * for any (RFC 9110, section 13.1.2)."),
)

_BODY: Final = {
    "text/plain": {
        "schema": {**_TEXT, "format": "scenario"},
        "example": "delay=lognormal(median=80ms,p99=1.2s)&status=503:2%",
    },
    "application/json": {
        **_schema("Table"),
        "example": {"delay": "50ms", "rule": [{"path": "/v1/refunds/**", "method": "POST", "status": "503"}]},
    },
}
"""The body of a PUT."""

_CHANGES: Final = {
    "gate": {
        "schema": {
            "oneOf": [
                _object(
                    {
                        "release": {
                            "anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_BARRIER}, {"const": "all"}]
                        }
                    }
                ),
                _object({"open": _BOOLEAN}),
            ]
        },
        "example": {"release": 1},
    },
    "waiting": {"schema": _object({"release": {"const": True}}), "example": {"release": True}},
}
"""The bodies of a POST."""


def document(settings: Settings, version: str) -> dict[str, Any]:
    """Make the document of a service.

    Args:
        settings: the settings of the service.
        version: the version of the service.

    Returns:
        An OpenAPI 3.1 document, as plain values for JSON.
    """
    every = endpoints(settings)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": version,
            "summary": "Answers late, on purpose and on time.",
            STACK: settings.stack,
        },
        "servers": [{"url": "/"}],
        "paths": {
            prefix + endpoint.path: {method.lower(): _operation(endpoint, style, method) for method in endpoint.methods}
            for endpoint in every
            for style, prefix in endpoint.prefixes.items()
        },
        "components": {
            "schemas": SCHEMAS,
            "headers": HEADERS,
            "responses": {f"{kind}.{status}": each for kind in ANSWERS for status, each in ANSWERS[kind].items()},
            "parameters": {
                f"{_name(endpoint)}.{each.name}": _parameter(endpoint, each, settings)
                for endpoint in every
                for each in endpoint.parameters
            }
            | {f"control.{each['name']}": each for each in _CONDITIONS},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of --control-token-file or LATEBIN_CONTROL_TOKEN, if there is one.",
                }
            },
        },
    }


def _operation(endpoint: Endpoint, style: str, method: str) -> Json:
    summary = endpoint.summary
    answers = own if (own := f"{endpoint.answers}.{method.lower()}") in ANSWERS else endpoint.answers
    parameters = [_reference("parameters", f"{_name(endpoint)}.{each.name}") for each in endpoint.parameters]
    # A scenario answers OPTIONS as every method.
    if method == "OPTIONS" and "TRACE" not in endpoint.methods:
        answers, summary = "options", "lists the methods"
        # OPTIONS ignores the query, and accepts any value in the path.
        parameters = [
            {"name": each.name, "in": "path", "required": True, "schema": _SEGMENT, "example": each.example}
            for each in endpoint.path_parameters
        ]
    parts = {
        "operationId": f"{style}.{_name(endpoint)}.{method.lower()}",
        "tags": [style],
        "summary": summary,
        "parameters": parameters,
        "responses": {status: _reference("responses", f"{answers}.{status}") for status in ANSWERS[answers]},
        **(_control(endpoint, method) if endpoint.path.startswith("/control/") else {}),
    }
    return {name: part for name, part in parts.items() if part}


def _control(endpoint: Endpoint, method: str) -> Json:
    """Return the parts of an operation that only `/control` has."""
    # Without a token, a request needs nothing where the service lets it in.
    parts: dict[str, Any] = {"tags": ["control"], "security": [{}, {"token": []}]}
    if endpoint.answers == "scenario" and method != "OPTIONS":
        conditions = ("If-None-Match",) if method in {"GET", "HEAD"} else ("If-Match", "If-None-Match")
        references = [f"{_name(endpoint)}.name", *(f"control.{name}" for name in conditions)]
        parts["parameters"] = [_reference("parameters", name) for name in references]
    if method == "PUT":
        parts["requestBody"] = {"required": True, "content": _BODY}
    if method == "POST" and endpoint.path_parameters:
        # The query is that of a GET alone.
        parts["parameters"] = [
            _reference("parameters", f"{_name(endpoint)}.{each.name}") for each in endpoint.path_parameters
        ]
        parts["requestBody"] = {"required": True, "content": {"application/json": _CHANGES[endpoint.answers]}}
    return parts


def _name(endpoint: Endpoint) -> str:
    return endpoint.path.strip("/").translate(str.maketrans("/.", "--", "{}")) or "index"


def _parameter(endpoint: Endpoint, parameter: Parameter, settings: Settings) -> Json:
    place: Json = {"name": parameter.name, "in": "query"}
    if parameter in endpoint.path_parameters:
        place = {"name": parameter.name, "in": "path", "required": True}
    elif parameter in endpoint.headers:
        place = {"name": f"{PREFIX}{parameter.name}".title(), "in": "header"}
    elif parameter.required:
        place = {**place, "required": True}
    lines = [
        f"{parameter.meaning}.",
        f"Accepted: {parameter.accepted}.",
        f"Default: {parameter.default}.",
        f"Bound: {parameter.bound}.",
        f"Requires: {', '.join(parameter.beside)}." if parameter.beside else "",
    ]
    described = {
        **place,
        "description": with_values("\n".join(filter(None, lines)), settings),
        "schema": parameter.schema,
    }
    # All examples together are a request, too, so that one that excludes another parameter is left out.
    if EXCLUSIVE.get(parameter.name, set()).isdisjoint(each.name for each in endpoint.parameters):
        whole = parameter.schema["type"] == "integer"
        described["example"] = int(parameter.example) if whole else parameter.example
    return described
