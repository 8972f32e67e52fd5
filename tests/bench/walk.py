"""The number of files of the package that one request passes through.

    python -m tests.bench.walk [--calls]

Each stack and style answers one GET /delayed?delay=0 in memory. A profile function (`sys.setprofile`) sees each call
of a function of the package on the way. The table has the number of files entered, and of returns. A return is a call
that goes from one file to another that was entered before; the end of a function is not one.

The first request of a site is not counted, because of its imports. Reactor, clock and log are those of a test: the real
ones are not entered.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby, product
from pathlib import Path
from types import FrameType

import attrs
import click
from rich.console import Console
from rich.table import Table
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

import latebin
from latebin.core.endpoints import PREFIXES
from latebin.core.settings import STACKS, Settings
from latebin.site.factory import ServiceSite, site

PACKAGE = f"{Path(latebin.__file__).parent}/"

REQUEST = "GET {prefix}/delayed?delay=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"


@attrs.frozen
class Call:
    """A call of a function of the package."""

    file: str
    function: str


@attrs.frozen
class Walk:
    """All calls for one request, in their order."""

    calls: list[Call]

    @property
    def visits(self) -> list[str]:
        """The files of the calls; several calls in one file are one visit."""
        return [file for file, _ in groupby(call.file for call in self.calls)]

    @property
    def entered(self) -> int:
        return len(set(self.visits))

    @property
    def returns(self) -> int:
        return len(self.visits) - self.entered


@contextmanager
def recorded(calls: list[Call]) -> Iterator[None]:
    """Add the calls of functions of the package meanwhile to a list."""

    def profile(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            calls.append(Call(code.co_filename.removeprefix(PACKAGE), code.co_qualname))

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def walk(service: ServiceSite, clock: Clock, style: str) -> Walk:
    """Send a request to a site over a connection of its own; return its calls."""
    transport = StringTransport()
    connection = service.buildProtocol(transport.getPeer())
    connection.makeConnection(transport)
    calls: list[Call] = []
    with recorded(calls):
        connection.dataReceived(REQUEST.format(prefix=PREFIXES[style]).encode())
        clock.advance(0)
    if not transport.value().startswith(b"HTTP/1.1 200 "):
        raise click.ClickException(f"the request failed: {transport.value().decode()}")
    return Walk(calls)


@click.command()
@click.option("--calls", is_flag=True, help="Print every call too.")
def main(*, calls: bool) -> None:
    """Count the files and returns of one request for each stack and style."""
    table = Table("stack", "style", "files entered", "returns", "calls", title="GET /delayed?delay=0")
    console = Console(soft_wrap=True)
    for stack, style in product(STACKS, PREFIXES):
        clock = Clock()
        service = site(Settings(stack=stack), clock)
        walk(service, clock, style)
        found = walk(service, clock, style)
        table.add_row(stack, style, str(found.entered), str(found.returns), str(len(found.calls)))
        for call in found.calls if calls else ():
            console.print(f"{stack}, {style}: {call.file}: {call.function}", markup=False, highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
