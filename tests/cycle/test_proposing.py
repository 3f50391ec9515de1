"""Pull requests: opened, rolled on, merged, closed, found again; and nothing asked when there is no news."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from parts.forgestage import HEAD, PR, ForgeStage, forge_stage, requested
from parts.gitserver import git

from automator.core.record import parse
from automator.core.release import Draft
from automator.cycle.run import Trigger

KINDS = ["github", "gitlab", "gitea", "forgejo", "bitbucket"]
OPEN = ("waiting", "proposal/open")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ForgeStage]:
    with forge_stage(tmp_path, "github") as stage:
        yield stage


@pytest.fixture(params=KINDS)
def any_stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ForgeStage]:
    with forge_stage(tmp_path, request.param) as stage:
        yield stage


# -- the story, on every forge -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_a_version_is_proposed_rolls_on_and_is_merged(any_stage: ForgeStage, how: str) -> None:
    stage = any_stage
    if how == "rebase" and stage.forge.kind == "bitbucket":
        pytest.skip("Bitbucket has no such button")
    pull = stage.proposed("1.4.3")
    assert (pull.state, pull.head, pull.base) == ("open", HEAD, "main")
    assert "1.4.3" in pull.title
    assert stage.image_of("web") == "web:1.4.2"
    assert "web:1.4.3" in stage.on_branch()
    assert stage.web() == OPEN
    stage.push("acme/web", "1.4.4")
    assert stage.web() == OPEN
    assert stage.pull.number == pull.number
    assert "1.4.4" in stage.pull.title
    record = parse(stage.pull.body)
    assert record is not None
    assert record.members[0].after.startswith("1.4.4@")
    assert "web:1.4.4" in stage.on_branch()
    stage.forge.merge(pull.number, how)
    assert stage.web() == ("current", "current/newest")
    assert stage.image_of("web") == "web:1.4.4"
    assert stage.branch() is None
    stage.forge.forget()
    assert stage.web() == ("current", "current/newest")
    assert stage.forge.calls == []


def test_who_closes_it_refuses_the_version(any_stage: ForgeStage) -> None:
    stage = any_stage
    pull = stage.proposed("1.4.3")
    stage.forge.close(pull.number)
    stage.now += timedelta(minutes=15)
    assert stage.web() == ("held", "proposal/closed")
    assert stage.web() == ("held", "proposal/closed")
    stage.lose_state()
    assert stage.web() == ("held", "proposal/closed")
    assert [p.state for p in stage.forge.pulls.values()] == ["closed"]
    stage.push("acme/web", "1.4.4")
    assert stage.web() == OPEN
    assert stage.pull.number != pull.number
    assert "1.4.4" in stage.pull.title


def test_it_is_found_again_after_all_state_was_lost(any_stage: ForgeStage) -> None:
    stage = any_stage
    stage.proposed("1.4.3")
    tip = stage.branch()
    stage.lose_state()
    stage.forge.forget()
    assert stage.web() == OPEN
    assert (len(stage.forge.pulls), stage.branch()) == (1, tip)
    assert not [c for c in stage.forge.calls if c.method != "GET" and "status" not in c.path]


# -- nothing to change -----------------------------------------------------------------------------------


def test_quiet_cycles_ask_nobody_and_start_one_process(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    assert stage.web() == OPEN
    stage.forge.forget()
    before = stage.cycle.checkout.processes
    stage.now -= timedelta(minutes=1)
    for _ in range(20):
        stage.now += timedelta(seconds=10)
        stage.cycle.run(Trigger("interval"))
    assert stage.forge.calls == []
    assert stage.cycle.checkout.processes - before == 20


def test_an_open_one_is_looked_at_now_and_then(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    stage.forge.forget()
    for _ in range(60):
        stage.now += timedelta(minutes=1)
        stage.cycle.run(Trigger("interval"))
    assert 3 <= len(stage.forge.calls) <= 6
    assert {call.method for call in stage.forge.calls} == {"GET"}


def test_without_a_newer_version_there_is_no_branch_and_no_call(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    for _ in range(3):
        assert stage.web() == ("current", "current/newest")
    assert stage.forge.calls == []
    assert stage.branch() is None


def test_a_base_that_moves_elsewhere_leaves_the_branch_alone(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    tip = stage.branch()
    stage.commit({"notes.md": "elsewhere\n"})
    assert stage.web() == OPEN
    assert stage.branch() == tip


def test_a_base_that_changes_the_file_has_the_branch_made_anew(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    tip = stage.branch()
    text = stage.repo.read("apps/web.yaml").replace("namespace: shop", "namespace: store")
    stage.commit({"apps/web.yaml": text})
    assert stage.web() == OPEN
    assert stage.branch() != tip
    assert "namespace: store" in stage.on_branch()
    assert "web:1.4.3" in stage.on_branch()
    assert len(git(stage.repo.path, "log", "--format=%h", f"main..{HEAD}").split()) == 1
    assert stage.pull.number == pull.number


def test_a_restart_with_its_state_writes_nothing(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    tip = stage.branch()
    stage.stop()
    stage.forge.forget()
    assert stage.web() == OPEN
    assert stage.branch() == tip
    assert {call.method for call in stage.forge.calls} <= {"GET"}


# -- what people do --------------------------------------------------------------------------------------


def test_closing_refuses_what_lies_between_too(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3", "1.4.4")
    assert "1.4.4" in pull.title
    stage.forge.close(pull.number)
    stage.now += timedelta(minutes=15)
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == ("held", "proposal/closed")
    assert "1.4.4" in outcome.reason.sentence
    assert len(stage.forge.pulls) == 1


def test_reopening_takes_it_back(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    stage.forge.close(pull.number)
    stage.now += timedelta(minutes=15)
    assert stage.web() == ("held", "proposal/closed")
    stage.forge.reopen(pull.number)
    stage.now += timedelta(hours=1)
    assert stage.web() == OPEN
    assert len(stage.forge.pulls) == 1


def test_accept_takes_a_refused_version_again(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    stage.forge.close(pull.number)
    stage.now += timedelta(minutes=15)
    assert stage.web() == ("held", "proposal/closed")
    files = stage.workload("web", "1.4.2", keys=f'{PR}\naccept: ["1.4.3"]')
    stage.commit({"policies/web.yaml": files["policies/web.yaml"]})
    assert stage.web() == OPEN
    assert stage.pull.number != pull.number


def test_a_commit_of_somebody_else_stops_us_and_is_said_once(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    theirs = stage.commit_on({"notes.md": "a migration\n"})
    for _ in range(2):
        outcome = stage.outcomes()["web"]
        assert (outcome.status, outcome.reason.code) == ("held", "proposal/foreign-commit")
        assert theirs[:12] in outcome.reason.sentence
        assert "Ann Author" in outcome.reason.sentence
    stage.push("acme/web", "1.4.4")
    assert stage.web() == ("held", "proposal/foreign-commit")
    stage.lose_state()
    assert stage.web() == ("held", "proposal/foreign-commit")
    assert stage.branch() == theirs
    assert len(stage.forge.said(pull.number)) == 1
    assert "1.4.3" in stage.pull.title


def test_it_goes_on_when_their_commit_is_gone(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    ours = stage.branch()
    stage.commit_on({"notes.md": "a migration\n"})
    assert stage.web() == ("held", "proposal/foreign-commit")
    stage.push("acme/web", "1.4.4")
    git(stage.repo.path, "update-ref", f"refs/heads/{HEAD}", str(ours))
    assert stage.web() == OPEN
    assert "1.4.4" in stage.pull.title


def test_an_amended_commit_is_theirs(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    work = stage.folder / "amend"
    git(stage.folder, "clone", "--quiet", "--branch", HEAD, str(stage.repo.path), str(work))
    file = work / "apps/web.yaml"
    file.write_text(file.read_text().replace("1.4.3", "1.4.1"))
    git(work, "commit", "--quiet", "--all", "--amend", "--no-edit")
    git(work, "push", "--quiet", "--force", "origin", HEAD)
    assert stage.web() == ("held", "proposal/foreign-commit")


def test_the_button_that_brings_the_base_in_makes_it_nobody_elses(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    stage.commit({"notes.md": "elsewhere\n"})
    work = stage.folder / "update"
    git(stage.folder, "clone", "--quiet", "--branch", HEAD, str(stage.repo.path), str(work))
    git(work, "merge", "--quiet", "--no-ff", "--no-edit", "origin/main")
    git(work, "push", "--quiet", "origin", HEAD)
    merged = stage.branch()
    assert stage.web() == OPEN
    assert stage.branch() == merged
    stage.push("acme/web", "1.4.4")
    assert stage.web() == OPEN
    assert "web:1.4.4" in stage.on_branch()


def test_a_reverted_merge_is_not_proposed_again(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    merged = stage.forge.merge(pull.number, "squash")
    assert stage.web() == ("current", "current/newest")
    stage.revert(merged)
    assert stage.web() == ("held", "history/turned-away")
    assert len(stage.forge.pulls) == 1


# -- what we close ourselves -----------------------------------------------------------------------------


def test_what_the_base_has_already_is_closed_with_a_word_and_refuses_nothing(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    stage.commit({"apps/web.yaml": stage.repo.read("apps/web.yaml").replace("1.4.2", "1.4.3")})
    assert stage.web() == ("current", "current/newest")
    assert stage.forge.pulls[pull.number].state == "closed"
    assert "Closed-By-Automator:" in stage.forge.pulls[pull.number].body
    assert "main is at 1.4.3" in stage.forge.said(pull.number)[-1].body
    assert stage.branch() is None
    stage.push("acme/web", "1.4.4")
    assert stage.web() == OPEN


def test_a_policy_that_pushes_from_now_on_closes_it(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    files = stage.workload("web", "1.4.2")
    stage.commit({"policies/web.yaml": files["policies/web.yaml"]})
    assert stage.web() == ("released", "released/pushed")
    assert stage.forge.pulls[pull.number].state == "closed"
    assert stage.branch() is None


def test_a_workload_that_is_gone_closes_it(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    stage.commit({"policies/web.yaml": None})
    stage.run()
    assert stage.forge.pulls[pull.number].state == "closed"
    assert "Closed-By-Automator:" in stage.forge.pulls[pull.number].body
    assert stage.branch() is None


def test_branches_that_are_not_ours_stay(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    work = stage.folder / "theirs"
    git(stage.folder, "clone", "--quiet", str(stage.repo.path), str(work))
    git(work, "push", "--quiet", "origin", "HEAD:refs/heads/automator/idea", "HEAD:refs/heads/feature")
    stage.run()
    stage.run()
    assert stage.branch("automator/idea")
    assert stage.branch("feature")


# -- gates -----------------------------------------------------------------------------------------------


def freeze(stage: ForgeStage) -> None:
    stage.commit({"policies/_freeze.yaml": "version: 1\nfreeze: {reason: incident}\n"})


def test_a_freeze_leaves_it_open_says_no_go_and_updates_nothing(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    tip = stage.branch()
    assert tip is not None
    assert stage.forge.statuses(tip)["automator"]["state"] == "success"
    freeze(stage)
    stage.push("acme/web", "1.4.4")
    stage.forge.forget()
    for _ in range(3):
        assert stage.web() == ("held", "guard/freeze")
    assert (stage.pull.state, stage.pull.number, stage.branch()) == ("open", pull.number, tip)
    told = stage.forge.statuses(tip)["automator"]
    assert told["state"] == "failure"
    assert "incident" in told["description"]
    assert len([c for c in stage.forge.calls if c.method == "POST"]) == 1
    stage.commit({"policies/_freeze.yaml": None})
    assert stage.web() == OPEN
    assert "1.4.4" in stage.pull.title


def test_a_freeze_opens_nothing(stage: ForgeStage) -> None:
    freeze(stage)
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    assert stage.web() == ("held", "guard/freeze")
    assert (stage.forge.calls, stage.branch()) == ([], None)


def test_a_freeze_that_ends_says_go_again(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    tip = stage.branch()
    freeze(stage)
    stage.run()
    stage.commit({"policies/_freeze.yaml": None})
    assert stage.web() == OPEN
    assert stage.forge.statuses(str(tip))["automator"]["state"] == "success"


def test_at_most_so_many_are_open(stage: ForgeStage) -> None:
    stage.settings["max_open_prs"] = 2
    for name in ("a", "b", "c"):
        stage.push(f"acme/{name}", "1.0.0", "1.0.1")
        stage.commit(stage.workload(name, "1.0.0", keys=PR))
    codes = sorted(o.reason.code for o in stage.outcomes().values())
    assert codes == ["proposal/limit", "proposal/open", "proposal/open"]
    assert len(stage.forge.pulls) == 2
    stage.forge.merge(1, delete_branch=True)
    stage.run()
    stage.run()
    assert len([p for p in stage.forge.pulls.values() if p.state == "open"]) == 2
    assert len(stage.forge.pulls) == 3


# -- together, and beside pushes -------------------------------------------------------------------------


def test_a_group_is_one_pull_request(stage: ForgeStage) -> None:
    keys = f"{PR}\ngroup: shop"
    for name in ("api", "web"):
        stage.push(f"acme/{name}", "1.0.0", "1.0.1")
        stage.commit(stage.workload(name, "1.0.0", keys=keys))
    assert {o.reason.code for o in stage.outcomes().values()} == {"proposal/open"}
    assert [p.head for p in stage.forge.pulls.values()] == ["automator/group-shop"]
    record = parse(stage.pull.body)
    assert record is not None
    assert [m.workload for m in record.members] == ["api", "web"]
    stage.forge.close(1)
    stage.now += timedelta(minutes=15)
    assert {o.reason.code for o in stage.outcomes().values()} <= {"proposal/closed", "group/member-stops"}
    assert len(stage.forge.pulls) == 1


def test_one_that_is_pushed_and_one_that_is_proposed_do_not_mix(stage: ForgeStage) -> None:
    one_file = {
        "apps/both.yaml": stage.workload("web", "1.4.2")["apps/web.yaml"]
        + "---\n"
        + stage.workload("api", "1.0.0")["apps/api.yaml"],
        "policies/web.yaml": stage.workload("web", "1.4.2", keys=PR)["policies/web.yaml"],
        "policies/api.yaml": stage.workload("api", "1.0.0")["policies/api.yaml"],
    }
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.push("acme/api", "1.0.0", "1.0.1")
    stage.commit(one_file)
    found = stage.outcomes()
    assert found["api"].reason.code == "released/pushed"
    assert found["web"].reason.code == "proposal/same-file"
    assert stage.web() == OPEN
    text = stage.on_branch("apps/both.yaml")
    assert "web:1.4.3" in text
    assert "api:1.0.1" in text
    assert len(git(stage.repo.path, "diff", "--name-only", f"main...{HEAD}").split()) == 1


def test_a_forge_that_is_down_stops_no_push_once_it_has_answered(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.push("acme/api", "1.0.0", "1.0.1")
    stage.commit(stage.workload("api", "1.0.0"))
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    stage.forge.fail(503, times=1000)
    found = stage.outcomes()
    assert (found["api"].status, found["api"].reason.code) == ("waiting", "forge/unreachable")
    stage.forge.mend()
    found = stage.outcomes()
    assert (found["api"].reason.code, found["web"].reason.code) == ("released/pushed", "proposal/open")
    stage.stop()
    stage.now += timedelta(minutes=5)
    stage.push("acme/web", "1.4.4")
    stage.push("acme/api", "1.0.2")
    stage.forge.fail(503, times=1000)
    found = stage.outcomes()
    assert found["api"].reason.code == "released/pushed"
    assert found["web"].status == "failed"
    assert found["web"].reason.code == "forge/unreachable"
    stage.forge.mend()
    assert stage.web() == OPEN


def test_a_limit_is_waited_for_and_nothing_is_lost(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    stage.forge.limit(120)
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == ("waiting", "forge/limited")
    assert outcome.reason.changes_at is not None
    stage.now = outcome.reason.changes_at + timedelta(seconds=1)
    assert stage.web() == OPEN
    assert len(stage.forge.pulls) == 1


def test_a_crash_between_branch_and_pull_request_is_mended(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    stage.forge.fail(500, on="POST", times=10)
    assert stage.web()[0] == "failed"
    tip = stage.branch()
    assert tip is not None
    stage.lose_state()
    stage.forge.mend()
    assert stage.web() == OPEN
    assert stage.branch() == tip


def test_an_answer_that_got_lost_opens_no_second_one(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    stage.forge.fail(502, on="POST", done=True)
    assert stage.web()[0] == "failed"
    assert len(stage.forge.pulls) == 1
    assert stage.web() == OPEN
    assert len(stage.forge.pulls) == 1


def test_a_forge_that_hangs_is_asked_once_for_all(stage: ForgeStage) -> None:
    stage.forges[stage.forge.host]["timeout"] = "1s"
    for name in ("a", "b", "c"):
        stage.push(f"acme/{name}", "1.0.0", "1.0.1")
        stage.commit(stage.workload(name, "1.0.0", keys=PR))
    stage.forge.fail(silent=True, times=100)
    assert {o.reason.code for o in stage.outcomes().values()} == {"forge/unreachable"}
    assert len(stage.forge.calls) <= 2
    stage.forge.mend()
    assert {o.reason.code for o in stage.outcomes().values()} == {"proposal/open"}


def test_two_automators_open_one(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    tip = stage.branch()
    stage.stop()
    (stage.folder / "state").rename(stage.folder / "state-of-the-first")
    assert stage.web() == OPEN
    stage.push("acme/web", "1.4.4")
    assert stage.web() == OPEN
    stage.lose_state()
    (stage.folder / "state-of-the-first").rename(stage.folder / "state")
    second = stage.branch()
    assert second != tip
    assert stage.web() == OPEN
    assert stage.branch() == second
    assert len(stage.forge.pulls) == 1


# -- plans -----------------------------------------------------------------------------------------------


def test_a_plan_says_so_and_writes_nothing(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    report = stage.run(push=False)
    assert [o.reason.code for o in report.outcomes] == ["proposal/planned"]
    assert [patch.file for patch in report.patches] == ["apps/web.yaml"]
    assert (stage.branch(), stage.forge.pulls) == (None, {})
    assert {call.method for call in stage.forge.calls} <= {"GET"}


def test_an_observer_opens_nothing(stage: ForgeStage) -> None:
    stage.settings["mode"] = "observe"
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    assert stage.web() == ("waiting", "proposal/planned")
    assert (stage.branch(), stage.forge.pulls) == (None, {})


# -- what it has -----------------------------------------------------------------------------------------


def test_config_and_policy_say_what_it_has(stage: ForgeStage) -> None:
    stage.settings |= {
        "deliver": "pull-request",
        "pull_request": {"labels": ["release"], "reviewers": ["ann"], "draft": True},
    }
    stage.push("acme/api", "1.0.0", "1.0.1")
    stage.commit(stage.workload("api", "1.0.0"))
    pull = stage.proposed("1.4.3", keys=f"{PR}\npull_request: {{labels: [web], reviewers: [], draft: false}}")
    pulls = {p.head: p for p in stage.forge.pulls.values()}
    assert (pulls["automator/api"].labels, pulls["automator/api"].reviewers) == (["release"], ["ann"])
    assert pulls["automator/api"].draft
    assert (pulls[HEAD].labels, pulls[HEAD].reviewers, pulls[HEAD].draft) == (["web"], [], False)
    assert pull is not None


def test_without_a_forge_it_is_held_and_not_pushed(stage: ForgeStage) -> None:
    stage.forges, stage.settings = {}, {}
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    assert stage.web() == ("held", "proposal/no-forge")
    assert stage.image_of("web") == "web:1.4.2"


def test_a_branch_of_another_base_is_left_alone(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    git(stage.repo.path, "branch", "staging", "main~1")
    git(stage.repo.path, "branch", HEAD, "main")
    stage.forge.open(HEAD, "staging")
    assert stage.web() == ("held", "proposal/other-base")
    assert stage.branch() == stage.repo.tip()


def test_a_branch_that_the_server_refuses_fails_that_one_alone(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.push("acme/api", "1.0.0", "1.0.1")
    stage.commit({**stage.workload("web", "1.4.2", keys=PR), **stage.workload("api", "1.0.0", keys=PR)})
    hook = stage.repo.hook(
        "update", '#!/bin/sh\ncase "$1" in */automator/web) echo no bots here; exit 1;; esac\n'
    )
    found = stage.outcomes()
    assert (found["web"].status, found["web"].reason.code) == ("failed", "push/refused")
    assert found["api"].reason.code == "proposal/open"
    hook.unlink()
    assert stage.web() == ("failed", "push/refused")
    stage.now += timedelta(hours=1)
    assert stage.web() == OPEN


def test_a_status_that_the_forge_refuses_is_a_warning(stage: ForgeStage) -> None:
    stage.forge.fail(403, on="/statuses/", times=1000, body='{"message": "Resource not accessible"}')
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    report = stage.run()
    assert [o.reason.code for o in report.outcomes] == ["proposal/open"]
    assert any(why.code.startswith("forge/") for why in report.warnings)


@pytest.mark.parametrize("kind", ["gitlab", "gitea"])
def test_the_forge_merges_it_once_it_is_ready_where_the_policy_says_so(tmp_path: Path, kind: str) -> None:
    with forge_stage(tmp_path, kind) as stage:
        stage.proposed("1.4.3", keys=f"{PR}\npull_request: {{automerge: true}}")
        assert stage.pull.merge_when_ready


def test_a_window_opens_and_closes(stage: ForgeStage) -> None:
    keys = f'{PR}\nwindows: [{{allow: "0 10 * * *", for: 1h}}]'
    stage.proposed("1.4.3", keys=keys)
    tip = str(stage.branch())
    stage.now += timedelta(hours=2)
    stage.push("acme/web", "1.4.4")
    assert stage.web() == ("waiting", "guard/window")
    assert stage.branch() == tip
    assert stage.forge.statuses(tip)["automator"]["state"] == "pending"
    stage.now += timedelta(hours=22)
    assert stage.web() == OPEN
    assert "1.4.4" in stage.pull.title


def test_a_version_that_is_rejected_now_is_no_go_or_rolls_back_to_the_next(stage: ForgeStage) -> None:
    stage.proposed("1.4.3", "1.4.4")
    files = stage.workload("web", "1.4.2", keys=f'{PR}\nreject: ["1.4.4"]')
    stage.commit({"policies/web.yaml": files["policies/web.yaml"]})
    assert stage.web() == OPEN
    assert "1.4.3" in stage.pull.title
    assert "web:1.4.3" in stage.on_branch()


def test_a_followed_tag_is_proposed_by_its_digest_and_refused_by_it(stage: ForgeStage) -> None:
    keys = 'follow: "7"\ndeliver: pull-request'
    stage.push("acme/web", "7")
    stage.commit(stage.workload("web", "7", keys=keys))
    assert stage.web() == OPEN
    stage.forge.close(1)
    stage.now += timedelta(minutes=15)
    assert stage.web() == ("held", "proposal/closed")
    stage.push("acme/web", "7", age=timedelta(minutes=5))
    assert stage.web() == OPEN
    assert len(stage.forge.pulls) == 2


# -- changes that people ask for -------------------------------------------------------------------------


def test_a_change_that_is_asked_for_twice_is_one_pull_request(stage: ForgeStage) -> None:
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    draft = Draft(
        "Hold web\n\nask finance\n\nRelease-Format: 1\nRelease-Kind: hold\n", (("policies/x.yaml", b"x\n"),)
    )
    first = requested(stage, draft)
    stage.now += timedelta(minutes=5)
    assert requested(stage, draft) == first
    assert (stage.pull.title, len(stage.forge.pulls)) == ("Hold web", 1)
    assert stage.pull.head.startswith("automator/change-hold-web-")
    assert first.endswith(str(stage.pull.number))
    stage.run()
    assert stage.pull.state == "open"
    stage.forge.merge(1, "squash")
    stage.now += timedelta(minutes=15)
    stage.run()
    assert stage.repo.read("policies/x.yaml").strip() == "x"
    assert stage.branch(stage.pull.head) is None
