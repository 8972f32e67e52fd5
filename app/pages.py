"""What belongs to neither style: the page at `/`, and whether the service is alive."""

import base64
import hashlib
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.web.iweb import IRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.template import Element, Tag, XMLString, flattenString, renderer

from app import duration
from app.duration import render
from app.reply import ALLOWED_AT_ONCE, Reply, json_page, options, page
from app.request import Request
from app.settings import Settings
from app.style_resource import RawResource

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; }
code { font: .9em ui-monospace, monospace; }
"""

_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode("ascii")).digest()).decode("ascii")

POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; frame-ancestors 'none'".encode(
    "ascii"
)
"""Content-Security-Policy of the page: its own style and nothing else (CSP Level 3, section 2.3.1)."""

ENDPOINTS: Final = (
    ("/delayed", "/delayed", "answers after {default}, in Klein"),
    ("/delayed/DELAY", "/delayed/250ms", "answers after another delay, in Klein"),
    ("/delayed?delay=DELAY", "/delayed?delay=1.5s", "the same, with the delay in the query"),
    ("/delay/SECONDS", "/delay/3", "tells the request after that time, as httpbin does, in Klein"),
    (
        "/drip?numbytes=N",
        "/drip?numbytes=5",
        "sends bytes one by one, as httpbin does, in Klein",
    ),
    ("/raw/delayed", "/raw/delayed", "answers after {default}, as a raw resource"),
    ("/raw/delayed/DELAY", "/raw/delayed/250ms", "answers after another delay, as a raw resource"),
    ("/raw/delayed?delay=DELAY", "/raw/delayed?delay=1.5s", "the same, with the delay in the query"),
    ("/raw/delay/SECONDS", "/raw/delay/3", "tells the request after that time, as a raw resource"),
    (
        "/raw/drip?numbytes=N",
        "/raw/drip?numbytes=5",
        "sends bytes one by one, as a raw resource",
    ),
    ("/compare", "/compare", "shows both styles side by side, in a browser"),
    ("/healthz", "/healthz", "answers at once, while the service is alive"),
)
"""Each endpoint as it is written, an example that can be clicked, and what it does."""


class EndpointsElement(Element):
    """The page at `/`, built with `twisted.web.template`, which escapes whatever is put into it."""

    loader = XMLString(f"""
        <html lang="en" xmlns:t="http://twistedmatrix.com/ns/twisted.web.template/0.1">
          <head>
            <meta charset="utf-8" />
            <meta name="viewport" content="width=device-width" />
            <title>delayed</title>
            <style>{STYLE}</style>
          </head>
          <body>
            <h1>delayed</h1>
            <p>This service answers late, on purpose and on time. It is written twice: as Klein routes, and as raw
              Twisted resources under <code>/raw</code>. Both give the same answers.</p>
            <table>
              <thead><tr><th>endpoint</th><th>example</th><th>what it does</th></tr></thead>
              <tbody>
                <tr t:render="endpoints">
                  <td><code><t:slot name="endpoint" /></code></td>
                  <td><a><t:attr name="href"><t:slot name="example" /></t:attr><t:slot name="example" /></a></td>
                  <td><t:slot name="what" /></td>
                </tr>
              </tbody>
            </table>
            <p>A DELAY is <span t:render="accepted" />, and at most <span t:render="longest" />.</p>
          </body>
        </html>
    """)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    @renderer
    def endpoints(self, request: IRequest | None, tag: Tag) -> list[Tag]:
        default = render(self._settings.default_delay)
        rows = [(path, example, what.format(default=default)) for path, example, what in ENDPOINTS]
        return [tag.clone().fillSlots(endpoint=path, example=example, what=what) for path, example, what in rows]

    @renderer
    def accepted(self, request: IRequest | None, tag: Tag) -> Tag:
        return tag(duration.ACCEPTED)

    @renderer
    def longest(self, request: IRequest | None, tag: Tag) -> Tag:
        return tag(render(self._settings.max_delay))


class PageResource(RawResource):
    """A page that is answered at once, to GET and HEAD.

    Args:
        reply: gives what is answered.
    """

    def __init__(self, reply: Callable[[], Deferred[Reply]]) -> None:
        super().__init__()
        self._reply = reply

    def render_GET(self, request: Request) -> int:
        d = self._reply()
        d.addCallback(lambda reply: self._send(request, reply))
        d.addErrback(self._failed, request)
        return NOT_DONE_YET

    render_HEAD = render_GET

    def render_OPTIONS(self, request: Request) -> int:
        self._send(request, options(ALLOWED_AT_ONCE))
        return NOT_DONE_YET


class ReplyResource(RawResource):
    """Answers one and the same, whatever is asked."""

    isLeaf = True

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._reply = reply

    def render(self, request: Request) -> int:
        self._send(request, self._reply)
        return NOT_DONE_YET


def index(settings: Settings) -> PageResource:
    """Make the page that says what the service is, and lists every endpoint with an example."""

    def reply() -> Deferred[Reply]:
        return flattenString(None, EndpointsElement(settings)).addCallback(_html)

    return PageResource(reply)


def health() -> PageResource:
    """Make the page that says that the service is alive."""
    alive = json_page({"status": "ok"})
    return PageResource(lambda: succeed(alive))


def _html(body: bytes) -> Reply:
    policy = (b"Content-Security-Policy", POLICY)
    return page(b"text/html; charset=utf-8", b"<!DOCTYPE html>\n" + body, policy)
