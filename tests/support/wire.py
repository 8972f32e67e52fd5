"""A connection in memory, and the whole service on a clock that the test advances."""

import re
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from latebin.answers.scenarios import Scenarios
from latebin.answers.service import Service
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite, make_site
from latebin.site.root import Root
from latebin.state.choice import make_state


class Wire(StringTransport):
    """One connection to a site, in memory."""

    producer: Any

    def __init__(self, site: ServiceSite, clock: Clock) -> None:
        super().__init__(IPv4Address("TCP", "127.0.0.1", 8080), IPv4Address("TCP", "127.0.0.1", 50000))
        self._clock = clock
        self.protocol: Any = site.buildProtocol(self.peerAddr)
        self.protocol.makeConnection(self)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    @property
    def received(self) -> bytes:
        return bytes(self.value())

    def leave(self) -> None:
        """Close the connection as its client would, and let go of the protocol."""
        protocol, self.protocol, self.producer = self.protocol, None, None
        if protocol is not None:
            self.connected = False
            protocol.connectionLost(Failure(ConnectionDone()))

    def unregisterProducer(self) -> None:
        # A real transport accepts this without a producer; StringTransport raises.
        self.producer = None

    def resumeProducing(self) -> None:
        # A real transport accepts this while it closes; StringTransport raises.
        if not self.disconnecting:
            super().resumeProducing()

    def loseConnection(self) -> None:
        # A real transport closes in the reactor's next turn; until then it only has the flag.
        self.disconnecting = True
        self._clock.callLater(0, self.leave)

    def abortConnection(self) -> None:
        self.loseConnection()


@attrs.frozen
class House:
    """The whole service on a clock that the test advances."""

    clock: Clock
    klein: Service
    resource: Service
    root: Root
    site: ServiceSite

    def service(self, style: str) -> Service:
        return {"klein": self.klein, "resource": self.resource}[style]

    def wire(self) -> Wire:
        return Wire(self.site, self.clock)


def make_house(stack: str, settings: Settings | None = None) -> House:
    """Make a service on one of the stacks, with default settings unless others are given."""
    clock, settings = Clock(), attrs.evolve(settings or Settings(), stack=stack)
    scenarios, state = Scenarios(settings), make_state(settings, clock)
    klein, resource = (Service(clock, settings, scenarios=scenarios, state=state, style=style) for style in PREFIXES)
    root = Root(klein, resource, settings)
    # The idle timeout of a connection is not tested with this: its clock stands still.
    return House(clock, klein, resource, root, make_site(root, clock, settings, Clock()))


def answer(house: House, request: str) -> tuple[str, str]:
    """Ask the site in memory; return the headers and the body that come at once."""
    wire = house.wire()
    wire.send(f"{request} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a-1\r\n\r\n".encode())
    # Two answers may be in two seconds.
    headers, _, body = re.sub(r"Date: .*?\r", "Date: now\r", wire.received.decode(), count=1).partition("\r\n\r\n")
    return headers, body
