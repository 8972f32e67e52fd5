"""The manifests, read."""

from typing import Any

import yaml

from latebin.deploy.manifest import Fleet, render


def objects(fleet: Fleet) -> dict[str, Any]:
    """Give what the manifests for Kubernetes hold, by its kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(render("kubernetes", fleet))}


def compose(fleet: Fleet) -> Any:
    return yaml.safe_load(render("compose", fleet))


def balancing(fleet: Fleet) -> str:
    """Give the configuration of HAProxy that a Compose file holds."""
    return str(compose(fleet)["services"]["balancer"]["environment"]["CONFIGURATION"])


def container(fleet: Fleet) -> Any:
    [found] = objects(fleet)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


def variables_of(container: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


VARIABLES = {
    "compose": compose(Fleet())["services"]["latebin"]["environment"],
    "kubernetes": variables_of(container(Fleet())),
}
