"""The cost of real processes, as far as it is certain."""

import os
import subprocess
import sys

import pytest

from latebin.load import footprint
from latebin.load.schedule import RunError

HUNGRY = """
import time
held = bytearray(b"x") * 50_000_000
while time.process_time() < 0.2:
    pass
print("done", flush=True)
input()
"""


def test_children_are_included() -> None:
    """A process is looked at together with its children: their CPU time and their memory."""
    command = (sys.executable, "-c", HUNGRY)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alone = footprint.read([child.pid])
        family = footprint.read([os.getpid(), child.pid])
        child.communicate("\n")
    assert alone.memory >= 50_000_000
    assert alone.cpu >= 0.15
    assert family.memory > alone.memory
    assert family.cpu >= alone.cpu


def test_resident_memory_stands_in_for_proportional(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the proportional size is not ours to read, the resident size is told, and said to be it."""

    def refuse(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(footprint, "_proportional", refuse)
    print_ = footprint.read([os.getpid()])
    assert print_.source == "rss"
    assert print_.memory > 1_000_000


def test_a_process_that_has_ended_is_refused() -> None:
    """A wrong --pid is told before the run, not as a server without cost."""
    with subprocess.Popen((sys.executable, "-c", "")) as ended:
        ended.wait()
    with pytest.raises(RunError, match=str(ended.pid)):
        footprint.read([ended.pid])
