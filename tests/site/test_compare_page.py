import re
from html import unescape
from typing import Any

import pytest

from latebin.site.compare_page import EXAMPLES, POLICY, SIDES
from tests.highlight import COLOURS, STATIC, highlighted
from tests.support.process import ROOT
from tests.support.wire import House, answer

PATHS = {
    "/compare": "text/html; charset=utf-8",
    "/compare.js": "text/javascript; charset=utf-8",
    "/compare.css": "text/css; charset=utf-8",
    "/watch": "text/html; charset=utf-8",
    "/watch.js": "text/javascript; charset=utf-8",
}


@pytest.mark.parametrize("path", PATHS)
def test_methods(house: House, path: str) -> None:
    """The page and its files answer GET, HEAD and OPTIONS with their own types."""
    get, body = answer(house, f"GET {path}")
    head, nothing = answer(house, f"HEAD {path}")
    assert f"\r\nContent-Type: {PATHS[path]}\r\n" in get
    assert "\r\nX-Content-Type-Options: nosniff" in get
    assert f"\r\nContent-Length: {len(body.encode())}\r\n" in get
    assert (head, nothing) == (get, "")
    assert "Allow: GET, HEAD, OPTIONS" in answer(house, f"OPTIONS {path}")[0]
    assert answer(house, f"POST {path}")[0].startswith("HTTP/1.1 405 ")
    assert answer(house, f"GET {path}/more")[0].startswith("HTTP/1.1 404 ")


@pytest.mark.parametrize("name", ["compare", "watch"])
def test_nothing_inline(house: House, name: str) -> None:
    """The policy allows nothing inline, and the page has nothing inline."""
    headers, body = answer(house, f"GET /{name}")
    assert f"\r\nContent-Security-Policy: {POLICY.decode()}" in headers
    assert b"unsafe" not in POLICY
    script = rf"<script(?! type=\"module\" src=\"/{name}.js\"></script>)"
    assert not re.findall(rf"<style|\sstyle=|\son\w+=|{script}", body)


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.source)
def test_source(house: House, side: Any) -> None:
    """The source beneath the answers is the style's file, to the character."""
    _, body = answer(house, "GET /compare")
    codes = re.findall(r"<pre class=\"source\"[^>]*><code>(.*?)</code>", body, re.DOTALL)
    texts = [unescape(re.sub(r"<[^>]*>", "", code)) for code in codes]
    assert texts[SIDES.index(side)] == (ROOT / "app" / "latebin" / side.source).read_text()


@pytest.mark.parametrize("name", highlighted())
def test_highlighted(name: str) -> None:
    """A highlighted file is that of the source as it is when `python -m tests.highlight` has run."""
    assert (STATIC / name).read_text("utf-8") == highlighted()[name], "python -m tests.highlight writes it anew"


def test_colours(house: House) -> None:
    """The source has colours for both schemes, each behind its own media query."""
    _, css = answer(house, "GET /compare.css")
    for scheme in COLOURS:
        assert re.search(rf"@media \(prefers-color-scheme: {scheme}\) {{\n\.source \.\w+ {{ color: ", css)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(house: House, example: str) -> None:
    """Each example on the page is a valid delay."""
    headers, _ = answer(house, f"GET /predict?delay={example.replace('%', '%25')}")
    assert headers.startswith("HTTP/1.1 200 OK")
