"""The page at `/compare`: both styles side by side in a browser."""

from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Final

import attrs
from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, renderer

from latebin.core.http.reply import Reply, page
from latebin.core.language import grammar
from latebin.site.html import html_page

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy of the page: nothing inline, nothing from elsewhere, and no text that is read as markup."""

EXAMPLES: Final = ("250ms", "1s..3s", "lognormal(median=800ms,p99=3s)", "mix(80%:500ms,20%:3s)")
"""Delays to pick instead of writing one."""

_FILES: Final = files("latebin")


@attrs.frozen
class Side:
    """One of the two styles, as the page shows it.

    Attributes:
        title: what it is called.
        url: where it answers late.
        source: the name of its file in this package.
    """

    title: str
    url: str
    source: str

    @property
    def path(self) -> str:
        """The path of the file in the repository."""
        return f"app/latebin/{self.source}"

    @property
    def highlighted(self) -> str:
        """The file in `static` with the source as HTML; `python -m tests.highlight` makes it of the source."""
        return f"{PurePath(self.source).stem}.html"


SIDES: Final = (
    Side("Klein routes", "/delayed", "styles/klein.py"),
    Side("Raw resources", "/raw/delayed", "styles/resource.py"),
)


class ComparePageElement(Element):
    """The page, built with `twisted.web.template`, which escapes every text."""

    loader = XMLString((_FILES / "site" / "static" / "compare.xml").read_text("utf-8"))

    @renderer
    def accepted(self, request: IRequest | None, tag: Tag) -> Tag:
        return tag(grammar.ACCEPTED)

    @renderer
    def examples(self, request: IRequest | None, tag: Tag) -> list[Tag]:
        return [tag.clone()(example) for example in EXAMPLES]

    @renderer
    def answers(self, request: IRequest | None, tag: Tag) -> list[Tag]:
        return [tag.clone().fillSlots(title=side.title, url=side.url) for side in SIDES]

    @renderer
    def sources(self, request: IRequest | None, tag: Tag) -> list[Tag]:
        return [tag.clone().fillSlots(path=side.path, code=side.highlighted) for side in SIDES]


@cache
def _page() -> Reply:
    sources = {side.highlighted.encode("ascii"): _static(side.highlighted) for side in SIDES}
    return html_page(ComparePageElement(), POLICY, sources)


@cache
def _script() -> Reply:
    return page(b"text/javascript; charset=utf-8", _static("compare.js"))


@cache
def _style_sheet() -> Reply:
    return page(b"text/css; charset=utf-8", _static("compare.css") + b"\n" + _static("source.css"))


REPLIES: Final = {b"compare": _page, b"compare.js": _script, b"compare.css": _style_sheet}
"""The page and the two files that it loads, by their paths below the root."""


def _static(name: str) -> bytes:
    return (_FILES / "site" / "static" / name).read_bytes()
