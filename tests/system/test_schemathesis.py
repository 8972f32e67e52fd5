import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latebin.testing.process import serving
from tests.support.process import environment

RUNS = {"klein": ("klein",), "resource": ("resource",), "neither": ("site", "control")}
"""The tags of the operations that each run tests."""


def command(port: int, *tags: str) -> list[str]:
    """Run every check there is, always with the same requests.

    The stateful phase is left out: no request makes anything that another could use. The phase of examples sends those
    of the document as they are, their fault too. With the seed among them, that fault does not happen.
    """
    schemathesis = str(Path(sys.executable).with_name("schemathesis"))
    location = f"http://127.0.0.1:{port}/openapi.json"
    chosen = [f"--include-tag={tag}" for tag in tags]
    checks = ["--checks", "all", "--phases", "examples,fuzzing"]
    bounds = ["--max-examples", "6", "--generation-deterministic", "--continue-on-failure", "--no-color"]
    return [
        schemathesis,
        "--config-file",
        str(Path(__file__).parents[1] / "support" / "schemathesis.toml"),
        "run",
        location,
        *chosen,
        *checks,
        *bounds,
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All runs at once, in less time."""
    variables = environment()
    # The scenario of the document's example answers 429, which says nothing about the service.
    options = "--max-delay", "500ms", "--default-delay", "1ms", "--scenario", "rate-limited=delay=1ms&type=json"
    # The scenarios of the others stay as they are.
    with serving(*options) as process, serving(*options) as changed:
        started = {
            run: subprocess.Popen(
                command(changed.port if "control" in tags else process.port, *tags),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=variables,
                cwd=tmp_path_factory.mktemp(run),
            )
            for run, tags in RUNS.items()
        }
        yield started
        for popen in started.values():
            popen.kill()
            popen.communicate()


@pytest.mark.parametrize("run", RUNS)
def test_no_finding(runs: dict[str, subprocess.Popen[str]], run: str) -> None:
    """Schemathesis finds nothing wrong with a served instance, by the document that it serves itself."""
    output, _ = runs[run].communicate(timeout=300)
    assert runs[run].returncode == 0, output
    assert "No issues found" in output, output
