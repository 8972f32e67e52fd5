import json
from typing import Any

import jsonschema
import pytest

from latebin.core.endpoints import ENDPOINTS
from latebin.core.openapi import ANSWERS, document
from latebin.core.parameters import DELAYED, STEERING
from latebin.core.plan import EXCLUSIVE
from latebin.core.settings import Settings
from tests.support.wire import House, answer

DOCUMENT = document(Settings(), "1.2.3")


def validate(found: dict[str, Any]) -> None:
    """Check that a document is valid OpenAPI 3.1."""
    from openapi_spec_validator import validate  # noqa: PLC0415  # it imports schemas and parsers, in a second

    validate(found)


def resolved(reference: dict[str, str]) -> Any:
    found: Any = DOCUMENT
    for name in reference["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def test_valid() -> None:
    """The document is valid OpenAPI 3.1."""
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_paths() -> None:
    """The document has the paths of both styles, and those of neither."""
    styled = {"/delayed", "/delayed/{delay}", "/delay/{delay}", "/drip", "/sse", "/jsonl", "/as/{name}", "/predict"}
    assert set(DOCUMENT["paths"]) == {
        *styled,
        *(f"/raw{path}" for path in styled),
        "/",
        "/compare",
        "/watch",
        "/docs/",
        "/docs/{topic}",
        "/metrics",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/control/scenarios",
        "/control/scenarios/{name}",
        "/control/journal",
        "/control/keys",
        "/control/keys/{key}",
        "/control/gates",
        "/control/gates/{gate}",
        "/control/pending",
        "/control/pending/{id}",
        "/control/reset",
    }


@pytest.mark.parametrize("path", [path for path in DOCUMENT["paths"] if "/as/" not in path])
def test_operations_are_the_allowed_methods(house: House, path: str) -> None:
    """The operations of a path are the methods in its Allow header."""
    headers, _ = answer(
        house, f"OPTIONS {path.format(delay='1s', topic='faults', name='slow', key='a', gate='g', id=1)}"
    )
    [allowed] = [line for line in headers.splitlines() if line.startswith("Allow: ")]
    assert ", ".join(sorted(method.upper() for method in DOCUMENT["paths"][path])) == allowed.removeprefix("Allow: ")


def test_same_in_both_styles() -> None:
    """A path has the same parameters and responses in both styles."""
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in DOCUMENT["paths"].get(f"/raw{path}", {}).items():
            parts = {"parameters", "responses", "summary"}
            assert {k: operation.get(k) for k in parts} == {k: operations[method].get(k) for k in parts}


def test_parameters() -> None:
    """Every parameter of the table is described with the text of the table."""
    found = {each["name"]: each for each in map(resolved, DOCUMENT["paths"]["/raw/delayed"]["post"]["parameters"])}
    assert list(found) == [parameter.name for parameter in DELAYED]
    for parameter in DELAYED:
        assert parameter.meaning in found[parameter.name]["description"]
        assert parameter.accepted in found[parameter.name]["description"]
        assert str(found[parameter.name].get("example", "")) == (
            "" if parameter.name in EXCLUSIVE else parameter.example
        )


def test_control(house: House) -> None:
    """A scenario comes back as described when an example is put."""
    put = DOCUMENT["paths"]["/control/scenarios/{name}"]["put"]
    assert put["security"] == [{}, {"token": []}]
    for kind, described in put["requestBody"]["content"].items():
        example = described["example"]
        body = example if isinstance(example, str) else json.dumps(example)
        wire = house.wire()
        head = f"PUT /control/scenarios/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        # A large scenario is described in several turns.
        house.clock.pump([0] * 10)
        head, _, shown = wire.received.decode().partition("\r\n\r\n")
        assert (head[9:12], "\r\nETag: " in head) == ("200", True)
        schema = {"$ref": "#/components/schemas/Scenario", "components": DOCUMENT["components"]}
        jsonschema.validate(json.loads(shown), schema)
        wire.leave()


def test_settings() -> None:
    """The description of a parameter has the values of its settings."""
    described = json.dumps(document(Settings(default_delay=1, max_delay=90, max_body=2048), ""))
    for text in ("`--default-delay` (1s)", "`--max-delay` (1m30s)", "`--max-body` (2k)"):
        assert text in described


def test_upstreams() -> None:
    """An upstream has its parameters in headers, and no OPTIONS of this service."""
    found = document(Settings(upstreams={"api": "http://127.0.0.1:9000"}), "")
    validate(found)
    names = [each["name"] for name, each in found["components"]["parameters"].items() if name.startswith("via-api.")]
    own = ["Latebin-Delay", "Latebin-Seed", "Latebin-N", "Latebin-Status"]
    shape = ["Latebin-Rate", "Latebin-Read", "Latebin-Fault"]
    assert names == [*own, *shape, *(f"Latebin-{each.name.title()}" for each in STEERING)]
    assert set(found["paths"]["/raw/via/api"]) == {"delete", "get", "head", "patch", "post", "put"}
    assert "/via/api" not in DOCUMENT["paths"]


@pytest.mark.parametrize("kind", ["late", "echo", "drip", "via"])
def test_limit_of_pending_answers(kind: str) -> None:
    """A late answer can be a problem when too many answers are pending."""
    responses = ANSWERS[kind]
    refusal = responses.get("503") or responses.get("5XX") or responses["default"]
    assert {"application/problem+json", "*/*"} & set(refusal["content"])


def test_served(house: House) -> None:
    """The document is served at /openapi.json with the settings of the service."""
    headers, body = answer(house, "GET /openapi.json")
    assert "Content-Type: application/json" in headers
    served = json.loads(body)
    assert served["info"]["version"]
    assert served["paths"] == json.loads(json.dumps(document(Settings(), "")["paths"]))


def test_operation_ids() -> None:
    """No two operations have the same id."""
    found = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(set(found)) == len(found) == sum(len(each.methods) * len(each.prefixes) for each in ENDPOINTS)
