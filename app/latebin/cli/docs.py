"""The command that shows the reference."""

import sys
from importlib.resources import files

import click

from latebin.core.topics import TOPICS


@click.command("docs")
@click.argument("topic", required=False, metavar="[TOPIC]", type=click.Choice(list(TOPICS)))
def docs_command(topic: str | None) -> None:
    """Show a page of the reference, or the list of pages without TOPIC."""
    if topic is None:
        click.echo("".join(f"{name:13} {about}\n" for name, about in TOPICS.items()), nl=False)
        return
    text = (files("latebin") / "docs" / f"{topic}.md").read_text("utf-8")
    if not sys.stdout.isatty():
        click.echo(text, nl=False)
        return
    # A pipe needs neither of them, and both take longer to import than the command runs.
    from rich.console import Console  # noqa: PLC0415
    from rich.markdown import Markdown  # noqa: PLC0415

    Console().print(Markdown(text))
