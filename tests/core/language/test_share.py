"""Shares: parsed and rendered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language import share


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        ("5%", 0.05),
        ("0.05", 0.05),
        ("0.1%", 0.001),
        ("99.9%", 0.999),
        ("100%", 1.0),
        ("0%", 0.0),
        ("0", 0.0),
        ("1", 1.0),
        ("1%", 0.01),
        ("007%", 0.07),
    ],
)
def test_accepted(text: str, fraction: float) -> None:
    """A percentage or a plain fraction is read as the nearest float."""
    assert share.parse(text) == fraction


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%",
        "5",
        "1.01",
        "101%",
        "-5%",
        "+5%",
        ".5",
        "5.%",
        "5 %",
        " 5%",
        "5%%",
        "1e-2",
        "nan",
        "inf",
        "\u0665%",
        "0,5",
    ],
)
def test_refused(text: str) -> None:
    """Other text is refused with a description of the accepted shares."""
    with pytest.raises(ValueError, match=r"^expected a share such as 5%"):
        share.parse(text)


def test_length_is_bounded() -> None:
    """A share is refused when it is longer than the bound."""
    digits = "0." + "3" * (share.MAX_LENGTH - 2)
    assert share.parse(digits) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="expected a share"):
        share.parse(digits + "3")


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.05, "5%"), (0.001, "0.1%"), (1.0, "100%"), (0.0, "0%"), (1e-7, "0.00001%")]
)
def test_render(fraction: float, text: str) -> None:
    """A share is written as a percentage, without an exponent."""
    assert share.render(fraction) == text


@given(st.floats(min_value=1e-15, max_value=1) | st.just(0.0))
def test_round_trip(fraction: float) -> None:
    """A rendered share is read back as the very same float."""
    assert share.parse(share.render(fraction)) == fraction


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is a share from 0 to 1 or is refused with a ValueError."""
    try:
        fraction = share.parse(text)
    except ValueError:
        return
    assert 0 <= fraction <= 1
