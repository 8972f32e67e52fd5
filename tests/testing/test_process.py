from pathlib import Path

import pytest

from latebin.testing.process import StartError, serving, started
from tests.support.process import status, until

WAITING = "import signal; print('ready: yes', flush=True); signal.pause()"

STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('serving http://127.0.0.1:1/delayed', flush=True); signal.pause()"
)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service serves within its context when directory and environment are hostile."""
    (tmp_path / "latebin.py").write_text("raise SystemExit('another latebin')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATEBIN_PORT", "1")
    log = tmp_path / "log"
    with serving("--workers", "2", log=log, LATEBIN_LOG_FORMAT="json") as service:
        assert service.url == f"http://127.0.0.1:{service.port}"
        assert status(service.port, "/healthz") == 200
        assert alive(service.pid)
        until(lambda: '"path": "/healthz"' in service.log())
        assert "serving" not in service.log()
    assert not alive(service.pid)
    assert "serving" in log.read_text()


def test_endpoints(tmp_path: Path) -> None:
    """A service has the URL and the port of each endpoint."""
    path = tmp_path / "socket"
    with serving("--listen", "tcp:0:interface=127.0.0.1", "--listen", f"unix:{path}") as service:
        assert service.ports == (service.port, 0)
        assert service.urls == (service.url, f"unix:{path}")
        assert status(service.port, "/healthz") == 200
    with serving(LATEBIN_LISTEN=f"unix:{path}") as service:
        assert service.urls == (f"unix:{path}",)


def test_stop() -> None:
    """Stopping returns the exit code and leaves the log when a service is stopped."""
    with serving() as service:
        assert service.stop() == 0
        assert "stopped: " in service.log().splitlines()[-1]


def test_it_is_stopped_when_something_fails() -> None:
    """A service is stopped when its context ends with an error."""
    pids: list[int] = []

    def use() -> None:
        with started("-c", WAITING, ready="ready: (.*)") as process:
            pids.append(process.pid)
            assert process.found == ("yes",)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert [alive(pid) for pid in pids] == [False]


def test_it_is_killed_if_it_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is killed at the end when it ignores the signal."""
    monkeypatch.setattr("latebin.testing.process.STOP_TIME", 0.01)
    with serving(program=("-c", STUBBORN)) as service:
        assert service.url == "http://127.0.0.1:1"
    assert not alive(service.pid)


@pytest.mark.parametrize("program", ["raise SystemExit('no such thing')", "print('serving nothing: no such thing')"])
def test_a_service_that_does_not_start(program: str) -> None:
    """The error has the end of the output when a service ends before it serves."""
    with (
        pytest.raises(StartError, match=r"the service did not start: .*no such thing"),
        serving(program=("-c", program)),
    ):
        raise AssertionError


def test_a_service_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service is stopped when it has not shown in time that it is ready."""
    monkeypatch.setattr("latebin.testing.process.START_TIME", 0.0)
    with pytest.raises(StartError), started("-c", WAITING, ready="(never)"):
        raise AssertionError
