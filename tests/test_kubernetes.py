"""deploy/kubernetes: what it asks a cluster for, and what it may do there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from parts.kustomizing import Manifest, documents, kustomize_program, render
from ruamel.yaml import YAML

from automator import __version__
from automator.config import load
from automator.edges.kubernetes import cluster

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy/kubernetes"
BUILT = [path.parent for path in sorted(FOLDER.rglob("kustomization.yaml")) if "components" not in path.parts]
OLDEST, NEWEST = "1.27", "1.37"
"""Versions of Kubernetes whose schemas the manifests are held against."""
WRITTEN = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != "kustomization.yaml"]


def manifest(kind: str, name: str, folder: str = "example") -> Manifest:
    (found,) = (
        m for m in render(FOLDER / folder) if m["kind"] == kind and m["metadata"]["name"].endswith(name)
    )
    return found


def rules() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in WRITTEN:
        for document in documents(path):
            if isinstance(document, dict) and document["kind"] in ("Role", "ClusterRole"):
                for rule in document["rules"]:
                    yield path, rule


@pytest.mark.parametrize("folder", BUILT, ids=lambda p: p.name)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_cluster_without_any_operator_would_take_every_manifest(folder: Path, version: str) -> None:
    found = render(folder)
    assert found
    for one in found:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("folder", BUILT, ids=lambda p: p.name)
def test_kustomize_makes_the_same_of_it(folder: Path) -> None:
    """The renderer of these tests is held against the real one, where there is one."""
    done = subprocess.run([*kustomize_program(), str(folder)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    reader = YAML(typ="safe", pure=True)
    reader.version = (1, 1)
    theirs = [one for one in reader.load_all(done.stdout.decode()) if one is not None]

    def ordered(manifests: list[Manifest]) -> list[str]:
        return sorted(json.dumps(one, sort_keys=True) for one in manifests)

    assert ordered(render(folder)) == ordered(theirs)


def test_it_may_only_read_what_drift_asks_for() -> None:
    asked = {(group, plural) for group, _, plural in cluster.BUILT_IN} | {("", "pods")} | set(cluster.FLUX)
    asked |= {(cluster.ARGO, "applications"), (cluster.ARGO, "rollouts")}
    for folder in ("components", "watched-namespace"):
        given = set()
        for path, rule in rules():
            assert rule.keys() == {"apiGroups", "resources", "verbs"}, path
            assert rule["verbs"] == ["get", "list", "watch"], path
            if folder in path.parts:
                given |= {(group, name) for group in rule["apiGroups"] for name in rule["resources"]}
        assert given == asked, folder


def test_every_role_is_bound_to_the_service_account_of_the_pod_and_to_no_other() -> None:
    pod = manifest("Deployment", "automator")["spec"]["template"]["spec"]
    bound = [
        d for p in WRITTEN for d in documents(p) if isinstance(d, dict) and d["kind"].endswith("Binding")
    ]
    assert len(bound) == 3
    for binding in bound:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": "automator"}
        ]


@pytest.mark.parametrize(("folder", "mounted"), [("base", False), ("example", True)])
def test_the_token_of_the_api_is_there_only_for_drift(folder: str, mounted: bool) -> None:
    pod = manifest("Deployment", "automator", folder)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is mounted
    assert any(m["kind"].endswith("Role") for m in render(FOLDER / folder)) is mounted


def test_the_pod_is_one_that_the_restricted_standard_admits() -> None:
    """Pod Security Standards, restricted; and what it may write is its state and /tmp."""
    assert "restricted" in manifest("Namespace", "automator")["metadata"]["labels"].values()
    deployment = manifest("Deployment", "automator")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/var/lib/automator", "/tmp"}
    assert not any("subPath" in m for m in container["volumeMounts"]), "no change would arrive"
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in container["volumeMounts"]}


@pytest.mark.parametrize("folder", ["base", "example"])
def test_its_config_is_one_that_automator_takes(folder: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(manifest("ConfigMap", "automator", folder)["data"]["config.toml"])
    # As the image sets them.
    config = load(file, {"AUTOMATOR_STATE": "/var/lib/automator", "AUTOMATOR_DAEMON__LISTEN": ":8080"})
    deployment = manifest("Deployment", "automator", folder)["spec"]["template"]["spec"]
    (container,) = deployment["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert config.daemon.listen_address is not None
    assert config.hooks_address is not None
    assert ports == {"admin": config.daemon.listen_address.port, "hooks": config.hooks_address.port}
    assert deployment["terminationGracePeriodSeconds"] > config.daemon.stop_timeout.total_seconds()
    mounts = {m["mountPath"] for m in container["volumeMounts"]}
    secrets = re.findall(r'_file = "([^"]+)"', file.read_text())
    assert str(config.state) in mounts
    assert secrets
    assert {path.rpartition("/")[0] for path in secrets} <= mounts


def test_services_and_policies_lead_to_ports_and_labels_that_there_are() -> None:
    template = manifest("Deployment", "automator")["spec"]["template"]
    labels = template["metadata"]["labels"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name in ("hooks", "admin"):
        spec = manifest("Service", f"-{name}")["spec"]
        assert spec["selector"].items() <= labels.items()
        assert [port["targetPort"] for port in spec["ports"]] == [name]
        assert "type" not in spec, "nothing of it is reached from outside of the cluster"
        # One config repo whose first cycle waits must not keep the events of the others out.
        assert spec["publishNotReadyAddresses"] is True
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] == "admin"
    policy = manifest("NetworkPolicy", "automator")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    let_in = {rule["ports"][0]["port"]: "from" in rule for rule in policy["ingress"]}
    assert let_in == {ports["hooks"]: False, ports["admin"]: True}
    let_out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    assert let_out == {53, 443, 22, 6443}
    (monitor,) = documents(FOLDER / "components/pod-monitor/pod-monitor.yaml")
    assert monitor["metadata"]["namespace"] == "automator"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert {e["port"] for e in monitor["spec"]["podMetricsEndpoints"]} == {"admin"}


def test_the_guide_makes_the_secrets_that_the_configs_name_and_says_who_is_asked_for_a_token() -> None:
    guide = (ROOT / "docs/install.md").read_text()
    made = set(re.findall(r"--from-file=([\w-]+)", guide))
    named = {}
    for folder in ("base", "example"):
        text = manifest("ConfigMap", "automator", folder)["data"]["config.toml"]
        named[folder] = set(re.findall(r'_file = "/run/secrets/automator/([\w-]+)"', text))
        assert re.search(r'^token_file = "/run/secrets/automator/api-token"$', text, re.M), folder
    assert made == named["example"]
    (forwarding,) = re.findall(r"port-forward deploy/automator (\d+) +# (.*)", guide)
    assert forwarding[0] == "8080"
    assert "asks for what is in api-token" in forwarding[1]
    services = (FOLDER / "base/services.yaml").read_text()
    for text in (guide, services):
        assert re.search(r"without a token|needs none", text) is None


@pytest.mark.parametrize("component", ["cloud-login", "dns"])
def test_a_component_opens_ways_for_the_pod_beside_those_of_the_base(component: str) -> None:
    folder = FOLDER / "components" / component
    base = manifest("NetworkPolicy", "automator")
    (told,) = documents(folder / "kustomization.yaml")
    (policy,) = [one for name in told["resources"] for one in documents(folder / name)]
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(policy, version, strict=True)
    assert policy["spec"]["podSelector"] == base["spec"]["podSelector"]
    assert policy["metadata"]["namespace"] == base["metadata"]["namespace"]
    assert policy["metadata"]["name"] != base["metadata"]["name"]
    assert policy["spec"]["policyTypes"] == ["Egress"]
    assert all(rule["to"] for rule in policy["spec"]["egress"]), "to somewhere, not to everywhere"


@pytest.mark.parametrize("folder", ["base", "example"])
def test_the_image_is_this_version(folder: str) -> None:
    (container,) = manifest("Deployment", "automator", folder)["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"/automator:{__version__}")
