"""The definitions of a style file, and their twins."""

import pytest

from latebin.compare.source import Definition, code_lines, common_name, definitions, pairs

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
    """A definition has its lines of code and its branches, decorators included."""
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
        ("", "tree", "tree"),
    ],
)
def test_common_name(owner: str, name: str, common: str) -> None:
    """A common name is the same for a definition and its twin."""
    assert common_name(owner, name) == common


def test_pairs() -> None:
    """A definition is paired with None when it has no twin."""

    def named(common: str) -> Definition:
        return Definition(common, common, "", 1, 0, frozenset())

    klein, resource = (named("a"), named("c")), (named("b"), named("a"))
    assert pairs(klein, resource) == ((None, named("b")), (named("a"), named("a")), (named("c"), None))
