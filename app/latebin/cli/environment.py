"""The environment variables of latebin: settings, misspelled ones, and those that others make."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import click

PREFIX: Final = "LATEBIN_"

TOKEN: Final = "LATEBIN_CONTROL_TOKEN"  # noqa: S105  # the name of a variable
"""The variable with the token of `/control`; a flag would show it to every process of the machine."""

RESERVED: Final = frozenset({"LATEBIN_URL", TOKEN})
"""Variables without a flag: the token, and the URL of a running service for test clients."""

_LINK: Final = re.compile(
    r"LATEBIN_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
    r"|LATEBIN_(?:NAME|ENV_\w+)"
)

_LINKED_PORT: Final = re.compile(r"LATEBIN_(?:\w+_)?PORT")

_LINKED_URL: Final = re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")


def is_link(name: str, value: str) -> bool:
    """Decide whether Kubernetes or Docker made a variable for a service called latebin.

    Kubernetes gives such variables to every container of a namespace (its documentation, "Service environment
    variables"), and Docker to the containers of a `--link`. Both set LATEBIN_PORT, which is a setting here, to a URL.

    Args:
        name: as it stands in the environment.
        value: its value.
    """
    made_port = _LINKED_PORT.fullmatch(name) and _LINKED_URL.fullmatch(value)
    return bool(made_port or _LINK.fullmatch(name))


def settings_of(command: click.Command) -> set[str]:
    """Collect the variables that a command reads its options from."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    return {each.envvar for each in options if isinstance(each.envvar, str)}


def unknown(environment: Mapping[str, str], known: Collection[str]) -> list[str]:
    """List the variables of latebin that are not known, and that no container platform made."""
    names = sorted(name for name in environment if name.startswith(PREFIX))
    return [name for name in names if name not in {*known, *RESERVED} and not is_link(name, environment[name])]


def warning(names: Iterable[str], known: Collection[str]) -> str:
    """Name variables that are not settings, each with the nearest setting if there is one."""
    import difflib  # noqa: PLC0415  # only for a warning, which is rare

    settings = {name.removeprefix(PREFIX): name for name in sorted(known)}
    named = []
    for name in names:
        nearest = difflib.get_close_matches(name.removeprefix(PREFIX), settings, 1)
        hint = f" (the nearest is {settings[nearest[0]]})" if nearest else ""
        named.append(name.encode("unicode_escape").decode("ascii") + hint)
    return f"not a setting, and ignored: {', '.join(named)}"
