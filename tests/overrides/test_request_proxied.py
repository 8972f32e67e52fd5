import json
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from latebin.compare.contract import Case
from latebin.core.http.networks import parse
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite
from tests.support.wire import House, Wire

OURS = "127.0.0.1"

X_FORWARDED = (
    "X-Forwarded-For: 192.0.2.9, 192.0.2.1, 10.0.0.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: Shop.example:8443",
)

FORWARDED = (
    "Forwarded: for=192.0.2.9, for=192.0.2.1;proto=https;host=shop.example",
    'Forwarded: for="10.0.0.2:4711";proto=http;host=inner',
)


def wired(house: House, *networks: str) -> Wire:
    site = ServiceSite(house.root, house.clock, Clock(), Settings(proxy_headers=tuple(map(parse, networks))))
    return Wire(site, house.clock)


def asked(house: House, style: str, networks: tuple[str, ...], headers: tuple[str, ...]) -> tuple[str, str, str]:
    """Ask for an echo; return the logged address, the origin, and the URL's beginning."""
    wire = wired(house, *networks)
    with capturedLogs() as events:
        wire.send(Case("", "/delay/0", headers=headers).request(style))
        house.clock.advance(0)
    echoed = json.loads(wire.received.partition(b"\r\n\r\n")[2])
    [address] = [event["address"] for event in events if "address" in event]
    return address, echoed["origin"], echoed["url"].partition("/raw")[0].removesuffix("/delay/0")


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",), ("::1",)])
@pytest.mark.parametrize("headers", [X_FORWARDED, FORWARDED])
def test_untrusted(house: House, style: str, networks: tuple[str, ...], headers: tuple[str, ...]) -> None:
    """Headers change nothing when the peer is not a trusted proxy, as by default."""
    assert asked(house, style, networks, headers) == (OURS, OURS, "http://localhost")


@pytest.mark.parametrize(
    ("headers", "url"), [(X_FORWARDED, "https://shop.example:8443"), (FORWARDED, "https://shop.example")]
)
def test_trusted(house: House, style: str, headers: tuple[str, ...], url: str) -> None:
    """Log and answer have the client's address and URL behind trusted proxies."""
    assert asked(house, style, ("127.0.0.0/8", "10.0.0.0/8"), headers) == ("192.0.2.1", "192.0.2.1", url)


def test_an_untrusted_proxy_behind_a_trusted_one(house: House, style: str) -> None:
    """A proxy that is not trusted is the client, with any headers."""
    address, origin, _ = asked(house, style, ("127.0.0.1",), X_FORWARDED)
    assert (address, origin) == ("10.0.0.2", "10.0.0.2")


def test_six(house: House, style: str) -> None:
    """A client may have an address of IPv6."""
    address, origin, _ = asked(house, style, ("127.0.0.1",), ("X-Forwarded-For: [2001:DB8::1]:4711",))
    assert (address, origin) == ("2001:db8::1", "2001:db8::1")


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("X-Forwarded-For: \x1b[31m", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: <b>"),
        ("X-Forwarded-For: 192.0.2.1, unknown",),
        ("Forwarded: for=192.0.2.1;for=192.0.2.2;proto=https",),
        ("Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.2"),
    ],
)
def test_malformed(house: House, style: str, headers: tuple[str, ...]) -> None:
    """A malformed header of a trusted proxy changes nothing."""
    assert asked(house, style, ("127.0.0.1",), headers) == (OURS, OURS, "http://localhost")


def test_on_one_connection(house: House, style: str) -> None:
    """The headers of one request change nothing of the next on its connection."""
    wire = wired(house, "127.0.0.1")
    with capturedLogs() as events:
        for headers in (("X-Forwarded-For: 192.0.2.1",), (), ("X-Forwarded-For: 192.0.2.2",)):
            wire.send(Case("", "/delayed/0", headers=headers).request(style))
            house.clock.advance(0)
    addresses: list[Any] = [event["address"] for event in events if "address" in event]
    assert addresses == ["192.0.2.1", OURS, "192.0.2.2"]


def test_left(house: House, style: str) -> None:
    """Of a client that left, too, the log has its own address."""
    wire = wired(house, "127.0.0.1")
    with capturedLogs() as events:
        wire.send(Case("", "/delayed", headers=("X-Forwarded-For: 192.0.2.1",)).request(style))
        wire.leave()
    assert [(event["status"], event["address"]) for event in events if "address" in event] == [("left", "192.0.2.1")]
