"""The service of the pytest plugin: one that runs, or a process of its own."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from uuid import uuid4

import attrs

from latebin.client import Latebin, LatebinError
from latebin.testing.process import START_TIME, StartError, serving

URL: Final = "LATEBIN_URL"
"""The environment variable with the URL of a service that runs."""

_POLL: Final = 0.01

_LOG_TIME: Final = 1.0
"""Seconds to wait for lines of the log, which a service with other settings may not write."""

_LONGEST_NAME: Final = 40
"""Characters of a test's name that its key has at most; names of gates begin with the key and have up to 128."""


@attrs.frozen
class Server:
    """A service that is ready.

    Attributes:
        url: its URL, without a path.
        output: returns its output since it was ready; empty for a service that this process did not start.
    """

    url: str
    output: Callable[[], str] = attrs.field(default=str, repr=False)

    def __str__(self) -> str:
        return self.url

    def client(self, key: str | None = None) -> Latebin:
        """Make a client, with a key or without."""
        return Latebin(self.url, key=key)

    def log(self, start: int = 0) -> str:
        """Return the output with the line of each request that was answered so far.

        Args:
            start: the length of the output to leave out.
        """
        marker = uuid4().hex
        # The service writes its log in batches: the line of a later request shows that those before it are there.
        with suppress(LatebinError):  # The output of a service that has ended is complete.
            Latebin(self.url, timeout=_LOG_TIME).turn(marker)
            until = time.monotonic() + _LOG_TIME
            while self.output() and marker not in self.output() and time.monotonic() < until:
                time.sleep(_POLL)
        return "".join(line for line in self.output()[start:].splitlines(keepends=True) if marker not in line)


@contextmanager
def server(*options: str) -> Iterator[Server]:
    """Return the service at `LATEBIN_URL`, or run one until the end of the context.

    Args:
        options: the arguments of `latebin serve`, for a process of its own.

    Yields:
        The service, once `/readyz` says that it is ready.

    Raises:
        StartError: the service is not ready in time.
    """
    if url := os.environ.get(URL):
        yield _ready(Server(url.rstrip("/")))
        return
    with serving(*options) as process:
        yield _ready(Server(process.url, process.log))


def fresh_key(name: str) -> str:
    """Make a key that no other test has, which begins with a test's name."""
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:_LONGEST_NAME]
    return f"{readable}-{uuid4().hex[:12]}"


def _ready(found: Server) -> Server:
    client = found.client()
    until = time.monotonic() + START_TIME
    while not client.ready():
        if time.monotonic() > until:
            raise StartError(f"the service at {found.url} is not ready after {START_TIME:.0f} s")
        time.sleep(_POLL)
    return found
