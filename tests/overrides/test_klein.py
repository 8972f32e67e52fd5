import gc
import re
from typing import Any

import pytest
from klein import Klein, Response
from klein.interfaces import IKleinRequest
from klein.resource import KleinResource
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.template import Tag, tags
from werkzeug.exceptions import NotFound

from latebin.overrides.klein import MAX_ROUTES, TidyKleinResource


class Other(Exception):
    """An exception without an error handler."""


class Child(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"resource " + b"/".join(request.postpath)


class Application:
    """Every kind of route that Klein has."""

    router = Klein()

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []

    @router.route("/bytes")
    def bytes_(self, request: Any) -> bytes:
        return b"bytes"

    @router.route("/text")
    def text(self, request: Any) -> str:
        return "t\xebxt"

    @router.route("/none")
    def none(self, request: Any) -> None:
        return None

    @router.route("/later")
    def later(self, request: Any) -> Deferred[bytes]:
        return succeed(b"later")

    @router.route("/waits")
    def waits(self, request: Any) -> Deferred[bytes]:
        self.waiting.append(Deferred())
        return self.waiting[-1]

    @router.route("/resource/", branch=True)
    def resource(self, request: Any) -> Resource:
        return Child()

    @router.route("/element")
    def element(self, request: Any) -> Tag:
        return tags.p("element")

    @router.route("/response")
    def response(self, request: Any) -> Any:
        return Response(418, {"X-Kind": "pot"}, b"response")

    @router.route("/of/<int:number>")
    def number(self, request: Any, number: int) -> str:
        return IKleinRequest(request).url_for("number", {"number": number + 1})

    @router.route("/value-error")
    def value_error(self, request: Any) -> Deferred[bytes]:
        return fail(ValueError("handled"))

    @router.route("/key-error")
    def key_error(self, request: Any) -> bytes:
        raise KeyError("handled by what fails itself")

    @router.route("/other")
    def other(self, request: Any) -> bytes:
        raise Other

    @router.route("/not-found")
    def not_found(self, request: Any) -> bytes:
        raise NotFound

    @router.route("/slash/")
    def slash(self, request: Any) -> bytes:
        return b"slash"

    @router.route("/moved", redirect_to="/slash/")
    def moved(self, request: Any) -> bytes:
        raise Other

    @router.route("/post", methods=["POST"])
    def post(self, request: Any) -> bytes:
        return b"posted"

    @router.handle_errors(ValueError)
    def handle_value_error(self, request: Any, failure: Failure) -> str:
        return f"handled {failure.getErrorMessage()}"

    @router.handle_errors(KeyError)
    def handle_key_error(self, request: Any, failure: Failure) -> str:
        raise LookupError("and again")

    @router.handle_errors(LookupError)
    def handle_lookup_error(self, request: Any, failure: Failure) -> str:
        return f"handled {failure.getErrorMessage()}"


class Connection(StringTransport):
    def __init__(self, resource: Resource) -> None:
        super().__init__(IPv4Address("TCP", "127.0.0.1", 8080), IPv4Address("TCP", "127.0.0.1", 50000))
        self.protocol: Any = Site(resource, reactor=Clock()).buildProtocol(self.peerAddr)
        self.protocol.makeConnection(self)

    def get(self, path: str, method: str = "GET") -> bytes:
        self.protocol.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
        return re.sub(rb"Date: .*\r\n", b"", bytes(self.value()))


PATHS = (
    "/bytes",
    "/text",
    "/none",
    "/later",
    "/resource/a/b",
    "/element",
    "/response",
    "/of/7",
    "/of/seven",
    "/value-error",
    "/key-error",
    "/other",
    "/not-found",
    "/nothing",
    "/slash",
    "/slash?a=b",
    "/moved",
    "//slash",
    "/post",
    "/\xe9",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_same_as_klein(path: str, method: str) -> None:
    """An answer is that of Klein's own resource, for any route, also when repeated."""
    with capturedLogs():
        theirs, ours = (Connection(kind(Application().router)) for kind in (KleinResource, TidyKleinResource))
        for _ in range(2):
            assert ours.get(path, method) == theirs.get(path, method) != b""


def test_redirect() -> None:
    """A path without a slash is answered 308 when its route ends in one."""
    connection = Connection(TidyKleinResource(Application().router))
    connection.get("/slash")
    assert connection.get("/slash").count(b"HTTP/1.1 308 Permanent Redirect\r\n") == 2


def test_leaving() -> None:
    """A client that leaves cancels what its route waits for, and nothing is logged."""
    application = Application()
    connection = Connection(TidyKleinResource(application.router))
    with capturedLogs() as events:
        connection.get("/waits")
        connection.protocol.connectionLost(Failure(ConnectionDone()))
    assert application.waiting[0].called
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


def test_failing_after_the_client_has_left() -> None:
    """A route that fails when its client has left is logged, and not answered."""

    class Stubborn:
        router = Klein()

        @router.route("/")
        def root(self, request: Any) -> Deferred[bytes]:
            return Deferred(lambda d: d.errback(Other()))

    connection = Connection(TidyKleinResource(Stubborn().router))
    with capturedLogs() as events:
        connection.get("/")
        connection.protocol.connectionLost(Failure(ConnectionDone()))
    assert [event["log_failure"].type for event in events if "log_failure" in event] == [Other]


def test_remembers_no_more_than_it_may() -> None:
    """However many URLs are asked for, only so many are remembered."""
    resource = TidyKleinResource(Application().router)
    connection = Connection(resource)
    for number in range(MAX_ROUTES + 10):
        connection.get(f"/of/{number}")
    assert len(resource._routes) == 10


@pytest.mark.parametrize("path", ["/bytes", "/of/7", "/value-error", "/nothing", "/slash", "/post"])
def test_leaves_no_garbage(path: str) -> None:
    """An answer leaves nothing for the cyclic collector, be it a refusal."""
    connection = Connection(TidyKleinResource(Application().router))
    connection.get(path)
    gc.disable()
    # The collector looks at nothing that exists, garbage included. It stays so: pytest holds a million objects.
    gc.freeze()
    try:
        for _ in range(100):
            connection.get(path)
        assert gc.collect() < 10
    finally:
        gc.enable()
