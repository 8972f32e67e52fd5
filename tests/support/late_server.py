"""A server with known lateness and known faults, as a process.

Run it with `python -m tests.support.late_server SECONDS`. It prints its port, then one line for each request. The path
selects the answer. Those in ANSWERS are sent SECONDS after the request was read, and never earlier.
"""

import asyncio
import itertools
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

BODY = b"Sorry to keep you waiting."

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\n\r\n" + BODY

FAULTS = {
    "/early": SIZED,
    "/status-500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "/garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "/short": SIZED[:-5],
    "/hang-up": b"",
    "/reset": b"",
    "/silent": b"",
    "/surplus": SIZED + SIZED,
}

ANSWERS = {"/sized": SIZED, "/chunked": CHUNKED, "/close-delimited": CLOSE_DELIMITED}

LEAVES_OPEN = {"/sized", "/chunked", "/early", "/status-500"}

CYCLE = ("/sized", "/status-500", "/garbage", "/short", "/hang-up", "/surplus", "/reset")

_turns = itertools.cycle(CYCLE)


def report(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await answer(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    report("request")
    path = head.split(b" ")[1].decode()
    path = next(_turns) if path == "/cycle" else path
    if path == "/silent":
        await reader.read()
    elif path == "/reset":
        reset(writer)
    elif path in ANSWERS:
        await wait(float(sys.argv[1]))
    writer.write({**ANSWERS, **FAULTS}[path])
    return path in LEAVES_OPEN


async def wait(seconds: float) -> None:
    due = time.monotonic() + seconds
    while (left := due - time.monotonic()) > 0:  # noqa: ASYNC110  # never early, and no event marks the end of a wait
        await asyncio.sleep(left)


def reset(writer: asyncio.StreamWriter) -> None:
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    report(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@attrs.frozen
class LateServer:
    """A running server: its process and its port."""

    process: subprocess.Popen[str]
    port: int

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def wait_for_request(self) -> None:
        """Block until the server has read a request."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "request\n"


@contextmanager
def late_server(seconds: float, errors: Path) -> Iterator[LateServer]:
    """Run the server until the block ends.

    Args:
        seconds: the delay of the answers in ANSWERS.
        errors: the file for its standard error.
    """
    command = (sys.executable, "-m", "tests.support.late_server", str(seconds))
    with (
        errors.open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            yield LateServer(process, int(process.stdout.readline()))
        finally:
            process.kill()


def refusing_port() -> int:
    """Find a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(main())
