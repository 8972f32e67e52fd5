"""A bound on the time that a process takes to stop."""

import faulthandler
import os
from typing import Final

FLUSH: Final = 1.0
"""Seconds for the rest of the log, when everything else has ended."""

GRACE: Final = 3.0
"""Seconds that a process may take to end when its drain is over: enough on a machine with ten times its load."""

KILL: Final = 1.5
"""Seconds after which workers are killed that have not ended when their drain is over; their parent's GRACE follows."""

_LONGEST: Final = 1e9
"""Seconds, some thirty years: faulthandler refuses more microseconds than a C integer holds."""


class Guard:
    """A timer that ends a process held by a thread, a lock or the reactor.

    `faulthandler` has a thread of its own in C, which needs neither the reactor nor the interpreter. When the time is
    up, that thread writes the stack of each thread to standard error, and ends the process with exit code 1.

    Args:
        seconds: the time, from `arm` on.

    Attributes:
        armed: whether the time has begun.
    """

    def __init__(self, seconds: float) -> None:
        self.armed = False
        self._seconds = min(seconds, _LONGEST)
        # A descriptor of its own, which never waits for a reader, and opened in advance, as none may be left later.
        try:
            self._report = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            # There is no /proc, or standard error is a socket, or the file of another user.
            self._report = os.open(os.devnull, os.O_WRONLY)

    def arm(self) -> None:
        """Let the time begin, the first time that this is called."""
        if not self.armed:
            self.armed = True
            self._start(self._seconds)

    def shorten(self) -> None:
        """Leave the process GRACE from now on."""
        self._start(GRACE)

    def _start(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._report)
