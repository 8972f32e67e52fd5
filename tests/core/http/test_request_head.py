from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.request_head import (
    CURRENT,
    ENDLESS,
    Headers,
    bad_field,
    bad_line,
    begins_a_request,
    elements,
    examine,
    match_field,
    match_line,
    options,
    read_length,
)


def headers(**values: Sequence[bytes]) -> Headers:
    found = {name.replace("_", "-").encode(): value for name, value in values.items()}
    return found.get


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (None, []),
        ([b""], []),
        ([b" ,\t, "], []),
        ([b"a"], [b"a"]),
        ([b",a , b,", b"", b"C"], [b"a", b"b", b"C"]),
    ],
)
def test_elements(values: Sequence[bytes] | None, expected: list[bytes]) -> None:
    """A list has the elements of all its lines, without empty ones."""
    assert elements(values) == expected
    assert options(values) == {element.lower() for element in expected}


@given(line=st.binary(max_size=40))
def test_line(line: bytes) -> None:
    """A line is read or refused, and begins a request when it is read."""
    if match_line(line) is None:
        assert bad_line(line).problem.status in {400, 505}
        return
    assert all(begins_a_request(line[:end]) for end in range(len(line) + 1))


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"GET /a HTTP/2.0", 505), (b"PRI * HTTP/2.0", 400), (b"GET /a", 400), (b"GET  /a HTTP/1.1", 400)],
)
def test_bad_line(line: bytes, status: int) -> None:
    """A line of another form is refused, and so is another major version."""
    parts = match_line(line)
    assert parts is None or parts[3] != b"1"
    assert bad_line(line).problem.status == status


@pytest.mark.parametrize(
    "line", [b"a b: c", b"a : b", b"a\t: b", b": b", b"a", b"a: \0", b"a: b\r", b" a: b", b"\xff: a"]
)
def test_field(line: bytes) -> None:
    """A malformed header line is refused."""
    assert match_field(line) is None
    assert bad_field(line).problem.status == 400


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"0" * 5000, 0),
        (b"0" * 5000 + b"12", 12),
        (b"9" * 18, 10**18 - 1),
        (b"9" * 19, ENDLESS),
        (b"9" * 5000, ENDLESS),
    ],
)
def test_length(value: bytes, length: int) -> None:
    """A length is a number of any number of digits."""
    assert read_length(CURRENT, headers(Content_Length=[value])) == length


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://a", b"/"),
        (b"http://a?", b"/?"),
        (b"http://a/b//c?d=http://e", b"/b//c?d=http://e"),
        (b"HtTp://[::1]:80/b", b"/b"),
    ],
)
def test_target(target: bytes, path: bytes) -> None:
    """A URL is taken as its path."""
    found = examine(b"GET", target, CURRENT, headers(Host=[b"a"]))
    assert found is not None
    assert (found.path, found.secure) == (path, False)
