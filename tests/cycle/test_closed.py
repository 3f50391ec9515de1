"""What people refused by closing a pull request stays refused, whoever asks, and from whichever branch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from parts.forgestage import HEAD, PR, ForgeStage, forge_stage
from parts.gitserver import git

from automator.config import Config

PUSH = 'semver: ">=1.0 <2"'
CLOSED, OPEN = ("held", "proposal/closed"), ("waiting", "proposal/open")
HOUR = timedelta(hours=1)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ForgeStage]:
    with forge_stage(tmp_path, "github") as stage:
        yield stage


def rule(stage: ForgeStage, keys: str, name: str = "web", version: str = "1.4.2") -> None:
    """Ann changes the policy."""
    files = stage.workload(name, version, keys=keys)
    stage.commit({f"policies/{name}.yaml": files[f"policies/{name}.yaml"]})


def close(stage: ForgeStage, head: str = HEAD) -> None:
    """Ann closes the pull request, and deletes its branch."""
    stage.forge.close(stage.pull.number)
    git(stage.repo.path, "update-ref", "-d", f"refs/heads/{head}")


def group(stage: ForgeStage, keys: str = f"{PR}\ngroup: shop") -> None:
    """api and web, each with a newer version, proposed together."""
    for name in ("api", "web"):
        stage.push(f"acme/{name}", "1.0.0", "1.0.1")
        stage.commit(stage.workload(name, "1.0.0", keys=keys))
    stage.run()


def codes(stage: ForgeStage) -> set[str]:
    return {outcome.reason.code for outcome in stage.outcomes().values()}


# -- branches that came and went ------------------------------------------------------------------------


def test_a_replica_that_slept_meanwhile_asks_before_it_pushes(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2"))
    assert stage.web() == ("released", "released/pushed")
    stage.stop()
    shutil.copytree(stage.folder / "state", stage.folder / "standby")
    stage.push("acme/web", "1.4.4")
    rule(stage, PR)
    assert stage.web() == OPEN
    close(stage)
    stage.now += HOUR
    assert stage.web() == CLOSED
    rule(stage, PUSH)
    stage.stop()
    shutil.rmtree(stage.folder / "state")
    (stage.folder / "standby").rename(stage.folder / "state")
    assert stage.web() == CLOSED
    assert stage.image_of("web") == "web:1.4.3"


@pytest.mark.parametrize("later", [timedelta(minutes=1), 48 * HOUR], ids=["a minute", "two days"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_branch_that_is_gone_between_two_cycles_was_there(
    stage: ForgeStage, later: timedelta, restarts: bool
) -> None:
    stage.proposed("1.4.3")
    if restarts:
        stage.stop()
    close(stage)
    rule(stage, PUSH)
    stage.now += later
    assert stage.web() == CLOSED
    rule(stage, f"{PR}\ngroup: shop")
    assert stage.web() == CLOSED
    assert len(stage.forge.pulls) == 1


def test_a_push_without_an_answer_waits_for_one_and_then_for_none(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    close(stage)
    rule(stage, PUSH)
    assert stage.web() == CLOSED
    stage.lose_state()
    stage.forge.fail(503, times=1000)
    assert stage.web() == ("waiting", "forge/unreachable")
    assert stage.image_of("web") == "web:1.4.2"
    stage.forge.mend()
    assert stage.web() == CLOSED
    stage.push("acme/web", "1.4.4")
    assert stage.web() == ("released", "released/pushed")
    stage.push("acme/web", "1.4.5")
    stage.stop()
    stage.now += timedelta(minutes=5)
    stage.forge.fail(503, times=1000)
    assert stage.web()[0] == "waiting", "one that was refused is asked about"


# -- branches of other names ------------------------------------------------------------------------------


@pytest.mark.parametrize("loses_state", [False, True])
@pytest.mark.parametrize("keys", [PUSH, f"{PR}\ngroup: store"])
def test_who_leaves_a_group_takes_its_refusals_along(stage: ForgeStage, keys: str, loses_state: bool) -> None:
    group(stage)
    stage.forge.close(1)
    stage.now += HOUR
    assert "proposal/closed" in codes(stage)
    for name in ("api", "web"):
        rule(stage, keys, name, "1.0.0")
    stage.now += HOUR
    if loses_state:
        stage.lose_state()
    assert codes(stage) <= {"proposal/closed", "group/member-stops"}
    assert len(stage.forge.pulls) == 1


def test_under_another_prefix_the_old_pull_requests_are_known_and_closed(stage: ForgeStage) -> None:
    group(stage, PR)
    api, web = sorted(stage.forge.pulls.values(), key=lambda pull: pull.head)
    stage.forge.close(web.number)
    stage.now += HOUR
    stage.run()
    stage.stop()
    stage.settings["pull_request"] = {"branch_prefix": "bot/"}
    outcomes = stage.outcomes()
    assert outcomes["web"].reason.code == "proposal/closed"
    assert outcomes["api"].reason.code == "proposal/open"
    assert (api.state, stage.branch(api.head), stage.pull.head) == ("closed", None, "bot/api")
    assert "pull requests are on bot/ now" in stage.forge.said(api.number)[-1].body
    assert stage.web() == CLOSED


def test_somebodys_commit_under_the_old_prefix_stays(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    stage.stop()
    theirs = stage.commit_on({"notes.md": "mine\n"})
    stage.settings["pull_request"] = {"branch_prefix": "bot/"}
    assert stage.web() == OPEN
    assert (stage.forge.pulls[1].state, stage.branch()) == ("open", theirs)


# -- who closed it, and how -------------------------------------------------------------------------------


def test_one_that_goes_to_another_branch_by_now_refuses_all_the_same(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    git(stage.repo.path, "branch", "other", "main")
    stage.pull.base = "other"
    stage.now += timedelta(minutes=15)
    assert stage.web() == ("held", "proposal/other-base")
    stage.forge.close(1)
    stage.now += HOUR
    assert stage.web() == CLOSED


def test_one_that_went_to_another_config_repos_branch_was_that_ones() -> None:
    url = "https://git.example.com/acme/shop.git"
    repos: dict[str, Any] = {
        "staging": {"url": url, "branch": "staging"},
        "prod": {"url": url, "branch": "main"},
        "other": {"url": "https://git.example.com/acme/other.git", "branch": "next"},
    }
    forges: Any = {"git.example.com": {"kind": "gitlab", "token_file": "/run/secrets/token"}}
    config = Config(state=Path("state"), repos=repos, forges=forges)
    assert config.branches_beside("prod") == {"staging"}
    assert config.branches_beside("other") == frozenset()


def test_of_two_replicas_one_says_that_it_closed_it(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    before = stage.proposals.forge.pull_requests("acme/shop", head=HEAD)
    stage.commit({"policies/web.yaml": None})
    stage.run()
    assert stage.pull.state == "closed"
    tender = stage.cycle.tender
    assert tender is not None
    tender._close(before[0], "no workload asks for it any more")  # the other one, a moment later
    assert len(stage.forge.said(1)) == 1


def test_one_that_was_closed_is_not_opened_anew_where_its_file_changed_just_then(stage: ForgeStage) -> None:
    pull = stage.proposed()
    stage.forge.close(pull.number)
    stage.commit({"apps/web.yaml": f"# looked at\n{stage.repo.read('apps/web.yaml')}"})

    stage.web()

    assert stage.web() == CLOSED
    assert len(stage.forge.pulls) == 1
