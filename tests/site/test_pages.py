import base64
import hashlib
import html
import json
import re
from importlib import metadata

import pytest

from latebin.core.endpoints import ENDPOINTS, parameters
from tests.support.wire import House, answer


def test_index(house: House) -> None:
    """The page at / is complete HTML with a link to every endpoint."""
    headers, body = answer(house, "GET /")
    assert headers.startswith("HTTP/1.1 200 OK")
    assert body.startswith("<!DOCTYPE html>\n<html")
    for endpoint in ENDPOINTS:
        for prefix in endpoint.prefixes.values():
            assert f"<code>{prefix}{endpoint.path}</code>" in body
            assert (f'href="{prefix}{endpoint.example}"' in body) == ("GET" in endpoint.methods)


def test_parameters(house: House) -> None:
    """The page has the whole table of parameters, with the values of this service's settings."""
    text = html.unescape(re.sub("<.*?>", "\n", answer(house, "GET /")[1]))
    for parameter, target in parameters():
        cells = parameter.name, parameter.meaning, parameter.accepted, target
        assert set(cells) <= set(text.splitlines())
    _, body = answer(house, "GET /")
    for value in (
        "<code>--default-delay</code> (5s)",
        "<code>--max-delay</code> (10m)",
        "<code>--max-body</code> (16m)",
    ):
        assert value in body


def test_every_example_is_answered(house: House) -> None:
    """Every link on the page at / is answered and not refused."""
    for example in re.findall('href="(.*?)"', answer(house, "GET /")[1]):
        wire = house.wire()
        wire.send(f"GET {html.unescape(example)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        house.clock.pump([600, 600])
        assert wire.disconnecting or re.match(rb"HTTP/1.1 (200|429|503) ", wire.received), example


def test_version_of_what_was_not_installed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The description has an unknown version when the package was never installed."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert json.loads(answer(house, "GET /openapi.json")[1])["info"]["version"] == "unknown"


def test_policy(house: House) -> None:
    """The page's policy allows its own style by digest, and no script."""
    headers, body = answer(house, "GET /")
    [style] = re.findall("<style>(.*)</style>", body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in headers
    assert "<script" not in body


@pytest.mark.parametrize("path", ["/", "/healthz", "/openapi.json"])
def test_methods(house: House, path: str) -> None:
    """A page answers GET, HEAD and OPTIONS, and names them when it refuses another."""
    get, body = answer(house, f"GET {path}")
    head, nothing = answer(house, f"HEAD {path}")
    assert (head, nothing) == (get, "")
    assert body
    assert "Allow: GET, HEAD, OPTIONS" in answer(house, f"OPTIONS {path}")[0]
    for method in ("POST", "get"):
        refusal, _ = answer(house, f"{method} {path}")
        assert refusal.startswith("HTTP/1.1 405 ")
        assert "Allow: GET, HEAD, OPTIONS" in refusal


@pytest.mark.parametrize("path", ["/healthz/x", "/raw", "/raw/", "/raw/healthz", "//delayed", "/raw//delayed"])
def test_nothing_there(house: House, path: str) -> None:
    """There is nothing below a page, and nothing between the endpoints."""
    assert answer(house, f"GET {path}")[0].startswith("HTTP/1.1 404 ")


def test_health(house: House) -> None:
    """The health page answers at once."""
    assert answer(house, "GET /healthz")[1] == '{"status": "ok"}\n'
