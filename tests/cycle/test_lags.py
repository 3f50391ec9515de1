"""Lag in whole cycles: what outcomes say of newer versions, from what was looked at anyway."""

from __future__ import annotations

from datetime import timedelta

from parts.stage import NOW, Stage

from automator.core.report import Outcome
from automator.reasons import Status

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WAITS = 'semver: ">=1.0 <2"\nmin_age: 30d'


def behind(outcome: Outcome) -> tuple[str | None, int]:
    return outcome.candidate, outcome.behind


def test_what_waits_is_counted_from_the_oldest_until_it_is_released(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3", age=5 * DAY)
    stage.commit(stage.workload("web", "1.4.2", keys=WAITS))
    web = stage.outcomes()["web"]
    assert (web.status, *behind(web)) == (Status.WAITING, "1.4.3", 1)
    assert web.behind_since == NOW - 5 * DAY + timedelta(minutes=1)  # built so, before we listed it first
    since = web.behind_since
    assert not web.behind_at_least
    stage.push("acme/web", "1.4.4")
    web = stage.outcomes()["web"]
    assert (*behind(web), web.behind_since) == ("1.4.4", 2, since)
    # a registry that does not answer takes nothing away of what is known
    stage.registry.stop()
    stage.now += HOUR
    web = stage.outcomes()["web"]
    assert (web.status, *behind(web), web.behind_since) == (Status.FAILED, "1.4.4", 2, since)
    # it is kept for `status`, which asks nobody
    stage.app.store.save_report(stage.run())
    kept = stage.app.store.last_report("shop")
    assert kept is not None
    assert kept.outcomes == (web,)


def test_a_release_leaves_no_lag_but_what_comes_after_it(stage: Stage) -> None:
    keys = 'semver: ">=1.0 <3"\nstep: minor'
    stage.push("acme/web", "1.4.2", "1.4.3", "1.4.4", "2.0.0")
    stage.commit(stage.workload("web", "1.4.2", keys=keys))
    web = stage.outcomes()["web"]
    assert (web.status, *behind(web)) == (Status.RELEASED, "2.0.0", 1)
    assert web.target is not None
    assert web.target.startswith("1.4.4")
    web = stage.outcomes()["web"]
    assert (web.status, *behind(web)) == (Status.HELD, "2.0.0", 1)


def test_a_tag_that_is_seen_to_come_counts_from_then(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    files = stage.workload("web", "1.4.2", keys='semver: ">=1.0 <2"\nhold: {reason: audit}')
    stage.commit(files)
    web = stage.outcomes()["web"]
    assert (web.status, *behind(web), web.behind_since) == (Status.HELD, None, 0, None)
    stage.now += DAY
    came = stage.now
    stage.push("acme/web", "1.4.3", age=9 * DAY)
    assert (web := stage.outcomes()["web"]).behind_since == came
    assert (web.status, *behind(web)) == (Status.HELD, "1.4.3", 1)
    # a policy that cannot be read says nothing of what would be newer
    broken = files["policies/web.yaml"].replace(">=1.0 <2", "??")
    stage.commit({"policies/web.yaml": broken})
    assert behind(stage.outcomes()["web"]) == (None, 0)


def test_what_was_there_before_us_and_nobody_looked_at_is_counted_from_the_first_look_at_least(
    stage: Stage,
) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3", age=5 * DAY)
    stage.commit(stage.workload("web", "1.4.2", keys='semver: ">=1.0 <2"\nhold: {reason: audit}'))
    web = stage.outcomes()["web"]
    assert (*behind(web), web.behind_since, web.behind_at_least) == ("1.4.3", 1, NOW, True)
    assert web.lag(NOW + timedelta(seconds=2)) == "1 version behind"
    stage.app.store.save_report(stage.run())
    kept = stage.app.store.last_report("shop")
    assert kept is not None
    assert kept.outcomes == (web,), "after a restart, too"


def test_a_followed_tag_is_behind_while_it_is_held(stage: Stage) -> None:
    stage.push("acme/cache", "7")
    stage.commit(stage.workload("cache", "7", keys='follow: "7"\nmin_age: 2d'))
    cache = stage.outcomes()["cache"]
    assert cache.status is Status.WAITING, cache.reason.sentence
    assert (cache.behind, cache.behind_since, cache.behind_at_least) == (1, NOW, True)
    assert cache.candidate is not None
    assert cache.candidate.startswith("7@sha256:")
    stage.commit(stage.workload("cache", "7", keys='follow: "7"\nhold: {reason: audit}'))
    held = stage.outcomes()["cache"]
    assert (held.status, held.behind, held.behind_since) == (Status.HELD, 1, NOW)
    assert held.candidate == cache.candidate
