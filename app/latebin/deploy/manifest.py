"""A Compose file and Kubernetes manifests that run many replicas of the service."""

import re
from importlib.resources import files
from string import Template
from typing import Final

import attrs

from latebin.core.settings import Settings

PLATFORMS: Final = ("compose", "kubernetes")

MARGIN: Final = 5
"""Seconds for the last refusals and the end of the process, before the platform kills it."""

STATE: Final = "state|"
"""The mark of a line for replicas that keep their state in Redis or Valkey."""

MEMORY: Final = "memory|"
"""The mark of a line for replicas that keep no state in common."""

_DEFAULTS: Final = Settings()

_NAME: Final = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"

_IMAGE: Final = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?{_NAME}(?:/{_NAME})*"
    "(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


def parse_image(text: str) -> str:
    """Check the name of an image, which cannot contain any syntax of YAML.

    Raises:
        ValueError: text is not the name of an image.
    """
    if not _IMAGE.fullmatch(text):
        raise ValueError("expected the name of an image such as latebin or example.org/team/latebin:0.1.0")
    return text


@attrs.frozen
class Fleet:
    """Replicas, and the numbers on which the parts of a manifest must agree.

    Attributes:
        image: the image of each replica.
        replicas: the number of replicas; with an autoscaler, the least number.
        port: the port for requests.
        admin_port: the port for health and figures.
        max_pending: the most pending answers at once in each replica.
        announcement: seconds from the decision to stop a replica until no node sends it new connections, on a platform
            that announces it so.
        shutdown_delay: seconds from then on in which the replica still accepts, while its health checks fail.
        drain_timeout: seconds from then on for the pending answers.
        state: whether the replicas keep their state in common, in a Redis or Valkey.
    """

    image: str = "latebin"
    replicas: int = 2
    port: int = _DEFAULTS.port
    admin_port: int = 8081
    max_pending: int = 10_000
    announcement: int = 5
    shutdown_delay: int = 5
    drain_timeout: int = int(_DEFAULTS.drain_timeout)
    state: bool = False

    @property
    def stopping(self) -> int:
        """Seconds that a replica may take to stop, from the signal on."""
        return self.shutdown_delay + self.drain_timeout + MARGIN

    @property
    def longest(self) -> int:
        """Seconds that a connection may be silent, above the longest delay."""
        return int(_DEFAULTS.max_delay) + MARGIN

    def values(self) -> dict[str, object]:
        """Map each name in the files to its value."""
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
    """Make the YAML with which a platform runs a fleet.

    A line of the file that begins with a mark is for one kind of state alone.

    Args:
        platform: one of PLATFORMS.
        fleet: the replicas.
    """
    text = (files("latebin.deploy") / f"{platform}.yaml").read_text("utf-8")
    mine, other = (STATE, MEMORY) if fleet.state else (MEMORY, STATE)
    lines = [line.removeprefix(mine) for line in text.splitlines() if not line.startswith(other)]
    return Template("".join(f"{line}\n" for line in lines)).substitute(fleet.values())
