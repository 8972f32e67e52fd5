import json

from latebin.core.http.reply import MAX_GIVEN, Problem, allow


def test_problem() -> None:
    """A problem has the members of RFC 9457, those of its own that it has, and no others."""
    reply = Problem(400, "This is not a delay.", parameter="delay", given="x", accepted="a duration").reply()
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "This is not a delay.",
        "parameter": "delay",
        "given": "x",
        "accepted": "a duration",
    }
    assert set(json.loads(Problem(404, "Nothing.").reply().body)) == {"type", "title", "status", "detail"}


def test_problem_shows_little_of_what_was_given() -> None:
    """What a caller sent comes back cut, and as ASCII."""
    body = Problem(400, "Long.", parameter="ü" * 10_000, given="ü" * 10_000).reply().body
    assert body.isascii()
    assert [json.loads(body)[member] for member in ("parameter", "given")] == ["ü" * MAX_GIVEN] * 2


def test_options_has_no_length() -> None:
    """A 204 has Allow and no Content-Length."""
    assert [name for name, _ in allow(b"OPTIONS", ["GET", "HEAD"]).headers] == [b"Allow", b"X-Content-Type-Options"]


def test_not_allowed() -> None:
    """A 405 names the methods that are allowed, in the header and in the problem."""
    reply = allow(b"BREW", ["HEAD", "GET"])
    assert dict(reply.headers)[b"Allow"] == b"GET, HEAD, OPTIONS"
    assert json.loads(reply.body)["accepted"] == "GET, HEAD, OPTIONS"
