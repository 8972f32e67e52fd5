"""The option that names the state."""

import sys

import pytest

from tests.support.command import refusal


def test_not_a_url(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong URL is refused without a part of it when shown."""
    error = refusal(monkeypatch, capsys, "serve", "--state", "redis://s3cret@cache")
    assert "Invalid URL of a state: a user needs a password: expected redis://HOST:PORT/DB" in error
    assert "with a percent-encoded USER:PASSWORD@" in error
    assert "s3cret" not in error


def test_not_installed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names what to install when txredisapi is missing."""
    monkeypatch.setitem(sys.modules, "txredisapi", None)
    error = refusal(monkeypatch, capsys, "serve", "--state", "redis://cache")
    assert error == "latebin: --state needs the package txredisapi: pip install 'latebin[redis]'\n"
