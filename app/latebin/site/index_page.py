"""The page at `/`: every endpoint and parameter, for people."""

from typing import Final

from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, renderer, tags

from latebin.core.endpoints import HEADINGS, Endpoint, endpoints, parameters, with_values
from latebin.core.http.reply import Reply
from latebin.core.settings import Settings
from latebin.site.html import POLICY, STYLE, html_page

SPOKEN: Final = {"klein": ", in Klein", "resource": ", as a raw resource", "site": ""}
"""The end of a summary, by the style that answers."""


class EndpointsElement(Element):
    """The page at `/`, built with `twisted.web.template`, which escapes every text."""

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
            <p>A slow, uneven or broken HTTP upstream that can be trusted and predicted. Each URL says how late the
              answer comes and what goes wrong.</p>
            <p>Every endpoint is there twice, with the same bytes: in Klein, and under <code>/raw</code> as raw Twisted
              resources. See <a href="/docs/">the reference</a>, or <a href="/compare">both side by side</a>.</p>
            <table>
              <thead><tr><th>endpoint</th><th>example</th><th>what it does</th></tr></thead>
              <tbody>
                <tr t:render="endpoints">
                  <td><code><t:slot name="path" /></code></td>
                  <td><t:slot name="example" /></td>
                  <td><t:slot name="summary" /></td>
                </tr>
              </tbody>
            </table>
            <h2>Parameters</h2>
            <p>Parameters can be combined. Every example works under <code>/raw</code> too. Wrong input is refused, and
              the refusal names what is accepted.</p>
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
                path=prefix + each.path, example=_example(each, prefix), summary=each.summary + SPOKEN[style]
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
                default=self._described(each.default),
                bound=self._described(each.bound),
                example=example,
            )
            for each, example in parameters()
        ]

    def _described(self, text: str) -> list[str | Tag]:
        """Add the values of the settings that a text names, and mark its code."""
        parts = with_values(text, self._settings).split("`")
        return [tags.code(part) if index % 2 else part for index, part in enumerate(parts)]


def _example(endpoint: Endpoint, prefix: str) -> Tag:
    """Make a link to an example, or plain code without GET."""
    target = prefix + endpoint.example
    return tags.a(target, href=target) if "GET" in endpoint.methods else tags.code(target)


def index_page(settings: Settings) -> Reply:
    """Render the page."""
    return html_page(EndpointsElement(settings), POLICY)
