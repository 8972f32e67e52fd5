import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latebin.testing.process import serving
from tests.support.process import environment

RUNS = {"klein": "klein", "resource": "resource", "neither": "site", "control": "control"}
"""The tested operations, by their tags."""


def command(port: int, tag: str) -> list[str]:
    """Run every check there is, always with the same requests.

    The stateful phase is left out: no request makes anything that another could use. The phase of examples sends those
    of the document as they are, their fault too. With the seed among them, that fault does not happen.
    """
    schemathesis = str(Path(sys.executable).with_name("schemathesis"))
    location = f"http://127.0.0.1:{port}/openapi.json"
    chosen = ["--include-tag", tag, "--checks", "all", "--phases", "examples,fuzzing"]
    bounds = ["--max-examples", "10", "--generation-deterministic", "--continue-on-failure", "--no-color"]
    return [
        schemathesis,
        "--config-file",
        str(Path(__file__).parents[1] / "support" / "schemathesis.toml"),
        "run",
        location,
        *chosen,
        *bounds,
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All runs at once, in a third of the time."""
    variables = environment()
    # The scenario of the document's example answers 429, which says nothing about the service.
    options = "--max-delay", "500ms", "--default-delay", "1ms", "--scenario", "rate-limited=delay=1ms&type=json"
    # The scenarios of the others stay as they are.
    with serving(*options) as process, serving(*options) as changed:
        started = {
            tag: subprocess.Popen(
                command(changed.port if tag == "control" else process.port, tag),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=variables,
                cwd=tmp_path_factory.mktemp(tag),
            )
            for tag in RUNS.values()
        }
        yield started
        for run in started.values():
            run.kill()
            run.communicate()


@pytest.mark.parametrize("tag", RUNS.values(), ids=RUNS)
def test_no_finding(runs: dict[str, subprocess.Popen[str]], tag: str) -> None:
    """Schemathesis finds nothing wrong with a served instance, by the document that it serves itself."""
    output, _ = runs[tag].communicate(timeout=300)
    assert runs[tag].returncode == 0, output
    assert "No issues found" in output, output
