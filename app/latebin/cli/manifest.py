"""The command that prints the files that run many replicas."""

import click

from latebin.deploy.manifest import PLATFORMS, Fleet, parse_image, render

DEFAULTS = Fleet()


class ImageType(click.ParamType[str]):
    """The name of a container image."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return parse_image(str(value))
        except ValueError as error:
            self.fail(f"Invalid image {value!r}: {error}.", param, ctx)


@click.command("manifest")
@click.argument("platform", type=click.Choice(PLATFORMS))
@click.option(
    "--replicas",
    default=DEFAULTS.replicas,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Number of replicas; with Kubernetes, the least number.",
)
@click.option(
    "--image",
    default=DEFAULTS.image,
    show_default=True,
    type=ImageType(),
    help="Container image that each replica runs.",
)
@click.option(
    "--state",
    is_flag=True,
    help="Keep keys, gates and the like for all replicas: in a Valkey; with Kubernetes, where a Secret says.",
)
def manifest_command(platform: str, replicas: int, image: str, *, state: bool) -> None:
    """Print a Compose file or Kubernetes manifests that run many replicas."""
    click.echo(render(platform, Fleet(image, replicas, state=state)), nl=False)
