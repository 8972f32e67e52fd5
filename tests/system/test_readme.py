import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner

from latebin.cli.main import cli
from latebin.cli.serve import serve_command
from latebin.core.endpoints import parameters
from latebin.core.language.grammar import FORMS, parse
from latebin.core.topics import TOPICS
from latebin.site.docs_page import as_xhtml
from latebin.testing.process import ServiceProcess, serving, started
from tests.docs import PAGES, TABLES, filled
from tests.support.certificate import certificate
from tests.support.process import ROOT, environment, get
from tests.support.strategies import TRACES
from tests.support.wire import House

TEXTS = {page.name: page.read_text("utf-8") for page in PAGES}

README = TEXTS["README.md"]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text: str, *kinds: str) -> list[str]:
    """Give the contents of the blocks of some kinds."""
    return [found[2] for found in BLOCK.finditer(text) if found[1] in kinds]


def examples(text: str) -> list[tuple[tuple[str, str], ...]]:
    """Give the commands of each console block, with their outputs."""
    pattern = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
    return [tuple(pattern.findall(block)) for block in blocks(text, "console")]


EXAMPLES = list(dict.fromkeys(example for text in TEXTS.values() for example in examples(text)))

LINES = list(
    dict.fromkeys(
        tuple(shlex.split(line.partition("|")[0], comments=True))
        for text in TEXTS.values()
        for block in blocks(text, "sh", "text")
        for line in block.splitlines()
        if line.startswith("latebin ")
    )
)
"""The command lines of latebin that no example runs."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Run the service of the pages, before their upstream."""
    directory = str(tmp_path_factory.mktemp("files"))
    upstream = "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", directory
    with (
        started(*upstream, ready=r" port (\d+) ") as files,
        serving("--upstream", f"files=http://127.0.0.1:{files.found[0]}") as process,
    ):
        yield process


@pytest.mark.parametrize("example", EXAMPLES, ids=[commands[0][0] for commands in EXAMPLES])
def test_example(process: ServiceProcess, example: tuple[tuple[str, str], ...]) -> None:
    """The commands of a block print its output; `...` stands for any text."""
    assert shutil.which("curl"), "the examples need curl"
    for command, output in example:
        done = run(command.replace("localhost:8080", f"127.0.0.1:{process.port}"))
        expected = re.escape(f"{output.rstrip()}\n").replace(re.escape("..."), ".*")
        assert re.fullmatch(expected, re.sub(r"[ \r]*\n", "\n", done.stdout.rstrip() + "\n"))
        assert (done.returncode != 0) == ("curl: (" in output)


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line as a terminal does, with both outputs in one."""
    command = command.replace("curl ", "curl --no-progress-meter ")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env=environment(PATH=path),
    )


def test_first_screen() -> None:
    """The first screen starts the service, and shows three requests and a scenario."""
    screen = "\n".join(README.splitlines()[:50])
    assert "latebin serve" in blocks(screen, "sh")[0]
    queries = [re.sub(r".*localhost:8080/delayed|'.*$", "", command) for command, _ in examples(screen)[0]]
    assert queries == ["/250ms", "?delay=1s..3s&status=503:20%25&seed=42&n=1", "?delay=100ms&fault=reset"]
    assert "/as/payments/" in screen
    assert len(README.splitlines()) <= 250


def test_topics() -> None:
    """The list of pages has every page, and each page begins with its title."""
    directory = ROOT / "app" / "latebin" / "docs"
    assert sorted(path.name for path in directory.iterdir()) == sorted(f"{topic}.md" for topic in TOPICS)
    assert all(text.startswith("# ") for text in TEXTS.values())


@pytest.mark.parametrize("name", TEXTS)
def test_tables(name: str) -> None:
    """A page has the tables that `python -m tests.docs` writes."""
    assert TEXTS[name] == filled(TEXTS[name]), "python -m tests.docs writes the tables anew"


def test_every_table_is_shown() -> None:
    """Each generated table is on one page."""
    assert [sum(whole in text for text in TEXTS.values()) for _, whole in TABLES] == [1] * len(TABLES)


def anchors(page: Path) -> set[str]:
    return set(re.findall(r'<h\d id="(.*?)"', as_xhtml(page.read_text("utf-8"))))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    """A link to a file or a heading leads to one that exists."""
    for link in re.findall(r"\]\((?!https?://)(.*?)\)", TEXTS[page.name]):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_paths() -> None:
    """Each path that the page for contributors names exists below the package or the project."""
    paths = re.findall(r"`([a-z_/.0-9]+(?:/|\.py|\.md))`", TEXTS["contributing.md"])
    assert len(paths) > 20
    assert [path for path in paths if not any((place / path).exists() for place in (ROOT, ROOT / "app/latebin"))] == []


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a directory with the files that the command lines of the pages name."""
    monkeypatch.chdir(tmp_path)
    for name in ("key.pem", "cert.pem"):
        certificate(tmp_path / name)
    [scenarios] = blocks(TEXTS["scenarios.md"], "toml")
    (tmp_path / "scenarios.toml").write_text(scenarios)


@pytest.mark.parametrize("line", LINES, ids=" ".join)
@pytest.mark.usefixtures("directory")
def test_command_line(line: tuple[str, ...]) -> None:
    """A command accepts the command line of a page."""
    _, name, *arguments = line
    command = cli.get_command(cli.make_context("latebin", [name]), name)
    assert command is not None
    command.make_context(name, arguments)


SERVING = [line[2:] for line in LINES if line[1] == "serve"]


@pytest.mark.parametrize("arguments", SERVING, ids=" ".join)
@pytest.mark.usefixtures("directory")
def test_serving(arguments: tuple[str, ...]) -> None:
    """The settings of an example go together: only an added one is refused."""
    stopping = ["--default-delay", "2s", "--max-delay", "1s"]
    refused = CliRunner().invoke(serve_command, [*arguments, *stopping])
    assert "Error: the default delay, 2s, is above the longest, 1s" in refused.output


@pytest.fixture(scope="module")
def quick() -> Iterator[ServiceProcess]:
    """Run a service whose delays are all cut to a second."""
    with serving("--default-delay", "1ms", "--max-delay", "1s") as process:
        yield process


@pytest.mark.parametrize("target", [target for _, target in parameters()])
@pytest.mark.parametrize("prefix", ["", "/raw"])
def test_example_of_a_parameter(quick: ServiceProcess, prefix: str, target: str) -> None:
    """A service accepts the example of a parameter, or breaks by its fault."""
    connection = HTTPConnection("127.0.0.1", quick.port, timeout=30)
    connection.request("GET", prefix + target)
    try:
        assert connection.getresponse().status in (200, 429, 503)
    except ConnectionResetError:
        assert "fault=reset" in target
    finally:
        connection.close()


REQUESTS = re.findall(r"^\| `(/.*?)` \|", README, re.MULTILINE)


@pytest.mark.parametrize("target", REQUESTS)
def test_request(house: House, target: str) -> None:
    """A request of the README's list is answered and not refused."""
    wire = house.wire()
    wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    house.clock.pump([600, 600])
    assert re.match(rb"HTTP/1.1 (200|503) ", wire.received)


def test_metrics(quick: ServiceProcess) -> None:
    """Every series that is served is on the page of metrics."""
    names = re.findall(r"^# TYPE (\w+) ", get(quick.port, "/metrics")[1].decode(), re.MULTILINE)
    assert {name for name in names if f"`{name}`" not in TEXTS["metrics.md"]} == set()


def test_forms() -> None:
    """Every form of the delay language is in its table, with valid examples."""
    rows = re.findall(r"^\| (.*?) \| ", TEXTS["delays.md"], re.MULTILINE)
    examples = re.findall(r"`(.*?)`", "\n".join(rows))
    assert {str(parse(example, TRACES)) for example in examples} >= {"250ms", "1s..3s"}
    assert set(FORMS) <= {example.partition("(")[0] for example in examples}
