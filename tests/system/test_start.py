import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from ssl import create_default_context

import pytest

from latebin.testing.process import serving
from tests.support import certificate
from tests.support.process import answer, environment, status

SCRIPT = """
import atexit, json, os, sys
from latebin.cli.main import main

def write() -> None:
    loaded = [name for name, module in sys.modules.items() if module and type(module).__name__ != "PostponedModule"]
    # Standard output is the log's by then.
    os.write(1, ("modules " + json.dumps(loaded) + chr(10)).encode())

atexit.register(write)
main()
"""
"""The command line, in a process that writes the names of its modules at its end."""

IMPORT = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)
"""A line that Python writes for each import statement that loads a module, where PYTHONPROFILEIMPORTTIME is set."""

UNUSED = {
    "HTTP/2 and TLS": ("OpenSSL", "cryptography", "service_identity", "ssl", "h2", "hpack", "hyperframe", "priority"),
    "Twisted's TLS": ("twisted.protocols.tls", "twisted.internet.ssl", "twisted.web._http2"),
    "our TLS": ("latebin.overrides.tls", "latebin.overrides.http2", "latebin.overrides.http2_frames"),
    "clients": ("treq", "multipart", "twisted.web.client", "latebin.answers.via", "latebin.answers.upstreams"),
    "a state in Redis": ("txredisapi", "latebin.state.redis", "latebin.answers.shared_scenarios"),
    "pages": ("pygments", "rich", "jinja2", "markdown_it", "prometheus_client", "importlib.resources"),
    "our pages": ("latebin.site.index_page", "latebin.site.compare_page", "latebin.site.docs_page"),
    "documents": ("latebin.core.openapi", "latebin.telemetry.exposition", "latebin.compare", "latebin.deploy"),
    "measurements": ("latebin.load", "hdrh", "matplotlib"),
    "other servers": ("asyncio.base_events", "http.client", "http.server", "urllib.request", "http.cookiejar"),
    "Klein and Werkzeug": ("klein._form", "werkzeug.test", "werkzeug.serving", "werkzeug.formparser"),
}
"""Packages and modules that no request to `/delayed` needs, by their use."""


def imported(output: str) -> set[str]:
    return set(IMPORT.findall(output))


def within(modules: set[str], packages: tuple[str, ...]) -> set[str]:
    """Return the modules that are one of the packages, or in one."""
    return {name for name in modules if any(f"{name}.".startswith(f"{package}.") for package in packages)}


def whole(log: Path) -> str:
    """Read the output up to the last line that is whole."""
    return log.read_text("utf-8").rpartition("\n")[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[set[str], str]]:
    """The modules of a service with default settings, and its log from its start on."""
    log = tmp_path_factory.mktemp("start") / "log"
    with serving(program=("-c", SCRIPT), log=log, PYTHONPROFILEIMPORTTIME="1") as service:
        for path in ("/delayed/0", "/raw/delayed/0"):
            assert status(service.port, path) == 200
        assert service.stop() == 0
        _, _, modules = whole(log).rpartition("\nmodules ")
        yield set(json.loads(modules)), service.log()


@pytest.mark.parametrize("use", UNUSED)
def test_unused(finished: tuple[set[str], str], use: str) -> None:
    """A module is not imported when settings and requests need no more than a delay."""
    modules, _ = finished
    assert {"latebin.styles.klein", "latebin.styles.resource", "twisted.web.server"} <= modules
    assert not within(modules, UNUSED[use])


def test_first_requests(finished: tuple[set[str], str]) -> None:
    """Nothing is imported for a first request in either style when the service is up."""
    _, output = finished
    before, stopping, _ = output.partition(" stopping: ")
    assert stopping
    assert not imported(before)


def test_workers(tmp_path: Path) -> None:
    """No worker and no parent imports TLS, clients or pages when settings need none."""
    log = tmp_path / "log"
    with serving("--workers", "2", log=log, PYTHONPROFILEIMPORTTIME="1"):
        output = whole(log)
    assert IMPORT.findall(output).count("latebin.site.factory") == 3
    # pyOpenSSL and h2 are in the output too, for their imports fail.
    assert not within(imported(output), ("cryptography", "hpack", "ssl", "treq", "prometheus_client"))


def test_upstream(tmp_path: Path) -> None:
    """The client of `/via` is imported at the start when there is an upstream."""
    log = tmp_path / "log"
    with serving("--upstream", "api=http://127.0.0.1:9", log=log, PYTHONPROFILEIMPORTTIME="1") as service:
        assert "latebin.answers.upstreams" in imported(whole(log))
        assert status(service.port, "/via/api/") == 502
        assert not imported(service.log())
    assert not within(imported(whole(log)), ("cryptography", "hpack", "treq", "twisted.web.client"))


def test_secure_upstream(tmp_path: Path) -> None:
    """TLS is imported at the start when an upstream is reached by HTTPS."""
    log = tmp_path / "log"
    with serving("--upstream", "api=https://127.0.0.1:9", log=log, PYTHONPROFILEIMPORTTIME="1") as service:
        assert {"cryptography", "service_identity", "twisted.protocols.tls"} <= imported(whole(log))
        assert status(service.port, "/via/api/") == 502
        assert not imported(service.log())


def test_secure_endpoint(tmp_path: Path) -> None:
    """TLS and HTTP/2 are imported at the start when the service listens for TLS."""
    log, pem = tmp_path / "log", tmp_path / "localhost.pem"
    with serving("--listen", certificate.listening(pem), log=log, PYTHONPROFILEIMPORTTIME="1") as service:
        assert {"cryptography", "hpack", "latebin.overrides.http2_frames"} <= imported(whole(log))
        connection = HTTPSConnection("localhost", service.port, context=create_default_context(cafile=pem))
        connection.request("GET", "/delayed/0")
        assert answer(connection)[0].status == 200
        assert not imported(service.log())


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help"), ("--version",)], ids=" ".join)
def test_help(arguments: tuple[str, ...]) -> None:
    """The command line imports neither Twisted nor Klein when it is asked for help."""
    command = [sys.executable, "-m", "latebin", *arguments]
    done = subprocess.run(
        command, capture_output=True, check=True, text=True, timeout=60, env=environment(PYTHONPROFILEIMPORTTIME="1")
    )
    assert "click" in imported(done.stderr)
    assert not within(imported(done.stderr), ("twisted", "klein", "zope", "werkzeug"))
