import re
import shutil
import subprocess
from collections.abc import Iterator

import click
import pytest

from app import cli
from tests.process import ROOT, Process, serving

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
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    expected = re.escape(output).replace(re.escape("..."), ".*")
    assert re.fullmatch(expected, done.stdout.replace("\r\n", "\n").rstrip("\n") + "\n")


def test_there_are_examples() -> None:
    """The first screen shows curl against both styles."""
    assert [command for command, _ in EXAMPLES][:2] == [
        "curl -i localhost:8080/delayed",
        "curl -i localhost:8080/raw/delayed/250ms",
    ]


def test_settings() -> None:
    """The table of settings is what the command line has: flag, variable, default and meaning."""
    rows = re.findall(r"^\| `(--.*?)` \| `(.*?)` \| (?:`(.*?)`)? ?\| (.*?) \|$", README, re.MULTILINE)
    options = [option for option in cli.serve.params if isinstance(option, click.Option)]
    assert rows == [
        (option.opts[0], option.envvar, "" if option.multiple else str(option.default), option.help)
        for option in options
    ]
