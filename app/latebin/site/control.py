"""Everything below `/control`: the scenarios, changed while the service runs, and its state."""

import json
from collections.abc import Generator
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred, maybeDeferred

from latebin.answers.interfaces import ServedRequest
from latebin.answers.scenarios import Condition, Scenarios, etag_of
from latebin.core.http import strict_json
from latebin.core.http.control_access import Gate
from latebin.core.http.reply import Problem, Refused, Reply, allow, json_page, page, too_large
from latebin.core.parameters import read_query
from latebin.core.scenarios import MAX_BODY, MAX_LENGTH, Given, Scenario
from latebin.core.settings import Settings
from latebin.site.resources import AnswerResource
from latebin.site.state_control import StateControl
from latebin.timing.budget import TurnBudget
from latebin.timing.piecewise import SharedResult

MOST: Final = 2 * MAX_BODY + MAX_LENGTH
"""Bytes of the largest body: a scenario with the body that it brings, which JSON may escape."""

MANY_WORKERS: Final = Problem(
    409,
    "A change would reach one worker alone.",
    parameter="workers",
    accepted="--workers 1, or --state; scenarios given at the start work in all workers",
)

DEEPEST: Final = 3
"""Segments of a path that are looked at: one more than any path here has."""

_MEDIA: Final = Problem(
    415,
    "Invalid type of a scenario.",
    parameter="Content-Type",
    accepted="text/plain for a query string, or application/json for an object",
)


class ControlResource(AnswerResource):
    """Every path below `/control`, for the requests that its gate lets in.

    Args:
        scenarios: the scenarios, which can be changed here.
        state: keys, gates and pending answers.
        settings: the limits, and the number of workers.
        gate: decides which requests may pass.
        budget: the budget of each turn, which a list can exceed.
    """

    # A resource for each segment would take hundreds of milliseconds for a path of 16 kB.
    isLeaf = True

    def __init__(
        self, scenarios: Scenarios, state: StateControl, settings: Settings, gate: Gate, budget: TurnBudget
    ) -> None:
        super().__init__()
        self._state = state
        self._scenarios = scenarios
        self._settings = settings
        self._gate = gate
        self._budget = budget
        self._list = SharedResult(budget, self._listing)

    def answer(self, request: ServedRequest) -> Reply | Deferred[Reply]:
        self._let_in(request)
        path = tuple(segment.decode("utf-8", "backslashreplace") for segment in request.postpath[:DEEPEST])
        match path:
            case ("scenarios",) | ("scenarios", ""):
                if request.method not in {b"GET", b"HEAD"}:
                    return allow(request.method, ("GET", "HEAD"))
                self._refuse_query(request)
                return self._list.get()
            case ("scenarios", name):
                return self._one(request, name)
            case ("reset",):
                if request.method != b"POST":
                    return allow(request.method, ("POST",))
                self._refuse_query(request)
                reset = maybeDeferred(self._scenarios.reset)
                return reset.addCallback(lambda _: json_page({"scenarios": [each.name for each in self._scenarios]}))
            case _:
                return self._state.answer(path, request)

    def _let_in(self, request: ServedRequest) -> None:
        problem = self._gate.problem(
            host=_field(request, b"Host") or "",
            origin=_field(request, b"Origin"),
            fetch_site=_field(request, b"Sec-Fetch-Site"),
            authorization=_field(request, b"Authorization"),
            secure=request.isSecure(),
        )
        if problem is None and not self._settings.shares_state:
            problem = MANY_WORKERS
        if problem is not None:
            raise Refused(problem)

    def _one(self, request: ServedRequest, name: str) -> Reply | Deferred[Reply]:
        if request.method not in {b"DELETE", b"GET", b"HEAD", b"PUT"}:
            return allow(request.method, ("DELETE", "GET", "HEAD", "PUT"))
        self._refuse_query(request)
        condition = Condition(_field(request, b"If-Match"), _field(request, b"If-None-Match"))
        if request.method in {b"GET", b"HEAD"}:
            found = self._scenarios.find(name)
            return self._shown(found) if condition.allows(found) else Reply(304, (_etag(found),))
        if request.method == b"PUT":
            return maybeDeferred(self._scenarios.put, name, _given(request), condition).addCallback(self._shown)
        return maybeDeferred(self._scenarios.delete, name, condition).addCallback(partial(self._deleted, name))

    def _refuse_query(self, request: ServedRequest) -> None:
        """Refuse a query: the parameters of a scenario are in the body."""
        read_query(request.uri.partition(b"?")[2], (), self._settings)

    def _deleted(self, name: str, first: Scenario | None) -> Reply | Deferred[Reply]:
        return json_page({"name": name, "deleted": True}) if first is None else self._shown(first)

    def _shown(self, scenario: Scenario) -> Deferred[Reply]:
        return SharedResult(self._budget, partial(self._showing, scenario)).get()

    def _showing(self, scenario: Scenario) -> Generator[None, None, Reply]:
        return json_page((yield from scenario.describing(self._settings)), _etag(scenario))

    def _listing(self) -> Generator[None, None, Reply]:
        found = []
        # Scenarios can change meanwhile.
        for each in list(self._scenarios):
            found.append(json.dumps((yield from each.describing(self._settings))))
            yield
        return page(b"application/json", f'{{"scenarios": [{", ".join(found)}]}}\n'.encode("ascii"))


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
            return _object(strict_json.parse(body))
        # curl's -d says that it sends a form, and a query string is one.
        if kind in {b"text/plain", b"application/x-www-form-urlencoded"}:
            return str(body, "utf-8").strip()
    except (ValueError, RecursionError) as error:
        accepted = "a query string such as delay=50ms in UTF-8, or a JSON object whose names are the parameters"
        raise Refused(Problem(400, f"Invalid body: {error}.", parameter="body", accepted=accepted)) from None
    raise Refused(_MEDIA)


def _etag(scenario: Scenario) -> tuple[bytes, bytes]:
    return b"ETag", etag_of(scenario).encode("ascii")


def _field(request: ServedRequest, name: bytes) -> str | None:
    """Return the value of a header, with all of its lines."""
    values = request.requestHeaders.getRawHeaders(name)
    return None if values is None else b", ".join(values).decode("latin-1")


def _object(value: object) -> Given:
    if not isinstance(value, dict):
        raise ValueError("expected an object whose names are the parameters")  # noqa: TRY004  # it is wrong input
    return value
