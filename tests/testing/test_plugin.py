"""The pytest plugin, in projects that pytest runs in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from latebin.client import Latebin
from latebin.testing.process import StartError, serving
from latebin.testing.server import fresh_key, server
from tests.support.plugins import only
from tests.support.process import BOUND, environment, ports, refused


def project(folder: Path, **modules: str) -> Path:
    """Write the modules of a project whose own package is called `app`."""
    modules = {"app/__init__": "OWNER = 'the project'", **modules}
    for name, text in modules.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


def run(
    folder: Path, *options: str, plugins: Sequence[str] = (), **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a project's tests, as from a terminal, with the plugins that they need."""
    inherited = environment(**variables)
    # A worker of xdist says so to the processes that it starts.
    own = {name: value for name, value in inherited.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *only(*plugins), *options],
        cwd=folder,
        env=own,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )


def passed(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


IMPORTS = """
import app

def test_it(request):
    import sys
    assert app.OWNER == "the project"
    loaded = {name for name in sys.modules if name.partition(".")[0] in {"attr", "attrs", "http", "latebin", "twisted"}}
    assert loaded - {"http"} == {"latebin", "latebin.testing", "latebin.testing.plugin"}
"""


def test_imports(tmp_path: Path) -> None:
    """The plugin imports nothing but itself when no test uses a fixture of it."""
    passed(run(project(tmp_path, test_it=IMPORTS)))


USE = """
import os
from urllib.request import urlopen
import app
from latebin.client import Latebin

def test_owner():
    assert app.OWNER == "the project"

def test_first(latebin, latebin_server):
    assert latebin.key.startswith("test_first-")
    assert str(latebin_server) == latebin_server.url == latebin.base
    assert urlopen(latebin.url(delay=0)).status == 200
    assert latebin.turn() == 1
    latebin.gate("late")
    with open(os.environ["FOUND"] + "/" + os.environ.get("PYTEST_XDIST_WORKER", "main"), "w") as found:
        found.write(latebin.base)

def test_second(latebin):
    assert latebin.turn() == 0
    assert not Latebin(latebin.base).pending()
"""

OPTIONS = """
import pytest

@pytest.fixture(scope="session")
def latebin_options():
    return "--default-delay", "1ms"
"""


def test_service(tmp_path: Path) -> None:
    """A service runs until the end of the session when tests use it."""
    found = tmp_path / "found"
    found.mkdir()
    folder = project(tmp_path / "project", test_it=USE, conftest=OPTIONS)
    assert "3 passed" in passed(run(folder, FOUND=str(found)))
    url = (found / "main").read_text()
    assert refused(int(url.rpartition(":")[2]))


def test_workers(tmp_path: Path) -> None:
    """Each worker of xdist has a service of its own when tests run in parallel."""
    found = tmp_path / "found"
    found.mkdir()
    folder = project(tmp_path / "project", test_one=USE, test_two=USE)
    assert "6 passed" in passed(run(folder, "-n", "2", "--dist", "loadfile", plugins=["xdist"], FOUND=str(found)))
    urls = {path.name: path.read_text() for path in found.iterdir()}
    assert set(urls) == {"gw0", "gw1"}
    assert len(set(urls.values())) == 2


def test_running_service(tmp_path: Path) -> None:
    """The tests use a service that runs when LATEBIN_URL names it, and leave it running."""
    with serving() as service:
        found = tmp_path / "found"
        found.mkdir()
        passed(run(project(tmp_path / "project", test_it=USE), FOUND=str(found), LATEBIN_URL=f"{service.url}/"))
        assert (found / "main").read_text() == service.url
        assert Latebin(service.url).ready()
        assert "/delayed?key=test_first-" in service.log()


def test_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the URL when no service is ready at LATEBIN_URL."""
    [port] = ports(1)
    monkeypatch.setattr("latebin.testing.server.START_TIME", 0.0)
    monkeypatch.setenv("LATEBIN_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(StartError, match=f"the service at http://127.0.0.1:{port} is not ready"), server():
        pass


FAILING = """
from urllib.request import urlopen

def test_failing(latebin):
    urlopen(latebin.url("/delayed/1ms"))
    assert False

def test_unrelated():
    assert False
"""


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["one", "xdist"])
def test_log(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The report of a failed test has the log of the service during that test."""
    done = run(project(tmp_path, test_it=FAILING), *options, plugins=["xdist"] if options else [])
    assert "2 failed" in done.stdout
    [log] = re.findall(r"- Log of latebin -+\n((?:\d{4}-.*\n)+)", done.stdout)
    assert "/delayed/1ms?key=test_failing-" in log
    assert log.count("\n") == 2


STRAGGLER = """
import pytest, threading, urllib.error, urllib.request
found = []

def test_gate(latebin):
    url = latebin.url(delay=0, gate="late")
    thread = threading.Thread(target=lambda: found.append(urllib.request.urlopen(url).status))
    found.append(thread)
    thread.start()
    latebin.gate("late").wait_for(1)
    found.append(latebin.scenario("mine", delay=0))

def test_after(latebin):
    thread, base, *_ = found
    thread.join(30)
    assert found[2:] == [200]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(base)
"""


def test_gates_are_opened(tmp_path: Path) -> None:
    """An answer goes on and a scenario is gone when their test ends."""
    passed(run(project(tmp_path, test_it=STRAGGLER)))


ASYNCIO = """
import asyncio, pytest

@pytest.mark.asyncio
async def test_asyncio(latebin):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(latebin.base.rpartition(":")[2]))
    writer.write(f"GET {latebin.url(delay=0, gate='late')} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n".encode())
    assert await asyncio.to_thread(latebin.gate("late").wait_for, 1) == 1
    assert latebin.gate("late").release() == 1
    assert (await reader.readline()).endswith(b" 200 OK\\r\\n")
    writer.close()
"""

ANYIO = """
import anyio, httpx, pytest

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
async def test_anyio(latebin):
    async with httpx.AsyncClient() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.get, latebin.url(delay=0, gate="late"))
        assert await anyio.to_thread.run_sync(latebin.gate("late").wait_for, 1) == 1
        assert latebin.gate("late").release() == 1
"""

TWISTED = """
import pytest_twisted, treq
from twisted.internet.threads import deferToThread

@pytest_twisted.ensureDeferred
async def test_twisted(latebin):
    answer = treq.get(latebin.url(delay=0, gate="late"), persistent=False)
    assert await deferToThread(latebin.gate("late").wait_for, 1) == 1
    assert latebin.gate("late").release() == 1
    response = await answer
    assert response.code == 200
    await response.content()
"""


def test_event_loops(tmp_path: Path) -> None:
    """The fixtures serve asyncio, anyio, trio and Twisted when these share a project."""
    option = "-o", "asyncio_default_fixture_loop_scope=function"
    folder = project(tmp_path, test_asyncio=ASYNCIO, test_anyio=ANYIO, test_twisted=TWISTED)
    assert "4 passed" in passed(run(folder, *option, plugins=["anyio", "asyncio", "twisted"]))


@pytest.mark.parametrize("name", ["test_x", "test_x[a/b;c-\u00e4]", "t" * 300, ""])
def test_key(name: str) -> None:
    """A key is accepted and unlike others when it is made of any name."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{13,60}", fresh_key(name))
    assert fresh_key(name) != fresh_key(name)
