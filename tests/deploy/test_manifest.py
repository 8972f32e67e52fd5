import re
import subprocess
import sys
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from latebin.cli.serve import serve_command
from latebin.core.language import duration
from latebin.core.settings import Settings
from latebin.core.state_url import StateUrl, parse
from latebin.deploy.manifest import MARGIN, PLATFORMS, Fleet, parse_image, render
from latebin.server.drain import LAST
from latebin.telemetry.families import GAUGES
from latebin.testing.process import serving
from tests.support import redis
from tests.support.haproxy import HAPROXY
from tests.support.manifests import VARIABLES, balancing, compose, container, objects, variables_of
from tests.support.process import ROOT, ports, status

FLEETS = [Fleet(), Fleet(replicas=1), Fleet("example.org:5000/team/delayed:0.1.0", 1000), Fleet(state=True)]

VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""The oldest Kubernetes that the manifests support, and the newest with available schemas."""

KINDS_OF_OBJECTS = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def composed(text: str) -> subprocess.CompletedProcess[str]:
    """Check a Compose file against the schema of the Compose Specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run(
        [*command, "--default-filetype", "yaml", "-"], input=text, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("fleet", FLEETS, ids=["default", "single", "many", "state"])
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_schema(fleet: Fleet, version: str) -> None:
    """Each object is valid under the Kubernetes schema of its kind, and unique."""
    found = list(yaml.safe_load_all(render("kubernetes", fleet)))
    assert [each["kind"] for each in found] == list(objects(fleet))
    assert set(objects(fleet)) == KINDS_OF_OBJECTS
    for each in found:
        assert version.startswith(kubernetes_validate.validate(each, version, strict=True))


@pytest.mark.parametrize("fleet", FLEETS, ids=["default", "single", "many", "state"])
def test_compose_schema(fleet: Fleet) -> None:
    """The Compose file is valid under the Compose Specification."""
    done = composed(render("compose", fleet))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("terminationGracePeriodSeconds", "Deployment"),
        ("readOnlyRootFilesystem", "Deployment"),
        ("targetPort", "Service"),
        ("averageUtilization", "HorizontalPodAutoscaler"),
        ("unhealthyPodEvictionPolicy", "PodDisruptionBudget"),
        ("namespaceSelector", "NetworkPolicy"),
    ],
)
def test_misspelled_field_of_kubernetes(name: str, kind: str) -> None:
    """An object is invalid when one of its fields is misspelled."""
    misspelled = render("kubernetes", Fleet()).replace(f"{name}:", f"{name}s:")
    [found] = [each for each in yaml.safe_load_all(misspelled) if each["kind"] == kind]
    with pytest.raises(kubernetes_validate.ValidationError, match=f"{name}s"):
        kubernetes_validate.validate(found, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", ["read_only", "stop_grace_period", "internal", "memory"])
def test_misspelled_field_of_compose(name: str) -> None:
    """A Compose file is invalid when one of its fields is misspelled."""
    done = composed(render("compose", Fleet()).replace(f"{name}:", f"{name}s:"))
    assert done.returncode == 1
    assert f"{name}s" in done.stdout


def test_selectors() -> None:
    """Every selector selects the Deployment's pods, and the autoscaler scales the Deployment."""
    found = objects(Fleet())
    deployment = found["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    [constraint] = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        constraint["labelSelector"]["matchLabels"],
    ):
        assert selector
        assert selector.items() <= labels
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": deployment["apiVersion"], "kind": deployment["kind"], "name": deployment["metadata"]["name"],
    }  # fmt: skip
    assert all(each["metadata"]["labels"].items() <= labels for each in found.values())


def test_ports() -> None:
    """Every named port is one of the container, on which the service listens."""
    fleet = Fleet(port=18080, admin_port=18081)
    found, pod = objects(fleet), container(fleet)
    named = {each["name"]: each["containerPort"] for each in pod["ports"]}
    assert named == {"http": 18080, "admin": 18081}
    assert {pod[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {"admin"}
    assert [each["targetPort"] for each in found["Service"]["spec"]["ports"]] == ["http"]
    public, admin = found["NetworkPolicy"]["spec"]["ingress"]
    assert (public, [each["port"] for each in admin["ports"]]) == ({"ports": [{"port": "http"}]}, ["admin"])
    assert variables_of(pod)["LATEBIN_PORT"] == "18080"
    assert variables_of(pod)["LATEBIN_ADMIN_LISTEN"] == "tcp:18081"
    assert found["Deployment"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == "18081"


def checked_paths() -> set[str]:
    """Collect the paths of all probes, checks and scrapes in the manifests."""
    pod = container(Fleet())
    annotations = objects(Fleet())["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    probed = {pod[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    return probed | {annotations["prometheus.io/path"], *re.findall(r"httpchk GET (\S+)", balancing(Fleet()))}


def test_paths() -> None:
    """Every checked path is answered on the admin port."""
    assert checked_paths() == {"/healthz", "/readyz", "/metrics"}
    [port] = ports(1)
    with serving("--admin-listen", f"tcp:{port}:interface=127.0.0.1"):
        assert {status(port, path) for path in checked_paths()} == {200}


@pytest.mark.parametrize("platform", VARIABLES)
def test_variables(platform: str) -> None:
    """Every variable is a setting of `latebin serve` with an accepted value."""
    known = {option.envvar for option in serve_command.params if isinstance(option, click.Option)}
    assert set(VARIABLES[platform]) <= known
    command = compose(Fleet())["services"]["latebin"]["command"] if platform == "compose" else ["serve"]
    environment = {"LATEBIN_HOST": "0.0.0.0", **VARIABLES[platform]}
    stopping = ["--default-delay", "2s", "--max-delay", "1s"]
    refused = CliRunner().invoke(serve_command, [*command[1:], *stopping], env=environment)
    assert "Error: the default delay, 2s, is above the longest, 1s" in refused.output


def seconds(text: str) -> float:
    return duration.parse(text)


@pytest.mark.parametrize("platform", VARIABLES)
def test_time_to_stop(platform: str) -> None:
    """The grace period covers all that a replica does before it ends."""
    listening, draining = (
        seconds(VARIABLES[platform][name]) for name in ("LATEBIN_SHUTDOWN_DELAY", "LATEBIN_DRAIN_TIMEOUT")
    )
    assert draining == Settings().drain_timeout
    if platform == "kubernetes":
        grace = objects(Fleet())["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        before = container(Fleet())["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert before > 0
    else:
        grace, before = seconds(compose(Fleet())["services"]["latebin"]["stop_grace_period"]), 0
    assert grace == before + listening + draining + MARGIN
    assert MARGIN > LAST


def test_balancer_sees_a_stopping_replica() -> None:
    """HAProxy sees that a replica stops before that refuses, and waits for every delay."""
    text = balancing(Fleet())
    [(interval, fall)] = re.findall(r"inter (\d+)s fall (\d+) rise 1", text)
    [check] = re.findall(r"timeout check (\d+)s", text)
    listening = seconds(VARIABLES["compose"]["LATEBIN_SHUTDOWN_DELAY"])
    assert int(fall) * (int(interval) + int(check)) < listening
    patience = re.findall(r"timeout (?:client|server) (\d+s)", text)
    assert [seconds(each) > Settings().max_delay for each in patience] == [True, True]


def test_balancer_ends_in_time() -> None:
    """HAProxy waits for pending answers when it stops, and ends before it is killed."""
    [patience] = re.findall(r"hard-stop-after (\d+s)", balancing(Fleet()))
    assert seconds(patience) == Settings().drain_timeout
    assert seconds(compose(Fleet())["services"]["balancer"]["stop_grace_period"]) > seconds(patience)


@pytest.mark.parametrize("fleet", FLEETS, ids=["default", "single", "many", "state"])
def test_balancer_configuration(tmp_path: Path, fleet: Fleet) -> None:
    """HAProxy accepts its configuration, which has two slots for each replica."""
    assert re.findall(r"server-template replica 1-(\d+) latebin:8080", balancing(fleet)) == [str(2 * fleet.replicas)]
    if HAPROXY is None:
        pytest.skip("haproxy is not installed")
    path = tmp_path / "haproxy.cfg"
    path.write_text(balancing(fleet))
    done = subprocess.run([HAPROXY, "-c", "-f", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_balancer_command(tmp_path: Path) -> None:
    """The command writes the configuration unchanged when Compose has unescaped its dollar signs."""
    balancer = compose(Fleet())["services"]["balancer"]
    [shell, option, script] = balancer["command"]
    script = script.replace("$$", "$").replace("/tmp/haproxy.cfg", str(tmp_path / "cfg"))  # noqa: S108  # replaced here
    program = tmp_path / "haproxy"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    environment = balancer["environment"] | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([shell, option, script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == f"-W -db -f {tmp_path / 'cfg'}\n"
    assert (tmp_path / "cfg").read_text() == balancing(Fleet())
    assert "$" not in balancing(Fleet())


def test_least_privilege() -> None:
    """A replica runs as the user of the image, read-only and without privileges."""
    [(user, group)] = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    services = compose(Fleet())["services"]
    assert services["latebin"]["user"] == f"{user}:{group}"
    for service in services.values():
        assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (
            True, ["ALL"], ["no-new-privileges"],
        )  # fmt: skip
    pod = objects(Fleet())["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(group),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    assert container(Fleet())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_kubernetes_sets_no_variable() -> None:
    """Kubernetes does not set LATEBIN_PORT, which is a setting, to a URL."""
    found = objects(Fleet())
    assert f"{found['Service']['metadata']['name']}_port".upper() in {
        option.envvar for option in serve_command.params if isinstance(option, click.Option)
    }
    assert found["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("replicas", [1, 2, 7])
def test_replicas(replicas: int) -> None:
    """The number of replicas is the given one; on Kubernetes only the autoscaler has it."""
    assert compose(Fleet(replicas=replicas))["services"]["latebin"]["deploy"]["replicas"] == replicas
    found = objects(Fleet(replicas=replicas))
    scaling = found["HorizontalPodAutoscaler"]["spec"]
    assert scaling["minReplicas"] == replicas
    assert scaling["maxReplicas"] == 5 * replicas
    assert "replicas" not in found["Deployment"]["spec"]


def test_node_can_be_drained() -> None:
    """One replica at a time may be evicted, even when it is the only one."""
    budget = objects(Fleet(replicas=1))["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_descriptors_for_pending_answers() -> None:
    """A replica and HAProxy have descriptors for all pending answers, and the metric exists."""
    fleet = Fleet()
    assert compose(fleet)["services"]["latebin"]["ulimits"]["nofile"] > fleet.max_pending
    [descriptors] = re.findall(r"fd-hard-limit (\d+)", balancing(fleet))
    assert int(descriptors) > 2 * fleet.replicas * fleet.max_pending
    for platform, variables in VARIABLES.items():
        assert variables["LATEBIN_MAX_PENDING"] == str(fleet.max_pending), platform
    assert "latebin_pending" in {family.name for family in GAUGES}
    assert "latebin_pending" in render("kubernetes", fleet)


@pytest.mark.parametrize(
    "name",
    [
        "latebin",
        "latebin:0.1.0",
        "null",
        "123",
        "1e3",
        "team/de__layed-x.y",
        "localhost:5000/delayed",
        f"Example.org/team/delayed:v1@sha256:{'0f' * 32}",
    ],
)
def test_image(name: str) -> None:
    """The name of an image stays a text when YAML could read another type."""
    assert parse_image(name) == name
    fleet = Fleet(name)
    assert container(fleet)["image"] == name
    assert compose(fleet)["services"]["latebin"]["image"] == name
    assert container(fleet)["imagePullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize(
    "name",
    ["", "Latebin", "late bin", "latebin: x", "latebin\n", 'latebin"', "latebin'", "$image", "latebin:", "-x", "a//b",
     "latebin:" + 129 * "x", "latebin@sha256:0f", "latëbin", "#latebin", "a\\b"],
)  # fmt: skip
def test_wrong_image(name: str) -> None:
    """A text is refused when it is not the name of an image."""
    with pytest.raises(ValueError, match="expected the name of an image"):
        parse_image(name)


def test_no_state() -> None:
    """Nothing of a state is in the manifests when none is asked for."""
    for platform in PLATFORMS:
        assert not re.search("redis:|valkey|LATEBIN_STATE", render(platform, Fleet()))
        assert not re.search(r"state\||memory\|", render(platform, Fleet()) + render(platform, Fleet(state=True)))


@redis.needed
def test_state_of_compose(tmp_path: Path) -> None:
    """The replicas reach the Valkey of the Compose file, which runs, when they start."""
    services = compose(Fleet(state=True))["services"]
    service, state = services["latebin"], services["state"]
    assert parse(service["environment"]["LATEBIN_STATE"]) == StateUrl("state")
    assert service["depends_on"] == {"state": {"condition": "service_healthy"}}
    assert set(state["networks"]) == set(service["networks"])
    program, *options = state["command"]
    assert program == "valkey-server"
    with redis.running(tmp_path, *options) as server:
        assert server.ask("CONFIG", "GET", "maxmemory-policy") == [b"maxmemory-policy", b"noeviction"]
        assert server.ask("CONFIG", "GET", "save") == [b"save", b""]


def test_state_of_kubernetes() -> None:
    """The pods get the URL from a Secret, and reach its port, with a state."""
    fleet = Fleet(state=True)
    [variable] = [each for each in container(fleet)["env"] if each["name"] == "LATEBIN_STATE"]
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "latebin-state", "key": "url"}}
    [egress] = objects(fleet)["NetworkPolicy"]["spec"]["egress"]
    assert [each["port"] for each in egress["ports"]] == [StateUrl("state").port, 53, 53]
