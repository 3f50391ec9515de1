"""Pull requests in hardship: refusals that must hold, people's commits, crashes, and forges that say no."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from parts.forgestage import HEAD, PR, ForgeStage, forge_stage, requested
from parts.gitserver import git

from automator.config import Config
from automator.core.release import Draft
from automator.cycle.run import Trigger
from automator.edges.checkout import Checkout, Remote
from automator.errors import CheckoutError

pytestmark = pytest.mark.slow  # much of it waits: together they take minutes

KINDS = ["github", "gitlab", "gitea", "forgejo", "bitbucket"]
OPEN = ("waiting", "proposal/open")
CLOSED = ("held", "proposal/closed")
AUTOMERGE = f"{PR}\npull_request: {{automerge: true}}"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ForgeStage]:
    with forge_stage(tmp_path, "github") as stage:
        yield stage


def refused(stage: ForgeStage) -> None:
    """1.4.3 is proposed, and somebody closes that."""
    pull = stage.proposed("1.4.3")
    stage.forge.close(pull.number)
    stage.now += timedelta(minutes=15)
    assert stage.web() == CLOSED


def policy(stage: ForgeStage, keys: str) -> dict[str, str]:
    return {"policies/web.yaml": stage.workload("web", "1.4.2", keys=keys)["policies/web.yaml"]}


def freeze(stage: ForgeStage) -> None:
    stage.commit({"policies/_freeze.yaml": "version: 1\nfreeze: {reason: incident}\n"})


def three(stage: ForgeStage) -> None:
    for name in "abc":
        stage.push(f"acme/{name}", "1.4.2", "1.4.3")
        stage.commit(stage.workload(name, "1.4.2", keys=PR))


def calls_of_quiet_cycles(stage: ForgeStage, count: int = 8) -> int:
    stage.forge.forget()
    for _ in range(count):
        stage.now += timedelta(seconds=10)
        stage.cycle.run(Trigger("interval"))
    return len(stage.forge.calls)


def update_branch(stage: ForgeStage, theirs: str = "main", head: str = HEAD) -> None:
    """The button "Update branch"; or somebody merges another branch."""
    work = stage.folder / "update"
    git(stage.folder, "clone", "--quiet", "--branch", head, str(stage.repo.path), str(work))
    git(work, "merge", "--quiet", "--no-ff", "--no-edit", f"origin/{theirs}")
    git(work, "push", "--quiet", "origin", head)
    shutil.rmtree(work)


# -- what was refused stays refused --------------------------------------------------------------------


@pytest.mark.parametrize("loses_state", [False, True])
def test_a_refused_version_is_not_pushed_when_the_policy_pushes(stage: ForgeStage, loses_state: bool) -> None:
    refused(stage)
    stage.commit(policy(stage, 'semver: ">=1.0 <2"'))
    if loses_state:
        stage.lose_state()
    assert stage.web() == CLOSED
    stage.now += timedelta(hours=1, minutes=1)
    assert stage.web() == CLOSED
    assert stage.image_of("web") == "web:1.4.2"
    stage.push("acme/web", "1.4.4")
    assert stage.web() == ("released", "released/pushed")


def test_a_refused_version_is_not_proposed_by_a_group(stage: ForgeStage) -> None:
    refused(stage)
    stage.commit(policy(stage, f"{PR}\ngroup: shop"))
    assert stage.web() == CLOSED
    stage.now += timedelta(hours=2)
    assert stage.web() == CLOSED
    assert len(stage.forge.pulls) == 1


def test_a_refusal_outlives_a_forge_that_does_not_answer(stage: ForgeStage) -> None:
    refused(stage)
    stage.now += timedelta(hours=2)
    stage.forge.fail(503, times=1000)
    assert stage.web() == CLOSED
    stage.lose_state()
    assert stage.web()[0] == "failed"
    stage.commit(policy(stage, 'semver: ">=1.0 <2"'))
    assert stage.web() == ("waiting", "forge/unreachable")
    assert stage.image_of("web") == "web:1.4.2"


@pytest.mark.parametrize("kind", KINDS)
def test_the_commit_says_what_was_refused_where_the_text_does_not(tmp_path: Path, kind: str) -> None:
    with forge_stage(tmp_path, kind) as stage:
        pull = stage.proposed("1.4.3")
        stage.forge.only().pulls[pull.number].body = "Not now, see SHOP-12"
        stage.forge.close(pull.number)
        stage.lose_state()
        assert stage.web() == CLOSED
        assert len(stage.forge.pulls) == 1


def test_a_large_group_is_refused_by_its_text(stage: ForgeStage) -> None:
    files: dict[str, str] = {}
    names = [f"service-with-a-long-name-{i:02d}" for i in range(40)]
    for name in names:
        stage.push(f"acme/{name}", "1.0.0", "1.0.1")
        file = f"apps/production/eu-west-1/{name}/deployment.yaml"
        files |= stage.workload(name, "1.0.0", keys=f"{PR}\ngroup: shop", file=file)
    stage.commit(files)
    assert {o.reason.code for o in stage.outcomes().values()} == {"proposal/open"}
    assert stage.pull.body.count("Release-To: ") == len(names)
    assert len(stage.pull.body) < 32_000
    stage.forge.close(1)
    stage.now += timedelta(minutes=15)
    assert {o.reason.code for o in stage.outcomes().values()} <= {"proposal/closed", "group/member-stops"}


# -- title and text ------------------------------------------------------------------------------------


def test_a_text_that_could_not_be_changed_is_changed_later(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    stage.push("acme/web", "1.4.4")
    stage.forge.fail(502, on="PATCH", times=1)
    assert stage.web()[0] == "failed"
    stage.forge.mend()
    assert stage.web() == OPEN
    assert "1.4.4" in stage.pull.title
    stage.forge.close(pull.number)
    stage.now += timedelta(minutes=15)
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == CLOSED
    assert "1.4.4" in outcome.reason.sentence


def test_closing_before_the_text_is_changed_refuses_what_the_branch_holds(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    stage.push("acme/web", "1.4.4")
    stage.forge.fail(502, on="PATCH", times=1)
    assert stage.web()[0] == "failed"
    stage.forge.mend()
    assert (stage.pull.head_commit, stage.pull.title) == (stage.branch(), "Release web 1.4.3")
    stage.forge.close(pull.number)
    stage.lose_state()
    outcome = stage.outcomes()["web"]
    assert (outcome.status, outcome.reason.code) == CLOSED
    assert "1.4.4" in outcome.reason.sentence
    assert len(stage.forge.pulls) == 1


# -- people's commits ----------------------------------------------------------------------------------


def test_a_merge_of_somebodys_branch_is_theirs(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    git(stage.repo.path, "branch", "feature", "main")
    stage.commit_on({"migration.sql": "drop\n"}, name="feature")
    update_branch(stage, "feature")
    tip = stage.branch()
    assert stage.web() == ("held", "proposal/foreign-commit")
    stage.push("acme/web", "1.4.4")
    assert stage.web() == ("held", "proposal/foreign-commit")
    assert stage.branch() == tip


@pytest.mark.parametrize("loses_state", [False, True])
def test_the_button_may_be_pressed_twice(stage: ForgeStage, loses_state: bool) -> None:
    stage.proposed("1.4.3")
    for i in range(2):
        stage.commit({f"notes{i}.md": "elsewhere\n"})
        update_branch(stage)
    tip = stage.branch()
    if loses_state:
        stage.lose_state()
    assert stage.web() == OPEN
    assert stage.branch() == tip
    assert stage.forge.said(1) == []


def test_the_button_after_another_line_of_the_file_changed(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    text = stage.repo.read("apps/web.yaml").rstrip("\n") + "\n"
    stage.commit({"apps/web.yaml": text.replace("# Comments stay.", "# Comments really stay.")})
    update_branch(stage)
    assert stage.web() == OPEN
    assert stage.forge.said(1) == []
    assert "really" in stage.on_branch()


@pytest.mark.parametrize("loses_state", [False, True])
def test_a_commit_that_was_amended_with_more_is_theirs(stage: ForgeStage, loses_state: bool) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2", keys=PR)
    sidecar = f"        - name: sidecar\n          image: {stage.host}/acme/sidecar:1.4.2\n"
    stage.commit({**files, "apps/web.yaml": files["apps/web.yaml"].rstrip("\n") + f"\n{sidecar}"})
    assert stage.web() == OPEN
    work = stage.folder / "amend"
    git(stage.folder, "clone", "--quiet", "--branch", HEAD, str(stage.repo.path), str(work))
    file = work / "apps/web.yaml"
    file.write_text(file.read_text().replace("sidecar:1.4.2", "sidecar:1.4.3"))
    git(work, "commit", "--quiet", "--all", "--amend", "--no-edit")
    git(work, "push", "--quiet", "--force", "origin", HEAD)
    if loses_state:
        stage.lose_state()
    stage.push("acme/web", "1.4.4")
    assert stage.web() == ("held", "proposal/foreign-commit")
    assert "sidecar:1.4.3" in stage.on_branch()


def test_somebodys_commit_on_the_branch_of_a_change_stays(stage: ForgeStage) -> None:
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    draft = Draft("Hold web\n\nRelease-Format: 1\nRelease-Kind: hold\n", (("policies/x.yaml", b"x\n"),))
    requested(stage, draft)
    head = stage.pull.head
    stage.forge.close(1)
    requested(stage, draft)  # ours: anew
    theirs = stage.commit_on({"notes.md": "mine\n"}, name=head)
    stage.forge.close(2)
    with pytest.raises(CheckoutError) as caught:
        requested(stage, draft)
    assert caught.value.reason.code == "proposal/foreign-commit"
    assert stage.branch(head) == theirs


def test_another_author_in_the_config_makes_ours_nobody_elses(stage: ForgeStage) -> None:
    stage.proposed("1.4.3")
    stage.settings["author"] = {"name": "Shop Bot", "email": "bot@shop.example"}
    stage.lose_state()
    assert stage.web() == OPEN
    assert stage.forge.said(1) == []


# -- after a restart -----------------------------------------------------------------------------------


def test_one_that_is_done_is_closed_by_a_new_clone_too(stage: ForgeStage) -> None:
    for i in range(4):
        stage.commit({"log.md": f"{i}\n"})
    stage.proposed("1.4.3")
    stage.commit({"policies/web.yaml": None})
    stage.lose_state()
    report = stage.run()
    assert (report.error, report.warnings) == (None, ())
    assert (stage.pull.state, stage.branch()) == ("closed", None)
    before = stage.cycle.checkout.processes
    stage.run()
    assert stage.cycle.checkout.processes - before == 1


def test_a_base_that_begins_with_the_prefix_is_never_deleted(stage: ForgeStage) -> None:
    stage.settings["branch"] = "automator/web"
    with pytest.raises(ValueError, match="another branch_prefix"):
        stage.run()
    git(stage.repo.path, "branch", "automator/web", "main")
    remote = Remote(str(stage.repo.path), "automator/web")
    with Checkout(stage.folder / "clone", remote, deadline=30) as checkout:
        checkout.prefix = "automator/"
        checkout.ask_tip()
        assert checkout.branches == {}


def test_branches_of_one_repository_need_a_prefix_each() -> None:
    forge = {"kind": "gitea", "api": "https://git.example/api/v1", "token_file": "/run/token"}
    repos = {
        branch: {"url": "https://git.example/acme/shop", "branch": branch, "deliver": "pull-request"}
        for branch in ("main", "staging")
    }
    with pytest.raises(ValueError, match="a branch_prefix of its own"):
        Config.model_validate({"forges": {"git.example": forge}, "repos": repos})
    repos["staging"] |= {"pull_request": {"branch_prefix": "automator-staging/"}}  # type: ignore[dict-item]
    Config.model_validate({"forges": {"git.example": forge}, "repos": repos})


# -- forges that say no --------------------------------------------------------------------------------


def test_a_status_that_is_denied_stops_nobody_and_is_not_asked_again(stage: ForgeStage) -> None:
    stage.forge.fail(403, on="/statuses/", times=1000, body='{"message": "Resource not accessible"}')
    three(stage)
    assert [o.reason.code for o in stage.run().outcomes] == ["proposal/open"] * 3
    assert calls_of_quiet_cycles(stage) == 0
    freeze(stage)
    report = stage.run()
    assert {w.code for w in report.warnings} == {"forge/denied"}
    assert calls_of_quiet_cycles(stage) == 0


def test_one_that_cannot_be_changed_keeps_no_other_from_being_closed(stage: ForgeStage) -> None:
    three(stage)
    stage.run()
    path = "PATCH /api/v3/repos/acme/shop/pulls/1"
    stage.forge.fail(422, on=path, times=1000, body='{"message": "Validation Failed"}')
    stage.commit({f"policies/{name}.yaml": None for name in "abc"})
    report = stage.run()
    assert {n: p.state for n, p in stage.forge.pulls.items()} == {1: "open", 2: "closed", 3: "closed"}
    assert {w.code for w in report.warnings} == {"forge/refused"}
    assert calls_of_quiet_cycles(stage) == 0


def test_a_close_that_fails_is_said_once(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "bitbucket") as stage:
        stage.proposed("1.4.3")
        stage.forge.fail(400, on="decline", times=1000, body='{"type": "error", "error": {"message": "no"}}')
        stage.commit({"policies/web.yaml": None})
        for _ in range(3):
            stage.now += timedelta(hours=2)
            stage.run()
        assert stage.forge.said(1) == []
        stage.forge.mend()
        stage.now += timedelta(hours=2)
        stage.run()
        assert (len(stage.forge.said(1)), stage.pull.state) == (1, "closed")


def test_a_refused_opening_is_tried_again_after_an_hour(stage: ForgeStage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    path = "POST /api/v3/repos/acme/shop/pulls"
    stage.forge.fail(422, on=path, times=1000, body='{"message": "Validation Failed"}')
    assert stage.web() == ("failed", "forge/refused")
    assert calls_of_quiet_cycles(stage) == 0
    stage.forge.mend()
    stage.now += timedelta(hours=1)
    assert stage.web() == OPEN


# -- merged --------------------------------------------------------------------------------------------


def test_the_same_version_elsewhere_is_proposed_after_a_merge(stage: ForgeStage) -> None:
    keys = PR + '\nwhere: {{paths: ["apps/{0}/**"]}}'
    stage.push("acme/web", "1.4.2", "1.4.3")
    files = stage.workload("web", "1.4.2", keys=keys.format("staging"))
    manifest = files.pop("apps/web.yaml")
    stage.commit({**files, "apps/staging/web.yaml": manifest, "apps/prod/web.yaml": manifest})
    assert stage.web() == OPEN
    stage.forge.merge(1, "squash")
    assert stage.web() == ("current", "current/newest")
    stage.commit(policy(stage, keys.format("prod")))
    assert stage.web() == OPEN
    assert stage.pull.number == 2


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_the_forge_no_longer_merges_what_a_freeze_stops(tmp_path: Path, kind: str) -> None:
    with forge_stage(tmp_path, kind) as stage:
        stage.proposed("1.4.3", keys=AUTOMERGE)
        assert stage.pull.merge_when_ready
        freeze(stage)
        stage.run()
        assert not stage.pull.merge_when_ready
        stage.commit({"policies/_freeze.yaml": None})
        assert stage.web() == OPEN
        assert stage.pull.merge_when_ready
        stage.commit(policy(stage, PR))
        assert stage.web() == OPEN
        assert not stage.pull.merge_when_ready


def test_an_automatic_merge_that_is_refused_is_asked_for_again(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        body = '{"message": "405 Method Not Allowed"}'
        stage.forge.fail(405, on="/merge_requests/1/merge", times=1, body=body)
        stage.proposed("1.4.3", keys=AUTOMERGE)
        assert not stage.pull.merge_when_ready
        stage.now += timedelta(minutes=15)
        assert stage.web() == OPEN
        assert stage.pull.merge_when_ready


def test_a_group_is_merged_automatically_where_all_say_so(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        for name, says in (("api", "true"), ("web", "false")):
            stage.push(f"acme/{name}", "1.0.0", "1.0.1")
            keys = f"{PR}\ngroup: shop\npull_request: {{automerge: {says}}}"
            stage.commit(stage.workload(name, "1.0.0", keys=keys))
        stage.run()
        assert not stage.pull.merge_when_ready


# -- nothing asked without news ------------------------------------------------------------------------


def test_a_freeze_after_a_restart_costs_no_calls(stage: ForgeStage) -> None:
    pull = stage.proposed("1.4.3")
    stage.forge.close(pull.number)
    stage.lose_state()
    freeze(stage)
    stage.run()
    assert calls_of_quiet_cycles(stage) == 0


def test_a_change_that_was_closed_costs_no_calls(stage: ForgeStage) -> None:
    stage.commit(stage.workload("web", "1.4.2", keys=PR))
    draft = Draft("Hold web\n\nRelease-Format: 1\nRelease-Kind: hold\n", (("policies/x.yaml", b"x\n"),))
    requested(stage, draft)
    stage.forge.close(1)
    stage.run()
    stage.forge.forget()
    for i in range(3):
        stage.now += timedelta(hours=1)
        stage.commit({f"notes{i}.md": "elsewhere\n"})
        stage.run()
    assert stage.forge.calls == []


# -- what an earlier automator did, or a forge without an answer ---------------------------------------


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_without_state_too_the_forge_no_longer_merges_what_the_policy_forbids(
    tmp_path: Path, kind: str
) -> None:
    with forge_stage(tmp_path, kind) as stage:
        stage.proposed("1.4.3", keys=AUTOMERGE)
        assert stage.pull.merge_when_ready
        stage.commit(policy(stage, PR))
        stage.lose_state()
        assert stage.web() == OPEN
        assert not stage.pull.merge_when_ready
        stage.forge.only().pulls[1].merge_when_ready = True  # a person's word, from now on
        stage.lose_state()
        assert stage.web() == OPEN
        assert stage.pull.merge_when_ready


@pytest.mark.parametrize("stop", ["freeze", "hold", "invalid"])
def test_without_state_too_the_forge_no_longer_merges_what_is_stopped(tmp_path: Path, stop: str) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        stage.proposed("1.4.3", keys=AUTOMERGE)
        keys = {"hold": f"{PR}\nhold: {{reason: incident}}", "invalid": f"{PR}\nsemvers: 1"}
        if stop == "freeze":
            freeze(stage)
        else:
            stage.commit(policy(stage, keys[stop]))
        stage.lose_state()
        stage.run()
        assert (stage.pull.state, stage.pull.merge_when_ready) == ("open", False)


def test_the_forge_no_longer_merges_it_at_the_moment_when_the_window_closes(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "gitlab") as stage:
        windows = '\nwindows: [{allow: "0 10 * * *", for: 1h}]'
        while stage.now.hour != 10 or stage.now.minute < 55:
            stage.now += timedelta(minutes=1)
        stage.proposed("1.4.3", keys=f"{AUTOMERGE}{windows}")
        assert stage.pull.merge_when_ready
        while stage.now.hour == 10:
            stage.now += timedelta(seconds=30)
        assert stage.web() == ("waiting", "guard/window")
        assert not stage.pull.merge_when_ready


@pytest.mark.parametrize("loses_state", [False, True], ids=["state kept", "state lost"])
def test_labels_that_a_limit_kept_away_are_given_later_and_once(stage: ForgeStage, loses_state: bool) -> None:
    stage.forge.limit(60, on="/labels")
    pull = stage.proposed("1.4.3", keys=f"{PR}\npull_request: {{labels: [release, web]}}")
    assert (pull.state, pull.labels) == ("open", [])
    if loses_state:
        stage.lose_state()
    else:
        stage.stop()
    stage.now += timedelta(minutes=15)
    assert stage.web() == OPEN
    assert sorted(stage.pull.labels) == ["release", "web"]
    stage.forge.only().pulls[1].labels.remove("web")  # a person's decision
    stage.stop()
    stage.now += timedelta(minutes=15)
    assert stage.web() == OPEN
    assert stage.pull.labels == ["release"]
    assert calls_of_quiet_cycles(stage) == 0


# -- groups that change --------------------------------------------------------------------------------


def grouped(
    stage: ForgeStage, group: str = "shop", names: tuple[str, ...] = ("api", "web")
) -> dict[str, str]:
    files: dict[str, str] = {}
    for name in names:
        text = stage.workload(name, "1.0.0", keys=f"{PR}\ngroup: {group}" if group else PR)
        files[f"policies/{name}.yaml"] = text[f"policies/{name}.yaml"]
    return files


@pytest.mark.parametrize("loses_state", [False, True], ids=["state kept", "state lost"])
@pytest.mark.parametrize("change", ["renamed", "dissolved", "left by one"])
def test_a_group_that_changed_leaves_no_pull_request_behind(
    stage: ForgeStage, change: str, loses_state: bool
) -> None:
    for name in ("api", "web"):
        stage.push(f"acme/{name}", "1.0.0", "1.0.1")
        stage.commit(stage.workload(name, "1.0.0", keys=f"{PR}\ngroup: shop"))
    stage.push("acme/broken", "1.0.0")
    stage.commit(stage.workload("broken", "1.0.0", keys=f"{PR}\nsemvers: 1"))
    stage.run()
    assert stage.pull.head == "automator/group-shop"
    if change == "left by one":
        stop = grouped(stage, "shop", ("api",))["policies/api.yaml"] + "\n    hold: {reason: incident}\n"
        stage.commit({**grouped(stage, "", ("web",)), "policies/api.yaml": stop})
    else:
        stage.commit(grouped(stage, "store" if change == "renamed" else ""))
    if loses_state:
        stage.lose_state()
    for _ in range(2):
        stage.run()
    found = {pull.head: pull for pull in stage.forge.pulls.values()}
    old = found.pop("automator/group-shop")
    heads = {"renamed": {"automator/group-store"}, "dissolved": {"automator/api", "automator/web"}}
    assert set(found) == heads.get(change, {"automator/web"})
    assert {pull.state for pull in found.values()} == {"open"}
    assert (old.state, stage.branch(old.head)) == ("closed", None)
    assert "Closed-By-Automator:" in old.body
    assert "belongs to" in stage.forge.said(old.number)[-1].body
