import re
import tomllib
from importlib.metadata import Distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.process import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

ASKED = {
    # The image keeps its state in Redis where --state says so.
    "service": [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["redis"]],
    "build": PROJECT["build-system"]["requires"],
}

PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9.]+)( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n")


def locked(name: str) -> dict[str, str]:
    """Read a lock of pins with hashes; return the versions by name."""
    text = (ROOT / ".lock" / f"{name}.txt").read_text()
    pins = list(PIN.finditer(text))
    assert "".join(pin[0] for pin in pins) == text
    return {pin["name"]: pin["version"] for pin in pins}


@pytest.mark.parametrize("name", ASKED)
def test_lock_has_what_is_asked_for(name: str) -> None:
    """Every dependency is locked, at a version that the project can do with."""
    versions = locked(name)
    for requirement in map(Requirement, ASKED[name]):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier


def test_lock_is_complete() -> None:
    """All dependencies of dependencies, with the chosen extras, are locked."""
    versions = locked("service")
    waiting = [Requirement(each) for each in ASKED["service"]]
    met = set()
    while waiting:
        each = waiting.pop()
        key = canonicalize_name(each.name), frozenset(each.extras)
        if key in met:
            continue
        met.add(key)
        assert versions[key[0]] in each.specifier
        for text in Distribution.from_name(each.name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *each.extras)):
                waiting.append(needed)
    assert {name for name, _ in met} == set(versions)
