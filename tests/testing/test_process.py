from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from latebin.testing.process import StartError, started


def status(url: str) -> int:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", "/healthz")
    code = connection.getresponse().status
    connection.close()
    return code


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves while it is wanted, wherever it is started and whatever the environment's settings; then it is gone."""
    (tmp_path / "app.py").write_text("raise SystemExit('another app')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATEBIN_PORT", "1")
    with started(tmp_path / "log") as subject:
        assert status(subject.url) == 200
        [pid] = subject.pids
        assert alive(pid)
    assert not alive(pid)
    assert "/healthz" in (tmp_path / "log").read_text()


def test_it_is_stopped_when_something_fails(tmp_path: Path) -> None:
    """An error in whoever uses the service leaves no process behind."""
    pids: list[int] = []

    def use() -> None:
        with started(tmp_path / "log") as subject:
            pids.extend(subject.pids)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert [alive(pid) for pid in pids] == [False]


def test_it_is_killed_if_it_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not mind a signal is not waited for without end."""
    monkeypatch.setattr("latebin.testing.process.STOP_TIME", 0.01)
    stubborn = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('http://127.0.0.1:1/delayed', flush=True); signal.pause()"
    )
    with started(tmp_path / "log", ("-c", stubborn)) as subject:
        assert subject.url == "http://127.0.0.1:1"
    assert not alive(subject.pids[0])


def test_a_service_that_does_not_start(tmp_path: Path) -> None:
    """The end of what it printed says why."""
    with (
        pytest.raises(StartError, match="the service did not start: no such thing"),
        started(tmp_path / "log", ("-c", "raise SystemExit('no such thing')")),
    ):
        raise AssertionError
