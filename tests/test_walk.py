"""The length of the way of one answer through the package."""

import pytest
from twisted.internet.task import Clock

from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.factory import site
from tests.bench.walk import walk


@pytest.mark.parametrize("style", sorted(PREFIXES))
@pytest.mark.parametrize(("stack", "entered", "returns"), [("stock", 14, 16), ("tuned", 20, 28)])
def test_walk(stack: str, entered: int, returns: int, style: str) -> None:
    """An answer enters few files, and goes back to few of them."""
    clock = Clock()
    service = site(Settings(stack=stack), clock)
    walk(service, clock, style)
    found = walk(service, clock, style)
    assert 0 < found.entered <= entered
    assert 0 < found.returns <= returns
