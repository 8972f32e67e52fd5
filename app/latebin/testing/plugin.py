"""The pytest plugin: a service, and a client with a key for each test.

    def test_retries(latebin):
        response = call_with_retries(latebin.url(delay=0, status="503*2,200"))
        assert (response.status, latebin.turn()) == (200, 3)

pytest imports this module at each start, so that nothing else is imported before a test uses a fixture.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from latebin.client import Latebin
    from latebin.testing.server import Server

_SERVER = pytest.StashKey["Server"]()
_START = pytest.StashKey[int]()

_LONGEST_LOG = 20_000
"""Characters of the log that the report of a failed test has at most."""


@pytest.fixture(scope="session")
def latebin_options() -> Sequence[str]:
    """The arguments of `latebin serve`; a project overrides this fixture to change them."""
    return ()


@pytest.fixture(scope="session")
def latebin_server(pytestconfig: pytest.Config, latebin_options: Sequence[str]) -> "Iterator[Server]":
    """The service at `LATEBIN_URL`, or a process of its own for the session."""
    from latebin.testing.server import server  # noqa: PLC0415  # only for tests that use it

    with server(*latebin_options) as found:
        pytestconfig.stash[_SERVER] = found
        yield found
        del pytestconfig.stash[_SERVER]


@pytest.fixture
def latebin(latebin_server: "Server", request: pytest.FixtureRequest) -> "Iterator[Latebin]":
    """A client with a fresh key, whose gates are opened at the end."""
    from latebin.testing.server import fresh_key  # noqa: PLC0415  # as above

    with latebin_server.client(fresh_key(request.node.name)) as client:
        yield client


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    found = item.config.stash.get(_SERVER, None)
    item.stash[_START] = 0 if found is None else len(found.output())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = item.config.stash.get(_SERVER, None)
    if report.failed and found is not None and "latebin_server" in getattr(item, "fixturenames", ()):
        log = found.log(item.stash.get(_START, 0))
        report.sections.append(("Log of latebin", log[-_LONGEST_LOG:] or f"{found.url} has none here"))
    return report
