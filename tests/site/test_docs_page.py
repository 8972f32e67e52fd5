import html
import re
import subprocess
import sys
from functools import cache

import pytest

from latebin.core.topics import TOPICS
from latebin.site.docs_page import as_xhtml
from latebin.site.html import POLICY
from tests.support.process import environment
from tests.support.wire import House, answer, make_house


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_list(house: House, path: str) -> None:
    """The list links every page, with its subject."""
    _, body = answer(house, f"GET {path}")
    links = re.findall('href="/docs/(.+?)"', body)
    assert links == list(TOPICS)
    assert {html.unescape(cell) for cell in re.findall("<td>([^<]*)</td>", body)} == set(TOPICS.values())


@cache
def page(path: str) -> tuple[str, str]:
    return answer(make_house("tuned"), f"GET {path}")


@pytest.mark.parametrize("topic", TOPICS)
def test_page(topic: str) -> None:
    """A page is complete HTML with the policy, and its links lead somewhere."""
    headers, body = page(f"/docs/{topic}")
    assert headers.startswith("HTTP/1.1 200 OK")
    assert f"\r\nContent-Security-Policy: {POLICY.decode()}" in headers
    assert "\r\nX-Content-Type-Options: nosniff" in headers
    assert body.startswith("<!DOCTYPE html>\n<html")
    assert "<h1 id=" in body
    for link in re.findall('href="(/.*?|#.*?)"', body):
        path, _, anchor = link.partition("#")
        linked = page(path)[1] if path else body
        assert linked.startswith("<!DOCTYPE html>")
        assert not anchor or f' id="{anchor}"' in linked, link


def test_unknown(house: House) -> None:
    """A page that does not exist, and a path below a page, is a 404."""
    for path in ("/docs/latency", "/docs/faults/", "/docs/faults.md", "/raw/docs/"):
        assert answer(house, f"GET {path}")[0].startswith("HTTP/1.1 404 ")


def test_linked(house: House) -> None:
    """The page at / leads to the list."""
    assert 'href="/docs/"' in answer(house, "GET /")[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>x</b> & `<i>`", "<p>&lt;b&gt;x&lt;/b&gt; &amp; <code>&lt;i&gt;</code></p>\n"),
        ("## The `f`, a word\n", '<h2 id="the-f-a-word">The <code>f</code>, a word</h2>\n'),
        ("[a](faults.md#b)", '<p><a href="/docs/faults#b">a</a></p>\n'),
        ("[a](../core/plan.py) [b](http://x.y/)", '<p>a <a href="http://x.y/">b</a></p>\n'),
        ("[a](javascript:alert(1))", "<p>[a](javascript:alert(1))</p>\n"),
    ],
)
def test_markdown(text: str, expected: str) -> None:
    """Markdown is rendered without any HTML of its own, and with links that lead somewhere."""
    assert as_xhtml(text) == expected


def test_imported_late() -> None:
    """A service imports the renderer when a page is asked for, and not before."""
    program = "import sys, latebin; latebin.resource(); print([name for name in sys.modules if 'markdown' in name])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout == "[]\n"
