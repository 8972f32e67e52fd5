"""Clients of a process, and the environment that processes have in tests."""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

ROOT = Path(__file__).parents[2]

BOUND = 60
"""The longest time, in seconds, to wait for a condition."""


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with the given variables and no other `LATEBIN_` variable."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LATEBIN_")}
    return inherited | {"PYTHONPATH": os.pathsep.join((str(ROOT / "app"), str(ROOT)))} | variables


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds.

    The pauses between looks grow to 50 ms: most looks are requests, which keep the service from what is awaited.
    """
    pause = 0.005
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def ports(count: int) -> list[int]:
    """Find TCP ports that are free."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in found]


def ask(port: int, path: str) -> HTTPConnection:
    """Send a request, and wait for nothing."""
    connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
    connection.request("GET", path)
    return connection


def answer(connection: HTTPConnection) -> tuple[HTTPResponse, bytes]:
    """Read the response to what was asked, and close the connection."""
    with connection.getresponse() as response:
        body = response.read()
    connection.close()
    return response, body


def get(port: int, path: str) -> tuple[HTTPResponse, bytes]:
    return answer(ask(port, path))


def status(port: int, path: str) -> int:
    return get(port, path)[0].status


def refused(port: int) -> bool:
    """Try to connect; return whether nothing listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=BOUND).close()
    except ConnectionRefusedError:
        return True
    return False
