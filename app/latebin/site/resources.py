"""Resources that answer at once: a page, and a fixed reply."""

from collections.abc import Callable

from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from latebin.answers.delivery import apologize
from latebin.answers.interfaces import ServedRequest, request_id
from latebin.core.http.reply import ALLOWED_GET, Refused, Reply, allow, not_found


class AnswerResource(Resource):
    """An answer at once, made for each request; a subclass says which."""

    log = Logger()

    def render(self, request: ServedRequest) -> int:
        try:
            rest = self.answer(request).start(request)
        except Refused as error:
            rest = error.problem.reply().start(request)
        except Exception:  # noqa: BLE001  # a figure that cannot be read, say: it is logged and answered with a 500
            self.log.failure("failed to answer", request_id=request_id(request))
            rest = apologize(request)
        return _finish(request, rest)

    def answer(self, request: ServedRequest) -> Reply:
        """Make the answer to a request.

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

    def answer(self, request: ServedRequest) -> Reply:
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
