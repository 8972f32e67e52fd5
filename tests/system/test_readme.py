import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latebin.cli.serve import serve_command
from latebin.core.endpoints import markdown, parameters
from latebin.core.faults import KINDS
from latebin.core.language.grammar import FORMS, parse
from tests.server.test_workers import certificate
from tests.support.process import ROOT, Process, environment, serving
from tests.support.strategies import TRACES

README = (ROOT / "README.md").read_text()

EXAMPLES = [
    (command, output)
    for block in re.findall(r"^```console\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    with serving() as process:
        yield process


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_example(process: Process, command: str, output: str) -> None:
    """An example gives what the README says, where `...` stands for what is different each time."""
    assert shutil.which("curl"), "the README's examples need curl"
    command = command.replace("localhost:8080", f"127.0.0.1:{process.port}").replace(
        "curl ", "curl --no-progress-meter "
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True, env=environment(PATH=path)
    )
    expected = re.escape(output).replace(re.escape("..."), ".*")
    assert re.fullmatch(expected, re.sub(r"[ \r]*\n", "\n", done.stdout.rstrip() + "\n"))


def test_there_are_examples() -> None:
    """The first screen shows curl against both styles."""
    assert [command for command, _ in EXAMPLES][:2] == [
        "curl -i localhost:8080/delayed",
        "curl -i localhost:8080/raw/delayed/250ms",
    ]


def test_settings() -> None:
    """The table of settings is what the command line has: flag, variable, default and meaning."""
    rows = re.findall(r"^\| `(--.*?)` \| `(.*?)` \| (?:`(.*?)`)? ?\| (.*?) \|$", README, re.MULTILINE)
    options = [option for option in serve_command.params if isinstance(option, click.Option)]
    assert rows == [
        (option.opts[0], option.envvar, "" if option.multiple else str(option.default), option.help)
        for option in options
    ]


@pytest.mark.parametrize("example", re.findall(r"^latebin serve (.*)$", README, re.MULTILINE))
def test_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: str) -> None:
    """The command line takes every example of serving: all that it finds wrong is what was added to stop it there."""
    monkeypatch.chdir(tmp_path)
    for name in ("key.pem", "cert.pem"):
        certificate(tmp_path / name)
    stopping = ["--default-delay", "2s", "--max-delay", "1s"]
    refused = CliRunner().invoke(serve_command, [*shlex.split(example), *stopping])
    assert "Error: the default delay, 2s, is above the longest, 1s" in refused.output


def table_of(section: str, heading: str) -> list[str]:
    """Give the lines below the headings of the table that begins with a heading."""
    [found] = re.findall(rf"^## {section}\n.*?^(\| {heading} \|.*?\n)\n", README, re.DOTALL | re.MULTILINE)
    return str(found).splitlines()[2:]


def test_parameters() -> None:
    """The table of parameters is what the declaration makes of it."""
    assert markdown() in README, f"The README's table of parameters is to be:\n\n{markdown()}"


@pytest.fixture(scope="module")
def quick() -> Iterator[Process]:
    """A service whose delays are all cut to what can be waited for."""
    with serving("--default-delay", "1ms", "--max-delay", "1s") as process:
        yield process


@pytest.mark.parametrize("target", [target for _, target in parameters()])
@pytest.mark.parametrize("prefix", ["", "/raw"])
def test_example_of_a_parameter(quick: Process, prefix: str, target: str) -> None:
    """The example of a parameter is accepted by a served instance; a share of faults may break the connection."""
    connection = HTTPConnection("127.0.0.1", quick.port, timeout=30)
    connection.request("GET", prefix + target)
    try:
        assert connection.getresponse().status in (200, 503)
    except ConnectionResetError:
        assert "fault=reset" in target
    finally:
        connection.close()


def test_forms() -> None:
    """Every form of the delay language is in its table, with examples that can be read."""
    examples = re.findall(
        r"`(.*?)`", "\n".join(line.split(" | ")[0] for line in table_of("The delay language", "form"))
    )
    assert {str(parse(example, TRACES)) for example in examples} >= {"250ms", "1s..3s"}
    assert set(FORMS) <= {example.partition("(")[0] for example in examples}


def test_faults() -> None:
    """The table of faults has every fault, and says of it what the declaration says."""
    assert table_of("Parameters", "fault") == [f"| `{kind}` | {meaning} |" for kind, meaning in KINDS.items()]
