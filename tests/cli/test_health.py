import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from latebin.cli import main
from latebin.cli.health import PATH, UnhealthyError, ask, url
from latebin.testing.process import serving
from tests.support.certificate import listening
from tests.support.command import latebin
from tests.support.process import environment


@pytest.mark.parametrize(
    ("endpoints", "host", "port", "expected"),
    [
        ([], "127.0.0.1", 8080, "http://127.0.0.1:8080/healthz"),
        ([], "0.0.0.0", 80, "http://127.0.0.1:80/healthz"),
        ([], "::", 80, "http://[::1]:80/healthz"),
        ([], "latebin.test", 80, "http://latebin.test:80/healthz"),
        (["tcp:81"], "::", 80, "http://127.0.0.1:81/healthz"),
        (["tcp:port=81:interface=10.0.0.1"], "::", 80, "http://10.0.0.1:81/healthz"),
        (["tcp6:81"], "", 80, "http://[::1]:81/healthz"),
        ([r"tcp6:81:interface=fe80\:\:1"], "", 80, "http://[fe80::1]:81/healthz"),
        (
            ["unix:/run/latebin", "ssl:443:privateKey=a:certKey=b:interface=0.0.0.0"],
            "",
            80,
            "https://127.0.0.1:443/healthz",
        ),
    ],
)
def test_url(endpoints: list[str], host: str, port: int, expected: str) -> None:
    """The URL has the address of the settings, and loopback when they name every address."""
    assert url(endpoints, host, port) == expected


@pytest.mark.parametrize(
    ("endpoints", "port"), [([], 0), (["tcp:0"], 80), (["unix:/run/latebin"], 80), (["haproxy:tcp:80"], 80)]
)
def test_nowhere(endpoints: list[str], port: int) -> None:
    """An endpoint without an address to ask is an error that names it."""
    with pytest.raises(ValueError, match="nothing to ask at"):
        url(endpoints, "127.0.0.1", port)


@pytest.mark.parametrize("wrong", ["127.0.0.1:8080", "ftp://a", "http://", ""])
def test_no_url(wrong: str) -> None:
    """An invalid URL is wrong usage, not an unhealthy service."""
    with pytest.raises(ValueError, match="is not a URL"):
        ask(wrong, 1.0)


def test_alive() -> None:
    """The exit code shows whether the service of the variables is alive."""
    with serving() as process:
        variables = {"LATEBIN_HOST": "0.0.0.0", "LATEBIN_PORT": str(process.port)}
        healthy = latebin("health", **variables)
        elsewhere = latebin("health", "--url", f"http://127.0.0.1:{process.port}/nowhere")
    gone = latebin("health", **variables)
    assert (healthy.returncode, healthy.stdout, healthy.stderr) == (0, "", "")
    assert (elsewhere.returncode, elsewhere.stderr) == (
        1, f"latebin: http://127.0.0.1:{process.port}/nowhere answered 404\n",
    )  # fmt: skip
    assert gone.returncode == 1
    assert gone.stderr.startswith(f"latebin: http://127.0.0.1:{process.port}{PATH}: ")
    assert gone.stderr.endswith("Connection refused\n")


def test_starts_quickly() -> None:
    """The check imports neither Twisted nor Klein."""
    script = (
        "import sys; from click.testing import CliRunner; from latebin.cli import main; "
        "done = CliRunner().invoke(main.cli, ['health', '--url', 'http://127.0.0.1:9']); "
        "print(done.exit_code, sorted({'twisted', 'klein', 'treq', 'rich'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(), timeout=60)
    assert done.stdout == "1 []\n"


def test_wrong_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints one line and exits with 2 when it cannot ask."""
    monkeypatch.setattr(sys, "argv", ["latebin", "health", "--listen", "unix:/run/latebin"])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 2
    assert "unix:/run/latebin" in capsys.readouterr().err


def test_tls(tmp_path: Path) -> None:
    """A service is asked over TLS with any name in its certificate."""
    with serving("--listen", listening(tmp_path / "localhost.pem")) as process:
        ask(f"{process.url}/healthz", 30.0)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["nothing", "nonsense"])
def test_not_alive(said: bytes) -> None:
    """A service is not alive when something else listens, or nothing answers."""
    with socket.create_server(("127.0.0.1", 0)) as port:

        def say() -> None:
            connection, _ = port.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        other = Thread(target=say)
        other.start()
        with pytest.raises(UnhealthyError):
            ask(f"http://127.0.0.1:{port.getsockname()[1]}/healthz", 30.0)
        other.join()


def test_silent() -> None:
    """A service is not alive when its answer takes longer than the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as port, pytest.raises(UnhealthyError, match="timed out"):
        ask(f"http://127.0.0.1:{port.getsockname()[1]}/healthz", 0.1)
