"""The baseline of the raw style: the original example on stock twisted.web.

python -m tests.bench.stock_resource PORT
"""

import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site


class DelayedResource(Resource):
    isLeaf = True

    def _delayedRender(self, request: Request) -> None:
        request.write(b"<html><body>Sorry to keep you waiting.</body></html>")
        request.finish()

    def render_GET(self, request: Request) -> int:
        d = deferLater(reactor, float(request.args[b"delay"][0]), lambda: request)
        d.addCallback(self._delayedRender)
        request.notifyFinish().addErrback(lambda _: d.cancel())
        return NOT_DONE_YET


site: Any = Site(DelayedResource())
reactor.listenTCP(int(sys.argv[1]), site, backlog=5000, interface="127.0.0.1")
print("serving", flush=True)
reactor.run()
