"""The service as raw resources. klein.py has the same service as Klein routes."""

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from latebin.answers.delivery import apologize
from latebin.answers.interfaces import ServedRequest, request_id
from latebin.answers.pending import PendingAnswer
from latebin.answers.service import Service
from latebin.core.http.reply import Refused, Reply, allow


class RawResource(Resource):
    """A resource that answers late: the original example, with its Deferred and its `NOT_DONE_YET`.

    Every failure ends in one errback, which distinguishes them.

    Args:
        service: the part that does not depend on the style; None for a new service on the process's clock.
        argument: the segment of the path that the endpoint takes; None for an endpoint without one.
    """

    log = Logger()

    def __init__(self, service: Service | None = None, argument: str | None = None) -> None:
        super().__init__()
        self.service = service or Service()
        self.argument = argument

    def getChild(self, path: bytes, request: ServedRequest) -> Resource:
        return NotFoundResource(self.service)

    def render(self, request: ServedRequest) -> int:
        try:
            self._render(request)
        except Exception:  # noqa: BLE001  # the errback below answers every failure
            fail().addErrback(self._failed, request)
        return NOT_DONE_YET

    def _render(self, request: ServedRequest) -> None:
        super().render(request)

    def _send(self, request: ServedRequest, reply: Reply) -> None:
        self._finish(reply.start(request), request)

    def _finish(self, rest: bytes, request: ServedRequest) -> None:
        request.write(rest)
        request.finish()

    def _failed(self, failure: Failure, request: ServedRequest) -> None:
        error = failure.value
        if isinstance(error, Refused):
            self._refused(request, error)
        elif isinstance(error, UnsupportedMethod):
            self._notAllowed(request, error)
        elif not isinstance(error, CancelledError):
            self._broken(request, failure)

    def _notFound(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "default"))

    def _refused(self, request: ServedRequest, error: Refused) -> None:
        self._send(request, error.problem.reply())

    def _notAllowed(self, request: ServedRequest, error: UnsupportedMethod) -> None:
        methods = b",".join(error.allowedMethods).decode("ascii").split(",")
        self._send(request, allow(request.method, methods))

    def _broken(self, request: ServedRequest, failure: Failure) -> None:
        self.log.failure("failed to answer", failure, request_id=request_id(request))
        self._finish(apologize(request), request)

    def _wait(self, request: ServedRequest, answer: PendingAnswer) -> int:
        d = deferLater(answer, answer.wait, lambda: request)
        d.addCallback(self._delayedRender)
        d.addErrback(self._failed, request)
        request.notifyFinish().addErrback(lambda _: d.cancel())
        return NOT_DONE_YET

    def _delayedRender(self, request: ServedRequest) -> Deferred[None]:
        return self.service.answer(request).addCallback(self._finish, request)


class NotFoundResource(RawResource):
    """The answer at a path without a resource of its own.

    There may be a resource below that path.
    """

    def _render(self, request: ServedRequest) -> None:
        self._notFound(request)


class DelayedResource(RawResource):
    """The endpoint that answers after the delay in the path or in the query."""

    def getChild(self, path: bytes, request: ServedRequest) -> Resource:
        if request.prepath == [b""]:
            return self  # "/" where this resource is the root of a site
        if self.argument is None and path:
            return DelayedResource(self.service, _text(path))
        return super().getChild(path, request)

    def render_GET(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "delayed", self.argument))

    render_DELETE = render_HEAD = render_PATCH = render_POST = render_PUT = render_GET


class DelayResource(RawResource):
    """The endpoint that echoes the request as JSON, as httpbin's `/delay/SECONDS` does."""

    def render_GET(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "delay", self.argument))

    render_DELETE = render_HEAD = render_PATCH = render_POST = render_PUT = render_GET


class DripResource(RawResource):
    """The endpoint that sends bytes one by one, as httpbin's `/drip` does."""

    def render_GET(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "drip"))

    render_HEAD = render_GET


class SseResource(RawResource):
    """The endpoint that sends server-sent events, as go-httpbin's `/sse` does."""

    def render_GET(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "sse"))

    render_HEAD = render_GET


class JsonlResource(RawResource):
    """The endpoint that sends lines of JSON, as go-httpbin's `/jsonl` does."""

    def render_GET(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "jsonl"))

    render_HEAD = render_GET


class ViaResource(RawResource):
    """The endpoint that passes a request on to an upstream, late, and its answer back."""

    isLeaf = True

    def _render(self, request: ServedRequest) -> None:
        self.render_GET(request)

    def render_GET(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "via", self.argument))


class ScenarioResource(ViaResource):
    """The endpoint that answers every method and path by the scenario of this name."""

    def render_GET(self, request: ServedRequest) -> int:
        return self._wait(request, self.service.accept(request, "as", self.argument))


class SegmentResource(NotFoundResource):
    """A resource that makes another of the path's next segment: `/delay/SECONDS`, `/via/NAME`.

    Args:
        service: the service of the other resource.
        below: the class of the other resource.
    """

    def __init__(self, service: Service, below: type[RawResource]) -> None:
        super().__init__(service)
        self.below = below

    def getChild(self, path: bytes, request: ServedRequest) -> Resource:
        if path:
            return self.below(self.service, _text(path))
        return super().getChild(path, request)


class PredictResource(RawResource):
    """The endpoint that predicts a delay, at once."""

    def render_GET(self, request: ServedRequest) -> int:
        self._send(request, self.service.predict(request))
        return NOT_DONE_YET

    render_HEAD = render_GET


def tree(service: Service) -> Resource:
    """Put every resource at its path, as the decorators do in Klein."""
    root = NotFoundResource(service)
    root.putChild(b"delayed", DelayedResource(service))
    root.putChild(b"delay", SegmentResource(service, DelayResource))
    root.putChild(b"drip", DripResource(service))
    root.putChild(b"sse", SseResource(service))
    root.putChild(b"jsonl", JsonlResource(service))
    root.putChild(b"via", SegmentResource(service, ViaResource))
    root.putChild(b"as", SegmentResource(service, ScenarioResource))
    root.putChild(b"predict", PredictResource(service))
    return root


def _text(segment: bytes) -> str:
    return segment.decode("utf-8", "backslashreplace")
