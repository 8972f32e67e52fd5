import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.answer_header import MAX_LENGTH, parse


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ('ETag:"v1"', (b"ETag", b'"v1"')),
        ("Location:/delayed/1s", (b"Location", b"/delayed/1s")),
        ("Set-Cookie: a=1; Path=/ ", (b"Set-Cookie", b"a=1; Path=/")),
        ("x:a:b", (b"x", b"a:b")),
    ],
)
def test_parse(text: str, header: tuple[bytes, bytes]) -> None:
    """A header is read into its name and its value when it has both."""
    assert parse(text) == header


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "Upgrade",
        "TE",
        "content-length",
        "Date",
        "Server",
        "Proxy-Connection",
        "Access-Control-Allow-Origin",
        "Strict-Transport-Security",
        "X-Content-Type-Options",
        "Content-Type",
        "Retry-After",
    ],
)
def test_kept(name: str) -> None:
    """A header is refused, with the reason, when the service keeps it for itself."""
    with pytest.raises(ValueError, match=r"no caller can set it: .+"):
        parse(f"{name}: x")


@given(st.text())
def test_no_other_line(text: str) -> None:
    """A header is in visible ASCII, of one line, when it is accepted at all."""
    try:
        name, value = parse(text)
    except ValueError:
        return
    assert len(name) + len(value) < MAX_LENGTH
    assert (name + value).isascii()
    assert (name + value).decode().isprintable()
