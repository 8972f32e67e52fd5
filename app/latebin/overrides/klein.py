"""Klein's resource, without the garbage that Klein's own leaves behind.

Overrides `klein._resource.KleinResource` of Klein 24.8, checked with Werkzeug 3.1. Klein's `render` handles failures
with a function that refers to itself through its own closure (klein#101). That is a cycle of about 42 objects and 6 kB
for each request, which only the cyclic collector frees. Here the same steps are the methods of an object that nothing
refers to once the request is finished. It could be sent there without `_Route`, which also remembers matches.

The result is Klein's: the values that a route may return, the error handlers and their order, and the defaults behind
them. So are the log, and the mapper for `url_for`. One thing differs: a method is taken as it is written (RFC 9110,
section 9.1), where Werkzeug takes `get` for GET.
"""

from http import HTTPStatus
from typing import Any, Final

from klein import Klein, Response
from klein._app import ErrorMethods
from klein._resource import KleinResource, StandInResource, URLDecodeError, extractURLparts, route_metadata
from klein.interfaces import IKleinRequest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRenderable, IRequest
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.template import renderElement
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from latebin.overrides.request import Request

log = Logger()

MAX_ROUTES: Final = 1024
"""How many URLs are remembered with what they lead to; before one more, all are forgotten."""


class _Route:
    """The route of one method and URL, or the error of the search for it.

    Werkzeug's matching leaves a cycle as well (`StateMachineMatcher.match`), and takes a third of the time of a
    rendering: it is done once, whether it finds a route or raises.
    """

    __slots__ = ("_error", "_found", "mapper")

    def __init__(self, mapper: MapAdapter) -> None:
        self.mapper = mapper
        self._found: tuple[str, dict[str, Any]] | None = None
        self._error: HTTPException | None = None

    def match(self) -> tuple[str, dict[str, Any]]:
        """Give the name of the route and what the path says, by name.

        Raises:
            HTTPException: Werkzeug's, where there is no such route; a new one each time, for it gathers a traceback.
        """
        if self._found is None:
            self._found = self._search()
        return self._found

    def _search(self) -> tuple[str, dict[str, Any]]:
        if self._error is None:
            try:
                rule, arguments = self.mapper.match(return_rule=True)
            except HTTPException as error:
                self._error = _copied(error)
            else:
                return rule.endpoint, dict(arguments)
        raise _copied(self._error)


def _copied(error: HTTPException) -> HTTPException:
    """Copy an exception without its traceback.

    `copy.copy` calls the class with `args`, which Werkzeug leaves empty, and a RequestRedirect needs its URL.
    """
    copied = type(error).__new__(type(error), *error.args)
    vars(copied).update(vars(error))
    return copied


class TidyKleinResource(KleinResource):
    """Renders requests by a Klein application, and leaves nothing behind."""

    def __init__(self, app: Klein) -> None:
        super().__init__(app)
        self._routes: dict[tuple[object, ...], _Route] = {}

    def render(self, request: IRequest) -> Any:
        """Answer with what the request's route returns."""
        received: Any = request
        try:
            route = self._route(received)
        except URLDecodeError as error:
            return _undecodable(received, error)
        IKleinRequest(request).mapper = route.mapper
        _Rendering(self._app, received).start(route)
        return NOT_DONE_YET

    def _route(self, request: Request) -> _Route:
        address: Any = request.getHost()
        # An address itself takes longer to be looked up than all the rest.
        here = getattr(address, "host", None), getattr(address, "port", None), request.isSecure()
        key = (request.method, request.getHeader(b"Host"), *here, *request.prepath, None, *request.postpath)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) == MAX_ROUTES:
                self._routes.clear()
            route = self._routes[key] = _Route(self._mapper(request))
        return route

    def _mapper(self, request: Request) -> MapAdapter:
        scheme, name, _, path, script = extractURLparts(request)
        method = request.method.decode("utf-8")
        # Werkzeug looks for it in capital letters: those that it does not have are to make no difference.
        if not method.isupper():
            method += " has no route"
        return self._app.url_map.bind(name, script, path_info=path, default_method=method, url_scheme=scheme)


def _undecodable(request: Request, error: URLDecodeError) -> bytes:
    for part, failure in error.errors:
        log.failure("invalid encoding in {part}", failure, part=part)
    request.setResponseCode(HTTPStatus.BAD_REQUEST)
    return b"Non-UTF-8 encoding in URL."


class _Rendering:
    """One request on its way through a Klein application."""

    __slots__ = ("_app", "_deferred", "_finished", "_request")

    def __init__(self, app: Klein, request: Request) -> None:
        self._app = app
        self._request = request
        self._finished = False
        self._deferred: Deferred[Any] | None = None

    def start(self, route: _Route) -> None:
        self._request.notifyFinish().addCallbacks(self._finish, self._leave)
        self._deferred = maybeDeferred(self._execute, route)
        self._deferred.addBoth(self._conclude, self._deferred)

    def _finish(self, _: object) -> None:
        self._finished = True

    def _leave(self, _: object) -> None:
        self._finished = True
        # None while the route is being called: a disconnect then comes in a later turn of the reactor.
        if self._deferred is not None:
            self._deferred.cancel()

    def _execute(self, route: _Route) -> Any:
        endpoint, arguments = route.match()
        request = self._request
        taken = route_metadata(self._app.endpoints[endpoint]).segment_count
        request.prepath.extend(request.postpath[:taken])
        request.postpath = request.postpath[taken:]
        return self._app.execute_endpoint(endpoint, request, **arguments)

    def _conclude(self, result: Any, deferred: Deferred[Any]) -> Any:
        """Add the handlers of a result once there is one.

        Added before, they would take 1 kB while the result is awaited.
        """
        deferred.addCallback(self._process)
        deferred.addErrback(self._failed, self._app._error_handlers)
        deferred.addCallback(self._write)
        deferred.addErrback(_unwritten)
        return result

    def _process(self, result: Any) -> Any:
        """Render what can be rendered; it finishes the request by itself."""
        if isinstance(result, bytes):
            return result
        if isinstance(result, Response):
            result = result._applyToRequest(self._request)
        if IResource.providedBy(result):
            self._request.render(getChildForRequest(result, self._request))
            return StandInResource
        if IRenderable.providedBy(result):
            renderElement(self._request, result)
            return StandInResource
        return result

    def _failed(self, failure: Failure, handlers: ErrorMethods) -> Any:
        """Call the first error handler for this failure; its own failure goes to the next."""
        if self._finished:
            if not failure.check(CancelledError):
                log.failure("failed after the request was finished", failure)
            return None
        for place, (types, handle) in enumerate(handlers, start=1):
            if failure.check(*types):
                handled = maybeDeferred(self._app.execute_error_handler, handle, self._request, failure)
                return handled.addCallback(self._process).addErrback(self._failed, handlers[place:])
        return self._unhandled(failure)

    def _unhandled(self, failure: Failure) -> bytes | None:
        """Answer what Werkzeug raised as Werkzeug would, and anything else as Twisted would."""
        error = failure.value
        if not isinstance(error, HTTPException):
            self._request.processingFailed(failure)
            return None
        response = error.get_response({})
        self._request.setResponseCode(response.status_code)
        for name, value in response.headers:
            self._request.setHeader(name.encode("utf-8"), value.encode("utf-8"))
        return response.get_data()

    def _write(self, result: Any) -> None:
        if result is StandInResource:
            return
        if isinstance(result, str):
            result = result.encode("utf-8")
        if isinstance(result, bytes):
            self._request.write(result)
        if not self._finished:
            self._request.finish()


def _unwritten(failure: Failure) -> None:
    log.failure("failed to write the response", failure)
