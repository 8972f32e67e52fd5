"""The page at `/watch`: a stream in a browser, event by event."""

from functools import cache
from importlib.resources import files
from typing import Final

from twisted.web.template import Element, XMLString

from latebin.core.http.reply import Reply, page
from latebin.site.compare_page import POLICY
from latebin.site.html import html_page

_STATIC: Final = files("latebin") / "site" / "static"


class WatchPageElement(Element):
    """The page, which has no part that depends on a request."""

    loader = XMLString((_STATIC / "watch.xml").read_text("utf-8"))


@cache
def _page() -> Reply:
    return html_page(WatchPageElement(), POLICY)


@cache
def _script() -> Reply:
    return page(b"text/javascript; charset=utf-8", (_STATIC / "watch.js").read_bytes())


REPLIES: Final = {b"watch": _page, b"watch.js": _script}
"""The page and its script, by their paths below the root. Its style sheet is that of `/compare`."""
