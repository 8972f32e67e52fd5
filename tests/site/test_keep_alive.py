"""The time that an idle connection stays open, and its announcement."""

import pytest
from twisted.internet.task import Clock

from latebin.core.endpoints import PREFIXES
from latebin.core.settings import STACKS, Settings
from latebin.site.factory import ServiceSite, admin_site, site
from tests.support.wire import Wire

KEPT = b"\r\nConnection: keep-alive\r\nKeep-Alive: timeout=7\r\n"


def made(stack: str, clock: Clock) -> ServiceSite:
    return site(Settings(stack=stack, keep_alive_timeout=7.9), clock)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("prefix", PREFIXES.values())
@pytest.mark.parametrize("target", ["/delayed/0", "/delayed/soon", "/nothing"])
def test_announced(stack: str, prefix: str, target: str) -> None:
    """An answer announces whole seconds when its connection stays open."""
    for line, kept in (
        ("HTTP/1.1\r\nHost: a", True),
        ("HTTP/1.1\r\nHost: a\r\nConnection: close", False),
        ("HTTP/1.0", False),
    ):
        clock = Clock()
        wire = Wire(made(stack, clock), clock)
        wire.send(f"GET {prefix}{target} {line}\r\n\r\n".encode())
        clock.advance(0)
        head = wire.received.partition(b"\r\n\r\n")[0] + b"\r\n"
        assert head.startswith(b"HTTP/1.")
        # Twisted's own writes the names in the order of their setting.
        assert all(field in head for field in KEPT.split(b"\r\n")) is kept
        assert (b"Keep-Alive" in head) is kept
        wire.leave()


@pytest.mark.parametrize("stack", STACKS)
def test_idle(stack: str) -> None:
    """A connection is closed when it was idle for the time of the setting."""
    clock = Clock()
    service = made(stack, clock)
    for each in (service, admin_site(service, clock)):
        wire = Wire(each, clock)
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"Keep-Alive: timeout=7\r\n" in wire.received
        clock.advance(7.8)
        assert wire.connected
        clock.advance(0.2)
        assert not wire.connected


def test_no_time() -> None:
    """A time of 0 is refused: every connection would be closed before its request."""
    with pytest.raises(ValueError, match="the keep-alive timeout is 0s"):
        Settings(keep_alive_timeout=0)
