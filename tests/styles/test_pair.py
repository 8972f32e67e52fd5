from importlib.resources import files
from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from latebin.answers.service import Service
from latebin.answers.upstream_connection import Listener, Question
from latebin.compare import source
from latebin.core.http.upstream_response import Head
from latebin.core.settings import Settings
from latebin.styles.klein import DelayedKlein
from latebin.styles.resource import tree
from tests.support.silent import Silent

STYLES = files("latebin.styles")


def root(style: str, service: Service) -> IResource:
    if style == "klein":
        return DelayedKlein(service).router.resource()
    return tree(service)


def outcome(d: Deferred[Any]) -> list[Any]:
    results: list[Any] = []
    d.addBoth(results.append)
    return results


@pytest.fixture
def service() -> Service:
    return Service(Clock(), Settings())


@pytest.fixture
def http(style: str, service: Service) -> Any:
    """A real client against one style under Twisted's own Site, in memory.

    Its methods are set when it is made, so its type does not have them.
    """
    return StubTreq(root(style, service))


@pytest.mark.parametrize("method", ["DELETE", "GET", "PATCH", "POST", "PUT"])
def test_answer(http: Any, service: Service, method: str) -> None:
    """A style needs nothing except Twisted's Site to answer late, with any body."""
    form = {"delay": "1s"} if method == "POST" else None
    response = outcome(http.request(method, "http://localhost/delayed", data=form))
    service.clock.advance(4.999)  # type: ignore[attr-defined]  # the fixture's clock is a Clock
    http.flush()
    assert response == []
    service.clock.advance(0.001)  # type: ignore[attr-defined]
    http.flush()
    assert response[0].code == 200
    assert outcome(http.content(response[0])) == [b"<html><body>Sorry to keep you waiting.</body></html>"]


def test_refusal(http: Any) -> None:
    """A refusal comes at once, and a client library reads it as JSON."""
    response = outcome(http.get("http://localhost/delayed/soon"))
    assert response[0].code == 400
    assert outcome(http.json_content(response[0]))[0]["given"] == "soon"


def test_disconnect(http: Any, service: Service) -> None:
    """A client that gives up cancels the timer."""
    d = http.get("http://localhost/delayed")
    failure = outcome(d)
    assert len(service.pending) == 1
    d.cancel()
    http.flush()
    assert isinstance(failure[0], Failure)
    assert len(service.pending) == 0
    assert service.clock.getDelayedCalls() == []


class Echo(Silent):
    """An upstream that returns the request that it got."""

    def ask(self, question: Question, listener: Listener) -> Silent:
        def answer(_: object) -> None:
            body = b" ".join([question.method, question.path, sent.value()])
            listener.began(Head(1, 200, b"OK", ((b"Content-Length", b"%d" % len(body)),)))
            listener.came(body)
            listener.ended(())

        sent: Any = StringTransport()
        assert question.body is not None
        question.body.startProducing(sent).addCallback(answer)
        return self


def test_via(style: str) -> None:
    """A style needs nothing except Twisted's Site to pass a request on."""
    clock = Clock()
    service = Service(clock, Settings(upstreams={"up": "http://up"}), upstreams=Echo())
    http: Any = StubTreq(root(style, service))
    response = outcome(http.request("PUT", "http://localhost/via/up/a%2fb?c", data=b"sent"))
    clock.advance(5)
    clock.pump([0, 0])
    http.flush()
    assert response[0].code == 200
    assert outcome(http.content(response[0])) == [b"PUT /a%2fb?c sent"]


def definitions(module: str) -> list[str]:
    """List the definitions in the classes of a style file, in its order.

    The names do not depend on the style.
    """
    found = source.definitions((STYLES / f"{module}.py").read_text())
    return [each.common for each in found if "." in each.name]


def test_pair() -> None:
    """The two files have the same definitions in the same order.

    Only the raw file has more, for all that Klein does by itself.
    """
    klein, resource = definitions("klein"), definitions("resource")
    assert [name for name in resource if name in klein] == klein
    assert set(resource) - set(klein) == {"init", "get_child", "render", "send", "finish", "failed"}
