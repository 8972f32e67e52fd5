import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import pytest

from latebin.deploy.manifest import Fleet
from latebin.testing.process import ServiceProcess, serving, started
from tests.support.haproxy import CLIENTS, HAPROXY, answered, load
from tests.support.haproxy import balancing as running
from tests.support.manifests import balancing, compose
from tests.support.process import ports, until

REPLICAS = ("127.0.0.2", "127.0.0.3")
"""Loopback as a network: each replica has the ports that the Compose file gives it at an address of its own."""

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")


@contextmanager
def replica(fleet: Fleet, host: str) -> Iterator[ServiceProcess]:
    """Run a replica as the Compose file does."""
    service = compose(fleet)["services"]["latebin"]
    serve, *options, listen = service["command"]
    assert serve == "serve"
    variables = dict(service["environment"])
    variables["LATEBIN_ADMIN_LISTEN"] += f":interface={host}"
    with serving(*options, f"{listen}:interface={host}", **variables) as process:
        yield process


@contextmanager
def named(port: int, hosts: Path) -> Iterator[None]:
    """Run a name server for the replicas, like that of the Compose network."""
    hosts.write_text("".join(f"{host} latebin\n" for host in REPLICAS))
    arguments = ("-m", "twisted", "--log-format", "text", "dns", "--interface", "127.0.0.1", "--port", str(port))
    with started(*arguments, "--hosts-file", str(hosts), ready=r"DNSDatagramProtocol starting on (\d+)"):
        yield


def local(configuration: str, port: int, name_server: int) -> str:
    """Let HAProxy listen on loopback alone, and ask the name server that there is."""
    for here, there in {
        f"bind :{port}": f"bind 127.0.0.1:{port}",
        "parse-resolv-conf": f"nameserver local 127.0.0.1:{name_server}",
    }.items():
        assert len(re.findall(here, configuration)) == 1
        configuration = configuration.replace(here, there)
    return configuration


def origin(port: int, host: str) -> str:
    """Send a request from an address; return the origin in the answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30, source_address=(host, 0))
    connection.request("GET", "/delay/0")
    with connection.getresponse() as response:
        echoed = json.load(response)["origin"]
    connection.close()
    return str(echoed)


def test_replacement(tmp_path: Path) -> None:
    """A replica behind the Compose file's HAProxy is replaced under load without a loss.

    The replicas have the client's address of each request.
    """
    port, admin_port, name_server = ports(3)
    fleet = Fleet(port=port, admin_port=admin_port)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(local(balancing(fleet), port, name_server))
    over = Event()
    with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as stack:
        replicas = {host: stack.enter_context(replica(fleet, host)) for host in REPLICAS}
        stack.enter_context(named(name_server, tmp_path / "hosts"))
        stack.enter_context(running(configuration, port))
        stack.callback(over.set)
        assert origin(port, "127.0.0.4") == "127.0.0.4"
        paths = ["/delayed/50ms", "/raw/delayed/50ms"] * (CLIENTS // 2)
        asking = [pool.submit(load, port, path, over) for path in paths]
        for host in REPLICAS:
            until(partial(answered, admin_port, host))
        assert replicas[REPLICAS[0]].stop() == 0
        stack.enter_context(replica(fleet, REPLICAS[0]))
        until(partial(answered, admin_port, REPLICAS[0]))
        over.set()
        statuses = [status for each in asking for status in each.result()]
    assert set(statuses) == {200}
