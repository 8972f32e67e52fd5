import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latebin.core.language.duration import MAX_LENGTH, AmbiguousError, parse, render


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ("0", 0.0),
        ("0.25", 0.25),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1m30s", 90.0),
        ("300us", 0.0003),
        ("1h2m3s4ms5us", 3723.004005),
        ("007s", 7.0),
        ("60", 60.0),
        ("500ms", 0.5),
        ("500s", 500.0),
        ("300\u00b5s", 0.0003),
        ("300\u03bcs", 0.0003),
        ("1s300\u00c2\u00b5s", 1.0003),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    """Each documented spelling is read, to the nearest float."""
    assert parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "-1",
        "+1",
        "1e3",
        "nan",
        "inf",
        ".5",
        "5.",
        "1 s",
        "30s1m",
        "1s1s",
        "1d",
        "1S",
        "\u0661s",
        "1s\n",
        "1\u00b5",
        "\u00b5s",
        "1,5s",
    ],
)
def test_parse_refuses(text: str) -> None:
    """Other spellings of numbers are refused with a description of the accepted ones."""
    with pytest.raises(ValueError, match="expected a duration such as"):
        parse(text)


@pytest.mark.parametrize("text", ["61", "60.1", "500", "0500", "1500.5"])
def test_parse_refuses_a_large_number_without_a_unit(text: str) -> None:
    """A number above 60 is refused with both units when it has none."""
    with pytest.raises(AmbiguousError, match=rf"^did you mean {re.escape(text)}ms or {re.escape(text)}s\?"):
        parse(text)


@given(st.text() | st.text("0123456789.hmsu", max_size=MAX_LENGTH + 1))
def test_parse_any_text(text: str) -> None:
    """Any text is a finite duration of at most MAX_LENGTH characters, or a ValueError."""
    try:
        seconds = parse(text)
    except ValueError:
        return
    assert 0 <= seconds < float("inf")
    assert len(text) <= MAX_LENGTH


@given(st.floats(1e-9, 1e9) | st.floats(1e9, 9e38) | st.integers(0, 10**6).map(float))
@example(float("9" * (MAX_LENGTH - 2)))
def test_render(seconds: float) -> None:
    """A rendered duration is read back as the very same float."""
    assert parse(render(seconds)) == seconds


@pytest.mark.parametrize("text", ["0s", "300us", "250ms", "1.5s", "1m30s", "2h", "1h1s"])
def test_render_is_canonical(text: str) -> None:
    """A duration is rendered as a person would write it."""
    assert render(parse(text)) == text
