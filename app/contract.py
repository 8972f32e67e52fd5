"""The HTTP contract as data: requests to which both styles give the same answer, to the byte."""

import json
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import attrs

PREFIXES: Final = {"klein": "", "resource": "/raw"}
"""The path under which each style answers."""

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
    told: Mapping[str, Any] | None = None
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
    _echo("a request is told", "/delay/3", wait=3.0),
    _echo("a fraction of a second", "/delay/0.5", wait=0.5),
    _echo("a fraction without its zero", "/delay/.5", wait=0.5),
    _echo("seconds as this service writes them", "/delay/250ms", wait=0.25),
    _echo("no seconds at all", "/delay/0"),
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
    _echo("a request is told after HEAD too", "/delay/1", method="HEAD", wait=1.0),
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
"""Every row of the contract; what differs between two answers to one case is `Date` and the measured figures."""
