"""What `kustomize build` makes of the folders in deploy/kubernetes, for machines that have none.

Of kustomize's features those that these folders use, anything else is refused: resources, components,
namespace, images, a config map from files, patches in JSON (RFC 6902: replace). Where there is a `kubectl`
with a kustomize of version 5, tests/test_kubernetes.py compares what the two say.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

KNOWN = {
    *(
        "apiVersion",
        "kind",
        "namespace",
        "resources",
        "components",
        "configMapGenerator",
        "images",
        "patches",
    ),
}
WITHOUT_NAMESPACE = {"Namespace", "ClusterRole", "ClusterRoleBinding"}

Manifest = dict[str, Any]


def kustomize_program() -> tuple[str, ...]:
    """What builds a folder: kubectl's kustomize of version 5. Skips the test where there is none."""
    kubectl = shutil.which("kubectl")
    told = {}
    if kubectl is not None:
        asked = [kubectl, "version", "--client", "-o", "json"]
        told = json.loads(subprocess.run(asked, capture_output=True, check=False).stdout or "{}")
    if kubectl is None or not str(told.get("kustomizeVersion", "")).startswith("v5"):
        pytest.skip("no kubectl with a kustomize of version 5 here")
    return kubectl, "kustomize"


def documents(file: Path) -> list[Manifest]:
    """The manifests of a file, read as Kubernetes does, which still speaks YAML 1.1."""
    reader = YAML(typ="safe", pure=True)
    reader.version = (1, 1)
    return [document for document in reader.load_all(file.read_text()) if document is not None]


def render(folder: Path) -> list[Manifest]:
    """The manifests of a folder with a kustomization.yaml."""
    return _render(folder, [])


def _render(folder: Path, found: list[Manifest]) -> list[Manifest]:
    (told,) = documents(folder / "kustomization.yaml")
    assert told.keys() <= KNOWN, (
        f"{folder} uses more of kustomize than this renderer knows: {told.keys() - KNOWN}"
    )
    # A component is laid over what there is; everything else begins with nothing.
    for name in told.get("resources", ()):
        path = folder / name
        found += _render(path, []) if path.is_dir() else documents(path)
    for generator in told.get("configMapGenerator", ()):
        _config_map(folder, generator, found)
    for name in told.get("components", ()):
        found = _render(folder / name, found)
    for patch in told.get("patches", ()):
        _patch(documents_of_patch(folder / patch["path"]), patch["target"], found)
    if "namespace" in told:
        for manifest in found:
            if manifest["kind"] not in WITHOUT_NAMESPACE:
                manifest["metadata"]["namespace"] = told["namespace"]
    for image in told.get("images", ()):
        _image(image, found)
    return found


def documents_of_patch(file: Path) -> list[dict[str, Any]]:
    (operations,) = documents(file)
    assert isinstance(operations, list)
    return operations


def _config_map(folder: Path, generator: dict[str, Any], found: list[Manifest]) -> None:
    data = {Path(name).name: (folder / name).read_text() for name in generator["files"]}
    if generator.get("behavior") == "replace":
        (known,) = (
            m for m in found if m["kind"] == "ConfigMap" and m["metadata"]["name"] == generator["name"]
        )
        known["data"] = data
        return
    assert generator["options"]["disableNameSuffixHash"] is True
    metadata = {"name": generator["name"], "labels": generator["options"]["labels"]}
    found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _patch(operations: list[dict[str, Any]], target: dict[str, str], found: list[Manifest]) -> None:
    (manifest,) = (
        m for m in found if m["kind"] == target["kind"] and m["metadata"]["name"] == target["name"]
    )
    for operation in operations:
        assert operation["op"] == "replace"
        *way, last = operation["path"].lstrip("/").split("/")
        place = manifest
        for key in way:
            place = place[key]
        assert last in place
        place[last] = operation["value"]


def _image(image: dict[str, str], found: list[Manifest]) -> None:
    for manifest in found:
        template = manifest.get("spec", {}).get("template", {})
        for container in template.get("spec", {}).get("containers", ()):
            if container["image"].rpartition(":")[0] in ("", image["name"]) and container["image"].startswith(
                image["name"]
            ):
                container["image"] = f"{image['newName']}:{image['newTag']}"
