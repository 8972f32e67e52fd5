from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.reply import Refused
from latebin.core.http.request_head import (
    CURRENT,
    ENDLESS,
    OLDER,
    Headers,
    begins_a_request,
    elements,
    examine,
    options,
    read_field,
    read_length,
    read_line,
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
    try:
        read_line(line)
    except Refused:
        return
    assert all(begins_a_request(line[:end]) for end in range(len(line) + 1))


@pytest.mark.parametrize(("minor", "version"), [(b"0", OLDER), (b"1", CURRENT), (b"2", CURRENT), (b"9", CURRENT)])
def test_version(minor: bytes, version: bytes) -> None:
    """A later version of HTTP/1 is taken as HTTP/1.1."""
    assert read_line(b"GET /a HTTP/1." + minor) == (b"GET", b"/a", version)


@pytest.mark.parametrize(
    "line", [b"a b: c", b"a : b", b"a\t: b", b": b", b"a", b"a: \0", b"a: b\r", b" a: b", b"\xff: a"]
)
def test_field(line: bytes) -> None:
    """A malformed header line is refused."""
    assert read_field(b"A-b:  c d\t") == (b"A-b", b"c d")
    with pytest.raises(Refused):
        read_field(line)


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
