"""The routes of httpbin, asked directly and through `/via`, and every difference.

    python -m flask --app httpbin run --port 9000      # in an environment with httpbin
    python -m tests.bench.httpbin_routes http://127.0.0.1:9000

Differences are expected where a path or a cookie is mapped to the client's paths. They are also expected where httpbin
itself answers differently each time: nonces, and the ETag of `/cache`.
"""

import http.client
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import attrs
import click

from latebin.core.endpoints import PREFIXES
from latebin.testing.process import serving

GET: Final = (
    *("/", "/get?a=1", "/ip", "/headers", "/user-agent", "/json", "/html", "/xml", "/robots.txt", "/deny"),
    *("/encoding/utf8", "/gzip", "/deflate", "/brotli", "/status/204", "/status/304", "/status/418", "/status/503"),
    *("/redirect/1", "/absolute-redirect/1", "/relative-redirect/1", "/redirect-to?url=/get", "/cookies/set?a=b"),
    *("/cookies/delete?a", "/basic-auth/a/b", "/bearer", "/digest-auth/auth/a/b", "/stream/3", "/bytes/100?seed=1"),
    *("/stream-bytes/2000?seed=1", "/drip?duration=0.2&numbytes=5", "/range/100", "/delay/0", "/etag/abc", "/cache"),
    *("/cache/60", "/response-headers?X-A=1", "/image/png", "/image/svg", "/links/3/0", "/base64/aGk=", "/nothing"),
)

OTHERS: Final = (
    ("POST", "/post"),
    ("PUT", "/put"),
    ("PATCH", "/patch"),
    ("DELETE", "/delete"),
    ("HEAD", "/get"),
    ("OPTIONS", "/get"),
    ("TRACE", "/anything"),
)

OF_A_HOP: Final = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server-timing", "transfer-encoding", "x-request-id"}
)
"""Headers that belong to one connection, or are this service's own."""

OF_A_REQUEST: Final = re.compile(rb'"(Via|X-Request-Id|Host|Connection)": "[^"]*",?\s*')
"""The members of an echo in which the two requests differ."""


@attrs.frozen
class Answer:
    """The parts of an answer that are to be the same."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(host: str, port: int, method: str, target: str) -> Answer:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    body = b"a=1" if method.startswith("P") else None
    connection.request(method, target, body)
    response = connection.getresponse()
    content = re.sub(rb"\s", b"", OF_A_REQUEST.sub(b"", response.read()))
    headers = {name.lower(): value for name, value in response.getheaders() if name.lower() not in OF_A_HOP}
    connection.close()
    return Answer(response.status, headers, content)


def differences(one: Answer, other: Answer) -> Iterator[str]:
    if one.status != other.status:
        yield f"status {one.status} and {other.status}"
    if one.body != other.body:
        yield f"bodies {one.body[:80]!r} and {other.body[:80]!r}"
    for name in sorted(one.headers.keys() | other.headers.keys()):
        if one.headers.get(name) != other.headers.get(name):
            yield f"{name}: {one.headers.get(name)} and {other.headers.get(name)}"


@click.command(help=__doc__)
@click.argument("url")
def main(url: str) -> None:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    with serving("--upstream", f"httpbin={url}", "--default-delay", "0") as service:
        for method, target in (*(("GET", each) for each in GET), *OTHERS):
            direct = ask(host, port, method, target)
            for prefix in PREFIXES.values():
                through = ask("127.0.0.1", service.port, method, f"{prefix}/via/httpbin{target}")
                for difference in differences(direct, through):
                    click.echo(f"{method} {prefix}{target}: {difference}")


if __name__ == "__main__":
    main()
