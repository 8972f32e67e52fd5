"""The types of options, and the options that several commands have."""

import re
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click

from latebin.cli.environment import PREFIX, is_link
from latebin.core.language import size
from latebin.core.language.duration import MICRO, parse, render
from latebin.core.language.trace import UNITS, Columns, Trace
from latebin.core.settings import OPTION, Option, Settings

F = TypeVar("F", bound=Callable[..., object])

DEFAULTS: Final = Settings()

_TRACE_OPTIONS: Final = re.compile(r"(?:,[a-z]+=[^,]*)+$")
"""The options behind the file of a trace; the name of the file may have commas, too."""

_MICRO: Final = re.compile(f"^(?:{MICRO})s$")

MAX_TRACE: Final = 64 * 1024**2
"""Bytes of the largest trace file: a million lines of sixty characters each."""


class DurationType(click.ParamType[float]):
    """A duration, as in a URL."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse(str(value))
        except ValueError as error:
            self.fail(f"Invalid duration {value!r}: {error}.", param, ctx)


class SizeType(click.ParamType[int]):
    """A size, as in a URL.

    Args:
        least: bytes of the smallest one accepted.
        most: bytes of the largest; None where there is no bound.
    """

    name = "size"

    def __init__(self, least: int = 0, most: int | None = None) -> None:
        self._least = least
        self._most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            given = size.parse(str(value))
        except ValueError as error:
            self.fail(f"Invalid size {value!r}: {error}.", param, ctx)
        if self._most is not None and not self._least <= given <= self._most:
            bounds = f"{size.render(self._least)} to {size.render(self._most)}"
            self.fail(f"Invalid size {value!r}: expected {bounds}.", param, ctx)
        return given


class WholeType(click.IntRange):
    """A whole number, called so in errors; click calls it an "integer range"."""

    name = "integer"


class NumberType(click.FloatRange):
    """A number, called so in errors; click calls it a "float range"."""

    name = "number"


class FileType(click.Path):
    """A file for the findings, checked before the command begins its work.

    Args:
        dash: whether `-` is standard output.
    """

    def __init__(self, *, dash: bool = False) -> None:
        super().__init__(dir_okay=False, writable=True, allow_dash=dash, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if not path.parent.is_dir():
            self.fail(f"{str(path)!r}: there is no directory {str(path.parent)!r}.", param, ctx)
        return super().convert(value, param, ctx)


class TraceType(click.ParamType[Trace]):
    """NAME=FILE[,column=C][,unit=U][,where=C:V]: recorded latencies, read when the command starts."""

    name = "NAME=FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Trace:
        name, _, rest = str(value).partition("=")
        path = _TRACE_OPTIONS.sub("", rest)
        if not path:
            self.fail(f"{value!r} is not NAME=FILE.", param, ctx)
        # Only a service with a trace imports the reader, with `csv` and `json`.
        from latebin.core.language.trace_file import read  # noqa: PLC0415

        try:
            return read(name, _lines(Path(path)), _columns(rest.removeprefix(path)))
        except UnicodeDecodeError:
            self.fail(f"{value!r}: the file is not UTF-8.", param, ctx)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)
        except OSError as error:
            self.fail(f"{value!r}: {error.strerror}.", param, ctx)


def _columns(text: str) -> Columns:
    """Read the options behind the file of a trace.

    Raises:
        ValueError: one is unknown, repeated, empty or wrong.
    """
    found: dict[str, str] = {}
    for option in filter(None, text.split(",")):
        name, _, value = option.partition("=")
        if name not in {"column", "unit", "where"}:
            raise ValueError(f"unknown option {name!r} behind the file; there are column, unit and where")
        if name in found or not value:
            raise ValueError(f"expected one value for {name}")
        found[name] = value
    unit, where = found.get("unit"), found.get("where")
    if unit is not None and (unit := _MICRO.sub("us", unit)) not in UNITS:
        raise ValueError(f"expected a unit, one of {', '.join(UNITS)}, not {unit!r}")
    if where is None:
        return Columns(found.get("column"), unit)
    column, colon, wanted = where.partition(":")
    if not (column and colon):
        raise ValueError(f"expected where=COLUMN:VALUE, not {where!r}")
    return Columns(found.get("column"), unit, (column, wanted))


def _lines(path: Path) -> Iterator[str]:
    """Read the lines of a trace, which end at CR, LF or CRLF alone."""
    with path.open("rb") as file:
        data = file.read(MAX_TRACE + 1)
    if len(data) > MAX_TRACE:
        raise ValueError(f"the file is larger than {size.render(MAX_TRACE)}")
    return StringIO(data.decode("utf-8"), newline="")


class Setting(click.Option):
    """An option with an environment variable that a container platform may set as well."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        value = super().resolve_envvar_value(ctx)
        return None if value is None or is_link(str(self.envvar), value) else value


def setting(flag: str, *names: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option with the environment variable that goes with it; the flag wins."""
    variable = PREFIX + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, *names, cls=Setting, envvar=variable, show_envvar=True, show_default=True, **attributes)


@attrs.frozen
class Kind:
    """A kind of setting: the type of its option, and the text of its default.

    Attributes:
        type: the type.
        text: writes a default as the type reads it; None for no default.
    """

    type: click.ParamType[Any]
    text: Callable[[Any], str | None] = str


DURATION: Final = Kind(DurationType(), render)

TRACE: Final = Kind(TraceType())


def option_of(name: str, kind: Kind) -> Callable[[F], F]:
    """Declare the option of a field of `Settings`, by the name of the field.

    Args:
        name: the name of the field.
        kind: the kind that its `Option` names.
    """
    field = attrs.fields_dict(Settings)[name]
    option: Option = field.metadata[OPTION]
    flag = option.flag or f"--{name.replace('_', '-')}"
    value = getattr(DEFAULTS, name)
    # A setting that may be given more than once is a tuple, or a mapping by names.
    multiple = isinstance(value, tuple | dict)
    text = None if multiple else kind.text(value)
    default = {} if text is None else {"default": text}
    return setting(flag, name, multiple=multiple, type=kind.type, help=option.meaning, **default)


traces = option_of("traces", TRACE)

longest = option_of("max_delay", DURATION)


def named(traces: Iterable[Trace]) -> dict[str, Trace]:
    """Give traces by their names.

    Raises:
        click.UsageError: two have the same.
    """
    found: dict[str, Trace] = {}
    for each in traces:
        if each.name in found:
            raise click.UsageError(f"--trace {each.name} was given twice")
        found[each.name] = each
    return found
