"""People have the last word: reverts, older versions set by hand, holds; and what losing state changes."""

from __future__ import annotations

import pytest
from parts.gitserver import git
from parts.stage import Stage

from automator.core.delivery.change import Wanted
from automator.core.report import Report
from automator.reasons import Status


def released(stage: Stage) -> str:
    """web 1.4.2 -> 1.4.3; returns the release's commit."""
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    commit = stage.outcomes()["web"].commit
    assert commit is not None
    return commit


@pytest.mark.parametrize("lost", [False, True], ids=["state kept", "state lost"])
def test_a_reverted_release_stays_reverted_until_a_newer_version_exists(stage: Stage, lost: bool) -> None:
    stage.revert(released(stage))
    if lost:
        stage.lose_state()
    for _ in range(3):
        outcome = stage.outcomes()["web"]
        assert (outcome.status, outcome.reason.code) == (Status.HELD, "history/turned-away")
        assert stage.image_of("web") == "web:1.4.2"
    assert outcome.reason.sentence.startswith("was 1.4.3 until Ann Author set 1.4.2 in ")
    stage.push("acme/web", "1.4.4")
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.4"


def test_a_revert_of_the_revert_lifts_it(stage: Stage) -> None:
    revert = stage.revert(released(stage))
    stage.run()
    stage.revert(revert)
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.current) == (Status.CURRENT, "1.4.3")


def test_an_older_version_set_by_hand_stays(stage: Stage) -> None:
    released(stage)
    stage.commit({"apps/web.yaml": stage.repo.read("apps/web.yaml").replace("1.4.3", "1.4.1") + "\n"})
    assert stage.outcomes()["web"].reason.code == "history/turned-away"
    assert stage.image_of("web") == "web:1.4.1"


def test_a_person_who_moves_up_lifts_everything_up_to_there(stage: Stage) -> None:
    stage.push("acme/web", "1.4.4")
    stage.revert(released(stage))
    assert stage.outcomes()["web"].reason.code == "history/turned-away"
    text = stage.repo.read("apps/web.yaml") + "\n"
    stage.commit({"apps/web.yaml": text.replace("1.4.2", "1.4.4")})
    assert stage.outcomes()["web"].status is Status.CURRENT
    stage.push("acme/web", "1.4.5")
    stage.run()
    assert stage.image_of("web") == "web:1.4.5"


def test_the_mark_is_found_far_back_in_a_long_history(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.3")
    stage.commit(files)
    stage.commit(stage.workload("web", "1.4.2"), author="Bob")
    for i in range(130):
        stage.commit({"notes.md": f"{i}\n"}, f"Note {i}")
    outcome = stage.outcomes()["web"]
    assert outcome.reason.sentence.startswith("was 1.4.3 until Bob set 1.4.2 in ")


def test_outcomes_are_shown_while_history_is_read_and_nothing_is_released_before(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    stage.commit({"notes.md": "a later commit, so that one commit is not all of history\n"})
    shown: list[Report] = []

    def told(report: Report) -> None:
        assert stage.image_of("web") == "web:1.4.2"
        shown.append(report)

    final = stage.run(interim=told)
    assert [[o.reason.code for o in r.outcomes] for r in shown] == [["history/reading"]]
    assert final.outcomes[0].status is Status.RELEASED


def test_a_hold_in_the_policy_stops_and_its_removal_lets_go(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    keys = 'semver: "1.x"\n'
    stage.commit(stage.workload("web", "1.4.2", keys=keys + 'hold: {reason: "audit"}'))
    outcome = stage.outcomes()["web"]
    assert (outcome.reason.code, outcome.status) == ("guard/hold", Status.HELD)
    assert "audit" in outcome.reason.sentence
    stage.commit(stage.workload("web", "1.4.2", keys=keys))
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_hold_with_an_end_is_released_at_its_end(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    keys = 'semver: "1.x"\nhold: {reason: "audit", until: "2026-11-21T10:30:00Z"}'
    stage.commit(stage.workload("web", "1.4.2", keys=keys))
    report = stage.run()
    assert report.changes_at is not None
    stage.now = report.changes_at
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_staging_and_production_under_one_policy_are_held_on_adoption(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3", "1.4.4")
    staging = stage.workload("web", "1.4.3", file="staging/web.yaml")
    production = stage.workload("web", "1.4.2", file="production/web.yaml")
    before = stage.commit(staging | production)
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "site/differ")
    assert "`where`" in outcome.reason.next_step
    assert stage.repo.tip() == before


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_release_that_the_branch_was_rewound_past_is_not_made_again(stage: Stage, restarted: bool) -> None:
    release = released(stage)
    stage.repo.set_tip(git(stage.repo.path, "rev-parse", f"{release}^"))
    if restarted:
        stage.stop()
    for _ in range(2):
        outcome = stage.outcomes()["web"]
        assert (outcome.current, outcome.reason.code) == ("1.4.2", "history/rewound")
    stage.push("acme/web", "1.4.4")
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_the_logbook_tells_proven_releases_from_claims(stage: Stage) -> None:
    release = released(stage)
    message = git(stage.repo.path, "show", "--no-patch", "--format=%B", release)
    stage.commit({"notes.md": "nothing to do with it\n"}, message.replace("1.4.3", "1.9.9"), author="Eve")
    lines = stage.cycle.logbook().changes(Wanted())
    assert [(line.member.after.partition("@")[0], line.proven, line.author) for line in lines] == [
        ("1.9.9", False, "Eve"),
        ("1.4.3", True, "automator"),
    ]


@pytest.mark.parametrize("how", ["once", "log"])
def test_a_server_that_has_no_older_history_is_not_asked_for_ever(stage: Stage, how: str) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    whole = stage.repo.path
    shallow = whole.with_name("shallow.git")
    git(whole.parent, "clone", "--quiet", "--bare", "--depth=1", f"file://{whole}", str(shallow))
    whole.rename(whole.with_name("whole.git"))
    shallow.rename(whole)
    if how == "log":
        assert list(stage.cycle.logbook().changes(Wanted())) == []
    else:
        assert stage.outcomes()["web"].status is Status.RELEASED
