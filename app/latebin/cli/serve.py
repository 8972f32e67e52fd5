"""The command that serves: its settings have a flag and a variable each."""

import gc
import os
import re
import sys
from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

import attrs
import click
from click.core import ParameterSource

from latebin.cli import scenarios
from latebin.cli.environment import TOKEN
from latebin.cli.options import DURATION, TRACE, F, Kind, SizeType, WholeType, named, option_of, setting
from latebin.core.http import cors, networks
from latebin.core.http.control_access import MODES
from latebin.core.http.upstream_url import parse as parse_upstream
from latebin.core.language import size
from latebin.core.scenarios import BUILT_IN
from latebin.core.settings import HOSTS, LOG_FORMATS, MAX_LOG_BUFFER, MIN_LOG_BUFFER, OPTION, STACKS, Settings
from latebin.core.state_url import StateUrl
from latebin.core.state_url import parse as parse_state
from latebin.overrides.stack import choose
from latebin.server.machine import (
    FOR_EACH_CORE,
    MOST_WORKERS,
    check_workers,
    cores,
    fitting_workers,
    most_workers,
    raise_descriptors,
)
from latebin.server.worker_config import read


class HostType(click.ParamType[str]):
    """An address or a name to listen on; an empty one would be every address."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("'' is not an address; 0.0.0.0 is all of them.", param, ctx)
        return str(value)


READABLE: Final = click.Path(exists=True, dir_okay=False)
"""A file that is there."""


WRITABLE: Final = click.Path(dir_okay=False, writable=True)
"""A file that is made if it is not there."""


class EndpointType(click.ParamType[str]):
    """A Twisted server endpoint description, checked by parsing it."""

    name = "endpoint"

    def check(self, reactor: object, value: str, param: click.Parameter, ctx: click.Context) -> None:
        """Refuse what Twisted cannot parse; that imports Twisted, so all options are read before."""
        from twisted.internet.endpoints import StandardIOEndpoint, serverFromString  # noqa: PLC0415

        try:
            endpoint = serverFromString(reactor, value)
        except Exception as error:  # noqa: BLE001  # each endpoint's parser, plugins too, raises what it likes
            self.fail(f"{value!r} is not a Twisted server endpoint such as tcp:8080: {error}", param, ctx)
        if isinstance(endpoint, StandardIOEndpoint):
            self.fail(f"{value!r} is not an endpoint that a client can connect to.", param, ctx)


class ScenarioEndpointType(click.ParamType[tuple[str, str]]):
    """NAME=ENDPOINT: a scenario and a Twisted server endpoint description."""

    name = "NAME=ENDPOINT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, endpoint = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r} is not NAME=ENDPOINT such as payments=tcp:9001.", param, ctx)
        return name, endpoint

    def check(self, reactor: object, value: tuple[str, str], param: click.Parameter, ctx: click.Context) -> None:
        """Refuse what Twisted cannot parse, as for other endpoints."""
        EndpointType().check(reactor, value[1], param, ctx)


class OriginType(click.ParamType[str]):
    """An origin of web pages."""

    name = "origin"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return cors.parse(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is {error}.", param, ctx)


class UpstreamType(click.ParamType[tuple[str, str]]):
    """A name and a URL, as in `api=http://127.0.0.1:9000`."""

    name = "name=url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        try:
            return parse_upstream(str(value))
        except ValueError as error:
            self.fail(f"Invalid upstream {value!r}: {error}.", param, ctx)


class UpstreamFileType(click.ParamType[tuple[str, str]]):
    """NAME=FILE: an upstream and a file for it.

    Args:
        file: the checks of the file.
        example: the name of a file, for refusals.
    """

    name = "NAME=FILE"

    def __init__(self, file: click.Path, example: str) -> None:
        self._file = file
        self._example = example

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, _, path = str(value).partition("=")
        if not name or not path:
            self.fail(f"{value!r} is not NAME=FILE such as api={self._example}.", param, ctx)
        return name, str(self._file.convert(path, param, ctx))


class NetworkType(click.ParamType[networks.Network]):
    """The machines of a network, or a single one."""

    name = "network"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> networks.Network:
        try:
            return networks.parse(str(value))
        except ValueError as error:
            self.fail(f"Invalid network {value!r}: {error}.", param, ctx)


class StateType(click.ParamType[StateUrl]):
    """The URL of a Redis or Valkey; errors show no part of it."""

    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> StateUrl:
        try:
            return parse_state(str(value))
        except ValueError as error:
            self.fail(f"Invalid URL of a state: {error}.", param, ctx)


class WorkersType(click.ParamType[int]):
    """How many processes: a number, or as many as there are cores."""

    name = "integer|auto"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "auto":
            return fitting_workers()
        workers = WholeType(1).convert(cast("int", value), param, ctx)
        if workers > most_workers():
            bound = f"{FOR_EACH_CORE} times the number of cores, {cores()}, and never above {MOST_WORKERS}"
            self.fail(f"{workers} is above {most_workers()}, the most on this machine: {bound}.", param, ctx)
        return workers


class PendingType(click.ParamType["int | None"]):
    """How many answers: a number, or as many as the machine allows."""

    name = "integer|auto"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        return None if value == "auto" else WholeType(1).convert(cast("int", value), param, ctx)


KINDS: Final = {
    "control": Kind(click.Choice(MODES)),
    "duration": DURATION,
    "endpoint": Kind(EndpointType()),
    "file": Kind(READABLE, lambda path: path),
    "host": Kind(HostType()),
    "log buffer": Kind(SizeType(MIN_LOG_BUFFER, MAX_LOG_BUFFER), size.render),
    "log format": Kind(click.Choice(LOG_FORMATS)),
    "name": Kind(click.STRING, lambda name: name),
    "network": Kind(NetworkType()),
    "origin": Kind(OriginType()),
    "pending": Kind(PendingType(), lambda most: "auto" if most is None else str(most)),
    "port": Kind(WholeType(0, 65535)),
    "record": Kind(UpstreamFileType(WRITABLE, "api.trace")),
    "scenario endpoint": Kind(ScenarioEndpointType()),
    "size": Kind(SizeType(), size.render),
    "stack": Kind(click.Choice(STACKS)),
    "state": Kind(StateType(), lambda url: None if url is None else str(url)),
    "trace": TRACE,
    "upstream": Kind(UpstreamType()),
    "upstream file": Kind(UpstreamFileType(READABLE, "client.pem")),
    "upstream host": Kind(click.Choice(HOSTS)),
    "workers": Kind(WorkersType()),
}
"""The kinds of settings, as `latebin.core.settings.Option` names them."""


def options(command: F) -> F:
    """Declare the option of every setting that has one, in the order of the fields."""
    for field in reversed(attrs.fields(Settings)):
        if OPTION in field.metadata:
            command = option_of(field.name, KINDS[field.metadata[OPTION].kind])(command)
    return command


@click.command("serve")
@options
@scenarios.single
@scenarios.files
@setting(
    "--control-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the token that lets a client change the service.",
)
@click.pass_context
def serve_command(context: click.Context, /, **chosen: Any) -> None:
    """Serve late answers: in Klein under /, as raw resources under /raw.

    `latebin docs settings` has more on every option.
    """
    chosen["listen"] = _listen(context)
    chosen["upstreams"] = _by_names("--upstream", chosen["upstreams"])
    chosen["upstream_certs"] = _by_names("--upstream-cert", chosen["upstream_certs"])
    chosen["records"] = _by_names("--record", chosen["records"])
    chosen["traces"] = named(chosen["traces"])
    chosen["scenarios"] = scenarios.given(chosen.pop("scenario"), chosen.pop("scenarios"))
    chosen["control_token"] = _token(chosen.pop("control_token_file"))
    try:
        settings = Settings(**chosen)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _check_scenarios(settings)
    _check_endpoints(context, settings)
    _check_certificates(settings)
    _check_state(settings)
    _run(settings)


def _check_scenarios(settings: Settings) -> None:
    """Refuse scenarios that are wrong, and names of scenarios that there are not."""
    scenarios.checked(settings.scenarios, settings)
    named_ones = [("--scenario-listen", name) for name, _ in settings.scenario_listen]
    for flag, name in [*named_ones, ("--default-scenario", settings.default_scenario)]:
        if name is not None and name not in {*settings.scenarios, *BUILT_IN}:
            there_are = ", ".join(sorted({*settings.scenarios, *BUILT_IN}))
            raise click.UsageError(f"{flag}: there is no scenario {name!r}; there are {there_are}")


def _token(path: Path | None) -> str | None:
    """Read the token of `/control`, from a file or from the environment.

    Raises:
        click.UsageError: it is empty or no header can have it, or the file cannot be read.
    """
    try:
        token = os.environ.get(TOKEN) if path is None else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--control-token-file: {error}") from error
    if token is not None and not (token := token.strip()):
        raise click.UsageError(f"the token of --control-token-file or {TOKEN} is empty")
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise click.UsageError(f"the token of --control-token-file or {TOKEN} is not visible ASCII without spaces")
    return token


def _by_names(flag: str, given: Collection[tuple[str, str]]) -> dict[str, str]:
    named = dict(given)
    if len(named) < len(given):
        raise click.UsageError(f"{flag} takes each name once")
    return named


def _check_endpoints(context: click.Context, settings: Settings) -> None:
    for option in context.command.params:
        if isinstance(option.type, EndpointType | ScenarioEndpointType):
            for value in context.params[str(option.name)]:
                stack = choose(settings.stack)
                stack.prepare(settings)
                option.type.check(stack.reactor(), value, option, context)


def _check_certificates(settings: Settings) -> None:
    """Refuse files that TLS cannot use for an upstream."""
    if settings.upstream_ca is None and not settings.upstream_certs:
        return
    choose(settings.stack).prepare(settings)
    from latebin.answers.upstream_tls import context  # noqa: PLC0415  # for upstreams of HTTPS

    for name in settings.upstreams:
        try:
            context(settings, name)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _check_state(settings: Settings) -> None:
    """Refuse a state that needs a package which is not there."""
    if settings.state is not None and find_spec("txredisapi") is None:
        raise click.UsageError("--state needs the package txredisapi: pip install 'latebin[redis]'")


def _listen(context: click.Context) -> tuple[str, ...]:
    """Decide between --listen and --host with --port; a flag wins over a variable."""
    listen = context.get_parameter_source("listen")
    others = {context.get_parameter_source("host"), context.get_parameter_source("port")}
    if listen in others - {ParameterSource.DEFAULT}:
        raise click.UsageError("--listen takes the place of --host and --port: give one or the other")
    flagged = ParameterSource.COMMANDLINE in others
    return () if flagged else cast("tuple[str, ...]", context.params["listen"])


@click.command("worker", hidden=True)
def worker_command() -> None:
    """Run one of several workers, started by `latebin serve --workers`."""
    try:
        config = read(sys.stdin.buffer)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _serving(config.settings).work(config)


def _run(settings: Settings) -> None:
    raise_descriptors()
    if settings.workers > 1:
        try:
            check_workers(settings.workers, settings.log_buffer)
        except ValueError as error:
            raise click.UsageError(f"--workers: {error}") from error
    _serving(settings).serve(settings)


def _serving(settings: Settings) -> Any:
    """Import Twisted and all that serves, as sparingly as the settings allow.

    The garbage collector is off until the process collects on a schedule of its own: modules are not garbage.
    """
    choose(settings.stack).prepare(settings)
    gc.disable()
    return import_module("latebin.server.process")
