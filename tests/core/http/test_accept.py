"""The choice of a format by `Accept`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latebin.core.http.accept import wants_openmetrics

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (PROMETHEUS, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        ('application/openmetrics-text; version="1.0.0"', True),
        ("application/openmetrics-text, text/plain", True),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("application/openmetrics-text;version=2.0.0, text/plain;q=0.1", False),
        ("text/plain", False),
        ("*/*", False),
        ("application/*", False),
        ("", False),
    ],
)
def test_choice(accept: str, wanted: bool) -> None:  # noqa: FBT001  # a column of the table
    """OpenMetrics is chosen when the client names it and does not prefer plain text."""
    assert wants_openmetrics(accept) is wanted


@given(st.text())
def test_any_text(accept: str) -> None:
    """Any text is a choice."""
    assert wants_openmetrics(accept) in {True, False}
