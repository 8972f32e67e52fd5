"""The reference at `/docs/`: a list of its pages, and each page as HTML."""

import re
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, renderer, tags

from latebin.core.http.reply import Reply
from latebin.core.topics import TOPICS
from latebin.site.html import POLICY, STYLE, html_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

_TOPIC: Final = re.compile(r"([a-z0-9-]+)\.md(#.*)?")
"""A link from one page to another, as it stands in the files."""


class DocsElement(Element):
    """A page of the reference, built with `twisted.web.template`.

    Args:
        title: the title in the browser.
        content: the `main` element.
    """

    loader = XMLString(f"""
        <html lang="en" xmlns:t="http://twistedmatrix.com/ns/twisted.web.template/0.1">
          <head>
            <meta charset="utf-8" />
            <meta name="viewport" content="width=device-width" />
            <title><t:transparent t:render="title" /> - latebin</title>
            <style>{STYLE}</style>
          </head>
          <body>
            <nav><a href="/">latebin</a> / <a href="/docs/">docs</a></nav>
            <t:transparent t:render="content" />
          </body>
        </html>
    """)

    def __init__(self, title: str, content: Tag) -> None:
        super().__init__()
        self._title = title
        self._content = content

    @renderer
    def title(self, request: IRequest | None, tag: Tag) -> Tag:
        return tag(self._title)

    @renderer
    def content(self, request: IRequest | None, tag: Tag) -> Tag:
        return self._content


def list_page() -> Reply:
    """Make the list of the pages, with the subject of each."""
    rows = [tags.tr(tags.td(tags.a(name, href=f"/docs/{name}")), tags.td(about)) for name, about in TOPICS.items()]
    content = Tag("main")(tags.h1("Reference"), tags.table(tags.tbody(rows)))
    return html_page(DocsElement("docs", content), POLICY)


def topic_page(topic: str) -> Reply:
    """Render a page from its Markdown.

    Args:
        topic: one of TOPICS.
    """
    text = (files("latebin") / "docs" / f"{topic}.md").read_text("utf-8")
    # As XML, so that the template escapes all of it once more.
    content = XMLString(f"<article>{as_xhtml(text)}</article>").load()
    return html_page(DocsElement(topic, Tag("main")(*content)), POLICY)


def as_xhtml(text: str) -> str:
    """Render Markdown (CommonMark with tables) as XHTML; HTML in it is shown as text.

    A heading has the id that code hosts give it. A link between pages leads to `/docs/`. A link to a file that is not
    served is shown as its text.
    """
    from markdown_it import MarkdownIt  # noqa: PLC0415  # 30 ms, which the list at `/docs/` need not wait for

    markdown = MarkdownIt("commonmark", {"html": False, "xhtmlOut": True}).enable("table")
    tokens = markdown.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", re.sub(r"[^\w\- ]", "", inline.content.lower()).replace(" ", "-"))
        inline.children = inline.children and list(_linked(inline.children))
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _linked(children: "list[Token]") -> "Iterator[Token]":
    served = True
    for each in children:
        if each.type == "link_open":
            href = str(each.attrs["href"])
            page = _TOPIC.fullmatch(href)
            each.attrSet("href", f"/docs/{page[1]}{page[2] or ''}" if page else href)
            served = page is not None or href.startswith(("http://", "https://", "#", "/"))
        if served or each.type not in {"link_open", "link_close"}:
            yield each
