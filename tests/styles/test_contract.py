import io
import re
from http.client import HTTPResponse

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs

from latebin.compare.contract import CASES, CONVERSATIONS, MEASURED, Case, Conversation, comparable
from latebin.compare.control import OPERATED, SHOP
from latebin.core.endpoints import PREFIXES
from latebin.core.faults import KINDS
from latebin.core.parameters import DELAYED, PREDICT
from latebin.core.settings import STACKS, Settings
from tests.support.wire import House, Wire, make_house

ids = [case.name for case in CASES]


@pytest.fixture
def stack(every_stack: str) -> str:
    return every_stack


@pytest.fixture
def house(request: pytest.FixtureRequest, stack: str, house: House) -> House:
    """Skip a case or a conversation that the stack does not promise, and show why."""
    given = request.node.callspec.params
    subject = given.get("case") or given.get("conversation")
    if stack == "stock" and subject is not None and subject.needs_tuned:
        pytest.skip(subject.needs_tuned)
    return house


def exchange(house: House, case: Case, style: str) -> bytes:
    """Send a case to a style, let its time pass, and return the answer's bytes."""
    wire = house.wire()
    wire.send(case.request(style))
    house.clock.advance(case.wait)
    house.clock.advance(case.over)
    return wire.received


def parsed(answer: bytes, method: str) -> HTTPResponse:
    class Socket:
        def makefile(self, mode: str) -> io.BytesIO:
            return io.BytesIO(answer)

    response = HTTPResponse(Socket(), method=method)  # type: ignore[arg-type]  # all that it asks of a socket
    response.begin()
    return response


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_answer(house: House, case: Case) -> None:
    """A case is answered as promised when its wait is over, and not before."""
    for style in PREFIXES:
        check_answer(house, case, style)


def check_answer(house: House, case: Case, style: str) -> None:
    wire = house.wire()
    wire.send(case.request(style))
    if case.wait:
        house.clock.advance(case.wait * 0.999)
        assert wire.received in (b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    house.clock.advance(case.wait * 0.001 + 1e-9)
    assert wire.received
    house.clock.advance(case.over)
    response = parsed(wire.received, case.method)
    assert response.status == case.status
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    if case.late:
        check_truth(response, case, style)
    elif case.status >= 400:
        check_problem(response, case)


def check_truth(response: HTTPResponse, case: Case, style: str) -> None:
    """Check that an answer has the asked and the measured time, and the promised body."""
    milliseconds = f"{case.wait * 1000:.3f}"
    assert response.getheader("Server-Timing") == f"delay;dur={milliseconds}, asked;dur={milliseconds}"
    body = case.answer(style)
    assert response.getheader("Content-Type") == case.content_type
    assert response.getheader("Content-Length") == str(len(body))
    assert response.read() == (b"" if case.method == "HEAD" else body)


def check_problem(response: HTTPResponse, case: Case) -> None:
    """Check that a refusal is problem+json, which no browser shows as markup."""
    assert response.getheader("Content-Type") == "application/problem+json"
    if case.status == 405:
        assert response.getheader("Allow") == case.allow


def converse(house: House, conversation: Conversation, style: str) -> Wire:
    """Have a conversation with a style, and let each of its requests have its time."""
    wire = house.wire()
    for data, cases in conversation.batches(style):
        wire.send(data)
        if conversation.leaves == "at once":
            wire.leave()
        for case in cases:
            house.clock.advance(case.wait)
            house.clock.advance(case.over)
    if conversation.leaves == "after the headers":
        assert b"\r\n\r\n" in wire.received
        wire.leave()
    return wire


def held(house: House, conversation: Conversation) -> bytes:
    """Have a conversation with both styles; return their bytes, which are the same."""
    received = []
    for style in PREFIXES:
        wire = converse(house, conversation, style)
        received.append((comparable(wire.received, style), wire.connected))
        assert statuses(wire) == conversation.statuses, style
        assert (wire.connected and answers_more(wire, style)) == conversation.stays, style
        if wire.connected:
            wire.leave()
    assert received[0] == received[1]
    return received[0][0]


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)
def test_conversation(house: House, conversation: Conversation) -> None:
    """Both styles send the same promised answers when they have a conversation."""
    held(house, conversation)


OPERATED_CONVERSATIONS = [(each.settings, conversation) for each in OPERATED for conversation in each.conversations]


@pytest.mark.parametrize(
    ("chosen", "conversation"), OPERATED_CONVERSATIONS, ids=[each.name for _, each in OPERATED_CONVERSATIONS]
)
def test_conversation_with_an_operator(stack: str, chosen: Settings, conversation: Conversation) -> None:
    """Both styles send the same promised answers when the operator has made a choice."""
    received = held(make_house(stack, chosen), conversation)
    origins = [[line for line in case.headers if line.startswith("Origin: ")] for case in conversation.cases]
    readable = [
        case
        for case, origin in zip(conversation.cases, origins, strict=True)
        if origin == [f"Origin: {SHOP}"] and "/control" not in case.target
    ]
    for name in (b"Access-Control-Allow-Origin", b"Timing-Allow-Origin", b"Access-Control-Expose-Headers"):
        assert len(re.findall(rb"^%s: " % name, received, re.MULTILINE)) == len(readable)
    if chosen.proxy_headers:
        # Each refusal names each setting that would allow the request.
        assert received.count(b"--control-token-file or LATEBIN_CONTROL_TOKEN") == received.count(b"HTTP/1.1 403")


def statuses(wire: Wire) -> tuple[int, ...]:
    return tuple(map(int, re.findall(rb"HTTP/1\.[01] ([2-9][0-9]{2}) ", wire.received)))


@pytest.mark.parametrize("name", [each.name for each in CONVERSATIONS if each.needs_tuned])
def test_needs_tuned(every_stack: str, name: str) -> None:
    """A conversation is marked when only the stock stack breaks its promise."""
    [conversation] = [each for each in CONVERSATIONS if each.name == name]
    given = []
    for style in PREFIXES:
        wire = converse(make_house(every_stack), attrs.evolve(conversation, leaves=None), style)
        answered = statuses(wire)
        # The end of a conversation that its client leaves is the client's.
        stays = conversation.stays if conversation.leaves else wire.connected and answers_more(wire, style)
        given.append((answered, stays))
        if wire.connected:
            wire.leave()
    assert (given == [(conversation.statuses, conversation.stays)] * 2) == (every_stack == "tuned")


def answers_more(wire: Wire, style: str) -> bool:
    before = len(wire.received)
    wire.send(Case("", "/delayed", method="OPTIONS").request(style))
    return b"HTTP/1.1 204 " in wire.received[before:]


def test_every_name_is_another() -> None:
    """A conversation is known by its name wherever it is reported."""
    names = [conversation.name for conversation in CONVERSATIONS]
    names += [conversation.name for _, conversation in OPERATED_CONVERSATIONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("path", "parameter"),
    [("/delayed", parameter.name) for parameter in DELAYED] + [("/predict", parameter.name) for parameter in PREDICT],
)
def test_every_parameter(path: str, parameter: str) -> None:
    """Each parameter is in a request that is answered, and in one that is refused."""
    cases = {case for conversation in CONVERSATIONS for case in conversation.cases}
    asked = [case for case in cases if re.match(rf"{path}\?(.*&)?{parameter}=", case.target)]
    assert {case.status == 400 for case in asked} == {True, False}


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault(kind: str) -> None:
    """Each fault happens on a new connection, and on one that was kept."""
    faulty = [conversation for conversation in CONVERSATIONS if conversation.name.startswith(f"fault={kind}")]
    assert [len(conversation.cases) for conversation in faulty] == [1, 2]


def test_an_own_url_may_differ() -> None:
    """The prefix of a style in a URL is not a difference, nor its length."""
    klein = b'HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 26\r\n\r\n"http://localhost/delay/1"\n'
    resource = b'HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 30\r\n\r\n"http://localhost/raw/delay/1"\n'
    assert comparable(klein, "klein") == comparable(resource, "resource")
    assert comparable(klein, "klein") != comparable(resource.replace(b"30", b"29"), "resource")


def test_leaving(house: House, style: str) -> None:
    """A client that leaves takes its timer and its place along, without an error logged."""
    wire, service = house.wire(), house.service(style)
    with capturedLogs() as events:
        wire.send(Case("", "/delayed").request(style))
        assert len(service.pending) == 1
        wire.leave()
    assert len(service.pending) == 0
    assert house.clock.getDelayedCalls() == []
    assert wire.received == b""
    assert [event["status"] for event in events if event["log_namespace"] == "latebin.access"] == ["left"]
    assert not [event for event in events if event["log_level"] >= LogLevel.warn]


def test_leaving_in_the_middle_of_a_request(house: House, style: str) -> None:
    """A client that leaves before its request is whole is not in the log."""
    with capturedLogs() as events:
        wire = house.wire()
        wire.send(Case("", "/delayed").request(style)[:-2])
        wire.leave()
    assert events == []


def test_pipelining(house: House, style: str) -> None:
    """A second request is answered after the first when it asks for less."""
    wire = house.wire()
    wire.send(Case("", "/delayed/2s").request(style) + Case("", "/delayed/1s").request(style))
    house.clock.advance(1.5)
    assert wire.received == b""
    house.clock.advance(0.5)
    assert wire.received.count(b"HTTP/1.1 200 OK") == 1
    house.clock.advance(1)
    assert [m.decode() for m in re.findall(rb"asked;dur=([0-9.]+)", wire.received)] == ["2000.000", "1000.000"]


def test_keeping_the_connection(house: House, style: str) -> None:
    """A refusal and an answer follow one another on one connection."""
    wire = house.wire()
    wire.send(Case("", "/delayed/soon").request(style))
    wire.send(Case("", "/delayed/0").request(style))
    house.clock.advance(0)
    assert re.findall(rb"HTTP/1.1 (\d+)", wire.received) == [b"400", b"200"]


def test_failure_of_the_service(house: House, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen failure is a plain 500, and a traceback in the log."""

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("latebin.answers.service.deliver", fails)
    with capturedLogs() as events:
        answer = exchange(house, Case("", "/delayed/1s", wait=1.0), style)
    assert parsed(answer, "GET").status == 500
    assert b"unforeseen" not in answer
    assert [event["log_failure"].type for event in events if "log_failure" in event] == [ZeroDivisionError]


def test_failure_in_the_middle_of_an_answer(house: House, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure resets the connection, and adds no bytes, when the answer has begun."""

    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("latebin.answers.service.deliver", fails)
    wire = house.wire()
    with capturedLogs() as events:
        wire.send(Case("", "/delayed?delay=1s&at=body").request(style))
        begun = wire.received
        house.clock.advance(1)
    assert begun
    assert wire.received == begun
    assert not wire.connected
    assert [event["log_failure"].type for event in events if "log_failure" in event] == [ZeroDivisionError]


HOUSES = [make_house(stack) for stack in STACKS]

segments = st.binary(max_size=12).map(lambda raw: "".join(f"%{byte:02x}" for byte in raw)) | st.text(
    "/.;|~%+-_<>&=?sm1", max_size=12
)


@given(target=segments)
@example(target="/1s%0a")
@example(target="/..")
@example(target="|1s")
@example(target="/|")
@example(target="%2f1s")
@settings(max_examples=80)
def test_same_bytes_wherever(target: str) -> None:
    """Both styles answer alike, for any text after /delayed."""
    # One test for both stacks: pytest-twisted runs no test of hypothesis that is parametrized.
    for house in HOUSES:
        answers = []
        for style in PREFIXES:
            wire = house.wire()
            wire.send(Case("", f"/delayed{target}").request(style))
            house.clock.advance(600)
            answers.append(MEASURED.sub(b"", wire.received))
        assert answers[0]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "host", ["", "localhost", "localhost:8080", "[::1]:8080", "127.0.0.1", "a_b", "xn--bcher-kva.example", "example."]
)
def test_host(house: House, style: str, host: str) -> None:
    """Any host by which the service may be known is served."""
    assert status_with_host(house.wire(), style, f"Host: {host}\r\n") == b"204"


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "\xfc", "a b", "<b>", "a\r\nHost: b", "[::1", ".", "-\x00-"])
def test_bad_host(house: House, style: str, host: str) -> None:
    """A Host that is malformed or comes twice is refused alike by both styles.

    Only Klein's router would look at it.
    """
    assert status_with_host(house.wire(), style, f"Host: {host}\r\n") == b"400"


def status_with_host(wire: Wire, style: str, line: str) -> bytes:
    wire.send(f"OPTIONS {PREFIXES[style]}/delayed HTTP/1.1\r\n{line}\r\n".encode("latin-1"))
    return wire.received.split(b" ")[1]
