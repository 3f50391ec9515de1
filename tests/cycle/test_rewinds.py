"""Force-pushes and hand-made merges: what the branch was at is told by what was seen, not by what is said."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from parts.gitserver import BareRepo, git
from parts.hand import Hand
from parts.stage import DEPLOYMENT, Stage

from automator.core.report import Outcome
from automator.reasons import Status

FILE = "apps/web.yaml"


def web(stage: Stage) -> Outcome:
    return stage.outcomes()["web"]


def is_held_back(stage: Stage, code: str = "history/rewound", version: str = "1.4.2") -> None:
    """Nothing is released, now, in the next cycle, and after a restart."""
    for restarted in (False, False, True):
        if restarted:
            stage.stop()
        outcome = web(stage)
        assert (outcome.status, outcome.reason.code) == (Status.HELD, code), outcome
        assert stage.image_of("web") == f"web:{version}"


def stream(repo: BareRepo, commits: Iterable[tuple[str, dict[str, str]]]) -> None:
    """Many commits of a person on top of the branch, in one process."""
    parts = []
    for i, (message, files) in enumerate(commits):
        repo.clock += 60
        who = f"Ann Author <ann@example.org> {repo.clock} +0000"
        parts.append(f"commit refs/heads/main\nauthor {who}\ncommitter {who}\n")
        parts.append(f"data {len(message.encode())}\n{message}\n")
        parts.append(f"from {repo.tip()}\n" if i == 0 else "")
        parts += [f"M 100644 inline {path}\ndata {len(c.encode())}\n{c}\n" for path, c in files.items()]
    git(repo.path, "fast-import", "--quiet", "--force", feed="".join(parts).encode())


# -- rewinds -------------------------------------------------------------------------------------------


def rewind(hand: Hand, commit: str) -> None:
    hand.git("reset", "--quiet", "--hard", commit)
    hand.push("--force")


def test_a_release_that_was_merged_is_not_put_back_after_a_rewind(stage: Stage, hand: Hand) -> None:
    stage.push("acme/web", "1.4.4")
    base = hand.tip
    web(stage)
    release = hand.pull()
    stage.repo.set_tip(base)
    stage.lose_state()
    hand.git("reset", "--quiet", "--hard", base)
    hand.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #12 from acme/automator/web", release)
    hand.push()
    assert web(stage).status is Status.CURRENT
    rewind(hand, base)
    is_held_back(stage, version="1.4.3")


@pytest.mark.parametrize("kind", ["promote", "release"])
def test_whatever_kind_of_release_it_was(stage: Stage, hand: Hand, kind: str) -> None:
    words = hand.message("HEAD").replace("Release-Kind: release", f"Release-Kind: {kind}")
    hand.git("commit", "--quiet", "--amend", "--cleanup=verbatim", "-m", words)
    hand.push("--force")
    assert web(stage).status is Status.CURRENT
    rewind(hand, "HEAD~1")
    is_held_back(stage)


def test_a_release_older_than_the_clone(stage: Stage, hand: Hand) -> None:
    before = git(hand.folder, "rev-parse", "HEAD~1")
    stage.lose_state()
    hand.commit("Note")
    hand.push()
    assert web(stage).status is Status.CURRENT
    rewind(hand, before)
    is_held_back(stage)


def test_a_release_many_commits_ago_for_few_processes(stage: Stage, hand: Hand) -> None:
    before = git(hand.folder, "rev-parse", "HEAD~1")
    stream(stage.repo, [(f"Note {i}", {"notes.md": f"{i}"}) for i in range(230)])
    web(stage)
    begun = stage.cycle.checkout.processes
    stage.repo.set_tip(before)
    assert web(stage).reason.code == "history/rewound"
    assert stage.cycle.checkout.processes - begun < 10
    is_held_back(stage)


def test_what_was_turned_away_before_the_rewind_stays_away(stage: Stage, hand: Hand) -> None:
    before = git(hand.folder, "rev-parse", "HEAD~1")
    hand.git("revert", "--no-edit", "HEAD")
    hand.push()
    assert web(stage).reason.code == "history/turned-away"
    rewind(hand, before)
    is_held_back(stage)


def test_a_false_claim_that_was_removed_holds_nothing(stage: Stage, hand: Hand) -> None:
    hand.commit(hand.message("HEAD").replace("1.4.3", "1.4.4"), who="Mallory")
    hand.push()
    web(stage)
    rewind(hand, "HEAD~1")
    web(stage)
    stage.push("acme/web", "1.4.4")
    assert web(stage).status is Status.RELEASED


def test_what_was_passed_on_the_way_up_is_no_withdrawal(stage: Stage, hand: Hand) -> None:
    """After a rebase of the whole branch, production may still take what staging has left behind."""
    stage.push("acme/web", "1.4.4")
    assert web(stage).status is Status.RELEASED
    hand.pull()
    hand.git("rebase", "--quiet", "--root", "--force-rebase")
    hand.push("--force")
    web(stage)
    mine = stage.workload("web", "1.4.2", keys='semver: "<1.4.4"')
    policy = mine["policies/web.yaml"].replace("  web:", "  prod:") + "    where: {paths: [prod/**]}\n"
    old = hand.read("policies/web.yaml") + "    where: {paths: [apps/**]}\n"
    stage.commit({"prod/web.yaml": mine[FILE], "policies/prod.yaml": policy, "policies/web.yaml": old})
    assert stage.outcomes()["prod"].status is Status.RELEASED


def test_a_lower_version_is_not_said_to_have_been_there(stage: Stage, hand: Hand) -> None:
    stage.push("acme/web", "1.5.0")
    assert web(stage).status is Status.RELEASED
    stage.repo.set_tip(git(stage.repo.path, "rev-parse", "main~1"))
    stage.push("acme/web", "1.4.9")
    stage.commit(stage.workload("web", "1.4.3", keys='semver: "<1.5"'))
    outcome = web(stage)
    assert outcome.reason.sentence == "1.5.0 was on the branch, and then the branch was set back past that"
    assert "set 1.4.9 by hand" in outcome.reason.next_step


def test_what_a_policy_moves_down_after_a_rewind_is_its_own_affair(stage: Stage, hand: Hand) -> None:
    rewind(hand, "HEAD~1")
    assert web(stage).reason.code == "history/rewound"
    stage.push("acme/web", "1.4.4")
    assert web(stage).status is Status.RELEASED
    hand.pull()
    text = hand.read("policies/web.yaml")
    hand.write("policies/web.yaml", text + "    exclude: ['1.4.4', '1.4.3']\n    downgrade: true\n")
    hand.commit("1.4.4 is broken")
    hand.push()
    assert web(stage).status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.2"


# -- merges that people make by hand ---------------------------------------------------------------------


def turned(stage: Stage, hand: Hand, *how: str) -> None:
    """Bob, who began before the release, merges the branch, where it was reverted, into his work."""
    bob = Hand(stage.repo, stage.folder / "bob", "Bob")
    bob.git("reset", "--quiet", "--hard", "HEAD~1")
    bob.write("notes.md", "Bob's\n")
    bob.commit("Bob's work")
    hand.git("revert", "--no-edit", "HEAD")
    hand.push()
    bob.git("fetch", "--quiet")
    bob.git("merge", "--quiet", *how)
    bob.push()


@pytest.mark.parametrize("lost", [False, True], ids=["seen", "never-seen"])
@pytest.mark.parametrize("words", ["sync with main", "Merge commit 'abc1234'"])
def test_a_merge_in_words_of_ones_own_hides_no_revert(
    stage: Stage, hand: Hand, words: str, lost: bool
) -> None:
    turned(stage, hand, "-m", words, "origin/main")
    if lost:
        stage.lose_state()
    is_held_back(stage, "history/turned-away")


def test_what_was_seen_counts_more_than_a_forge_s_words(stage: Stage, hand: Hand) -> None:
    """A merge that calls itself a forge's, and a version that a person set and took back."""
    bob = Hand(stage.repo, stage.folder / "bob", "Bob")
    bob.write("notes.md", "Bob's\n")
    bob.commit("Bob's work")
    hand.change(FILE, "1.4.3", "1.4.9")
    hand.commit("Up")
    hand.push()
    web(stage)
    hand.change(FILE, "1.4.9", "1.4.3")
    hand.commit("And back")
    hand.push()
    web(stage)
    bob.git("fetch", "--quiet")
    bob.git("merge", "--quiet", "-m", "Merge pull request #1 from acme/x", "origin/main")
    bob.push()
    web(stage)
    stage.push("acme/web", "1.4.9")
    is_held_back(stage, "history/turned-away", "1.4.3")


def test_a_fork_that_was_pulled_is_not_the_branch(stage: Stage, hand: Hand) -> None:
    bob = Hand(stage.repo, stage.folder / "bob", "Bob")
    bob.change(FILE, "1.4.3", "1.9.0")
    bob.commit("Try")
    bob.change(FILE, "1.9.0", "1.4.3")
    bob.write("feature.md", "done\n")
    bob.commit("Feature")
    hand.commit("Meanwhile")
    hand.push()
    hand.git("pull", "--quiet", "--no-rebase", "--no-edit", str(bob.folder), "main")
    hand.push()
    stage.push("acme/web", "1.8.0")
    assert web(stage).status is Status.RELEASED


@pytest.mark.parametrize("more", ["nothing", "a note on top", "the branch brought up to date"])
def test_of_a_merge_every_commit_that_it_brought_counts(stage: Stage, hand: Hand, more: str) -> None:
    """A downgrade of ours, merged: it turned nothing away, whoever added a commit before the merge."""
    text = hand.read("policies/web.yaml")
    hand.write("policies/web.yaml", text + "    exclude: ['1.4.3']\n    downgrade: true\n")
    base = hand.commit("1.4.3 is broken")
    hand.push()
    assert web(stage).status is Status.RELEASED
    hand.pull()
    stage.repo.set_tip(base)
    stage.lose_state()
    hand.git("branch", "work")
    if more == "a note on top":
        hand.git("checkout", "--quiet", "work")
        hand.write("notes.md", "reviewed\n")
        hand.commit("A reviewer's note")
    hand.git("checkout", "--quiet", "-B", "main", base)
    if more == "the branch brought up to date":
        hand.write("notes.md", "meanwhile\n")
        hand.commit("Meanwhile")
        hand.git("checkout", "--quiet", "work")
        hand.git("merge", "--quiet", "-m", "Merge branch 'main' into work", "main")
        hand.git("checkout", "--quiet", "main")
    hand.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #12 from acme/work", "work")
    hand.write("policies/web.yaml", text)
    hand.commit("Mended")
    hand.push("--force")
    assert web(stage).status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.3"


# -- how far back ----------------------------------------------------------------------------------------


def test_two_hundred_values_are_no_place_to_stop(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.9.0")

    def at(version: str) -> dict[str, str]:
        return {FILE: DEPLOYMENT.format(name="web", image=f"{stage.host}/acme/web:{version}")}

    stage.commit({**stage.workload("web", "1.9.0"), **at("1.9.0")})
    begin = [("1.9.0 is broken", at("1.0.0"))]
    notes = [(f"Note {i}", {"notes.md": f"{i}"}) for i in range(900)]
    stream(stage.repo, [*begin, *notes, *((f"Step {i}", at(f"1.0.{i}")) for i in range(1, 211))])
    is_held_back(stage, "history/turned-away", "1.0.210")


def test_a_bound_on_the_changes_of_a_file_is_told(stage: Stage) -> None:
    stage.push("acme/web", "1.0.0", "1.9.0")
    stage.commit(stage.workload("web", "1.9.0"))
    text = stage.repo.read(FILE).replace("1.9.0", "1.0.0")
    stream(stage.repo, [(f"Note {i}", {FILE: f"{text}# {i}\n"}) for i in range(2_010)])
    report = stage.run()
    assert [warning.code for warning in report.warnings] == ["history/cut-short"]
