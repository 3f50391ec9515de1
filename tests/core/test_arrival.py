"""How far a version is where it ought to run: deployed only as a whole, failed only by its own container."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from parts.observations import CLOCK, NOW, PROD, A, B, runs, seen, transformed, written

from automator.core.arrival import deployments
from automator.core.drift import Clock
from automator.core.running import Deployed, Observation, Running, Scope, Sync, Unobserved
from automator.core.site import Site, locate
from automator.core.synced import Source
from automator.edges.kubernetes.synchronizers import read_argo, read_flux
from automator.reasons import reason

WEB = written("ghcr.io/acme/web:1.4.3")
NEW, OLD = "ghcr.io/acme/web:1.4.3", "ghcr.io/acme/web:1.4.2"
TIP = "a" * 40
SOURCE = Source("https://git.example.com/acme/config.git", frozenset({TIP}))
DOWN = Unobserved("prod", NOW, reason("drift/stale", runtime="prod", age="1 day"))
GAVE_UP = {"failed": True, "ready": 0, "trouble": "CrashLoopBackOff: exit 1"}
PULLS = {"ready": 0, "trouble": "ImagePullBackOff: no such tag"}


def told(
    *sites: Site, at: Observation | Unobserved, scope: Scope = PROD, source: Source | None = None
) -> Deployed:
    (deployment,) = deployments({"web": sites}, scope, at, source=source)
    return deployment.seen


# -- arrival -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("running", "state"),
    [
        ([runs("ghcr.io/acme/web:1.4.3")], "deployed"),
        ([runs("ghcr.io/acme/web:1.4.3", ready=1)], "pending"),
        ([runs("ghcr.io/acme/web:1.4.3", settled=False)], "pending"),
        ([runs("ghcr.io/acme/web:1.4.3"), runs("ghcr.io/acme/web:1.4.2", wanted=0, ready=1)], "pending"),
        ([runs("ghcr.io/acme/web:1.4.2")], "absent"),
        ([runs("ghcr.io/acme/web:1.4.3", trouble="CrashLoopBackOff")], "pending"),
        ([runs("ghcr.io/acme/web:1.4.3", trouble="gave up", failed=True)], "failed"),
        ([runs("ghcr.io/acme/web:1.4.3", wanted=0, ready=0)], "absent"),
        ([runs("ghcr.io/acme/web:1.4.3", wanted=0, ready=1)], "pending"),
        ([runs("ghcr.io/acme/web:1.4.3", wanted=None, ready=None, settled=None)], "deployed"),
        ([], "absent"),
    ],
)
def test_a_version_has_arrived_when_all_of_it_is_up(running: list[Running], state: str) -> None:
    (arrived,) = deployments({"web": (WEB,)}, PROD, seen(*running))
    assert (arrived.workload, arrived.version, arrived.seen.state.value) == ("web", "1.4.3", state)
    assert (arrived.seen.at is not None) == (state in ("deployed", "failed"))


def test_a_pinned_digest_must_be_told_to_have_arrived() -> None:
    site = written(f"ghcr.io/acme/web:1.4.3@{A}")
    for digest, state in ((A, "deployed"), (None, "unknown"), (B, "unknown")):
        (arrived,) = deployments({"web": (site,)}, PROD, seen(runs("ghcr.io/acme/web:1.4.3", digest=digest)))
        assert (arrived.digest, arrived.seen.state.value) == (A, state)


def test_nothing_has_arrived_where_nobody_can_tell() -> None:
    (down,) = deployments({"web": (WEB,)}, PROD, DOWN)
    assert (down.seen.state.value, down.seen.at) == ("unknown", None)
    differing = (WEB, written("ghcr.io/acme/web:1.4.2", namespace="us"))
    assert deployments({"web": differing}, PROD, seen()) == ()
    # The one could run what the other is meant to.
    both = {
        "staging": (transformed("1.5.0", "staging/k.yaml"),),
        "web": (transformed("1.4.3", "prod/k.yaml"),),
    }
    swapped = seen(runs("ghcr.io/acme/web:1.4.3", namespace="staging"), runs("ghcr.io/acme/web:1.5.0"))
    assert {one.seen.state.value for one in deployments(both, PROD, swapped)} == {"unknown"}


HOOK = runs(OLD, name="web-migrate", kind="Job", wanted=0)
POD = runs(OLD, name="debug-me", kind="Pod", wanted=1, ready=1, settled=None)


@pytest.mark.parametrize(
    ("running", "state", "words"),
    [
        ([runs(OLD)], "absent", "Deployment shop/web [app] runs 1.4.2"),
        ([runs(f"ghcr.io/acme/web@{A}")], "unknown", "whether they are the same cannot be told"),
        # What a person started beside it, or a hook left there, is not in its place.
        ([runs(NEW), POD], "pending", ""),
        ([runs(NEW), HOOK], "deployed", ""),
        ([POD], "absent", "Pod shop/debug-me [app] runs 1.4.2"),
        ([replace(HOOK, wanted=1)], "pending", ""),
        # Nor is a release of its own, as of a preview.
        ([runs(NEW), runs(OLD, name="web-worker")], "pending", ""),
        ([runs(OLD, name="web-worker")], "absent", "Deployment shop/web-worker [app] runs 1.4.2"),
        ([runs(NEW), runs(OLD, wanted=0, ready=2)], "pending", ""),
        ([runs(NEW, wanted=0, ready=0)], "absent", "Deployment shop/web [app]: it has no replicas"),
        ([], "absent", "nothing in shop runs ghcr.io/acme/web"),
        ([runs(OLD, namespace="eu")], "absent", "nothing in shop runs ghcr.io/acme/web"),
        ([runs(NEW, namespace="eu")], "unknown", "nothing that runs in namespace shop"),
        # What is certainly ill says more than what is not there yet.
        ([runs(NEW, **PULLS), runs(OLD, name="web-worker")], "pending", "ImagePullBackOff"),
    ],
)
def test_another_version_in_its_place_is_an_absence_and_what_is_under_way_is_none(
    running: list[Running], state: str, words: str
) -> None:
    one = told(transformed("1.4.3", space="shop"), at=seen(*running))
    assert (one.state, one.at is not None) == (state, state == "deployed")
    assert words in str(one.trouble)


@pytest.mark.parametrize(
    ("site", "running", "state"),
    [
        (written(NEW, namespace=""), [], "absent"),
        (written(NEW, namespace=""), [runs(OLD, name="edge")], "unknown"),
        # Two of its name, with another image.
        (written(NEW, namespace=""), [runs("x.io/y:1"), runs("x.io/y:1", namespace="other")], "unknown"),
        (transformed("1.4.3"), [], "absent"),
        (written(NEW, kind="Job"), [], "unknown"),  # it has ended, and was taken away
        (written(NEW, namespace="eu"), [], "unknown"),
    ],
)
def test_what_was_not_looked_for_is_not_absent(site: Site, running: list[Running], state: str) -> None:
    assert told(site, at=seen(*running), scope=Scope("prod", (), ("shop", "other"))).state == state


@pytest.mark.parametrize(
    ("running", "state"),
    [
        ([runs(NEW, namespace="eu")], "unknown"),
        ([runs(OLD, namespace="eu")], "absent"),
        ([runs(f"ghcr.io/acme/web@{A}", namespace="eu")], "unknown"),
        ([runs(NEW, "edge", "eu"), runs(OLD, namespace="eu")], "unknown"),
        ([], "absent"),
    ],
)
def test_what_something_around_it_puts_into_a_namespace_may_have_been_put_elsewhere(
    running: list[Running], state: str
) -> None:
    put = replace(written(NEW, namespace=""), runs_in="shop")
    for site in (put, helm(), values("shop")):
        arrived = told(site, at=seen(*running))
        assert arrived.state == state
        assert arrived.is_short == (state == "unknown"), "in its namespace there is nothing"
    # The manifest's own namespace binds, and what another site is about is not this one's.
    assert told(WEB, at=seen(*running)).state == "absent"
    claimed = {"web": (put,), "eu": (written(NEW, namespace="eu"), written(NEW, "edge", "eu"))}
    (web, _) = deployments(claimed, PROD, seen(*running))
    assert web.seen.state == "absent"


def values(space: str | None = None) -> Site:
    (site,) = locate("image: {repository: ghcr.io/acme/web, tag: 1.4.3}\n", "values.yaml").sites
    return replace(site.at("charts/web/values.yaml"), runs_in=space)


def test_a_preview_beside_a_release_ends_nothing() -> None:
    preview = runs("ghcr.io/acme/web:pr-12", name="web-pr-12")
    assert told(helm(), at=seen(runs(NEW), preview)).state == "pending"
    assert told(helm(), at=seen(preview)).state == "absent"
    # Who names the object and the namespaces says that all of these are meant.
    cluster, scope = seen(runs(NEW), runs(OLD, namespace="prod")), Scope("prod", (), ("shop", "prod"))
    assert told(written(NEW, namespace=""), at=cluster, scope=scope).state == "absent"


def test_an_image_alone_does_not_tell_that_a_release_is_deployed() -> None:
    cluster = seen(runs(NEW, namespace="pr-123"))
    for site in (values(), helm(None)):
        one = told(site, at=cluster)
        assert (one.state, one.trouble) == (
            "unknown",
            "Deployment pr-123/web [app]: nothing tells that it is this release; "
            "set runtimes.prod.namespaces",
        )
        assert told(site, at=cluster, scope=Scope("prod", (), ("pr-123",))).state == "deployed"
        assert told(replace(site, runs_in="pr-123"), at=cluster).state == "deployed"
    assert told(transformed("1.4.3"), at=cluster).state == "deployed"


def test_how_much_of_it_is_ready_is_told_by_object_and_jobs_do_not_count() -> None:
    job = runs(NEW, name="migrate", kind="Job", wanted=1, ready=0, settled=False)
    down = runs(NEW, ready=0, hindrance="no node takes it")
    worker = runs(NEW, "worker")
    for running, is_down, is_short in (
        ([runs(NEW), worker], False, False),
        ([down, worker], True, True),
        ([job, down, worker], True, True),
        ([job, runs(NEW), worker], False, False),
        ([runs(NEW, wanted=10, ready=4), worker], False, True),
        ([runs(NEW, wanted=10, ready=5), worker], False, False),
        ([runs(NEW, wanted=None, ready=None), worker], False, False),
        ([runs(NEW, wanted=0, ready=0), worker], False, False),
        ([runs(OLD), worker], False, False),
    ):
        arrived = told(WEB, written(NEW, "worker"), written(NEW, "migrate", kind="Job"), at=seen(*running))
        assert (arrived.is_down, arrived.is_short) == (is_down, is_short), running
    assert told(WEB, at=seen(down)).is_hindered
    assert told(WEB, at=seen(down)).is_counted
    assert not told(WEB, at=seen(runs(OLD))).is_counted
    # Nothing tells whether the one or the other is ours.
    both = told(written(NEW, namespace=""), at=seen(runs(NEW), replace(down, namespace="pr")))
    assert (both.state, both.is_down, both.is_short) == ("unknown", False, False)
    assert (both.is_counted, both.is_hindered) == (False, False)
    assert not told(WEB, at=seen(runs(NEW))).is_hindered
    assert not told(WEB, at=DOWN).is_short, "a runtime that is down says nothing"


def test_idle_is_what_is_told_to_have_no_replicas_and_nothing_else_that_is_absent() -> None:
    worker, idle = written(NEW, "worker"), runs(NEW, name="worker", wanted=0, ready=0)
    for running, is_idle in (
        ([runs(NEW, wanted=0, ready=0), idle], True),
        ([runs(NEW, ready=1), idle], False),
        ([runs(NEW, ready=0), idle], False),
        ([runs(NEW), idle], False),
        ([idle], False),
        ([runs(OLD), idle], False),
        ([runs(OLD, wanted=0, ready=0), idle], False),
        ([runs(NEW, ready=1), runs(NEW, name="worker")], False),
    ):
        arrived = told(WEB, worker, at=seen(*running))
        assert arrived.is_idle == is_idle, running


def test_what_has_ended_and_what_has_no_replicas_is_no_matter_beside_what_is_deployed() -> None:
    job, worker = written(NEW, "migrate", kind="Job"), written(NEW, "worker")
    idle = runs(NEW, name="worker", wanted=0, ready=0)
    assert told(WEB, job, worker, at=seen(runs(NEW), idle)).state == "deployed"
    assert told(WEB, job, worker, at=seen(runs(NEW, ready=1), idle)).state == "pending"
    assert told(WEB, worker, at=seen(runs(NEW), replace(idle, reference=OLD))).state == "absent"
    assert told(WEB, worker, at=seen(idle)).trouble == "Deployment shop/web is not there"
    text = "services: {web: {image: 'ghcr.io/acme/web:1.4.3'}, migrate: {image: 'ghcr.io/acme/web:1.4.3'}}\n"
    services = [site.at("compose.yaml") for site in locate(text, "compose.yaml").sites]
    web = Running("service", "", "web", "web-1", NEW, project="shop", wanted=1, ready=1, settled=True)
    migrate = replace(web, name="migrate", container="migrate-1", wanted=0, ready=0, settled=None)
    assert told(*services, at=seen(web, migrate)).state == "deployed"


@pytest.mark.parametrize(
    "worker",
    [runs(OLD, name="worker"), runs(NEW, name="worker", ready=0, hindrance="Unschedulable")],
)
def test_what_is_certainly_ill_counts_whatever_else_is_not_known(worker: Running) -> None:
    both = (WEB, written(NEW, "worker"))
    one = told(*both, at=seen(runs(NEW, **PULLS), worker))
    assert (one.state, one.trouble) == ("pending", f"Deployment shop/web [app]: {PULLS['trouble']}")
    assert told(*both, at=seen(runs(NEW, **GAVE_UP), worker)).state == "failed"


def test_restarts_of_all_of_it_are_counted() -> None:
    both = (WEB, written(NEW, "worker"))
    one = told(*both, at=seen(runs(NEW, restarts=2), runs(NEW, name="worker", restarts=3)))
    assert (one.restarts, one.ready) == (5, 4)
    assert told(WEB, at=seen(runs(NEW), runs(OLD, name="x", restarts=7))).restarts is None


# -- whose failure it is -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ill", [GAVE_UP, PULLS])
@pytest.mark.parametrize(
    ("site", "scope"),
    [
        (WEB, PROD),
        (transformed("1.4.3", space="shop"), PROD),
        (written(NEW, namespace=""), Scope("prod", (), ("shop",))),
        (transformed("1.4.3"), Scope("prod", (), ("shop",))),
    ],
)
def test_another_namespace_never_fails_or_deploys_a_version(
    site: Site, scope: Scope, ill: dict[str, Any]
) -> None:
    staging = runs(NEW, namespace="staging", **ill)
    assert told(site, at=seen(staging, runs(NEW)), scope=scope).state == "deployed"
    alone = told(site, at=seen(staging), scope=scope)
    nothing = "absent" if site.namespace or scope.namespaces else "unknown"
    assert (alone.state, "CrashLoop" in str(alone.trouble)) == (nothing, False)
    assert told(site, at=seen(runs(NEW, namespace="staging")), scope=scope).state == nothing
    own = told(site, at=seen(runs(NEW, **ill), runs(NEW, namespace="staging")), scope=scope)
    assert own.state == ("failed" if ill is GAVE_UP else "pending")
    assert own.trouble == f"Deployment shop/web [app]: {ill['trouble']}"


@pytest.mark.parametrize("site", [written(NEW, namespace=""), transformed("1.4.3")])
def test_where_no_namespace_is_certain_nothing_fails(site: Site) -> None:
    ill = runs(NEW, **GAVE_UP)
    (one, two) = (told(site, at=seen(ill)), told(site, at=seen(ill, runs(NEW, namespace="prod"))))
    assert (one.state, two.state) == ("unknown", "unknown")
    assert one.trouble == (
        "Deployment shop/web [app] may be another's (write `namespace` into the file): "
        "CrashLoopBackOff: exit 1"
    )
    assert "runs in several namespaces of prod (shop, prod)" in str(two.trouble)


def test_who_names_several_namespaces_says_that_all_of_them_run_it() -> None:
    site, scope = transformed("1.4.3"), Scope("prod", (), ("shop", "prod"))
    well, ill = runs(NEW, namespace="prod"), runs(NEW, **GAVE_UP)
    assert told(site, at=seen(runs(NEW), well), scope=scope).state == "deployed"
    assert told(site, at=seen(ill, well), scope=scope).state == "unknown"
    apart = {"web": (site,), "api": (transformed("1.4.2", "b"),)}
    found = deployments(apart, scope, seen(runs(NEW), runs(OLD, namespace="prod")))
    assert {one.seen.state for one in found} == {"unknown"}


def test_what_one_of_the_namespaces_alone_has_by_its_name_is_its() -> None:
    site, scope = written(NEW, namespace=""), Scope("prod", (), ("shop", "jobs"))
    ill, well = runs(NEW, **GAVE_UP), runs(NEW, namespace="jobs")
    assert told(site, at=seen(ill), scope=scope).state == "failed"
    assert told(site, at=seen(ill, well), scope=scope).state == "unknown"
    assert told(site, at=seen(replace(ill, name="eu-web")), scope=scope).state == "unknown"
    assert told(written(NEW, namespace=""), at=seen(ill)).state == "unknown", "nobody named the namespaces"


def test_of_two_workloads_with_one_image_each_fails_alone() -> None:
    ill, well = runs(NEW, **GAVE_UP), runs(NEW, name="api")
    named = {"web": (WEB,), "api": (written(NEW, name="api"),)}
    states = {one.workload: one.seen.state.value for one in deployments(named, PROD, seen(ill, well))}
    assert states == {"web": "failed", "api": "deployed"}
    shared = {"web": (transformed("1.4.3", space="shop"),), "api": (transformed("1.4.3", "b", space="shop"),)}
    assert {one.seen.state for one in deployments(shared, PROD, seen(ill, well))} == {"unknown"}
    apart = {"web": (transformed("1.4.3", space="shop"),), "api": (transformed("1.4.2", "b", space="shop"),)}
    canary = {one.workload: one.seen.state.value for one in deployments(apart, PROD, seen(ill, runs(OLD)))}
    assert canary == {"web": "unknown", "api": "deployed"}


def test_what_is_in_the_way_from_outside_is_told_and_fails_nothing() -> None:
    waits = runs(NEW, ready=0, settled=False, hindrance="Unschedulable: 0/3 nodes are available")
    one = told(WEB, at=seen(waits))
    assert (one.state, one.trouble) == (
        "unknown",
        "Deployment shop/web [app]: Unschedulable: 0/3 nodes are available",
    )


def test_of_an_engine_only_the_project_that_is_named_can_fail() -> None:
    (site,) = locate("services: {web: {image: 'ghcr.io/acme/web:1.4.3'}}\n", "compose.yaml").sites
    ill = Running("service", "", "web", "web-1", NEW, project="shop", wanted=1, ready=0, trouble="restarts")
    assert told(site.at("compose.yaml"), at=seen(ill)).state == "unknown"
    assert told(site.at("compose.yaml"), at=seen(ill), scope=Scope("prod", project="shop")).state == "pending"
    well = replace(ill, project="test", ready=1, trouble=None)
    assert told(site.at("compose.yaml"), at=seen(replace(well, project="shop"), well)).state == "unknown"


@pytest.mark.parametrize(("settled", "state"), [(None, "pending"), (True, "deployed")])
def test_a_job_is_deployed_once_it_is_complete(settled: bool | None, state: str) -> None:
    site = written(NEW, kind="Job")
    job = runs(NEW, kind="Job", wanted=0 if settled else 1, ready=1, settled=settled)
    assert told(site, at=seen(job)).state == state


# -- what synchronizers say ----------------------------------------------------------------------------------


def flux(why: str, message: str, *releases: dict[str, Any]) -> tuple[Sync, ...]:
    """A Kustomization that applies the tip and is not ready, and releases."""
    source = {"metadata": {"namespace": "flux-system", "name": "config"}, "spec": {"url": SOURCE.url}}
    ready = {"type": "Ready", "status": "False" if why else "True", "reason": why, "message": message}
    kustomization = {
        "metadata": {"namespace": "flux-system", "name": "apps"},
        "spec": {"path": "./apps", "sourceRef": {"kind": "GitRepository", "name": "config"}},
        "status": {
            "lastAppliedRevision": f"main@sha1:{TIP}",
            "lastAttemptedRevision": f"main@sha1:{TIP}",
            "conditions": [ready],
        },
    }
    return read_flux(
        {"gitrepositories": [source], "kustomizations": [kustomization], "helmreleases": list(releases)}
    )


ILL = "health check failed after 30s: failed early due to stalled resources: [%s status: 'Failed']"


@pytest.mark.parametrize(
    ("why", "message"),
    [
        (
            "ReconciliationFailed",
            "Service/shop/web dry-run failed (Invalid): clusterIP: field is immutable",
        ),
        ("BuildFailed", "accumulating resources from 'apps/web/ingress.yaml': yaml: line 4"),
        ("ReconciliationFailed", 'Deployment/shop/web dry-run failed: failed calling webhook "kyverno"'),
        ("ReconciliationFailed", ILL % "Deployment/shop/web"),
        ("HealthCheckFailed", ILL % "Deployment/staging/web"),
        ("HealthCheckFailed", ILL % "Deployment/shop/web-api"),
        ("HealthCheckFailed", ILL % "Service/shop/web"),
        ("HealthCheckFailed", "timeout waiting for: [Deployment/shop/web status: 'InProgress']"),
        ("HealthCheckFailed", f"{ILL % 'Deployment/shop/api'} (Deployment/shop/web is current)"),
    ],
)
def test_a_synchronizer_that_fails_for_something_else_fails_no_version(why: str, message: str) -> None:
    pulls, old = runs(NEW, **PULLS), runs(OLD)
    for running in (old, pulls, runs(NEW, ready=0)):
        one = told(WEB, at=seen(running, syncs=flux(why, message)), source=SOURCE)
        state = {pulls: "pending", old: "absent"}.get(running, "unknown")
        words = "Kustomization flux-system/apps: "
        begins = f"Deployment shop/web [app] runs 1.4.2; {words}" if running is old else words
        assert (one.state, running is pulls or str(one.trouble).startswith(begins)) == (state, True)


def test_a_synchronizer_fails_the_very_object_that_we_see_ill_too() -> None:
    syncs = flux("HealthCheckFailed", ILL % "Deployment/shop/web")
    ill = seen(runs(NEW, **PULLS), syncs=syncs)
    assert told(WEB, at=ill, source=SOURCE).state == "failed"
    assert told(WEB, at=ill, source=Source(SOURCE.url, frozenset({"b" * 40}))).state == "pending"
    assert told(WEB, at=seen(runs(NEW, ready=0), syncs=syncs), source=SOURCE).state == "unknown"
    elsewhere = runs(NEW, namespace="staging", **PULLS)
    assert told(WEB, at=seen(elsewhere, syncs=syncs), source=SOURCE).state == "absent"
    uncertain = told(transformed("1.4.3", "apps/kustomization.yaml"), at=ill, source=SOURCE)
    assert (uncertain.state, "may be another's" in str(uncertain.trouble)) == ("unknown", True)
    other = replace(ill, syncs=(replace(syncs[0], cause="ReconciliationFailed"),))
    assert told(WEB, at=other, source=SOURCE).state == "pending"
    paused = replace(syncs[0], healthy=None, trouble="it is suspended", cause="", ill=())
    one = told(WEB, at=seen(runs(NEW, ready=0), syncs=(paused,)), source=SOURCE)
    assert (one.state, one.trouble) == ("unknown", "Kustomization flux-system/apps: it is suspended")
    # That it is another version is seen, whatever the synchronizer says.
    one = told(WEB, at=seen(runs(OLD), syncs=(paused,)), source=SOURCE)
    assert (one.state, one.trouble) == (
        "absent", "Deployment shop/web [app] runs 1.4.2; Kustomization flux-system/apps: it is suspended",
    )  # fmt: skip


@pytest.mark.parametrize(("name", "state"), [("web", "failed"), ("api", "pending")])
def test_an_application_fails_the_object_that_it_calls_degraded(name: str, state: str) -> None:
    application = {
        "metadata": {"namespace": "argocd", "name": "shop"},
        "spec": {"source": {"repoURL": SOURCE.url, "path": "apps"}},
        "status": {
            "sync": {"status": "Synced", "revision": TIP},
            "health": {"status": "Degraded"},
            "resources": [
                {"kind": "Deployment", "namespace": "shop", "name": name, "health": {"status": "Degraded"}},
                {"kind": "Service", "namespace": "shop", "name": "web", "health": {"status": "Healthy"}},
            ],
        },
    }
    ill = seen(runs(NEW, **PULLS), syncs=read_argo([application]))
    assert told(WEB, at=ill, source=SOURCE).state == state


def release(space: str, why: str, message: str, released: str = "") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "False", "reason": why, "message": message}]
    if released:
        conditions.append(
            {"type": "Released", "status": "False", "reason": "UpgradeFailed", "message": released}
        )
    return {"metadata": {"namespace": space, "name": "web"}, "status": {"conditions": conditions}}


def helm(space: str | None = "shop") -> Site:
    within = f", namespace: {space}" if space else ""
    text = f"""\
kind: HelmRelease
metadata: {{name: web{within}}}
spec: {{values: {{image: {{repository: ghcr.io/acme/web, tag: 1.4.3}}}}}}
"""
    (site,) = locate(text, "release.yaml").sites
    return site.at("apps/release.yaml")


@pytest.mark.parametrize(
    ("why", "message", "released", "state"),
    [
        ("UpgradeFailed", "Helm upgrade failed: timed out waiting for the condition", "", "failed"),
        ("InstallFailed", "Helm install failed: context deadline exceeded", "", "failed"),
        ("TestFailed", "test hook web-test failed", "", "failed"),
        ("UpgradeFailed", "resource Deployment/shop/web not ready. status: InProgress", "", "failed"),
        ("UpgradeFailed", "resource StatefulSet/shop/web-redis not ready. status: InProgress", "", "absent"),
        ("TestFailed", "resource Pod/shop/web-test not ready", "", "absent"),
        ("RollbackSucceeded", "", "resource Deployment/shop/web not ready: deadline exceeded", "failed"),
        ("RollbackSucceeded", "", "resource Deployment/shop/web-db not ready: deadline exceeded", "absent"),
        (
            "UpgradeFailed",
            "resources StatefulSet/shop/web-redis, Deployment/shop/web not ready: timed out",
            "",
            "failed",
        ),
        ("RollbackSucceeded", "Helm rollback to v3 succeeded", "timed out waiting for it", "failed"),
        ("RollbackSucceeded", "Helm rollback to v3 succeeded", "denied by webhook", "absent"),
        ("RollbackSucceeded", "Helm rollback to v3 succeeded", "", "absent"),
        ("UpgradeFailed", "Service web is invalid: spec.clusterIP: field is immutable", "", "absent"),
        ("SourceNotReady", "HelmChart is not ready: 503, timed out", "", "absent"),
        ("ArtifactFailed", "timed out", "", "absent"),
        ("RESTClientError", "timed out", "", "absent"),
        ("ValuesError", "could not find ConfigMap, timed out", "", "absent"),
    ],
)
def test_a_release_of_helm_fails_a_version_only_where_it_did_not_come_up(
    why: str, message: str, released: str, state: str
) -> None:
    failing = release("shop", why, message, released)
    one = told(helm(), at=seen(runs(OLD), syncs=flux("", "", failing)), source=SOURCE)
    assert (one.state, "HelmRelease shop/web: " in str(one.trouble)) == (state, True)
    assert one.is_hearsay == (state == "failed")
    # Before it was applied, it failed with something else.
    unapplied = seen(runs(OLD), syncs=read_flux({"helmreleases": [failing]}))
    assert told(helm(), at=unapplied, source=SOURCE).state == "absent"
    waits = seen(runs(NEW, ready=0), syncs=read_flux({"helmreleases": [failing]}))
    assert told(helm(), at=waits, source=SOURCE).state == "unknown"


def test_another_namespaces_release_fails_nothing() -> None:
    words = ("UpgradeFailed", "timed out waiting for the condition")
    old, bare = runs(OLD), helm(None)
    theirs = flux("", "", release("staging", *words))
    assert told(helm(), at=seen(old, syncs=theirs), source=SOURCE).state == "absent"
    assert told(bare, at=seen(old, syncs=theirs), source=SOURCE).state == "absent"
    narrow = Scope("prod", (), ("shop",))
    assert told(bare, at=seen(old, syncs=theirs), scope=narrow, source=SOURCE).state == "absent"
    both = flux("", "", release("staging", *words), release("shop", *words))
    assert told(bare, at=seen(old, syncs=both), source=SOURCE).state == "absent"
    assert told(bare, at=seen(old, syncs=both), scope=narrow, source=SOURCE).state == "failed"


def test_what_is_put_into_another_cluster_is_not_absent_in_this_one() -> None:
    away = Sync("Application", "argocd", "web", repo=SOURCE.url, elsewhere="https://spoke.example:6443")
    arrived = told(WEB, at=seen(syncs=(away,)), source=SOURCE)
    assert (arrived.state, arrived.is_short) == ("unknown", True)
    assert "Application argocd/web applies it to https://spoke.example:6443" in str(arrived.trouble)
    here = replace(away, elsewhere="", name="here")
    assert told(WEB, at=seen(syncs=(away, here)), source=SOURCE).state == "absent"
    assert told(WEB, at=seen(runs(NEW), syncs=(away,)), source=SOURCE).state == "deployed"


def test_a_release_with_images_of_two_workloads_fails_neither() -> None:
    syncs = flux("", "", release("shop", "UpgradeFailed", "timed out waiting for the condition"))
    both = {"web": (helm(),), "api": (helm(),)}
    found = deployments(both, PROD, seen(runs(OLD), syncs=syncs), source=SOURCE)
    assert {one.seen.state for one in found} == {"absent"}
    waits = runs(NEW, ready=0, settled=False, hindrance="Unschedulable: 0/3 nodes")
    assert told(helm(), at=seen(waits, syncs=syncs), source=SOURCE).state == "unknown"


def test_a_stale_look_says_nothing() -> None:
    late = Clock(NOW + timedelta(hours=1), CLOCK.grace, timedelta(minutes=10))
    (one,) = deployments({"web": (WEB,)}, PROD, seen(runs(NEW)), clock=late)
    assert one.seen.state == "unknown"
