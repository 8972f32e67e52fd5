"""The duties and the source of both styles agree."""

from importlib.resources import files

import pytest

from latebin.compare.duties import DUTIES, Duty
from latebin.compare.source import definitions


@pytest.mark.parametrize("duty", DUTIES, ids=lambda duty: duty.name)
def test_example(style: str, duty: Duty) -> None:
    """The definition of a duty's example is in the style file, with its word."""
    words = {each.name: each.words for each in definitions((files("latebin.styles") / f"{style}.py").read_text())}
    example = getattr(duty, style).example
    assert example.word in words[example.definition]
