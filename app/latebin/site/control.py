"""Everything below `/control`: the scenarios, changed while the service runs."""

import json
from typing import Final

from twisted.web.resource import Resource

from latebin.answers.interfaces import ServedRequest
from latebin.answers.scenarios import Scenarios, etag_of
from latebin.core.http.control_access import Gate
from latebin.core.http.reply import NOT_FOUND, Problem, Refused, Reply, allow, json_page, too_large
from latebin.core.scenarios import MAX_BODY, MAX_LENGTH, Given, Scenario
from latebin.core.settings import Settings
from latebin.site.resources import AnswerResource

MOST: Final = 2 * MAX_BODY + MAX_LENGTH
"""Bytes of the largest body: a scenario with the body that it brings, which JSON may escape."""

MANY_WORKERS: Final = Problem(
    409,
    "A change would reach one worker alone.",
    parameter="workers",
    accepted="--workers 1; scenarios given at the start work in all workers",
)

_MEDIA: Final = Problem(
    415,
    "Invalid type of a scenario.",
    parameter="Content-Type",
    accepted="text/plain for a query string, or application/json for an object",
)


class ControlResource(AnswerResource):
    """One path below `/control`, for the requests that its gate lets in.

    Args:
        scenarios: the scenarios, which can be changed here.
        settings: the limits, and the number of workers.
        gate: decides which requests may pass.
        path: the segments of the path so far.
    """

    def __init__(self, scenarios: Scenarios, settings: Settings, gate: Gate, path: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._scenarios = scenarios
        self._settings = settings
        self._gate = gate
        self._path = path

    def getChild(self, path: bytes, request: ServedRequest) -> Resource:
        below = (*self._path, path.decode("utf-8", "backslashreplace"))
        return ControlResource(self._scenarios, self._settings, self._gate, below)

    def answer(self, request: ServedRequest) -> Reply:
        self._let_in(request)
        match self._path:
            case ("scenarios",) | ("scenarios", ""):
                return self._list(request)
            case ("scenarios", name):
                return self._one(request, name)
            case ("reset",):
                return self._reset(request)
            case _:
                return NOT_FOUND.reply()

    def _let_in(self, request: ServedRequest) -> None:
        def field(name: bytes) -> str | None:
            value = request.getHeader(name)
            return None if value is None else value.decode("latin-1")

        problem = self._gate.problem(
            host=field(b"Host") or "",
            origin=field(b"Origin"),
            fetch_site=field(b"Sec-Fetch-Site"),
            authorization=field(b"Authorization"),
            secure=request.isSecure(),
        )
        if problem is None and self._settings.workers > 1:
            problem = MANY_WORKERS
        if problem is not None:
            raise Refused(problem)

    def _list(self, request: ServedRequest) -> Reply:
        if request.method not in {b"GET", b"HEAD"}:
            return allow(request.method, ("GET", "HEAD"))
        return json_page({"scenarios": [each.as_json(self._settings) for each in self._scenarios]})

    def _one(self, request: ServedRequest, name: str) -> Reply:
        condition = request.getHeader(b"If-Match")
        etag = None if condition is None else condition.decode("latin-1")
        if request.method in {b"GET", b"HEAD"}:
            return self._shown(self._scenarios.find(name))
        if request.method == b"PUT":
            return self._shown(self._scenarios.put(name, _given(request), etag))
        if request.method == b"DELETE":
            first = self._scenarios.delete(name, etag)
            return json_page({"name": name, "deleted": True}) if first is None else self._shown(first)
        return allow(request.method, ("DELETE", "GET", "HEAD", "PUT"))

    def _shown(self, scenario: Scenario) -> Reply:
        return json_page(scenario.as_json(self._settings), (b"ETag", etag_of(scenario).encode("ascii")))

    def _reset(self, request: ServedRequest) -> Reply:
        if request.method != b"POST":
            return allow(request.method, ("POST",))
        self._scenarios.reset()
        return json_page({"scenarios": [each.name for each in self._scenarios]})


def _given(request: ServedRequest) -> Given:
    """Read a scenario from a request's body.

    Raises:
        Refused: 413 for a body that is too large, 415 for another type, 400 for one that cannot be read.
    """
    request.content.seek(0)
    body = request.content.read(MOST + 1)
    if len(body) > MOST:
        raise Refused(too_large("The scenario is too large.", MOST))
    kind = (request.getHeader(b"Content-Type") or b"text/plain").partition(b";")[0].strip().lower()
    try:
        if kind == b"application/json":
            return _object(json.loads(body))
        # curl's -d says that it sends a form, and a query string is one.
        if kind in {b"text/plain", b"application/x-www-form-urlencoded"}:
            return str(body, "utf-8").strip()
    except (ValueError, RecursionError) as error:
        raise Refused(Problem(400, f"The body cannot be read: {error}.", parameter="body")) from None
    raise Refused(_MEDIA)


def _object(value: object) -> Given:
    if not isinstance(value, dict):
        raise ValueError("expected an object whose names are the parameters")  # noqa: TRY004  # it is wrong input
    return value
