from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latebin.cli.scenarios import ScenariosType, checked
from latebin.cli.scenarios import given as collected
from latebin.core.settings import Settings

LINES = st.sampled_from(
    [
        "[a]",
        "[[a.rule]]",
        "[a.rule]",
        "[[a]]",
        "a = 1",
        'delay = "1ms"',
        "delay = 2",
        "delay = 1979-05-27",
        "delay = nan",
        "status = 503.0",
        'status = "503:2%"',
        'path = "/v1/**"',
        "path = 7",
        'header = ["X-A: 1", "X-B: 2"]',
        'header = "Accept"',
        'body-file = "nowhere"',
        'body-file = "."',
        "body-file = 1",
        "body = {a = 1}",
        "x" * 20_000 + " = 1",
        "a = " + "[" * 2000,
        "\x00",
    ]
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenarios") / "scenarios.toml"


@given(st.lists(LINES, max_size=6).map("\n".join) | st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_file(path: Path, text: str) -> None:
    """Any file of scenarios is either read or refused with a usage error."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        tables = ScenariosType().convert(str(path), None, None)
        found = checked(collected((), (tables,)), Settings())
    except click.UsageError as error:
        assert "\n" not in error.message.strip()  # noqa: PT017  # a refusal has one line
        return
    assert [each.name for each in found] == list(tables)
