"""nginx as a proxy in front of a service, in a process of its own."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import BOUND, ports, refused, until

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            {settings}
        }}
    }}
}}
"""


@contextmanager
def nginx(directory: Path, upstream: int, *settings: str) -> Iterator[int]:
    """Run nginx in front of a port of this machine.

    Args:
        directory: a directory for its files.
        upstream: the port that it passes requests on to.
        settings: directives of its location, without the semicolon.

    Yields:
        The port that it listens on.
    """
    [port] = ports(1)
    directory.mkdir()
    text = "".join(f"{each}; " for each in settings)
    file = directory / "nginx.conf"
    file.write_text(_CONFIGURATION.format(directory=directory, port=port, upstream=upstream, settings=text))
    assert NGINX is not None
    command = [NGINX, "-p", str(directory), "-c", str(file), "-e", str(directory / "error.log")]
    with subprocess.Popen(command) as process:
        try:
            until(lambda: not refused(port))
            yield port
        finally:
            process.terminate()
            process.wait(BOUND)
