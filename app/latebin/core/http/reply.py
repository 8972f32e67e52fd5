"""Answers as data: status, headers and body, and the problems of refused requests."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

import attrs

from latebin.core.language.size import render

METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
"""The methods that are answered late, each like GET."""

ALLOWED: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""The value of `Allow` for a resource that answers late (RFC 9110, section 10.2.1)."""

ALLOWED_GET: Final = ("GET", "HEAD", "OPTIONS")
"""The value of `Allow` for a resource without a request body."""

MAX_GIVEN: Final = 200
"""The most characters of a caller's text in a problem."""

Headers = tuple[tuple[bytes, bytes], ...]

_NOSNIFF: Final = (b"X-Content-Type-Options", b"nosniff")

SAFE: Final = ((b"Cache-Control", b"no-store"), _NOSNIFF)
"""The headers of every answer with a body: a cached answer would not be late, a sniffed one could run."""


class RawHeaders(Protocol):
    """Headers of which one name can have several values; Twisted's `Headers` are."""

    def setRawHeaders(self, name: bytes, values: Sequence[bytes], /) -> None: ...


class Answering(Protocol):
    """The part of a request that sets the status and the headers of its answer."""

    @property
    def responseHeaders(self) -> RawHeaders: ...
    def setResponseCode(self, code: int, /) -> None: ...
    def setHeader(self, name: bytes, value: bytes, /) -> None: ...


def _clip(text: str | None) -> str | None:
    return text if text is None else text[:MAX_GIVEN]


@attrs.frozen
class Reply:
    """One answer, which both styles send with the same bytes.

    Attributes:
        status: the HTTP status code.
        headers: names and values in the order of sending, behind those of the server itself.
        body: the whole body. An answer to HEAD has it, too; the style does not send it.
    """

    status: int
    headers: Headers
    body: bytes = b""

    def start(self, request: Answering) -> bytes:
        """Set the status and the headers on a request.

        Returns:
            The body, which the style sends in its own way.
        """
        request.setResponseCode(self.status)
        for name, value in self.headers:
            request.setHeader(name, value)
        return self.body


@attrs.frozen
class Problem:
    """The reason of a refusal (RFC 9457): data for the caller, never markup.

    Attributes:
        status: the HTTP status code; the title is its phrase, since the type is `about:blank` (section 4.2.1).
        detail: the fault in this request, as a sentence.
        parameter: the name of the wrong parameter, if there is one; cut to MAX_GIVEN characters, since it can be any
            text.
        given: the given value, cut likewise.
        accepted: the accepted values.
        headers: headers of the answer; not a member of the problem.
        more: further members (RFC 9457, section 3.2).
    """

    status: int
    detail: str
    parameter: str | None = attrs.field(default=None, converter=_clip)
    given: str | None = attrs.field(default=None, converter=_clip)
    accepted: str | None = None
    headers: Headers = ()
    more: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    def reply(self, *headers: tuple[bytes, bytes]) -> Reply:
        """Make the answer with this problem, as `application/problem+json`."""
        members: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(self.status).phrase}
        names = "status", "detail", "parameter", "given", "accepted"
        members |= {name: value for name in names if (value := getattr(self, name)) is not None} | dict(self.more)
        body = json.dumps(members).encode("ascii") + b"\n"
        described = _described(b"application/problem+json", body)
        return Reply(self.status, (*described, *self.headers, *headers), body)


class Refused(Exception):
    """The refusal of a request.

    Attributes:
        problem: the problem in its answer.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


NOT_FOUND: Final = Problem(404, "Unknown path; the page at / lists the endpoints.")

TWO_SLASHES: Final = Problem(
    404, "Unknown path: it has two slashes in a row, which are not taken as one.", accepted="one slash between segments"
)

NOT_FOUND_BY_ADMIN: Final = Problem(
    404, "Unknown path; the endpoints here are /healthz, /readyz, /metrics and /control/scenarios."
)

FULL: Final = Problem(
    503, "The number of pending answers is at its limit; try again later.", headers=((b"Retry-After", b"1"),)
)

STOPPING: Final = Problem(503, "The service is stopping; try another instance, or try again later.")

BROKEN: Final = Problem(500, "The service failed to answer; its log has the reason.")


def problem_of(error: BaseException | None) -> Problem:
    """Return the problem to answer a failure with: its own, if it is a refusal."""
    return error.problem if isinstance(error, Refused) else BROKEN


def not_found(path: bytes) -> Problem:
    """Make the problem of an unknown path.

    Args:
        path: the path, not decoded, without its query.
    """
    return TWO_SLASHES if b"//" in path else NOT_FOUND


def too_large(detail: str, most: int) -> Problem:
    """Make the problem of a request body that is too large.

    Args:
        detail: the fault, as a sentence.
        most: bytes of the largest accepted body.
    """
    return Problem(413, detail, parameter="body", accepted=f"at most {render(most)} bytes")


def page(content_type: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    """Make an answer of status 200 from a whole body."""
    return Reply(200, (*_described(content_type, body), *headers), body)


def json_page(value: object, *headers: tuple[bytes, bytes]) -> Reply:
    """Make an answer of status 200 with a value as JSON."""
    return page(b"application/json", json.dumps(value).encode("ascii") + b"\n", *headers)


def allow(method: bytes, methods: Iterable[str]) -> Reply:
    """Make the answer to a method that a resource does not handle itself.

    OPTIONS is answered with the methods of the resource. Other methods are refused.

    Args:
        method: the method of the request.
        methods: the methods that the resource handles, in any order.
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
