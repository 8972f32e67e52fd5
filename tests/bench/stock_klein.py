"""The baseline of the Klein style: the original example as a route of stock Klein.

python -m tests.bench.stock_klein PORT
"""

import sys
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.server import Request, Site

app = Klein()


def _delayed_render(request: Request) -> bytes:
    return b"<html><body>Sorry to keep you waiting.</body></html>"


@app.route("/delayed")
def delayed(request: Request) -> Deferred[bytes]:
    d = deferLater(reactor, float(request.args[b"delay"][0]), lambda: request)
    return d.addCallback(_delayed_render)


site: Any = Site(app.resource())
reactor.listenTCP(int(sys.argv[1]), site, backlog=5000, interface="127.0.0.1")
print("serving", flush=True)
reactor.run()
