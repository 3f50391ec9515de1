"""What runs against what Git says: each state, since when, and never diverged out of ignorance."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.observations import CLOCK, NOW, PROD, A, B, ago, runs, seen, transformed, written

from automator.core.arrival import deployments
from automator.core.drift import Clock, Drift, DriftState, Said, Says, compare, covers
from automator.core.reference import Reference
from automator.core.running import DeployState, Observation, Running, Scope, Sync, Unobserved
from automator.core.site import Site, locate
from automator.core.synced import Source
from automator.reasons import reason


def said(tag: str, minutes: float, *before: str, is_complete: bool = True) -> dict[str, Says]:
    values = [Said(tag, None, ago(minutes))]
    values += [Said(old, None, ago(minutes + 100 * (i + 1))) for i, old in enumerate(before)]
    return {"web": Says(tuple(values), is_complete)}


def one(*sites: Site, at: Observation | Unobserved, scope: Scope = PROD, **more: object) -> Drift:
    (drift,) = compare({"web": sites}, scope, at, CLOCK, **more)  # type: ignore[arg-type]
    return drift


WEB = written("ghcr.io/acme/web:1.4.3")


def test_what_runs_as_git_says_is_the_same() -> None:
    drift = one(WEB, at=seen(runs("ghcr.io/acme/web:1.4.3")))
    assert (drift.state, drift.runs, drift.places) == ("same", ("1.4.3",), ("Deployment shop/web [app]",))
    assert str(drift.reason) == "Deployment shop/web [app] in prod runs 1.4.3, as Git says"


def test_a_fresh_release_is_not_yet_deployed_and_then_diverged() -> None:
    old = seen(runs("ghcr.io/acme/web:1.4.2"))
    pending = one(WEB, at=old, says=said("1.4.3", 14, "1.4.2"))
    late = one(WEB, at=old, says=said("1.4.3", 16, "1.4.2"))
    assert (pending.state, pending.since, pending.reason.changes_at) == ("pending", ago(14), ago(-1))
    assert str(pending.reason) == (
        "not yet deployed: Deployment shop/web [app] in prod runs 1.4.2, Git says 1.4.3 since 14:46 UTC"
    )
    assert (late.state, late.since, late.reason.code) == ("diverged", ago(16), "drift/late")
    assert str(late.reason) == "Deployment shop/web [app] in prod runs 1.4.2, Git says 1.4.3 since 14:44 UTC"


def test_what_git_never_said_is_told_as_such() -> None:
    byhand = seen(runs("ghcr.io/acme/web:1.9.0", since=ago(30)))
    assert one(WEB, at=byhand, says=said("1.4.3", 500, "1.4.2")).reason.code == "drift/foreign"
    # Of a history that was not read to its beginning nobody can say that.
    unread = said("1.4.3", 500, "1.4.2", is_complete=False)
    assert one(WEB, at=byhand, says=unread).reason.code == "drift/late"
    assert one(WEB, at=seen(runs("ghcr.io/acme/web:1.9.0", since=ago(3))), says=unread).state == "pending"
    other = seen(runs("ghcr.io/evil/web:1.4.3", since=ago(30)))
    assert str(one(WEB, at=other, says=said("1.4.3", 500)).reason) == (
        "Deployment shop/web [app] in prod runs ghcr.io/evil/web:1.4.3, which Git never said; "
        "it says 1.4.3 since 06:40 UTC"
    )


def test_a_rollback_in_git_is_waited_for_like_a_release() -> None:
    drift = one(
        written("ghcr.io/acme/web:1.4.2"), at=seen(runs("ghcr.io/acme/web:1.4.3")), says=said("1.4.2", 2)
    )
    assert drift.state == "pending"


def test_grace_counts_from_the_look_that_found_it_where_nobody_knows_better() -> None:
    byhand = seen(runs("ghcr.io/acme/web:1.4.2"))
    first = one(WEB, at=byhand)
    assert (first.state, first.since) == ("pending", NOW)
    at = NOW + timedelta(minutes=16)
    later = Clock(at, CLOCK.grace)
    (again,) = compare({"web": (WEB,)}, PROD, replace(byhand, at=at), later, earlier={"web": first})
    assert (again.state, again.since) == ("diverged", NOW)
    # Git moved on in between: the synchronizer gets its time anew.
    newer = written("ghcr.io/acme/web:1.4.4")
    (moved,) = compare({"web": (newer,)}, PROD, replace(byhand, at=at), later, earlier={"web": again})
    assert (moved.state, moved.since) == ("pending", at)
    # It was well at the last look, whatever old dates a commit may carry.
    well = replace(first, state=DriftState.SAME)
    (fresh,) = compare(
        {"web": (WEB,)}, PROD, byhand, CLOCK, earlier={"web": well}, says=said("1.4.3", 900, "1.4.2")
    )
    assert fresh.state == "pending"


def test_what_is_started_again_gets_no_new_grace() -> None:
    """An engine, or a `rollout restart`, says of the same containers that they began just now."""
    earlier: dict[str, Drift] = {}
    told = []
    for minute in range(40):
        at, tag = NOW + timedelta(minutes=minute), "1.4.1" if minute >= 35 else "1.4.2"
        old = runs(f"ghcr.io/acme/web:{tag}", since=at - timedelta(minutes=minute % 5))
        (drift,) = compare(
            {"web": (WEB,)}, PROD, replace(seen(old), at=at), Clock(at, CLOCK.grace), earlier=earlier
        )
        earlier = {"web": drift}
        told.append((drift.state.value, drift.since))
    assert told[15:17] == [("pending", NOW), ("diverged", NOW)]
    assert told[34] == ("diverged", NOW)
    # Really another version: it began when that was started.
    assert told[35:] == [("pending", NOW + timedelta(minutes=35))] * 5


def test_the_same_version_set_anew_in_git_gets_a_new_grace() -> None:
    old = seen(runs("ghcr.io/acme/web:1.4.2"))
    first = replace(one(WEB, at=old), state=DriftState.DIVERGED, since=ago(99))
    again = one(WEB, at=old, earlier={"web": first}, says=said("1.4.3", 3, "1.4.2"))
    assert (again.state, again.since) == ("pending", ago(3))


def test_clocks_that_run_ahead_make_no_future() -> None:
    drift = one(
        WEB, at=seen(runs("ghcr.io/acme/web:1.4.2", since=ago(-60))), says=said("1.4.3", -30, "1.4.2")
    )
    assert (drift.state, drift.since) == ("pending", NOW)


def test_same_keeps_its_time_from_look_to_look() -> None:
    first = one(WEB, at=seen(runs("ghcr.io/acme/web:1.4.3")))
    assert first.since is None  # nobody knows since when
    old = replace(first, state=DriftState.DIVERGED, since=ago(99))
    back = one(WEB, at=seen(runs("ghcr.io/acme/web:1.4.3")), earlier={"web": old})
    assert (back.state, back.since) == ("same", NOW)
    assert one(
        WEB, at=seen(runs("ghcr.io/acme/web:1.4.3")), earlier={"web": replace(back, since=ago(5))}
    ).since == ago(5)


# -- rollouts ----------------------------------------------------------------------------------------------


def test_a_rollout_under_way_is_pending_and_a_stuck_one_diverged() -> None:
    rolling = seen(
        runs(
            "ghcr.io/acme/web:1.4.3",
            wanted=3,
            ready=1,
            settled=False,
            trouble="ImagePullBackOff: no such tag",
        ),
        runs("ghcr.io/acme/web:1.4.2", wanted=0, ready=2, settled=None),
    )
    young = one(WEB, at=rolling, says=said("1.4.3", 2, "1.4.2"))
    assert (young.state, young.runs) == ("pending", ("1.4.2", "1.4.3"))
    assert str(young.reason).endswith(
        "is on its way to 1.4.3 since 14:58 UTC: 1 of 3 run it, 2 still run 1.4.2; "
        "ImagePullBackOff: no such tag"
    )
    # Whatever Git's age: what rolls may be a scaling of a minute ago, until looks have seen it for long.
    first = one(WEB, at=rolling, says=said("1.4.3", 500, "1.4.2"))
    assert (first.state, first.since) == ("pending", NOW)
    seen_before = {"web": replace(first, since=ago(20))}
    assert one(WEB, at=rolling, says=said("1.4.3", 20, "1.4.2"), earlier=seen_before).reason.code == (
        "drift/stuck"
    )
    given_up = seen(replace(rolling.running[0], failed=True))
    assert one(WEB, at=given_up, says=said("1.4.3", 20, "1.4.2")).reason.code == "drift/stuck"


@pytest.mark.parametrize(
    ("running", "state"),
    [
        (
            runs("ghcr.io/acme/web:1.4.3", wanted=0, ready=0),
            "same",
        ),  # scaled to nothing: what is asked for counts
        (runs("ghcr.io/acme/web:1.4.2", wanted=0, ready=0), "pending"),
        (runs("ghcr.io/acme/web:1.4.3", ready=1), "same"),  # a pod that is not ready is no drift
        (runs("ghcr.io/acme/web:1.4.3", trouble="CrashLoopBackOff"), "same"),
    ],
)
def test_what_the_controller_is_told_decides(running: Running, state: str) -> None:
    assert one(WEB, at=seen(running)).state == state


def test_a_job_that_is_gone_has_ended() -> None:
    web, job = WEB, written("ghcr.io/acme/web:1.4.3", "migrate", kind="Job")
    assert one(web, job, at=seen(runs("ghcr.io/acme/web:1.4.3"))).reason.code == "drift/same"
    assert one(web, job, at=seen(runs("ghcr.io/acme/web:1.4.2"))).state == "pending"
    assert one(job, at=seen()).reason.code == "drift/absent"


def test_a_job_of_the_past_is_no_drift() -> None:
    job = written("ghcr.io/acme/web:1.4.3", namespace="", kind="Job")
    past = seen(runs("ghcr.io/acme/web:1.4.2", kind="Job", wanted=0, ready=0))
    drift = one(job, at=past)
    assert (drift.state, drift.reason.code) == ("unknown", "drift/ended")
    assert one(job, at=seen(runs("ghcr.io/acme/web:1.4.3", kind="Job", wanted=0))).state == "same"
    assert one(job, at=seen(runs("ghcr.io/acme/web:1.4.2", kind="Job", wanted=1))).differs


# -- whose is what runs ------------------------------------------------------------------------------------


def test_names_by_any_spelling_are_one_image() -> None:
    site = written("nginx:1.25")
    for spelled in ("nginx:1.25", "docker.io/library/nginx:1.25", "index.docker.io/library/nginx:1.25"):
        assert one(site, at=seen(runs(spelled))).state == "same"


@pytest.mark.parametrize(
    ("site", "image", "pulled", "state"),
    [
        (f"ghcr.io/acme/web:1.4.3@{A}", f"ghcr.io/acme/web:1.4.3@{A}", None, "same"),
        (f"ghcr.io/acme/web:1.4.3@{A}", f"ghcr.io/acme/web:1.4.3@{A}", B, "same"),  # one platform's part
        (f"ghcr.io/acme/web:1.4.3@{A}", f"ghcr.io/acme/web:1.4.3@{B}", None, "pending"),
        (f"ghcr.io/acme/web:1.4.3@{A}", "ghcr.io/acme/web:1.4.3", A, "same"),
        (f"ghcr.io/acme/web:1.4.3@{A}", "ghcr.io/acme/web:1.4.3", B, "unknown"),
        (f"ghcr.io/acme/web:1.4.3@{A}", "ghcr.io/acme/web:1.4.3", None, "same"),
        (f"ghcr.io/acme/web@{A}", f"ghcr.io/acme/web@{A}", None, "same"),
        (f"ghcr.io/acme/web@{A}", f"ghcr.io/acme/web:1.4@{B}", None, "pending"),
        (f"ghcr.io/acme/web@{A}", "ghcr.io/acme/web:1.4.3", B, "unknown"),
        ("ghcr.io/acme/web:1.4.3", f"ghcr.io/acme/web@{A}", None, "unknown"),
        ("ghcr.io/acme/web:1.4.3", f"ghcr.io/acme/web:1.4.3@{A}", None, "same"),
        ("ghcr.io/acme/web:1.4.3", "sha256:0123", None, "unknown"),
        (f"ghcr.io/acme/web:1.4.3@{A}", f"mirror.example/acme/web@{A}", None, "same"),
        # By the name that a mirror gives it, in what the controller is told.
        ("ghcr.io/acme/web:1.4.3", "harbor.corp/ghcr/acme/web:1.4.3", None, "unknown"),
        ("ghcr.io/acme/web:1.4.3", "123.dkr.ecr.eu-west-1.amazonaws.com/web:1.4.3", None, "unknown"),
        ("nginx:1.25", "harbor.corp/hub/nginx:1.25", None, "unknown"),
        ("ghcr.io/acme/web:1.4.3", "harbor.corp/ghcr/acme/web:1.4.2", None, "pending"),
        ("ghcr.io/acme/web:1.4.3", "harbor.corp/ghcr/other-web:1.4.3", None, "pending"),
    ],
)
def test_tags_and_digests_are_compared_as_far_as_they_can_be(
    site: str, image: str, pulled: str | None, state: str
) -> None:
    assert one(written(site), at=seen(runs(image, digest=pulled))).state == state


def test_a_mirror_in_the_template_is_told_as_one() -> None:
    drift = one(WEB, at=seen(runs("harbor.corp/ghcr/acme/web:1.4.3")), says=said("1.4.3", 99))
    assert str(drift.reason) == (
        "Deployment shop/web [app] in prod runs harbor.corp/ghcr/acme/web:1.4.3, which may be a mirror's "
        "name for ghcr.io/acme/web: whether they are the same cannot be told"
    )


TEMPLATES = ["${TAG}", "${TAG:=1.4.3}", "{{ tag }}", "1.4.3-${SUFFIX}"]


@pytest.mark.parametrize("tag", TEMPLATES)
def test_a_tag_that_a_template_fills_in_says_nothing(tag: str) -> None:
    site = written(f"ghcr.io/acme/web:{tag}")
    for running in (
        runs("ghcr.io/acme/web:1.4.3"),
        runs("ghcr.io/acme/web:latest"),
        runs("ghcr.io/acme/web:1"),
    ):
        drift = one(site, at=seen(running), says=said("1.4.3", 99))
        assert (drift.state, drift.reason.code, drift.wanted) == (
            "unknown", "drift/templated", "what a template fills in",
        )  # fmt: skip
        (arrived,) = deployments({"web": (site,)}, PROD, seen(running))
        assert arrived.seen.state is DeployState.UNKNOWN
    # Where others tell, those count alone.
    well = seen(runs("ghcr.io/acme/web:1.4.3"))
    values = transformed("1.4.3")
    assert one(site, values, at=well).reason.code == "drift/same"
    (arrived,) = deployments({"web": (site, values)}, PROD, well)
    assert (arrived.version, arrived.seen.state) == ("1.4.3", DeployState.DEPLOYED)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        (
            "kind: OCIRepository\nmetadata: {name: web}\n"
            "spec: {url: oci://ghcr.io/acme/charts/web, ref: {tag: 1.4.3}}\n",
            "web.yaml",
        ),
        (
            "dependencies: [{name: web, repository: oci://ghcr.io/acme/charts, version: 1.4.3}]\n",
            "Chart.yaml",
        ),
    ],
)
def test_a_chart_runs_at_no_runtime(text: str, file: str) -> None:
    (site,) = locate(text, file).sites
    workloads = {"web": (site.at(f"apps/{file}"),)}
    assert compare(workloads, PROD, seen(), CLOCK) == ()
    assert deployments(workloads, PROD, seen()) == ()


def test_absent_is_unknown() -> None:
    drift = one(transformed("1.4.3"), at=seen(runs("docker.io/library/redis:7", name="cache")))
    assert (drift.state, drift.reason.code) == ("unknown", "drift/absent")
    assert "overlays/kustomization.yaml#" in str(drift.reason)


def test_an_object_that_was_deleted_is_told_once_the_grace_time_is_over() -> None:
    nothing = seen(runs("docker.io/library/redis:7", name="cache"))
    first = one(WEB, at=nothing)
    assert (first.state, first.since, first.runs) == ("pending", NOW, ())
    assert str(first.reason) == "not yet deployed: Deployment shop/web is not in prod; Git says 1.4.3"
    later = one(WEB, at=nothing, earlier={"web": replace(first, since=ago(16))})
    assert (later.state, later.reason.code) == ("diverged", "drift/missing")
    assert str(later.reason) == "Deployment shop/web is not in prod; Git says 1.4.3"
    (arrived,) = deployments({"web": (WEB,)}, PROD, nothing)
    assert (arrived.seen.state, arrived.seen.trouble) == (
        DeployState.ABSENT,
        "Deployment shop/web is not there",
    )


def test_an_object_is_missing_where_it_ought_to_run() -> None:
    """A Kustomization around the file, or a synchronizer, gives the namespace."""
    for site in (written("ghcr.io/acme/web:1.4.3", namespace=""), WEB):
        drift = one(replace(site, runs_in="staging"), at=seen())
        assert str(drift.reason) == "not yet deployed: Deployment staging/web is not in prod; Git says 1.4.3"


@pytest.mark.parametrize(
    ("site", "cluster", "scope"),
    [
        # It could be there under another name, or in the namespace that an overlay gives it.
        (WEB, [runs("ghcr.io/acme/web:1.4.3", name="web", namespace="eu")], PROD),
        (WEB, [runs("ghcr.io/acme/web:1.4.3", name="eu-web", kind="StatefulSet")], PROD),
        # It stands in a namespace that was not asked for; or nobody wrote in which.
        (WEB, [], Scope("prod", (), ("other",))),
        (written("ghcr.io/acme/web:1.4.3", namespace=""), [], PROD),
        (written("ghcr.io/acme/web:1.4.3", namespace="${space}"), [], PROD),
        (written("ghcr.io/acme/web:1.4.3", name="${app}"), [], PROD),
    ],
)
def test_what_may_be_there_is_never_missing(site: Site, cluster: list[Running], scope: Scope) -> None:
    drift = one(site, at=seen(*cluster), scope=scope, says=said("1.4.3", 99))
    assert (drift.state, drift.reason.code) == ("unknown", "drift/absent")


def test_a_prefixed_name_is_found_by_its_image() -> None:
    assert one(WEB, at=seen(runs("ghcr.io/acme/web:1.4.3", name="eu-web"))).state == "same"
    assert one(WEB, at=seen(runs("ghcr.io/acme/web:1.4.2", name="eu-web"))).state == "pending"
    # What another site names is not taken for it.
    other = written("ghcr.io/acme/web:1.4.2", name="api")
    (web, _) = compare(
        {"web": (WEB,), "api": (other,)}, PROD, seen(runs("ghcr.io/acme/web:1.4.2", name="api")), CLOCK
    )
    assert web.reason.code == "drift/awaited"


def test_sites_without_object_are_told_apart_or_unknown() -> None:
    staging, prod = (
        transformed("1.5.0", "staging/kustomization.yaml"),
        transformed("1.4.3", "prod/kustomization.yaml"),
    )
    both = {"staging": (staging,), "web": (prod,)}
    cluster = seen(runs("ghcr.io/acme/web:1.4.3", namespace="staging"), runs("ghcr.io/acme/web:1.4.3"))
    drifts = compare(both, PROD, cluster, CLOCK)
    assert {drift.reason.code for drift in drifts} == {"drift/ambiguous"}
    assert str(drifts[0].reason).startswith(
        "the files of staging, web say several versions of ghcr.io/acme/web, and nothing tells which of them"
    )
    narrow = Scope("prod", ("prod/**",), ("shop",))
    (drift,) = compare(both, narrow, cluster, CLOCK)
    assert (drift.workload, drift.state) == ("web", "same")
    # Each version is wanted by one and runs once: but it could be the other way round.
    well = seen(runs("ghcr.io/acme/web:1.5.0", namespace="staging"), runs("ghcr.io/acme/web:1.4.3"))
    swapped = seen(runs("ghcr.io/acme/web:1.4.3", namespace="staging"), runs("ghcr.io/acme/web:1.5.0"))
    for cluster in (well, swapped):
        drifts = compare(both, PROD, cluster, CLOCK)
        assert {(drift.state.value, drift.reason.code) for drift in drifts} == {("unknown", "drift/spread")}
    assert str(drifts[0].reason) == (
        "ghcr.io/acme/web runs in several namespaces of prod (staging, shop), and nothing tells which of "
        "them staging/kustomization.yaml#images[ghcr.io/acme/web].newTag is about"
    )
    # With the namespace of each kustomization it is told.
    placed = {
        "staging": (transformed("1.5.0", "staging/kustomization.yaml", space="staging"),),
        "web": (transformed("1.4.3", "prod/kustomization.yaml", space="shop"),),
    }
    assert [drift.state for drift in compare(placed, PROD, well, CLOCK)] == ["same", "same"]
    assert [drift.state for drift in compare(placed, PROD, swapped, CLOCK)] == ["pending", "pending"]


def test_a_namespace_that_is_written_binds() -> None:
    elsewhere = seen(runs("ghcr.io/acme/web:1.4.3", namespace="staging"))
    assert str(one(WEB, at=elsewhere).reason) == (
        f"nothing that runs in namespace shop of prod is ghcr.io/acme/web of {WEB.label}"
    )
    # A template of a namespace is none.
    assert one(written("ghcr.io/acme/web:1.4.3", namespace="${space}"), at=elsewhere).state == "same"
    assert one(transformed("1.4.3", space="shop"), at=elsewhere).reason.code == "drift/absent"
    both = seen(*elsewhere.running, runs("ghcr.io/acme/web:1.4.2"))
    assert one(transformed("1.4.3", space="shop"), at=both).state == "pending"
    unwritten = written("ghcr.io/acme/web:1.4.3", namespace="")
    assert one(unwritten, at=seen(*elsewhere.running, runs("ghcr.io/acme/web:1.4.3"))).reason.code == (
        "drift/spread"
    )


@pytest.mark.parametrize(
    ("release", "home"),
    [
        (
            "{kind: HelmRelease, metadata: {name: web, namespace: flux}, spec: {targetNamespace: shop, %s}}",
            True,
        ),
        ("{kind: HelmRelease, metadata: {name: web, namespace: shop}, spec: {%s}}", True),
        ("{kind: HelmRelease, metadata: {name: web, namespace: flux}, spec: {%s}}", False),
    ],
)
def test_a_release_runs_in_the_namespace_that_it_targets(release: str, home: bool) -> None:
    values = "values: {image: {repository: ghcr.io/acme/web, tag: 1.4.3}}"
    (site,) = locate(release % values + "\n", "release.yaml").sites
    both = seen(runs("ghcr.io/acme/web:1.4.3"), runs("ghcr.io/acme/web:1.5.0", namespace="staging"))
    assert one(site.at("release.yaml"), at=both).state == ("same" if home else "unknown")


@pytest.mark.parametrize(
    ("beside", "code"),
    [
        # As Kustomize names it in another environment.
        (runs("ghcr.io/acme/web:1.4.2", name="staging-web", namespace="staging"), "drift/spread"),
        (runs("ghcr.io/acme/web:1.4.3", name="web-eu", namespace="eu"), "drift/spread"),
        # Other things that run the image, or bear such a name.
        (runs("ghcr.io/acme/web:1.4.2", name="edge", namespace="other"), "drift/same"),
        (runs("ghcr.io/acme/web:1.4.2", name="web-2", namespace="shop"), "drift/same"),
        (runs("ghcr.io/acme/web:1.4.2", name="web-1", namespace="other", kind="Pod"), "drift/same"),
        (runs("ghcr.io/acme/api:1", name="my-web", namespace="other"), "drift/same"),
    ],
)
def test_what_says_no_namespace_is_known_where_one_alone_could_be_it(beside: Running, code: str) -> None:
    site = written("ghcr.io/acme/web:1.4.3", namespace="")
    cluster = seen(runs("ghcr.io/acme/web:1.4.3"), beside)
    assert one(site, at=cluster).reason.code == code
    (arrived,) = deployments({"web": (site,)}, PROD, cluster)
    assert arrived.seen.state == ("deployed" if code == "drift/same" else "unknown")
    named = {"web": (site,), "other": (written("ghcr.io/acme/web:1.4.2", beside.name, beside.namespace),)}
    web, _ = compare(named, PROD, cluster, CLOCK)
    assert web.reason.code == "drift/same", "what another file names is not ours"


def test_without_a_namespace_nothing_under_another_name_is_it() -> None:
    site = written("ghcr.io/acme/web:1.4.3", namespace="")
    other = seen(runs("ghcr.io/acme/web:1.4.3", name="edge", namespace="other"))
    assert one(site, at=other).reason.code == "drift/absent"
    renamed = seen(runs("ghcr.io/acme/web:1.4.3", name="staging-web", namespace="staging"))
    assert one(site, at=renamed).reason.code == "drift/same"
    old = seen(runs("ghcr.io/acme/web:1.4.2"), runs("ghcr.io/acme/web:1.4.1", name="eu-web", namespace="eu"))
    assert one(site, at=old).state == "pending", "where all of it is another version, ours is too"


def test_another_teams_object_of_the_same_name_is_not_taken_for_ours() -> None:
    site = written("ghcr.io/acme/web:1.4.3", namespace="")
    theirs = runs("ghcr.io/others/thing:1", namespace="team-b")
    assert one(site, at=seen(theirs)).state == "unknown"
    assert one(site, at=seen(theirs, runs("ghcr.io/acme/web:1.4.3"))).state == "same"
    assert one(WEB, at=seen(theirs, runs("ghcr.io/acme/web:1.4.3"))).state == "same"


def test_what_runs_beside_in_another_namespace_may_be_nobodys() -> None:
    site = transformed("1.4.3")
    beside = seen(runs("ghcr.io/acme/web:1.4.3"), runs("ghcr.io/acme/web:1.5.0-rc", namespace="playground"))
    assert one(site, at=beside).reason.code == "drift/spread"
    assert one(site, at=beside, scope=Scope("prod", (), ("shop",))).state == "same"
    # Where all of it is another version, ours is too.
    assert one(site, at=seen(runs("ghcr.io/acme/web:1.4.2"), *beside.running[1:])).state == "pending"


def test_a_helm_release_runs_where_it_stands() -> None:
    text = """\
kind: HelmRelease
metadata: {name: web, namespace: shop}
spec: {values: {image: {repository: ghcr.io/acme/web, tag: 1.4.3}}}
"""
    (site,) = locate(text, "release.yaml").sites
    cluster = seen(runs("ghcr.io/acme/web:1.4.3"), runs("ghcr.io/acme/web:1.5.0", namespace="staging"))
    assert one(site.at("release.yaml"), at=cluster).state == "same"
    failed = Sync("HelmRelease", "shop", "web", healthy=False, trouble="UpgradeFailed: timed out")
    old = seen(runs("ghcr.io/acme/web:1.4.2"), syncs=(failed,))
    drift = one(site.at("release.yaml"), at=old, source=Source("https://example.com/acme/config"))
    assert str(drift.reason).endswith("; HelmRelease shop/web says: UpgradeFailed: timed out")


def test_sites_of_one_workload_at_different_versions_are_compared_each() -> None:
    eu, us = WEB, written("ghcr.io/acme/web:1.4.2", namespace="us", file="apps/us.yaml")
    well = seen(runs("ghcr.io/acme/web:1.4.3"), runs("ghcr.io/acme/web:1.4.2", namespace="us"))
    drift = one(eu, us, at=well)
    assert (drift.state, drift.wanted) == ("same", "1.4.3, 1.4.2")
    behind = seen(runs("ghcr.io/acme/web:1.4.2"), runs("ghcr.io/acme/web:1.4.2", namespace="us"))
    drift = one(eu, us, at=behind)
    assert (drift.state, drift.places[0]) == ("pending", "Deployment shop/web [app]")


def test_init_containers_and_cronjobs_are_compared_by_their_own_names() -> None:
    text = """\
kind: CronJob
metadata: {name: web, namespace: shop}
spec: {jobTemplate: {spec: {template: {spec: {
  initContainers: [{name: init, image: "ghcr.io/acme/migrate:2"}],
  containers: [{name: app, image: "ghcr.io/acme/web:1.4.3"}]}}}}}
"""
    sites = [site.at("cron.yaml") for site in locate(text, "cron.yaml").sites]
    cron = runs("ghcr.io/acme/web:1.4.3", kind="CronJob", wanted=None, ready=None)
    init = replace(cron, container="init", reference="ghcr.io/acme/migrate:1")
    web, migrate = compare({"web": (sites[1],), "migrate": (sites[0],)}, PROD, seen(cron, init), CLOCK)
    assert (web.state, migrate.state) == ("same", "pending")


def test_a_compose_service_is_found_by_its_name() -> None:
    (site,) = locate("services: {web: {image: 'ghcr.io/acme/web:1.4.3'}}\n", "compose.yaml").sites
    service = Running("service", "", "web", "shop-web-1", "ghcr.io/acme/web:1.4.2", project="shop")
    drift = one(site.at("compose.yaml"), at=seen(service))
    assert (drift.state, drift.places) == ("pending", ("service shop/web [shop-web-1]",))


def test_only_what_a_runtime_covers_is_compared() -> None:
    scope = Scope("prod", ("prod/**",))
    assert (covers(scope, "prod/a/web.yaml"), covers(scope, "staging/web.yaml")) == (True, False)
    assert compare({"web": (WEB,)}, scope, seen(), CLOCK) == ()


# -- ignorance ---------------------------------------------------------------------------------------------

DOWN = Unobserved("prod", NOW, reason("drift/stale", runtime="prod", age="1 day"))


def test_a_runtime_that_is_down_makes_unknown() -> None:
    drift = one(WEB, at=DOWN)
    assert (drift.state, drift.reason.code) == ("unknown", "drift/unobserved")
    old = Observation("prod", ago(60), (runs("ghcr.io/acme/web:1.4.2"),))
    (stale,) = compare({"web": (WEB,)}, PROD, old, Clock(NOW, CLOCK.grace, timedelta(minutes=10)))
    assert str(stale.reason) == "what runs in prod is not known: the last look was 1 hour ago"


def test_a_look_that_fails_ends_no_difference_and_begins_none() -> None:
    byhand = seen(runs("ghcr.io/acme/web:1.4.2"))

    def watched(*looks: Observation | Unobserved) -> list[Drift]:
        earlier: dict[str, Drift] = {}
        found = []
        for minute, look in enumerate(looks):
            at = NOW + timedelta(minutes=minute)
            (drift,) = compare(
                {"web": (WEB,)}, PROD, replace(look, at=at), Clock(at, CLOCK.grace), earlier=earlier,
                says=said("1.4.3", 500, "1.4.2"),
            )  # fmt: skip
            earlier = {"web": drift}
            found.append(drift)
        return found

    well = seen(runs("ghcr.io/acme/web:1.4.3"))
    drifts = watched(well, *([byhand] * 13 + [DOWN]) * 2)
    assert [(drift.state.value, drift.since) for drift in drifts[-3:-1]] == [
        ("diverged", NOW + timedelta(minutes=1))
    ] * 2
    assert drifts[-1].state is DriftState.UNKNOWN
    scaling = seen(runs("ghcr.io/acme/web:1.4.3", wanted=4, ready=2, settled=False))
    last = watched(*[well] * 5, DOWN, DOWN, scaling)[-1]
    assert (last.state, last.since) == ("pending", NOW + timedelta(minutes=7))
    assert watched(well, well, DOWN, well)[-1].since == NOW + timedelta(minutes=1), "well all the time"


def test_what_a_synchronizer_says_is_told_where_it_applies_the_file() -> None:
    sync = Sync(
        "Kustomization", "flux-system", "apps", attempted="c0ffee", healthy=False,
        trouble="health check failed: Deployment/shop/web",
        repo="ssh://git@example.com/acme/config.git", path="./apps",
    )  # fmt: skip
    old = seen(runs("ghcr.io/acme/web:1.4.2"), syncs=(sync,))
    source = Source("https://example.com/acme/config", frozenset({"c0ffee"}))
    words = "; Kustomization flux-system/apps says: health check failed: Deployment/shop/web"
    assert str(one(WEB, at=old, source=source).reason).endswith(words)
    elsewhere = replace(sync, path="infra")
    assert words not in str(one(WEB, at=replace(old, syncs=(elsewhere,)), source=source).reason)
    assert words not in str(one(WEB, at=old, source=Source("https://example.com/other")).reason)


# -- laws --------------------------------------------------------------------------------------------------

text = st.text(max_size=30)
hostile = st.builds(
    Running,
    st.sampled_from(["Deployment", "Job", "Pod", "service", "\x00"]),
    st.sampled_from(["shop", "", "\u202e"]),
    st.sampled_from(["web", "x{y}"]) | text,
    st.just("app") | text,
    st.sampled_from(["ghcr.io/acme/web:1.4.3", "ghcr.io/acme/web:1.4.2", f"ghcr.io/acme/web@{A}"]) | text,
    digest=st.none() | st.just(A) | text,
    wanted=st.none() | st.integers(-1, 3),
    ready=st.none() | st.integers(-1, 3),
    settled=st.none() | st.booleans(),
    trouble=st.none() | text,
    since=st.none() | st.just(NOW),
    failed=st.booleans(),
)
sites = st.lists(
    st.sampled_from(
        [
            WEB,
            written(f"ghcr.io/acme/web:1.4.3@{A}"),
            written("ghcr.io/acme/web:1.4.2", namespace=""),
            transformed("1.4.3"),
            replace(transformed("1.4.1"), repository=None),
        ]
    ),
    min_size=1,
    max_size=3,
).map(tuple)


@given(sites, sites, st.lists(hostile, max_size=5))
def test_nothing_that_a_runtime_says_breaks_the_comparison(
    web: tuple[Site, ...], api: tuple[Site, ...], running: list[Running]
) -> None:
    workloads = {"web": web, "api": api}
    drifts = compare(workloads, PROD, seen(*running), CLOCK)
    assert [drift.workload for drift in drifts] == ["web", "api"]
    assert all("\n" not in str(drift.reason) for drift in drifts)
    for arrived in deployments(workloads, PROD, seen(*running)):
        state = next(drift.state for drift in drifts if drift.workload == arrived.workload)
        assert arrived.seen.state is not DeployState.DEPLOYED or state is DriftState.SAME


@given(st.lists(sites, min_size=1, max_size=4))
def test_a_runtime_that_runs_what_git_says_never_differs(workloads: list[tuple[Site, ...]]) -> None:
    assert WEB.repository is not None
    # Whoever asks gives a templated name the image of its workload.
    named = {
        f"w{i}": tuple(replace(site, repository=WEB.repository) for site in own)
        for i, own in enumerate(workloads)
    }
    running = [
        Running(
            site.kind or "Deployment",
            site.namespace or f"ns-{i}-{j}",
            site.name or f"n-{i}-{j}",
            site.container or "app",
            str(Reference(WEB.repository, site.tag, site.digest, "")),
            wanted=1,
            ready=1,
            settled=True,
        )
        for i, own in enumerate(workloads)
        for j, site in enumerate(own)
    ]
    assert not [drift for drift in compare(named, PROD, seen(*running), CLOCK) if drift.differs]


@given(sites)
def test_a_runtime_that_could_not_be_asked_is_always_unknown(web: tuple[Site, ...]) -> None:
    assert one(*web, at=DOWN).state is DriftState.UNKNOWN
