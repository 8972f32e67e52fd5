from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite
from latebin.site.root import Root
from tests.support.wire import House


@pytest.fixture
def house() -> Iterator[House]:
    clock, settings = Clock(), Settings()
    klein, resource = Service(clock, settings), Service(clock, settings)
    root = Root(klein, resource, settings)
    # The idle timeout of a connection is no business of these tests: its clock stands still.
    yield House(clock, klein, resource, root, ServiceSite(root, clock, Clock()))
    clock.advance(0)
    assert clock.getDelayedCalls() == [], "a timer outlived the request it was for"


@pytest.fixture(params=sorted(PREFIXES))
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def prefix(style: str) -> str:
    return PREFIXES[style]
