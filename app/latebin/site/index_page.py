"""The page at `/`: every endpoint and parameter, for people."""

from typing import Final

from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, renderer, tags

from latebin.core.endpoints import HEADINGS, endpoints, parameters, with_values
from latebin.core.http.reply import Reply
from latebin.core.settings import Settings
from latebin.site.html import POLICY, STYLE, html_page

SPOKEN: Final = {"klein": ", in Klein", "resource": ", as a raw resource", "site": ""}
"""What is said of who answers, by the style."""


class EndpointsElement(Element):
    """The page at `/`, built with `twisted.web.template`, which escapes whatever is put into it."""

    loader = XMLString(f"""
        <html lang="en" xmlns:t="http://twistedmatrix.com/ns/twisted.web.template/0.1">
          <head>
            <meta charset="utf-8" />
            <meta name="viewport" content="width=device-width" />
            <title>latebin</title>
            <style>{STYLE}</style>
          </head>
          <body>
            <h1>latebin</h1>
            <p>This service answers late, on purpose and on time. It is written twice: as Klein routes, and as raw
              Twisted resources under <code>/raw</code>. Both give the same answers.</p>
            <table>
              <thead><tr><th>endpoint</th><th>example</th><th>what it does</th></tr></thead>
              <tbody>
                <tr t:render="endpoints">
                  <td><code><t:slot name="path" /></code></td>
                  <td><a><t:attr name="href"><t:slot name="example" /></t:attr><t:slot name="example" /></a></td>
                  <td><t:slot name="summary" /></td>
                </tr>
              </tbody>
            </table>
            <h2>Parameters</h2>
            <p>They can be combined. Every example is there under <code>/raw</code> as well.</p>
            <table>
              <thead><tr><th t:render="headings"><t:slot name="heading" /></th></tr></thead>
              <tbody>
                <tr t:render="parameters">
                  <td><code><t:slot name="name" /></code></td>
                  <td><t:slot name="meaning" /></td>
                  <td><t:slot name="accepted" /></td>
                  <td><t:slot name="default" /></td>
                  <td><t:slot name="bound" /></td>
                  <td><a><t:attr name="href"><t:slot name="example" /></t:attr><t:slot name="example" /></a></td>
                </tr>
              </tbody>
            </table>
          </body>
        </html>
    """)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    @renderer
    def endpoints(self, request: IRequest | None, tag: Tag) -> list[Tag]:
        return [
            tag.clone().fillSlots(
                path=prefix + each.path, example=prefix + each.example, summary=each.summary + SPOKEN[style]
            )
            for each in endpoints(self._settings)
            for style, prefix in each.prefixes.items()
        ]

    @renderer
    def headings(self, request: IRequest | None, tag: Tag) -> list[Tag]:
        return [tag.clone().fillSlots(heading=heading) for heading in HEADINGS]

    @renderer
    def parameters(self, request: IRequest | None, tag: Tag) -> list[Tag]:
        return [
            tag.clone().fillSlots(
                name=each.name,
                meaning=each.meaning,
                accepted=each.accepted,
                default=self._told(each.default),
                bound=self._told(each.bound),
                example=example,
            )
            for each, example in parameters()
        ]

    def _told(self, text: str) -> list[str | Tag]:
        """Give a text with the values of the settings that it names, and as code what stands in backticks."""
        parts = with_values(text, self._settings).split("`")
        return [tags.code(part) if index % 2 else part for index, part in enumerate(parts)]


def index_page(settings: Settings) -> Reply:
    """Render the page."""
    return html_page(EndpointsElement(settings), POLICY)
