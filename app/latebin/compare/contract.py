"""The HTTP contract as data: requests that both styles answer with the same bytes."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any, Final, Literal

import attrs

from latebin.compare.protocol import EXCHANGES
from latebin.core.endpoints import PREFIXES
from latebin.core.faults import KINDS

SORRY: Final = b"<html><body>Sorry to keep you waiting.</body></html>"
"""The body of the original example."""


_NUMBERS: Final = count()


def _new_key() -> str:
    """Return a key that no conversation before had, with any service."""
    # Conversations run in threads. A generator cannot be in two of them at once, and a count can.
    return f"contract-{os.getpid()}-{next(_NUMBERS)}"


@attrs.frozen
class Case:
    """One request of the contract, with the answer that both styles promise.

    Attributes:
        name: the subject of the case, in a few words.
        target: the request target, without the style's prefix; `{key}` in it is a key of the conversation's own.
        status: the status of the answer.
        wait: seconds until the answer begins, for a service with default settings.
        method: the request method.
        headers: request headers beside Host, as lines.
        body: the request body; `request` adds its Content-Length.
        version: the HTTP version.
        over: seconds from the first byte of the answer's body to the last.
        late: whether the answer is a delayed one, and not a refusal; by default, whether the status is 200.
        content_type: the Content-Type of a delayed answer.
        content: the body of a delayed answer that is not an echo.
        echo: for an echo, the JSON members that differ from those for a bare request; otherwise None.
        allow: the methods in the Allow header of a 405.
        needs_tuned: why the stock stack gives another answer; empty where every stack gives this one.
        styled: whether the target has the prefix of the style; the pages of neither style have none.
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
    echo: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    allow: str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    needs_tuned: str = ""
    styled: bool = True

    def request(self, style: str, key: str = "") -> bytes:
        """Return the bytes of the request to one style.

        Args:
            style: the style.
            key: stands in the place of `{key}` in target and headers; a new one by default.
        """
        prefix = PREFIXES[style] if self.styled else ""
        lines = [f"{self.method} {prefix}{self.target} {self.version}", "Host: localhost", *self.headers]
        lines = [line.replace("{key}", key or _new_key()) for line in lines]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    def answer(self, style: str) -> bytes:
        """Return the body of a delayed answer, as one style sends it to a GET."""
        if self.echo is None:
            return self.content
        headers = {"Host": "localhost", **dict(line.split(": ", 1) for line in self.headers)}
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        members = {
            "args": {},
            "data": "",
            "files": {},
            "form": {},
            "headers": headers,
            "origin": "127.0.0.1",
            "url": f"http://localhost{PREFIXES[style]}{self.target}",
            **self.echo,
        }
        return json.dumps(members, indent=2, sort_keys=True).encode("ascii") + b"\n"


_echo: Final = partial(Case, content_type="application/json", echo={})

_drip: Final = partial(Case, late=True, content_type="application/octet-stream", content=b"*" * 10)

_LOWER: Final = "Werkzeug takes get for GET, though a method is case-sensitive (RFC 9110, section 9.1)"

_AT_ONCE: Final = "Twisted's channel takes a body as fast as it comes (twisted#4688)"

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
    ("uniform(10ms,30ms,max=12ms)", 0.012),
    (_MIX, 0.01),
)
"""A delay of each distribution, and its third draw of seed 7 in seconds: the same on every machine."""

SHAPES: Final = (
    *(Case(f"a draw from {delay}", f"/delayed?delay={delay}&seed=7&n=3", wait=wait) for delay, wait in DRAWS),
    Case("a share written with a percent sign", "/delayed?delay=mix(100%25:10ms)&seed=0&n=1", wait=0.01),
    Case("a distribution in the path", "/delayed/10ms..10ms", wait=0.01),
    Case("a status", "/delayed?delay=10ms&status=503", 503, wait=0.01, late=True),
    Case("a status with a share of 100%", "/delayed?delay=10ms&status=418:100%25", 418, wait=0.01, late=True),
    Case("a status with a share of 0", "/delayed?delay=10ms&status=418:0", wait=0.01),
    Case("a status with a share, drawn", "/delayed?delay=10ms&status=503:0.6&seed=7&n=2", 503, wait=0.01, late=True),
    Case("a status with a share, not drawn", "/delayed?delay=10ms&status=503:0.6&seed=7&n=1", wait=0.01),
    *(
        Case(f"status {status} without a body", f"/delayed?delay=10ms&status={status}&size=64", status, wait=0.01)
        for status in (204, 205, 304)
    ),
    Case("an unregistered status", "/delayed?delay=10ms&status=299", 299, wait=0.01),
    Case("HEAD with a status", "/delayed?delay=10ms&status=500", 500, method="HEAD", wait=0.01, late=True),
    Case("an HTML body", "/delayed?delay=10ms&type=html", wait=0.01),
    Case("a JSON body", "/delayed?delay=10ms&type=json", wait=0.01, content_type="application/json", content=_JSON),
    Case(
        "a text body",
        "/delayed?delay=10ms&type=text",
        wait=0.01,
        content_type="text/plain; charset=utf-8",
        content=b"Sorry to keep you waiting.\n",
    ),
    Case(
        "a binary body",
        "/delayed?delay=10ms&type=bytes",
        wait=0.01,
        content_type="application/octet-stream",
        content=b"Sorry to keep you waiting.",
    ),
    Case("an empty body", "/delayed?delay=10ms&size=0", wait=0.01, content=b""),
    Case(
        "a body padded to a size",
        "/delayed?delay=10ms&size=53",
        wait=0.01,
        content=SORRY[:-14] + SORRY[12:13] + SORRY[-14:],
    ),
    Case(
        "a body size with a unit",
        "/delayed?delay=10ms&size=1k&type=bytes",
        wait=0.01,
        content_type="application/octet-stream",
        content=(b"Sorry to keep you waiting." * 40)[:1024],
    ),
    Case(
        "HEAD of a padded body",
        "/delayed?delay=10ms&size=53&chunks=3&over=1s",
        method="HEAD",
        wait=0.01,
        content=b"." * 53,
    ),
    Case("a body in pieces", "/delayed?delay=10ms&chunks=4", wait=0.01),
    Case("a body in pieces over a time", "/delayed?delay=10ms&chunks=4&over=30ms", wait=0.01, over=0.03),
    Case("a delay before the headers", "/delayed?delay=10ms&at=headers", wait=0.01),
    Case("a body framed by Content-Length", "/delayed?delay=10ms&framing=length", wait=0.01),
    Case("a chunked body", "/delayed?delay=10ms&framing=chunked", wait=0.01, late=False),
    Case(
        "a chunked body in pieces over a time",
        "/delayed?delay=10ms&framing=chunked&chunks=3&over=20ms",
        wait=0.01,
        over=0.02,
        late=False,
    ),
    Case(
        "a chunked body for HTTP/1.0", "/delayed?delay=10ms&framing=chunked", version="HTTP/1.0", wait=0.01, late=False
    ),
    *(
        Case(f"a stream: {name}", f"/delayed?delay=10ms&{query}", wait=0.01, over=over, late=False, headers=headers)
        for name, query, over, headers in (
            ("one event", "type=sse", 0.0, ()),
            ("lines over a time", "type=ndjson&chunks=3&over=20ms", 0.02, ()),
            ("events with data, drawn gaps", "type=sse&chunks=3&size=9&every=exponential(5ms)&seed=7&n=1", 0.1, ()),
            ("silence longer than a comment's", "type=sse&chunks=2&every=40s", 40.0, ()),
            ("the rest for a client that comes back", "type=sse&chunks=3&every=5ms", 0.01, ("Last-Event-ID: 2",)),
        )
    ),
    Case("a stream for HTTP/1.0", "/delayed?delay=10ms&type=sse&chunks=2", version="HTTP/1.0", wait=0.01, late=False),
    Case("HEAD of a stream", "/delayed?delay=10ms&type=sse&chunks=2", method="HEAD", wait=0.01, late=False),
    Case(
        "a stream for a client that has it all",
        "/delayed?delay=10ms&type=sse&chunks=3",
        204,
        wait=0.01,
        headers=("Last-Event-ID: 3",),
    ),
    Case("a stream for an unknown id", "/delayed?type=sse&chunks=3", 400, headers=("Last-Event-ID: 4",)),
    Case("a stream for a wrong id", "/delayed?type=sse&chunks=3", 400, headers=("Last-Event-ID: x",)),
    Case("gaps between the pieces of a body", "/delayed?delay=10ms&chunks=3&every=5ms", wait=0.01, over=0.01),
    Case("a body at a rate", "/delayed?delay=10ms&rate=100", wait=0.01, over=0.521),
    *(
        Case(
            f"a body taken at a rate, {where}",
            target,
            method="POST",
            body=b"x" * 64,
            wait=0.064,
            headers=headers,
            late=False,
            needs_tuned=_AT_ONCE,
        )
        for where, target, headers in (
            ("as in the query", "/delayed?delay=0&read=1000", ()),
            ("as in a header", "/delay/0", ("Latebin-Read: 1000",)),
            ("as behind a scenario's name", "/as/slow;delay=0;read=1000/a", ()),
        )
    ),
    Case("a rate for no body", "/delayed?delay=10ms&read=1", wait=0.01, needs_tuned=_AT_ONCE),
    *(
        Case(f"/{path}: {name}", f"/{path}?{query}", wait=wait, over=over, late=False)
        for path in ("sse", "jsonl")
        for name, query, wait, over in (
            ("its defaults", "", 0.0, 5.0),
            ("a count over a time", "count=3&duration=100ms&delay=1", 1.0, 0.1),
            ("one event", "count=1", 0.0, 0.0),
        )
    ),
    Case("POST of /sse", "/sse", 405, method="POST", allow="GET, HEAD, OPTIONS"),
    *(Case(f"/sse with {query}", f"/sse?{query}", 400) for query in ("count=0", "jitter=2", "duration=soon", "n=1")),
    Case("a Retry-After header", "/delayed?delay=10ms&status=429&retry-after=30", 429, wait=0.01, late=True),
    Case(
        "a redirect with a Retry-After header",
        "/delayed?delay=10ms&status=307&retry-after=1",
        307,
        wait=0.01,
        late=True,
    ),
    Case(
        "a Retry-After header for a share, drawn",
        "/delayed?delay=10ms&status=503:0.6&retry-after=1&seed=7&n=2",
        503,
        wait=0.01,
        late=True,
    ),
    Case(
        "a Retry-After header for a share, not drawn",
        "/delayed?delay=10ms&status=503:0.6&retry-after=1&seed=7&n=1",
        wait=0.01,
    ),
    *(Case(f"a share of 0 of fault={kind}", f"/delayed?delay=10ms&fault={kind}:0", wait=0.01) for kind in KINDS),
    Case("a prediction", "/predict?delay=lognormal(median=80ms,p99=1.2s)&timeout=2s", late=False),
    Case("a prediction at a delay with weight", "/predict?delay=mix(95%25:50ms,5%25:2s)&timeout=2s", late=False),
    Case("a prediction of a limited delay", "/predict?delay=exponential(1s,max=2s)&timeout=2s", late=False),
    Case("a prediction of the default delay", "/predict", late=False),
    Case("HEAD of a prediction", "/predict?delay=1s..3s", method="HEAD", late=False),
    Case("OPTIONS of /predict", "/predict", 204, method="OPTIONS"),
    Case("POST of /predict", "/predict?delay=1s", 405, method="POST", allow="GET, HEAD, OPTIONS"),
    Case("a path below /predict", "/predict/1s", 404),
    *(
        Case(f"refused: {query}", f"/delayed?delay=10ms&{query}", 400)
        for query in (
            "seed=-1",
            "header=",
            "header=ETag",
            "header=E%20Tag:a",
            "header=ETag:",
            "header=ETag:%00",
            "header=ETag:a%0d%0aX:%20b",
            "header=ETag:%C3%A9",
            "header=Connection:close",
            "header=content-length:1",
            "header=Transfer-Encoding:chunked",
            "header=Date:now",
            "header=Server:mine",
            "header=Proxy-Authenticate:x",
            "header=Access-Control-Allow-Origin:*",
            "header=Content-Type:text/html",
            "&".join(f"header=X-{number}:a" for number in range(17)),
            "answer=",
            "answer=90%25:(delay=1s)",
            "answer=100%25:(delya=1s)",
            "answer=100%25:(seed=7)",
            "answer=100%25:(answer=1:())",
            "body=x",
            "upstream=api",
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
            "every=1s",
            "every=1s&chunks=2&over=1s",
            "rate=0",
            "read=0",
            "read=1g",
            "read=1k&answer=1:(read=1k)",
            "rate=1k&chunks=2",
            "rate=1k&type=sse",
            "rate=1&size=10k",
            "type=sse&framing=length",
            "type=sse&over=1s",
            "type=sse&size=1m",
            "type=sse&pieces=words",
            "type=sse&chunks=0&fault=truncate",
            "type=sse&chunks=2&fault=reset@3",
            "fault=truncate@53",
            "fault=truncate@-1",
            "fault=tired@3",
            "chunks=53",
            "chunks=10001&size=20000",
            "chunks=2&size=0",
            "over=1s",
            "over=11m&chunks=2",
            "over=soon&chunks=2",
            "framing=none",
            "retry-after=soon",
            "retry-after=1",
            "retry-after=1&status=500",
            "retry-after=1&status=200",
            "retry-after=1&answer=100%25:(status=500)",
            "status=503&answer=1:(status=404,retry-after=1)",
            "retry-after=1000000001",
            "fault=flood",
            "fault=reset:200%25",
            "fault=reset&fault=close",
            "timeout=1s",
        )
    ),
    *(
        Case(f"an invalid delay: {delay}", f"/delayed?delay={delay}", 400)
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
            "500",
            "mix(0.5:1s,0.5:61)",
            "exponential(1s,max=0)",
            "pareto(min=1s,alpha=2,max=500ms)",
        )
    ),
    Case("a prediction with a timeout of 500", "/predict?delay=1s&timeout=500", 400),
    Case("a prediction with an invalid timeout", "/predict?delay=1s&timeout=never", 400),
    Case("a prediction of an invalid delay", "/predict?delay=soon", 400),
    Case("a prediction with an unknown parameter", "/predict?delay=1s&seed=7", 400),
)
"""Every parameter of /delayed and /predict: each value of an enumeration, and at least one refusal."""

SCENARIOS: Final = (
    Case(
        "headers that the caller adds",
        "/delayed?delay=10ms&header=ETag:%22v1%22&header=X-A:%20b%20",
        wait=0.01,
    ),
    Case(
        "a header in the place of the service's own", "/delayed?delay=10ms&header=Cache-Control:max-age=60", wait=0.01
    ),
    Case("a redirect", "/delayed?delay=10ms&status=302&header=Location:/delayed/20ms", 302, wait=0.01, late=True),
    Case("two cookies", "/delayed?delay=10ms&header=Set-Cookie:a=1&header=Set-Cookie:b=2", wait=0.01),
    Case(
        "one of several answers",
        "/delayed?answer=100%25:(delay=10ms,status=503,retry-after=1)",
        503,
        wait=0.01,
        late=True,
    ),
    Case(
        "a Retry-After header for some of several answers",
        "/delayed?delay=10ms&retry-after=5&answer=100%25:(status=429),0%25:()",
        429,
        wait=0.01,
        late=True,
    ),
    Case(
        "several answers with a seed",
        "/delayed?delay=10ms&answer=0%25:(status=503),1:(type=text)&seed=7",
        wait=0.01,
        content_type="text/plain; charset=utf-8",
        content=b"Sorry to keep you waiting.\n",
    ),
    Case("a delay in a header", "/delayed", headers=("Latebin-Delay: 10ms",), wait=0.01),
    Case(
        "parameters in URL and headers",
        "/delayed?delay=10ms",
        429,
        headers=("latebin-status: 429",),
        wait=0.01,
        late=True,
    ),
    *(
        Case(f"refused: {line}", "/delayed?delay=10ms", 400, headers=(line,))
        for line in ("Latebin-Delay: 1s", "Latebin-Status: 1", "Latebin-Delya: 1s", "Latebin-Body: x")
    ),
    Case("a scenario", "/as/rate-limited", 429, wait=0.02, late=True),
    Case("a scenario at any path", "/as/rate-limited/v1/users/a%2Fb//%ff?limit=5&delay=x", 429, wait=0.02, late=True),
    *(
        Case(f"{method} of a scenario", "/as/rate-limited/v1", 429, method=method, body=body, wait=0.02, late=True)
        for method, body in (("POST", b"dropped"), ("HEAD", b""), ("OPTIONS", b""), ("PROPFIND", b""))
    ),
    Case(
        "a scenario with a parameter in a header",
        "/as/rate-limited/v1",
        headers=("Latebin-Status: 200", "Latebin-Delay: 0"),
        late=True,
    ),
    Case("a scenario with an unknown parameter in a header", "/as/rate-limited/v1", 400, headers=("Latebin-Delya: 0",)),
    Case("an unknown scenario", "/as/nothing/v1", 404),
    Case("an empty scenario name", "/as/", 404),
    Case("/as without a scenario", "/as", 404),
)
"""Scenarios, parameters in request headers, whole answers with shares, and headers that the caller adds."""

_STEERED: Final = partial(Case, wait=0.01, late=False)

STEERED: Final = (
    _STEERED("a key", "/delayed?delay=10ms&key={key}"),
    _STEERED("a key in a header", "/delayed?delay=10ms", headers=("Latebin-Key: {key}",)),
    _STEERED("a pool of an echo", "/delay/0.01", headers=("Latebin-Pool: echo", "Latebin-Servers: 9")),
    _STEERED("a key of /drip", "/drip?delay=10ms&duration=0&key={key}"),
    _STEERED("a key behind a scenario", "/as/rate-limited;key={key}/v1?delay=x", 429, wait=0.02, late=True),
    _STEERED(
        "a key in a header of a scenario",
        "/as/rate-limited/v1",
        429,
        wait=0.02,
        late=True,
        headers=("Latebin-Key: {key}",),
    ),
    _STEERED("parameters behind a scenario", "/as/rate-limited;status=200;delay=10ms;key={key}"),
    _STEERED("a step of statuses by its number", "/delayed?delay=10ms&status=503*2,200&n=3"),
    _STEERED("a step without a fault", "/delayed?delay=10ms&fault=reset*1,none&n=2"),
    _STEERED("a step without a status", "/delayed?delay=10ms&status=503,none&n=2"),
    _STEERED("a step of delays by its number", "/delayed?delay=5s*2,1ms..1ms*3,10ms&n=6"),
    _STEERED("a step of delays in the path", "/delayed/5s,10ms?n=2"),
    _STEERED("a share of a step", "/delayed?delay=10ms&status=503:50%25*4,200&seed=7&n=2", 503, late=True),
    _STEERED("a gate that expires", "/delayed?delay=0&gate={key}&within=10ms"),
    _STEERED("a gate in a header", "/drip?duration=0", headers=("Latebin-Gate: {key}", "Latebin-Within: 10ms")),
    _STEERED("a barrier of one", "/delayed?delay=0&gate={key}:1&order=lifo", wait=0.0),
    _STEERED("a barrier of one in random order", "/delayed?delay=0&gate={key}:1&order=random&seed=7", wait=0.0),
    _STEERED("a pool", "/delayed?delay=10ms&pool={key}&servers=1&queue=0"),
    _STEERED("a gate before a pool", "/delayed?delay=0&gate={key}:1&pool={key}&servers=1&key={key}", wait=0.0),
    _STEERED("a pool of /drip", "/drip?delay=10ms&duration=0&pool={key}&servers=2"),
    *(
        Case(f"refused steering: {query}", f"/delayed?{query}", 400)
        for query in (
            "key=",
            "key=a%20b",
            "key=a&key=b",
            f"key={'x' * 129}",
            "key=..",
            "status=503*2,200",
            "delay=5s*2,50ms",
            "fault=reset,none",
            "status=503*2&key=a",
            "status=503*0,200&key=a",
            "status=503,&key=a",
            "delay=5s,soon&key=a",
            "n=2&key=a",
            "gate=",
            "gate=a:0",
            "gate=a:10001",
            "gate=a:b",
            "within=1s",
            "within=soon&gate=a",
            "gate=a&within=10m1us",
            "order=fifo",
            "order=filo&gate=a",
            "pool=a",
            "servers=1",
            "queue=1",
            "pool=%20&servers=1",
            "pool=a&servers=0",
            "pool=a&servers=1&queue=-1",
        )
    ),
    Case("a wrong parameter behind a scenario", "/as/rate-limited;delya=1s", 400),
    Case("an unknown parameter in a header of an echo", "/delay/1", 400, headers=("Latebin-Delay: 1s",)),
    Case("a wrong parameter in a header of /drip", "/drip", 400, headers=("Latebin-Gate: a b",)),
)
"""Requests with a key, at a gate or in a pool."""

PREDICTIONS: Final = (
    Case("a simulation", "/predict?delay=20ms&rate=20&servers=1&queue=10&seed=7", late=False),
    *(
        Case(f"a refused simulation: {query}", f"/predict?{query}", 400)
        for query in (
            "rate=0",
            "rate=1e3",
            "servers=0&rate=1",
            "servers=2",
            "queue=1",
            "seed=7",
            "queue=-1&rate=1",
            "seed=x&rate=1",
        )
    ),
)
"""Predictions that need a simulation."""

CASES: Final = (
    *PREDICTIONS,
    *STEERED,
    *SHAPES,
    *SCENARIOS,
    Case("the default delay", "/delayed", wait=5.0),
    Case("a delay in the path", "/delayed/250ms", wait=0.25),
    Case("a delay in the query", "/delayed?delay=1m30s", wait=90.0),
    Case("a delay without a unit", "/delayed?delay=0.25", wait=0.25),
    Case("a delay in microseconds", "/delayed/300us", wait=0.0003),
    Case("the micro sign", "/delayed?delay=300%C2%B5s", wait=0.0003),
    Case("the Greek letter mu", "/delayed/300%CE%BCs", wait=0.0003),
    Case("the longest delay without a unit", "/delayed/60", wait=60.0),
    Case("a longer delay without a unit", "/delayed/61", 400),
    Case("a longer delay without a unit in a header", "/delayed", 400, headers=("Latebin-Delay: 500",)),
    Case("the longest delay", "/delayed/10m", wait=600.0),
    Case("a delay of 0", "/delayed/0"),
    Case("a percent-encoded delay", "/delayed?d%65lay=%31s", wait=1.0),
    Case("empty fields in the query", "/delayed?&delay=1s&", wait=1.0),
    Case("HEAD of a delayed answer", "/delayed/1s", method="HEAD", wait=1.0),
    *(
        Case(f"{method} with a body", "/delayed/1s", method=method, wait=1.0, body=b"dropped")
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ),
    Case(
        "a form in the body with a delay in it",
        "/delayed/1s",
        method="POST",
        wait=1.0,
        headers=("Content-Type: application/x-www-form-urlencoded",),
        body=b"delay=3s&other=1",
    ),
    Case("HTTP/1.0", "/delayed/1s", version="HTTP/1.0", wait=1.0),
    Case("a request with Connection: close", "/delayed/1s", headers=("Connection: close",), wait=1.0),
    Case("a valid X-Request-ID", "/delayed/1s", headers=("X-Request-ID: a-1.B_2",), wait=1.0),
    Case("an invalid X-Request-ID", "/delayed/soon", 400, headers=("X-Request-ID: <a>",)),
    Case("a request with Expect: 100-continue", "/delayed/1s", headers=("Expect: 100-continue",), wait=1.0),
    Case("OPTIONS", "/delayed", 204, method="OPTIONS"),
    Case("OPTIONS with a delay in the path", "/delayed/1s", 204, method="OPTIONS"),
    Case("an unknown method", "/delayed", 405, method="BREW"),
    Case("a known method that is not allowed", "/delayed/1s", 405, method="TRACE"),
    Case("a method in lower case", "/delayed", 405, method="get", needs_tuned=_LOWER),
    Case("a method in mixed case", "/drip", 405, method="Get", allow="GET, HEAD, OPTIONS", needs_tuned=_LOWER),
    Case("a method in lower case at an unknown path", "/nothing", 404, method="get"),
    Case("a method without letters", "/predict", 405, method="1", allow="GET, HEAD, OPTIONS"),
    Case("a delay in the path and in the query", "/delayed/1s?delay=1s", 400),
    Case("an invalid delay in the query", "/delayed?delay=soon", 400),
    Case("an invalid delay in the path", "/delayed/soon", 400),
    Case("HEAD with an invalid delay", "/delayed/soon", 400, method="HEAD"),
    Case("a delay without a value", "/delayed?delay", 400),
    Case("an empty delay", "/delayed?delay=", 400),
    Case("a negative delay", "/delayed?delay=-1s", 400),
    Case("a delay of NaN", "/delayed?delay=nan", 400),
    Case("an infinite delay", "/delayed?delay=inf", 400),
    Case("a delay with an exponent", "/delayed?delay=1e3", 400),
    Case("a delay above the longest", "/delayed?delay=10m1us", 400),
    Case("a delay of 400 digits", f"/delayed?delay={'9' * 400}", 400),
    Case("a repeated parameter", "/delayed?delay=1s&delay=1s", 400),
    Case("an unknown parameter", "/delayed?delya=1s", 400),
    Case("a parameter that is not UTF-8", "/delayed?%ff=1", 400),
    Case("a delay that is not UTF-8", "/delayed?delay=%ff", 400),
    Case("markup in a delay", "/delayed?delay=<script>alert(1)</script>", 400),
    Case("a path that is not UTF-8", "/delayed/%ff", 400),
    Case("a slash at the end of the path", "/delayed/", 404),
    Case("two slashes in the path", "/delayed//1s", 404),
    Case("a path below a delay", "/delayed/1s/2s", 404),
    Case("an encoded slash in a delay", "/delayed/1s%2F2s", 404),
    _echo("an echo of a bare request", "/delay/3", wait=3.0),
    _echo("/delay with a fraction of a second", "/delay/0.5", wait=0.5),
    _echo("/delay without a leading zero", "/delay/.5", wait=0.5),
    _echo("/delay with a unit", "/delay/250ms", wait=0.25),
    _echo("/delay with zero seconds", "/delay/0"),
    _echo("/delay with minus zero seconds", "/delay/-0.0"),
    _echo("/delay with more seconds than httpbin waits", "/delay/11", wait=10.0),
    _echo("/delay with infinite seconds", "/delay/inf", wait=10.0),
    _echo(
        "an echo of query arguments",
        "/delay/1?a=1&a=2&b=&c",
        echo={"args": {"a": ["1", "2"], "b": "", "c": ""}},
        wait=1.0,
    ),
    _echo(
        "an echo of markup",
        "/delay/1?a=<script>",
        echo={"args": {"a": "<script>"}},
        wait=1.0,
    ),
    _echo(
        "an echo of an argument that is not UTF-8",
        "/delay/1?a=%FF",
        echo={"args": {"a": "%FF"}},
        wait=1.0,
    ),
    *(
        _echo(
            f"an echo of {method} with a body",
            "/delay/1",
            echo={"data": '{"a": 1}'},
            method=method,
            wait=1.0,
            body=b'{"a": 1}',
        )
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ),
    _echo(
        "an echo of a form",
        "/delay/1",
        echo={"form": {"a": ["1", "2"], "b": "3 4"}},
        method="POST",
        wait=1.0,
        headers=(_FORM,),
        body=b"a=1&b=3+4&a=2",
    ),
    _echo(
        "an echo of a form with a file",
        "/delay/1",
        echo={"form": {"a": "1"}, "files": {"f": "hello"}},
        method="PUT",
        wait=1.0,
        headers=(_PARTS,),
        body=_parts(('name="a"', "1"), ('name="f"; filename="hello.txt"', "hello")),
    ),
    _echo(
        "an echo of a binary body",
        "/delay/1",
        echo={"data": "data:application/octet-stream;base64,/4A="},
        method="POST",
        wait=1.0,
        body=b"\xff\x80",
    ),
    Case("OPTIONS of /delay", "/delay/3", 204, method="OPTIONS"),
    Case("/delay with invalid seconds", "/delay/soon", 400),
    Case("/delay with negative seconds", "/delay/-1", 400),
    Case("/delay with NaN", "/delay/nan", 400),
    Case("HEAD of /delay with invalid seconds", "/delay/soon", 400, method="HEAD"),
    Case("an echo of a malformed form", "/delay/1", 400, method="POST", headers=(_PARTS,), body=b"none"),
    Case("TRACE of /delay, which httpbin would answer", "/delay/1", 405, method="TRACE"),
    Case("/delay without seconds", "/delay", 404),
    Case("/delay with empty seconds", "/delay/", 404),
    Case("a path below /delay", "/delay/1/2", 404),
    _drip("/drip with its defaults", "/drip", over=1.8),
    _drip("/drip of five bytes over ten seconds", "/drip?numbytes=5&duration=10", content=b"*" * 5, over=8.0),
    _drip("/drip of all bytes at once", "/drip?duration=0"),
    _drip("/drip with a delay", "/drip?delay=1.5&duration=100ms", wait=1.5, over=0.09),
    _drip("/drip of one byte", "/drip?numbytes=1", content=b"*" * 1),
    _drip("/drip with a status", "/drip?code=503&delay=1", status=503, wait=1.0, over=1.8),
    _drip("/drip with an unregistered status", "/drip?code=700&duration=0", status=700),
    _drip("HEAD of /drip", "/drip?delay=1", method="HEAD", wait=1.0),
    Case("/drip with a status that has no body", "/drip?code=204", 204),
    Case("OPTIONS of /drip", "/drip", 204, method="OPTIONS"),
    Case("/drip of zero bytes", "/drip?numbytes=0", 400),
    Case("/drip of a negative number of bytes", "/drip?numbytes=-1", 400),
    Case("/drip of a fraction of a byte", "/drip?numbytes=1.5", 400),
    Case("/drip with an invalid duration", "/drip?duration=x", 400),
    Case("/drip with a negative duration", "/drip?duration=-1", 400),
    _drip("/drip over many seconds without a unit", "/drip?numbytes=2&duration=100", content=b"**", over=50.0),
    _echo("/delay with many seconds without a unit", "/delay/500", wait=10.0),
    Case("/drip with a duration above the longest delay", "/drip?duration=601", 400),
    Case("/drip with a negative delay", "/drip?delay=-1", 400),
    Case("/drip with an invalid status", "/drip?code=abc", 400),
    Case("/drip with an interim status", "/drip?code=100", 400),
    Case("/drip with an unknown parameter", "/drip?number=1", 400),
    Case("POST of /drip", "/drip", 405, method="POST", allow="GET, HEAD, OPTIONS"),
    Case("a path below /drip", "/drip/1", 404),
    Case("an unknown upstream", "/via/nowhere", 404),
    Case("a path at an unknown upstream", "/via/nowhere/%ff//a%2Fb?delay=1s", 404),
    Case("a body for an unknown upstream", "/via/nowhere/a", 404, method="POST", body=b"dropped"),
    Case("OPTIONS of an unknown upstream", "/via/nowhere", 404, method="OPTIONS"),
    Case("an unknown method for an upstream", "/via/nowhere", 404, method="BREW"),
    Case("an empty upstream name", "/via/", 404),
    Case("/via without an upstream", "/via", 404),
    Case("an upstream name that is not UTF-8", "/via/%ff", 400),
    Case("an encoded slash in an upstream name", "/via/a%2Fb", 404),
    Case("an unknown path", "/delay-ed", 404),
    Case("an unknown method at an unknown path", "/nothing", 404, method="BREW"),
)
"""Every request of the contract; two answers to one case differ only where MEASURED matches."""

MEASURED: Final = re.compile(
    rb"^Date: .*?\r\n|(?<=delay;dur=)[0-9.]+|(?<=gate;dur=)[0-9.]+|(?<=queue;dur=)[0-9.]+"
    rb"|(?<=^X-Request-Id: )[0-9a-f]{32}(?=\r\n)"
    # The size of a chunk with an event depends on the digits of the event's figures.
    rb"|(?<=_ms\": )[0-9.]+|(?<=timestamp\": )[0-9]+|^[0-9a-f]+\r\n(?=retry: |id: |\{\"n\"|\{\"id\")",
    re.MULTILINE,
)
"""The parts of an answer that may differ each time: Date, the id of the request and measured times."""

Leaving = Literal["at once", "after the headers"]
"""When a client leaves: as soon as the last byte is sent, or when response headers have arrived."""


@attrs.frozen
class Conversation:
    """The requests and answers on one connection, and its end.

    Attributes:
        name: the subject of the conversation, in a few words; unique.
        cases: the requests; the client sends each one when the one before is answered.
        statuses: the final statuses that the service promises, without interim responses.
        pipelined: whether the client sends all requests at once instead.
        raw: bytes that are not a request, sent together with the last request; `{prefix}` is the style's prefix.
        leaves: when the client closes its half of the connection; None if it waits for the service to close.
        stays: whether the service accepts another request on the connection.
        needs_tuned: why the stock stack does not keep the promise; empty where every stack keeps it.
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
    needs_tuned: str = ""

    @property
    def wait(self) -> float:
        """Seconds until the last byte of the last answer, for a service with default settings."""
        return sum(case.wait + case.over for case in self.cases)

    def batches(self, style: str) -> Iterator[tuple[bytes, tuple[Case, ...]]]:
        """Yield the bytes of each batch, with the requests to answer before the next."""
        raw, key = self.raw.format(prefix=PREFIXES[style]).encode("latin-1"), _new_key()
        if self.pipelined or not self.cases:
            yield b"".join(case.request(style, key) for case in self.cases) + raw, self.cases
            return
        *others, last = self.cases
        for case in others:
            yield case.request(style, key), (case,)
        yield last.request(style, key) + raw, (last,)


_SEEDED: Final = Case("", "/delayed?delay=10ms..20ms&seed=4711", wait=0.011301072719640079)

_QUICK: Final = Case("", "/delayed/10ms", wait=0.01)


def _fault(kind: str, *statuses: int, leaves: Leaving | None = None) -> tuple[Conversation, Conversation]:
    """Return conversations with a fault: on a new connection, and after another request."""
    case = Case("", f"/delayed?delay=10ms&fault={kind}", wait=0.01)
    return (
        Conversation(f"fault={kind}", (case,), statuses, leaves=leaves, stays=False),
        Conversation(
            f"fault={kind} after another request", (_QUICK, case), (200, *statuses), leaves=leaves, stays=False
        ),
    )


_UNNAMED: Final = "Twisted's channel closes the connection at such a request, or answers 400, and does not say why"

CONVERSATIONS: Final = (
    *(
        Conversation(
            case.name,
            (case,),
            stays=case.version == "HTTP/1.1" and "Connection: close" not in case.headers,
            needs_tuned=case.needs_tuned,
        )
        for case in CASES
    ),
    Conversation("headers before the delay", (Case("", "/delayed?delay=10ms&at=body&status=503", 503, wait=0.01),)),
    Conversation(
        "headers before the delay, then a chunked body in pieces",
        (Case("", "/delayed?delay=10ms&at=body&framing=chunked&chunks=3&over=20ms", wait=0.01, over=0.02),),
    ),
    Conversation("three requests on one connection", (_QUICK, Case("", "/delayed/soon", 400), _QUICK)),
    Conversation(
        "a sequence of statuses",
        tuple(
            Case("", "/delayed?delay=10ms&status=503*2,200&key={key}", status, wait=0.01)
            for status in (503, 503, 200, 200)
        ),
    ),
    Conversation(
        "a sequence of delays, whose steps any request of the key takes",
        (
            Case("", "/delayed?delay=30ms*2,10ms&key={key}", wait=0.03),
            Case("", "/drip?duration=0&key={key}"),
            Case("", "/delayed?delay=30ms*2,10ms&key={key}", wait=0.01),
        ),
    ),
    Conversation(
        "two draws of one seed by key",
        (
            Case("", "/delayed?delay=10ms..20ms&seed=4711&key={key}", wait=0.011301072719640079),
            Case("", "/delayed?delay=10ms..20ms&seed=4711&key={key}", wait=0.01121276174085219),
        ),
    ),
    Conversation(
        "a fault that happens once",
        (Case("", "/delayed?delay=10ms&fault=none,reset&key={key}", wait=0.01),) * 2,
        (200,),
        stays=False,
    ),
    Conversation("two draws of one seed", (_SEEDED, attrs.evolve(_SEEDED, wait=0.01121276174085219))),
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
        "a client that leaves with pipelined requests",
        (Case("", "/delayed"), _QUICK),
        (),
        pipelined=True,
        leaves="at once",
        stays=False,
    ),
    Conversation(
        "a client that leaves in the middle of a request",
        (),
        raw="GET {prefix}/delayed HTTP/1.1\r\nHo",
        leaves="at once",
        stays=False,
    ),
    Conversation(
        "headers before the delay of a stream",
        (Case("", "/delayed?delay=10ms&type=sse&chunks=2&every=5ms&at=body", wait=0.01, over=0.005),),
    ),
    *(
        Conversation(
            f"a {kind} stream that resets behind an event",
            (Case("", f"/delayed?delay=10ms&type={kind}&chunks=4&every=5ms&fault=reset@2", wait=0.01, over=0.205),),
            (200,),
            stays=False,
        )
        for kind in ("sse", "ndjson")
    ),
    Conversation(
        "a stream that is truncated in an event",
        (
            Case(
                "",
                "/delayed?delay=10ms&type=ndjson&chunks=3&every=5ms&fault=truncate@60b",
                wait=0.01,
                over=0.01,
            ),
        ),
        stays=False,
    ),
    *(
        Conversation(f"not HTTP: {name}", (), (400,), raw=raw, stays=False)
        for name, raw in (
            ("a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{prefix}\r\n"),
            ("a line of one word", "{prefix}/delayed\r\n"),
            ("an invalid version", "GET {prefix}/delayed HTTX/1.1\r\n"),
            ("a header without a colon", "GET {prefix}/delayed HTTP/1.1\r\nHost localhost\r\n\r\n"),
            ("an invalid Content-Length", "POST {prefix}/delayed HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
            ("two lengths", "POST {prefix}/delayed HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            ("an invalid chunk size", "POST {prefix}/delayed HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            ("an unknown transfer coding", "POST {prefix}/delayed HTTP/1.1\r\nTransfer-Encoding: rot13\r\n\r\n"),
        )
    ),
    *(
        Conversation(f"too large: {name}", (), (status,), raw=raw, stays=False, needs_tuned=_UNNAMED)
        for name, status, raw in (
            ("a request line", 414, "GET {prefix}/delayed?" + "x" * 2**14),
            ("a header", 431, "GET {prefix}/delayed HTTP/1.1\r\nX: " + "x" * 2**14),
            ("headers", 431, "GET {prefix}/delayed HTTP/1.1\r\n" + "X: 1\r\n" * 502),
        )
    ),
    Conversation(
        "a body that would take too long at its rate",
        (Case("", "/delayed?read=1", 400, method="POST", body=b"x" * 601),),
        stays=False,
        needs_tuned=_AT_ONCE,
    ),
    Conversation(
        "too large: a body",
        (),
        (413,),
        raw="POST {prefix}/delayed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777217\r\n\r\n",
        leaves="after the headers",
        stays=False,
        needs_tuned="Twisted's request is processed when its body is there, which this one never sends",
    ),
    *(
        Conversation(
            f"HTTP/1.1: {each.name}",
            (),
            each.statuses,
            raw=each.raw,
            stays=each.stays,
            leaves="after the headers" if each.leaves else None,
            needs_tuned=each.needs_tuned,
        )
        for each in EXCHANGES
    ),
    *(
        Conversation(f"status {status}", (Case("", f"/delayed?delay=10ms&status={status}", status, wait=0.01),))
        for status in (206, 401, 405, 407, 416, 426)
    ),
    Conversation(
        "status 426 on the last answer of a connection",
        (Case("", "/delayed?delay=10ms&status=426", 426, wait=0.01, headers=("Connection: close",)),),
        stays=False,
    ),
    Conversation(
        "bytes that are not HTTP behind a request", (_QUICK,), (200, 400), raw="\x00\xff{prefix}\r\n", stays=False
    ),
)
"""The whole contract: each case on a connection of its own, and everything that needs more than one request."""


def held_by(stack: str, conversations: Sequence[Conversation]) -> tuple[Conversation, ...]:
    """Return the conversations whose promises a stack keeps, one of `latebin.core.settings.STACKS`."""
    return tuple(each for each in conversations if stack == "tuned" or not each.needs_tuned)


def comparable(received: bytes, style: str) -> bytes:
    """Remove the bytes that may differ between styles: MEASURED, and prefixes in echoed URLs.

    Args:
        received: every byte that came over a connection.
        style: the style that sent it.

    Returns:
        Bytes that are the same for both styles, if they keep to the contract.
    """
    prefix = PREFIXES[style].encode("ascii")
    own = b"http://localhost" + prefix + b"/"
    urls = received.count(own) if prefix else 0
    if urls:
        # An echo has its own URL in it: the raw style's is longer by the prefix, and so is its Content-Length.
        received = re.sub(
            rb"(?<=\r\nContent-Length: )[0-9]+",
            lambda length: b"%d" % (int(length[0]) - urls * len(prefix)),
            received,
            count=1,
        ).replace(own, b"http://localhost/")
    return MEASURED.sub(b"", received)
