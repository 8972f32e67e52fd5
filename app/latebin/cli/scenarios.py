"""The options that give scenarios, and the command that lists and tries them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import click

from latebin.cli import options
from latebin.cli.options import setting
from latebin.core.http.reply import Refused
from latebin.core.language.trace import Trace
from latebin.core.scenarios import BUILT_IN, LONGEST, Given, Scenario, read
from latebin.core.settings import Settings

MAX_FILE: Final = 16 * 1024**2
"""Bytes of the largest file of scenarios, and of the largest body that such a file names."""


class ScenarioType(click.ParamType[tuple[str, str]]):
    """NAME=QUERY: a scenario as a query string."""

    name = "NAME=QUERY"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, query = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r} is not NAME=QUERY such as payments='delay=50ms'.", param, ctx)
        return name, query


class ScenariosType(click.ParamType[Mapping[str, Mapping[str, Any]]]):
    """A TOML file with a table for each scenario."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Mapping[str, Mapping[str, Any]]:
        import tomllib  # noqa: PLC0415  # only where there is a file

        path = Path(str(value))
        try:
            tables = tomllib.loads(_content(path).decode("utf-8"))
            for name, table in tables.items():
                if not isinstance(table, dict):
                    self.fail(f"{str(path)!r}: {name} is not a table.", param, ctx)
            return {name: _with_body(table, path.parent) for name, table in tables.items()}
        except RecursionError:
            self.fail(f"{str(path)!r}: it is nested too deeply.", param, ctx)
        except ValueError as error:
            self.fail(f"{str(path)!r}: {error}.", param, ctx)
        except OSError as error:
            self.fail(f"{error.filename}: {error.strerror}.", param, ctx)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"larger than {MAX_FILE} bytes")
    return data


def _with_body(table: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Read the file of `body-file`, beside the TOML file, for a scenario and its rules."""
    found = {key: value for key, value in table.items() if key != "body-file"}
    if "body-file" in table:
        found["body"] = _content(directory / str(table["body-file"]))
    if isinstance(found.get("rule"), list):
        found["rule"] = [_with_body(rule, directory) if isinstance(rule, dict) else rule for rule in found["rule"]]
    return found


def given(single: tuple[tuple[str, str], ...], files: tuple[Mapping[str, Mapping[str, Any]], ...]) -> dict[str, Given]:
    """Collect the scenarios of all options by their names.

    Raises:
        click.UsageError: two have the same name.
    """
    found: dict[str, Given] = {}
    every: list[tuple[str, Given]] = [*single, *(item for tables in files for item in tables.items())]
    for name, each in every:
        if name in found:
            raise click.UsageError(f"the scenario {name!r} is given twice")
        found[name] = each
    return found


def checked(scenarios: Mapping[str, Given], settings: Settings) -> list[Scenario]:
    """Read scenarios.

    Raises:
        click.UsageError: one of them is wrong; the error names scenario and parameter.
    """
    found = []
    for name, each in scenarios.items():
        try:
            found.append(read(name, each, settings))
        except Refused as error:
            problem = error.problem
            expected = f"; expected {problem.accepted}" if problem.accepted else ""
            what = f"scenario {name!r}, parameter {problem.parameter!r}"
            raise click.UsageError(f"{what}: {problem.detail} Given {problem.given!r}{expected}") from error
    return found


single = setting("--scenario", multiple=True, type=ScenarioType(), help="NAME=QUERY: a scenario, at /as/NAME.")

files = setting("--scenarios", multiple=True, type=ScenariosType(), help="TOML file with a table for each scenario.")


@click.command("scenarios")
@single
@files
@setting("--upstream", multiple=True, metavar="NAME=URL", help="Upstream that a scenario names, as for serve.")
@options.longest
@options.traces
@click.argument("name", required=False)
def scenarios_command(
    *,
    scenario: tuple[tuple[str, str], ...],
    scenarios: tuple[Mapping[str, Mapping[str, Any]], ...],
    upstream: tuple[str, ...],
    max_delay: float,
    traces: tuple[Trace, ...],
    name: str | None,
) -> None:
    """List the scenarios, or predict the delay of one by each of its rules."""
    from latebin.cli.predict import BINS, show  # noqa: PLC0415  # rich is slow to import, and only a prediction needs it
    from latebin.core.language.prediction import predict  # noqa: PLC0415
    from latebin.core.scenarios import delay_of  # noqa: PLC0415

    upstreams = {each.partition("=")[0]: each.partition("=")[2] for each in upstream}
    default = min(Settings().default_delay, max_delay)
    settings = Settings(upstreams=upstreams, default_delay=default, max_delay=max_delay, traces=options.named(traces))
    own = given(scenario, scenarios)
    # A built-in scenario has a limit of its own, as in a service.
    wide = attrs.evolve(settings, max_delay=max(max_delay, LONGEST))
    built_in = checked({key: each.query for key, each in BUILT_IN.items()}, wide)
    every = {each.name: each for each in (*built_in, *checked(own, settings))}
    if name is None:
        for each in every.values():
            click.echo(_line(each, own))
        return
    if name not in every:
        raise click.UsageError(f"there is no scenario {name!r}; there are {', '.join(every)}")
    click.echo(_line(every[name], own))
    for rule in every[name].rules:
        conditions = [f"{key} {text}" for key, text in rule.conditions().items()]
        click.echo(f"\n{', '.join(conditions)}:" if conditions else "")
        show(predict(delay_of(rule.arguments, settings), None, settings.max_delay, BINS))


def _line(scenario: Scenario, own: Mapping[str, Given]) -> str:
    if scenario.name in own:
        return f"{scenario.name}: {scenario.given if isinstance(scenario.given, str) else 'from a file'}"
    built_in = BUILT_IN[scenario.name]
    return f"{scenario.name}: {built_in.meaning}\n    {built_in.query}\n    {built_in.source}"
