"""The wheel: its contents, its metadata, and its life beside an unrelated package `app`."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from email.parser import Parser
from http.client import HTTPConnection
from pathlib import Path
from zipfile import ZipFile

import attrs
import pytest

from tests.support.plugins import only
from tests.support.process import BOUND, ROOT

OTHER = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "other"
version = "1"
[tool.hatch.build.targets.wheel]
packages = ["app"]
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program without the paths of this process, and return its output."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LATEBIN_", "PYTHON"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND, env=inherited, cwd=cwd)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(distributions: list[Path]) -> Path:
    [found] = [path for path in distributions if path.suffix == ".whl"]
    return found


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a project whose own package is called `app`."""
    project = tmp_path_factory.mktemp("other")
    (project / "pyproject.toml").write_text(OTHER)
    for module in ("__init__", "cli", "service"):
        path = project / "app" / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"OWNER = 'other {module}'\n")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", cwd=project)
    [found] = (project / "dist").iterdir()
    return found


def test_checks(distributions: list[Path], wheel: Path) -> None:
    """The tools that check distributions find nothing in either of them."""
    run(sys.executable, "-m", "twine", "check", "--strict", *distributions)
    run(sys.executable, "-m", "check_wheel_contents", wheel)


def test_contents(wheel: Path) -> None:
    """A wheel holds every file of the package, and nothing beside it."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = ROOT / "app" / "latebin"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {name for name in names if ".dist-info/" not in name} == {
        path.relative_to(package.parent).as_posix() for path in files
    }


def test_metadata(wheel: Path) -> None:
    """The metadata has authors, keywords and classifiers, and neither licence nor URL."""
    with ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Author"] == "The latebin developers"
    assert metadata["Version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert metadata["Keywords"]
    assert "Framework :: Twisted" in metadata.get_all("Classifier", [])
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert not [key for key in metadata if key.startswith(("License", "Project-URL", "Home-page"))]


@attrs.frozen
class Environment:
    """A virtual environment that finds the libraries of this one."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        [found] = self.folder.glob("lib/python*/site-packages")
        return found

    def pip(self, *arguments: str | Path) -> None:
        run(sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", "-q", *arguments)

    def install(self, wheel: Path) -> None:
        self.pip("install", "--compile", "--no-deps", "--no-index", wheel)

    def files(self) -> dict[str, bytes]:
        """Read the files of the other project, without those that an import makes."""
        folders = (self.site / "app", *self.site.glob("other-*.dist-info"))
        found = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        return {path.relative_to(self.site).as_posix(): path.read_bytes() for path in found}

    def imported(self) -> list[str]:
        """Return the owners of the other project's modules, then the path of latebin if present."""
        return run(self.python, "-c", IMPORTS).split(";")


IMPORTS = """
import app, app.cli, app.service, importlib.util
latebin = importlib.util.find_spec("latebin")
print(app.OWNER, app.cli.OWNER, app.service.OWNER, *([latebin.origin] if latebin else []), sep=";", end="")
"""

OWNERS = ["other __init__", "other cli", "other service"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, wheel: Path, other: Path) -> Environment:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    found = Environment(folder)
    # A path file in a directory that was added by a path file is not read, so that no editable project is found.
    (found.site / "libraries.pth").write_text(sysconfig.get_paths()["purelib"])
    found.install(wheel)
    found.install(other)
    return found


@pytest.fixture
def environment(shared: Environment, wheel: Path) -> Environment:
    """An environment with both projects, whose first test finds latebin installed before the other."""
    if not (shared.site / "latebin").exists():
        shared.install(wheel)
    return shared


def serves(*command: str | Path) -> bool:
    """Run a command that serves, and return whether it answers."""
    with subprocess.Popen(
        [*command, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]}
    ) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"serving http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert found is not None
            connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=BOUND)
            connection.request("GET", "/raw/delayed/0")
            status = connection.getresponse().status
            connection.close()
        finally:
            process.terminate()
    return status == 200 and process.returncode == 0


TESTS = """
from urllib.request import urlopen
import app

def test_both(latebin):
    assert app.OWNER == "other __init__"
    assert urlopen(latebin.url(delay=0, status="503*1,200", n=2)).status == 200
"""


def test_plugin(environment: Environment, tmp_path: Path) -> None:
    """Pytest finds the plugin of an installed wheel when the project has a package `app`."""
    module = tmp_path / "test_it.py"
    module.write_text(TESTS)
    # Without the modules that pytest compiles in its own way, which pip would not uninstall.
    assert "1 passed" in run(environment.python, "-B", "-m", "pytest", "-q", "--rootdir", tmp_path, *only(), module)


def test_beside_another_app(environment: Environment, wheel: Path) -> None:
    """Nothing of the other project changes when latebin is installed before or after, and uninstalled."""
    files = environment.files()
    command = environment.folder / "bin" / "latebin"
    assert len(files) > len(OWNERS)
    assert serves(command)
    uninstall(environment, files)
    environment.install(wheel)
    assert environment.files() == files
    assert serves(environment.python, "-m", "latebin")
    uninstall(environment, files)


def uninstall(environment: Environment, files: dict[str, bytes]) -> None:
    """Uninstall latebin, and check that only the other project is left."""
    assert environment.imported() == [*OWNERS, str(environment.site / "latebin" / "__init__.py")]
    environment.pip("uninstall", "--yes", "latebin")
    assert environment.files() == files
    assert environment.imported() == OWNERS
    assert not list(environment.site.glob("latebin*"))
