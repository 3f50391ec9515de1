"""What synchronizers say of some files: who applies them, where to, and that a workload costs the same among
thousands of others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from parts.observations import CLOCK, PROD, runs, seen, transformed, written

from automator.core.drift import Drift, compare
from automator.core.running import Running, Scope, Sync
from automator.core.site import Site, locate
from automator.core.synced import Source, Synced

URL = "https://git.example.com/acme/config.git"
SOURCE = Source(URL, frozenset({"c0ffee"}), "main")
SPOKE = "https://spoke.example:6443"
NEW, OLD = "ghcr.io/acme/web:1.4.3", "ghcr.io/acme/web:1.4.2"


def app(name: str = "web", path: str = "apps", **more: object) -> Sync:
    return Sync("Application", "argocd", name, repo=URL, path=path, **more)  # type: ignore[arg-type]


def release(namespace: str = ", namespace: shop") -> Site:
    values = "{image: {repository: ghcr.io/acme/web, tag: 1.4.3}}"
    text = f"kind: HelmRelease\nmetadata: {{name: web{namespace}}}\nspec: {{values: {values}}}\n"
    (site,) = locate(text, "release.yaml").sites
    return site.at("apps/release.yaml")


# -- who applies a file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "file", "is_applied"),
    [
        ("apps", "apps/web.yaml", True),
        ("./apps/", "apps/eu/web.yaml", True),
        ("apps/eu", "apps/web.yaml", False),
        ("apps", "apps-eu/web.yaml", False),
        ("apps", "eu/apps/web.yaml", False),
        ("", "apps/web.yaml", True),
        (".", "web.yaml", True),
        ("./", "apps/web.yaml", True),
    ],
)
def test_a_synchronizer_applies_what_lies_in_its_folder(path: str, file: str, is_applied: bool) -> None:
    told = Synced([app(path=path, healthy=False, trouble="x")], SOURCE).told_of(
        [written(NEW, file=file)], PROD
    )
    assert (told is not None) == is_applied


def test_a_source_that_names_no_folder_applies_the_files_of_values_alone() -> None:
    synced = Synced([app(path="", values=("env/eu.yaml",), healthy=False, trouble="x")], SOURCE)
    assert synced.told_of([transformed("1.4.3", file="env/eu.yaml")], PROD) is not None
    assert synced.told_of([written(NEW)], PROD) is None
    chart = Synced([app(path="chart", values=("env/eu.yaml",), healthy=False, trouble="x")], SOURCE)
    for file in ("env/eu.yaml", "chart/values.yaml"):
        assert chart.told_of([transformed("1.4.3", file=file)], PROD) is not None


def test_what_is_final_goes_before_what_came_first() -> None:
    first = app("first", healthy=False, trouble="a webhook")
    ill = app("ill", attempted="c0ffee", healthy=False, cause="Degraded", ill=("Deployment/shop/web",))
    told = Synced([first, ill], SOURCE).told_of([written(NEW)], PROD, objects=("Deployment/shop/web",))
    assert told is not None
    assert (told.place, told.is_final) == ("Application argocd/ill", True)
    told = Synced([first, ill], SOURCE).told_of([written(NEW)], PROD)
    assert told is not None
    assert (told.place, told.is_final) == ("Application argocd/first", False)


def test_a_release_without_a_namespace_is_the_only_one_of_its_name() -> None:
    shop, eu = (Sync("HelmRelease", space, "web", healthy=False, trouble=space) for space in ("shop", "eu"))
    site = release("")
    for syncs, scope, trouble in (
        ([shop], PROD, "shop"),
        ([shop, eu], PROD, None),
        ([shop, eu], Scope("prod", (), ("eu",)), "eu"),
    ):
        told = Synced(syncs, SOURCE).told_of([site], scope)
        assert (None if told is None else told.trouble) == trouble


# -- where it puts it --------------------------------------------------------------------------------------

AWAY, HERE = app(elsewhere=SPOKE), app("here")
VALUES = app(path="", values=("env/eu.yaml",), elsewhere=SPOKE)


@pytest.mark.parametrize(
    ("syncs", "sites", "where"),
    [
        ([AWAY], [written(NEW)], SPOKE),
        ([HERE, AWAY], [written(NEW)], None),
        ([AWAY, app("all", path="")], [written(NEW)], None),
        ([AWAY, app("other", path="infra")], [written(NEW)], SPOKE),
        ([AWAY, app("preview", branch="pr-12")], [written(NEW)], SPOKE),
        ([AWAY], [written(NEW), written(NEW, file="infra/web.yaml")], None),
        ([AWAY], [written(NEW, file="infra/web.yaml")], None),
        ([], [written(NEW)], None),
        # Values for a chart of another repo, and a release that says itself where it goes.
        ([VALUES], [transformed("1.4.3", file="env/eu.yaml")], SPOKE),
        ([VALUES], [written(NEW)], None),
        ([HERE, Sync("HelmRelease", "shop", "web", elsewhere="eu")], [release()], "eu"),
        ([AWAY, Sync("HelmRelease", "shop", "web")], [release()], None),
    ],
)  # fmt: skip
def test_what_goes_to_another_cluster_alone_is_known(
    syncs: list[Sync], sites: list[Site], where: str | None
) -> None:
    sync = Synced(syncs, SOURCE).elsewhere_of(sites, PROD)
    assert (None if sync is None else sync.elsewhere) == where


def drift(*sites: Site, running: tuple[Running, ...] = (), syncs: tuple[Sync, ...]) -> Drift:
    (found,) = compare({"web": sites}, PROD, seen(*running, syncs=syncs), CLOCK, source=SOURCE)
    return found


@pytest.mark.parametrize("site", [written(NEW), written(NEW, namespace="")])  # missing, and absent
def test_what_is_applied_to_another_cluster_is_not_looked_for_here(site: Site) -> None:
    found = drift(site, syncs=(AWAY,))
    assert (found.state, found.reason.code) == ("unknown", "drift/elsewhere")
    assert str(found.reason) == (
        "apps/web.yaml#spec.template.spec.containers[app].image is not in prod: "
        "Application argocd/web applies it to https://spoke.example:6443"
    )
    assert drift(site, syncs=(AWAY, HERE)).reason.code in ("drift/awaited", "drift/absent")


def test_what_is_there_is_compared_whoever_applies_it_elsewhere_too() -> None:
    assert drift(written(NEW), running=(runs(NEW),), syncs=(AWAY,)).state == "same"
    assert drift(written(NEW), running=(runs(OLD),), syncs=(AWAY,)).state == "pending"


# -- thousands ---------------------------------------------------------------------------------------------


class AskedSync(Sync):
    """A synchronizer that counts how often anything of it is asked for."""

    __slots__ = ()
    asked = 0

    def __getattribute__(self, name: str) -> object:
        AskedSync.asked += 1
        return object.__getattribute__(self, name)


class AskedRunning(Running):
    """Something that runs and counts the same."""

    __slots__ = ()
    asked = 0

    def __getattribute__(self, name: str) -> object:
        AskedRunning.asked += 1
        return object.__getattribute__(self, name)


def pending(count: int) -> int:
    """What is asked of the synchronizers of so many workloads, none of which is there yet."""
    syncs = tuple(
        AskedSync("Application", "argocd", f"a{i}", repo=URL, path=f"t/{i}", healthy=False, trouble=f"x{i}")
        for i in range(count)
    )
    workloads = {
        f"w{i}": (written(f"ghcr.io/acme/w{i}:2", name=f"w{i}", file=f"t/{i}/web.yaml"),)
        for i in range(count)
    }
    before = AskedSync.asked
    drifts = compare(workloads, PROD, seen(syncs=syncs), CLOCK, source=SOURCE)
    asked = AskedSync.asked - before
    assert [str(drift.reason).rpartition("says: ")[2] for drift in drifts] == [f"x{i}" for i in range(count)]
    return asked


def tenants(count: int) -> int:
    """What is asked of Deployments of one name in so many namespaces, every other one of which is there."""
    running = tuple(
        AskedRunning("Deployment", f"t{i}", "web", "app", NEW, wanted=1, ready=1, settled=True)
        for i in range(0, count, 2)
    )
    workloads = {f"w{i}": (written(NEW, namespace=f"t{i}", file=f"t/{i}/web.yaml"),) for i in range(count)}
    before = AskedRunning.asked
    drifts = compare(workloads, PROD, seen(*running), CLOCK)
    asked = AskedRunning.asked - before
    assert [drift.state.value for drift in drifts] == ["same", "pending"] * (count // 2)
    return asked


def overlays(count: int) -> int:
    """The same where the files name no object, but an image and a namespace."""
    running = tuple(
        AskedRunning("Deployment", f"t{i}", f"web{i}", "app", NEW, wanted=1, ready=1, settled=True)
        for i in range(count)
    )
    workloads = {
        f"w{i}": (transformed("1.4.3", file=f"t/{i}/kustomization.yaml", space=f"t{i}"),)
        for i in range(count)
    }
    before = AskedRunning.asked
    drifts = compare(workloads, PROD, seen(*running), CLOCK)
    asked = AskedRunning.asked - before
    assert {drift.state.value for drift in drifts} == {"same"}
    return asked


@pytest.mark.parametrize("asked_of", [pending, tenants, overlays])
def test_twice_as_many_workloads_are_twice_the_work(asked_of: Callable[[int], int]) -> None:
    few, many = asked_of(100), asked_of(200)
    assert 100 < few < many <= 2 * few + 100, "none is asked for another one"
