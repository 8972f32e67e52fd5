import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from twisted.logger import capturedLogs

from latebin.answers import service
from latebin.answers.form import reading
from latebin.answers.form_fields import MAX_PARTS, SLICE
from latebin.core.http.echo import LONG, Content, EchoedRequest, echoing
from latebin.core.http.reply import Refused
from latebin.core.settings import STACKS
from latebin.timing.piecewise import complete
from tests.overrides.test_channel_share import Line, make_line
from tests.support.turns import calls

URLENCODED = "application/x-www-form-urlencoded"

MULTIPART = "multipart/form-data; boundary=b"

PART = b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\nx\r\n'

FORMS = {
    "escapes": (URLENCODED, b"a=" + b"%ff" * 100_000),
    "fields": (URLENCODED, b"&".join(b"%d=%%e2%%82" % number for number in range(MAX_PARTS))),
    "parts": (MULTIPART, b"".join(PART % number for number in range(MAX_PARTS)) + b"--b--\r\n"),
    "file": (MULTIPART, PART[:-6] % 1 + b"\r\n-" * 100_000 + b"\r\n--b--\r\n"),
    "preamble": (MULTIPART, b"x\r\n" * 100_000 + PART % 1 + b"--b--\r\n"),
}
"""By name: a Content-Type, and a body that takes long to read."""


@pytest.fixture(params=STACKS)
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    line = make_line(str(request.param))
    yield line
    line.wire.leave()
    line.clock.turns()
    assert line.clock.getDelayedCalls() == []


def post(target: str, content_type: str, body: bytes) -> bytes:
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def steps(work: Generator[None, None, Any]) -> Iterator[int]:
    """Yield the calls of each piece of work."""
    ended = False

    def step() -> None:
        nonlocal ended
        ended = next(work, work) is work

    while not ended:
        yield calls(step)


@pytest.mark.parametrize("form", FORMS)
def test_pieces(form: str) -> None:
    """Every piece of work makes few calls when a form takes long to read."""
    content_type, body = FORMS[form]
    # The first form of a process imports what reads it.
    list(steps(reading(content_type, body)))
    made = list(steps(reading(content_type, body)))
    assert max(made) < 5000
    assert len(made) > 50


def test_refused_at_once() -> None:
    """A part with endless headers is refused before they are read."""
    with pytest.raises(Refused):
        list(reading(MULTIPART, PART[:-5] % 1 + b"X: y\r\n" * 50_000))


@pytest.mark.parametrize(
    "text", ["é" * SLICE, "%" * SLICE, "%c3%a9" * SLICE, "%C3" * SLICE + "\u00e9", "+%e2%82" * SLICE]
)
@pytest.mark.parametrize("shift", range(4))
def test_slices(text: str, shift: int) -> None:
    """A long field is the same as its parts when slices end anywhere in it."""
    long = list(steps_of(reading(URLENCODED, b"a=" + b"x" * shift + text.encode())))[-1]
    period = text[: len(text) // SLICE] if len(text) % SLICE == 0 else ""
    assert long.fields[0][1].startswith("x" * shift)
    if period and period != "%":
        once = list(steps_of(reading(URLENCODED, b"a=" + period.encode())))[-1].fields[0][1]
        assert long.fields[0][1] == "x" * shift + once * SLICE


def steps_of(work: Generator[None, None, Content]) -> Iterator[Content]:
    yield (yield from work)  # type: ignore[misc]  # the pieces before yield nothing


def test_long_texts() -> None:
    """Long texts and texts with NULs are written as any other text."""
    texts = ["\0" * (LONG + 1), "\0000\0", "0", '"\\u00000\\u0000"', "x" * (2 * LONG + 1), "\U0001f600" * LONG]
    fields = [(text[:9], text) for text in texts] + [("a", text) for text in texts]
    content = Content(b"\0001\0", fields)
    work = EchoedRequest(b"/", (), content, None, "a:1", secure=False)
    found = json.loads(complete(echoing(work)))
    assert found["data"] == "\0001\0"
    assert found["form"] == {**{text[:9]: text for text in texts}, "a": texts}
    assert max(steps(echoing(work))) < 2000


@pytest.mark.parametrize("form", FORMS)
def test_in_turns(line: Line, prefix: str, form: str) -> None:
    """A form is answered after several turns when it takes long to read."""
    line.wire.send(post(f"{prefix}/delay/0", *FORMS[form]))
    turns = []
    while not line.wire.received:
        turns.append(calls(line.clock.turn))
        assert len(turns) < 1000
    assert len(turns) > 2
    assert max(turns) < 80_000
    line.clock.turns()
    assert line.wire.received.startswith(b"HTTP/1.1 200 ")


def test_malformed(line: Line, prefix: str) -> None:
    """A form is refused before its delay when a later turn finds it malformed."""
    line.wire.send(post(f"{prefix}/delay/5", MULTIPART, FORMS["parts"][1][:-20]))
    line.clock.turns()
    assert line.wire.received.startswith(b"HTTP/1.1 400 ")
    assert line.clock.seconds() == 0


def test_client_that_leaves(line: Line, prefix: str) -> None:
    """No more is read of a form when its client leaves."""
    line.wire.send(post(f"{prefix}/delay/0", *FORMS["escapes"]))
    line.clock.turn()
    line.wire.leave()
    line.clock.turns(most=3)


def test_failure(line: Line, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure in a later turn is logged, and answered with 500."""

    def fails(_: object) -> Generator[None, None, bytes]:
        for _number in range(100):
            yield
        raise ZeroDivisionError

    monkeypatch.setattr(service, "_described", fails)
    with capturedLogs() as events:
        line.wire.send(post(f"{prefix}/delay/1", "text/plain", b"x"))
        line.clock.turns()
    assert line.wire.received.startswith(b"HTTP/1.1 500 ")
    assert [event["log_failure"].type for event in events if "log_failure" in event] == [ZeroDivisionError]


def test_punctual_when_ready(line: Line, prefix: str) -> None:
    """An answer is on time when its content was ready before."""
    line.wire.send(post(f"{prefix}/delay/5", *FORMS["parts"]))
    line.clock.turns()
    assert not line.wire.received
    line.clock.advance(5)
    assert b"delay;dur=5000.000" in line.wire.received
