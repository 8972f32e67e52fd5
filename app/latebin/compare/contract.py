"""The HTTP contract as data: requests to which both styles give the same answer, to the byte."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Literal

import attrs

from latebin.core.endpoints import PREFIXES
from latebin.core.faults import KINDS

SORRY: Final = b"<html><body>Sorry to keep you waiting.</body></html>"
"""The body of the original example."""


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
        over: seconds from the first byte of the answer's body to the last.
        late: whether the answer is one that was waited for, and no refusal; unless it is said, a 200 is.
        content_type: of such an answer.
        content: the body of such an answer.
        told: of an answer that tells the request, the members that are not what those of a bare request are; None for
            an answer that does not.
        allow: the methods that a 405 names.
    """

    name: str
    target: str
    status: int = 200
    wait: float = 0.0
    method: str = "GET"
    headers: tuple[str, ...] = ()
    body: bytes = b""
    version: str = "HTTP/1.1"
    over: float = 0.0
    late: bool = attrs.field(default=attrs.Factory(lambda case: case.status == HTTPStatus.OK, takes_self=True))
    content_type: str = "text/html"
    content: bytes = SORRY
    told: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    allow: str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

    def request(self, style: str) -> bytes:
        """Write the request as it goes over the wire to a style."""
        lines = [f"{self.method} {PREFIXES[style]}{self.target} {self.version}", "Host: localhost", *self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    def answer(self, style: str) -> bytes:
        """Give the body of an answer that was waited for, as a style sends it to a GET."""
        if self.told is None:
            return self.content
        empty = dict[str, Any](args={}, data="", files={}, form={}, origin="127.0.0.1")
        url = f"http://localhost{PREFIXES[style]}{self.target}"
        members = empty | {"headers": self._headers(), "url": url} | dict(self.told)
        return json.dumps(members, indent=2, sort_keys=True).encode("ascii") + b"\n"

    def _headers(self) -> dict[str, str]:
        length = {"Content-Length": str(len(self.body))} if self.body else {}
        return {"Host": "localhost", **length, **dict(line.split(": ", 1) for line in self.headers)}


_echo: Final = partial(Case, content_type="application/json", told={})

_drip: Final = partial(Case, late=True, content_type="application/octet-stream", content=b"*" * 10)

_FORM: Final = "Content-Type: application/x-www-form-urlencoded"

_PARTS: Final = "Content-Type: multipart/form-data; boundary=abc"


def _parts(*parts: tuple[str, str]) -> bytes:
    lines = [
        line for head, content in parts for line in ("--abc", f"Content-Disposition: form-data; {head}", "", content)
    ]
    return "\r\n".join([*lines, "--abc--", ""]).encode("utf-8")


_JSON: Final = b'{"message": "Sorry to keep you waiting."}'

_MIX: Final = "mix(0.9:10ms,0.1:1ms..3ms)"

DRAWS: Final = (
    ("10ms..30ms", 0.02088812771308908),
    ("uniform(10ms,30ms)", 0.02088812771308908),
    ("normal(20ms,5ms)", 0.02371842192124566),
    ("exponential(20ms)", 0.009208041571761022),
    ("lognormal(median=20ms,p99=100ms)", 0.024842128686915592),
    ("lognormal(median=20ms,sigma=0.6)", 0.04393424126228654),
    ("pareto(min=10ms,alpha=1.5)", 0.012056430791633894),
    ("percentiles(50=10ms,95=40ms,99=80ms,100=100ms)", 0.015326319516765252),
    (_MIX, 0.01),
)
"""A delay of each shape, and its third draw of seed 7, in seconds: the same on every machine."""

SHAPES: Final = (
    *(Case(f"a draw from {delay}", f"/delayed?delay={delay}&seed=7&n=3", wait=wait) for delay, wait in DRAWS),
    Case("a share written with a percent sign", "/delayed?delay=mix(100%25:10ms)&seed=0&n=1", wait=0.01),
    Case("a shape in the path", "/delayed/10ms..10ms", wait=0.01),
    Case("a status", "/delayed?delay=10ms&status=503", 503, wait=0.01, late=True),
    Case("a status for all", "/delayed?delay=10ms&status=418:100%25", 418, wait=0.01, late=True),
    Case("a status for none", "/delayed?delay=10ms&status=418:0", wait=0.01),
    Case(
        "a status for a share that is hit", "/delayed?delay=10ms&status=503:0.6&seed=7&n=2", 503, wait=0.01, late=True
    ),
    Case("a status for a share that is missed", "/delayed?delay=10ms&status=503:0.6&seed=7&n=1", wait=0.01),
    *(
        Case(f"a {status} has no body", f"/delayed?delay=10ms&status={status}&size=64", status, wait=0.01)
        for status in (204, 205, 304)
    ),
    Case("a status that has no name", "/delayed?delay=10ms&status=299", 299, wait=0.01),
    Case("HEAD of a status", "/delayed?delay=10ms&status=500", 500, method="HEAD", wait=0.01, late=True),
    Case("HTML", "/delayed?delay=10ms&type=html", wait=0.01),
    Case("JSON", "/delayed?delay=10ms&type=json", wait=0.01, content_type="application/json", content=_JSON),
    Case(
        "text",
        "/delayed?delay=10ms&type=text",
        wait=0.01,
        content_type="text/plain; charset=utf-8",
        content=b"Sorry to keep you waiting.\n",
    ),
    Case(
        "bytes",
        "/delayed?delay=10ms&type=bytes",
        wait=0.01,
        content_type="application/octet-stream",
        content=b"Sorry to keep you waiting.",
    ),
    Case("an empty body", "/delayed?delay=10ms&size=0", wait=0.01, content=b""),
    Case(
        "a body larger than its type's own",
        "/delayed?delay=10ms&size=53",
        wait=0.01,
        content=SORRY[:-14] + SORRY[12:13] + SORRY[-14:],
    ),
    Case(
        "a body of a size with a unit",
        "/delayed?delay=10ms&size=1k&type=bytes",
        wait=0.01,
        content_type="application/octet-stream",
        content=(b"Sorry to keep you waiting." * 40)[:1024],
    ),
    Case(
        "HEAD of a large body",
        "/delayed?delay=10ms&size=53&chunks=3&over=1s",
        method="HEAD",
        wait=0.01,
        content=b"." * 53,
    ),
    Case("pieces", "/delayed?delay=10ms&chunks=4", wait=0.01),
    Case("pieces over a time", "/delayed?delay=10ms&chunks=4&over=30ms", wait=0.01, over=0.03),
    Case("headers that wait", "/delayed?delay=10ms&at=headers", wait=0.01),
    Case("a framing by length", "/delayed?delay=10ms&framing=length", wait=0.01),
    Case("a framing in chunks", "/delayed?delay=10ms&framing=chunked", wait=0.01, late=False),
    Case(
        "pieces as chunks", "/delayed?delay=10ms&framing=chunked&chunks=3&over=20ms", wait=0.01, over=0.02, late=False
    ),
    Case("chunks for HTTP/1.0", "/delayed?delay=10ms&framing=chunked", version="HTTP/1.0", wait=0.01, late=False),
    Case("a time to try again", "/delayed?delay=10ms&status=429&retry-after=30", 429, wait=0.01, late=True),
    *(Case(f"{kind} for none", f"/delayed?delay=10ms&fault={kind}:0", wait=0.01) for kind in KINDS),
    Case("what to expect", "/predict?delay=lognormal(median=80ms,p99=1.2s)&timeout=2s", late=False),
    Case("what to expect of the default delay", "/predict", late=False),
    Case("HEAD of what to expect", "/predict?delay=1s..3s", method="HEAD", late=False),
    Case("OPTIONS of what to expect", "/predict", 204, method="OPTIONS"),
    Case("POST of what to expect", "/predict?delay=1s", 405, method="POST", allow="GET, HEAD, OPTIONS"),
    Case("a path below what to expect", "/predict/1s", 404),
    *(
        Case(f"refused: {query}", f"/delayed?delay=10ms&{query}", 400)
        for query in (
            "seed=-1",
            "seed=18446744073709551616",
            "n=1",
            "n=0&seed=7",
            "status=199",
            "status=600",
            "status=503:2",
            "status=",
            "size=-1",
            "size=1g",
            "size=16385k",
            "type=xml",
            "at=foot",
            "chunks=0",
            "chunks=53",
            "chunks=10001&size=20000",
            "chunks=2&size=0",
            "over=1s",
            "over=11m&chunks=2",
            "over=soon&chunks=2",
            "framing=none",
            "retry-after=soon",
            "retry-after=1000000001",
            "fault=flood",
            "fault=reset:200%25",
            "fault=reset&fault=close",
            "timeout=1s",
        )
    ),
    *(
        Case(f"no delay: {delay}", f"/delayed?delay={delay}", 400)
        for delay in (
            "3s..1s",
            "uniform(1s)",
            "normal(1s,-1s)",
            "lognormal(median=0,p99=1s)",
            "pareto(min=1s,alpha=0)",
            "percentiles(99=1s,50=2s)",
            "mix(0.5:1s,0.6:2s)",
            "trace(nothing)",
            "11m..12m",
        )
    ),
    Case("a timeout that is none", "/predict?delay=1s&timeout=never", 400),
    Case("what to expect of no delay", "/predict?delay=soon", 400),
    Case("what to expect, with an unknown parameter", "/predict?delay=1s&seed=7", 400),
)
"""Every parameter, every value of those that have a few, and every refusal."""

CASES: Final = (
    *SHAPES,
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
    Case("an id that is given", "/delayed/1s", headers=("X-Request-ID: a-1.B_2",), wait=1.0),
    Case("an id that is none", "/delayed/soon", 400, headers=("X-Request-ID: <a>",)),
    Case("a body that is announced first", "/delayed/1s", headers=("Expect: 100-continue",), wait=1.0),
    Case("OPTIONS", "/delayed", 204, method="OPTIONS"),
    Case("OPTIONS with a delay in the path", "/delayed/1s", 204, method="OPTIONS"),
    Case("a method that is not known", "/delayed", 405, method="BREW"),
    Case("a method that is known and not allowed", "/delayed/1s", 405, method="TRACE"),
    Case("a method in small letters", "/delayed", 405, method="get"),
    Case("a method in small letters, where few are allowed", "/drip", 405, method="Get", allow="GET, HEAD, OPTIONS"),
    Case("a method in small letters, at another path", "/nothing", 404, method="get"),
    Case("a method without letters", "/predict", 405, method="1", allow="GET, HEAD, OPTIONS"),
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
    _echo("a request is told", "/delay/3", wait=3.0),
    _echo("a fraction of a second", "/delay/0.5", wait=0.5),
    _echo("a fraction without its zero", "/delay/.5", wait=0.5),
    _echo("seconds as this service writes them", "/delay/250ms", wait=0.25),
    _echo("no seconds at all", "/delay/0"),
    _echo("no seconds at all, with a sign", "/delay/-0.0"),
    _echo("more seconds than httpbin waits", "/delay/11", wait=10.0),
    _echo("forever", "/delay/inf", wait=10.0),
    _echo(
        "arguments are told",
        "/delay/1?a=1&a=2&b=&c",
        told={"args": {"a": ["1", "2"], "b": "", "c": ""}},
        wait=1.0,
    ),
    _echo(
        "markup is told as JSON",
        "/delay/1?a=<script>",
        told={"args": {"a": "<script>"}},
        wait=1.0,
    ),
    _echo(
        "what is not UTF-8 is told as it came",
        "/delay/1?a=%FF",
        told={"args": {"a": "%FF"}},
        wait=1.0,
    ),
    *(
        _echo(
            f"{method} with a body is told",
            "/delay/1",
            told={"data": '{"a": 1}'},
            method=method,
            wait=1.0,
            body=b'{"a": 1}',
        )
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ),
    _echo(
        "a form is told",
        "/delay/1",
        told={"form": {"a": ["1", "2"], "b": "3 4"}},
        method="POST",
        wait=1.0,
        headers=(_FORM,),
        body=b"a=1&b=3+4&a=2",
    ),
    _echo(
        "a form with a file is told",
        "/delay/1",
        told={"form": {"a": "1"}, "files": {"f": "hello"}},
        method="PUT",
        wait=1.0,
        headers=(_PARTS,),
        body=_parts(('name="a"', "1"), ('name="f"; filename="hello.txt"', "hello")),
    ),
    _echo(
        "bytes are told as a data URL",
        "/delay/1",
        told={"data": "data:application/octet-stream;base64,/4A="},
        method="POST",
        wait=1.0,
        body=b"\xff\x80",
    ),
    Case("OPTIONS of what tells the request", "/delay/3", 204, method="OPTIONS"),
    Case("seconds that are none", "/delay/soon", 400),
    Case("negative seconds", "/delay/-1", 400),
    Case("NaN for seconds", "/delay/nan", 400),
    Case("HEAD of seconds that are none", "/delay/soon", 400, method="HEAD"),
    Case("a form that is none", "/delay/1", 400, method="POST", headers=(_PARTS,), body=b"none"),
    Case("TRACE, which httpbin would answer", "/delay/1", 405, method="TRACE"),
    Case("no seconds", "/delay", 404),
    Case("nothing for seconds", "/delay/", 404),
    Case("a path below the seconds", "/delay/1/2", 404),
    _drip("bytes one by one", "/drip", over=1.8),
    _drip("as many bytes as were asked for", "/drip?numbytes=5&duration=10", content=b"*" * 5, over=8.0),
    _drip("all bytes at once", "/drip?duration=0"),
    _drip("a delay before the first byte", "/drip?delay=1.5&duration=100ms", wait=1.5, over=0.09),
    _drip("one byte", "/drip?numbytes=1", content=b"*" * 1),
    _drip("bytes with another status", "/drip?code=503&delay=1", status=503, wait=1.0, over=1.8),
    _drip("bytes with a status that nobody knows", "/drip?code=700&duration=0", status=700),
    _drip("HEAD of bytes waits, and has none", "/drip?delay=1", method="HEAD", wait=1.0),
    Case("a status without a body has no bytes", "/drip?code=204", 204),
    Case("OPTIONS of bytes", "/drip", 204, method="OPTIONS"),
    Case("not one byte", "/drip?numbytes=0", 400),
    Case("less than no byte", "/drip?numbytes=-1", 400),
    Case("half a byte", "/drip?numbytes=1.5", 400),
    Case("a duration that is none", "/drip?duration=x", 400),
    Case("a negative duration", "/drip?duration=-1", 400),
    Case("a duration above the longest delay", "/drip?duration=601", 400),
    Case("a negative delay before the bytes", "/drip?delay=-1", 400),
    Case("a code that is none", "/drip?code=abc", 400),
    Case("a code that is no answer", "/drip?code=100", 400),
    Case("an unknown parameter of the bytes", "/drip?number=1", 400),
    Case("POST of bytes", "/drip", 405, method="POST", allow="GET, HEAD, OPTIONS"),
    Case("a path below the bytes", "/drip/1", 404),
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
"""Every row of the contract; what differs between two answers to one case is what MEASURED finds."""

MEASURED: Final = re.compile(
    rb"^Date: .*?\r\n|(?<=delay;dur=)[0-9.]+|(?<=^X-Request-Id: )[0-9a-f]{32}(?=\r\n)", re.MULTILINE
)
"""What differs between two answers to one request."""

Leaving = Literal["at once", "after the headers"]
"""When a client leaves: as soon as it has sent everything, or when it has headers."""


@attrs.frozen
class Conversation:
    """What goes over one connection: requests, their answers, and how it ends.

    Attributes:
        name: what it shows, in a few words.
        cases: the requests, each sent when the one before is answered.
        statuses: of the answers, interim ones and what is not HTTP aside.
        pipelined: whether all requests are sent at once instead.
        raw: what is sent behind the requests, at once, where that is no request; `{prefix}` stands for the style's.
        leaves: when the client closes its half; None if it is the service that ends it.
        stays: whether the service would take another request.
    """

    name: str
    cases: tuple[Case, ...] = ()
    statuses: tuple[int, ...] = attrs.field(
        default=attrs.Factory(lambda self: tuple(case.status for case in self.cases), takes_self=True)
    )
    pipelined: bool = False
    raw: str = ""
    leaves: Leaving | None = None
    stays: bool = True

    @property
    def wait(self) -> float:
        """Seconds until the last answer, for a service whose settings are the default."""
        return sum(case.wait + case.over for case in self.cases)

    def turns(self, style: str) -> Iterator[tuple[bytes, tuple[Case, ...]]]:
        """Tell what is sent at once, and which requests are to be answered before anything else is sent."""
        raw = self.raw.format(prefix=PREFIXES[style]).encode("latin-1")
        if self.pipelined or not self.cases:
            yield b"".join(case.request(style) for case in self.cases) + raw, self.cases
            return
        *others, last = self.cases
        for case in others:
            yield case.request(style), (case,)
        yield last.request(style) + raw, (last,)


_SEEDED: Final = Case("", "/delayed?delay=10ms..20ms&seed=4711", wait=0.011301072719640079)

_QUICK: Final = Case("", "/delayed/10ms", wait=0.01)


def _fault(kind: str, *statuses: int, leaves: Leaving | None = None) -> tuple[Conversation, Conversation]:
    """Let something go wrong on a new connection, and behind another request."""
    case = Case("", f"/delayed?delay=10ms&fault={kind}", wait=0.01)
    return (
        Conversation(f"fault={kind}", (case,), statuses, leaves=leaves, stays=False),
        Conversation(f"fault={kind} behind another", (_QUICK, case), (200, *statuses), leaves=leaves, stays=False),
    )


CONVERSATIONS: Final = (
    *(
        Conversation(case.name, (case,), stays=case.version == "HTTP/1.1" and "Connection: close" not in case.headers)
        for case in CASES
    ),
    Conversation("headers before the wait", (Case("", "/delayed?delay=10ms&at=body&status=503", 503, wait=0.01),)),
    Conversation(
        "headers before the wait, then pieces as chunks",
        (Case("", "/delayed?delay=10ms&at=body&framing=chunked&chunks=3&over=20ms", wait=0.01, over=0.02),),
    ),
    Conversation("a connection that is kept", (_QUICK, Case("", "/delayed/soon", 400), _QUICK)),
    Conversation("draws one after the other", (_SEEDED, attrs.evolve(_SEEDED, wait=0.01121276174085219))),
    Conversation(
        "pipelining",
        (Case("", "/delayed/30ms", wait=0.03), _QUICK, Case("", "/delayed", 405, method="BREW")),
        pipelined=True,
    ),
    Conversation("pipelining behind a HEAD", (attrs.evolve(_QUICK, method="HEAD"), _QUICK), pipelined=True),
    *_fault("reset"),
    *_fault("close"),
    *_fault("garbage"),
    *_fault("truncate", 200),
    *_fault("badchunk", 200),
    *_fault("hang", 200, leaves="after the headers"),
    Conversation("a client that leaves", (Case("", "/delayed"),), (), leaves="at once", stays=False),
    Conversation(
        "a client that leaves after the headers",
        (Case("", "/delayed?delay=9m&at=body"),),
        (200,),
        leaves="after the headers",
        stays=False,
    ),
    Conversation(
        "a client that leaves with requests behind",
        (Case("", "/delayed"), _QUICK),
        (),
        pipelined=True,
        leaves="at once",
        stays=False,
    ),
    Conversation(
        "a client that leaves in a request",
        (),
        raw="GET {prefix}/delayed HTTP/1.1\r\nHo",
        leaves="at once",
        stays=False,
    ),
    *(
        Conversation(f"not HTTP: {name}", (), (400,), raw=raw, stays=False)
        for name, raw in (
            ("a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{prefix}\r\n"),
            ("a line of one word", "{prefix}/delayed\r\n"),
            ("a version that there is not", "GET {prefix}/delayed HTTX/1.1\r\n"),
            ("a header without a colon", "GET {prefix}/delayed HTTP/1.1\r\nHost localhost\r\n\r\n"),
            ("a length that is none", "POST {prefix}/delayed HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
            ("two lengths", "POST {prefix}/delayed HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            ("a chunk that is none", "POST {prefix}/delayed HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            ("a coding that is not known", "POST {prefix}/delayed HTTP/1.1\r\nTransfer-Encoding: rot13\r\n\r\n"),
        )
    ),
    *(
        Conversation(f"too much: {name}", (), (status,), raw=raw, stays=False)
        for name, status, raw in (
            ("a request line", 414, "GET {prefix}/delayed?" + "x" * 2**14),
            ("a header", 431, "GET {prefix}/delayed HTTP/1.1\r\nX: " + "x" * 2**14),
            ("headers", 431, "GET {prefix}/delayed HTTP/1.1\r\n" + "X: 1\r\n" * 502),
        )
    ),
    Conversation(
        "too much: a body",
        (),
        (413,),
        raw="POST {prefix}/delayed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777217\r\n\r\n",
        leaves="after the headers",
        stays=False,
    ),
    Conversation(
        "bytes that are not HTTP behind a request", (_QUICK,), (200, 400), raw="\x00\xff{prefix}\r\n", stays=False
    ),
)
"""The whole contract: each case on a connection of its own, and what takes more than one request."""


def comparable(received: bytes, style: str) -> bytes:
    """Leave out of what a style sent all that may differ: dates, figures, ids, and the prefix in its own URL.

    Args:
        received: everything that came over a connection.
        style: who sent it.

    Returns:
        What is the same for both styles, if they keep to the contract.
    """
    return MEASURED.sub(b"", _without_prefix(received, PREFIXES[style].encode("ascii")))


def _without_prefix(received: bytes, prefix: bytes) -> bytes:
    """Let an answer that tells the URL it was asked at tell the one without the prefix, with a length that fits."""
    own = b"http://localhost" + prefix + b"/"
    times = received.count(own) if prefix else 0
    if not times:
        return received
    length = re.sub(
        rb"(?<=\r\nContent-Length: )[0-9]+",
        lambda found: b"%d" % (int(found[0]) - times * len(prefix)),
        received,
        count=1,
    )
    return length.replace(own, b"http://localhost/")
