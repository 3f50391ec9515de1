"""Where the time of a release went: what the state folder remembers, and what the policy had it wait for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from parts.gitserver import BareRepo
from parts.stage import Stage
from parts.story import POLICY, Story, at, image

from automator.app import App
from automator.config import Config
from automator.core.delivery.change import Wanted
from automator.core.delivery.fate import Failure
from automator.core.delivery.stations import Journey
from automator.core.delivery.summary import Summary
from automator.core.reference import TagList, parse_repository
from automator.core.verification import Answer, Plan, Said, begin, heard, to_text
from automator.cycle.reporting import read_for, summary_of

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RANGE = 'semver: "1.x"'


def summary(stage: Stage) -> Summary:
    book = stage.cycle.logbook()
    read = {"shop": read_for(book, Wanted())}
    return summary_of(read, {"shop": Wanted()}, stage.app.store, by="workload", now=stage.now)


def legs(journey: Journey) -> dict[str, timedelta]:
    return {leg.name: leg.took for leg in journey.legs}


@pytest.fixture
def released(stage: Stage) -> Stage:
    """1.4.3 came while automator ran, waited for its age, and was released ten minutes later."""
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2", keys=f"{RANGE}\nmin_age: 30m"))
    stage.run()
    stage.now += HOUR
    stage.push("acme/web", "1.4.3")
    stage.run()
    stage.now += 39 * MINUTE
    stage.run()
    return stage


def test_the_age_that_the_policy_asks_for_is_told_apart(released: Stage) -> None:
    (one,) = summary(released).journeys
    found = legs(one)
    assert found["first seen → eligible (min_age)"] == 30 * MINUTE
    assert found["eligible → merged"] == 10 * MINUTE


def test_what_the_state_folder_has_forgotten_is_not_made_up(released: Stage) -> None:
    released.lose_state()
    (one,) = summary(released).journeys
    assert not any("seen" in name or "eligible" in name for name in legs(one))


def test_checks_that_failed_fail_the_release(released: Stage) -> None:
    (before,) = summary(released).journeys
    plan = Plan("smoke", within=HOUR)
    version = before.fate.change.member.after
    series = begin(version, before.fate.change.commit, [plan], released.now)
    for _ in range(plan.failures):
        series = heard(series, plan, Said(Answer.NO, "down"), released.now + MINUTE)
    released.app.store.save_series(
        released.cycle.withdrawals.branch, "web", version, to_text(series), series.begun
    )
    found = summary(released)
    assert found.overall.failed == 1
    assert "merged → verified" in legs(found.journeys[0])


def test_checks_of_a_later_release_say_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    """1.1.0 was rolled back, and released again a week later: only then it was checked."""
    story = Story(BareRepo.create(tmp_path / "shop.git"))
    story.adopt("09-01 10:00", web="1.0.0")
    story.release("09-02 10:00", web="1.1.0")
    story.release("09-02 11:00", kind="rollback", web="1.0.0")
    story.release("09-10 10:00", web="1.1.0")
    config = Config(state=tmp_path / "state", repos={"shop": {"url": str(story.repo.path)}})
    plan = Plan("smoke", within=HOUR, failures=1)
    series = begin("1.1.0", "some commit", [plan], at("09-10 10:01"))
    series = heard(series, plan, Said(Answer.NO, "down"), at("09-10 10:05"))
    with App.open(config, exclusive=True) as app:
        branch = app.cycles["shop"].withdrawals.branch
        app.store.save_series(branch, "web", "1.1.0", to_text(series), series.begun)
        read = {"shop": read_for(app.cycles["shop"].logbook(), Wanted())}
        found = summary_of(read, {"shop": Wanted()}, app.store, by="repo", now=at("09-30 00:00"))
    failures = {one.fate.change.landed: one.fate.failure for one in found.journeys}
    assert failures == {
        at("09-02 10:00"): Failure.ROLLED_BACK,
        at("09-10 10:00"): Failure.VERIFICATION,
    }


def test_soak_counts_from_when_upstream_had_the_version(tmp_path: Path) -> None:
    story = Story(BareRepo.create(tmp_path / "shop.git"))
    story.adopt("09-01 10:00", staging="1.0.0", live="1.0.0")
    chained = f"{story.policy}    after: {{workload: staging, soak: 2h}}\n"
    story.commit("09-01 11:00", {POLICY: chained}, "Chain")
    story.release("09-02 10:00", staging="1.1.0")
    story.release("09-02 13:00", live="1.1.0")
    config = Config(state=tmp_path / "state", repos={"shop": {"url": str(story.repo.path)}})
    with App.open(config, exclusive=True) as app:
        for tags, when in (("1.0.0", "09-01 12:00"), ("1.0.0 1.1.0", "09-02 09:00")):
            app.store.save_tag_list(
                TagList(parse_repository(image("live")), tuple(tags.split()), at(when), tags)
            )
        wanted = Wanted(workloads=frozenset({"live"}), since=at("09-01 00:00"))
        read = {"shop": read_for(app.cycles["shop"].logbook(), wanted)}
        (one,) = summary_of(read, {"shop": wanted}, app.store, by="repo", now=at("09-30 00:00")).journeys
    assert legs(one) == {"first seen → eligible (after)": 3 * HOUR, "eligible → merged": HOUR}
