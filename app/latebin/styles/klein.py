"""The service as Klein routes. Its twin, the same service as raw resources, is resource.py."""

from collections.abc import Callable
from functools import partial
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
from latebin.answers.promise import Promise
from latebin.answers.service import Service
from latebin.core.http.reply import (
    ALLOWED,
    ALLOWED_GET,
    METHODS,
    NOT_FOUND,
    Refused,
    not_allowed,
    options,
)
from latebin.overrides.request import Request, identity

Render = Callable[[Request, Promise], Deferred[bytes]]


@attrs.frozen(eq=False)
class DelayedKlein:
    """Answers late: a route returns a Deferred, and Klein sends what it fires with."""

    service: Service = attrs.field(factory=Service)

    router = Klein()
    # Klein would redirect to a URL built from the Host header, where a path has two slashes in a row.
    router.url_map.merge_slashes = False
    log = Logger()

    @router.handle_errors(Refused)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        return cast("Refused", failure.value).problem.reply().start(request)

    @router.handle_errors(NotFound)
    def not_found(self, request: IRequest, failure: Failure) -> bytes:
        return NOT_FOUND.reply().start(request)

    @router.handle_errors(MethodNotAllowed)
    def not_allowed(self, request: IRequest, failure: Failure) -> bytes:
        methods = cast("MethodNotAllowed", failure.value).valid_methods or ()
        return not_allowed(request.method, sorted(methods)).start(request)

    @router.handle_errors(Exception)
    def broken(self, request: IRequest, failure: Failure) -> bytes:
        self.log.failure("failed to answer", failure, request_id=identity(request))
        return apologize(cast("Request", request))

    def _wait(self, request: Request, promise: Promise, render: Render) -> Deferred[bytes]:
        d = deferLater(self.service.clock, promise.plan.wait, lambda: request)
        self.service.pending.enter(d, promise.due)
        return d.addCallback(render, promise)

    def _delayed_render(self, request: Request, promise: Promise) -> Deferred[bytes]:
        return self.service.answer(request, promise)

    @router.route("/delayed", methods=METHODS)
    @router.route("/delayed/<delay>", methods=METHODS)
    def delayed(self, request: Request, delay: str | None = None) -> Deferred[bytes]:
        return self._wait(request, self.service.accept(request, delay), self._delayed_render)

    @router.route("/delayed", methods=["OPTIONS"])
    @router.route("/delayed/<delay>", methods=["OPTIONS"])
    def delayed_options(self, request: Request, delay: str | None = None) -> bytes:
        return options(ALLOWED).start(request)

    @router.route("/delay/<seconds>", methods=METHODS)
    def delay(self, request: Request, seconds: str) -> Deferred[bytes]:
        return self._wait(request, self.service.echo(request, seconds), self._delayed_render)

    @router.route("/delay/<seconds>", methods=["OPTIONS"])
    def delay_options(self, request: Request, seconds: str) -> bytes:
        return options(ALLOWED).start(request)

    @router.route("/drip", methods=["GET", "HEAD"])
    def drip(self, request: Request) -> Deferred[bytes]:
        return self._wait(request, self.service.drip(request), self._delayed_render)

    @router.route("/drip", methods=["OPTIONS"])
    def drip_options(self, request: Request) -> bytes:
        return options(ALLOWED_GET).start(request)

    @router.route("/via/<name>", methods=ALLOWED)
    @router.route("/via/<name>/<path:rest>", methods=ALLOWED)
    def via(self, request: Request, name: str, rest: str = "") -> Deferred[bytes]:
        return self._wait(request, self.service.accept_via(request, name), partial(self._via_render, name=name))

    def _via_render(self, request: Request, promise: Promise, name: str) -> Deferred[bytes]:
        return self.service.forward(request, name, promise)

    @router.route("/predict", methods=["GET", "HEAD"])
    def predict(self, request: Request) -> bytes:
        return self.service.predict(request).start(request)

    @router.route("/predict", methods=["OPTIONS"])
    def predict_options(self, request: Request) -> bytes:
        return options(ALLOWED_GET).start(request)
