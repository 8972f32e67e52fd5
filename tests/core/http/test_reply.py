import json

from latebin.core.http.reply import MAX_GIVEN, Problem, allow


def test_problem() -> None:
    """A problem has the members of RFC 9457, and its own when they are set."""
    reply = Problem(400, "Invalid delay.", parameter="delay", given="x", accepted="a duration").reply()
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "Invalid delay.",
        "parameter": "delay",
        "given": "x",
        "accepted": "a duration",
    }
    assert set(json.loads(Problem(404, "Nothing.").reply().body)) == {"type", "title", "status", "detail"}


def test_problem_clips_given_text() -> None:
    """A problem is ASCII and clips the given text when that is long."""
    body = Problem(400, "Long.", parameter="ü" * 10_000, given="ü" * 10_000).reply().body
    assert body.isascii()
    assert [json.loads(body)[member] for member in ("parameter", "given")] == ["ü" * MAX_GIVEN] * 2


def test_options_has_no_length() -> None:
    """A 204 for OPTIONS has Allow and no Content-Length (RFC 9110, section 8.6)."""
    assert [name for name, _ in allow(b"OPTIONS", ["GET", "HEAD"]).headers] == [b"Allow", b"X-Content-Type-Options"]


def test_not_allowed() -> None:
    """A 405 names the allowed methods in its header and in its problem."""
    reply = allow(b"BREW", ["HEAD", "GET"])
    assert dict(reply.headers)[b"Allow"] == b"GET, HEAD, OPTIONS"
    assert json.loads(reply.body)["accepted"] == "GET, HEAD, OPTIONS"
