from importlib.resources import files

import pytest

from latebin.compare.duties import DUTIES, Definition, Tie, code_lines, common_name, definitions, pairs

STYLES = {style: definitions((files("latebin.styles") / f"{style}.py").read_text()) for style in ("klein", "resource")}


def ties(style: str) -> list[Tie]:
    return [tie for duty in DUTIES for tie in getattr(duty, style).ties]


@pytest.mark.parametrize("duty", DUTIES, ids=lambda duty: duty.name)
def test_ties_hold(style: str, duty: object) -> None:
    """Where the table says that a duty is done, there is a definition of that name, with the word that shows it."""
    words = {each.name: each.words for each in STYLES[style]}
    assert [tie for tie in getattr(duty, style).ties if tie.word not in words.get(tie.definition, ())] == []


def test_every_definition_does_something(style: str) -> None:
    """No definition of a style is without a duty; one that is new is to be tied to what it does."""
    assert {each.name for each in STYLES[style]} - {tie.definition for tie in ties(style)} == set()


def test_no_tie_is_told_twice(style: str) -> None:
    """Within one duty, a tie stands once."""
    for duty in DUTIES:
        told = getattr(duty, style).ties
        assert len(told) == len(set(told))
        assert told


SOURCE = '''"""A module.

Of two paragraphs.
"""

LIMIT = 3


class ThingResource:
    """A class."""

    @decorated(
        LIMIT
    )
    def render_GET(self, request):
        """A method."""

        # A reason.
        if request and self.ready:
            return [each for each in request if each]
        return None

    render_HEAD = render_GET


async def alone(): ...
'''


def test_definitions() -> None:
    """Lines with code and ways through it are counted; decorators belong to what they decorate."""
    method, function = definitions(SOURCE)
    assert (method.name, method.common, method.lines, method.branches) == ("ThingResource.render_GET", "thing", 7, 3)
    assert method.text.startswith("@decorated(\n    LIMIT\n)\ndef render_GET(self, request):\n    ")
    assert {"decorated", "ready", "request", "render_GET"} <= method.words
    assert (function.name, function.lines, function.branches) == ("alone", 1, 0)
    assert code_lines(SOURCE) == 11


@pytest.mark.parametrize(
    ("owner", "name", "common"),
    [
        ("DelayedKlein", "_delayed_render", "delayed_render"),
        ("DelayedResource", "_delayedRender", "delayed_render"),
        ("DelayedResource", "render_GET", "delayed"),
        ("PredictResource", "render_OPTIONS", "predict_options"),
        ("", "tree", "tree"),
    ],
)
def test_common_name(owner: str, name: str, common: str) -> None:
    """A definition's common name is the one that its twin has."""
    assert common_name(owner, name) == common


def test_pairs() -> None:
    """What has no twin stands alone, and nothing is left out."""

    def named(common: str) -> Definition:
        return Definition(common, common, "", 1, 0, frozenset())

    klein, resource = (named("a"), named("c")), (named("b"), named("a"))
    assert pairs(klein, resource) == ((None, named("b")), (named("a"), named("a")), (named("c"), None))
