"""Real things behind `/via`: WebSocket, a private authority, a site in a browser."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from latebin.core.endpoints import PREFIXES
from latebin.testing.process import ServiceProcess, serving
from tests.support import browser
from tests.support.certificate import certificate
from tests.support.process import status

DELAY = 0.2


@contextmanager
def running(server: Any) -> Iterator[int]:
    """Serve in a thread, and return the port."""
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield getattr(server, "socket").getsockname()[1]  # noqa: B009  # both kinds of servers have it
    finally:
        server.shutdown()
        thread.join()
        if isinstance(server, ThreadingHTTPServer):
            server.server_close()


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


class Quiet(SimpleHTTPRequestHandler):
    """A static site that writes no log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        pass


def site(folder: Path) -> ThreadingHTTPServer:
    (folder / "docs").mkdir(parents=True)
    (folder / "index.html").write_text('<title>home</title><link rel=stylesheet href=a.css><a href="docs">docs</a>')
    (folder / "a.css").write_text("a { color: rgb(1, 2, 3) }")
    (folder / "docs" / "index.html").write_text('<title>docs</title><a href="../">home</a>')
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """The service before a WebSocket echo, and a static site with and without TLS."""
    folder = tmp_path_factory.mktemp("via")
    pem = folder / "localhost.pem"
    certificate(pem)
    secure = site(folder / "secure")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    sockets = serve(echo, "127.0.0.1", 0, max_size=None)
    with running(site(folder / "plain")) as plain, running(secure) as tls, running(sockets) as ws:
        upstreams = {
            "ws": f"http://127.0.0.1:{ws}",
            "site": f"http://127.0.0.1:{plain}",
            "named": f"https://localhost:{tls}",
            "numbered": f"https://127.0.0.1:{tls}",
            "unchecked": f"https://127.0.0.1:{tls}",
        }
        options = [each for name, url in upstreams.items() for each in ("--upstream", f"{name}={url}")]
        trust = ("--upstream-ca", str(pem), "--upstream-insecure", "unchecked")
        with serving(*options, *trust, "--default-delay", "0", log=folder / "log") as process:
            yield process


def test_websocket(service: ServiceProcess, prefix: str) -> None:
    """A real client and a real server of WebSocket meet through the service, late."""
    begun = monotonic()
    url = f"ws://127.0.0.1:{service.port}{prefix}/via/ws/chat"
    with connect(url, additional_headers={"Latebin-Delay": f"{DELAY}s"}, max_size=None) as socket:
        assert monotonic() - begun >= DELAY
        for message in ("first", "x" * 4_000_000, b"\x00\xff"):
            socket.send(message)
            assert socket.recv(timeout=60) == message
        assert socket.ping().wait(60)


@pytest.mark.parametrize(("name", "expected"), [("named", 200), ("numbered", 502), ("unchecked", 200)])
def test_private_authority(service: ServiceProcess, prefix: str, name: str, expected: int) -> None:
    """A certificate of a private authority is trusted for its name, or not checked."""
    assert status(service.port, f"{prefix}/via/{name}/") == expected


@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_site_in_a_browser(service: ServiceProcess, tmp_path: Path) -> None:
    """A browser follows the links and redirects of a static site, and applies its styles."""
    with browser.running(tmp_path) as driver:
        for prefix in PREFIXES.values():
            page = browser.Page(driver, f"http://127.0.0.1:{service.port}{prefix}/via/site")
            driver.get(page.base)
            page.until(lambda: driver.title == "home")
            colour = page.script("return getComputedStyle(document.querySelector('a')).color")
            assert colour == "rgb(1, 2, 3)"
            page.find("a").click()
            page.until(lambda: driver.title == "docs")
            assert driver.current_url == f"{page.base}/docs/"
            page.find("a").click()
            page.until(lambda: driver.title == "home")
