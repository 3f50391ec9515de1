"""Kustomizations as the head moves: where things run is what they say now, and none is read twice."""

from __future__ import annotations

from parts.stage import Stage
from parts.world import deployment

from automator.app.runtimes import tip_of
from automator.core.running import Observation
from automator.cycle.index import Index

CLUSTER = {"prod": {"type": "kubernetes", "kubeconfig": "/nowhere"}}
BASE = {
    "policies/shop.yaml": "version: 1\nworkloads:\n  web:\n    image: ghcr.io/acme/web\n    semver: 1.x\n",
    "base/web.yaml": deployment("ghcr.io/acme/web:1.4.2").replace("  namespace: shop\n", ""),
    "base/kustomization.yaml": "resources: [web.yaml]\n",
}


def spaces(stage: Stage) -> set[str | None]:
    """The namespaces of what `web` names at the tip."""
    tip = tip_of(stage.app.config, "shop", stage.cycle.read())
    seen = Observation("prod", stage.now)
    return {site.runs_in for site in tip.placed(seen)["web"]}


def test_a_namespace_is_known_as_soon_as_git_says_it(stage: Stage) -> None:
    stage.runtimes = CLUSTER
    stage.commit(BASE)
    assert spaces(stage) == {None}
    stage.commit({"prod/kustomization.yaml": "namespace: shop\nresources: [../base]\n"})
    assert spaces(stage) == {"shop"}
    stage.commit({"prod/kustomization.yaml": "namespace: store\nresources: [../base]\n"})
    assert spaces(stage) == {"store"}
    stage.commit({"prod/kustomization.yaml": "{ broken"})
    assert spaces(stage) == {None}
    stage.commit(
        {
            "prod/kustomization.yaml": None,
            "base/kustomization.yaml": "namespace: own\nresources: [web.yaml]\n",
        }
    )
    assert spaces(stage) == {"own"}
    stage.commit({"base/kustomization.yaml": None})
    assert spaces(stage) == {None}
    # Not otherwise than from nothing.
    stage.commit({"base/kustomization.yaml": "namespace: shop\nresources: [web.yaml]\n"})
    warm = spaces(stage)
    stage.lose_state()
    assert spaces(stage) == warm == {"shop"}


def test_what_a_synchronizer_may_put_elsewhere_that_was_never_read_has_no_namespace(stage: Stage) -> None:
    stage.runtimes = CLUSTER
    stage.commit({**BASE, "base/web.yaml": deployment("ghcr.io/acme/web:1.4.2")})
    assert spaces(stage) == {"shop"}
    tip = tip_of(stage.app.config, "shop", stage.cycle.read())
    (site,) = tip.placed(Observation("prod", stage.now, unread=("flux",)))["web"]
    assert (site.runs_in, site.name) == (None, "web")


def test_prefixes_and_images_of_an_overlay_are_as_fresh(stage: Stage) -> None:
    """What a Kustomization calls things, and whether it says their version, decide what is looked for."""
    stage.runtimes = CLUSTER
    overlay = "namespace: shop\nnamePrefix: {}\nresources: [../base]\n"
    images = "images:\n  - name: ghcr.io/acme/web\n    newTag: 1.4.3\n"
    stage.commit({**BASE, "prod/kustomization.yaml": overlay.format("a-") + images})

    def told() -> set[tuple[str, str | None]]:
        tip = tip_of(stage.app.config, "shop", stage.cycle.read())
        placed = tip.placed(Observation("prod", stage.now))["web"]
        return {(site.file, site.name) for site in placed}

    assert told() == {("prod/kustomization.yaml", None)}
    stage.commit({"prod/kustomization.yaml": overlay.format("a-")})
    assert told() == {("base/web.yaml", "a-web")}
    stage.commit({"prod/kustomization.yaml": overlay.format("b-")})
    assert told() == {("base/web.yaml", "b-web")}
    assert stage.cycle.index.kustomized is not None
    before = stage.cycle.index.kustomized.homes
    stage.commit({"prod/kustomization.yaml": overlay.format("b-") + "# a word\n"})
    told()
    assert stage.cycle.index.kustomized.homes is before, "nothing is worked out anew for that"


def test_where_nobody_asks_what_runs_no_kustomization_is_read_for_it(stage: Stage) -> None:
    stage.commit({**BASE, "base/kustomization.yaml": "namespace: shop\nresources: [web.yaml]\n"})
    assert spaces(stage) == {None}
    assert isinstance(stage.cycle.index, Index)
    assert stage.cycle.index.kustomized is None
