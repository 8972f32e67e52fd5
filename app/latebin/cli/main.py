"""The command line: `latebin serve` and its company."""

import os
import re
import sys
from importlib import import_module
from typing import Any, Final, NoReturn, cast

import click
from click.exceptions import NoArgsIsHelpError

from latebin.cli.environment import settings_of, unknown, warning

COMMANDS: Final = {
    "serve": "latebin.cli.serve",
    "health": "latebin.cli.health",
    "predict": "latebin.cli.predict",
    "scenarios": "latebin.cli.scenarios",
    "control": "latebin.cli.control",
    "manifest": "latebin.cli.manifest",
    "trace": "latebin.cli.trace",
    "watch": "latebin.cli.watch",
    "measure": "latebin.cli.measure",
    "compare": "latebin.cli.compare",
    "docs": "latebin.cli.docs",
    "worker": "latebin.cli.serve",
}
"""The module of each command, which defines NAME_command."""

EXTRAS: Final = {"measure": ("hdrh.histogram", "measure"), "compare": ("hdrh.histogram", "measure")}
"""The module that a command needs, if it needs one, and the extra that has it."""

_HELP: Final = {"-h", "--help"}

_LINES: Final = re.compile(r"\s*\n\s*")


class Commands(click.Group):
    """The commands, each imported when it is asked for, without the libraries of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", getattr(import_module(COMMANDS[cmd_name]), f"{cmd_name}_command"))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; if it has settings, warn of variables that are not settings.

        A command whose extra is not installed refuses its arguments, unless they ask for its help.
        """
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            shown = ", ".join(name for name in COMMANDS if name != "worker")
            raise click.UsageError(f"There is no command {args[0]!r}; there are {shown}.", ctx)
        name, command, rest = super().resolve_command(ctx, args)
        if name in EXTRAS and not _HELP & set(rest):
            module, extra = EXTRAS[name]
            try:
                import_module(module)
            except ModuleNotFoundError:
                return name, _unavailable(name, module, extra), rest
        # A health check is run again and again, in the environment that the service itself has warned of.
        known = set() if command is None or name == "health" else settings_of(command)
        if known and unknown(os.environ, known):
            # Most likely for another command: only now are all of them imported.
            for other in COMMANDS:
                found = self.get_command(ctx, other)
                known |= settings_of(found) if found is not None else set()
            if names := unknown(os.environ, known):
                click.echo(f"latebin: {warning(names, known)}", err=True)
        return name, command, rest


def _unavailable(name: str, missing: str, extra: str) -> click.Command:
    """Make a command that refuses any arguments and names the extra to install."""
    reason = f"needs {missing}, which is not installed: pip install '.[{extra}]'"

    def refuse() -> NoReturn:
        raise click.ClickException(f"{name} {reason}")

    anything: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    return click.Command(name, context_settings=anything, callback=refuse, short_help=reason[:1].upper() + reason[1:])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="latebin", prog_name="latebin")
def cli() -> None:
    """Answer HTTP requests late, on purpose and on time."""


def _open_standard_files() -> None:
    """Open /dev/null for each standard file that is closed, before a socket takes its number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is that of the closed file.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003  # it has no name


def main() -> NoReturn:
    """Run the command line; wrong usage is reported in one line, with exit code 2."""
    _open_standard_files()
    try:
        cli.main(standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        click.echo(f"latebin: {_LINES.sub(' ', error.format_message())}", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)
