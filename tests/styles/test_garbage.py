import gc
import sys
from collections.abc import Iterator

import pytest
from twisted.logger import Logger

from latebin.compare.contract import Case
from tests.support.wire import House

ANSWERS = 100
"""A limit below one object an answer: the least cycle of an answer has eight objects."""

HISTORY = 200
"""Events that `twisted.logger` keeps, with their connections, as long as it has no observer."""

KINDS = {
    "answers": Case("", "/delayed/1s"),
    "draws": Case("", "/delayed?delay=1ms..1s&seed=7&status=503:50%"),
    "steering": Case("", "/delayed?delay=1s&key=a&status=503*2,200&gate=a:1&pool=a&servers=9"),
    "HEAD": Case("", "/delayed/1s", method="HEAD"),
    "refusals": Case("", "/delayed/soon"),
    "methods": Case("", "/delayed", method="BREW"),
    "nothing": Case("", "/nothing"),
    "resets": Case("", "/delayed?delay=1s&fault=reset"),
    "truncations": Case("", "/delayed?delay=1s&fault=truncate"),
    "pieces": Case("", "/delayed?delay=0&chunks=3&over=1s"),
    "events without end": Case("", "/delayed?delay=0&type=sse&chunks=0&every=1s"),
    "bodies at a rate": Case("", "/delayed?delay=0&read=1k", method="POST", body=b"x" * 512),
    "drips": Case("", "/drip?duration=1&numbytes=3"),
    "echoes": Case("", "/delay/1"),
    "no HTTP": Case("", "/delayed", version="HTTX/1.1"),
    "large headers": Case("", "/delayed", headers=("X: " + "x" * 2**14,)),
    "large bodies": Case("", "/delayed", method="POST", headers=("Content-Length: 16777217",)),
    "bodies that stop": Case("", "/delayed", method="POST", headers=("Content-Length: 1",)),
}

if sys.version_info < (3, 13):
    # There, an echo leaves 33 objects behind; on 3.13 it leaves 0.
    del KINDS["echoes"]


def garbage(house: House, style: str, case: Case, *, leave: bool) -> int:
    """Count the objects that the cyclic collector finds behind many answers.

    Each answer has a connection of its own.
    """
    gc.collect()  # what pytest leaves between a fixture and its test
    for _ in range(ANSWERS):
        wire = house.wire()
        wire.send(case.request(style))
        house.clock.pump([] if leave else [0.5] * 6)
        wire.leave()
    return gc.collect()


@pytest.fixture(autouse=True)
def _collector_is_off(house: House, style: str) -> Iterator[None]:
    """Make all that is made once, and leave everything that exists out of the count."""
    for case in KINDS.values():
        garbage_of_one(house, style, case)
    for _ in range(HISTORY):
        Logger().debug("in the place of what the tests before have logged")
    gc.disable()
    # The collector looks at nothing that exists, garbage included. It stays so: pytest holds a million objects.
    gc.freeze()
    yield
    gc.enable()


def garbage_of_one(house: House, style: str, case: Case) -> None:
    wire = house.wire()
    wire.send(case.request(style))
    house.clock.pump([0.5] * 6)
    wire.leave()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "events without end"])
def test_garbage(house: House, style: str, kind: str) -> None:
    """Many answers of any kind leave next to nothing for the cyclic collector."""
    assert garbage(house, style, KINDS[kind], leave=False) < ANSWERS


@pytest.mark.parametrize("kind", ["answers", "pieces", "events without end", "bodies at a rate"])
def test_garbage_of_disconnects(house: House, style: str, kind: str) -> None:
    """Many clients that left leave next to nothing for the cyclic collector."""
    assert garbage(house, style, KINDS[kind], leave=True) < ANSWERS
