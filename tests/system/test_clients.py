"""SDKs, HTTP libraries and a browser against scenarios."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import attrs
import pytest
import requests
import treq

from latebin.testing.process import ServiceProcess, serving, started
from tests.support.browser import missing, running
from tests.support.process import ports, until
from tests.support.sockets import asynchronous

SCENARIOS = """
[openai]
delay = "1ms"
content-type = "application/json"
body = '''{"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
  "finish_reason": "stop", "message": {"role": "assistant", "content": "late"}}]}'''

[[openai.rule]]
path = "/models"
body = '{"object": "list", "data": []}'

[stripe]
delay = "1ms"
content-type = "application/json"
body = '{"id": "cus_1", "object": "customer"}'

[web]
upstream = "site"
delay = "1ms"
"""

PAGE = """<!DOCTYPE html><title>shop</title><link rel="stylesheet" href="style.css"><p id="price">7</p>
<script>fetch("sub/").then(answer => answer.text()).then(text => { document.title = text.trim(); })</script>
"""

SITE = """
import http.server, os, sys

class Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "https://shop.example")
        self.send_header("Vary", "Accept")
        super().end_headers()

os.chdir(sys.argv[1])
http.server.test(Handler, port=0, bind="127.0.0.1")
"""
"""A site with its own rules for pages of other origins."""

ASK = """
const [url, options, done] = arguments;
fetch(url, options).then(async answer => done([answer.status, await answer.text(), [...answer.headers.keys()]]),
                         error => done(error.name));
"""


@attrs.frozen
class Place:
    """A service with scenarios, each on a port of its own, before a static site."""

    process: ServiceProcess
    ports: dict[str, int]
    site: int

    def put(self, name: str, query: str) -> None:
        """Replace a scenario, as a tester does with curl."""
        assert requests.put(f"{self.process.url}/control/scenarios/{name}", query, timeout=60).status_code == 200

    def reset(self) -> None:
        assert requests.post(f"{self.process.url}/control/reset", timeout=60).status_code == 200

    def bases(self, name: str) -> tuple[str, str, str]:
        """Return the base URLs of a scenario: its prefixes in both styles, and its port."""
        url = self.process.url
        return f"{url}/as/{name}", f"{url}/raw/as/{name}", f"http://127.0.0.1:{self.ports[name]}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("site")
    (directory / "index.html").write_text(PAGE)
    (directory / "style.css").write_text("p { color: rgb(1, 2, 3) }")
    (directory / "sub").mkdir()
    (directory / "sub" / "index.html").write_text("below")
    scenarios = tmp_path_factory.mktemp("scenarios") / "scenarios.toml"
    scenarios.write_text(SCENARIOS)
    chosen = dict(zip(("openai", "stripe", "web"), ports(3), strict=True))
    listen = (f"{name}=tcp:{port}:interface=127.0.0.1" for name, port in chosen.items())
    with started("-u", "-c", SITE, str(directory), ready=r" port (\d+) ") as site:
        port = int(site.found[0])
        options = ["--upstream", f"site=http://127.0.0.1:{port}", "--cors", f"http://127.0.0.1:{port}"]
        for each in listen:
            options += ["--scenario-listen", each]
        with serving("--scenarios", str(scenarios), *options) as process:
            yield Place(process, chosen, port)


@pytest.fixture(autouse=True)
def unchanged(place: Place) -> Iterator[None]:
    """Set all scenarios back after each test."""
    yield
    place.reset()


def test_openai(place: Place) -> None:
    """The SDK of OpenAI gets answers and failures when only its base URL is changed."""
    openai: Any = import_module("openai")
    for base in place.bases("openai"):
        with openai.OpenAI(base_url=base, api_key="none", max_retries=0, timeout=60) as client:
            asked = client.chat.completions.create
            message = {"role": "user", "content": "when?"}
            assert asked(model="m", messages=[message]).choices[0].message.content == "late"
            assert list(client.models.list()) == []
            place.put("openai", "delay=1ms&status=429&retry-after=1")
            with pytest.raises(openai.RateLimitError) as refused:
                asked(model="m", messages=[message])
            assert refused.value.response.headers["retry-after"] == "1"
        place.reset()


def test_stripe(place: Place) -> None:
    """The SDK of Stripe gets answers and failures when only its base URL is changed."""
    stripe: Any = import_module("stripe")
    for base in place.bases("stripe"):
        client = stripe.StripeClient("sk_test_none", base_addresses={"api": base}, max_network_retries=0)
        assert client.v1.customers.create({"name": "Late"}).id == "cus_1"
        place.put("stripe", "delay=1ms&status=503")
        with pytest.raises(stripe.APIError):
            client.v1.customers.retrieve("cus_1")
        place.reset()


def test_requests(place: Place) -> None:
    """The second answer on one connection is another when one PUT is between them."""
    for base in place.bases("stripe"):
        with requests.Session() as session, session.get(f"{base}/v1/a?b=c", timeout=60, stream=True) as first:
            connection = first.raw.connection
            assert (first.status_code, first.json()["id"]) == (200, "cus_1")
            place.put("stripe", "delay=1ms&status=418")
            with session.delete(f"{base}/v1/a", timeout=60, stream=True) as second:
                assert (second.status_code, second.raw.connection) == (418, connection)
        place.reset()


@asynchronous
async def test_treq(place: Place) -> None:
    """The client of Twisted is answered at any path of a scenario."""
    for base in place.bases("stripe"):
        answer = await treq.patch(f"{base}/v1/%7Ba%7D", json={"a": 1}, timeout=60)
        assert (answer.code, (await answer.json())["id"]) == (200, "cus_1")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    absent = missing()
    if absent:
        pytest.skip(absent)
    with running(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def test_site(driver: Any, place: Place) -> None:
    """A browser shows a late site with its style when it comes through a scenario."""
    for base in place.bases("web"):
        driver.get(f"{base}/")
        until(lambda: driver.title == "below")
        assert driver.find_element("id", "price").value_of_css_property("color") == "rgba(1, 2, 3, 1)"
    # On the scenario's port, a redirect to a path without the host leads to the same place.
    assert driver.execute_async_script(ASK, f"{base}/sub", {})[:2] == [200, "below"]


def test_another_origin(driver: Any, place: Place) -> None:
    """A page of another origin reads an answer when --cors names it, and not otherwise."""
    url = place.process.url
    late = {"headers": {"Latebin-Delay": "2ms"}}
    for host, allowed in (("127.0.0.1", True), ("localhost", False)):
        driver.get(f"http://{host}:{place.site}/style.css")
        for base in place.bases("stripe"):
            for options in ({}, {"method": "DELETE"}, late):
                found = driver.execute_async_script(ASK, f"{base}/v1", options)
                assert found == "TypeError" or (allowed and found[0] == 200 and "server-timing" in found[2])
                assert allowed == (found != "TypeError")
        style = driver.execute_async_script(ASK, f"{url}/as/web/style.css", {})
        assert style[0] == 200 if allowed else style == "TypeError"
        problem = driver.execute_async_script(ASK, f"{url}/delayed/soon", {})
        assert problem[0] == 400 if allowed else problem == "TypeError"
        changed = driver.execute_async_script(
            ASK, f"{url}/control/scenarios/stripe", {"method": "PUT", "body": "delay=0"}
        )
        assert changed == "TypeError"
    assert requests.get(f"{url}/control/scenarios/stripe", timeout=60).json()["given"]["delay"] == "1ms"
