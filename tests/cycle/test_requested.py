"""What people ask for of workloads whose releases go through pull requests: one pull request, which stays as
it was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from parts.forgestage import HEAD, PR, ForgeStage, forge_stage

from automator.core.action import Request
from automator.core.record import parse
from automator.cycle.acting import Acted, Terms, act
from automator.cycle.run import Trigger
from automator.errors import ActionError, CheckoutError

OPEN = ("waiting", "proposal/open")
ASKED = ("waiting", "proposal/asked")
AUTOMERGE = f"{PR}\npull_request: {{automerge: true}}"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ForgeStage]:
    with forge_stage(tmp_path, "github") as stage:
        yield stage


def ask(stage: ForgeStage, kind: str, version: str | None = None, **more: Any) -> Acted:
    """What the program does when Ann asks for it."""
    is_dry, actor = more.pop("dry_run", False), more.pop("actor", "Ann")
    why = more.pop("why", "because")
    workload = "" if kind in ("freeze", "thaw") else "web"
    request = Request(kind, actor, why, workload, version, **more)
    done = act(stage.cycle, request, Terms(dry_run=is_dry))
    stage.now += timedelta(minutes=1)
    return done


def notes(done: Acted) -> list[str]:
    return [] if done.change is None else [note.code for note in done.change.notes]


def open_ones(stage: ForgeStage) -> list[str]:
    return [pull.head for pull in stage.forge.pulls.values() if pull.state == "open"]


def policy(stage: ForgeStage, keys: str) -> dict[str, str]:
    return {"policies/web.yaml": stage.workload("web", "1.4.2", keys=keys)["policies/web.yaml"]}


# -- a version -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loses_state", [False, True], ids=["state kept", "state lost"])
def test_a_version_that_is_asked_for_takes_the_place_of_the_one_proposed(
    stage: ForgeStage, loses_state: bool
) -> None:
    stage.proposed("1.4.3", "1.4.4")
    done = ask(stage, "release", "1.4.3")
    assert (done.branch, notes(done)) == (HEAD, ["action/replaces"])
    assert done.change is not None
    assert "1.4.4" in done.change.notes[0].sentence
    assert (done.url, open_ones(stage)) == (f"{stage.forge.page}/acme/shop/pull/1", [HEAD])
    assert ("1.4.3" in stage.pull.title, "web:1.4.3" in stage.on_branch()) == (True, True)
    assert stage.forge.statuses(str(stage.branch()))["automator"]["state"] == "success"
    if loses_state:
        stage.lose_state()
    stage.push("acme/web", "1.4.5")
    tip = stage.branch()
    for _ in range(3):
        stage.now += timedelta(minutes=15)
        outcome = stage.outcomes()["web"]
        assert (outcome.status, outcome.reason.code) == ASKED
        assert "which Ann asked for" in outcome.reason.sentence
    assert (stage.branch(), open_ones(stage)) == (tip, [HEAD])
    stage.forge.merge(1, "squash")
    assert stage.web() == OPEN
    assert stage.image_of("web") == "web:1.4.3"
    assert ("1.4.5" in stage.pull.title, stage.pull.number) == (True, 2)


def test_one_that_is_asked_for_and_closed_is_refused_and_the_next_is_proposed(stage: ForgeStage) -> None:
    stage.proposed("1.4.3", "1.4.4")
    ask(stage, "release", "1.4.3")
    stage.run()
    stage.forge.close(1)
    stage.now += timedelta(minutes=15)
    assert stage.web() == OPEN
    assert "1.4.4" in stage.pull.title
    assert stage.pull.number == 2


def test_asking_twice_changes_nothing_the_second_time(stage: ForgeStage) -> None:
    stage.proposed("1.4.3", "1.4.4")
    first = ask(stage, "release", "1.4.3")
    tip = stage.branch()
    again = ask(stage, "release", "1.4.3")
    assert (again.url, notes(again), stage.branch()) == (first.url, [], tip)
    other = ask(stage, "release", "1.4.4", actor="Bob")
    assert (other.url, notes(other)) == (first.url, ["action/replaces"])
    assert "web:1.4.4" in stage.on_branch()


def test_a_persons_commit_stops_a_command_too(stage: ForgeStage) -> None:
    stage.proposed("1.4.3", "1.4.4")
    theirs = stage.commit_on({"notes.md": "a migration\n"})
    for kind, version in (("release", "1.4.3"), ("rollback", "1.4.1")):
        stage.push("acme/web", "1.4.1")
        with pytest.raises(CheckoutError) as raised:
            ask(stage, kind, version, force=True)
        assert raised.value.reason.code == "proposal/foreign-commit"
        assert theirs[:12] in raised.value.reason.sentence
    assert (stage.branch(), open_ones(stage)) == (theirs, [HEAD])


def test_a_freeze_stops_a_release_that_was_asked_for_and_no_rollback(stage: ForgeStage) -> None:
    stage.proposed("1.4.3", "1.4.4")
    ask(stage, "release", "1.4.3")
    stage.commit({"policies/_freeze.yaml": "version: 1\nfreeze: {reason: incident}\n"})
    stage.run()
    assert stage.forge.statuses(str(stage.branch()))["automator"]["state"] == "failure"
    ask(stage, "release", "1.4.3", force=True, why="now")
    stage.push("acme/web", "1.4.1")
    ask(stage, "rollback", "1.4.1")
    stage.run()
    assert stage.forge.statuses(str(stage.branch()))["automator"]["state"] == "success"
    assert open_ones(stage) == [HEAD]


# -- a rollback ----------------------------------------------------------------------------------------


def at_143(stage: ForgeStage) -> None:
    """web went from 1.4.2 to 1.4.3 by a pull request."""
    stage.proposed("1.4.3")
    stage.forge.merge(1, "squash")
    assert stage.web() == ("current", "current/newest")


@pytest.mark.parametrize("loses_state", [False, True], ids=["state kept", "state lost"])
def test_a_rollback_is_on_the_one_branch_and_is_over_when_it_is_merged(
    stage: ForgeStage, loses_state: bool
) -> None:
    at_143(stage)
    done = ask(stage, "rollback")
    assert (done.branch, notes(done), open_ones(stage)) == (HEAD, [], [HEAD])
    if loses_state:
        stage.lose_state()
    for _ in range(3):
        stage.now += timedelta(minutes=15)
        assert stage.web() == ("current", "current/newest")
    assert (open_ones(stage), stage.forge.said(2)) == ([HEAD], [])
    stage.forge.forget()
    for _ in range(5):
        stage.now += timedelta(seconds=10)
        stage.cycle.run(Trigger("interval"))
    assert stage.forge.calls == []
    stage.forge.merge(2, "squash")
    assert stage.web() == ("held", "history/turned-away")
    assert (stage.image_of("web"), stage.branch()) == ("web:1.4.2", None)


def test_a_rollback_takes_the_place_of_a_newer_version_and_closing_it_refuses_none(stage: ForgeStage) -> None:
    at_143(stage)
    stage.push("acme/web", "1.4.4")
    assert stage.web() == OPEN
    assert notes(ask(stage, "rollback")) == ["action/replaces"]
    assert stage.web() == ASKED
    assert "1.4.2" in stage.pull.title
    stage.forge.close(2)
    stage.now += timedelta(minutes=15)
    assert stage.web() == OPEN
    assert ("1.4.4" in stage.pull.title, stage.pull.number) == (True, 3)


def test_one_that_the_base_has_overtaken_is_closed_with_a_word(stage: ForgeStage) -> None:
    at_143(stage)
    ask(stage, "rollback")
    stage.commit({"apps/web.yaml": stage.repo.read("apps/web.yaml").replace("1.4.3", "1.4.1")})
    stage.run()
    assert (stage.forge.pulls[2].state, stage.branch()) == ("closed", None)
    assert "Closed-By-Automator:" in stage.forge.pulls[2].body
    assert "web is at 1.4.1" in stage.forge.said(2)[-1].body


def test_what_a_person_asks_for_a_person_merges(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        stage.proposed("1.4.3", "1.4.4", keys=AUTOMERGE)
        assert stage.pull.merge_when_ready
        ask(stage, "release", "1.4.3")
        assert not stage.pull.merge_when_ready
        assert stage.web() == ASKED
        assert not stage.pull.merge_when_ready


# -- what is refused, and what would be done -----------------------------------------------------------


def test_a_version_whose_pull_request_was_closed_needs_force(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    stage.forge.close(1)
    with pytest.raises(ActionError) as raised:
        ask(stage, "release", "1.4.3")
    why = raised.value.reason
    assert why.code == "action/refused"
    assert "/pull/1 was closed" in why.sentence
    assert "automator accept" in why.next_step
    done = ask(stage, "release", "1.4.3", force=True)
    assert (done.branch, open_ones(stage)) == (HEAD, [HEAD])
    record = parse(stage.pull.body)
    assert record is not None
    assert "forced past" in str(record.reason)
    assert stage.web()[1] in ("proposal/closed", "proposal/open", "proposal/asked")
    stage.forge.merge(2, "squash")
    assert stage.web() == ("current", "current/newest")


def test_a_dry_run_names_the_pull_request_and_writes_nothing(stage: ForgeStage) -> None:
    stage.proposed("1.4.3", "1.4.4")
    tip = stage.branch()
    stage.forge.forget()
    done = ask(stage, "release", "1.4.3", dry_run=True)
    assert (done.branch, done.url) == (HEAD, f"{stage.forge.page}/acme/shop/pull/1")
    held = ask(stage, "hold", dry_run=True)
    assert (str(held.branch).startswith("automator/change-hold-web-"), held.url) == (True, None)
    assert {call.method for call in stage.forge.calls} == {"GET"}
    assert (stage.branch(), open_ones(stage)) == (tip, [HEAD])


# -- the same change again -----------------------------------------------------------------------------


def test_a_hold_for_two_hours_is_one_pull_request_however_often_it_is_asked_for(stage: ForgeStage) -> None:
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    first = ask(stage, "hold", until=stage.now + timedelta(hours=2))
    end = stage.now + timedelta(hours=2)
    again = ask(stage, "hold", until=end, actor="Bob", why="migration")
    assert (again.url, notes(again)) == (first.url, ["action/replaces"])
    assert len(open_ones(stage)) == 1
    text = stage.on_branch("policies/web.yaml", stage.pull.head)
    assert (f"{end:%Y-%m-%dT%H:%M}" in text, "migration" in text) == (True, True)
    assert "migration" in stage.pull.body
    ask(stage, "reject", "1.4.3")
    ask(stage, "reject", "1.4.4")
    assert len(open_ones(stage)) == 3


def test_a_hold_on_whose_branch_somebody_works_is_left_alone(stage: ForgeStage) -> None:
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    ask(stage, "hold", until=stage.now + timedelta(hours=2))
    theirs = stage.commit_on({"notes.md": "mine\n"}, name=stage.pull.head)
    with pytest.raises(CheckoutError) as raised:
        ask(stage, "hold", until=stage.now + timedelta(hours=3))
    assert raised.value.reason.code == "proposal/foreign-commit"
    assert stage.branch(stage.pull.head) == theirs
