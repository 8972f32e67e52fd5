"""The command that changes a running service, as `/control` does."""

import json
import os
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import click

from latebin.cli.environment import TOKEN

TIMEOUT: Final = 10.0
"""Seconds that the service may take to answer."""


@click.group("control")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="URL of the service.")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="File with the token.")
@click.pass_context
def control_command(context: click.Context, url: str, token_file: Path | None) -> None:
    """Show or change the scenarios and the state of a running service."""
    token = token_file.read_text("utf-8").strip() if token_file else os.environ.get(TOKEN)
    context.obj = url, token


@control_command.command("get")
@click.argument("name", required=False)
@click.pass_context
def get(context: click.Context, name: str | None) -> None:
    """Show one scenario, or all."""
    _print(_ask(context, "GET", _path(name)))


@control_command.command("put")
@click.argument("name")
@click.argument("scenario", metavar="QUERY|JSON|-")
@click.pass_context
def put(context: click.Context, name: str, scenario: str) -> None:
    """Make or replace a scenario, from an argument or from standard input (-)."""
    text = sys.stdin.read() if scenario == "-" else scenario
    kind = "application/json" if text.lstrip().startswith("{") else "text/plain"
    _print(_ask(context, "PUT", _path(name), text.encode("utf-8"), kind))


@control_command.command("delete")
@click.argument("name")
@click.pass_context
def delete(context: click.Context, name: str) -> None:
    """Set one scenario back to what it was at the start."""
    _print(_ask(context, "DELETE", _path(name)))


@control_command.command("reset")
@click.pass_context
def reset(context: click.Context) -> None:
    """Set all scenarios back to what they were at the start."""
    _print(_ask(context, "POST", "/control/reset"))


@control_command.command("keys")
@click.argument("key", required=False)
@click.option("--forget", is_flag=True, help="Forget the key, so that it starts anew.")
@click.pass_context
def keys(context: click.Context, key: str | None, *, forget: bool) -> None:
    """Show the turn of one key, or of all."""
    if forget and key is None:
        raise click.UsageError("--forget needs a key")
    _print(_ask(context, "DELETE" if forget else "GET", _below("keys", key)))


@control_command.command("gates")
@click.argument("name", required=False)
@click.option("--release", metavar="COUNT|all", help="Let so many answers go that wait now.")
@click.option("--open/--close", "opened", default=None, help="Open the gate for good, or close it.")
@click.pass_context
def gates(context: click.Context, name: str | None, release: str | None, *, opened: bool | None) -> None:
    """Show one gate, or all; let answers go."""
    if release is None and opened is None:
        _print(_ask(context, "GET", _below("gates", name)))
        return
    if name is None or (release is not None and opened is not None):
        raise click.UsageError("a gate takes one of --release, --open and --close")
    change = {"open": opened} if release is None else {"release": int(release) if release.isdecimal() else release}
    body = json.dumps(change).encode("utf-8")
    _print(_ask(context, "POST", _below("gates", name), body, "application/json"))


@control_command.command("pending")
@click.option("--key", help="The answers of this key alone.")
@click.option("--end", is_flag=True, help="End the answers of the key now, with 503.")
@click.pass_context
def pending(context: click.Context, key: str | None, *, end: bool) -> None:
    """Show the pending answers, and the reason why each waits."""
    query = "" if key is None else f"?key={quote(key, safe='')}"
    _print(_ask(context, "DELETE" if end else "GET", f"/control/pending{query}"))


@control_command.command("journal")
@click.argument("key")
@click.pass_context
def journal(context: click.Context, key: str) -> None:
    """Show the requests of a key, and a summary of its client."""
    _print(_ask(context, "GET", f"/control/journal?key={quote(key, safe='')}"))


def _below(kind: str, name: str | None) -> str:
    return f"/control/{kind}" if name is None else f"/control/{kind}/{quote(name, safe='')}"


def _path(name: str | None) -> str:
    return _below("scenarios", name)


def _print(answer: Any) -> None:  # noqa: ANN401  # any JSON
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _ask(context: click.Context, method: str, path: str, body: bytes | None = None, kind: str = "text/plain") -> Any:  # noqa: ANN401  # any JSON
    """Send a request to `/control`.

    Raises:
        click.ClickException: the service cannot be reached, or refuses; the error is the service's own.
    """
    url, token = context.obj
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.UsageError(f"{url!r} is not a URL such as http://127.0.0.1:8080")
    headers = {"Content-Type": kind, **({"Authorization": f"Bearer {token}"} if token else {})}
    connection = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(
        parts.hostname, parts.port, timeout=TIMEOUT
    )
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        raise click.ClickException(f"{url}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status >= 400:  # noqa: PLR2004  # where the statuses of problems begin
        accepted = f" Expected {answer['accepted']}." if answer.get("accepted") else ""
        raise click.ClickException(f"{answer.get('detail', response.reason)}{accepted}")
    return answer
