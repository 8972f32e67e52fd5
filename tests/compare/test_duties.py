"""The table of duties, held to the source of both styles."""

from importlib.resources import files

import pytest

from latebin.compare.duties import DUTIES, Duty
from latebin.compare.source import definitions


@pytest.mark.parametrize("duty", DUTIES, ids=lambda duty: duty.name)
def test_example(style: str, duty: Duty) -> None:
    """A duty's example is a definition of the style file, and has the word that shows the duty."""
    words = {each.name: each.words for each in definitions((files("latebin.styles") / f"{style}.py").read_text())}
    example = getattr(duty, style).example
    assert example.word in words[example.definition]
