"""HTML pages, rendered from templates."""

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Final

from twisted.web.template import Element, flattenString

from latebin.core.http.reply import Reply, page

if TYPE_CHECKING:
    from collections.abc import Mapping

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; }
code { font: .9em ui-monospace, monospace; }
pre { overflow-x: auto; padding: .8rem; background: #8882; }
a { overflow-wrap: anywhere; }
@media (max-width: 50rem) {
  table { display: block; overflow-x: auto; }
  td { min-width: 6rem; }
}
"""

_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode("ascii")).digest()).decode("ascii")

POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; frame-ancestors 'none'".encode(
    "ascii"
)
"""Content-Security-Policy of a page with STYLE: that style and nothing else (CSP Level 3, section 2.3.1)."""


def html_page(element: Element, policy: bytes, markup: "Mapping[bytes, bytes] | None" = None) -> Reply:
    """Render a template that waits for nothing.

    Args:
        element: the template, with a renderer for each of its directives.
        policy: the Content-Security-Policy of the page.
        markup: HTML to put in the place of the texts of the template that are its keys.
    """
    bodies: list[bytes] = []
    flattenString(None, element).addCallback(bodies.append)
    [body] = bodies
    if markup:
        body = re.sub(b"|".join(map(re.escape, markup)), lambda found: markup[found[0]], body)
    return page(b"text/html; charset=utf-8", b"<!DOCTYPE html>\n" + body, (b"Content-Security-Policy", policy))
