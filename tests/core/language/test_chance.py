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
    """What happens is for all, or for the share behind the colon."""
    assert parse(text) == chance


@pytest.mark.parametrize("text", ["reset:", "reset:101%", "reset:1.1", "reset:x", "reset:1%:2%"])
def test_parse_refuses(text: str) -> None:
    """A share that is none is refused."""
    with pytest.raises(ValueError, match="share"):
        parse(text)


def test_each_kind_is_done() -> None:
    """Every fault that can be asked for is one that is done."""
    assert set(FAULTS) == set(KINDS)
