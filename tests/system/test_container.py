import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import attrs
import pytest

from latebin.core.endpoints import PREFIXES
from latebin.deploy.manifest import Fleet, render
from tests.support.containers import BUILDING, FORMAT, IMAGE, PROGRAM, do, docker_socket, inspected, missing, run
from tests.support.log import notable, records
from tests.support.manifests import VARIABLES
from tests.support.plugins import only
from tests.support.process import ROOT, answer, ask, environment, get, status, until
from tests.support.samples import pending


@attrs.frozen
class Container:
    """The service in a container, as it was built."""

    name: str

    def port(self, inside: int = 8080) -> int:
        """Return the port of this machine that leads to a port of the container."""
        return int(do("port", self.name, str(inside)).strip().rpartition(":")[2])

    def execute(self, *command: str, options: tuple[str, ...] = ()) -> str:
        return do("exec", *options, self.name, *command)

    def healthy(self) -> bool:
        """Return whether the health check has passed.

        Without systemd, podman runs the check only when it is asked to.
        """
        if Path(PROGRAM).name == "podman":
            run("healthcheck", "run", self.name)
        return bool(inspected("container", self.name)["State"]["Health"]["Status"] == "healthy")

    def stop(self) -> tuple[int, str]:
        """Stop the container, and return its exit code and its output."""
        do("stop", "--time", "40", self.name)
        return inspected("container", self.name)["State"]["ExitCode"], do("logs", self.name)


@contextmanager
def running(*options: str) -> Iterator[Container]:
    """Run the image without a capability and without anything to write to."""
    limits = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--publish", "127.0.0.1::8080")
    name = do("run", "--detach", *limits, *options, IMAGE).strip()
    try:
        wait_until_serving(name)
        yield Container(name)
    finally:
        do("rm", "--force", name)


def wait_until_serving(name: str) -> None:
    """Read the log of a container until its service listens."""
    output = []
    command = [PROGRAM, "logs", "--follow", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as logs:
        assert logs.stdout is not None
        for line in logs.stdout:
            output.append(line)
            if "serving " in line:
                break
        logs.kill()
    assert any("serving " in line for line in output), output


@pytest.fixture(scope="module", autouse=True)
def image(pytestconfig: pytest.Config) -> str:
    """Build the image, and print its size."""
    if reason := missing():
        pytest.skip(reason)
    do("build", *FORMAT, "--tag", IMAGE, ".", timeout=BUILDING)
    size = inspected("image", IMAGE)["Size"]
    reporter: Any = pytestconfig.pluginmanager.getplugin("terminalreporter")
    reporter.write_line(f"\nthe image has {size / 1e6:.0f} MB")
    return IMAGE


TOKEN = "c" * 40

SECOND = 8082
"""A port of the container for a second service in it."""


@pytest.fixture(scope="module")
def service(image: str) -> Iterator[Container]:
    """One container for several tests, the last of which stops it."""
    variables = (f"--env={each}" for each in ("LATEBIN_LOG_FORMAT=json", f"LATEBIN_CONTROL_TOKEN={TOKEN}"))
    with running(*variables, f"--publish=127.0.0.1::{SECOND}") as service:
        yield service


def test_is_what_it_says() -> None:
    """The image has a numeric user, a health check, and the version of the project."""
    found = inspected("image", IMAGE)
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"]) == (["latebin"], ["serve"])
    # Podman has it in another place than Docker.
    check = config.get("Healthcheck") or found["Healthcheck"]
    assert check["Test"] == ["CMD", "latebin", "health"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert config["Labels"]["org.opencontainers.image.version"] == version


def test_serves(service: Container) -> None:
    """The image serves both styles and is healthy when it has no privilege."""
    port = service.port()
    for prefix in PREFIXES.values():
        response, body = get(port, f"{prefix}/delayed/250ms")
        assert (response.status, len(body)) == (200, 52)
    until(service.healthy)
    assert service.execute("sh", "-c", "id -u; id -g").split() == ["10001", "10001"]


def test_holds_no_more_than_it_needs(service: Container) -> None:
    """The image holds the package alone, without a compiler and without a cache."""
    there = service.execute("sh", "-c", "ls -A /opt; ls /opt/latebin/bin; command -v cc gcc || true").split()
    assert "latebin" in there
    assert not {"build", "cc", "gcc", "pip"} & set(there)
    caches = service.execute("sh", "-c", "ls -d /root/.cache /tmp/* 2>/dev/null || true")
    assert caches == ""


IMPORTED = """
import sys
from pathlib import Path
import latebin.cli.serve, latebin.site.root
print(*(name for name, each in sys.modules.items() if (file := getattr(each, "__file__", None) or "").endswith(".py")
    and file.startswith(sys.prefix) and not Path(each.__cached__).exists()))
"""


def test_is_compiled(service: Container) -> None:
    """Each module that the service imports was compiled when the image was built."""
    assert service.execute("/opt/latebin/bin/python", "-c", IMPORTED).split() == []


def test_runs_as_one_of_many(service: Container) -> None:
    """The image serves and is healthy with the variables of its manifests."""
    # Beside the service of the container, which has their port.
    variables = VARIABLES["kubernetes"] | {"LATEBIN_PORT": str(SECOND)}
    options = tuple(f"--env={name}={value}" for name, value in variables.items())
    service.execute("latebin", "serve", options=("--detach", *options))
    port = service.port(SECOND)
    until(lambda: answers(port))
    assert status(port, "/readyz") == 404
    assert service.execute("latebin", "health", options=options) == ""
    assert service.execute("latebin", "manifest", "kubernetes", options=options) == render("kubernetes", Fleet())


def answers(port: int) -> bool:
    try:
        return status(port, "/delayed/0") == 200
    except (OSError, HTTPException):
        return False


TESTS = """
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

def test_gate(latebin):
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(urlopen, latebin.url(delay=0, gate="late"))
        latebin.gate("late").wait_for(1)
        assert latebin.gate("late").release() == 1
        assert answer.result().status == 200
"""


def run_pytest(folder: Path, **variables: str) -> str:
    """Run the tests of a folder, and return the output."""
    command = [sys.executable, "-m", "pytest", "-q", *only()]
    environ = environment(**variables)
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout + done.stderr


def test_fixtures(service: Container, tmp_path: Path) -> None:
    """The fixtures of the pytest plugin use the image when LATEBIN_URL names its container."""
    (tmp_path / "test_it.py").write_text(TESTS)
    url = f"http://127.0.0.1:{service.port()}"
    output = run_pytest(tmp_path, LATEBIN_URL=url, LATEBIN_CONTROL_TOKEN=TOKEN)
    assert "1 passed" in output, output


def test_stop_drains(service: Container) -> None:
    """Pending answers are given on time when the container is stopped."""
    port = service.port()
    waiting = [ask(port, f"{prefix}/delayed/10s") for prefix in PREFIXES.values()]
    until(lambda: pending(port) == len(waiting))
    code, output = service.stop()
    assert [answer(connection)[0].status for connection in waiting] == [200, 200]
    assert code == 0
    answers = [(each["style"], each["status"]) for each in notable(output) if each["path"].endswith("/delayed/10s")]
    assert sorted(answers) == [("klein", 200), ("resource", 200)]
    assert "for 2 pending, 0 of them refused" in records(output)[-1]["message"]


def test_testcontainers(tmp_path: Path) -> None:
    """The fixture for testcontainers runs the image, and removes it when the tests end."""
    text = (ROOT / "app/latebin/docs/python.md").read_text("utf-8")
    [fixture] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "DockerContainer" in block]
    before = containers()
    image = f"localhost/{IMAGE}" if FORMAT else IMAGE
    (tmp_path / "conftest.py").write_text(fixture.replace('"latebin"', f'"{image}"'))
    (tmp_path / "test_it.py").write_text(TESTS)
    socket = tmp_path / "socket"
    socket.mkdir()
    with docker_socket(socket) as variables:
        # Its reaper would be another image, from a registry; the fixture removes its container itself.
        output = run_pytest(tmp_path, TESTCONTAINERS_RYUK_DISABLED="true", **variables)
    assert "1 passed" in output, output
    assert containers() == before


def containers() -> set[str]:
    """Return the ids of the containers of the image, whether they run or not."""
    return set(do("ps", "--all", "--quiet", "--filter", f"ancestor={IMAGE}").split())
