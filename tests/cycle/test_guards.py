"""Guards in whole cycles: what is awaited is released at its time and not before, and costs nothing
until then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from parts.gitserver import git
from parts.platforms import push_platforms
from parts.stage import COMMAND, Stage

from automator.core.record import parse
from automator.core.report import Outcome
from automator.cycle.run import Trigger
from automator.reasons import Status

DUE = Trigger("due")
MINUTE = timedelta(minutes=1)
RANGE = 'semver: ">=1.0 <2"'


def begin(stage: Stage, *keys: str, tags: str = "1.4.2 1.4.3", at: str = "1.4.2") -> Outcome:
    """CI has pushed the tags, web is at one of them under these keys; the outcome of the first cycle."""
    stage.push("acme/web", *tags.split())
    policy(stage, *keys, at=at)
    return stage.outcomes()["web"]


def policy(stage: Stage, *keys: str, at: str = "1.4.2", more: dict[str, str] | None = None) -> None:
    lines = keys if any("semver" in key or "follow" in key for key in keys) else (RANGE, *keys)
    stage.commit({**stage.workload("web", at, keys="\n".join(lines)), **(more or {})})


def at(stage: Stage, moment: datetime, trigger: Trigger = DUE) -> Outcome:
    """The outcome of a cycle at a moment."""
    stage.now = moment
    return stage.outcomes(trigger=trigger)["web"]


def end_of_wait(outcome: Outcome) -> datetime:
    assert outcome.reason.changes_at is not None
    return outcome.reason.changes_at


def said(outcome: Outcome) -> tuple[Status, str]:
    return outcome.status, outcome.reason.code


def looked_up(stage: Stage) -> list[str]:
    """Requests so far that ask about one tag, and none of a list."""
    return [r for r in stage.registry.log if "manifests" in r and not r.startswith("PUT")]


# -- min_age --------------------------------------------------------------------------------------------


def test_a_version_is_released_at_its_age_by_the_timer_and_not_before(stage: Stage) -> None:
    start = stage.now
    waits = begin(stage, "min_age: 30m")
    assert said(waits) == (Status.WAITING, "guard/min-age")
    assert end_of_wait(waits) == start + 30 * MINUTE
    assert waits.target == "1.4.3"
    assert said(at(stage, start + 30 * MINUTE - timedelta(seconds=1), COMMAND))[0] is Status.WAITING
    assert stage.image_of("web") == "web:1.4.2"
    released = at(stage, end_of_wait(waits))
    assert released.status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.3"


def test_what_is_explained_is_what_happens_at_the_time_that_is_told(stage: Stage) -> None:
    waits = begin(stage, "min_age: 30m", tags="1.4.1 1.4.2 1.4.3 2.0.0")
    told = {verdict.tag: verdict.reason for verdict in stage.cycle.verdicts("web")}
    assert {tag: why.code for tag, why in told.items()} == {
        "2.0.0": "tag/range",
        "1.4.3": "guard/min-age",
        "1.4.2": "tag/current",
        "1.4.1": "tag/older",
    }
    assert told["1.4.3"].sentence == "1.4.3 is 1 minute old; min_age 30m; eligible at 10:30 UTC"
    assert told["1.4.3"].changes_at == end_of_wait(waits)
    assert at(stage, end_of_wait(waits)).status is Status.RELEASED
    stage.run()
    assert [v.tag for v in stage.cycle.verdicts("web") if v.kept] == ["1.4.3"]


def test_waiting_for_its_age_costs_no_request_until_then(stage: Stage) -> None:
    waits = begin(stage, "min_age: 2h")
    asked = looked_up(stage)
    for _ in range(3):
        report = stage.run()
        assert report.changes_at == end_of_wait(waits)
    assert looked_up(stage) == asked
    stage.push("acme/web", "0.9.0")
    stage.run()
    assert looked_up(stage) == asked, "a tag that the policy refuses is no news"


def test_a_tag_that_is_pushed_again_begins_anew(stage: Stage) -> None:
    waits = begin(stage, "min_age: 30m")
    stage.now += 10 * MINUTE
    stage.push("acme/web", "1.4.3")
    again = at(stage, end_of_wait(waits))
    assert said(again) == (Status.WAITING, "guard/min-age")
    assert end_of_wait(again) == end_of_wait(waits) + 30 * MINUTE
    assert at(stage, end_of_wait(again)).status is Status.RELEASED


@pytest.mark.parametrize("lost", [False, True], ids=["state kept", "state lost"])
def test_a_restart_keeps_the_clock_and_a_lost_state_begins_anew(stage: Stage, lost: bool) -> None:
    waits = begin(stage, "min_age: 30m")
    if lost:
        stage.lose_state()
    else:
        stage.stop()
    later = at(stage, end_of_wait(waits) - MINUTE, COMMAND)
    assert end_of_wait(later) == end_of_wait(waits) + (29 * MINUTE if lost else timedelta(0))
    assert said(at(stage, end_of_wait(later))) == (Status.RELEASED, "released/pushed")


def test_a_newer_tag_does_not_hold_up_the_one_that_was_there_first(stage: Stage) -> None:
    waits = begin(stage, "min_age: 30m")
    stage.now += 20 * MINUTE
    stage.push("acme/web", "1.4.4")
    both = stage.outcomes()["web"]
    assert (both.target, end_of_wait(both)) == ("1.4.3", end_of_wait(waits))
    assert at(stage, end_of_wait(waits)).target.startswith("1.4.3@")  # type: ignore[union-attr]
    after = at(stage, stage.now)
    assert (after.target, said(after)) == ("1.4.4", (Status.WAITING, "guard/min-age"))


def test_a_plan_starts_the_clock_too(stage: Stage) -> None:
    start = stage.now
    stage.push("acme/web", "1.4.2", "1.4.3")
    policy(stage, "min_age: 30m")
    planned = stage.outcomes(push=False)["web"]
    assert end_of_wait(planned) == start + 30 * MINUTE
    assert at(stage, end_of_wait(planned)).status is Status.RELEASED


# -- platforms ------------------------------------------------------------------------------------------


def test_platforms_that_are_pushed_one_after_the_other_are_awaited(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64")
    policy(stage, "platforms: [linux/amd64, linux/arm64]")
    waits = stage.outcomes()["web"]
    assert said(waits) == (Status.WAITING, "guard/platforms")
    assert "linux/arm64" in waits.reason.sentence
    whole = push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64", "linux/arm64")
    released = stage.outcomes()["web"]
    assert (released.status, released.target) == (Status.RELEASED, f"1.4.3@{whole}")
    assert stage.image_of("web") == f"web:1.4.3@{whole}"


def test_the_age_begins_with_the_whole_image_and_not_with_its_first_platform(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64")
    policy(stage, "platforms: [linux/amd64, linux/arm64]", "min_age: 30m")
    assert said(stage.outcomes()["web"]) == (Status.WAITING, "guard/platforms")
    stage.now += 9 * MINUTE
    push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64", "linux/arm64")
    waits = stage.outcomes()["web"]
    assert said(waits) == (Status.WAITING, "guard/min-age")
    assert waits.reason.sentence.endswith("eligible at 10:40 UTC")


def test_a_newer_version_that_is_still_pushed_is_looked_for_while_an_older_one_ages(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    push_platforms(stage.host, "acme/web", "1.4.4", "linux/amd64")
    policy(stage, "platforms: [linux/amd64]", "min_age: 24h")
    assert said(stage.outcomes()["web"]) == (Status.WAITING, "guard/min-age")
    push_platforms(stage.host, "acme/web", "1.4.5", "linux/arm64")
    stage.run()  # the new tag lacks a platform; the older one goes on ageing
    push_platforms(stage.host, "acme/web", "1.4.5", "linux/amd64", "linux/arm64")
    stage.run()
    seen = stage.app.store.sightings(next(iter(stage.cycle.index.snapshot.by_repository)))  # type: ignore[union-attr]
    assert seen["1.4.5"].platforms == ("linux/amd64", "linux/arm64")


def test_a_platform_that_comes_hours_later_is_noticed_too(stage: Stage) -> None:
    """The tag list stays as it is: nothing but another look can tell."""
    stage.push("acme/web", "1.4.2")
    push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64")
    policy(stage, "platforms: [linux/arm64]")
    stage.outcomes()
    stage.now += timedelta(hours=2)
    assert said(stage.outcomes()["web"]) == (Status.HELD, "guard/platforms")
    push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64", "linux/arm64")
    for _ in range(4):
        stage.now += timedelta(hours=1)
        stage.run()
    assert stage.image_of("web").startswith("web:1.4.3@")


def test_one_image_has_the_platform_of_its_config(stage: Stage) -> None:
    assert begin(stage, "platforms: [linux/amd64]").status is Status.RELEASED
    assert stage.image_of("web").startswith("web:1.4.3@sha256:")


# -- windows --------------------------------------------------------------------------------------------


NINE_IN_BERLIN = 'windows: [{allow: "0 9 * * *", for: 2h, zone: Europe/Berlin}]'


@pytest.mark.parametrize(
    ("start", "opens"),
    [
        ("2026-11-21T10:00", "2026-11-22T08:00"),  # winter
        ("2026-10-24T10:00", "2026-10-25T08:00"),  # the night in which summer ends
        ("2027-03-27T10:00", "2027-03-28T07:00"),  # the night in which it begins
        ("2027-07-01T10:00", "2027-07-02T07:00"),  # summer
    ],
)
def test_a_release_waits_for_its_window_on_the_clocks_of_its_zone(
    stage: Stage, start: str, opens: str
) -> None:
    stage.now = datetime.fromisoformat(start).replace(tzinfo=UTC)
    waits = begin(stage, NINE_IN_BERLIN)
    assert said(waits) == (Status.WAITING, "guard/window")
    assert end_of_wait(waits) == datetime.fromisoformat(opens).replace(tzinfo=UTC)
    asked = looked_up(stage)
    assert at(stage, end_of_wait(waits) - MINUTE).status is Status.WAITING
    assert looked_up(stage) == asked
    assert at(stage, end_of_wait(waits)).status is Status.RELEASED


def test_a_window_that_has_closed_stops_again(stage: Stage) -> None:
    begin(stage, NINE_IN_BERLIN, tags="1.4.2")
    stage.now = datetime(2026, 11, 22, 9, 59, tzinfo=UTC)
    stage.push("acme/web", "1.4.3")
    assert stage.outcomes()["web"].status is Status.RELEASED
    stage.push("acme/web", "1.4.4")
    assert said(stage.outcomes()["web"]) == (Status.WAITING, "guard/window")


# -- urgent ---------------------------------------------------------------------------------------------


def test_an_urgent_version_passes_age_and_window_and_the_commit_says_why(stage: Stage) -> None:
    keys = ("min_age: 1d", NINE_IN_BERLIN)
    assert begin(stage, *keys).status is Status.WAITING
    policy(stage, *keys, 'urgent: {version: "1.4.3", reason: "CVE-2026-1234"}')
    assert stage.outcomes()["web"].status is Status.RELEASED
    message = git(stage.repo.path, "show", "--no-patch", "--format=%B", "main")
    assert "Release-Reason: urgent: CVE-2026-1234" in message.splitlines()
    record = parse(message)
    assert record is not None
    assert record.reason == "urgent: CVE-2026-1234"


def test_a_release_that_is_not_the_urgent_one_has_no_such_reason(stage: Stage) -> None:
    keys = 'urgent: {version: "1.4.9", reason: "CVE-2026-1234"}'
    assert begin(stage, keys).status is Status.RELEASED
    assert "Release-Reason" not in git(stage.repo.path, "show", "--no-patch", "--format=%B", "main")


# -- hold and freeze ------------------------------------------------------------------------------------


FREEZE = 'freeze: {reason: "year end", until: "2026-11-21T12:00:00Z"}'


def frozen_in_its_file(stage: Stage) -> None:
    files = stage.workload("web", "1.4.2")
    files["policies/web.yaml"] = files["policies/web.yaml"].replace("workloads:", f"{FREEZE}\nworkloads:")
    stage.commit(files)


def frozen_as_a_whole(stage: Stage) -> None:
    policy(stage, more={"policies/_freeze.yaml": f"version: 1\n{FREEZE}\n"})


@pytest.mark.parametrize("freeze", [frozen_in_its_file, frozen_as_a_whole])
def test_a_freeze_stops_until_its_end(stage: Stage, freeze: object) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    assert callable(freeze)
    freeze(stage)
    frozen = stage.outcomes()["web"]
    assert said(frozen) == (Status.HELD, "guard/freeze")
    assert "year end" in frozen.reason.sentence
    assert end_of_wait(frozen) == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert at(stage, end_of_wait(frozen) - MINUTE, COMMAND).status is Status.HELD
    assert at(stage, end_of_wait(frozen)).status is Status.RELEASED


def test_a_broken_freeze_freezes_and_its_removal_thaws(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    policy(stage, more={"policies/_freeze.yaml": "version: 1\nfreeze: {reason: year end"})
    broken = stage.outcomes()["web"]
    assert said(broken) == (Status.HELD, "policy/unparsable")
    assert "policies/_freeze.yaml" in broken.reason.sentence
    stage.commit({"policies/_freeze.yaml": None})
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_freeze_that_comes_later_stops_what_was_waiting(stage: Stage) -> None:
    waits = begin(stage, "min_age: 30m")
    stage.commit({"policies/_freeze.yaml": "version: 1\nfreeze: {reason: incident}\n"})
    assert said(stage.outcomes()["web"]) == (Status.HELD, "guard/freeze")
    assert said(at(stage, end_of_wait(waits) + MINUTE)) == (Status.HELD, "guard/freeze")
    stage.commit({"policies/_freeze.yaml": None})
    assert stage.outcomes()["web"].status is Status.RELEASED


# -- what people refuse and allow -----------------------------------------------------------------------


def test_an_accepted_version_comes_back_after_a_persons_revert(stage: Stage) -> None:
    commit = begin(stage).commit
    assert commit is not None
    stage.revert(commit)
    assert stage.outcomes()["web"].reason.code == "history/turned-away"
    policy(stage, 'accept: ["1.4.3"]')
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.3"
    assert stage.outcomes()["web"].status is Status.CURRENT


def test_a_rejected_version_is_passed_over(stage: Stage) -> None:
    assert begin(stage, 'reject: ["1.4.4"]', tags="1.4.2 1.4.3 1.4.4").status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.3"


def test_a_rejected_digest_is_refused_until_the_tag_is_another_image(stage: Stage) -> None:
    bad = push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64")
    refused = begin(stage, f'reject: ["{bad}"]', tags="1.4.2")
    assert said(refused) == (Status.HELD, "guard/rejected-digest")
    push_platforms(stage.host, "acme/web", "1.4.3", "linux/amd64", "linux/arm64")
    stage.now += timedelta(hours=1)  # nothing in the tag list tells of it
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_step_too_far_waits_for_a_person_and_smaller_ones_go_on(stage: Stage) -> None:
    far = begin(stage, "step: patch", tags="1.4.2 1.5.0")
    assert said(far) == (Status.HELD, "guard/step")
    stage.push("acme/web", "1.4.3")
    stage.run()
    assert stage.image_of("web") == "web:1.4.3"
    stage.commit({"apps/web.yaml": stage.repo.read("apps/web.yaml").replace("1.4.3", "1.5.0") + "\n"})
    assert stage.outcomes()["web"].status is Status.CURRENT


# -- downgrade and align --------------------------------------------------------------------------------


def test_a_narrower_range_with_downgrade_moves_down_once_and_up_again_when_it_is_lifted(
    stage: Stage,
) -> None:
    excluded = begin(stage, 'semver: ">=1.0 <1.5"', tags="1.4.2 1.5.0", at="1.5.0")
    assert said(excluded) == (Status.HELD, "current/outside")
    policy(stage, 'semver: ">=1.0 <1.5"', "downgrade: true", at="1.5.0")
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.2"
    message = git(stage.repo.path, "show", "--no-patch", "--format=%B", "main")
    assert "permits a downgrade" in message
    assert stage.outcomes()["web"].status is Status.CURRENT
    policy(stage, "downgrade: true")
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.5.0"


def test_a_vanished_tag_moves_nothing_down(stage: Stage) -> None:
    assert begin(stage, "downgrade: true", tags="1.4.2", at="1.4.3").status is Status.CURRENT
    assert stage.image_of("web") == "web:1.4.3"


def test_align_joins_sites_that_differ_with_the_next_release(stage: Stage) -> None:
    stage.push("acme/web", "1.4.1", "1.4.2", "1.4.3")
    other = stage.workload("web", "1.4.1", file="staging/web.yaml")["staging/web.yaml"]
    policy(stage, more={"staging/web.yaml": other})
    assert stage.outcomes()["web"].reason.code == "site/differ"
    policy(stage, "align: true")
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert "web:1.4.3" in stage.repo.read("staging/web.yaml")
    assert stage.image_of("web") == "web:1.4.3"


# -- tags_from and mode ---------------------------------------------------------------------------------


def test_tags_are_listed_from_another_repository_and_the_image_stays(stage: Stage) -> None:
    stage.push("upstream/web", "1.4.2", "1.4.3", "1.4.4")
    stage.push("acme/web", "1.4.3")
    policy(stage, f"tags_from: {stage.host}/upstream/web", 'exclude: ["1.4.4"]')
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.3"
    listed = [request for request in stage.registry.log if "/tags/list" in request]
    assert listed == ["GET /v2/upstream/web/tags/list?n=1000 200"]
    assert all("/acme/web/" in request for request in looked_up(stage))


def test_a_version_that_only_the_listed_repository_has_waits(stage: Stage) -> None:
    stage.push("upstream/web", "1.4.2", "1.4.3")
    stage.push("acme/web", "1.4.2")
    policy(stage, f"tags_from: {stage.host}/upstream/web")
    assert said(stage.outcomes()["web"]) == (Status.WAITING, "tag/gone")
    stage.push("acme/web", "1.4.3")
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_repo_that_is_only_observed_decides_all_and_pushes_nothing(stage: Stage) -> None:
    stage.settings = {"mode": "observe"}
    start = stage.now
    waits = begin(stage, "min_age: 30m")
    assert end_of_wait(waits) == start + 30 * MINUTE
    planned = at(stage, end_of_wait(waits))
    assert said(planned) == (Status.WAITING, "waiting/planned")
    assert stage.image_of("web") == "web:1.4.2"


# -- what is pinned ------------------------------------------------------------------------------------


def test_a_pinned_digest_that_moved_under_the_current_tag_is_told_and_nothing_is_done(stage: Stage) -> None:
    begin(stage, "pin: digest")
    pinned = stage.image_of("web")
    assert pinned.startswith("web:1.4.3@sha256:")
    stage.now += timedelta(hours=1)
    stage.push("acme/web", "1.4.3", "1.4.1")
    moved = stage.outcomes()["web"]
    assert said(moved) == (Status.CURRENT, "current/moved-digest")
    assert stage.image_of("web") == pinned
