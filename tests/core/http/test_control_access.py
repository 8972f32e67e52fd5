from typing import Any

import pytest

from latebin.core.http.control_access import CLOSED, FOREIGN, NO_TOKEN, REBOUND, Gate, is_loopback
from latebin.core.http.reply import Problem

TOKEN = "secret"  # noqa: S105  # a test's own


def problem(gate: Gate, **given: Any) -> Problem | None:
    fields: dict[str, Any] = {"origin": None, "fetch_site": None, "authorization": None, "secure": False}
    return gate.problem(**{"host": "localhost:8080", **fields, **given})


def test_open() -> None:
    """A request passes when the gate is open and it comes from no page."""
    assert problem(Gate(closed=False)) is None


def test_closed() -> None:
    """No request passes when the gate is closed, and the problem names the settings."""
    assert problem(Gate(closed=True), authorization="Bearer x") is CLOSED
    assert all(name in str(CLOSED.accepted) for name in ("--control-token-file", "--admin-listen", "--control open"))


@pytest.mark.parametrize("authorization", ["Bearer secret", "bearer secret", "Bearer  secret "])
def test_token(authorization: str) -> None:
    """A request passes when it has the token, under any Host."""
    assert problem(Gate(closed=False, token=TOKEN), authorization=authorization, host="a.example") is None


@pytest.mark.parametrize(
    "authorization", [None, "", "secret", "Basic secret", "Bearer", "Bearer secre", "Bearer secrets", "Bearer sécret"]
)
def test_wrong_token(authorization: str | None) -> None:
    """No request passes when its token is missing, incomplete or too long."""
    assert problem(Gate(closed=False, token=TOKEN), authorization=authorization) is NO_TOKEN


@pytest.mark.parametrize(
    "given",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://localhost:8080"},
        {"origin": "http://localhost:8081"},
        {"fetch_site": "cross-site"},
        {"fetch_site": "same-site"},
    ],
)
@pytest.mark.parametrize("token", [None, "secret"])
def test_foreign(given: dict[str, str], token: str | None) -> None:
    """No request of a page passes when the page has another origin."""
    assert problem(Gate(closed=False, token=token), authorization="Bearer secret", **given) is FOREIGN


def test_own_page() -> None:
    """A request of a page passes when the page is the service's own."""
    own = {"origin": "http://localhost:8080", "fetch_site": "same-origin"}
    assert problem(Gate(closed=False), **own) is None
    assert problem(Gate(closed=False), fetch_site="none") is None


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8080", "127.0.0.1.evil.example", "a.b."])
def test_rebound(host: str) -> None:
    """No request passes when a foreign name server could resolve its Host."""
    assert problem(Gate(closed=False), host=host) is REBOUND


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "[::1]:8080", "localhost", "latebin:8080", "a.localhost", "my.example"]
)
def test_own_host(host: str) -> None:
    """A request passes when its Host is an address, a local or a configured name."""
    assert problem(Gate(closed=False, names=["my.example"]), host=host) is None


@pytest.mark.parametrize(
    ("description", "loopback"),
    [
        ("tcp:8080:interface=127.0.0.1", True),
        (r"tcp6:8080:interface=\:\:1", True),
        ("ssl:8443:privateKey=a:interface=localhost", True),
        ("unix:/run/latebin", True),
        ("tcp:8080", False),
        ("tcp:8080:interface=0.0.0.0", False),
        ("tcp:8080:interface=10.0.0.1", False),
        ("haproxy:tcp:8080:interface=127.0.0.1", False),
        ("systemd:domain=INET:index=0", False),
    ],
)
def test_is_loopback(description: str, loopback: bool) -> None:  # noqa: FBT001  # one column of the table
    """An endpoint is local when it is bound to loopback and has no proxy."""
    assert is_loopback(description) is loopback
