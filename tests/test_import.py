"""`automator import` as its users run it: a checkout of another config repo, and policies that work."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from parts import launching
from parts.gitserver import git
from parts.world import Completed

WEB = "ghcr.io/acme/web"

FLUX2 = f"""\
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: web, namespace: flux-system}}
spec: {{image: {WEB}, interval: 5m, secretRef: {{name: ghcr}}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {{name: web, namespace: flux-system}}
spec: {{imageRepositoryRef: {{name: web}}, policy: {{semver: {{range: ">=1.4 <2"}}}}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {{name: all, namespace: flux-system}}
spec:
  interval: 30m
  sourceRef: {{kind: GitRepository, name: config}}
  update: {{path: ./apps, strategy: Setters}}
"""
MARKED = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  template:
    spec:
      containers:
        - name: app
          image: {WEB}:1.4.2 # {{"$imagepolicy": "flux-system:web"}}
"""
ANNOTATED = """\
apiVersion: helm.fluxcd.io/v1
kind: HelmRelease
metadata:
  name: web
  namespace: shop
  annotations: {fluxcd.io/automated: "true", filter.fluxcd.io/chart-image: "semver:~1.4"}
spec:
  values:
    image: {repository: ghcr.io/acme/web, tag: 1.4.2}
"""
ARGOCD = f"""\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: web
  namespace: argocd
  annotations:
    argocd-image-updater.argoproj.io/image-list: web={WEB}:~1.4
    argocd-image-updater.argoproj.io/web.update-strategy: semver
spec:
  source: {{repoURL: https://git.example.com/acme/config.git, path: apps, targetRevision: main}}
"""
KEEL = f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations: {{keel.sh/policy: minor}}
spec:
  template:
    spec:
      containers:
        - name: app
          image: {WEB}:1.4.2
"""


class Checkout:
    """A checkout of a config repo, and the program run beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def run(self, *arguments: str) -> Completed:
        env = {"PATH": "/nowhere", "LC_ALL": "C.UTF-8", "HOME": str(self.root)}
        return Completed.of(launching.execute(arguments, cwd=self.root, env=env))

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run("import", *arguments, "--output", "json").fine().out)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    git(tmp_path, "init", "--quiet")
    made = Checkout(tmp_path)
    made.write({"flux/web.yaml": FLUX2, "apps/web.yaml": MARKED})
    return made


def test_an_import_writes_policies_and_tells_what_is_left(checkout: Checkout) -> None:
    done = checkout.run("import", "flux2", ".").fine()
    assert "wrote policies/flux-system.yaml: 1 workload\n" in done.out
    assert (
        "flux/web.yaml:1 ImageRepository flux-system/web: pull secrets: give the daemon the same" in done.out
    )
    assert "switch off in Flux v2:\n  1. Suspend every ImageUpdateAutomation" in done.out
    assert done.out.endswith("next: read the policies, then run `automator check .`\n")
    assert checkout.read("policies/flux-system.yaml") == (
        "# Imported from Flux v2. Read what differs, and run `automator check`.\n"
        "version: 1\n"
        "workloads:\n"
        "  # From flux/web.yaml:6 ImagePolicy flux-system/web.\n"
        "  web:\n"
        f"    image: {WEB}\n"
        '    where: {marker: "flux-system:web", paths: ["apps/**"]}\n'
        '    semver: ">=1.4 <2"\n'
    )


@pytest.mark.parametrize(
    ("tool", "files"),
    [
        ("flux2", {"flux/web.yaml": FLUX2, "apps/web.yaml": MARKED}),
        ("flux1", {"apps/web.yaml": ANNOTATED}),
        ("argocd", {"argocd/web.yaml": ARGOCD, "apps/web.yaml": MARKED.partition(" # {")[0] + "\n"}),
        ("keel", {"apps/web.yaml": KEEL}),
    ],
)
def test_what_is_imported_owns_the_image_and_passes_check(
    checkout: Checkout, tool: str, files: Mapping[str, str]
) -> None:
    (checkout.root / "flux/web.yaml").unlink()
    (checkout.root / "apps/web.yaml").unlink()
    checkout.write(files)
    checkout.run("import", tool, ".").fine()
    judged = json.loads(checkout.run("check", ".", "--coverage", "--output", "json").fine().out)
    assert (judged["workloads"], judged["sites"]) == (1, 1)
    assert [one for one in judged["findings"] if one["level"] == "error"] == []
    assert {one["reason"]["code"] for one in judged["findings"]} & {"site/none", "lint/unowned"} == set()


def test_a_dry_run_shows_the_policies_and_writes_nothing(checkout: Checkout) -> None:
    done = checkout.run("import", "flux2", ".", "--dry-run").fine()
    assert "would write policies/flux-system.yaml: 1 workload\n" in done.out
    assert 'semver: ">=1.4 <2"' in done.out
    assert not (checkout.root / "policies").exists()


def test_a_policy_file_that_exists_is_not_overwritten_without_force(checkout: Checkout) -> None:
    checkout.write({"policies/flux-system.yaml": "mine"})
    done = checkout.run("import", "flux2", ".")
    assert (done.code, done.out) == (2, "")
    assert "policies/flux-system.yaml exists, and nothing was written" in done.err
    assert checkout.read("policies/flux-system.yaml") == "mine"
    checkout.run("import", "flux2", ".", "--force").fine()
    assert "web:" in checkout.read("policies/flux-system.yaml")


def test_one_file_that_exists_keeps_the_others_from_being_written(checkout: Checkout) -> None:
    checkout.write(
        {"flux/api.yaml": FLUX2.replace("flux-system", "api"), "policies/flux-system.yaml": "mine"}
    )
    assert checkout.run("import", "flux2", ".").code == 2
    assert os.listdir(checkout.root / "policies") == ["flux-system.yaml"]


def test_a_link_is_never_written_through(checkout: Checkout) -> None:
    (checkout.root / "policies").mkdir()
    (checkout.root / "policies/flux-system.yaml").symlink_to(checkout.root / "elsewhere")
    assert checkout.run("import", "flux2", ".", "--force").code == 2
    assert not (checkout.root / "elsewhere").exists()


def test_a_name_that_another_policy_has_is_not_used_again(checkout: Checkout) -> None:
    checkout.write({"policies/mine.yaml": "version: 1\nworkloads:\n  web: {image: nginx, semver: 1.x}\n"})
    (file,) = checkout.json("flux2", ".")["files"]
    assert file["workloads"] == ["web-2"]
    assert checkout.run("check", ".").code == 0


def test_a_folder_of_the_checkout_still_names_files_from_its_top(checkout: Checkout) -> None:
    checkout.write({"apps/a/web.yaml": ANNOTATED, "apps/b/web.yaml": ANNOTATED})
    got = checkout.json("flux1", "apps")
    assert [file["file"] for file in got["files"]] == ["policies/shop.yaml"]
    assert "/apps/a/web.yaml" in checkout.read("policies/shop.yaml")


def test_one_file_and_another_folder_to_write_to(checkout: Checkout) -> None:
    got = checkout.json("flux2", "flux/web.yaml", "--to", "drafts/new")
    assert [file["file"] for file in got["files"]] == ["drafts/new/flux-system.yaml"]
    assert checkout.read("drafts/new/flux-system.yaml") == got["files"][0]["text"]
    assert got["written"] is True
    assert got["left"][0] == {
        "file": "flux/web.yaml",
        "line": 6,
        "kind": "ImagePolicy",
        "namespace": "flux-system",
        "name": "web",
        "sentence": got["left"][0]["sentence"],
    }


def test_nothing_to_import_is_told(checkout: Checkout) -> None:
    done = checkout.run("import", "keel", ".")
    assert done.code == 1
    assert "nothing of Keel was found in ." in done.err
    told = checkout.run("import", "keel", ".", "--output", "json")
    assert (told.code, json.loads(told.out)["reason"]["code"]) == (1, "import/nothing")
    assert not (checkout.root / "policies").exists()


@pytest.mark.parametrize("arguments", [("flux2", "nowhere"), ("flux3", "."), ("flux2",)])
def test_wrong_usage(checkout: Checkout, arguments: tuple[str, ...]) -> None:
    done = checkout.run("import", *arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_files_that_are_no_text_cost_only_themselves(checkout: Checkout) -> None:
    (checkout.root / "flux/binary.yaml").write_bytes(b"\xff\xfe")
    (checkout.root / "flux/broken.yaml").write_text("# image.toolkit.fluxcd.io/v1\nkind: [\n")
    done = checkout.run("import", "flux2", ".").fine()
    assert "warning: " in done.err
    assert "binary.yaml" in done.err
    assert "flux/broken.yaml:" in done.out


def test_a_folder_that_cannot_be_written_is_told(checkout: Checkout) -> None:
    (checkout.root / "policies").write_text("a file")
    done = checkout.run("import", "flux2", ".")
    assert done.code == 2
    assert "cannot be written" in done.err
