"""Streams, as the libraries and the browser read them that their users have."""

import json
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
import requests

from latebin.testing.process import ServiceProcess, serving
from tests.support.browser import missing, running
from tests.support.certificate import listening
from tests.support.process import BOUND, until

CHUNK = '{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": '

SCENARIO = """
[tokens]
delay = "1ms"
type = "sse"
pieces = "events"
every = "1ms"
body = '''
data: {CHUNK{"content": "Once "}}]}

data: {CHUNK{"content": "upon"}}]}

data: [DONE]
'''
""".replace("{CHUNK", CHUNK)

SSE = "/delayed?delay=1ms&type=sse&chunks=7&every=1ms"

LISTEN = """
const [url, done] = arguments;
const came = [];
const source = new EventSource(url);
source.onmessage = event => came.push([event.lastEventId, JSON.parse(event.data).n]);
// An EventSource is closed when the answer is a 204, and comes back after any other end.
source.onerror = () => { if (source.readyState === EventSource.CLOSED) done(came); };
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    directory = tmp_path_factory.mktemp("streams")
    file = directory / "scenarios.toml"
    file.write_text(SCENARIO)
    listen = ("--listen", "tcp:0:interface=127.0.0.1", "--listen", listening(directory / "localhost.pem"))
    with serving("--scenarios", str(file), *listen) as process:
        yield process


def test_httpx_sse(process: ServiceProcess, prefix: str) -> None:
    """httpx-sse reads the ids and the data of all events."""
    with (
        httpx.Client(timeout=BOUND) as client,
        httpx_sse.connect_sse(client, "GET", f"{process.url}{prefix}{SSE}") as source,
    ):
        events = list(source.iter_sse())
    assert [(event.id, event.json()["n"]) for event in events] == [(str(n), n) for n in range(1, 8)]
    assert events[0].retry == 1000


def test_requests(process: ServiceProcess, prefix: str) -> None:
    """The lines that requests yields are the events of NDJSON."""
    url = f"{process.url}{prefix}/delayed?delay=1ms&type=ndjson&chunks=5&every=1ms"
    with requests.get(url, stream=True, timeout=BOUND) as answer:
        events = [json.loads(line) for line in answer.iter_lines()]
    assert [event["n"] for event in events] == [1, 2, 3, 4, 5]
    assert all(event["left_ms"] >= event["due_ms"] for event in events)


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_curl(process: ServiceProcess, prefix: str, version: str) -> None:
    """A stream of each HTTP version comes to its end in curl."""
    url = process.urls[1] if version == "--http2" else process.url
    command = [
        "curl",
        "-N",
        "--no-progress-meter",
        "--insecure",
        version,
        "-w",
        "%{http_version}",
        f"{url}{prefix}{SSE}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BOUND)
    assert [int(n) for n in re.findall(r'"n": ([0-9]+)', done.stdout)] == [1, 2, 3, 4, 5, 6, 7]
    assert done.stdout.endswith({"--http1.0": "1", "--http1.1": "1.1", "--http2": "2"}[version])


@pytest.mark.parametrize("fault", ["truncate", "reset", "close"])
def test_curl_fault(process: ServiceProcess, prefix: str, fault: str) -> None:
    """Curl has the events before a fault when the stream is reset."""
    url = f"{process.urls[1]}{prefix}{SSE}&fault={fault}@3"
    command = ["curl", "-N", "--no-progress-meter", "--insecure", "--http2", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND)
    assert [int(n) for n in re.findall(r'"n": ([0-9]+)', done.stdout)] == [1, 2, 3]
    assert done.returncode


def test_openai(process: ServiceProcess, prefix: str) -> None:
    """A recorded stream of tokens reaches the SDK when it is played back."""
    openai: Any = import_module("openai")  # its import takes seconds
    with openai.OpenAI(base_url=f"{process.url}{prefix}/as/tokens", api_key="none", timeout=BOUND) as client:
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Once upon"


@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_event_source(process: ServiceProcess, prefix: str, tmp_path: Path) -> None:
    """A browser comes back after each reset, and gets every event once."""
    with running(tmp_path / "profile") as driver:
        driver.set_script_timeout(BOUND)
        driver.get(f"{process.url}/healthz")
        came: Any = driver.execute_async_script(LISTEN, f"{process.url}{prefix}{SSE}&fault=reset@3")
    assert came == [[str(n), n] for n in range(1, 8)]


@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_watch_page(process: ServiceProcess, prefix: str, tmp_path: Path) -> None:
    """The page shows a dot for each event on both of its lines."""
    with running(tmp_path / "profile") as driver:
        driver.get(f"{process.url}/watch")
        target = driver.find_element("css selector", "#target")
        target.clear()
        target.send_keys(f"{prefix}{SSE}")
        driver.find_element("css selector", "#go").click()
        verdict = driver.find_element("css selector", "#verdict")
        until(lambda: "ended" in verdict.text)
        assert verdict.text == "ended: streams through, 7 events"
        assert len(driver.find_elements("css selector", "#dots circle")) == 14
        assert [line for line in driver.get_log("browser") if line["level"] == "SEVERE"] == []
