"""The command that asks a service whether it is alive."""

import click

from latebin.cli.health_url import UnhealthyError, ask, url
from latebin.cli.options import DEFAULTS, DurationType, WholeType, setting


@click.command("health")
@click.option("--url", "chosen", help="What to ask instead of the service that the other settings describe.")
@setting("--host", default=DEFAULTS.host, help="Address that it listens on.")
@setting("--port", default=DEFAULTS.port, type=WholeType(0, 65535), help="TCP port that it listens on.")
@setting("--listen", multiple=True, help="Twisted server endpoint that it listens on, instead of host and port.")
@setting("--admin-listen", multiple=True, help="Twisted server endpoint of its /healthz.")
@click.option("--timeout", type=DurationType(), default="3s", show_default=True, help="How long it may take.")
def health_command(  # noqa: PLR0917  # click gives them by name
    chosen: str | None, host: str, port: int, listen: tuple[str, ...], admin_listen: tuple[str, ...], timeout: float
) -> None:
    """Exit with 0 if the service on this machine is alive, and with 1 if it is not."""
    try:
        ask(chosen or url(admin_listen or listen, host, port), timeout)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except UnhealthyError as error:
        raise click.ClickException(str(error)) from error
