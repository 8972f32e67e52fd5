"""Resources that answer at once: a page, and a fixed reply."""

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from latebin.answers.delivery import apologize
from latebin.answers.interfaces import ServedRequest, request_id
from latebin.core.http.reply import ALLOWED_GET, Refused, Reply, allow, not_found


class AnswerResource(Resource):
    """An answer at once, made for each request; a subclass says which."""

    log = Logger()

    def render(self, request: ServedRequest) -> int:
        d: Deferred[Any] = maybeDeferred(self.answer, request)
        d.addCallback(lambda reply: reply.start(request)).addErrback(self._failed, request)
        if not d.called:
            request.notifyFinish().addErrback(lambda _: d.cancel())
        d.addCallback(partial(_finish, request)).addErrback(lambda failure: failure.trap(CancelledError))
        return NOT_DONE_YET

    def _failed(self, failure: Failure, request: ServedRequest) -> bytes:
        error = failure.value
        if isinstance(error, Refused):
            return error.problem.reply().start(request)
        if isinstance(error, CancelledError):
            raise error  # the client has left
        # A figure that cannot be read, say.
        self.log.failure("failed to answer", failure, request_id=request_id(request))
        return apologize(request)

    def answer(self, request: ServedRequest) -> Reply | Deferred[Reply]:
        """Make the answer to a request, at once or later.

        Raises:
            Refused: the answer is a problem.
        """
        raise NotImplementedError


class PageResource(AnswerResource):
    """A page that is answered at once, to GET and HEAD.

    Args:
        reply: makes the answer, for each request anew.
    """

    def __init__(self, reply: Callable[[], Reply]) -> None:
        super().__init__()
        self._reply = reply

    def getChild(self, path: bytes, request: ServedRequest) -> Resource:
        return ReplyResource(not_found(request.path).reply())

    def answer(self, request: ServedRequest) -> Reply | Deferred[Reply]:
        return self._reply() if request.method in {b"GET", b"HEAD"} else allow(request.method, ALLOWED_GET)


class ReplyResource(Resource):
    """Gives the same answer to every request."""

    isLeaf = True

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._reply = reply

    def render(self, request: ServedRequest) -> int:
        return _finish(request, self._reply.start(request))


def _finish(request: ServedRequest, rest: bytes) -> int:
    request.write(rest)
    request.finish()
    return NOT_DONE_YET
