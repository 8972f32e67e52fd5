"""The command line: `delayed serve`, whose settings have a flag and a variable each, and its company."""

import signal
import sys
from collections.abc import Callable, Collection, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar, cast

import attrs
import click
from click.core import ParameterSource
from rich.console import Console
from twisted.internet import reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from app import chart, networks, size
from app.board import shared
from app.destination import parse as parse_upstream
from app.duration import parse, render
from app.limits import cores, most_pending, raise_descriptors
from app.log import Lines, observer
from app.metrics import WIDTH
from app.parameters import DELAY
from app.predict import Prediction
from app.predict import predict as foresee
from app.server import accept
from app.server import serve as serve_on
from app.settings import LOG_FORMATS, Settings
from app.trace import Trace, read
from app.workers import BOARD, StillbornError, inherited

F = TypeVar("F", bound=Callable[..., object])

DEFAULTS: Final = Settings()

MAX_TRACE: Final = 64 * 1024**2
"""Bytes of the largest file that is read as a trace: a million lines of sixty characters each."""


class DurationType(click.ParamType[float]):
    """A duration, as in a URL."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}.", param, ctx)


class SizeType(click.ParamType[int]):
    """A size, as in a URL."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return size.parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}.", param, ctx)


class TraceType(click.ParamType[Trace]):
    """NAME=FILE: recorded latencies, read when the command starts."""

    name = "NAME=FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Trace:
        name, _, path = str(value).partition("=")
        try:
            return read(name, _lines(Path(path)))
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}.", param, ctx)


def _lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        data = file.read(MAX_TRACE + 1)
    if len(data) > MAX_TRACE:
        raise ValueError(f"the file is larger than {size.render(MAX_TRACE)}")
    return data.decode("utf-8").splitlines()


class EndpointType(click.ParamType[str]):
    """A Twisted server endpoint description, checked by parsing it."""

    name = "endpoint"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            serverFromString(reactor, str(value))
        except Exception as error:  # noqa: BLE001  # each endpoint's parser, plugins too, raises what it likes
            self.fail(f"{value!r} is not a Twisted server endpoint such as tcp:8080: {error}", param, ctx)
        return str(value)


class UpstreamType(click.ParamType[tuple[str, str]]):
    """A name and a URL, as in `api=http://127.0.0.1:9000`."""

    name = "name=url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        try:
            return parse_upstream(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}.", param, ctx)


class NetworkType(click.ParamType[networks.Network]):
    """The machines of a network, or a single one."""

    name = "network"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> networks.Network:
        try:
            return networks.parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}.", param, ctx)


class WorkersType(click.ParamType[int]):
    """How many processes: a number, or as many as there are cores."""

    name = "integer|auto"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return cores() if value == "auto" else click.IntRange(1).convert(cast("int", value), param, ctx)


class PendingType(click.ParamType["int | None"]):
    """How many answers: a number, or as many as the machine allows."""

    name = "integer|auto"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        return None if value == "auto" else click.IntRange(1).convert(cast("int", value), param, ctx)


def setting(flag: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option with the environment variable that goes with it; the flag wins."""
    variable = "DELAYED_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, envvar=variable, show_envvar=True, show_default=True, **attributes)


def traces(command: F) -> F:
    """Declare the option that gives recorded latencies."""
    return setting("--trace", multiple=True, type=TraceType(), help="Recorded latencies, for trace(NAME).")(command)


def longest(command: F) -> F:
    """Declare the option that bounds every delay."""
    default = render(DEFAULTS.max_delay)
    return setting("--max-delay", default=default, type=DurationType(), help="Longest delay accepted.")(command)


EXTRAS: Final = {"measure": ("app.measure_command", "measure"), "compare": ("app.compare_command", "measure")}
"""Commands that need more than serving does: the module of each, and the extra that brings what it needs."""


class Commands(click.Group):
    """The commands, those of EXTRAS imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *EXTRAS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in EXTRAS:
            return super().get_command(ctx, cmd_name)
        module, extra = EXTRAS[cmd_name]
        try:
            return cast("click.Command", getattr(import_module(module), f"{cmd_name}_command"))
        except ModuleNotFoundError as missing:
            return _unavailable(cmd_name, str(missing.name), extra)


def _unavailable(name: str, missing: str, extra: str) -> click.Command:
    """Stand in for a command that cannot be imported, whatever it is given."""
    told = f"needs {missing}, which is not installed: pip install '.[{extra}]'"

    def refuse() -> NoReturn:
        raise click.ClickException(f"{name} {told}")

    anything: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(name, context_settings=anything, callback=refuse, short_help=told[:1].upper() + told[1:])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="delayed", prog_name="delayed")
def cli() -> None:
    """Answer HTTP requests late, on purpose and on time."""


@cli.command()
@setting("--host", default=DEFAULTS.host, help="Address to listen on.")
@setting("--port", default=DEFAULTS.port, type=click.IntRange(0, 65535), help="TCP port; 0 for any that is free.")
@setting("--listen", multiple=True, type=EndpointType(), help="Twisted server endpoint, instead of host and port.")
@setting("--default-delay", default=render(DEFAULTS.default_delay), type=DurationType(), help="Delay of /delayed.")
@longest
@setting("--upstream", multiple=True, type=UpstreamType(), help="NAME=URL to pass /via/NAME on to, late.")
@setting(
    "--upstream-timeout",
    default=render(DEFAULTS.upstream_timeout),
    type=DurationType(),
    help="How long an upstream may take to begin its answer.",
)
@setting("--max-body", default=size.render(DEFAULTS.max_body), type=SizeType(), help="Largest body accepted.")
@traces
@setting("--max-pending", default="auto", type=PendingType(), help="Most answers pending at once in a worker.")
@setting("--log-format", default=DEFAULTS.log_format, type=click.Choice(LOG_FORMATS), help="How to write the log.")
@setting("--proxy-headers", multiple=True, type=NetworkType(), help="Network of proxies whose headers are believed.")
@setting(
    "--workers", default=str(DEFAULTS.workers), type=WorkersType(), help="Processes that accept; auto: one a core."
)
@click.pass_context
def serve(context: click.Context, /, trace: tuple[Trace, ...], **chosen: Any) -> None:
    """Serve /delayed in Klein and /raw/delayed as raw resources, until told to stop."""
    chosen["listen"] = _listen(context)
    chosen["upstreams"] = _upstreams(chosen.pop("upstream"))
    try:
        settings = Settings(**chosen, traces=_named(trace))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _run(settings)


def _upstreams(given: Collection[tuple[str, str]]) -> dict[str, str]:
    upstreams = dict(given)
    if len(upstreams) < len(given):
        raise click.UsageError("--upstream takes each name once")
    return upstreams


@cli.command()
@click.argument("expression", metavar="EXPR")
@click.option("--timeout", type=DurationType(), help="How long the client would wait.")
@longest
@traces
def predict(expression: str, timeout: float | None, max_delay: float, trace: tuple[Trace, ...]) -> None:
    """Tell what to expect of a delay, before anybody waits."""
    try:
        settings = Settings(default_delay=0.0, max_delay=max_delay, traces=_named(trace))
        delay = DELAY.read(expression, settings)
    except ValueError as error:
        raise click.UsageError(f"{expression!r} is no delay: {error}") from error
    _show(foresee(delay, timeout, max_delay, chart.BINS))


def _show(prediction: Prediction) -> None:
    console = Console(highlight=False)
    console.print(chart.figures(prediction))
    console.print()
    console.print(chart.histogram(prediction, "#" if console.options.ascii_only else "█"))


def _named(traces: Iterable[Trace]) -> dict[str, Trace]:
    found: dict[str, Trace] = {}
    for each in traces:
        if each.name in found:
            raise click.UsageError(f"--trace {each.name} was given twice")
        found[each.name] = each
    return found


def _listen(context: click.Context) -> tuple[str, ...]:
    """Decide between --listen and --host with --port, where both were given: a flag wins over a variable."""
    listen = context.get_parameter_source("listen")
    others = {context.get_parameter_source("host"), context.get_parameter_source("port")}
    if listen in others - {ParameterSource.DEFAULT}:
        raise click.UsageError("--listen takes the place of --host and --port: give one or the other")
    flagged = ParameterSource.COMMANDLINE in others
    return () if flagged else cast("tuple[str, ...]", context.params["listen"])


@cli.command(hidden=True)
def worker() -> None:
    """Be one of several workers, started by `delayed serve --workers`."""
    try:
        inheritance = inherited(sys.stdin.buffer)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    # Ctrl-C is for every process of a terminal; the parent hears it too, and tells its workers to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _begin_log(inheritance.settings, BOARD, inheritance.worker)
    react(_when_running, (partial(accept, inheritance),))


def _run(settings: Settings) -> NoReturn:
    raise_descriptors()
    settings = attrs.evolve(settings, max_pending=settings.max_pending or most_pending())
    board = shared(WIDTH, settings.workers) if settings.workers > 1 else None
    _begin_log(settings, board)
    react(_when_running, (partial(serve_on, settings, board=board),))


def _begin_log(settings: Settings, lock: int | None, worker: int | None = None) -> None:
    lines = Lines(sys.stdout.fileno(), lock)
    globalLogBeginner.beginLoggingTo([observer(lines, settings.log_format, worker)], redirectStandardIO=False)


def _when_running(reactor: ReactorBase, start: Callable[[ReactorBase], Deferred[object]]) -> Deferred[object]:
    """Serve until a signal stops the reactor: what is returned never fires by itself."""
    # Only a running reactor handles signals: nobody is told the URLs before it does.
    running: Deferred[object] = Deferred()
    reactor.callWhenRunning(running.callback, None)
    return running.addCallback(lambda _: start(reactor)).addErrback(_unable).addCallback(lambda _: Deferred())


def _unable(failure: Failure) -> NoReturn:
    failure.trap(CannotListenError, StillbornError)
    click.echo(f"delayed: {failure.value}", err=True)
    raise SystemExit(1)


def main() -> NoReturn:
    """Run the command line; what is wrong with it is told in one line, with exit code 2."""
    try:
        cli.main(standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        click.echo(f"delayed: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)
