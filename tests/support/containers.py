"""The program that runs containers, where there is one that can."""

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit
from typing import Any

from tests.support.process import BOUND, ROOT, until

CHOSEN = os.environ.get("CONTAINER_PROGRAM")
"""The program that is to be used; empty for none, and None for one that is found."""

PROGRAM = (shutil.which("podman") or shutil.which("docker") or "") if CHOSEN is None else CHOSEN

IMAGE = "latebin-test"

PROBE = "latebin-test-probe"

FORMAT = ("--format", "docker") if Path(PROGRAM).name == "podman" else ()
"""Podman's own format, OCI's, has no health check."""

MOST_OF_CONTAINER = 10_000
"""Open files, and processes, that a container may have where its program does not say it."""

BUILDING = 900
"""Seconds that building an image may take, where everything has to be fetched."""


def run(*arguments: str, timeout: int = BOUND, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([PROGRAM, *arguments], capture_output=True, check=False, timeout=timeout, cwd=ROOT, **options)


def do(*arguments: str, timeout: int = BOUND) -> str:
    """Run the container program, and return its output."""
    done = run(*arguments, timeout=timeout)
    assert done.returncode == 0, f"{PROGRAM} {arguments}: {done.stderr.decode(errors='replace')[-4000:]}"
    return done.stdout.decode()


def inspected(kind: str, name: str) -> Any:
    [found] = json.loads(do(kind, "inspect", name))
    return found


def missing() -> str | None:
    """Return the reason why no container can run here, or None if one can.

    A program that was chosen is not tried: the tests fail with it instead.
    """
    if not PROGRAM:
        return "neither podman nor docker is installed" if CHOSEN is None else "CONTAINER_PROGRAM is empty"
    if CHOSEN is not None:
        return None
    [base] = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    try:
        failure = _failure("import", "-", PROBE, input=_system()) or _failure("run", "--rm", PROBE, "/bin/true")
        if failure is None and run("image", "inspect", base).returncode:
            failure = _failure("pull", "--quiet", base, timeout=BUILDING)
    except subprocess.TimeoutExpired as expired:
        return str(expired)
    finally:
        run("rmi", "--force", PROBE)
    return failure


@contextmanager
def docker_socket(folder: Path) -> Iterator[dict[str, str]]:
    """Offer the interface of Docker to other programs; yield the variables that lead them there.

    Docker has a socket of its own. Podman serves one only when it is asked to.

    Args:
        folder: an empty folder, for the socket.
    """
    if not FORMAT:
        yield {}
        return
    socket, configuration = folder / "docker.sock", folder / "containers.conf"
    # A container gets no more than this process has: on some machines, not even root may raise a limit.
    limits = [
        f"{name}={most}:{most}" for name, most in (("nofile", _most(RLIMIT_NOFILE)), ("nproc", _most(RLIMIT_NPROC)))
    ]
    configuration.write_text(f"[containers]\ndefault_ulimits = {json.dumps(limits)}\n")
    variables = {**os.environ, "CONTAINERS_CONF": str(configuration)}
    command = [PROGRAM, "system", "service", "--time=0", f"unix://{socket}"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=variables, stdout=log, stderr=log) as service,
    ):
        try:
            until(lambda: socket.exists() or service.poll() is not None)
            assert service.poll() is None, (folder / "log").read_text()
            yield {
                "DOCKER_HOST": f"unix://{socket}",
                # Ports are published on this machine, also where it is a container itself.
                "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
                "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
            }
        finally:
            service.terminate()


def _most(kind: int) -> int:
    hard = getrlimit(kind)[1]
    return MOST_OF_CONTAINER if hard == RLIM_INFINITY else min(hard, MOST_OF_CONTAINER)


def _failure(*arguments: str, **options: Any) -> str | None:
    """Run the container program, and return the last line of its error if it fails."""
    done = run(*arguments, **options)
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason was given"]
    return f"{PROGRAM} {' '.join(arguments)}: {lines[-1]}" if done.returncode else None


def _system() -> bytes:
    """Make an archive of the smallest system that can run: one program, and its libraries."""
    program = shutil.which("true")
    assert program is not None
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", dereference=True) as archive:
        archive.add(program, "bin/true")
        for library in re.findall(r"(/\S+) \(0x", libraries):
            archive.add(library, library.lstrip("/"))
    return data.getvalue()
