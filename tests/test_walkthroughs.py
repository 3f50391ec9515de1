"""The walk-throughs beside Flux and Argo CD are walked: files make a config repo, their steps are taken.

Every YAML and TOML block of docs/beside-*.md names its file in its first line. What a step shows to type is
typed, line by line, but for what asks a cluster. Only addresses and secrets are ours.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate
import pytest
from parts.claiming import locate_field
from parts.gitserver import ENVIRONMENT, git
from parts.kubeapi import KubeApi
from parts.world import World, real_world
from ruamel.yaml import YAML

from automator.core.policy import parse_policies
from automator.core.site import locate

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:yaml|toml))\n")
GHCR = "ghcr.io"
ASK_A_CLUSTER = ("kubectl ", "argocd ")
"""Programs whose lines are left out here: they need what no machine of these tests has."""
FLUX_FIELDS = {"interval", "sourceRef"}
SHAPES: Mapping[str, tuple[str, set[str]]] = {
    "Application": ("argoproj.io/v1alpha1", {"project", "source", "destination"}),
    "HelmRelease": ("helm.toolkit.fluxcd.io/v2", {"interval", "chartRef"}),
    "ImagePolicy": ("image.toolkit.fluxcd.io/v1", {"imageRepositoryRef", "policy"}),
    "ImageRepository": ("image.toolkit.fluxcd.io/v1", {"image", "interval"}),
    "ImageUpdater": ("argocd-image-updater.argoproj.io/v1alpha1", {"applicationRefs"}),
    "ImageUpdateAutomation": ("image.toolkit.fluxcd.io/v1", FLUX_FIELDS | {"git", "update"}),
    "OCIRepository": ("source.toolkit.fluxcd.io/v1", {"interval", "url"}),
    "Receiver": ("notification.toolkit.fluxcd.io/v1", {"type", "resources", "secretRef"}),
}
"""What a custom resource cannot be without: the API version, and keys of its `spec`."""


class Page(NamedTuple):
    """One walk-through."""

    name: str
    text: str

    def blocks(self, kind: str) -> list[str]:
        return [text for found, text in FENCE.findall(self.text) if found == kind]

    def files(self, kind: str) -> list[tuple[str, str]]:
        """Path and content of each block that is a file, in the order of the page."""
        found = []
        for text in self.blocks(kind):
            named = NAMED.match(text)
            assert named, f"a block of {self.name} names no file: {text[:60]!r}"
            found.append((named[1], text[named.end() :]))
        return found

    def manifests(self) -> dict[str, str]:
        return {path: text for path, text in self.files("yaml") if not path.startswith("policies/")}

    def policies(self) -> list[str]:
        """The policy file at first, and the one at last where there is another."""
        return [text for path, text in self.files("yaml") if path.startswith("policies/")]

    def step(self, number: int) -> list[tuple[str, str]]:
        """Kind and text of the blocks of a numbered step, in their order."""
        (section,) = re.findall(rf"^## {number}\. .*\n((?:(?!## ).*\n)*)", self.text, re.MULTILINE)
        return FENCE.findall(section)


FLUX = Page("flux", (DOCS / "beside-flux.md").read_text())
ARGO = Page("argocd", (DOCS / "beside-argocd.md").read_text())
PAGES = pytest.mark.parametrize("page", [FLUX, ARGO], ids=lambda page: page.name)


def documents(text: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe", pure=True).load_all(text))


# -- the files ---------------------------------------------------------------------------------------------


@PAGES
def test_every_object_of_the_page_is_one_that_its_api_knows(page: Page) -> None:
    seen = set()
    for path, text in page.manifests().items():
        for one in documents(text):
            if path.endswith("values.yaml"):
                continue
            kind, version = one["kind"], one["apiVersion"]
            seen.add(kind)
            if version.startswith("kustomize.config.k8s.io/"):
                assert (kind, version) == ("Kustomization", "kustomize.config.k8s.io/v1beta1")
            elif version.startswith("kustomize.toolkit.fluxcd.io/"):
                assert version == "kustomize.toolkit.fluxcd.io/v1"
                assert {*FLUX_FIELDS, "path", "prune"} <= one["spec"].keys()
            elif kind in SHAPES:
                assert version == SHAPES[kind][0]
                assert SHAPES[kind][1] <= one["spec"].keys()
            else:
                kubernetes_validate.validate(one, "1.31", strict=True)
            assert kind == "Kustomization" or one["metadata"]["name"]
    assert "Deployment" in seen


@PAGES
def test_what_is_applied_are_folders_of_the_page_without_policies(page: Page) -> None:
    files = page.manifests()
    paths = {
        one["spec"].get("path") or one["spec"].get("source", {}).get("path")
        for text in files.values()
        for one in documents(text)
        if one.get("apiVersion", "").startswith(("kustomize.toolkit", "argoproj.io"))
    }
    assert paths
    for path in paths:
        folder = path.removeprefix("./")
        assert any(file.startswith(folder + "/") for file in files), f"nothing is in {path}"
        assert not "policies".startswith(folder)


def test_the_traps_beside_flux_are_as_the_page_says() -> None:
    image = "'ghcr.io/acme/web:${web_tag}'"
    manifest = f"kind: Pod\nspec: {{containers: [{{name: app, image: {image}}}]}}\n"
    (site,) = locate(manifest, "apps/web.yaml").sites
    assert site.held is not None
    assert "${web_tag}" in FLUX.text
    values = "kind: Kustomization\nspec: {postBuild: {substitute: {web_tag: 1.4.2}}}\n"
    (site,) = locate_field(values, "clusters/apps.yaml", "spec.postBuild.substitute.web_tag")
    assert (site.tag, site.held) == ("1.4.2", None)
    own = "kind: Kustomization\nspec: {images: [{name: ghcr.io/acme/web, newTag: 1.4.2}]}\n"
    own = f"apiVersion: kustomize.toolkit.fluxcd.io/v1\n{own}"
    (site,) = locate(own, "clusters/apps.yaml").sites
    assert (str(site.repository), site.tag) == ("ghcr.io/acme/web", "1.4.2")


def test_the_traps_beside_argocd_are_as_the_page_says() -> None:
    head = "apiVersion: argoproj.io/v1alpha1\nkind: Application\n"
    alone = head + "spec: {source: {helm: {parameters: [{name: image.tag, value: 2.0.0}]}}}\n"
    assert locate(alone, "applications/cart.yaml").sites == ()
    field = "spec.source.helm.parameters[image.tag].value"
    (site,) = locate_field(alone, "applications/cart.yaml", field)
    assert (site.tag, site.held) == ("2.0.0", None)
    generated = "kind: ApplicationSet\nspec: {generators: [{list: {elements: [{tag: 2.0.0}]}}]}\n"
    (site,) = locate_field(generated, "set.yaml", "spec.generators[0].list.elements[0].tag")
    assert (site.tag, site.held) == ("2.0.0", None)


# -- the walk ----------------------------------------------------------------------------------------------


class Walk:
    """The config repo of a page in a world of its own, and a person's checkout of it."""

    def __init__(self, page: Page, world: World, cluster: KubeApi) -> None:
        self.page = page
        self.world = world
        self.cluster = cluster
        world.repo.commit({path: self.here(text) for path, text in page.manifests().items()}, "The shop")
        self.checkout = world.root / "checkout"
        git(world.root, "clone", "--quiet", str(world.repo.path), str(self.checkout))

    def here(self, text: str) -> str:
        """A text of the page with the registry that is here."""
        return text.replace(GHCR, self.world.host)

    def configure(self, *, observe: bool) -> None:
        """The config of the page; without `observe` as step 4 leaves it."""
        ((_, text),) = self.page.files("toml")
        (url,) = re.findall(r'^url = "(.*)"$', text, re.M)
        text = text.replace(url, str(self.world.repo.path))
        text = self.here(re.sub(r"^credentials = .*\n", "", text, flags=re.M))
        text = text.replace(
            f'[registries."{self.world.host}"]\n', f'[registries."{self.world.host}"]\ninsecure = true\n'
        )
        (kubeconfig,) = re.findall(r'^kubeconfig = "(.*?)"', text, re.M)
        text = text.replace(kubeconfig, str(self.cluster.kubeconfig()))
        if not observe:
            text, count = re.subn(r'^mode = "observe".*\n', "", text, flags=re.M)
            assert count == 1
        self.world.config.write_text(f'state = "state"\n{text}')

    def type(self, line: str) -> str:
        """Run a line of the page in the checkout; what it prints."""
        if line.startswith("automator "):
            words = shlex.split(self.here(line), comments=True)[1:]
            return self.world.run(*words, cwd=self.checkout).fine().out
        done = subprocess.run(
            ["bash", "-e", "-c", self.here(line)],
            cwd=self.checkout, env={**os.environ, **ENVIRONMENT}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def take(self, number: int) -> str:
        """Do what a step shows: type its commands, write its files; what the commands print."""
        said = []
        for kind, text in self.page.step(number):
            if kind == "yaml" and (named := NAMED.match(text)):
                file = self.checkout / named[1]
                file.parent.mkdir(exist_ok=True)  # git rm takes an empty folder with it
                file.write_text(self.here(text[named.end() :]))
            elif kind == "sh":
                lines = re.sub(r"\\\n *", " ", text).splitlines()
                said += [self.type(line) for line in lines if line and not line.startswith(ASK_A_CLUSTER)]
        return "".join(said)

    def push(self, message: str) -> None:
        git(self.checkout, "add", "--all")
        git(self.checkout, "commit", "--quiet", "--message", message)
        git(self.checkout, "push", "--quiet", "origin", "HEAD:main")

    def pull(self) -> None:
        git(self.checkout, "pull", "--quiet", "--ff-only", "origin", "main")

    def apply(self, diff: str) -> None:
        git(self.checkout, "apply", "--recount", "-", feed=diff.encode())

    def read(self, path: str) -> str:
        return self.world.repo.read(path)


@pytest.fixture
def walk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Walk]:
    with real_world(tmp_path) as world, KubeApi(tmp_path) as cluster:
        world.push("web", "1.4.2", "1.4.3", "2.0.0")
        yield Walk(request.param, world, cluster)


def imported(walk: Walk) -> str:
    """Step 1: the page shows the policies that come out; what the commands print."""
    said = ""
    for kind, text in walk.page.step(1):
        if kind == "sh":
            said += "".join(map(walk.type, text.splitlines()))
    (written,) = (walk.checkout / "policies").iterdir()
    first = walk.page.files("yaml")
    (named,) = {path for path, text in first if text == walk.page.policies()[0]}
    assert f"policies/{written.name}" == named
    assert documents(written.read_text()) == documents(walk.here(walk.page.policies()[0]))
    return said


def watched(walk: Walk, changed: str) -> None:
    """Step 2: `plan` shows the lines of the page, and nothing is pushed."""
    walk.configure(observe=True)
    tip = walk.world.repo.tip()
    planned = walk.world.run("plan").fine().out
    (shown,) = [text for text in walk.page.blocks("diff") if "@@" not in text]
    for line in walk.here(shown).splitlines():
        assert line in planned.splitlines()
    assert changed in shown
    walk.world.run("once").fine()
    assert walk.world.repo.tip() == tip


def released(walk: Walk) -> None:
    """Step 4: one commit for each workload, with the subject that the page shows."""
    walk.configure(observe=False)
    walk.world.run("once").fine()
    (subject,) = walk.page.blocks("text")
    assert subject.strip() in walk.world.repo.log()


def turned_back(walk: Walk, path: str, older: str) -> None:
    """The revert of a release stays, and the version of the cluster is known to be another one."""
    walk.pull()
    commit = git(walk.checkout, "log", "--format=%h", "--grep", "^Release web 1.4.3$", "-1")
    git(walk.checkout, "revert", "--no-edit", commit)
    git(walk.checkout, "push", "--quiet", "origin", "HEAD:main")
    tip = walk.world.repo.tip()
    assert "web" in walk.world.run("once").fine().out
    assert walk.world.repo.tip() == tip
    assert older in walk.read(path)


def looked(walk: Walk, web: str, cart: tuple[str, str]) -> None:
    """The config of the page sees what runs, of both applications; `cart` is its namespace and version."""
    walk.cluster.deploy("shop", "web", walk.world.image("web", web))
    walk.cluster.deploy(cart[0], "cart", walk.world.image("cart", cart[1]))
    seen = walk.world.run("drift", "--output", "json").fine().json["items"]
    assert {item["workload"]: item["state"] for item in seen} == {"web": "same", "cart": "same"}


@pytest.mark.needs("docker-registry")
@pytest.mark.parametrize("walk", [FLUX], indirect=True, ids=["flux"])
def test_beside_flux(walk: Walk) -> None:
    newer = "main-5c2d3e4-1700000900"
    walk.world.push("cart", "main-4b1c2d3-1700000000", newer)
    walk.world.push("charts/cart", "2.3.0", "2.4.0", "3.0.0")
    imported(walk)
    warned = walk.world.run("check", ".", cwd=walk.checkout).fine()
    assert (warned.out + warned.err).count("[marker/shared]") == 2
    walk.push("Policies of automator")
    watched(walk, "web:1.4.3")

    (suspended,) = [text for text in walk.page.blocks("diff") if "@@" in text]
    walk.apply(suspended)
    (automation,) = [
        one
        for one in documents((walk.checkout / "clusters/production/images.yaml").read_text())
        if one["kind"] == "ImageUpdateAutomation"
    ]
    assert automation["spec"]["suspend"] is True
    walk.push("Suspend the automation")

    released(walk)
    assert "web:1.4.3 # {" in walk.read("apps/shop/web.yaml")
    assert f"tag: {newer} # {{" in walk.read("apps/cart/release.yaml")
    turned_back(walk, "apps/shop/web.yaml", "web:1.4.2 # {")
    looked(walk, "1.4.2", ("cart", newer))

    # Step 5: without the objects, the comments and the markers.
    assert "3 workloads, 3 sites: 0 errors, 0 warnings" in walk.take(5)
    assert git(walk.checkout, "status", "--porcelain") == ""
    assert "imagepolicy" not in walk.read("apps/shop/web.yaml") + walk.read("apps/cart/release.yaml")
    walk.world.run("once").fine()
    assert "ref: {tag: 2.4.0}" in walk.read("apps/cart/release.yaml")
    assert walk.read("apps/shop/web.yaml").endswith("web:1.4.2"), "what was turned away stays away"


@pytest.mark.needs("docker-registry")
@pytest.mark.parametrize("walk", [ARGO], indirect=True, ids=["argocd"])
def test_beside_argocd(walk: Walk) -> None:
    walk.world.push("cart", "2.0.0", "2.1.0", "2.2.0", "3.0.0")
    assert "Delete ImageUpdater shop" in imported(walk)
    assert "tag: 2.1.0" in (walk.checkout / "charts/cart/values.yaml").read_text(), (
        "what runs is written down"
    )
    walk.push("Policies of automator, and what runs")
    watched(walk, "newTag: 1.4.3")

    # Step 3: without objects and annotations the policies are what counts.
    walk.take(3)
    for path in ("applications/web.yaml", "applications/cart.yaml"):
        (application,) = documents(walk.read(path))
        assert application["metadata"].keys() == {"name", "namespace"}
    assert "0 warnings" in walk.type("automator check .")

    released(walk)
    assert "newTag: 1.4.3" in walk.read("apps/web/kustomization.yaml")
    assert "tag: 2.2.0" in walk.read("charts/cart/values.yaml")
    turned_back(walk, "apps/web/kustomization.yaml", "newTag: 1.4.2")
    looked(walk, "1.4.2", ("shop", "2.2.0"))


@PAGES
def test_the_policies_of_the_page_have_no_problem(page: Page) -> None:
    for text in page.policies():
        found = parse_policies({"policies/shop.yaml": text})
        assert found.problems == found.warnings == ()
