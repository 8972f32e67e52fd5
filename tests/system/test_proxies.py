"""A client behind a proxy, over real connections."""

import json
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from latebin.testing.process import ServiceProcess, serving
from tests.support.certificate import listening
from tests.support.log import following
from tests.support.process import BOUND

OURS = "127.0.0.1"


@pytest.fixture(scope="module", params=["1", "2"])
def process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service that listens on plain TCP and on TLS."""
    secure = listening(tmp_path_factory.mktemp("tls") / "localhost.pem")
    listen = ("--listen", f"tcp:0:interface={OURS}", "--listen", secure)
    with serving("--log-format", "json", "--workers", request.param, "--proxy-headers", OURS, *listen) as process:
        yield process


def test_believed(process: ServiceProcess, prefix: str) -> None:
    """The option names the proxies whose headers are believed, for any number of processes."""
    logged = following(process)
    connection = HTTPConnection(OURS, process.port, timeout=BOUND)
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    connection.request("GET", f"{prefix}/delay/0", headers=headers)
    echoed = json.load(connection.getresponse())
    connection.close()
    assert (echoed["origin"], echoed["url"]) == ("192.0.2.1", f"https://shop.example{prefix}/delay/0")
    assert [event["address"] for event in logged(1)] == ["192.0.2.1"]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl(process: ServiceProcess, prefix: str, version: str) -> None:
    """A proxy is believed over both HTTP versions, and its request id returned."""
    logged = following(process)
    headers = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: a", "X-Request-ID: a-1")
    written = "%header{x-request-id} %{http_version}"
    command = ["curl", "--no-progress-meter", "--insecure", version, "-w", written]
    command += [argument for header in headers for argument in ("-H", header)]
    url = f"{process.urls[1]}{prefix}/delay/0"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True, timeout=BOUND)
    echoed, end = json.JSONDecoder().raw_decode(done.stdout)
    assert (echoed["origin"], echoed["url"]) == ("192.0.2.1", f"http://a{prefix}/delay/0")
    assert done.stdout[end:].split() == ["a-1", version.removeprefix("--http")]
    assert [(event["address"], event["request_id"]) for event in logged(1)] == [("192.0.2.1", "a-1")]
