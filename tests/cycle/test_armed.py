"""What the forge was told to merge, and what its status says, follows the policy and the branch at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from parts.forgestage import HEAD, PR, ForgeStage, forge_stage
from parts.gitserver import git

AUTOMERGE = f"{PR}\npull_request: {{automerge: true}}"


def rule(stage: ForgeStage, keys: str) -> None:
    """Ann changes the policy."""
    stage.commit({"policies/web.yaml": stage.workload("web", "1.4.2", keys=keys)["policies/web.yaml"]})


def said(stage: ForgeStage) -> tuple[str, str]:
    """State and words of our status of the branch's tip."""
    status = stage.forge.statuses(str(stage.branch()))["automator"]
    return status["state"], status["description"]


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_somebodys_commit_is_not_merged_by_the_forge_nor_vouched_for(tmp_path: Path, kind: str) -> None:
    with forge_stage(tmp_path, kind) as stage:
        stage.proposed("1.4.3", keys=AUTOMERGE)
        assert bool(stage.pull.merge_when_ready) is True
        stage.commit_on({"apps/web.yaml": stage.on_branch().replace("1.4.3", "9.9.9")})
        for _ in range(2):
            assert stage.web() == ("held", "proposal/foreign-commit")
            assert not stage.pull.merge_when_ready
            assert said(stage)[0] == "pending"
            stage.now += timedelta(minutes=11)


def test_somebodys_commit_is_not_merged_by_the_forge_once_nobody_asks_for_it(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        stage.proposed("1.4.3", keys=AUTOMERGE)
        theirs = stage.commit_on({"notes.md": "x\n"})
        stage.commit({"policies/web.yaml": None})
        stage.run()
        assert (stage.branch(), stage.pull.state, stage.pull.merge_when_ready) == (theirs, "open", False)


@pytest.mark.parametrize("loses_state", [False, True])
def test_while_its_policy_is_wrong_nothing_is_merged_and_the_status_says_why(
    tmp_path: Path, loses_state: bool
) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        stage.proposed("1.4.3", keys=AUTOMERGE)
        rule(stage, f"{AUTOMERGE}\nhold: {{reson: incident}}")
        if loses_state:
            stage.lose_state()
        why = stage.outcomes()["web"].reason
        assert why.code.startswith("policy/")
        state, words = said(stage)
        assert (stage.pull.state, stage.pull.merge_when_ready, state) == ("open", False, "failure")
        assert words.startswith("no-go: policies/web.yaml")
        rule(stage, AUTOMERGE)
        stage.run()
        assert (stage.pull.merge_when_ready, said(stage)[0]) == (True, "success")
        stage.commit({"policies/api.yaml": "version: [\n", "policies/web.yaml": None})
        stage.run()
        assert (stage.pull.state, stage.pull.merge_when_ready, said(stage)[0]) == ("open", False, "failure")


def test_a_new_version_is_not_brought_while_the_forge_would_merge_it_unasked(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        stage.proposed("1.4.3", keys=AUTOMERGE)
        stage.push("acme/web", "1.4.4")
        rule(stage, PR)
        stage.forge.fail(500, on="cancel_merge", times=1)
        assert stage.web() == ("waiting", "proposal/armed")
        assert "1.4.3" in stage.on_branch()
        stage.now += timedelta(minutes=11)
        stage.forge.fail(500, on="PUT /api/v4/projects/acme%2Fshop/merge_requests/1", times=1)
        assert stage.web()[0] == "failed"
        assert not stage.pull.merge_when_ready
        stage.run()
        assert ("1.4.4" in stage.on_branch(), stage.pull.merge_when_ready) == (True, False)


def test_who_closes_it_with_a_commit_of_his_own_deletes_the_branch_to_go_on(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "github") as stage:
        stage.proposed("1.4.3")
        theirs = stage.commit_on({"notes.md": "x\n"})
        held = stage.outcomes()["web"].reason
        assert "close it and delete its branch" in held.next_step
        assert "close it and delete its branch" in stage.forge.said(1)[0].body
        stage.forge.close(1)
        stage.push("acme/web", "1.4.4")
        stage.now += timedelta(hours=2)
        assert stage.web() == ("held", "proposal/foreign-commit")
        assert stage.branch() == theirs
        git(stage.repo.path, "update-ref", "-d", f"refs/heads/{HEAD}")
        assert stage.web() == ("waiting", "proposal/open")
