"""The last word is a person's: what was taken back stays away, whatever was accepted or seen before."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest
from parts.gitserver import git
from parts.hand import Hand
from parts.stage import DEPLOYMENT, Stage

from automator.core.action import Request
from automator.core.report import Outcome
from automator.cycle.acting import Acted, Terms, act
from automator.errors import ActionError, UsageError
from automator.reasons import Status

FILE, POLICY = "apps/web.yaml", "policies/web.yaml"


def web(stage: Stage) -> Outcome:
    return stage.outcomes()["web"]


def ask(stage: Stage, kind: str, version: str | None = None, **more: object) -> Acted:
    stage.now += timedelta(minutes=1)
    return act(stage.cycle, Request(kind, "Ann", "because", "web", version, **more), Terms())  # type: ignore[arg-type]


def released(stage: Stage, *versions: str, keys: str = 'semver: ">=1.0 <2"') -> None:
    stage.push("acme/web", versions[0])
    stage.commit(stage.workload("web", versions[0], keys=keys))
    stage.run()
    for version in versions[1:]:
        stage.push("acme/web", version)
        assert web(stage).status is Status.RELEASED


def stays(stage: Stage, code: str) -> None:
    """It is held for this, now and after all local state was lost."""
    for lost in (False, True):
        if lost:
            stage.lose_state()
        outcome = web(stage)
        assert (outcome.status, outcome.reason.code) == (Status.HELD, code), outcome


# -- accept --------------------------------------------------------------------------------------------


def test_what_is_reverted_after_it_was_accepted_stays_away_until_it_is_listed_anew(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    stage.revert(stage.repo.tip())
    plain = stage.repo.read(POLICY) + "\n"
    accepting = plain + '    accept: ["1.4.3"]\n'
    stage.commit({POLICY: accepting})
    assert web(stage).status is Status.RELEASED
    stage.revert(stage.repo.tip())
    stays(stage, "history/accepted-before")
    assert "in a later commit" in web(stage).reason.next_step
    stage.commit({POLICY: plain})
    stays(stage, "history/turned-away")
    stage.commit({POLICY: accepting})
    assert web(stage).status is Status.RELEASED


def test_a_policy_that_was_moved_meanwhile_accepts_nothing_anew(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3", keys='semver: ">=1.0 <2"\naccept: ["1.4.3"]')
    stage.revert(stage.repo.tip())
    stage.commit({POLICY: None, "policies/shop.yaml": stage.repo.read(POLICY)})
    stays(stage, "history/accepted-before")


def test_a_rollback_takes_what_it_leaves_out_of_accept_which_may_list_it_again(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    ask(stage, "rollback")
    plain = stage.repo.read(POLICY)
    ask(stage, "accept", "1.4.3")
    assert web(stage).status is Status.RELEASED
    ask(stage, "rollback", "1.4.1")
    assert stage.repo.read(POLICY) == plain
    stays(stage, "history/turned-away")
    ask(stage, "accept", "1.4.3")
    assert web(stage).status is Status.RELEASED


def test_a_rollback_tells_of_an_accept_that_it_cannot_edit(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    policy = stage.repo.read(POLICY).replace("workloads:", 'defaults:\n  accept: ["1.4.3"]\nworkloads:')
    stage.commit({POLICY: policy})
    done = ask(stage, "rollback")
    assert done.change is not None
    assert [note.code for note in done.change.notes] == ["action/still-accepted"]
    stays(stage, "history/accepted-before")


def test_an_accept_that_is_older_than_the_rewind_brings_nothing_back(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3", keys='semver: ">=1.0 <2"\naccept: ["1.4.3"]')
    accepting = stage.repo.read(POLICY)
    stage.repo.set_tip(git(stage.repo.path, "rev-parse", "main~1"))
    assert web(stage).reason.code == "history/rewound"
    stage.commit({POLICY: accepting.partition("    accept")[0]})
    assert web(stage).reason.code == "history/rewound"
    stage.commit({POLICY: accepting})
    assert web(stage).status is Status.RELEASED


def test_an_accept_after_the_rewind_counts_though_both_came_between_two_looks(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    policy = stage.repo.read(POLICY)
    stage.stop()
    stage.repo.set_tip(git(stage.repo.path, "rev-parse", "main~1"))
    stage.commit({POLICY: policy + '\n    accept: ["1.4.3"]\n'})
    assert web(stage).status is Status.RELEASED


def test_who_takes_a_version_back_twice_is_no_contest_for_newer_ones(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    for kind in ("rollback", "accept"):
        ask(stage, kind, "1.4.3" if kind == "accept" else None)
    assert web(stage).status is Status.RELEASED
    stage.revert(stage.repo.tip())
    assert web(stage).reason.code == "history/accepted-before"
    stage.push("acme/web", "1.4.4")
    assert web(stage).status is Status.RELEASED


# -- rewinds -------------------------------------------------------------------------------------------


def two(stage: Stage, canary: str, stable: str, keys: str) -> dict[str, str]:
    image, found, entries = f"{stage.host}/acme/web", {}, []
    for name, version, rule in (("canary", canary, keys), ("stable", stable, 'semver: "1.x"')):
        found[f"{name}/web.yaml"] = DEPLOYMENT.format(name=name, image=f"{image}:{version}")
        entries.append(f"  {name}: {{image: '{image}', {rule}, where: {{paths: ['{name}/**']}}}}\n")
    return {**found, POLICY: "version: 1\nworkloads:\n" + "".join(entries)}


def test_what_was_taken_back_from_one_workload_is_held_though_another_has_it(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(two(stage, "1.4.2", "1.4.2", 'semver: "1.x"'))
    stage.run()
    stage.push("acme/web", "1.4.3")
    stage.run()
    assert git(stage.repo.path, "log", "-1", "--format=%s", "main") == "Release stable 1.4.3"
    stage.repo.set_tip(git(stage.repo.path, "rev-parse", "main~1"))
    for _ in range(2):
        found = {name: outcome.reason.code for name, outcome in stage.outcomes().items()}
        assert found == {"canary": "current/newest", "stable": "history/rewound"}


def test_what_was_taken_back_from_one_workload_stops_no_other(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "2.0.0")
    base = stage.commit(two(stage, "2.0.0", "1.4.2", 'semver: ">=2.0.0-0 <3"'))
    stage.run()
    stage.push("acme/web", "2.1.0")
    assert stage.outcomes()["canary"].status is Status.RELEASED
    stage.repo.set_tip(base)
    stage.push("acme/web", "1.4.3")
    outcomes = stage.outcomes()
    assert outcomes["canary"].reason.code == "history/rewound"
    assert outcomes["stable"].status is Status.RELEASED


def test_a_clone_that_was_made_anew_is_no_rewind(stage: Stage) -> None:
    """What a policy moved down itself may come back when its range opens again."""
    stage.settings = {"url": f"file://{stage.repo.path}"}
    keys = 'semver: ">=1.0 <2"\ndowngrade: true'
    released(stage, "1.4.9", "1.5.0", keys=keys)
    wide = stage.repo.read(POLICY)
    stage.commit({POLICY: wide.replace("<2", "<1.5")})
    assert web(stage).status is Status.RELEASED
    stage.commit({"notes.md": "x"})
    stage.stop()
    shutil.rmtree(stage.folder / "state" / "repos")
    stage.commit({POLICY: wide})
    assert web(stage).status is Status.RELEASED
    assert stage.image_of("web") == "web:1.5.0"


# -- merges --------------------------------------------------------------------------------------------


def test_a_merge_of_several_branches_at_once_hides_no_revert(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    ann, bob = (Hand(stage.repo, stage.folder / name, name) for name in ("ann", "bob"))
    ann.git("reset", "--quiet", "--hard", "HEAD~1")
    for branch in ("main", "topic"):
        ann.git("checkout", "--quiet", "-B", branch)
        ann.write(f"{branch}.md", "x")
        ann.commit(branch)
    ann.git("checkout", "--quiet", "main")
    ann.write("more.md", "x")
    ann.commit("more")
    bob.git("revert", "--no-edit", "HEAD")
    bob.push()
    web(stage)
    ann.git("fetch", "--quiet")
    ann.git("merge", "--quiet", "--no-edit", "origin/main", "topic")
    ann.push()
    stage.stop()
    for _ in range(2):
        assert web(stage).reason.code == "history/turned-away"


def test_a_merge_that_names_another_branch_is_no_pull(stage: Stage) -> None:
    """Versions that only the merged branch held are no way back, and nothing was turned away there."""
    released(stage, "1.4.2")
    before = stage.repo.tip()
    for version in ("1.4.3", "1.4.4"):
        stage.push("acme/web", version)
        assert web(stage).status is Status.RELEASED
    hand = Hand(stage.repo, stage.folder / "ann")
    hand.git("checkout", "--quiet", "-b", "staging")
    hand.git("checkout", "--quiet", "-B", "main", before)
    stage.repo.set_tip(before)
    stage.lose_state()
    hand.write("docs.md", "x")
    hand.commit("Docs")
    hand.git("merge", "--quiet", "--no-edit", "staging")
    hand.push()
    done = act(stage.cycle, Request("rollback", "Ann", "broken", "web"), Terms(dry_run=True))
    assert done.message.startswith("Roll back web to 1.4.2\n")


def test_what_stood_only_beside_the_line_is_no_way_back(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    bob = Hand(stage.repo, stage.folder / "bob", "Bob")
    bob.git("reset", "--quiet", "--hard", "HEAD~1")
    bob.change(FILE, "1.4.2", "1.4.1")
    bob.commit("A try")
    bob.change(FILE, "1.4.1", "1.4.2")
    bob.write("notes.md", "Bob's\n")
    bob.commit("Bob's work")
    bob.git("pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
    bob.push()
    stage.push("acme/web", "1.4.1")
    assert web(stage).status is Status.CURRENT
    ask(stage, "rollback")
    assert stage.image_of("web") == "web:1.4.2"
    stage.now += timedelta(hours=1)
    with pytest.raises(ActionError, match=r"no other version than 1\.4\.2"):
        ask(stage, "rollback")


# -- commands ------------------------------------------------------------------------------------------


def test_a_second_rollback_never_goes_up(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    stage.push("acme/web", "1.4.0")
    ask(stage, "rollback", "1.4.0")
    with pytest.raises(ActionError) as caught:
        ask(stage, "rollback")
    assert caught.value.reason.code == "action/nothing-before"


def test_a_rollback_moves_no_site_up_by_build_time_either(stage: Stage) -> None:
    stage.push("acme/web", "aaa", "bbb", "ccc")
    stage.commit(stage.workload("web", "bbb", keys="glob: '*'\norder: newest"))
    assert web(stage).status is Status.RELEASED
    text = stage.repo.read(FILE).replace(":ccc", ":aaa").replace("name: web,", "name: web2,")
    stage.commit({"apps/web2.yaml": text})
    ask(stage, "rollback", "bbb")
    assert stage.image_of("web") == "web:bbb"
    assert "/web:aaa" in stage.repo.read("apps/web2.yaml")


def test_force_writes_down_all_that_people_have_against_it(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    stage.repo.set_tip(git(stage.repo.path, "rev-parse", "main~1"))
    assert web(stage).reason.code == "history/rewound"
    stage.commit({POLICY: stage.repo.read(POLICY).replace("<2", "<1.4.3")})
    done = ask(stage, "release", "1.4.3", force=True)
    assert done.change is not None
    assert done.change.record.reason == "forced past tag/range, history/rewound: because"


@pytest.mark.parametrize("kind", ["promote", "rollback", "release", "accept"])
def test_an_empty_version_is_no_version(stage: Stage, kind: str) -> None:
    with pytest.raises(UsageError):
        ask(stage, kind, "")
