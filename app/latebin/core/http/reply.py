"""Status, headers and body of an answer, and the problems that are answered with."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, Protocol

import attrs

from latebin.core.language.size import render

METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
"""The methods that are answered late, all of them as GET is."""

ALLOWED: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""What `Allow` names for a resource that answers late (RFC 9110, section 10.2.1)."""

ALLOWED_GET: Final = ("GET", "HEAD", "OPTIONS")
"""What `Allow` names for a resource that takes nothing."""

MAX_GIVEN: Final = 200
"""How much of what a caller sent is shown back to it, in characters."""

Headers = tuple[tuple[bytes, bytes], ...]

_NOSNIFF: Final = (b"X-Content-Type-Options", b"nosniff")

SAFE: Final = ((b"Cache-Control", b"no-store"), _NOSNIFF)
"""What every answer with a body says: it is as late only once, and it is what it says it is."""


class Answering(Protocol):
    """As much of a request as answering it takes: both styles' requests have it."""

    def setResponseCode(self, code: int, /) -> None: ...
    def setHeader(self, name: bytes, value: bytes, /) -> None: ...


def _clip(text: str | None) -> str | None:
    return text if text is None else text[:MAX_GIVEN]


@attrs.frozen
class Reply:
    """One answer: what both styles send, to the byte.

    Attributes:
        status: the HTTP status code.
        headers: names and values in the order in which they are sent, behind what the server itself adds.
        body: the whole body; a HEAD request is answered with the same reply, and the body is left out in sending.
    """

    status: int
    headers: Headers
    body: bytes = b""

    def start(self, request: Answering) -> bytes:
        """Set the status and the headers on a request.

        Returns:
            The body, for the style to send in its own way.
        """
        request.setResponseCode(self.status)
        for name, value in self.headers:
            request.setHeader(name, value)
        return self.body


@attrs.frozen
class Problem:
    """Why a request is refused (RFC 9457): data for the caller, never markup.

    Attributes:
        status: the HTTP status code; the title is its phrase, since the type is `about:blank` (section 4.2.1).
        detail: what is wrong with this request, in one sentence.
        parameter: the name of the parameter that is wrong, if one is, cut to MAX_GIVEN characters: it may be made up.
        given: what was given for it, cut likewise.
        accepted: what would have been accepted.
        headers: what is sent beside the problem, and not told in it.
    """

    status: int
    detail: str
    parameter: str | None = attrs.field(default=None, converter=_clip)
    given: str | None = attrs.field(default=None, converter=_clip)
    accepted: str | None = None
    headers: Headers = ()

    def reply(self, *headers: tuple[bytes, bytes]) -> Reply:
        """Answer with this problem at once, as `application/problem+json`."""
        members = {"type": "about:blank", "title": HTTPStatus(self.status).phrase}
        members |= attrs.asdict(self, filter=lambda field, value: field.name != "headers" and value is not None)
        body = json.dumps(members).encode("ascii") + b"\n"
        described = _described(b"application/problem+json", body)
        return Reply(self.status, (*described, *self.headers, *headers), body)


class Refused(Exception):
    """A request that is answered with a problem.

    Attributes:
        problem: what is answered.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


NOT_FOUND: Final = Problem(404, "There is nothing at this path; the page at / lists what there is.")

NOT_FOUND_BY_ADMIN: Final = Problem(404, "There is nothing at this path; there are /healthz, /readyz and /metrics.")

FULL: Final = Problem(
    503, "As many answers are pending as there may be; try again later.", headers=((b"Retry-After", b"1"),)
)

STOPPING: Final = Problem(503, "The service is stopping; ask another, or try again later.")

BROKEN: Final = Problem(500, "The service failed to answer; its log says why.")


def too_large(detail: str, most: int) -> Problem:
    """Say that a body is larger than so many bytes, which are taken."""
    return Problem(413, detail, parameter="body", accepted=f"at most {render(most)} bytes")


def page(content_type: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    """Answer with a body that does not depend on the request."""
    return Reply(200, (*_described(content_type, body), *headers), body)


def json_page(value: object) -> Reply:
    """Answer with a value as JSON."""
    return page(b"application/json", json.dumps(value).encode("ascii") + b"\n")


def allow(method: bytes, methods: Iterable[str]) -> Reply:
    """Answer a method that a resource does not handle itself: OPTIONS with the methods, any other with a refusal.

    Args:
        method: the method of the request.
        methods: those that the resource handles, in any order.
    """
    allowed = ", ".join(sorted({*methods, "OPTIONS"}))
    header = b"Allow", allowed.encode("ascii")
    if method == b"OPTIONS":
        # RFC 9110 forbids Content-Length on a 204 (section 8.6).
        return Reply(204, (header, _NOSNIFF))
    given = method.decode("latin-1")
    problem = Problem(405, "This method is not allowed here.", parameter="method", given=given, accepted=allowed)
    return problem.reply(header)


def _described(content_type: bytes, body: bytes) -> Headers:
    return (b"Content-Type", content_type), (b"Content-Length", b"%d" % len(body)), *SAFE
