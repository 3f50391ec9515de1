"""What waits, waits at no cost, is looked at when it may have ended, and never starves what is below it."""

from __future__ import annotations

import os
from datetime import timedelta

from parts.platforms import push_platforms
from parts.stage import Stage

from automator.cycle.run import Trigger
from automator.reasons import Status

DUE = Trigger("due")
RANGE = 'semver: ">=1.0 <2"'
MINUTE = timedelta(minutes=1)


def manifests(stage: Stage) -> int:
    """Requests for manifests so far."""
    return sum("/manifests/" in line and not line.startswith("PUT") for line in stage.registry.log)


def test_a_persons_revert_of_a_downgrade_stays(stage: Stage) -> None:
    stage.push("acme/web", "1.4.0", "1.5.0")
    stage.commit(stage.workload("web", "1.5.0", keys='semver: "<1.5"\ndowngrade: true'))
    down = stage.outcomes()["web"]
    assert (down.status, down.target is not None) == (Status.RELEASED, True)
    assert down.commit is not None
    stage.revert(down.commit)
    for _ in range(2):
        held = stage.outcomes()["web"]
        assert (held.status, held.reason.code) == (Status.HELD, "history/downgrade-undone")
    assert stage.image_of("web") == "web:1.5.0"
    stage.push("acme/web", "1.4.1")  # a version that nobody turned away
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.1"


def test_an_accepted_downgrade_is_made_again(stage: Stage) -> None:
    keys = 'semver: "<1.5"\ndowngrade: true'
    stage.push("acme/web", "1.4.0", "1.5.0")
    stage.commit(stage.workload("web", "1.5.0", keys=keys))
    down = stage.outcomes()["web"]
    assert down.commit is not None
    stage.revert(down.commit)
    assert stage.outcomes()["web"].status is Status.HELD
    policy = stage.workload("web", "1.5.0", keys=f'{keys}\naccept: ["1.4.0"]')["policies/web.yaml"]
    stage.commit({"policies/web.yaml": policy})
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.0"


def test_a_tag_that_is_pushed_again_and_again_does_not_starve_the_next_one(stage: Stage) -> None:
    start = stage.now
    stage.push("acme/web", "1.0.0", "1.0.1", "1.0.2")
    stage.commit(stage.workload("web", "1.0.0", keys=f"{RANGE}\nmin_age: 30m"))
    for i in range(3):
        stage.now = start + 30 * i * MINUTE
        stage.outcomes()
        stage.now = start + (30 * i + 10) * MINUTE
        stage.push("acme/web", "1.0.2")
    assert stage.image_of("web") == "web:1.0.1"


def test_a_newer_version_is_looked_at_each_hour_while_an_older_one_ages(stage: Stage) -> None:
    start = stage.now
    stage.push("acme/web", "1.0.0")
    push_platforms(stage.host, "acme/web", "1.0.1", "linux/amd64", "linux/arm64")
    stage.commit(stage.workload("web", "1.0.0", keys=f"{RANGE}\nplatforms: [linux/arm64]\nmin_age: 4h"))
    stage.outcomes()
    push_platforms(stage.host, "acme/web", "1.0.2", "linux/amd64")
    stage.outcomes()
    stage.now = start + timedelta(hours=1, minutes=30)
    stage.outcomes()
    push_platforms(stage.host, "acme/web", "1.0.2", "linux/amd64", "linux/arm64")
    stage.now = start + timedelta(hours=2, minutes=40)
    stage.outcomes()
    (repository,) = stage.cycle.decider.snapshot.by_repository
    assert stage.app.store.sightings(repository)["1.0.2"].since == stage.now - MINUTE


def test_what_lacks_a_platform_costs_one_request_in_a_cycle_not_one_for_each_tag(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", *(f"1.0.{i}" for i in range(1, 11)))
    stage.commit(stage.workload("web", "1.0.0", keys=f"{RANGE}\nplatforms: [linux/s390x]"))
    stage.outcomes()
    before = manifests(stage)
    assert stage.outcomes(trigger=DUE)["web"].status is Status.WAITING
    assert manifests(stage) - before == 1


def test_a_workload_at_its_newest_is_not_told_that_a_newer_version_waits(stage: Stage) -> None:
    stage.settings = {"max_releases_per_cycle": 1}
    stage.push("acme/a", "1.0.0", "1.1.0")
    stage.push("acme/b", "1.0.0")
    pinned = stage.workload("b", "1.0.0")
    pinned["apps/b.yaml"] = pinned["apps/b.yaml"].replace("b:1.0.0", f"b:1.0.0@sha256:{'a' * 64}")
    stage.commit({**stage.workload("a", "1.0.0"), **pinned})
    found = stage.outcomes()
    assert found["a"].status is Status.RELEASED
    assert (found["b"].status, found["b"].reason.code) == (Status.CURRENT, "current/moved-digest")


def test_a_refused_push_costs_nothing_until_something_changes(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.1.0")
    stage.commit(stage.workload("web", "1.0.0"))
    hook = stage.repo.path / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho not today >&2; exit 1\n")
    hook.chmod(0o755)
    assert stage.outcomes()["web"].reason.code == "push/refused"
    before = manifests(stage)
    assert stage.outcomes(trigger=DUE)["web"].reason.code == "push/refused"
    assert manifests(stage) == before
    os.remove(hook)
    stage.commit({"README.md": "the branch is open again\n"})
    assert stage.outcomes(trigger=DUE)["web"].status is Status.RELEASED


def test_a_repo_that_is_only_observed_costs_its_lists_and_no_more(stage: Stage) -> None:
    stage.settings = {"mode": "observe"}
    stage.push("acme/web", "1.0.0", "1.1.0")
    stage.commit(stage.workload("web", "1.0.0"))
    assert stage.outcomes()["web"].reason.code == "waiting/planned"
    before = manifests(stage)
    assert stage.outcomes(trigger=DUE)["web"].reason.code == "waiting/planned"
    assert manifests(stage) == before
    stage.push("acme/web", "1.2.0")
    assert "1.2.0" in stage.outcomes(trigger=DUE)["web"].reason.sentence


def test_what_stops_a_workload_as_a_whole_is_told_for_its_tags_too(stage: Stage) -> None:
    keys = f"{RANGE}\nmin_age: 30m"
    stage.push("acme/web", "1.0.0", "1.1.0")
    stage.commit(stage.workload("web", "1.0.0", keys=keys))
    stage.outcomes()
    stage.commit(stage.workload("web", "1.0.0", keys=f"{keys}\nhold: {{reason: audit}}"))
    stage.outcomes()
    told = {verdict.tag: verdict.reason.code for verdict in stage.cycle.verdicts("web")}
    assert told == {"1.1.0": "guard/hold", "1.0.0": "tag/current"}
