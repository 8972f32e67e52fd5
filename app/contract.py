"""The HTTP contract as data: requests to which both styles give the same answer, to the byte."""

from typing import Final

import attrs

PREFIXES: Final = {"klein": "", "resource": "/raw"}
"""The path under which each style answers."""


@attrs.frozen
class Case:
    """One request of the contract, and what is promised about its answer.

    Attributes:
        name: what it shows, in a few words.
        target: the request target, behind the style's prefix.
        status: the status of the answer.
        wait: seconds until the answer, for a service whose settings are the default.
        method: the request method.
        headers: request headers beside Host, as lines.
        body: the request body; its Content-Length is added.
        version: the HTTP version.
    """

    name: str
    target: str
    status: int = 200
    wait: float = 0.0
    method: str = "GET"
    headers: tuple[str, ...] = ()
    body: bytes = b""
    version: str = "HTTP/1.1"

    def request(self, style: str) -> bytes:
        """Write the request as it goes over the wire to a style."""
        lines = [f"{self.method} {PREFIXES[style]}{self.target} {self.version}", "Host: localhost", *self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


CASES: Final = (
    Case("the default delay", "/delayed", wait=5.0),
    Case("a delay in the path", "/delayed/250ms", wait=0.25),
    Case("a delay in the query", "/delayed?delay=1m30s", wait=90.0),
    Case("a bare number is seconds", "/delayed?delay=0.25", wait=0.25),
    Case("microseconds", "/delayed/300us", wait=0.0003),
    Case("the longest delay", "/delayed/10m", wait=600.0),
    Case("no delay at all", "/delayed/0"),
    Case("a percent-encoded delay", "/delayed?d%65lay=%31s", wait=1.0),
    Case("empty fields say nothing", "/delayed?&delay=1s&", wait=1.0),
    Case("HEAD waits as long", "/delayed/1s", method="HEAD", wait=1.0),
    *(
        Case(f"{method} is answered as GET is", "/delayed/1s", method=method, wait=1.0, body=b"dropped")
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ),
    Case(
        "a form in the body is no query",
        "/delayed/1s",
        method="POST",
        wait=1.0,
        headers=("Content-Type: application/x-www-form-urlencoded",),
        body=b"delay=3s&other=1",
    ),
    Case("HTTP/1.0", "/delayed/1s", version="HTTP/1.0", wait=1.0),
    Case("a connection that is to be closed", "/delayed/1s", headers=("Connection: close",), wait=1.0),
    Case("a body that is announced first", "/delayed/1s", headers=("Expect: 100-continue",), wait=1.0),
    Case("OPTIONS", "/delayed", 204, method="OPTIONS"),
    Case("OPTIONS with a delay in the path", "/delayed/1s", 204, method="OPTIONS"),
    Case("a method that is not known", "/delayed", 405, method="BREW"),
    Case("a method that is known and not allowed", "/delayed/1s", 405, method="TRACE"),
    Case("a method in small letters", "/delayed", 405, method="get"),
    Case("a delay in both places", "/delayed/1s?delay=1s", 400),
    Case("a delay that is none", "/delayed?delay=soon", 400),
    Case("a delay in the path that is none", "/delayed/soon", 400),
    Case("HEAD of what is refused", "/delayed/soon", 400, method="HEAD"),
    Case("a delay without a value", "/delayed?delay", 400),
    Case("an empty delay", "/delayed?delay=", 400),
    Case("a negative delay", "/delayed?delay=-1s", 400),
    Case("NaN", "/delayed?delay=nan", 400),
    Case("infinity", "/delayed?delay=inf", 400),
    Case("an exponent", "/delayed?delay=1e3", 400),
    Case("a delay above the longest", "/delayed?delay=10m1us", 400),
    Case("a delay that a float cannot hold", f"/delayed?delay={'9' * 400}", 400),
    Case("a repeated parameter", "/delayed?delay=1s&delay=1s", 400),
    Case("an unknown parameter", "/delayed?delya=1s", 400),
    Case("a parameter that is not UTF-8", "/delayed?%ff=1", 400),
    Case("a delay that is not UTF-8", "/delayed?delay=%ff", 400),
    Case("markup in a delay", "/delayed?delay=<script>alert(1)</script>", 400),
    Case("a path that is not UTF-8", "/delayed/%ff", 400),
    Case("a slash behind the path", "/delayed/", 404),
    Case("two slashes in the path", "/delayed//1s", 404),
    Case("a path below a delay", "/delayed/1s/2s", 404),
    Case("an encoded slash in a delay", "/delayed/1s%2F2s", 404),
    Case("an upstream that is not known", "/via/nowhere", 404),
    Case("a path behind an upstream that is not known", "/via/nowhere/%ff//a%2Fb?delay=1s", 404),
    Case("a body for an upstream that is not known", "/via/nowhere/a", 404, method="POST", body=b"dropped"),
    Case("OPTIONS of an upstream that is not known", "/via/nowhere", 404, method="OPTIONS"),
    Case("a method that is not known, to be passed on", "/via/nowhere", 405, method="BREW"),
    Case("an upstream without a name", "/via/", 404),
    Case("no upstream", "/via", 404),
    Case("a name that is not UTF-8", "/via/%ff", 400),
    Case("a slash in a name", "/via/a%2Fb", 404),
    Case("another path", "/delay-ed", 404),
    Case("a method that is not known, at another path", "/nothing", 404, method="BREW"),
)
"""Every row of the contract; what differs between two answers to one case is `Date` and the measured figures."""
