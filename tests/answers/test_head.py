import pytest

from latebin.answers.head import begin
from latebin.core.plan import Plan


class Answer:
    """A request that keeps what is set on it."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    def setResponseCode(self, code: int) -> None:
        self.status = code

    def setHeader(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value


def headers(plan: Plan, measured: float | None = None) -> dict[bytes, bytes]:
    answer = Answer()
    begin(answer, plan, measured)
    assert answer.status == plan.status
    return answer.headers


def test_timing() -> None:
    """The delay is told in milliseconds, as measured and as asked; before the wait, only as asked."""
    plan = Plan(wait=0.25)
    assert headers(plan, 0.2506)[b"Server-Timing"] == b"delay;dur=250.600, asked;dur=250.000"
    assert headers(plan)[b"Server-Timing"] == b"asked;dur=250.000"


def test_length() -> None:
    """A body that is not chunked has its length told."""
    assert headers(Plan(1.0))[b"Content-Length"] == b"52"
    assert b"Content-Length" not in headers(Plan(1.0, chunked=True))


@pytest.mark.parametrize(("status", "length"), [(204, None), (304, None), (205, b"0")])
def test_without_a_body(status: int, length: bytes | None) -> None:
    """A status that has no body has no Content-Type either, and a length only where it has to say that it is 0."""
    found = headers(Plan(1.0, status=status, body=None))
    assert b"Content-Type" not in found
    assert found.get(b"Content-Length") == length


def test_retry_after() -> None:
    """Retry-After is there if it was asked for, also with 0."""
    assert headers(Plan(1.0, retry_after=0))[b"Retry-After"] == b"0"
    assert b"Retry-After" not in headers(Plan(1.0))
