import base64
import hashlib
import re

import pytest

from app.pages import ENDPOINTS
from tests.conftest import House


def answer(house: House, request: str) -> tuple[str, str]:
    wire = house.wire()
    wire.send(f"{request} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    headers, _, body = wire.received.decode().partition("\r\n\r\n")
    return headers, body


def test_index(house: House) -> None:
    """The page at / is complete HTML with every endpoint on it, and a link that can be clicked."""
    headers, body = answer(house, "GET /")
    assert headers.startswith("HTTP/1.1 200 OK")
    assert body.startswith("<!DOCTYPE html>\n<html")
    for endpoint, example, _ in ENDPOINTS:
        assert f"<code>{endpoint}</code>" in body
        assert f'href="{example}"' in body
    assert "answers after 5s" in body
    assert "at most <span>10m</span>" in body


def test_every_example_is_answered(house: House) -> None:
    """Each example on the page gives a 200."""
    for _, example, _ in ENDPOINTS:
        wire = house.wire()
        wire.send(f"GET {example} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        house.clock.advance(5)
        assert wire.received.startswith(b"HTTP/1.1 200 OK"), example


def test_policy(house: House) -> None:
    """The page's policy allows its own style, by the digest of what is really on the page, and no script."""
    headers, body = answer(house, "GET /")
    [style] = re.findall("<style>(.*)</style>", body, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in headers
    assert "<script" not in body


@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_methods(house: House, path: str) -> None:
    """A page answers GET, HEAD and OPTIONS, and names them when it refuses another."""
    get, body = answer(house, f"GET {path}")
    head, nothing = answer(house, f"HEAD {path}")
    assert (head, nothing) == (get, "")
    assert body
    assert "Allow: GET, HEAD, OPTIONS" in answer(house, f"OPTIONS {path}")[0]
    refusal, _ = answer(house, f"POST {path}")
    assert refusal.startswith("HTTP/1.1 405 ")
    assert "Allow: GET, HEAD, OPTIONS" in refusal


@pytest.mark.parametrize("path", ["/healthz/x", "/raw", "/raw/", "/raw/healthz", "//delayed", "/raw//delayed"])
def test_nothing_there(house: House, path: str) -> None:
    """There is nothing below a page, and nothing between the endpoints."""
    assert answer(house, f"GET {path}")[0].startswith("HTTP/1.1 404 ")


def test_health(house: House) -> None:
    """The health page answers at once."""
    assert answer(house, "GET /healthz")[1] == '{"status": "ok"}\n'
