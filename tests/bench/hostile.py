"""Punctual clients beside a hostile one.

    python -m tests.bench.hostile [--seconds 1] [--rounds 5] [--rate 2000] [--only NAME ...] [--stack tuned|stock]

For each attack, a service is started, and another process attacks it without a pause. Its connection is opened again
when it is closed. Meanwhile `latebin measure` asks it for answers after 100 ms, in rounds: first while the
attacker is stopped, then while it goes on. A machine that other programs share is noisy for minutes at a time, and a
round has the same noise in both halves. The table has the medians of the rounds. `ATTACKS` and `attack` are for other
scripts, which may run several attacks at once.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlencode

import attrs
import click
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import (
    DataFrame,
    Frame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from rich.console import Console
from rich.table import Table

from latebin.load.percentiles import Percentiles
from latebin.load.report import Report
from latebin.load.run import run_apart
from latebin.load.schedule import make_schedule
from tests.bench.servers import SERVE, Load, Server, free_ports, running
from tests.support.certificate import certificate

Part = tuple[bytes, float]
"""Bytes to send, and the seconds to wait after them."""

LONGEST: Final = 600.0
"""Seconds after which an attacker ends by itself."""

BATCH: Final = 2000
"""Frames that are sent before the next batch, in floods of HTTP/2."""


def get(target: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def post(target: str, body: bytes, content_type: str = "text/plain", *, chunked: bool = False) -> bytes:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n{length}\r\n\r\n"
    return head.encode() + body


def chunks(number: int) -> bytes:
    return b"1\r\nx\r\n" * number + b"0\r\n\r\n"


def parts(number: int) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="n%d"\r\n\r\nx\r\n'
    return b"".join(part % index for index in range(number)) + b"--b--\r\n"


def repeated(*sent: bytes) -> Callable[[], Iterator[Part]]:
    """Send the same bytes again and again, a moment after the last are taken."""

    def endless() -> Iterator[Part]:
        while True:
            for each in sent:
                yield each, 0.001

    return endless


class Frames:
    """The frames of an HTTP/2 client that keeps no state."""

    def __init__(self) -> None:
        self._client = H2Connection(H2Configuration(client_side=True))
        self._number = -1

    def preface(self) -> bytes:
        self._client.initiate_connection()
        self._client.increment_flow_control_window(2**30)
        return self._client.data_to_send()

    def headers(self, target: str, method: str = "GET", *, ended: bool = True) -> tuple[int, bytes]:
        """Return a new stream and its HEADERS frame."""
        self._number += 2
        fields = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", target)]
        block = self._client.encoder.encode(fields)
        flags = b"\1\5" if ended else b"\1\4"
        return self._number, len(block).to_bytes(3, "big") + flags + self._number.to_bytes(4, "big") + block


def flood(make: Callable[[Frames], list[Frame | bytes]]) -> Callable[[], Iterator[Part]]:
    """Send batches of frames on one connection."""

    def endless() -> Iterator[Part]:
        frames = Frames()
        yield frames.preface(), 0.05
        while True:
            made = make(frames)
            yield b"".join(each if isinstance(each, bytes) else each.serialize() for each in made), 0.001

    return endless


def settings(_: Frames) -> list[Frame | bytes]:
    return [SettingsFrame(0, {4: 65535 - number % 2}) for number in range(BATCH)]


def pings(_: Frames) -> list[Frame | bytes]:
    return [PingFrame(0, b"12345678")] * BATCH


def priorities(_: Frames) -> list[Frame | bytes]:
    return [PriorityFrame(2 * number + 1, depends_on=0, stream_weight=1) for number in range(BATCH)]


def windows(_: Frames) -> list[Frame | bytes]:
    return [WindowUpdateFrame(0, 1)] * BATCH


def resets(frames: Frames) -> list[Frame | bytes]:
    made: list[Frame | bytes] = []
    for _ in range(BATCH // 4):
        number, block = frames.headers("/delayed?delay=1s")
        made += [block, RstStreamFrame(number, 8)]
    return made


def empty_data(frames: Frames) -> list[Frame | bytes]:
    number, block = frames.headers("/delay/0", "POST", ended=False)
    return [block, *[DataFrame(number)] * BATCH, DataFrame(number, flags=["END_STREAM"])]


def small_data(frames: Frames) -> list[Frame | bytes]:
    number, block = frames.headers("/delay/0", "POST", ended=False)
    return [block, *[DataFrame(number, b"x")] * BATCH, DataFrame(number, flags=["END_STREAM"])]


def continuations(frames: Frames) -> list[Frame | bytes]:
    """Return requests whose frames have one byte each."""
    made: list[Frame | bytes] = []
    for _ in range(100):
        number, whole = frames.headers("/predict?delay=1s")
        block, of = whole[9:], number.to_bytes(4, "big")
        made.append(b"\0\0\1\1\1" + of + block[:1])
        made += [b"\0\0\1\x09\0" + of + bytes([each]) for each in block[1:-1]]
        made.append(b"\0\0\1\x09\4" + of + block[-1:])
    return made


def requests(target: str) -> Callable[[Frames], list[Frame | bytes]]:
    return lambda frames: [frames.headers(target)[1] for _ in range(90)]


@attrs.frozen
class Attack:
    """A hostile client on one connection.

    Attributes:
        parts: yields what to send, without an end.
        protocol: `h1`, `tls` (HTTP/1.1) or `h2`.
    """

    parts: Callable[[], Iterator[Part]]
    protocol: str = "h1"


FORM: Final = "application/x-www-form-urlencoded"

MIXED: Final = ",".join(["1ms"] * 8)

ATTACKS: Final[dict[str, Attack]] = {
    "2,000 GET /": Attack(repeated(get("/") * 2000)),
    "2,000 GET / over TLS": Attack(repeated(get("/") * 2000), "tls"),
    "1,000 GET /metrics": Attack(repeated(get("/metrics") * 1000)),
    "200 GET /compare": Attack(repeated(get("/compare") * 200)),
    "200 GET /openapi.json": Attack(repeated(get("/openapi.json") * 200)),
    "200 GET /docs/parameters": Attack(repeated(get("/docs/parameters") * 200)),
    "1,000 problems": Attack(repeated(get("/delayed?delay=soon") * 1000)),
    "1,000 unknown paths": Attack(repeated(get("/raw/nothing") * 1000)),
    "500 predictions": Attack(repeated(get(f"/predict?delay=choice({MIXED})") * 500)),
    "100,000 chunks": Attack(repeated(post("/delay/0", chunks(100_000), chunked=True))),
    "60,000 chunks to /via": Attack(repeated(post("/via/up/?latebin-delay=5s", chunks(60_000), chunked=True))),
    "a form of 1 MB of %ff": Attack(repeated(post("/delay/0", b"a=" + b"%ff" * 333_000, FORM))),
    "a thousand parts": Attack(repeated(post("/raw/delay/0", parts(1000), "multipart/form-data; boundary=b"))),
    "many parameters": Attack(repeated(get("/delay/0?" + urlencode([(f"a{n}", "%ff") for n in range(800)])) * 20)),
    "many headers": Attack(repeated(get("/delay/0", *(f"X-{n}: {n}" for n in range(490))) * 20)),
    "long X-Forwarded-For": Attack(repeated(get("/delay/0", f"X-Forwarded-For: {'1.2.3.4,' * 1900}1.2.3.4") * 20)),
    "20 answers in 10,000 pieces": Attack(repeated(*[get("/delayed?delay=0s&size=10000&chunks=10000&over=1s")])),
    "SETTINGS": Attack(flood(settings), "h2"),
    "PING": Attack(flood(pings), "h2"),
    "PRIORITY": Attack(flood(priorities), "h2"),
    "WINDOW_UPDATE": Attack(flood(windows), "h2"),
    "HEADERS and RST_STREAM": Attack(flood(resets), "h2"),
    "empty DATA": Attack(flood(empty_data), "h2"),
    "DATA of one byte": Attack(flood(small_data), "h2"),
    "CONTINUATION": Attack(flood(continuations), "h2"),
    "GET /metrics over HTTP/2": Attack(flood(requests("/metrics")), "h2"),
}
"""The attacks, each for one connection, by name."""

AT_ONCE: Final = {"20 answers in 10,000 pieces": 20}
"""Connections of an attack that needs more than one."""


async def _drop(reader: asyncio.StreamReader) -> None:
    while await reader.read(2**16):
        pass


async def _once(attack: Attack, port: int, rest: float) -> None:
    context = None
    if attack.protocol != "h1":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2" if attack.protocol == "h2" else "http/1.1"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    dropping = asyncio.ensure_future(_drop(reader))
    try:
        for data, pause in attack.parts():
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(pause + rest)
            if dropping.done():
                return
    finally:
        dropping.cancel()
        writer.transport.abort()


async def attack_for(attack: Attack, port: int, seconds: float, connections: int = 1, rest: float = 0.0) -> int:
    """Attack for so long; return how often a connection was opened.

    Args:
        attack: what to do.
        port: of HTTP for `h1`, of HTTPS for the others.
        seconds: how long.
        connections: how many do it at once.
        rest: seconds between two parts of it.
    """
    opened = 0

    async def again() -> None:
        nonlocal opened
        while True:
            opened += 1
            with contextlib.suppress(OSError):
                await _once(attack, port, rest)
            await asyncio.sleep(0.001 + rest)

    tasks = [asyncio.ensure_future(again()) for _ in range(connections)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return opened


def yield_to_others() -> None:
    """Let this process run only when a core is idle, sched(7).

    On a machine with few cores, attackers would take those of the service and of the others. With a niceness of 19,
    they still keep a core for some milliseconds at a time.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def attack(name: str, port: int, seconds: float) -> None:
    """Attack in this process, for so long, with what time the others leave."""
    yield_to_others()
    asyncio.run(attack_for(ATTACKS[name], port, seconds, AT_ONCE.get(name, 1)))


@contextlib.contextmanager
def attacked(name: str, ports: dict[str, int]) -> Iterator[int]:
    """Attack from another process; yield its process id."""
    port = ports["h1" if ATTACKS[name].protocol == "h1" else "tls"]
    attacker = multiprocessing.get_context("spawn").Process(target=attack, args=(name, port, LONGEST), daemon=True)
    attacker.start()
    assert attacker.pid is not None
    try:
        yield attacker.pid
    finally:
        attacker.kill()
        attacker.join()


class Upstream:
    """A server that answers everything, for `/via`."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while not (await reader.read(2**16)).endswith(b"\r\n\r\n"):
                pass
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()


@attrs.frozen
class Pair:
    """The reports of all rounds.

    Attributes:
        without: beside an attacker that was stopped.
        beside: beside the same attacker at work.
    """

    without: list[Report] = attrs.field(factory=list)
    beside: list[Report] = attrs.field(factory=list)


def measured(name: str, *, rate: float, seconds: float, rounds: int, stack: str, folder: Path, upstream: int) -> Pair:
    """Measure the lateness for punctual clients beside an attack and without it, in turn."""
    plain, secure = free_ports(2)
    certified = f"privateKey={folder}/localhost.pem:certKey={folder}/localhost.pem"
    listen = [f"tcp:{plain}:interface=127.0.0.1", f"ssl:{secure}:{certified}:interface=127.0.0.1"]
    options = ("--drain-timeout", "0s", "--stack", stack, "--upstream", f"up=http://127.0.0.1:{upstream}")
    server = Server("service", (*SERVE[:4], "--listen", listen[0], "--listen", listen[1], *options), "/")
    schedule = make_schedule(rate=rate, delay=0.1, duration=seconds, warm_up=0.2)
    pair = Pair()
    ports = {"h1": plain, "tls": secure}
    with running(server, Load(rate, 0.1), plain) as (_, pid), attacked(name, ports) as attacker:
        url = f"http://127.0.0.1:{plain}/raw/delayed?delay={{delay}}"
        for number in range(rounds + 1):
            halves = []
            for signum in (signal.SIGSTOP, signal.SIGCONT):
                os.kill(attacker, signum)
                halves.append(run_apart(url, schedule, pids=(pid,)))
            # The first round has the first uses of modules in it, and the start of the attacker.
            if number:
                pair.without.append(halves[0])
                pair.beside.append(halves[1])
    return pair


def middle(reports: list[Report], figure: Callable[[Percentiles], float]) -> float:
    """Return the median of a figure, in milliseconds."""
    return median(figure(report.lateness) for report in reports if report.lateness) * 1000


def row(name: str, pair: Pair) -> list[str]:
    without, beside = (middle(reports, lambda late: late.p99) for reports in (pair.without, pair.beside))
    figures = [middle(pair.beside, lambda late: late.p50), without, beside, middle(pair.beside, lambda late: late.most)]
    failed = sum(report.failed + report.unfinished for report in pair.beside)
    return [name, *(f"{each:.1f}" for each in figures), f"{beside / without:.1f}", str(failed)]


@click.command()
@click.option("--seconds", default=1.0, show_default=True, help="Duration of each half of a round.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each attack, behind one that does not count.")
@click.option("--rate", default=2000.0, show_default=True, help="Requests a second of the punctual clients.")
@click.option("--only", multiple=True, type=click.Choice(list(ATTACKS)), help="Only these attacks.")
@click.option("--stack", default="tuned", show_default=True, type=click.Choice(["tuned", "stock"]))
def hostile(seconds: float, rounds: int, rate: float, only: tuple[str, ...], stack: str) -> None:
    """Measure what punctual clients notice of each attack."""
    upstream = Upstream()
    table = Table("attack", "p50", "p99 without", "p99", "max", "ratio of p99", "failed")
    table.title = "lateness in ms of the punctual clients, medians of the rounds"
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        certificate(folder / "localhost.pem")
        for name in only or ATTACKS:
            pair = measured(
                name, rate=rate, seconds=seconds, rounds=rounds, stack=stack, folder=folder, upstream=upstream.port
            )
            cells = row(name, pair)
            table.add_row(*cells)
            click.echo("  ".join(cells), err=True)
    Console(width=110).print(table)


if __name__ == "__main__":
    hostile()
