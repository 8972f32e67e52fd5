"""What runs many replicas of the service: a Compose file, and manifests for Kubernetes."""

import re
from importlib.resources import files
from string import Template
from typing import Final

import attrs

from latebin.core.settings import Settings

PLATFORMS: Final = ("compose", "kubernetes")

MARGIN: Final = 5
"""Seconds for the last refusals to leave and the process to end, before whoever stops it loses patience."""

_DEFAULTS: Final = Settings()

_NAME: Final = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"

_IMAGE: Final = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
    "(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


def parse_image(text: str) -> str:
    """Check the name of an image: of it, nothing can be taken for YAML.

    Raises:
        ValueError: it is none.
    """
    if not _IMAGE.fullmatch(text):
        raise ValueError("expected the name of an image such as latebin or example.org/team/latebin:0.1.0")
    return text


@attrs.frozen
class Fleet:
    """Replicas, and the numbers on which the parts of a manifest have to agree; times are whole seconds.

    Attributes:
        image: the name of the image that each of them runs.
        replicas: how many there are; where their number follows the load, there are never fewer.
        port: where each takes requests.
        admin_port: where each tells of its health, and its figures.
        max_pending: answers that may be pending at once in each.
        announcement: from when a replica is to stop until nobody who looks for one finds it, where that is told to
            others than those who ask it.
        shutdown_delay: for how long it listens on from then, while those who ask it see that it stops.
        drain_timeout: from then on, for what is pending.
    """

    image: str = "latebin"
    replicas: int = 2
    port: int = _DEFAULTS.port
    admin_port: int = 8081
    max_pending: int = 10_000
    announcement: int = 5
    shutdown_delay: int = 5
    drain_timeout: int = int(_DEFAULTS.drain_timeout)

    @property
    def stopping(self) -> int:
        """Seconds that a replica may take to stop, once it is told."""
        return self.shutdown_delay + self.drain_timeout + MARGIN

    @property
    def longest(self) -> int:
        """Seconds that a connection may be silent: more than anybody can ask a replica to be."""
        return int(_DEFAULTS.max_delay) + MARGIN

    def told(self) -> dict[str, object]:
        """Give every number by the name that it has in the files."""
        return {
            **attrs.asdict(self),
            "stopping": self.stopping,
            "leaving": self.announcement + self.stopping,
            "balancing": self.drain_timeout + MARGIN,
            "longest": self.longest,
            "slots": 2 * self.replicas,
            "descriptors": 2 * self.replicas * self.max_pending + 1000,
            "most": 5 * self.replicas,
        }


def render(platform: str, fleet: Fleet) -> str:
    """Write what a platform has to be given to run a fleet, in YAML.

    Args:
        platform: one of PLATFORMS.
        fleet: what is to run.
    """
    text = (files("latebin.deploy") / f"{platform}.yaml").read_text("utf-8")
    return Template(text).substitute(fleet.told())
