import pytest
from click.testing import CliRunner, Result

from latebin.cli import main, serve
from latebin.core.settings import Settings


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(main.cli, arguments, env=variables, catch_exceptions=False)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that `serve` would have served with."""
    settings: list[Settings] = []
    monkeypatch.setattr(serve, "_run", settings.append)
    return settings


def test_misspelled(chosen: list[Settings]) -> None:
    """One warning names each variable that is not a setting, with the nearest setting."""
    done = run("serve", LATEBIN_PROT="80", LATEBIN_MAX_DELAYS="1s", LATEBIN_X="1", LATEBIN_PORT="81")
    assert done.exit_code == 0
    assert done.stderr == (
        "latebin: not a setting, and ignored: LATEBIN_MAX_DELAYS (the nearest is LATEBIN_MAX_DELAY), "
        "LATEBIN_PROT (the nearest is LATEBIN_PORT), LATEBIN_X\n"
    )
    assert chosen == [Settings(port=81)]


def test_escaped(chosen: list[Settings]) -> None:
    """The warning is one line of ASCII when a name has other characters."""
    done = run("serve", **{"LATEBIN_\n\x1b[31mü": "1"})
    assert done.stderr == "latebin: not a setting, and ignored: LATEBIN_\\n\\x1b[31m\\xfc\n"


@pytest.mark.parametrize("variable", ["LATEBIN_WORKERS", "LATEBIN_URL"])
def test_of_another_command(variable: str) -> None:
    """A variable is known when another command or a client reads it."""
    done = run("predict", "1s", **{variable: "2"})
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("manifest", "compose"), ("health", "--url", "http://127.0.0.1:9")])
def test_without_a_warning(arguments: tuple[str, ...]) -> None:
    """A command does not warn when it reads no settings or is run regularly."""
    assert "not a setting" not in run(*arguments, LATEBIN_PROT="80").stderr


LINKS = {
    "LATEBIN_SERVICE_HOST": "10.96.0.7",
    "LATEBIN_SERVICE_PORT": "80",
    "LATEBIN_SERVICE_PORT_HTTP": "80",
    "LATEBIN_PORT": "tcp://10.96.0.7:80",
    "LATEBIN_PORT_80_TCP": "tcp://10.96.0.7:80",
    "LATEBIN_PORT_80_TCP_PROTO": "tcp",
    "LATEBIN_PORT_80_TCP_PORT": "80",
    "LATEBIN_PORT_80_TCP_ADDR": "10.96.0.7",
    "LATEBIN_ADMIN_SERVICE_HOST": "10.96.0.8",
    "LATEBIN_ADMIN_PORT": "tcp://10.96.0.8:8081",
    "LATEBIN_ADMIN_PORT_8081_UDP_ADDR": "10.96.0.8",
    "LATEBIN_NAME": "/web/latebin",
    "LATEBIN_ENV_HOME": "/root",
}
"""The variables that Kubernetes makes for Services called latebin and latebin-admin, and Docker for a link."""


def test_links(chosen: list[Settings]) -> None:
    """Variables are passed over when a container platform made them, the setting LATEBIN_PORT among them."""
    done = run("serve", **LINKS)
    assert (done.exit_code, done.stderr) == (0, "")
    assert chosen == [Settings()]


@pytest.mark.parametrize("value", ["tcp://", "tcp:80", "10.96.0.7:80", "http://10.96.0.7:80"])
def test_no_link(value: str) -> None:
    """A wrong port is refused when it differs from the URL of a platform."""
    done = run("serve", LATEBIN_PORT=value)
    assert done.exit_code == 2
    assert f"'{value}' is not a valid integer" in done.stderr
