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
from latebin.deploy.manifest import MARGIN, Fleet, parse_image, render
from latebin.server.drain import LAST
from latebin.telemetry.metrics import GAUGES
from latebin.testing.process import serving
from tests.support.haproxy import HAPROXY
from tests.support.manifests import VARIABLES, balancing, compose, container, objects, variables_of
from tests.support.process import ROOT, ports, status

FLEETS = [Fleet(), Fleet(replicas=1), Fleet("example.org:5000/team/delayed:0.1.0", 1000)]

VERSIONS = ("1.30", kubernetes_validate.latest_version())
"""The oldest Kubernetes that the manifests are for, and the newest whose schemas there are."""

KINDS_OF_OBJECTS = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def composed(text: str) -> subprocess.CompletedProcess[str]:
    """Hold a Compose file against the schema of the Compose Specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run(
        [*command, "--default-filetype", "yaml", "-"], input=text, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("fleet", FLEETS, ids=["default", "single", "many"])
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_schema(fleet: Fleet, version: str) -> None:
    """Every object is what Kubernetes' own schema of its kind has, and nothing besides; there is one of each."""
    found = list(yaml.safe_load_all(render("kubernetes", fleet)))
    assert [each["kind"] for each in found] == list(objects(fleet))
    assert set(objects(fleet)) == KINDS_OF_OBJECTS
    for each in found:
        assert version.startswith(kubernetes_validate.validate(each, version, strict=True))


@pytest.mark.parametrize("fleet", FLEETS, ids=["default", "single", "many"])
def test_compose_schema(fleet: Fleet) -> None:
    """The Compose file is what the Compose Specification has."""
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
def test_a_misspelled_field_of_kubernetes(name: str, kind: str) -> None:
    """A field that is misspelled would be refused by the tests above, however deep it is."""
    misspelled = render("kubernetes", Fleet()).replace(f"{name}:", f"{name}s:")
    [found] = [each for each in yaml.safe_load_all(misspelled) if each["kind"] == kind]
    with pytest.raises(kubernetes_validate.ValidationError, match=f"{name}s"):
        kubernetes_validate.validate(found, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", ["read_only", "stop_grace_period", "internal", "memory"])
def test_a_misspelled_field_of_compose(name: str) -> None:
    """So would one of the Compose file."""
    done = composed(render("compose", Fleet()).replace(f"{name}:", f"{name}s:"))
    assert done.returncode == 1
    assert f"{name}s" in done.stdout


def test_selectors() -> None:
    """Whatever selects pods selects those of the Deployment, and the autoscaler has the Deployment."""
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
    """Every port that is named is one of the container's, where the service listens."""
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


def asked() -> set[str]:
    """Collect the paths that the manifests have somebody ask."""
    pod = container(Fleet())
    annotations = objects(Fleet())["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    probed = {pod[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    return probed | {annotations["prometheus.io/path"], *re.findall(r"httpchk GET (\S+)", balancing(Fleet()))}


def test_paths() -> None:
    """Every path that is asked is answered where the administration listens."""
    assert asked() == {"/healthz", "/readyz", "/metrics"}
    [port] = ports(1)
    with serving("--admin-listen", f"tcp:{port}:interface=127.0.0.1"):
        assert {status(port, path) for path in asked()} == {200}


@pytest.mark.parametrize("platform", VARIABLES)
def test_variables(platform: str) -> None:
    """Every variable is one that `latebin serve` has, with a value that it takes and can serve with."""
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
    """Whoever stops a replica waits for all that it does before it ends."""
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


def test_balancer_sees_who_stops() -> None:
    """HAProxy has seen that a replica stops before that refuses anybody, and is as patient as the longest delay."""
    text = balancing(Fleet())
    [(interval, fall)] = re.findall(r"inter (\d+)s fall (\d+) rise 1", text)
    [check] = re.findall(r"timeout check (\d+)s", text)
    listening = seconds(VARIABLES["compose"]["LATEBIN_SHUTDOWN_DELAY"])
    assert int(fall) * (int(interval) + int(check)) < listening
    patience = re.findall(r"timeout (?:client|server) (\d+s)", text)
    assert [seconds(each) > Settings().max_delay for each in patience] == [True, True]


def test_balancer_ends_in_time() -> None:
    """HAProxy, told to stop, waits for the answers as long as the replicas would, and ends before it is killed."""
    [patience] = re.findall(r"hard-stop-after (\d+s)", balancing(Fleet()))
    assert seconds(patience) == Settings().drain_timeout
    assert seconds(compose(Fleet())["services"]["balancer"]["stop_grace_period"]) > seconds(patience)


@pytest.mark.parametrize("fleet", FLEETS, ids=["default", "single", "many"])
def test_balancer_configuration(tmp_path: Path, fleet: Fleet) -> None:
    """HAProxy takes its configuration, and has a slot for every replica, and one for each that takes its place."""
    assert re.findall(r"server-template replica 1-(\d+) latebin:8080", balancing(fleet)) == [str(2 * fleet.replicas)]
    if HAPROXY is None:
        pytest.skip("haproxy is not installed")
    path = tmp_path / "haproxy.cfg"
    path.write_text(balancing(fleet))
    done = subprocess.run([HAPROXY, "-c", "-f", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_balancer_command(tmp_path: Path) -> None:
    """What starts HAProxy writes its configuration down unchanged, whatever Compose reads into a dollar sign."""
    balancer = compose(Fleet())["services"]["balancer"]
    [shell, option, script] = balancer["command"]
    script = script.replace("$$", "$").replace("/tmp/haproxy.cfg", str(tmp_path / "cfg"))  # noqa: S108  # its own
    program = tmp_path / "haproxy"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    environment = balancer["environment"] | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    told = subprocess.run([shell, option, script], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout == f"-W -db -f {tmp_path / 'cfg'}\n"
    assert (tmp_path / "cfg").read_text() == balancing(Fleet())
    assert "$" not in balancing(Fleet())


def test_nothing_to_write_to_and_no_privilege() -> None:
    """A replica runs as the user that the image has, and with no more than it needs, on either platform."""
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
    """Kubernetes does not set LATEBIN_PORT, which is a setting, to the URL of the Service of that name."""
    found = objects(Fleet())
    assert f"{found['Service']['metadata']['name']}_port".upper() in {
        option.envvar for option in serve_command.params if isinstance(option, click.Option)
    }
    assert found["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("replicas", [1, 2, 7])
def test_replicas(replicas: int) -> None:
    """There are as many replicas as were asked for; on Kubernetes the autoscaler alone says how many."""
    assert compose(Fleet(replicas=replicas))["services"]["latebin"]["deploy"]["replicas"] == replicas
    found = objects(Fleet(replicas=replicas))
    scaling = found["HorizontalPodAutoscaler"]["spec"]
    assert scaling["minReplicas"] == replicas
    assert scaling["maxReplicas"] == 5 * replicas
    assert "replicas" not in found["Deployment"]["spec"]


def test_a_node_can_be_drained() -> None:
    """One replica at a time may be taken away, even where it is the only one."""
    budget = objects(Fleet(replicas=1))["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_what_is_pending_has_room() -> None:
    """There is a descriptor for whatever may be pending, in a replica and in HAProxy; and the metric has its name."""
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
    """The name of an image is the text that it is, even where YAML would take it for something else."""
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
def test_no_image(name: str) -> None:
    """What is no name of an image does not get into YAML."""
    with pytest.raises(ValueError, match="expected the name of an image"):
        parse_image(name)
