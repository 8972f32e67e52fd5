"""The direction of imports between the rooms, and the purity of the core."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "app" / "latebin"

FLOORS = (
    {"client", "core"},
    {"timing", "load", "testing"},
    {"state"},
    {"answers", "deploy"},
    {"compare", "overrides", "styles", "telemetry"},
    {"site"},
    {"server"},
    {"cli"},
)
"""The rooms from the ground up: each imports from the floors below it and from itself."""

BELOW = {room: set().union(*FLOORS[:floor]) for floor, rooms in enumerate(FLOORS) for room in rooms}

IMPURE = {"asyncio", "klein", "os", "random", "socket", "time", "treq", "twisted", "werkzeug", "zope"}
"""Libraries that do I/O, read a clock or draw at random: the core works on data alone."""

MODULES = sorted(path.relative_to(HOUSE) for path in HOUSE.rglob("*.py") if path.parent != HOUSE)


def imports(module: Path) -> set[str]:
    """Return the full names that a module imports, under TYPE_CHECKING and in functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((HOUSE / module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms(module: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(module) if name.startswith("latebin.")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_direction(module: Path) -> None:
    """A module imports nothing of the package except its own room and the floors below."""
    room = module.parts[0]
    assert rooms(module) <= BELOW[room] | {room}


@pytest.mark.parametrize("module", [each for each in MODULES if each.parts[0] == "core"], ids=str)
def test_pure(module: Path) -> None:
    """A module of the core imports none of the impure libraries."""
    assert not {name.split(".")[0] for name in imports(module)} & IMPURE


def test_circles() -> None:
    """No module imports itself by way of others."""
    names = {f"latebin.{'.'.join(module.with_suffix('').parts)}": module for module in MODULES}
    graph = {
        name: names.keys() & {each for found in imports(module) for each in (found, found.rpartition(".")[0])}
        for name, module in names.items()
    }
    assert set(TopologicalSorter(graph).static_order()) == names.keys()


def test_pair() -> None:
    """Neither style file imports the other."""
    assert not any(
        name.startswith("latebin.styles")
        for style in ("klein", "resource")
        for name in imports(Path(f"styles/{style}.py"))
    )


def test_rooms() -> None:
    """Every room has its floor."""
    assert {module.parts[0] for module in MODULES} == set(BELOW)


def test_global_reactor() -> None:
    """The process clock and the stacks import the global reactor, and no other module does."""
    touching = {str(module) for module in MODULES if "twisted.internet.reactor" in imports(module)}
    assert touching == {"overrides/reactor.py", "overrides/stack.py", "timing/wakers.py"}


@pytest.mark.parametrize("module", [each for each in MODULES if each.parts[0] != "overrides"], ids=str)
def test_door(module: Path) -> None:
    """A module outside the overrides imports nothing of them but the door."""
    inside = {name for name in imports(module) if name.startswith("latebin.overrides")}
    assert all(name.startswith("latebin.overrides.stack.") for name in inside)
