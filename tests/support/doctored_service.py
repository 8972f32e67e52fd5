"""The service with two deliberate differences in its raw style, as a script."""

import attrs
from twisted.web.server import NOT_DONE_YET

from latebin.answers.interfaces import ServedRequest
from latebin.cli import main
from latebin.core.http.reply import NOT_FOUND, Refused, Reply
from latebin.styles import resource

RawResource = resource.RawResource


def not_found(self: RawResource, request: ServedRequest) -> int:
    """Send the same headers in another order."""
    reply = NOT_FOUND.reply()
    self._send(request, attrs.evolve(reply, headers=reply.headers[::-1]))
    return NOT_DONE_YET


def refused(self: RawResource, request: ServedRequest, error: Refused) -> None:
    """Send the given value back as HTML."""
    given = (error.problem.given or "").encode("utf-8", "replace")
    self._send(request, Reply(400, ((b"Content-Type", b"text/html"),), b"<p>%s</p>" % given))


if __name__ == "__main__":
    RawResource._notFound = not_found  # type: ignore[method-assign]  # the deliberate difference
    RawResource._refused = refused  # type: ignore[method-assign]
    main.main()
