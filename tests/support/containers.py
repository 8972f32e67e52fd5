"""The program that runs containers, where there is one that can."""

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.support.process import BOUND, ROOT

CHOSEN = os.environ.get("CONTAINER_PROGRAM")
"""The program that is to be used; empty for none, and None for one that is found."""

PROGRAM = (shutil.which("podman") or shutil.which("docker") or "") if CHOSEN is None else CHOSEN

IMAGE = "latebin-test"

PROBE = "latebin-test-probe"

FORMAT = ("--format", "docker") if Path(PROGRAM).name == "podman" else ()
"""Podman's own format, OCI's, has no health check."""

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
