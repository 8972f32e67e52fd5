"""Real things behind `/via`: WebSocket, a private authority, a site in a browser."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from socketserver import BaseRequestHandler, TCPServer, ThreadingTCPServer
from threading import Thread
from time import monotonic
from typing import Any

import flask
import pytest
from markupsafe import escape
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from werkzeug.serving import WSGIRequestHandler, make_server

from latebin.core.endpoints import PREFIXES
from latebin.testing.process import ServiceProcess, serving
from tests.support import browser
from tests.support.certificate import certificate, listening
from tests.support.process import BOUND, status

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
        if isinstance(server, TCPServer):
            server.server_close()


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


class Quiet(SimpleHTTPRequestHandler):
    """A static site that writes no log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        pass


class Silent(WSGIRequestHandler):
    """A server of an application that writes no log."""

    def log(self, *arguments: object) -> None:
        pass


def site(folder: Path) -> ThreadingHTTPServer:
    (folder / "docs").mkdir(parents=True)
    (folder / "index.html").write_text('<title>home</title><link rel=stylesheet href=a.css><a href="docs">docs</a>')
    (folder / "a.css").write_text("a { color: rgb(1, 2, 3) }")
    (folder / "docs" / "index.html").write_text('<title>docs</title><a href="../">home</a>')
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))


class Talkative(BaseRequestHandler):
    """An upstream that answers with an interim response, a long header, a body and trailers."""

    ANSWER = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60_000 + b"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
    )

    def handle(self) -> None:
        received = b""
        while not received.endswith(b"\r\n\r\n") and (data := self.request.recv(65536)):
            received += data
        self.request.sendall(self.ANSWER)


def application() -> flask.Flask:
    """Make an application with a form, a session and redirects, all by absolute paths."""
    app = flask.Flask("shop")
    app.secret_key = token_hex()

    @app.get("/")
    def home() -> Any:
        if "name" not in flask.session:
            return flask.redirect(flask.url_for("login"))
        return f"<title>home</title><p id=name>{escape(flask.session['name'])}</p>"

    @app.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if flask.request.method == "GET":
            return "<title>login</title><form method=post><input name=name id=field><button id=go>go</button></form>"
        flask.session["name"] = flask.request.form["name"]
        return flask.redirect(flask.url_for("home"))

    return app


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
    demanding = site(folder / "demanding")
    mutual = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mutual.load_cert_chain(pem)
    mutual.load_verify_locations(pem)
    mutual.verify_mode = ssl.CERT_REQUIRED
    demanding.socket = mutual.wrap_socket(demanding.socket, server_side=True)
    shop = make_server("127.0.0.1", 0, application(), threaded=True, request_handler=Silent)
    sockets = serve(echo, "127.0.0.1", 0, max_size=None)
    with (
        running(site(folder / "plain")) as plain,
        running(secure) as tls,
        running(demanding) as mutual_tls,
        running(shop) as flask_port,
        running(ThreadingTCPServer(("127.0.0.1", 0), Talkative)) as talkative,
        running(sockets) as ws,
    ):
        upstreams = {
            "ws": f"http://127.0.0.1:{ws}",
            "site": f"http://127.0.0.1:{plain}",
            "named": f"https://localhost:{tls}",
            "numbered": f"https://127.0.0.1:{tls}",
            "unchecked": f"https://127.0.0.1:{tls}",
            "known": f"https://localhost:{mutual_tls}",
            "unknown": f"https://localhost:{mutual_tls}",
            "talkative": f"http://127.0.0.1:{talkative}",
            "shop": f"http://127.0.0.1:{flask_port}",
        }
        options = [each for name, url in upstreams.items() for each in ("--upstream", f"{name}={url}")]
        trust = ("--upstream-ca", str(pem), "--upstream-insecure", "unchecked", "--upstream-cert", f"known={pem}")
        listen = ("--listen", "tcp:0:interface=127.0.0.1", "--listen", listening(folder / "service.pem"))
        with serving(*options, *trust, *listen, "--default-delay", "0", log=folder / "log") as process:
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


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_interim_and_trailers(service: ServiceProcess, prefix: str, version: str) -> None:
    """An interim response, a long header and trailers reach a client of each HTTP version."""
    command = ["curl", "--no-progress-meter", "--insecure", "-i", version, "-H", "TE: trailers"]
    url = f"{service.urls[1]}{prefix}/via/talkative/"
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True, timeout=BOUND)
    text = done.stdout.lower()
    assert f"link: <{prefix}/via/talkative/a.css>; rel=preload" in text
    assert f"x-long: {'x' * 60_000}" in text
    assert text.rstrip().endswith("x-sum: 1")
    assert " 103" in text.split("\n", 1)[0]


@pytest.mark.parametrize(("name", "expected"), [("known", 200), ("unknown", 502)])
def test_client_certificate(service: ServiceProcess, prefix: str, name: str, expected: int) -> None:
    """An upstream that demands a certificate gets the one that was given for it."""
    assert status(service.port, f"{prefix}/via/{name}/") == expected


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


@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_application_in_a_browser(service: ServiceProcess, tmp_path: Path) -> None:
    """A browser logs in to an application, whose redirects and cookies are mapped."""
    with browser.running(tmp_path) as driver:
        for prefix, name in zip(PREFIXES.values(), ("Ada", "Bob"), strict=True):
            page = browser.Page(driver, f"http://127.0.0.1:{service.port}{prefix}/via/shop")
            driver.get(f"{page.base}/")
            page.until(lambda: driver.title == "login")
            page.find("#field").send_keys(name)
            page.find("#go").click()
            page.until(lambda: driver.title == "home")
            assert driver.current_url == f"{page.base}/"
            assert page.find("#name").text == name
            [cookie] = driver.get_cookies()
            assert cookie["path"] == f"{prefix}/via/shop/"
