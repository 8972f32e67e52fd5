"""The service without a collection of its own, as a script.

At SIGWINCH it collects all cyclic garbage, and writes how many objects that was, and how many connections are open.
"""

import gc
import os
import signal

from latebin.cli import main
from latebin.site.connections import Connections
from latebin.timing.garbage import GarbageScheduler

FOUND = "found {} objects, {} open"

SITES: list[Connections] = []


def start(self: GarbageScheduler) -> None:
    gc.disable()
    gc.freeze()


def registered(self: Connections) -> None:
    SITES.append(self)


def collect(*_: object) -> None:
    found = gc.collect()
    os.write(2, f"{FOUND.format(found, sum(site.open for site in SITES))}\n".encode())


if __name__ == "__main__":
    GarbageScheduler.start = start  # type: ignore[method-assign]  # the difference
    Connections.__attrs_post_init__ = registered  # type: ignore[attr-defined]
    signal.signal(signal.SIGWINCH, collect)
    main.main()
