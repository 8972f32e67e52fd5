import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from latebin.core.endpoints import PREFIXES
from latebin.deploy.manifest import Fleet, render
from tests.support.manifests import VARIABLES
from tests.support.process import BOUND, ROOT, answer, ask, get, until

PROGRAM = os.environ.get("CONTAINER_PROGRAM", shutil.which("podman") or shutil.which("docker") or "")

IMAGE = "latebin-test"

FORMAT = ("--format", "docker") if Path(PROGRAM).name == "podman" else ()
"""Podman's own format, OCI's, has no health check."""

container = pytest.mark.skipif(not PROGRAM, reason="neither podman nor docker, or CONTAINER_PROGRAM is empty")

BUILDING = 900
"""Seconds that building an image may take, where everything has to be fetched."""


def do(*arguments: str, timeout: int = BOUND) -> subprocess.CompletedProcess[str]:
    """Run the container program."""
    command = [PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, cwd=ROOT)
    assert done.returncode == 0, f"{command}: {done.stderr[-4000:]}"
    return done


def inspected(kind: str, name: str) -> Any:
    [found] = json.loads(do(kind, "inspect", name).stdout)
    return found


@attrs.frozen
class Container:
    """The service in a container, as it was built."""

    name: str
    port: int

    def execute(self, *command: str) -> str:
        return do("exec", self.name, *command).stdout

    def healthy(self) -> bool:
        """Tell what became of the health check, of which podman has to be reminded where there is no systemd."""
        if Path(PROGRAM).name == "podman":
            subprocess.run([PROGRAM, "healthcheck", "run", self.name], capture_output=True, check=False, timeout=BOUND)
        return bool(inspected("container", self.name)["State"]["Health"]["Status"] == "healthy")

    def stop(self) -> tuple[int, str]:
        """Stop it; give back the exit code and all that it wrote to its standard output."""
        do("stop", "--time", "40", self.name)
        return inspected("container", self.name)["State"]["ExitCode"], do("logs", self.name).stdout


@contextmanager
def running(*options: str) -> Iterator[Container]:
    """Run the image with no more than it needs: no capability, and nothing to write to."""
    limits = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--publish", "127.0.0.1::8080")
    name = do("run", "--detach", *limits, *options, IMAGE).stdout.strip()
    try:
        port = int(do("port", name, "8080").stdout.strip().rpartition(":")[2])
        until(lambda: "serving " in do("logs", name).stdout)
        yield Container(name, port)
    finally:
        do("rm", "--force", name)


@pytest.fixture(scope="module")
def image(pytestconfig: pytest.Config) -> str:
    """Build the image, and print its size."""
    do("build", *FORMAT, "--tag", IMAGE, ".", timeout=BUILDING)
    size = inspected("image", IMAGE)["Size"]
    reporter: Any = pytestconfig.pluginmanager.getplugin("terminalreporter")
    reporter.write_line(f"\nthe image has {size / 1e6:.0f} MB")
    return IMAGE


@container
@pytest.mark.usefixtures("image")
def test_serves() -> None:
    """The image as it was built serves both styles, read-only and without a privilege, and is healthy."""
    with running() as service:
        for prefix in PREFIXES.values():
            response, body = get(service.port, f"{prefix}/delayed/250ms")
            assert (response.status, len(body)) == (200, 52)
        until(service.healthy)
        assert service.execute("id", "-u").strip() == "10001"
        assert service.execute("id", "-g").strip() == "10001"
        code, output = service.stop()
    assert code == 0
    assert re.search(r"klein GET /delayed/250ms 200 .*\n", output)
    assert re.search(r"resource GET /raw/delayed/250ms 200 .*\n", output)


@container
@pytest.mark.usefixtures("image")
def test_stop_drains() -> None:
    """To stop the container loses no answer: what is pending is given on time."""
    with running("--env", "LATEBIN_LOG_FORMAT=json") as service:
        waiting = [ask(service.port, f"{prefix}/delayed/3s") for prefix in PREFIXES.values()]
        until(lambda: b'latebin_pending{style="resource"} 1.0' in get(service.port, "/metrics")[1])
        code, output = service.stop()
        assert [answer(connection)[0].status for connection in waiting] == [200, 200]
    assert code == 0
    stopped = json.loads(output.splitlines()[-1])
    assert "for 2 pending, 0 of them refused" in stopped["message"]


@container
@pytest.mark.usefixtures("image")
def test_runs_as_one_of_many() -> None:
    """The image serves, and is healthy, with the variables of its manifests, which it has itself."""
    variables = [f"--env={name}={value}" for name, value in VARIABLES["kubernetes"].items()]
    with running(*variables) as service:
        assert get(service.port, "/delayed/0")[0].status == 200
        assert get(service.port, "/readyz")[0].status == 404
        assert service.execute("latebin", "health") == ""
        assert service.execute("latebin", "manifest", "kubernetes") == render("kubernetes", Fleet())


@container
@pytest.mark.usefixtures("image")
def test_is_what_it_says() -> None:
    """The image has a user that is no name, a health check that is the program's own, and the project's version."""
    found = inspected("image", IMAGE)
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"]) == (["latebin"], ["serve"])
    # Podman tells it in another place than Docker.
    check = config.get("Healthcheck") or found["Healthcheck"]
    assert check["Test"] == ["CMD", "latebin", "health"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert config["Labels"]["org.opencontainers.image.version"] == version


@container
@pytest.mark.usefixtures("image")
def test_holds_no_more_than_it_needs() -> None:
    """Of the project there is the package alone; there is no compiler, and no cache of what installed it."""
    with running() as service:
        there = service.execute("sh", "-c", "ls -A /opt; ls /opt/delayed/bin; command -v cc gcc || true").split()
        assert not {"build", "cc", "gcc", "pip"} & set(there)
        caches = service.execute("sh", "-c", "ls -d /root/.cache /tmp/* 2>/dev/null || true")
        assert caches == ""
