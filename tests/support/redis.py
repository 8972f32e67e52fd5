"""Debian's redis-server on a free port, which can be killed and started again."""

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from latebin.core.state_url import StateUrl
from tests.support.process import BOUND, ports, until

REDIS = shutil.which("redis-server", path="/usr/bin:/usr/local/bin")

needed = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
"""The mark of a test that needs Redis."""


class RedisServer:
    """A Redis that keeps its data in a directory over a kill.

    Args:
        directory: for its data.
        options: further options of redis-server.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        [self.port] = ports(1)
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> StateUrl:
        return StateUrl("127.0.0.1", self.port)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert REDIS is not None
        kept = "--appendonly", "yes", "--appendfsync", "always", "--save", ""
        place = "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._directory)
        command = REDIS, *place, *kept, *self._options
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, *words: object) -> Any:
        """Send a command, and return its reply: bytes, an integer, None or a list."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=BOUND) as connection:
            connection.sendall(encoded(words))
            with connection.makefile("rb") as file:
                return read(file)

    def _answers(self) -> bool:
        try:
            self.ask("PING")
        except OSError:
            return False
        except RuntimeError as error:
            return not str(error).startswith("LOADING")
        return True


@contextmanager
def running(directory: Path, *options: str) -> Iterator[RedisServer]:
    """Run Redis until the end of the context."""
    server = RedisServer(directory, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def encoded(words: Sequence[object]) -> bytes:
    """Encode a command."""
    texts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts)


def read(file: Any) -> Any:
    line = file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else file.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [read(file) for _ in range(int(rest))]
    assert kind == b"+", line
    return rest
