import pytest

from latebin.answers.faults import FAULTS
from latebin.core.faults import KINDS
from latebin.core.language.chance import Chance, parse


@pytest.mark.parametrize(
    ("text", "chance"),
    [
        ("reset", Chance("reset", 1.0)),
        ("reset:10%", Chance("reset", 0.1)),
        ("reset:0.1", Chance("reset", 0.1)),
        ("503:0", Chance("503", 0.0)),
    ],
)
def test_parse(text: str, chance: Chance) -> None:
    """An event applies to the share behind a colon, or to all requests."""
    assert parse(text) == chance


@pytest.mark.parametrize("text", ["reset:", "reset:101%", "reset:1.1", "reset:x", "reset:1%:2%"])
def test_parse_refuses(text: str) -> None:
    """A wrong share is refused with a description of the accepted ones."""
    with pytest.raises(ValueError, match="expected a share such as"):
        parse(text)


def test_each_kind_is_implemented() -> None:
    """Every fault in the table of kinds has an implementation."""
    assert set(FAULTS) == set(KINDS)
