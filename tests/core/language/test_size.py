import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.language.size import parse, render


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("100", 100), ("64k", 65536), ("16m", 16777216)])
def test_parse(text: str, size: int) -> None:
    """A size is a number of bytes, or of their powers of 1024."""
    assert parse(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5k", "64K", "64kb", "1 k", "\u0661", "1" * 16, "1g"])
def test_parse_refuses(text: str) -> None:
    """Other spellings of sizes are refused with a description of the accepted ones."""
    with pytest.raises(ValueError, match="expected a size in bytes such as 100, 64k"):
        parse(text)


@given(st.integers(0, 10**14))
def test_render(size: int) -> None:
    """A rendered size is read back unchanged."""
    assert parse(render(size)) == size
