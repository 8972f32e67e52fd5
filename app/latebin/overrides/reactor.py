"""The reactor of a process that serves, with a shorter way to a descriptor.

Overrides `twisted.internet.epollreactor.EPollReactor` of Twisted 26.10. Twisted's own calls each descriptor in a
logging context of its own, and makes room for as many events as there are descriptors.

To import `reactor` from here installs it, as it does for Twisted's. Where one is installed, or there is no epoll, it is
that of Twisted's choice.
"""

import select
import sys
from typing import TYPE_CHECKING, Final

from twisted.internet.main import installReactor

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase

AT_ONCE: Final = 32
"""Events that are taken from the kernel at once; those beyond it are there the next time, before any that come later.

A connection of TLS that closes takes a quarter of a millisecond. One client can close thousands at once.
"""

if hasattr(select, "epoll"):
    from twisted.internet.epollreactor import EPollReactor

    class DirectReactor(EPollReactor):
        """Twisted's epoll reactor, except that a descriptor is called without a logging context.

        Nothing here reads that context, and to enter and leave it takes longer than to read a socket, twice for each
        answer. Twisted also makes room, at each poll, for as many events as there are descriptors: 120 kB for 10,000
        connections.
        """

        def doPoll(self, timeout: float | None) -> None:
            """Wait for events, and attend to them.

            The loop that calls this method logs its exceptions; events that are left then come the next time.

            Args:
                timeout: seconds; None for as long as it takes.
            """
            for descriptor, event in self._poller.poll(-1 if timeout is None else timeout, AT_ONCE):
                # One that was attended to before may have closed it.
                selectable = self._selectables.get(descriptor)
                if selectable is not None:
                    self._doReadOrWrite(selectable, descriptor, event)

        doIteration = doPoll

    if "twisted.internet.reactor" not in sys.modules:
        installReactor(DirectReactor())

from twisted.internet import reactor as _installed  # noqa: E402  # to import it earlier would install another

reactor: "ReactorBase" = _installed  # type: ignore[assignment]  # Twisted declares it a module
