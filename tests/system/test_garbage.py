"""The cyclic garbage behind connections of each kind, in a process of its own."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from latebin.testing.process import ServiceProcess, serving
from tests.support.certificate import listening
from tests.support.kinds import KINDS, Target, upstream
from tests.support.process import until

CONNECTIONS = 40

PATIENCE = "5s"
"""The time for headers, and for a handshake: longer than one takes on a busy machine."""

ONCE = 100
"""Objects that are made for the first of many connections: declarations of interfaces, which zope.interface keeps.

The least cycle of a connection has eight objects, so forty connections would leave more.
"""

_FOUND = re.compile("found ([0-9]+) objects, ([0-9]+) open")


@attrs.frozen
class Place:
    """A service that collects on request, and its clients."""

    process: ServiceProcess
    target: Target

    def found(self) -> int:
        """Return the number of objects in cycles, when no connection is open."""
        total = 0

        def none_is_open() -> bool:
            nonlocal total
            before = len(_FOUND.findall(self.process.log()))
            self.process.send_signal(signal.SIGWINCH)
            until(lambda: len(_FOUND.findall(self.process.log())) > before)
            objects, still = map(int, _FOUND.findall(self.process.log())[-1])
            total += objects
            return still == 0

        until(none_is_open)
        return total


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    endpoints = "tcp:0:interface=127.0.0.1", listening(tmp_path_factory.mktemp("garbage") / "localhost.pem")
    listen = [option for endpoint in endpoints for option in ("--listen", endpoint)]
    program = ("-m", "tests.support.counting_service")
    root = str(Path(__file__).parents[2])
    with upstream() as real:
        options = (*listen, "--upstream", real, "--header-timeout", PATIENCE)
        with serving(*options, program=program, PYTHONPATH=root) as process:
            yield Place(process, Target(*process.ports))


@pytest.mark.parametrize("kind", KINDS)
def test_garbage(place: Place, kind: str) -> None:
    """Nothing is left in cycles when forty connections of one kind have closed."""
    KINDS[kind](place.target)
    place.found()
    # Those that wait for the time to be over do so together.
    with ThreadPoolExecutor(CONNECTIONS if "408" in kind else 1) as pool:
        list(pool.map(KINDS[kind], [place.target] * CONNECTIONS))
    assert place.found() <= ONCE
