"""Where Kustomizations put what other files hold: the namespaces that `kustomize build` gives them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from parts.kustomizing import kustomize_program
from ruamel.yaml import YAML

from automator.core.homes import Homes
from automator.core.overlays import kustomization
from automator.core.running import Sync
from automator.core.site import Site, locate
from automator.core.synced import Source
from automator.core.yamltext import parse


def deployment(name: str = "web", space: str = "", kind: str = "Deployment") -> str:
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata:\n  name: {name}\n"
        + (f"  namespace: {space}\n" if space else "")
        + "spec:\n  template:\n    spec:\n      containers:\n"
        "        - name: app\n          image: ghcr.io/acme/web:1.4.2\n"
    )


def release(target: str = "") -> str:
    return (
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: web\nspec:\n"
        + (f"  targetNamespace: {target}\n" if target else "")
        + "  values:\n    image: {repository: ghcr.io/acme/web, tag: 1.4.2}\n"
    )


def kustomize(*included: str, space: str = "", more: str = "", kind: str = "Kustomization") -> str:
    version = "v1alpha1" if kind == "Component" else "v1beta1"
    return (
        f"apiVersion: kustomize.config.k8s.io/{version}\nkind: {kind}\n"
        + (f"namespace: {space}\n" if space else "")
        + "".join(["resources:\n", *(f"  - {one}\n" for one in included)] if included else [])
        + more
    )


REPO = "https://git.example.com/acme/config.git"
IMAGES = "images:\n  - name: ghcr.io/acme/web\n    newTag: 1.4.3\n"


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, str]
    roots: tuple[str, ...]
    """Folders that somebody applies."""
    runs: dict[str, str | None]
    """File -> the namespace in which its image comes to run; None for several, or where nothing tells."""
    called: str = "web"
    """Of the Deployment that comes to run."""


CASES = [
    Case(
        "beside",
        {"kustomization.yaml": kustomize("web.yaml", space="shop"), "web.yaml": deployment()},
        (".",),
        {"web.yaml": "shop"},
    ),
    Case(
        "over what the manifest says",
        {"kustomization.yaml": kustomize("web.yaml", space="shop"), "web.yaml": deployment(space="old")},
        (".",),
        {"web.yaml": "shop"},
    ),
    Case(
        "without one the manifest counts",
        {"kustomization.yaml": kustomize("web.yaml"), "web.yaml": deployment(space="own")},
        (".",),
        {"web.yaml": "own"},
    ),
    Case(
        "nobody says any",
        {"kustomization.yaml": kustomize("web.yaml"), "web.yaml": deployment()},
        (".",),
        {"web.yaml": None},
    ),
    Case(
        "an overlay, and its own image",
        {
            "base/kustomization.yaml": kustomize("web.yaml"),
            "base/web.yaml": deployment(),
            "prod/kustomization.yml": kustomize("../base", space="shop", more=IMAGES),
        },
        ("prod",),
        {"base/web.yaml": "shop", "prod/kustomization.yml": "shop"},
    ),
    Case(
        "two overlays of one base",
        {
            "base/kustomization.yaml": kustomize("web.yaml", space="base"),
            "base/web.yaml": deployment(),
            "prod/kustomization.yaml": kustomize("../base", space="prod", more=IMAGES),
            "staging/kustomization.yaml": kustomize("../base", space="staging", more=IMAGES),
        },
        ("prod", "staging"),
        {
            "base/web.yaml": None,
            "prod/kustomization.yaml": "prod",
            "staging/kustomization.yaml": "staging",
        },
    ),
    Case(
        "the outermost decides, also over an image further in",
        {
            "app/kustomization.yaml": kustomize("web.yaml", space="inner", more=IMAGES),
            "app/web.yaml": deployment(),
            "kustomization.yaml": kustomize("app", space="outer"),
        },
        (".",),
        {"app/web.yaml": "outer", "app/kustomization.yaml": "outer"},
    ),
    Case(
        "a patch in a file, and one inline",
        {
            "base/kustomization.yaml": kustomize("web.yaml"),
            "base/web.yaml": deployment(),
            "prod/kustomization.yaml": kustomize(
                "../base", space="shop", more="patches:\n  - path: version.yaml\n"
            ),
            "prod/version.yaml": deployment(),
        },
        ("prod",),
        {"prod/version.yaml": "shop", "base/web.yaml": "shop"},
    ),
    Case(
        "a component",
        {
            "base/kustomization.yaml": kustomize("web.yaml"),
            "base/web.yaml": deployment(),
            "parts/kustomization.yaml": kustomize(space="part", kind="Component", more=IMAGES),
            "prod/kustomization.yaml": kustomize("../base", more="components:\n  - ../parts\n"),
        },
        ("prod",),
        {"base/web.yaml": "part", "parts/kustomization.yaml": "part"},
    ),
    Case(
        "over a component",
        {
            "base/kustomization.yaml": kustomize("web.yaml"),
            "base/web.yaml": deployment(),
            "parts/kustomization.yaml": kustomize(space="part", kind="Component", more=IMAGES),
            "prod/kustomization.yaml": kustomize("../base", space="shop", more="components:\n  - ../parts\n"),
        },
        ("prod",),
        {"base/web.yaml": "shop", "parts/kustomization.yaml": "shop"},
    ),
    Case(
        "one that is in two, of which one says none",
        {
            "base/kustomization.yaml": kustomize("web.yaml"),
            "base/web.yaml": deployment(space="own"),
            "plain/kustomization.yaml": kustomize("../base"),
            "prod/kustomization.yaml": kustomize("../base", space="prod"),
        },
        ("prod", "plain"),
        {"base/web.yaml": None},
    ),
    Case(
        "names grow outwards",
        {
            "base/kustomization.yaml": kustomize("web.yaml", more="namePrefix: acme-\nnameSuffix: -v1\n"),
            "base/web.yaml": deployment(),
            "parts/kustomization.yaml": kustomize(kind="Component", more="namePrefix: part-\n"),
            "prod/kustomization.yaml": kustomize(
                "../base", space="prod", more="components: [../parts]\nnamePrefix: eu-\nnameSuffix: -b\n"
            ),
        },
        ("prod",),
        {"base/web.yaml": "prod"},
        "eu-part-acme-web-v1-b",
    ),
    Case(
        "a release of Helm stands where it is put",
        {"kustomization.yaml": kustomize("web.yaml", space="shop"), "web.yaml": release()},
        (".",),
        {"web.yaml": "shop"},
    ),
]


def sites_of(case: Case, *syncs: Sync) -> dict[str, Site]:
    read = [kustomization(file, text, parse(text)) for file, text in case.files.items()]
    homes = Homes([one for one in read if one is not None]).applied(syncs, Source(REPO, branch="main"))
    found = {}
    for file, text in case.files.items():
        for site in locate(text, file).sites:
            found[file] = homes.placed(replace(site, file=file))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_runs_where_the_outermost_kustomization_says(case: Case) -> None:
    placed = sites_of(case)
    assert {file: placed[file].runs_in for file in case.runs} == case.runs
    assert {placed[file].name for file in case.runs} <= {case.called, None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kustomize_puts_it_there_too(case: Case, tmp_path: Path) -> None:
    program = kustomize_program()
    for file, text in case.files.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    spaces = set()
    for root in case.roots:
        done = subprocess.run([*program, str(tmp_path / root)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        (made,) = YAML(typ="safe", pure=True).load_all(done.stdout.decode())
        spaces.add(made["metadata"].get("namespace"))
        assert made["metadata"]["name"] == case.called
    for file, space in case.runs.items():
        assert space in spaces if space is not None else len(spaces) > 1 or spaces == {None}, file
    assert len(spaces) > 1 or set(case.runs.values()) == spaces


def test_a_target_of_helm_is_nobodys_to_move() -> None:
    case = Case(
        "target",
        {"kustomization.yaml": kustomize("web.yaml", space="flux-system"), "web.yaml": release("shop")},
        (".",),
        {},
    )
    assert sites_of(case)["web.yaml"].runs_in == "shop"


def test_a_circle_of_kustomizations_ends() -> None:
    case = Case(
        "circle",
        {
            "a/kustomization.yaml": kustomize("../b", "web.yaml", space="one", more="namePrefix: a-\n"),
            "a/web.yaml": deployment(),
            "b/kustomization.yaml": kustomize("../a"),
        },
        ("a",),
        {},
    )
    assert sites_of(case)["a/web.yaml"].runs_in is None


def flux(path: str, space: str | None = None, repo: str = REPO, **more: Any) -> Sync:
    more = {"recurses": True, "overrides": True, "branch": "main", **more}
    return Sync("Kustomization", "flux-system", "apps", repo=repo, path=path, space=space, **more)


def argo(path: str, space: str | None, *values: str, **more: Any) -> Sync:
    # By ssh: the same config repo.
    more = {"repo": "git@git.example.com:acme/config", "values": values, **more}
    return Sync("Application", "argocd", f"web-{space}", path=path, space=space, **more)


PLAIN = {"apps/prod/web.yaml": deployment(), "apps/own.yaml": deployment(space="own"), "README.md": "x"}
OVERLAY = {
    "base/kustomization.yaml": kustomize("web.yaml"),
    "base/web.yaml": deployment(),
    "prod/kustomization.yaml": kustomize("../base", more=IMAGES),
}
CHART = {
    "chart/values.yaml": "image: {repository: ghcr.io/acme/web, tag: 1.4.2}\n",
    "env/prod.yaml": "image: {repository: ghcr.io/acme/web, tag: 1.4.3}\n",
}


@pytest.mark.parametrize(
    ("files", "syncs", "runs"),
    [
        (PLAIN, [flux("./apps", "shop")], {"apps/prod/web.yaml": "shop", "apps/own.yaml": "shop"}),
        (PLAIN, [flux("apps/prod", "shop")], {"apps/prod/web.yaml": "shop", "apps/own.yaml": "own"}),
        (PLAIN, [flux("./", "shop")], {"apps/prod/web.yaml": "shop", "apps/own.yaml": "shop"}),
        (
            PLAIN,
            [flux("./apps", "shop", repo="https://git.example.com/acme/other")],
            {"apps/prod/web.yaml": None},
        ),
        (
            PLAIN,
            [flux("apps", "one"), flux("apps", "two")],
            {"apps/prod/web.yaml": None, "apps/own.yaml": None},
        ),
        (PLAIN, [flux("apps", "one"), flux("apps")], {"apps/prod/web.yaml": None, "apps/own.yaml": None}),
        (PLAIN, [argo("apps/prod", "shop")], {"apps/prod/web.yaml": "shop", "apps/own.yaml": "own"}),
        # The destination is for what says none; and without `recurse` it goes no deeper.
        (PLAIN, [argo("apps", "shop")], {"apps/prod/web.yaml": None, "apps/own.yaml": "own"}),
        (
            PLAIN,
            [argo("apps", "shop", recurses=True)],
            {"apps/prod/web.yaml": "shop", "apps/own.yaml": "own"},
        ),
        (OVERLAY, [argo("prod", "shop")], {"base/web.yaml": "shop", "prod/kustomization.yaml": "shop"}),
        (OVERLAY, [flux("prod", "shop")], {"base/web.yaml": "shop", "prod/kustomization.yaml": "shop"}),
        (
            OVERLAY,
            [argo("prod", "shop"), argo("base", "test")],
            {"base/web.yaml": None, "prod/kustomization.yaml": "shop"},
        ),
        (
            {**OVERLAY, "prod/kustomization.yaml": kustomize("../base", space="said")},
            [argo("prod", "shop")],
            {"base/web.yaml": "said"},
        ),
        (
            CHART,
            [argo("chart", "shop", "chart/values.yaml")],
            {"chart/values.yaml": "shop", "env/prod.yaml": None},
        ),
        (
            CHART,
            [
                argo("chart", "shop", "chart/values.yaml", "env/prod.yaml"),
                argo("chart", "test", "chart/values.yaml"),
            ],
            {"chart/values.yaml": None, "env/prod.yaml": "shop"},
        ),
        (CHART, [flux("./", "shop")], {"chart/values.yaml": None}),
        # A preview of another branch says nothing of ours.
        (
            PLAIN,
            [flux("apps", "pr-12", branch="pr-12")],
            {"apps/prod/web.yaml": None, "apps/own.yaml": "own"},
        ),
        (PLAIN, [argo("apps/prod", "pr-12", branch="pr-12")], {"apps/prod/web.yaml": None}),
        (
            PLAIN,
            [flux("apps/prod", "shop"), flux("apps/prod", "pr-12", branch="pr-12")],
            {"apps/prod/web.yaml": "shop"},
        ),
        # Argo CD's own namespace for what Kustomize builds is one for all of it.
        (
            {"apps/kustomization.yaml": kustomize("web.yaml", space="said"), "apps/web.yaml": deployment()},
            [argo("apps", "moved", overrides=True)],
            {"apps/web.yaml": "moved"},
        ),
    ],
)
def test_who_applies_a_folder_says_where_too(
    files: dict[str, str], syncs: list[Sync], runs: dict[str, str | None]
) -> None:
    placed = sites_of(Case("", files, (), {}), *syncs)
    assert {file: placed[file].runs_in for file in runs} == runs


def test_synchronizers_that_stay_the_same_are_worked_out_once_and_others_anew() -> None:
    base = kustomization("apps/kustomization.yaml", kustomize("web.yaml"), parse(kustomize("web.yaml")))
    assert base is not None
    homes, source = Homes([base]), Source(REPO, branch="main")
    (located,) = locate(deployment(), "apps/web.yaml").sites
    site = located.at("apps/web.yaml")
    first = homes.applied([flux("apps", "shop")], source)
    assert homes.applied([flux("apps", "shop")], source) is first
    for space in ("shop", *(f"shop-{number}" for number in range(50)), "shop"):
        assert homes.applied([flux("apps", space)], source).placed(site).runs_in == space


def test_who_applies_a_folder_may_name_its_objects_too() -> None:
    placed = sites_of(Case("", PLAIN, (), {}), flux("apps/prod", "shop", prefix="eu-", suffix="-1"))
    assert placed["apps/prod/web.yaml"].name == "eu-web-1"


def test_what_every_overlay_replaces_runs_nowhere() -> None:
    other = "images:\n  - name: ghcr.io/acme/api\n    newTag: '2'\n"
    files = {
        "base/kustomization.yaml": kustomize("web.yaml"),
        "base/web.yaml": deployment(),
        "prod/kustomization.yaml": kustomize("../base", space="prod", more=IMAGES),
        "staging/kustomization.yaml": kustomize("../base", space="staging", more=IMAGES),
    }

    def kept(files: dict[str, str], *syncs: Sync, there: str = "prod") -> list[str]:
        read = [kustomization(file, text, parse(text)) for file, text in files.items()]
        sites = [site.at(file) for file, text in files.items() for site in locate(text, file).sites]
        mine = tuple(site for site in sites if site.written == "ghcr.io/acme/web")
        homes = Homes([one for one in read if one is not None]).applied(syncs, Source(REPO, branch="main"))
        spaces = {("Deployment", "web"): {"staging", there}}
        return [site.file for site in homes.all_placed(mine, spaces)]

    assert kept(files) == ["prod/kustomization.yaml", "staging/kustomization.yaml"]
    # Who applies the base by itself is known, or its object is seen where no overlay puts one.
    every = ["base/web.yaml", "prod/kustomization.yaml", "staging/kustomization.yaml"]
    assert kept(files, flux("base"), flux("prod"), flux("staging")) == every
    assert kept(files, flux("prod"), flux("staging")) == every[1:]
    assert kept(files, there="live") == every
    # One takes what the base says; and what nothing else says is not lost.
    files["staging/kustomization.yaml"] = kustomize("../base", space="staging", more=other)
    assert kept(files) == ["base/web.yaml", "prod/kustomization.yaml"]
    alone = {"base/web.yaml": files["base/web.yaml"], "kustomization.yaml": kustomize("base/web.yaml")}
    assert kept(alone) == ["base/web.yaml"]
