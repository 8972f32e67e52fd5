"""A synchronous client for tests, which needs nothing but the standard library.

A test asks for answers by URL, lets them go at a gate, and reads in the journal how its own client behaved:

    with Latebin("http://127.0.0.1:8080", key="t42") as latebin:
        gate = latebin.gate("late")
        url = latebin.url(delay="50ms", gate=gate)  # for the client under test
        gate.wait_for(3)
        gate.release()
"""

from latebin.client.exchange import LatebinError, ProblemError, UnreachableError
from latebin.client.handles import Gate, Key, Pending, Scenario
from latebin.client.journal import Journal, JournalEntry, Summary
from latebin.client.latebin import Latebin

__all__ = [
    "Gate",
    "Journal",
    "JournalEntry",
    "Key",
    "Latebin",
    "LatebinError",
    "Pending",
    "ProblemError",
    "Scenario",
    "Summary",
    "UnreachableError",
]
