"""The service as an OpenAPI 3.1 document, made from the table of endpoints."""

from collections.abc import Mapping
from typing import Any, Final

from latebin.core.endpoints import Endpoint, endpoints, with_values
from latebin.core.http.body import TYPES
from latebin.core.http.reply import MAX_GIVEN
from latebin.core.http.request_id import PATTERN
from latebin.core.language.prediction import FIGURES
from latebin.core.parameters import PREFIX, Parameter
from latebin.core.plan import EMPTY
from latebin.core.settings import Settings

Json = Mapping[str, Any]

TITLE: Final = "latebin"

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

_FIELDS: Final = {
    "type": "object",
    "additionalProperties": {"anyOf": [_TEXT, {"type": "array", "minItems": 2, "items": _TEXT}]},
}

SCHEMAS: Final = {
    "Problem": {
        "description": "Why a request is refused (RFC 9457).",
        **_object(
            {
                "type": {"const": "about:blank"},
                "title": _TEXT,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": _TEXT,
                "parameter": {**_TEXT, "maxLength": MAX_GIVEN},
                "given": {**_TEXT, "maxLength": MAX_GIVEN},
                "accepted": _TEXT,
            },
            "parameter",
            "given",
            "accepted",
        ),
    },
    "Prediction": {
        "description": "What to expect of a delay, in milliseconds; `cut` is the share that a timeout cuts.",
        **_object(
            {
                **{f"{name}_ms": _NUMBER for name in FIGURES},
                "timeout_ms": _nullable(_NUMBER),
                "cut": _nullable({"type": "number", "minimum": 0, "maximum": 1}),
                "histogram": {"type": "array", "minItems": 1, "items": _BIN},
            }
        ),
    },
    "Echo": {
        "description": "What httpbin says of a request.",
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
}
"""The bodies that are always the same kind of JSON, by name."""


def _header(description: str, schema: Json = _TEXT) -> Json:
    return {"description": description, "required": True, "schema": schema}


_ALLOW: Final = {"Allow": _header("The methods that are answered.")}

_TIMING: Final = {
    "Server-Timing": _header(
        "How late the answer is, in milliseconds: as measured, unless the headers did not wait, and as asked.",
        {**_TEXT, "pattern": r"^(delay;dur=[0-9.]+, )?asked;dur=[0-9.]+$"},
    ),
    "Retry-After": {"description": "As asked for.", "schema": {"type": "integer", "minimum": 0}},
}

_IDENTITY: Final = "X-Request-ID"

HEADERS: Final = {
    _IDENTITY: _header(
        "The id of the request, as it was given in X-Request-ID or traceparent, or a new one.",
        {**_TEXT, "pattern": f"^{PATTERN}$"},
    )
}
"""The headers of every answer, by name."""


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _schema(name: str) -> Json:
    return {"schema": _reference("schemas", name)}


def _response(description: str, content: Json, headers: Json | None = None) -> Json:
    identity = {_IDENTITY: _reference("headers", _IDENTITY)}
    parts = {"description": description, "headers": {**identity, **(headers or {})}, "content": content}
    return {name: part for name, part in parts.items() if part}


_PROBLEM: Final = {"application/problem+json": _schema("Problem")}

_DRIPPED: Final[Json] = {"application/octet-stream": {}}

_LATE: Final[Json] = {body.content_type.decode("ascii").partition(";")[0]: {} for body in TYPES.values()}

_REFUSED: Final = {
    "400": _response("Something asked for is wrong; the problem names it.", _PROBLEM),
    "404": _response("There is nothing at this path.", _PROBLEM),
    "405": _response("This method is not answered here.", _PROBLEM, _ALLOW),
}

_AS_ASKED: Final = "An answer of the status that was asked for."


def _refused_or(content: Json) -> Json:
    """Give the refusals of those who answer with any status: one that was asked for has other headers and content."""
    return {
        status: _response(f"{refusal['description']} Or this status was asked for.", {**_PROBLEM, **content})
        for status, refusal in _REFUSED.items()
    }


def _at_once(content: Json) -> Json:
    return {"200": _response("The answer, at once.", content), **_REFUSED}


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
        "413": _response("The body is larger than what can be told.", _PROBLEM),
        "503": _response("There is no room for another that waits.", _PROBLEM),
    },
    "drip": {
        "200": _response("Bytes, one by one.", _DRIPPED, _TIMING),
        **{str(status): _response("An answer without a body.", {}, _TIMING) for status in sorted(EMPTY)},
        **_refused_or(_DRIPPED),
        "default": _response(f"{_AS_ASKED} Or the service failed.", {**_PROBLEM, **_DRIPPED}),
    },
    "via": {
        **_refused_or({"*/*": {}}),
        "502": _response("The upstream gave no answer. Or the upstream's own answer.", {**_PROBLEM, "*/*": {}}),
        "504": _response("The upstream did not begin its answer in time. Or its own.", {**_PROBLEM, "*/*": {}}),
        "default": _response("The upstream's answer, late, or that of the status that was asked for.", {"*/*": {}}),
    },
    "prediction": _at_once({"application/json": _schema("Prediction")}),
    "health": _at_once({"application/json": _schema("Health")}),
    "readiness": {
        **_at_once({"application/json": _schema("Health")}),
        "503": _response("The service stops, and takes no traffic.", _PROBLEM),
    },
    "description": _at_once({"application/json": {"schema": {"type": "object"}}}),
    "page": _at_once({"text/html": {}}),
    "figures": _at_once({"text/plain": {}}),
    "options": {"204": _response("The methods, at once.", {}, _ALLOW), **_REFUSED},
}
"""The responses of each kind of endpoint, by status."""


def document(settings: Settings, version: str) -> dict[str, Any]:
    """Describe the service.

    Args:
        settings: whose values stand beside their names, and whose upstreams can be requested.
        version: that of the service.

    Returns:
        An OpenAPI 3.1 document, as plain values for JSON.
    """
    every = endpoints(settings)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "summary": "Answers late, on purpose and on time."},
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
            "parameters": {name: each for endpoint in every for name, each in _parameters(endpoint, settings).items()},
        },
    }


def _operation(endpoint: Endpoint, style: str, method: str) -> Json:
    answers = "options" if method == "OPTIONS" else endpoint.answers
    parts = {
        "operationId": f"{style}.{_name(endpoint)}.{method.lower()}",
        "tags": [style],
        "summary": "tells the methods" if method == "OPTIONS" else endpoint.summary,
        "parameters": _options_parameters(endpoint) if method == "OPTIONS" else _parameter_references(endpoint),
        "responses": {status: _reference("responses", f"{answers}.{status}") for status in ANSWERS[answers]},
    }
    return {name: part for name, part in parts.items() if part}


def _name(endpoint: Endpoint) -> str:
    return endpoint.path.strip("/").translate(str.maketrans("/.", "--", "{}")) or "index"


def _options_parameters(endpoint: Endpoint) -> list[Json]:
    """Give the parameters in the path, of which OPTIONS asks no more than that they are there."""
    return [
        {"name": each.name, "in": "path", "required": True, "schema": _SEGMENT, "example": each.example}
        for each in endpoint.path_parameters
    ]


def _parameter_references(endpoint: Endpoint) -> list[Json]:
    return [_reference("parameters", f"{_name(endpoint)}.{each.name}") for each in _asked(endpoint)]


def _asked(endpoint: Endpoint) -> tuple[Parameter, ...]:
    return (*endpoint.path_parameters, *endpoint.query, *endpoint.headers)


def _parameters(endpoint: Endpoint, settings: Settings) -> dict[str, Json]:
    """Give the parameters of an endpoint by their names among the components."""
    return {
        f"{_name(endpoint)}.{each.name}": {**_place(endpoint, each), **_parameter(each, settings)}
        for each in _asked(endpoint)
    }


def _place(endpoint: Endpoint, parameter: Parameter) -> Json:
    if parameter in endpoint.path_parameters:
        return {"name": parameter.name, "in": "path", "required": True}
    if parameter in endpoint.query:
        return {"name": parameter.name, "in": "query"}
    return {"name": f"{PREFIX}{parameter.name}".title(), "in": "header"}


def _parameter(parameter: Parameter, settings: Settings) -> Json:
    return {
        "description": with_values(_told(parameter), settings),
        "schema": parameter.schema,
        "example": int(parameter.example) if parameter.schema["type"] == "integer" else parameter.example,
    }


def _told(parameter: Parameter) -> str:
    lines = [
        f"{parameter.meaning}.",
        f"Accepted: {parameter.accepted}.",
        f"Default: {parameter.default}.",
        f"Bound: {parameter.bound}.",
    ]
    if parameter.beside:
        lines.append(f"Beside it: {', '.join(parameter.beside)}.")
    return "\n".join(lines)
