import ast
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app"

PURE = (
    "body",
    "chart",
    "contract",
    "delay",
    "distribution",
    "draw",
    "duration",
    "duties",
    "echo",
    "endpoints",
    "fault",
    "forwarded",
    "head",
    "host",
    "identity",
    "manifest",
    "networks",
    "openapi",
    "parameters",
    "plan",
    "preamble",
    "predict",
    "reply",
    "settings",
    "share",
    "size",
    "destination",
    "trace",
    "turns",
)

IMPURE = {"twisted", "klein", "time", "random", "os", "zope", "treq", "werkzeug"}

MODULES = {path.stem for path in APP.glob("*.py")}


def imports(module: str) -> set[str]:
    """Give the full names of what a module of the project imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((APP / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


@pytest.mark.parametrize("module", PURE)
def test_pure(module: str) -> None:
    """A pure module imports neither Twisted, Klein nor the time, and of the project only what is pure."""
    names = imports(module)
    assert not {name.split(".")[0] for name in names} & IMPURE
    own = {name.split(".")[1] for name in names if name.startswith("latebin.")} & MODULES
    assert own <= set(PURE)


def test_styles_do_not_know_each_other() -> None:
    """The two style files never import each other."""
    assert not {name for name in imports("style_klein") if "style_resource" in name}
    assert not {name for name in imports("style_resource") if "style_klein" in name}


def test_global_reactor() -> None:
    """Only the clock of the process, what installs the reactor that serves, and the examples touch the global one."""
    assert {module for module in MODULES if "twisted.internet.reactor" in imports(module)} == {"clock", "reactor"}
