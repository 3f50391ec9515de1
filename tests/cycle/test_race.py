"""Others push first: how often a release is made anew on what they pushed, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from parts.gitserver import git
from parts.stage import Stage

from automator.cycle.race import LASTS, LEAST, MOST, tries
from automator.reasons import Status


@pytest.mark.parametrize(
    ("each", "made"),
    [
        (timedelta(0), MOST),
        (LASTS / 1_000, MOST),
        (LASTS / 8, 9),
        (LASTS / LEAST, 6),
        (timedelta(days=1), LEAST),
        (timedelta(seconds=-5), MOST),
    ],
    ids=["no time", "quick", "some", "fewer", "slow", "the clock goes back"],
)
def test_quick_tries_go_on_for_a_while_and_slow_ones_end_after_a_few(each: timedelta, made: int) -> None:
    times = [datetime(2026, 5, 1, tzinfo=UTC)]
    for number in tries(lambda: times[-1]):
        assert number == len(times) - 1
        times.append(times[-1] + each)
    assert len(times) - 1 == made


def rivals(stage: Stage, times: int) -> Path:
    """Have somebody else's commit reach the branch in each of the first so many pushes; where they are
    counted."""
    counter = stage.folder / "pushes"
    stage.repo.hook(
        "pre-receive",
        f'echo push >> "{counter}"\n'
        f'[ "$(wc -l < "{counter}")" -gt {times} ] && exit 0\n'
        "unset GIT_QUARANTINE_PATH GIT_QUARANTINE_ENVIRONMENT GIT_OBJECT_DIRECTORY\n"
        "export GIT_AUTHOR_NAME=Rival GIT_AUTHOR_EMAIL=rival@example.com\n"
        "export GIT_COMMITTER_NAME=Rival GIT_COMMITTER_EMAIL=rival@example.com\n"
        "tip=$(git rev-parse main)\n"
        'git update-ref refs/heads/main "$(git commit-tree -p "$tip" -m Rival "$tip^{tree}")"\n',
    )
    return counter


def test_a_release_lands_in_one_cycle_though_others_are_first_many_times(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    counter = rivals(stage, 12)
    report = stage.run()
    assert [outcome.status for outcome in report.outcomes] == [Status.RELEASED]
    assert report.lost_races == 12
    assert len(counter.read_text().splitlines()) == 13
    assert git(stage.repo.path, "log", "--format=%s").splitlines()[:13] == [
        "Release web 1.4.3",
        *["Rival"] * 12,
    ]


def test_a_branch_that_never_rests_is_left_for_a_moment_and_the_tries_are_told(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    counter = rivals(stage, 1_000)
    began = stage.now
    (outcome,) = stage.run().outcomes
    assert (outcome.status, outcome.reason.code) == (Status.WAITING, "push/lost-race")
    assert f"{MOST} times in a row" in outcome.reason.sentence
    assert len(counter.read_text().splitlines()) == MOST
    assert outcome.reason.changes_at is not None
    assert timedelta(0) < outcome.reason.changes_at - began < timedelta(seconds=10)
    stage.repo.hook("pre-receive", "exit 0")
    stage.now = outcome.reason.changes_at
    assert stage.outcomes()["web"].status is Status.RELEASED
