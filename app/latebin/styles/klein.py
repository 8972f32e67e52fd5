"""The service as Klein routes. resource.py has the same service as raw resources."""

from typing import cast

import attrs
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import MethodNotAllowed, NotFound

from latebin.answers.delivery import apologize
from latebin.answers.interfaces import ServedRequest, request_id
from latebin.answers.pending import PendingAnswer
from latebin.answers.service import Service
from latebin.core.http.reply import METHODS, Refused, allow


@attrs.frozen(eq=False)
class DelayedKlein:
    """The routes that answer late: each returns a Deferred, and Klein sends its result."""

    service: Service = attrs.field(factory=Service)

    router = Klein()
    # Klein would redirect a path with two slashes in a row, to a URL built from the Host header.
    router.url_map.merge_slashes = False
    log = Logger()

    # Before the handlers below: Klein calls those for the exceptions that this one raises.
    @router.handle_errors(NotFound)
    def not_found(self, request: IRequest, failure: Failure) -> Deferred[bytes]:
        late = cast("ServedRequest", request)
        return self._wait(late, self.service.accept(late, "default"))

    @router.handle_errors(Refused)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        return cast("Refused", failure.value).problem.reply().start(request)

    @router.handle_errors(MethodNotAllowed)
    def not_allowed(self, request: IRequest, failure: Failure) -> bytes:
        methods = cast("MethodNotAllowed", failure.value).valid_methods or ()
        return allow(request.method, methods).start(request)

    @router.handle_errors(Exception)
    def broken(self, request: IRequest, failure: Failure) -> bytes:
        self.log.failure("failed to answer", failure, request_id=request_id(request))
        return apologize(cast("ServedRequest", request))

    def _wait(self, request: ServedRequest, answer: PendingAnswer) -> Deferred[bytes]:
        d = deferLater(answer, answer.wait, lambda: request)
        return d.addCallback(self._delayed_render)

    def _delayed_render(self, request: ServedRequest) -> Deferred[bytes]:
        return self.service.answer(request)

    @router.route("/delayed", methods=METHODS)
    @router.route("/delayed/<delay>", methods=METHODS)
    def delayed(self, request: ServedRequest, delay: str | None = None) -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, "delayed", delay))

    @router.route("/delay/<seconds>", methods=METHODS)
    def delay(self, request: ServedRequest, seconds: str) -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, "delay", seconds))

    @router.route("/drip", methods=["GET", "HEAD"])
    def drip(self, request: ServedRequest) -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, "drip"))

    @router.route("/sse", methods=["GET", "HEAD"])
    def sse(self, request: ServedRequest) -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, "sse"))

    @router.route("/jsonl", methods=["GET", "HEAD"])
    def jsonl(self, request: ServedRequest) -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, "jsonl"))

    @router.route("/via/<name>")
    @router.route("/via/<name>/<path:rest>")
    def via(self, request: ServedRequest, name: str, rest: str = "") -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, "via", name))

    @router.route("/as/<name>")
    @router.route("/as/<name>/<path:rest>")
    def scenario(self, request: ServedRequest, name: str, rest: str = "") -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, "as", name))

    @router.route("/predict", methods=["GET", "HEAD"])
    def predict(self, request: ServedRequest) -> bytes:
        return self.service.predict(request).start(request)
