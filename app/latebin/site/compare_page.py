"""The page at `/compare`: both styles side by side in a browser."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Final

import attrs
from pygments.formatters.html import HtmlFormatter
from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES
from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, renderer, tags

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

COLOURS: Final = {"light": "xcode", "dark": "lightbulb"}
"""The Pygments style of the source, for each colour scheme.

On the background of the page, every colour has a contrast of at least 4.5 (WCAG 2.2, success criterion 1.4.3).
"""

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
        """Where the file is in the repository."""
        return f"app/latebin/{self.source}"


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
        return [tag.clone().fillSlots(path=side.path, code=list(_code(side.source))) for side in SIDES]


@cache
def _page() -> Reply:
    return html_page(ComparePageElement(), POLICY)


@cache
def _script() -> Reply:
    return page(b"text/javascript; charset=utf-8", _static("compare.js"))


@cache
def _style_sheet() -> Reply:
    return page(b"text/css; charset=utf-8", _static("compare.css") + b"\n" + _colours().encode("ascii"))


REPLIES: Final = {b"compare": _page, b"compare.js": _script, b"compare.css": _style_sheet}
"""The page and the two files that it loads, by their paths below the root."""


def _static(name: str) -> bytes:
    return (_FILES / "site" / "static" / name).read_bytes()


def _code(source: str) -> Iterator[Tag | str]:
    for kind, text in PythonLexer().get_tokens((_FILES / source).read_text("utf-8")):
        name = STANDARD_TYPES.get(kind)
        yield tags.span(text, class_=name) if name else text


def _colours() -> str:
    return "".join(
        f"@media (prefers-color-scheme: {scheme}) {{\n{_rules(style)}\n}}\n" for scheme, style in COLOURS.items()
    )


def _rules(style: str) -> str:
    return "\n".join(HtmlFormatter(style=style).get_token_style_defs(".source"))
