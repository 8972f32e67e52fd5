"""The Python examples of the pages, run by pytest in a project of their own."""

import re
import subprocess
import sys
from pathlib import Path

from tests.docs import PAGES
from tests.support.process import BOUND, environment

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

WITHOUT = [each for plugin in ("asyncio", "cacheprovider", "schemathesis", "xdist") for each in ("-p", f"no:{plugin}")]


def test_examples(tmp_path: Path) -> None:
    """Every Python block of a page passes when pytest runs it as a module."""
    tests = 0
    for page in PAGES:
        for number, block in enumerate(BLOCK.findall(page.read_text("utf-8"))):
            tests += len(re.findall(r"^def test_", block, re.MULTILINE))
            (tmp_path / f"test_{page.stem}_{number}.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *WITHOUT],
        cwd=tmp_path,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert tests >= 6
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr
