"""The command line: `delayed serve`, with a flag and an environment variable for every setting, and its company."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NoReturn, TypeVar, cast

import click
from click.core import ParameterSource
from twisted.internet import reactor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import react
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure

from app.duration import parse, render
from app.log import observer
from app.server import listen
from app.settings import LOG_FORMATS, Settings

F = TypeVar("F", bound=Callable[..., object])

DEFAULTS: Final = Settings()


class DurationType(click.ParamType[float]):
    """A duration, as in a URL."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}.", param, ctx)


class EndpointType(click.ParamType[str]):
    """A Twisted server endpoint description, checked by parsing it."""

    name = "endpoint"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            serverFromString(reactor, str(value))
        except Exception as error:  # noqa: BLE001  # each endpoint's parser, plugins too, raises what it likes
            self.fail(f"{value!r} is not a Twisted server endpoint such as tcp:8080: {error}", param, ctx)
        return str(value)


def setting(flag: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option of `delayed serve` with the environment variable that goes with it; the flag wins."""
    variable = "DELAYED_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, envvar=variable, show_envvar=True, show_default=True, **attributes)


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
@setting("--max-delay", default=render(DEFAULTS.max_delay), type=DurationType(), help="Longest delay accepted.")
@setting("--log-format", default=DEFAULTS.log_format, type=click.Choice(LOG_FORMATS), help="How to write the log.")
@click.pass_context
def serve(context: click.Context, /, **chosen: Any) -> None:
    """Serve /delayed in Klein and /raw/delayed as raw resources, until told to stop."""
    chosen["listen"] = _listen(context)
    try:
        settings = Settings(**chosen)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _run(settings)


def _listen(context: click.Context) -> tuple[str, ...]:
    """Decide between --listen and --host with --port, where both were given: a flag wins over a variable."""
    listen = context.get_parameter_source("listen")
    others = {context.get_parameter_source("host"), context.get_parameter_source("port")}
    if listen in others - {ParameterSource.DEFAULT}:
        raise click.UsageError("--listen takes the place of --host and --port: give one or the other")
    flagged = ParameterSource.COMMANDLINE in others
    return () if flagged else cast("tuple[str, ...]", context.params["listen"])


def _run(settings: Settings) -> NoReturn:
    # A line is written when it is complete, also into a pipe.
    lines = open(sys.stdout.fileno(), "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115  # no path
    globalLogBeginner.beginLoggingTo([observer(lines, settings.log_format)], redirectStandardIO=False)
    react(_serve, (settings,))


def _serve(reactor: ReactorBase, settings: Settings) -> Deferred[None]:
    """Serve until a signal stops the reactor: what is returned never fires by itself."""
    # Only a running reactor handles signals: nobody is told the URLs before it does.
    running: Deferred[None] = Deferred()
    reactor.callWhenRunning(running.callback, None)
    return (
        running.addCallback(lambda _: listen(settings, reactor)).addErrback(_unable).addCallback(lambda _: Deferred())
    )


def _unable(failure: Failure) -> NoReturn:
    failure.trap(CannotListenError)
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
