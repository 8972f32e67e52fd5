"""Footprints of real processes, as far as their figures are certain."""

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
    """A footprint has CPU time and memory of children when a process has some."""
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
    """A footprint has the resident size when the proportional size cannot be read."""

    def refuse(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(footprint, "_proportional", refuse)
    found = footprint.read([os.getpid()])
    assert found.source == "rss"
    assert found.memory > 1_000_000


def test_a_process_that_has_ended_is_refused() -> None:
    """`read` raises RunError with the process id when the process has ended."""
    with subprocess.Popen((sys.executable, "-c", "")) as ended:
        ended.wait()
    with pytest.raises(RunError, match=str(ended.pid)):
        footprint.read([ended.pid])
