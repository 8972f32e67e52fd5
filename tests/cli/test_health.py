import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from latebin.cli import main
from latebin.cli.health import PATH, Asked, UnhealthyError, ask, find
from latebin.testing.process import serving
from tests.support.certificate import listening
from tests.support.command import latebin
from tests.support.process import environment, ports


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
        (["fd:3", "ssl:443:privateKey=a:certKey=b:interface=0.0.0.0"], "", 80, "https://127.0.0.1:443/healthz"),
        (["tcp:interface=10.0.0.1:port=81"], "", 80, "http://10.0.0.1:81/healthz"),
    ],
)
def test_url(endpoints: list[str], host: str, port: int, expected: str) -> None:
    """The URL has the address of the settings, and loopback when they name every address."""
    assert find(endpoints, host, port) == Asked(expected)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("unix:/run/latebin", Asked("http://localhost/healthz", "/run/latebin")),
        (r"unix:mode=660:address=/run/a\:b", Asked("http://localhost/healthz", "/run/a:b")),
        ("haproxy:unix:/run/latebin:lockfile=0", Asked("http://localhost/healthz", "/run/latebin", proxied=True)),
        ("haproxy:tcp:81:interface=0.0.0.0", Asked("http://127.0.0.1:81/healthz", proxied=True)),
        (r"haproxy:ssl:81:interface=\:\:1:privateKey=a", Asked("https://[::1]:81/healthz", proxied=True)),
    ],
)
def test_other_endpoints(endpoint: str, expected: Asked) -> None:
    """UNIX sockets, and endpoints behind a proxy, are asked as well."""
    assert find([endpoint], "", 80) == expected


@pytest.mark.parametrize("endpoint", ["unix:{path}", "haproxy:unix:{path}", "haproxy:tcp:{port}:interface=127.0.0.1"])
def test_alive_at_other_endpoints(tmp_path: Path, endpoint: str) -> None:
    """The service is alive at a UNIX socket and behind the PROXY protocol."""
    [port] = ports(1)
    listen = endpoint.format(path=tmp_path / "socket", port=port)
    with serving("--listen", listen, "--listen", "tcp:0:interface=127.0.0.1"):
        ask(find([listen], "", 80), 30.0)


@pytest.mark.parametrize(
    ("endpoints", "port"), [([], 0), (["tcp:0"], 80), (["unix:"], 80), (["fd:3"], 80), (["haproxy:tcp:0"], 80)]
)
def test_nowhere(endpoints: list[str], port: int) -> None:
    """An endpoint without an address to ask is an error that names it."""
    with pytest.raises(ValueError, match="nothing to ask at"):
        find(endpoints, "127.0.0.1", port)


@pytest.mark.parametrize("wrong", ["127.0.0.1:8080", "ftp://a", "http://", ""])
def test_no_url(wrong: str) -> None:
    """An invalid URL is wrong usage, not an unhealthy service."""
    with pytest.raises(ValueError, match="is not a URL"):
        ask(Asked(wrong), 1.0)


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
    monkeypatch.setattr(sys, "argv", ["latebin", "health", "--listen", "fd:3"])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 2
    assert "fd:3" in capsys.readouterr().err


def test_tls(tmp_path: Path) -> None:
    """A service is asked over TLS with any name in its certificate."""
    with serving("--listen", listening(tmp_path / "localhost.pem")) as process:
        ask(Asked(f"{process.url}/healthz"), 30.0)


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
            ask(Asked(f"http://127.0.0.1:{port.getsockname()[1]}/healthz"), 30.0)
        other.join()


def test_silent() -> None:
    """A service is not alive when its answer takes longer than the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as port, pytest.raises(UnhealthyError, match="timed out"):
        ask(Asked(f"http://127.0.0.1:{port.getsockname()[1]}/healthz"), 0.1)
