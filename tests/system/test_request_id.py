from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from latebin.testing.process import ServiceProcess, serving
from tests.support.log import following
from tests.support.process import BOUND


@pytest.fixture(scope="module")
def process() -> Iterator[ServiceProcess]:
    with serving("--log-format", "json", "--workers", "2") as process:
        yield process


def test_logged(process: ServiceProcess, prefix: str) -> None:
    """An answer and its line in the log have the same id, in any worker."""
    logged = following(process)
    returned = [found for _ in range(10) for found in ids_of(process.port, f"{prefix}/delayed/0")]
    assert sorted(each["request_id"] for each in logged(len(returned))) == sorted(returned)
    assert len(set(returned)) == 11
    assert returned.count("a-1") == 10


def ids_of(port: int, target: str) -> list[str]:
    """Ask on one connection without an id, and then with one."""
    connection = HTTPConnection("127.0.0.1", port, timeout=BOUND)
    given: tuple[dict[str, str], ...] = ({}, {"X-Request-ID": "a-1"})
    found: list[str] = []
    for headers in given:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        response.read()
        found.append(response.getheader("X-Request-ID", ""))
    connection.close()
    return found
