"""The servers of the benchmark, each in a process of its own."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import click

ROOT = Path(__file__).parent.parent.parent

NGINX = """
load_module modules/ngx_http_echo_module.so;
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error; worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=5000;
    location / {{ default_type text/html; echo_sleep {delay}; echo "Sorry to keep you waiting."; }}
  }}
}}
"""


@attrs.frozen
class Load:
    """Requests per second, each with a delay in seconds."""

    rate: float
    delay: float

    @property
    def pending(self) -> int:
        return round(self.rate * self.delay)


@attrs.frozen
class Server:
    """A server of the benchmark.

    Attributes:
        name: the name in the table.
        arguments: the command; `{port}`, `{delay}` and `{folder}` in it are replaced.
        path: the request target; the generator replaces `{delay}` in it.
        needs: modules or programs without which the server is left out.
        loads: the loads to measure it under.
    """

    name: str
    arguments: tuple[str, ...]
    path: str
    needs: tuple[str, ...] = ()
    loads: tuple[Load, ...] = (Load(2000, 5),)

    def installed(self) -> bool:
        return all(shutil.which(need) or importlib.util.find_spec(need) for need in self.needs)


MODULE = (sys.executable, "-m")

SERVE = (*MODULE, "latebin", "serve", "--port", "{port}", "--drain-timeout", "0s")


def free_ports(number: int) -> list[int]:
    """Return ports that were free a moment ago, each another one."""
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [int(each.getsockname()[1]) for each in listening]


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(server: Server, load: Load, port: int | None = None) -> Iterator[tuple[int, int]]:
    """Run a server on a port, or any; yield its port and process id."""
    port = port or free_ports(1)[0]
    with tempfile.TemporaryDirectory() as folder:
        values = {"port": str(port), "delay": f"{load.delay:g}", "folder": folder}
        (Path(folder) / "nginx.conf").write_text(NGINX.format(**values))
        command = [part.format(**values) for part in server.arguments]
        with (Path(folder) / "output").open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=os.environ)
            try:
                wait_for(port, process)
                yield port, process.pid
            finally:
                process.terminate()
                process.wait(timeout=60)


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    for _ in range(round(seconds / 0.05)):
        if reachable(port):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise click.ClickException(f"{process.args!r} did not come up")
