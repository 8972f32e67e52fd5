import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from latebin.compare.contract import CONVERSATIONS, Case, Conversation
from latebin.compare.parity import (
    CLOSED,
    RESET,
    SILENT,
    Address,
    Exchange,
    address,
    compare,
    converse,
    stack_of,
    transcript,
)
from latebin.testing.process import serving
from tests.support import doctored_service

QUICK = [conversation for conversation in CONVERSATIONS if conversation.wait < 0.2]

BY_NAME = {conversation.name: conversation for conversation in CONVERSATIONS}


@pytest.fixture(scope="module")
def service() -> Iterator[Address]:
    with serving() as service:
        yield address(service.url)


@pytest.fixture(scope="module")
def doctored() -> Iterator[Address]:
    with serving(program=(doctored_service.__file__,)) as service:
        yield address(service.url)


def test_no_difference(service: Address) -> None:
    """The service has the same answers in both styles over real sockets."""
    steps: list[None] = []
    parity = compare(service, CONVERSATIONS, longest=1.0, progress=lambda: steps.append(None))
    assert parity.differences == ()
    assert (stack_of(service), parity.skipped) == ("tuned", {})
    assert len(steps) == 2 * len(parity.held)
    assert {*parity.held, *parity.left_out} == {conversation.name for conversation in CONVERSATIONS}
    assert parity.left_out == tuple(conversation.name for conversation in CONVERSATIONS if conversation.wait > 1)


def test_stock() -> None:
    """Conversations that need the tuned stack are skipped when the stock one runs."""
    with serving("--stack", "stock") as service:
        where = address(service.url)
        assert stack_of(where) == "stock"
        parity = compare(where, QUICK, stack="stock")
    assert parity.differences == ()
    needing = {conversation.name: conversation.needs_tuned for conversation in QUICK if conversation.needs_tuned}
    assert parity.skipped == needing != {}
    assert not needing.keys() & set(parity.held)


@pytest.mark.parametrize("answer", [b"{}", b'{"info": {"x-latebin-stack": "\\u0000"}}', b"[1]", b"\xff", b"nothing"])
def test_stack_of_another_service(answer: bytes) -> None:
    """A service counts as tuned when it does not describe its stack."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def send_answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + answer)

        sent = thread.submit(send_answer)
        assert stack_of(listener.getsockname()) == "tuned"
        sent.result()


def test_differences(doctored: Address) -> None:
    """A conversation is a difference, with both answers, when its answers differ, and only then."""
    parity = compare(doctored, QUICK)
    refused = {conversation.name for conversation in QUICK for case in conversation.cases if case.status in {400, 404}}
    # A path that a router could read in two ways is refused before it reaches a style.
    refused -= {"an encoded slash in a delay", "a path that is not UTF-8"}
    refused -= {"an encoded slash in an upstream name", "an upstream name that is not UTF-8"}
    # Nor does this body: its request is refused while it comes.
    refused -= {"a body that would take too long at its rate"}
    refused |= {"HTTP/1.1: a URL of an unknown path", "HTTP/1.1: two slashes in /delay"}
    assert {difference.name for difference in parity.differences} == refused
    [diff] = [difference.diff for difference in parity.differences if difference.name == "an unknown path"]
    assert diff[:2] == ("--- klein", "+++ resource")
    assert "-Cache-Control: no-store\\r\\n" in diff
    assert "+Cache-Control: no-store\\r\\n" in diff


def test_a_contract_that_both_styles_break(service: Address) -> None:
    """A conversation is a difference when both styles give another status than the contract."""
    teapot = Conversation("a teapot", (Case("", "/delayed/soon", 418),))
    [difference] = compare(service, [teapot]).differences
    assert difference.diff[:2] == ("--- contract", "+++ both styles")
    assert "-418 204" in difference.diff
    assert "+400 204" in difference.diff


@pytest.mark.parametrize(
    ("name", "ended"),
    [("fault=reset", RESET), ("fault=close", CLOSED), ("a client that leaves", CLOSED), ("a delay of 0", CLOSED)],
)
def test_end_of_the_connection(service: Address, style: str, name: str, ended: str) -> None:
    """An exchange ends as RESET when the connection was reset, and otherwise as CLOSED."""
    assert converse(service, BY_NAME[name], style, 30).ended == ended


def test_silence(service: Address, style: str) -> None:
    """An exchange ends as SILENT when the service sends nothing for too long."""
    forever = Conversation("forever", (Case("", "/delayed/10m"),))
    assert converse(service, forever, style, 0.05) == Exchange(b"", SILENT)


def test_a_peer_without_http() -> None:
    """An exchange has the bytes of the peer when these are not HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def send_banner() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0\r\n")
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

        sent = thread.submit(send_banner)
        exchange = converse(listener.getsockname(), BY_NAME["three requests on one connection"], "klein", 30)
        sent.result()
    assert exchange.received == b"SSH-2.0\r\n"


def test_transcript() -> None:
    """A transcript is printable ASCII, in lines of a bounded length, for any bytes."""
    exchange = Exchange(b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n\x00<b>" + b"x" * 200, CLOSED)
    lines = transcript(exchange, "klein")
    assert lines[:2] == ("HTTP/1.1 200 OK\\r\\n", "\\r\\n")
    assert lines[2].startswith("\\x00<b>xxx")
    assert len(lines) == 5
    assert lines[-1] == "(closed)"
    assert transcript(attrs.evolve(exchange, ended=RESET), "klein")[-1] == "(reset)"
