import signal
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from latebin.core.endpoints import PREFIXES
from latebin.core.settings import STACKS
from tests.support.wire import House, make_house

SLOW = (
    "system/test_container.py",
    "system/test_schemathesis.py",
    "system/test_compare_page.py",
    "system/test_drain.py",
    "system/test_log.py",
    "server/test_guard.py",
    "system/test_state.py",
    "cli/test_compare.py",
    "system/test_packaging.py",
    "server/test_workers.py",
    "answers/test_via.py",
    "system/test_proxy_protocol.py",
    "styles/test_contract.py",
    "styles/test_garbage.py",
    "load/test_run.py",
)
"""The modules that take longest, the slowest first: whichever process gets one of them last would end last."""


def pytest_configure(config: pytest.Config) -> None:
    # A shell without job control starts what is in its background with SIGINT ignored, signal(7), and children inherit
    # that. The tests of SIGINT send it to children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # By itself, --dist loadfile begins with the modules that have the most tests, and not with the first.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@example(value=None)
@given(value=st.none())
def _first_property(value: None) -> None:
    """Have Hypothesis look for what holds its generator of random numbers.

    It looks once in a process, and warns when it finds nothing. Behind a test that calls `gc.freeze` it would.
    """


def pytest_collection_finish() -> None:
    _first_property()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the slow modules to the front."""
    ranks = {f"tests/{module}": rank for rank, module in enumerate(SLOW)}
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@pytest.fixture
def stack() -> str:
    """The stack of the service.

    A module whose tests hold on every stack overrides this with `every_stack`.
    """
    return "tuned"


@pytest.fixture(params=STACKS)
def every_stack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def house(stack: str) -> Iterator[House]:
    house = make_house(stack)
    yield house
    house.clock.advance(0)
    assert house.clock.getDelayedCalls() == [], "a timer outlived the request it was for"


@pytest.fixture(params=sorted(PREFIXES))
def style(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def prefix(style: str) -> str:
    return PREFIXES[style]
