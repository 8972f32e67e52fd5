"""The OpenAPI 3.1 document of a service, made from the table of endpoints."""

from collections.abc import Mapping
from typing import Any, Final

from latebin.core import stream
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

_FIELDS: Final = {
    "type": "object",
    "additionalProperties": {"anyOf": [_TEXT, {"type": "array", "minItems": 2, "items": _TEXT}]},
}

SCHEMAS: Final = {
    "Problem": {
        "description": "The reason of a refusal (RFC 9457).",
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
        "description": "The figures of a delay in milliseconds; `cut` is the share of requests that the timeout cuts.",
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
}
"""The schemas of JSON bodies, by name."""


def _header(description: str, schema: Json = _TEXT) -> Json:
    return {"description": description, "required": True, "schema": schema}


_ALLOW: Final = {"Allow": _header("The methods that are answered.")}

_TIMING: Final = {
    "Server-Timing": _header(
        "The delay in milliseconds, as measured and as asked; without the measured one if the headers did not wait.",
        {**_TEXT, "pattern": r"^(delay;dur=[0-9.]+, )?asked;dur=[0-9.]+$"},
    ),
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
        "413": _response("The body is too large for an echo.", _PROBLEM),
        "503": _response("The number of pending answers is at its limit.", _PROBLEM),
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
            "503": _response("Too much is pending.", _PROBLEM),
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
    "options": {"204": _response("The methods, at once.", {}, _ALLOW), **_REFUSED},
}
"""The responses of each kind of answer, by status."""


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
            },
        },
    }


def _operation(endpoint: Endpoint, style: str, method: str) -> Json:
    answers, summary = endpoint.answers, endpoint.summary
    parameters = [_reference("parameters", f"{_name(endpoint)}.{each.name}") for each in endpoint.parameters]
    if method == "OPTIONS":
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
    }
    return {name: part for name, part in parts.items() if part}


def _name(endpoint: Endpoint) -> str:
    return endpoint.path.strip("/").translate(str.maketrans("/.", "--", "{}")) or "index"


def _parameter(endpoint: Endpoint, parameter: Parameter, settings: Settings) -> Json:
    place: Json = {"name": parameter.name, "in": "query"}
    if parameter in endpoint.path_parameters:
        place = {"name": parameter.name, "in": "path", "required": True}
    elif parameter in endpoint.headers:
        place = {"name": f"{PREFIX}{parameter.name}".title(), "in": "header"}
    lines = [
        f"{parameter.meaning}.",
        f"Accepted: {parameter.accepted}.",
        f"Default: {parameter.default}.",
        f"Bound: {parameter.bound}.",
        f"Requires: {', '.join(parameter.beside)}." if parameter.beside else "",
    ]
    return {
        **place,
        "description": with_values("\n".join(filter(None, lines)), settings),
        "schema": parameter.schema,
        "example": int(parameter.example) if parameter.schema["type"] == "integer" else parameter.example,
    }
