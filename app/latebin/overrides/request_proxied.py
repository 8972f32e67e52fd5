"""A request that came through proxies, of which some are trusted."""

from collections.abc import Collection

from latebin.core.http.forwarded import believed
from latebin.core.http.networks import Network
from latebin.overrides.haproxy import address
from latebin.overrides.request import Request


class ProxiedRequest(Request):
    """A request whose client, scheme and host are those that trusted proxies tell of; nothing else is believed.

    Args:
        networks: those of the proxies that are trusted.
        arguments: what `Request` takes.
        named: the same.
    """

    _scheme: str | None = None

    def __init__(self, networks: Collection[Network], *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)
        self._networks = networks

    def process(self) -> None:
        """Take the proxies' word before anybody asks."""
        peer = getattr(self.getClientAddress(), "host", None)
        told = believed(self.requestHeaders.getRawHeaders, peer, self._networks)
        if told.client is not None:
            # Nobody asks for the port, and not every proxy tells it.
            self.client = address(told.client, 0)
        if told.host is not None:
            self.requestHeaders.setRawHeaders(b"Host", [told.host.encode("ascii")])
        self._scheme = told.scheme
        super().process()

    def isSecure(self) -> bool:
        """Tell whether the client came over TLS, as the proxies have it."""
        return super().isSecure() if self._scheme is None else self._scheme == "https"
