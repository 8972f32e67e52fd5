"""The journal of real clients, over sockets."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import attrs
import httpx
import pytest
import requests
import urllib3

from latebin.testing.process import serving
from tests.support.certificate import listening

KEYS = (f"t{number}" for number in count())

BACK_OFF = 0.1
"""Seconds of the factor by which urllib3 waits: not at all, then twice this."""


@attrs.frozen
class Service:
    """A service over TCP and over TLS."""

    url: str
    secure: str

    def journal(self, key: str, ended: int) -> dict[str, Any]:
        """Return the journal of a key when so many of its requests have ended."""
        query = {"key": key, "ended": str(ended), "timeout": "60s"}
        answer = requests.get(f"{self.url}/control/journal", query, timeout=90)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    endpoint = listening(tmp_path_factory.mktemp("tls") / "localhost.pem")
    with serving("--listen", "tcp:0:interface=127.0.0.1", "--listen", endpoint) as process:
        yield Service(*process.urls)


def trusting() -> ssl.SSLContext:
    """Make a context that trusts every certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture
def key() -> str:
    return next(KEYS)


def test_retry(service: Service, key: str) -> None:
    """urllib3 fails twice, then succeeds, and its back-off grows."""
    retry = urllib3.Retry(total=5, backoff_factor=BACK_OFF, status_forcelist=[503])
    with urllib3.PoolManager(retries=retry) as pool:
        answer = pool.request("GET", f"{service.url}/delayed?delay=1ms&status=503*2,200&key={key}")
    assert (answer.status, answer.headers["Latebin-Turn"]) == (200, "3")
    found = service.journal(key, 3)
    assert [each["status"] for each in found["requests"]] == [503, 503, 200]
    assert [each["connection"] for each in found["requests"]] == [1, 1, 1]
    first, second = (each["gap_ms"] for each in found["requests"][1:])
    # The end of an answer is noted before its last bytes leave, so no gap is shorter than the sleep of the client.
    assert first > 0
    assert second >= 2 * BACK_OFF * 1000
    assert found["summary"]["attempts"] == 3


def test_timeout(service: Service, key: str) -> None:
    """Httpx gives up after its timeout, and each request has a connection of its own."""
    with httpx.Client(timeout=0.1) as client:
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                client.get(f"{service.url}/delayed?delay=1m&key={key}")
    found = service.journal(key, 2)
    assert [(each["ended"], each["left_by"], each["connection"]) for each in found["requests"]] == [
        ("left", "FIN", 1),
        ("left", "FIN", 2),
    ]
    # It began to wait before the service had accepted the request, and the machine can be slow after that.
    assert all(each["left_after_ms"] >= 50 for each in found["requests"])


def test_pool(service: Service, key: str) -> None:
    """A pool of ten connections is proved by a barrier of ten."""
    target = f"{service.url}/delayed?delay=0&gate={key}:10&within=60s&key={key}"
    with urllib3.PoolManager(maxsize=10, block=True, retries=False) as pool, ThreadPoolExecutor(10) as threads:
        statuses = {answer.status for answer in threads.map(lambda _: pool.request("GET", target), range(20))}
    assert statuses == {200}
    found = service.journal(key, 20)["requests"]
    assert {each["connection"] for each in found} == set(range(1, 11))
    assert max(each["overlaps"] for each in found) == 9


@pytest.mark.parametrize("prefix", ["", "/raw"])
def test_hedging(service: Service, key: str, prefix: str) -> None:
    """A hedging client over HTTP/2 has overlaps on one connection, and leaves the loser."""

    async def hedge() -> None:
        context = trusting()
        async with httpx.AsyncClient(http2=True, verify=context, timeout=60) as client:
            await client.get(f"{service.secure}{prefix}/delayed?delay=1ms&key={key}")
            target = f"{service.secure}{prefix}/delayed?delay=1m,1m,1ms&key={key}"
            tasks = [asyncio.create_task(client.get(target)) for _ in range(2)]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().status_code for task in done] == [200]
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)
            assert (await client.get(f"{service.secure}{prefix}/delayed?delay=1ms&key={key}")).status_code == 200

    asyncio.run(hedge())
    found = service.journal(key, 4)["requests"]
    assert [found[index]["ended"] for index in (0, 2, 3)] == ["answered"] * 3
    # httpx may end the stream of a cancelled request with its connection only.
    assert found[1]["ended"] in {"left", "reset"}
    assert [each["overlaps"] for each in found[:3]] == [0, 0, 1]
    assert {each["connection"] for each in found} == {1}


@pytest.mark.parametrize(("abort", "ended", "left_by"), [(False, "left", "FIN"), (True, "reset", "RST")])
@pytest.mark.parametrize("secure", [False, True])
def test_leaving(service: Service, key: str, *, secure: bool, abort: bool, ended: str, left_by: str) -> None:
    """The journal has FIN or RST when a client leaves, over TLS too."""
    url = urllib3.util.parse_url(service.secure if secure else service.url)
    plain = socket.create_connection(("127.0.0.1", url.port or 0), timeout=60)
    if abort:
        # Closing it resets the connection (SO_LINGER with no time).
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    context = trusting()
    with context.wrap_socket(plain, server_hostname="localhost") if secure else plain as connection:
        connection.sendall(f"GET /delayed?delay=1m&gate={key}&key={key} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        requests.get(f"{service.url}/control/gates/{key}?waiting=1&timeout=60s", timeout=90).raise_for_status()
        if abort:
            connection.close()
        else:
            # To close it would reset it, because the session tickets of TLS are unread.
            connection.shutdown(socket.SHUT_WR)
        (found,) = service.journal(key, 1)["requests"]
    assert (found["ended"], found["left_by"]) == (ended, left_by)
