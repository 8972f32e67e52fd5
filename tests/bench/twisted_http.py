"""Twisted's own tests of malformed requests, run against the tuned connection and request.

    python -m tests.bench.twisted_http

Its tests of accepted requests look into Twisted's own request, and send no Host: they are not for another reader. This
program needs PyHamcrest, as Twisted's tests do. It prints each malformed request that is not refused, and the counts.
HTTP/1.2 is one of them by design (RFC 9110, section 2.5).
"""

import unittest
from typing import Any

import click
from twisted.internet.task import Clock

from latebin.core.settings import Settings
from latebin.site.factory import ServiceSite
from latebin.site.root import root
from tests.support.wire import Wire


def refused(sent: bytes) -> bool:
    """Return whether the service refuses bytes, and closes their connection."""
    clock, settings = Clock(), Settings()
    wire = Wire(ServiceSite(root(settings, clock), clock, clock, settings), clock)
    wire.send(sent)
    for _ in range(100):
        clock.advance(0)
    return wire.received.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4")) and not wire.connected


@click.command()
def main() -> None:
    """Send the malformed requests of the tests, and print the counts."""
    from twisted.web.test.test_http import ParsingTests  # noqa: PLC0415  # it needs PyHamcrest

    seen: list[bool] = []

    def check(test: Any, lines: list[bytes]) -> None:
        sent = b"\n".join(lines).replace(b"\n", b"\r\n")
        seen.append(refused(sent))
        if not seen[-1]:
            click.echo(f"{test.id().rpartition('.')[2]}: not refused: {sent[:100]!r}")

    patched: Any = ParsingTests
    patched.assertRequestRejected = check
    unittest.defaultTestLoader.loadTestsFromTestCase(ParsingTests).run(unittest.TestResult())
    click.echo(f"{sum(seen)} of {len(seen)} malformed requests are refused")


if __name__ == "__main__":
    main()
