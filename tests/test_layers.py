"""The direction of imports between the rooms, and the purity of the core."""

import ast
from functools import cache
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


@cache
def imports(module: Path) -> frozenset[str]:
    """Return the full names that a module imports, under TYPE_CHECKING and in functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((HOUSE / module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def rooms(module: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(module) if name.startswith("latebin.")}


@pytest.mark.parametrize("room", sorted(BELOW))
def test_direction(room: str) -> None:
    """A module imports nothing of the package except its own room and the floors below."""
    above = {str(module): rooms(module) - BELOW[room] - {room} for module in MODULES if module.parts[0] == room}
    assert {module: found for module, found in above.items() if found} == {}


def test_pure() -> None:
    """A module of the core imports none of the impure libraries."""
    libraries = {module: {name.split(".")[0] for name in imports(module)} for module in MODULES}
    impure = {str(module): found & IMPURE for module, found in libraries.items() if module.parts[0] == "core"}
    assert len(impure) > 1
    assert {module: found for module, found in impure.items() if found} == {}


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


def test_door() -> None:
    """A module outside the overrides imports nothing of them but the door."""
    outside = [module for module in MODULES if module.parts[0] != "overrides"]
    used = {(str(module), name) for module in outside for name in imports(module) if ".overrides" in name}
    assert used
    assert {(module, name) for module, name in used if not name.startswith("latebin.overrides.stack.")} == set()
