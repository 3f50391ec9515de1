"""Histories as people make them: whatever Git was used for, what a person turned away stays away."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import requests
from parts.gitserver import git
from parts.hand import Hand
from parts.stage import NOW, Stage
from parts.world import PATIENCE, EmbeddedWorld, processes, until

from automator.core.report import Outcome
from automator.reasons import Status

FILE = "apps/web.yaml"


def web(stage: Stage) -> Outcome:
    return stage.outcomes()["web"]


def versions(stage: Stage) -> set[str]:
    """What every manifest of the branch holds for the image."""
    paths = git(stage.repo.path, "ls-tree", "-r", "--name-only", "main").splitlines()
    texts = [stage.repo.read(path) for path in paths if not path.startswith("policies/")]
    return {part.split()[0] for text in texts for part in text.split("/acme/web:")[1:]}


def stays_away(stage: Stage, version: str = "1.4.2") -> Outcome:
    """Nothing is released, in this cycle and the next, nor by somebody who knows Git alone."""
    for lost in (False, False, True):
        if lost:
            stage.lose_state()
        outcome = web(stage)
        assert (outcome.status, outcome.reason.code) == (Status.HELD, "history/turned-away"), outcome
        assert versions(stage) == {version}
    return outcome


def goes_on(stage: Stage, newer: str = "1.4.4") -> None:
    """A still newer version is released as ever."""
    stage.push("acme/web", newer)
    assert web(stage).status is Status.RELEASED
    assert versions(stage) == {newer}


# -- files that are moved ----------------------------------------------------------------------------


def move_alone(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.git("mv", FILE, "web-in-production.yaml")
    hand.commit("Move")


def move_and_go_back(hand: Hand) -> None:
    hand.git("mv", FILE, "production.yaml")
    hand.change("production.yaml", "1.4.3", "1.4.2")
    hand.change("production.yaml", "# Comments stay.", "# Comments change.\n# A lot.\n")
    hand.commit("Move and go back")


def move_a_folder(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.write(
        "apps/other.yaml", hand.read(FILE).replace("acme/web:1.4.2", "acme/other:9").replace("web", "other")
    )
    hand.commit("Another app")
    hand.git("mv", "apps", "clusters")
    hand.commit("Move all")


def move_twice(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.git("mv", FILE, "a.yaml")
    hand.commit("Move")
    hand.git("mv", "a.yaml", "b.yaml")
    hand.commit("Move again")


def move_there_and_back(hand: Hand) -> None:
    move_twice(hand)
    hand.git("mv", "b.yaml", "a.yaml")
    hand.commit("Move back")


def move_and_rename_the_container(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.git("mv", FILE, "prod.yaml")
    hand.change("prod.yaml", "name: app", "name: server")
    hand.commit("Move, and call it server")


def split_a_file(hand: Hand) -> None:
    hand.write(FILE, hand.read(FILE) + "---\nkind: ConfigMap\nmetadata: {name: settings}\n")
    hand.commit("Settings")
    hand.change(FILE, "1.4.3", "1.4.2")
    hand.commit("Back")
    text, _, settings = hand.read(FILE).partition("---\n")
    hand.write("apps/deployment.yaml", text)
    hand.write(FILE, settings)
    hand.commit("Split")


def merge_into_a_file(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.write("all.yaml", "kind: ConfigMap\nmetadata: {name: settings}\n")
    hand.commit("Settings")
    hand.write("all.yaml", hand.read("all.yaml") + "---\n" + hand.read(FILE))
    hand.git("rm", "--quiet", FILE)
    hand.commit("One file for all")


def move_between_documents(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.write(FILE, "kind: ConfigMap\nmetadata: {name: settings}\n---\n" + hand.read(FILE))
    hand.commit("Settings first")


def rename_the_container(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.change(FILE, "name: app", "name: server")
    hand.commit("Call it server")


def rename_the_object_and_go_back(hand: Hand) -> None:
    hand.change(FILE, "{name: web, namespace: shop}", "{name: shop-web, namespace: all}")
    hand.change(FILE, "1.4.3", "1.4.2")
    hand.commit("Rename")


def rename_the_workload(hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    text = hand.read("policies/web.yaml")
    hand.git("mv", "policies/web.yaml", "policies/shop.yaml")
    hand.write("policies/shop.yaml", text + '    description: "the shop"\n')
    hand.commit("Another file for the policy")


MOVES = [
    move_alone,
    move_and_go_back,
    move_a_folder,
    move_twice,
    move_there_and_back,
    move_and_rename_the_container,
    split_a_file,
    merge_into_a_file,
    move_between_documents,
    rename_the_container,
    rename_the_object_and_go_back,
    rename_the_workload,
]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_a_site_that_is_moved_keeps_its_past(stage: Stage, hand: Hand, move: object) -> None:
    move(hand)  # type: ignore[operator]
    hand.push()
    outcome = stays_away(stage)
    assert outcome.reason.sentence.startswith("was 1.4.3 until Ann Author set 1.4.2 in ")
    goes_on(stage)


def test_staging_and_production_that_move_together_are_not_mixed_up(stage: Stage) -> None:
    """Both files are the same text but for the version, and both folders are renamed by one commit."""
    stage.push("acme/web", "1.4.2", "1.4.3", "1.5.0")
    keys = 'semver: "1.x"\nwhere: {{paths: ["{}/**"]}}'
    files = {
        f"apps/{place}/web.yaml": stage.workload("web", version)[FILE]
        for place, version in (("staging", "1.5.0"), ("production", "1.4.2"))
    }
    stage.commit(files)
    found = Hand(stage.repo, stage.folder / "ann")
    found.git("mv", "apps", "clusters")
    found.commit("Move")
    policy = stage.workload("web", "1", keys=keys.format("clusters/production"))["policies/web.yaml"]
    found.write("policies/web.yaml", policy)
    found.commit("Watch production")
    found.push()
    assert web(stage).status is Status.RELEASED  # production was never at 1.5.0, and nobody turned it away
    assert stage.repo.read("clusters/production/web.yaml").count("acme/web:1.5.0") == 1


def test_a_copy_has_no_past_but_its_workload_is_bound_by_the_original(stage: Stage, hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    hand.write("apps/second.yaml", hand.read(FILE).replace("name: web", "name: second"))
    hand.commit("A second one")
    hand.push()
    stays_away(stage)


def test_a_move_that_is_not_the_first_commit_of_much_costs_one_look_each_head(
    stage: Stage, hand: Hand
) -> None:
    """Nothing of the past is read again for a head that did not touch it."""
    move_alone(hand)
    hand.push()
    stays_away(stage)
    web(stage)
    parsed, before = stage.cycle.index.parsed, stage.cycle.checkout.processes
    for i in range(3):
        stage.commit({"notes.md": f"{i}\n"})
        assert web(stage).status is Status.HELD
    assert stage.cycle.index.parsed == parsed
    # Each head: its tip, its objects, its trees, whether it descends; nothing for the file's past.
    assert stage.cycle.checkout.processes - before <= 3 * 5


# -- merges --------------------------------------------------------------------------------------------


def on_a_branch(hand: Hand, name: str = "fix") -> None:
    hand.git("checkout", "--quiet", "-b", name)


def merge(hand: Hand, name: str = "fix", message: str = "Merge it") -> None:
    hand.git("checkout", "--quiet", "main")
    hand.git("merge", "--quiet", "--no-ff", "-m", message, name)


def test_a_revert_that_was_merged(stage: Stage, hand: Hand) -> None:
    on_a_branch(hand)
    hand.git("revert", "--no-edit", "HEAD")
    hand.git("checkout", "--quiet", "main")
    hand.write("notes.md", "meanwhile\n")
    hand.commit("Meanwhile")
    merge(hand)
    hand.push()
    outcome = stays_away(stage)
    assert f"in {hand.tip[:7]}" in outcome.reason.sentence
    goes_on(stage)


def test_a_version_that_only_a_merged_branch_had_is_no_mark(stage: Stage, hand: Hand) -> None:
    """What was tried on a branch was never released."""
    on_a_branch(hand)
    hand.change(FILE, "1.4.3", "1.9.0")
    hand.commit("Try")
    hand.change(FILE, "1.9.0", "1.4.3")
    hand.write("notes.md", "tried\n")
    hand.commit("No")
    merge(hand)
    hand.push()
    goes_on(stage, "1.8.0")


def test_the_revert_of_a_merge_and_the_revert_of_that(stage: Stage, hand: Hand) -> None:
    on_a_branch(hand)
    hand.change(FILE, "1.4.3", "1.4.4")
    hand.write("notes.md", "more than the image\n")
    hand.commit("By hand")
    merge(hand)
    hand.push()
    stage.push("acme/web", "1.4.4")
    assert web(stage).status is Status.CURRENT
    hand.git("revert", "--no-edit", "-m", "1", "HEAD")
    hand.push()
    stays_away(stage, "1.4.3")
    hand.git("revert", "--no-edit", "HEAD")
    hand.push()
    assert web(stage).status is Status.CURRENT
    goes_on(stage, "1.4.5")


PULLS = {
    "of a url": lambda hand: hand.git("pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main"),
    "of a remote branch": lambda hand: (
        hand.git("fetch", "--quiet"),
        hand.git("merge", "--quiet", "--no-edit", "origin/main"),
    ),
    "into a topic, which then is pushed": lambda hand: (
        hand.git("checkout", "--quiet", "-b", "topic"),
        hand.git("fetch", "--quiet"),
        hand.git("merge", "--quiet", "--no-edit", "origin/main"),
    ),
}


@pytest.mark.parametrize("pull", PULLS.values(), ids=PULLS)
def test_a_pull_that_turns_the_branch_round_hides_nothing(stage: Stage, hand: Hand, pull: object) -> None:
    """Bob works from before the release, pulls, and pushes his merge: its first parents never saw the
    release, nor that Ann took it back."""
    bob = Hand(stage.repo, stage.folder / "bob", "Bob")
    bob.git("reset", "--quiet", "--hard", "HEAD~1")
    bob.write("notes.md", "Bob's\n")
    bob.commit("Bob's work")
    hand.git("revert", "--no-edit", "HEAD")
    hand.push()
    pull(bob)  # type: ignore[operator]
    bob.push()
    assert "1.4.3" not in git(
        bob.folder, "log", "--first-parent", "-p", "--diff-merges=first-parent", "--", FILE
    )
    outcome = stays_away(stage)
    assert outcome.reason.sentence.startswith("was 1.4.3 until Ann Author set 1.4.2 in ")
    goes_on(stage)


def test_a_fork_whose_branch_has_the_same_name_does_not_become_the_line(stage: Stage, hand: Hand) -> None:
    """GitLab's words for a merge request from a fork: there the first parent is the branch."""
    on_a_branch(hand, "of-a-fork")
    hand.git("reset", "--quiet", "--hard", "HEAD~1")
    hand.write("notes.md", "of a fork\n")
    hand.commit("Work")
    hand.git("checkout", "--quiet", "main")
    hand.git("revert", "--no-edit", "HEAD")
    merge(hand, "of-a-fork", "Merge branch 'main' into 'main'")
    hand.push()
    stays_away(stage)


# -- our release, through other people's hands ------------------------------------------------------------


def release_on_a_branch(stage: Stage, hand: Hand, *more: str) -> str:
    """Our release of 1.4.4 as it stands on a branch of its own, not merged yet; its message."""
    stage.push("acme/web", "1.4.4")
    base = hand.tip
    assert web(stage).status is Status.RELEASED
    hand.pull()
    commit = hand.tip
    hand.git("branch", "--force", "automator/web", commit)
    stage.repo.set_tip(base)
    stage.lose_state()  # nothing was rewound: it never was on the branch
    hand.git("reset", "--quiet", "--hard", base)
    return hand.message(commit)


def merged_by_a_forge(hand: Hand, message: str) -> None:
    merge(hand, "automator/web", "Merge pull request #12 from acme/automator/web\n\nRelease web 1.4.4")


def merged_after_an_update(hand: Hand, message: str) -> None:
    hand.write("notes.md", "meanwhile\n")
    hand.commit("Meanwhile")
    hand.git("checkout", "--quiet", "automator/web")
    hand.git("merge", "--quiet", "-m", "Merge branch 'main' into automator/web", "main")
    merged_by_a_forge(hand, message)


def squashed_by_github(hand: Hand, message: str) -> None:
    subject, _, body = message.partition("\n")
    lines = "\n".join(f"  {line}" if line.startswith("Release-") else line for line in body.splitlines())
    hand.git("merge", "--quiet", "--squash", "automator/web")
    said = f"{subject} (#12)\n\n* {subject}\n{lines}\n\n* mend a typo\n\n---------\n\n"
    hand.commit(said + "Co-authored-by: automator <bot@example.org>\nCo-authored-by: Bob <b@example.org>\n")


def squashed_by_gitlab(hand: Hand, message: str) -> None:
    hand.git("merge", "--quiet", "--squash", "automator/web")
    hand.commit(f"Squashed\n\n{message}\n\nSee merge request shop/config!12\n")


def rebased(hand: Hand, message: str) -> None:
    hand.write("notes.md", "meanwhile\n")
    hand.commit("Meanwhile")
    hand.git("cherry-pick", "automator/web")


THROUGH = [merged_by_a_forge, merged_after_an_update, squashed_by_github, squashed_by_gitlab, rebased]


@pytest.mark.parametrize("how", THROUGH, ids=lambda how: how.__name__)
def test_a_release_that_somebody_merged_is_ours_all_the_same(stage: Stage, hand: Hand, how: object) -> None:
    how(hand, release_on_a_branch(stage, hand))  # type: ignore[operator]
    hand.push()
    assert web(stage).current == "1.4.4"
    # Whose hand it was shows where it matters: a tag without order, written after a release of ours, is a
    # person's to lift.
    history = stage.cycle.facts
    site = stage.cycle.index.snapshot.claims.sites["web"][0]  # type: ignore[union-attr]
    history.read_histories([site])
    known = history.known(stage.cycle.index.snapshot.workloads["web"], [site])  # type: ignore
    (found,) = known.histories.values()
    assert found.held[0].record is not None  # type: ignore[union-attr]
    hand.git("revert", "--no-edit", *(("-m", "1") if how in THROUGH[:2] else ()), "HEAD")
    hand.push()
    stays_away(stage, "1.4.3")
    goes_on(stage, "1.4.5")


def test_a_downgrade_that_was_merged_frees_what_it_left(stage: Stage, hand: Hand) -> None:
    """As if it had been pushed: nobody turned anything away."""
    text = hand.read("policies/web.yaml").replace('">=1.0 <2"', '"<1.4.3"') + "    downgrade: true\n"
    hand.write("policies/web.yaml", text)
    base = hand.commit("Not 1.4.3")
    hand.push()
    assert web(stage).status is Status.RELEASED
    assert versions(stage) == {"1.4.2"}
    hand.git("fetch", "--quiet")
    hand.git("reset", "--quiet", "--hard", base)
    hand.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #1 from acme/x", "origin/main")
    hand.push("--force")
    stage.lose_state()
    assert web(stage).reason.code == "current/newest"
    hand.write("policies/web.yaml", text.replace('"<1.4.3"', '"<2"'))
    hand.commit("1.4.3 after all")
    hand.push()
    assert web(stage).status is Status.RELEASED
    assert versions(stage) == {"1.4.3"}


# -- reverts, picks, rewinds ----------------------------------------------------------------------------


def test_a_release_that_was_picked_again_after_a_revert_lifts_it(stage: Stage, hand: Hand) -> None:
    release = hand.tip
    hand.git("revert", "--no-edit", release)
    hand.push()
    stays_away(stage)
    hand.git("cherry-pick", release)
    hand.push()
    assert web(stage).status is Status.CURRENT
    goes_on(stage)


def test_a_release_picked_from_elsewhere_hides_no_older_rejection(stage: Stage, hand: Hand) -> None:
    """The mark is far above what was picked, and no local state is left that knew it."""
    release = hand.tip
    hand.change(FILE, "1.4.3", "1.6.0")
    hand.commit("Up")
    hand.change(FILE, "1.6.0", "1.4.2")
    hand.commit("And down")
    hand.git("cherry-pick", release)
    for i in range(130):
        hand.commit(f"Note {i}")
    hand.push()
    stage.push("acme/web", "1.5.0")
    stays_away(stage, "1.4.3")
    goes_on(stage, "1.6.1")


def test_a_release_that_went_past_a_rejection_hides_nothing_above_it(stage: Stage, hand: Hand) -> None:
    stage.push("acme/web", "1.4.4")
    assert web(stage).status is Status.RELEASED
    hand.pull()
    hand.change(FILE, "1.4.4", "1.4.2")
    hand.write("policies/web.yaml", hand.read("policies/web.yaml") + '    accept: ["1.4.3"]\n')
    hand.commit("Down, and 1.4.3 may come back")
    hand.push()
    assert web(stage).target.startswith("1.4.3")  # type: ignore[union-attr]
    for i in range(130):
        stage.commit({"notes.md": f"{i}\n"})
    stays_away(stage, "1.4.3")


def test_the_revert_of_our_rollback_is_a_person_moving_up(stage: Stage, hand: Hand) -> None:
    from automator.core.record import Member, ReleaseRecord
    from automator.core.release import compose

    image = f"{stage.host}/acme/web"
    record = ReleaseRecord("rollback", (Member("web", image, "1.4.3", "1.4.2"),), actor="Bob")
    hand.change(FILE, "1.4.3", "1.4.2")
    hand.commit(compose(record, why="Bob asked for it"), who="automator")
    hand.push()
    assert stays_away(stage).reason.sentence.startswith("was 1.4.3 until Bob set 1.4.2 in ")
    hand.git("revert", "--no-edit", "HEAD")
    hand.push()
    assert web(stage).status is Status.CURRENT
    goes_on(stage)


def test_of_a_release_of_two_workloads_one_is_reverted(stage: Stage, hand: Hand) -> None:
    stage.push("acme/api", "2.0.0", "2.0.1")
    group = 'semver: "*"\ngroup: {name: shop, match: any}'
    hand.write("policies/web.yaml", stage.workload("web", "1", keys=group)["policies/web.yaml"])
    for path, text in stage.workload("api", "2.0.0", keys=group).items():
        hand.write(path, text)
    hand.commit("A group")
    hand.push()
    stage.push("acme/web", "1.4.4")
    found = stage.outcomes()
    assert {name: o.status for name, o in found.items()} == {"web": Status.RELEASED, "api": Status.RELEASED}
    hand.pull()
    hand.change(FILE, "1.4.4", "1.4.3")
    hand.commit("web back, api stays")
    hand.push()
    for lost in (False, True):
        if lost:
            stage.lose_state()
        found = stage.outcomes()
        assert found["web"].reason.code == "history/turned-away"
        assert stage.image_of("web") == "web:1.4.3"
        assert stage.image_of("api") == "api:2.0.1"


def test_a_branch_that_was_rewound_and_pushed_again(stage: Stage, hand: Hand) -> None:
    release = hand.tip
    hand.git("reset", "--quiet", "--hard", "HEAD~1")
    hand.push("--force")
    assert web(stage).reason.code == "history/rewound"
    assert versions(stage) == {"1.4.2"}
    hand.git("reset", "--quiet", "--hard", release)
    hand.push()
    assert web(stage).status is Status.CURRENT
    goes_on(stage)


def test_a_rebase_of_the_whole_branch_takes_nothing_back(stage: Stage, hand: Hand) -> None:
    hand.git("rebase", "--quiet", "--root", "--force-rebase")
    hand.push("--force")
    assert web(stage).status is Status.CURRENT
    goes_on(stage)


def test_a_server_whose_own_copy_is_shallow_says_how_far_back_it_goes(stage: Stage, hand: Hand) -> None:
    hand.git("revert", "--no-edit", "HEAD")
    for i in range(3):
        hand.commit(f"Note {i}")
    hand.push()
    whole = stage.repo.path
    shallow = whole.with_name("shallow.git")
    git(whole.parent, "clone", "--quiet", "--bare", "--depth=2", f"file://{whole}", str(shallow))
    whole.rename(whole.with_name("whole.git"))
    shallow.rename(whole)
    stage.lose_state()
    report = stage.run()
    assert [o.status for o in report.outcomes] == [Status.RELEASED]
    assert [w.code for w in report.warnings] == ["history/cut-short"]
    assert report.warnings[0].sentence.startswith("the history of apps/web.yaml was read back to ")


@pytest.mark.parametrize("seconds", [100_000_000, 4_000_000_000], ids=["1973", "2096"])
def test_clocks_that_are_wrong_change_nothing(stage: Stage, hand: Hand, seconds: int) -> None:
    """The order of commits is that of the branch, whatever they say of the time."""
    hand.change(FILE, "1.4.3", "1.4.2")
    hand.commit("Back", at=seconds)
    hand.push()
    stays_away(stage)
    goes_on(stage)


# -- claims ----------------------------------------------------------------------------------------------


FORGED = {
    "moves something else": ("1.4.2", {"Release-To: 1.4.3": "Release-To: 1.9.9"}),
    "claims a downgrade it does not make": (
        "1.4.2",
        {"From: 1.4.2": "From: 1.9.9", "To: 1.4.3": "To: 1.0.0"},
    ),
    "claims another workload's image": ("1.4.2", {"acme/web": "acme/api"}),
    "claims a kind that nobody knows": ("1.4.2", {"Kind: release": "Kind: rewrite"}),
}


@pytest.mark.parametrize(("version", "changes"), FORGED.values(), ids=FORGED)
def test_a_claim_that_is_not_true_counts_for_nothing(
    stage: Stage, hand: Hand, version: str, changes: dict[str, str]
) -> None:
    message = hand.message("HEAD")
    for old, new in changes.items():
        assert old in message
        message = message.replace(old, new)
    hand.change(FILE, "1.4.3", version)
    hand.commit(message, who="Eve")
    hand.push()
    assert stays_away(stage).reason.sentence.startswith("was 1.4.3 until Eve set 1.4.2 in ")


@pytest.mark.parametrize("who", ["automator", "another automator"])
def test_two_automators_on_one_branch_are_one_history(stage: Stage, hand: Hand, who: str) -> None:
    """The other one's release counts as ours: it is proven by what it did, not by its name."""
    message = hand.message("HEAD").replace("1.4.3", "1.4.4").replace("1.4.2", "1.4.3")
    hand.change(FILE, "1.4.3", "1.4.4")
    hand.commit(message, who=who)
    hand.push()
    stage.push("acme/web", "1.4.4")
    assert web(stage).status is Status.CURRENT
    hand.git("revert", "--no-edit", "HEAD")
    hand.push()
    stays_away(stage, "1.4.3")


def test_another_bot_is_somebody(stage: Stage, hand: Hand) -> None:
    """Renovate writes a version, Flux an older one: what went away stays away."""
    hand.change(FILE, "1.4.3", "1.5.0")
    hand.commit("chore(deps): update web to v1.5.0", who="renovate[bot]")
    hand.change(FILE, "1.5.0", "1.4.3")
    hand.commit("Automated image update", who="fluxbot")
    hand.push()
    stage.push("acme/web", "1.5.0")
    outcome = stays_away(stage, "1.4.3")
    assert outcome.reason.sentence.startswith("was 1.5.0 until fluxbot set 1.4.3 in ")


def test_two_who_flip_a_field_are_told_and_it_is_left_alone(stage: Stage, hand: Hand) -> None:
    hand.change(FILE, "1.4.3", "1.4.2")
    hand.write("policies/web.yaml", hand.read("policies/web.yaml") + '    accept: ["1.4.3"]\n')
    hand.commit("Flux's own policy", who="fluxbot")
    hand.push()
    assert web(stage).status is Status.RELEASED
    for lost in (False, True):
        hand.pull()
        if "1.4.3" in hand.read(FILE):
            hand.change(FILE, "1.4.3", "1.4.2")
            hand.commit("Flux's own policy", who="fluxbot")
            hand.push()
        if lost:
            stage.lose_state()
        outcome = web(stage)
        assert (outcome.status, outcome.reason.code) == (Status.HELD, "history/contested")
        assert outcome.reason.sentence.startswith(
            "fluxbot and automator set it back and forth between 1.4.2 and 1.4.3 ("
        )
        assert versions(stage) == {"1.4.2"}
    hand.change(FILE, "1.4.2", "1.4.3")
    hand.commit("It is 1.4.3 now, Flux is gone")
    hand.push()
    assert web(stage).status is Status.CURRENT
    goes_on(stage)


KILL = """
at=$PPID
while [ "$at" -gt 1 ]; do
  if tr '\\0' ' ' < "/proc/$at/cmdline" | grep -q "automator once"; then kill -9 "$at"; exit {status}; fi
  at=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$at/status")
done
"""
"""A hook that kills the program which is pushing."""


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "never landed"])
def test_who_is_killed_while_pushing_learns_what_became_of_it(tmp_path: Path, landed: bool) -> None:
    """A release that landed unseen and was taken back is not made again; one that never landed is made."""
    with EmbeddedWorld(tmp_path) as world:
        world.push("web", "1.0.0", "1.0.1")
        before = world.adopt("web")
        hook = world.repo.hook(
            "post-receive" if landed else "pre-receive", KILL.format(status=int(not landed))
        )
        with world.start("once") as pushing:  # the script itself: the hook knows it by its name
            assert pushing.process.wait(PATIENCE) < 0
        hook.unlink()
        until(lambda: not processes(mentioning=str(world.repo.path)), "the end of git")
        assert (world.repo.tip() != before) is landed
        world.repo.set_tip(before)
        world.run("once").fine()
        assert world.version("web") == ("1.0.0" if landed else "1.0.1")
        world.push("web", "1.0.2")
        world.run("once").fine()
        assert world.version("web") == "1.0.2"


# -- newest -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverted", [False, True], ids=["goes on", "was reverted"])
def test_under_newest_a_deleted_tag_is_as_old_as_our_release_said(stage: Stage, reverted: bool) -> None:
    stage.push("acme/web", "main-1", "main-2")
    stage.commit(stage.workload("web", "main-1", keys='glob: "main-*"\norder: newest'))
    commit = web(stage).commit
    assert commit is not None
    if reverted:
        stage.revert(commit)
    requests.delete(f"http://{stage.host}/v2/acme/web/manifests/main-2", timeout=10).raise_for_status()
    stage.lose_state()
    if reverted:  # what is not newer than main-2 was stays away, though nobody can look main-2 up any more
        between = NOW - timedelta(days=1) + timedelta(seconds=30)
        stage.push("acme/web", "main-0", age=stage.now - between)
        stays_away(stage, "main-1")
    else:
        assert web(stage).reason.code in ("current/newest", "current/outside"), web(stage)
    stage.push("acme/web", "main-3", age=timedelta(hours=1))
    assert web(stage).status is Status.RELEASED
    assert versions(stage) == {"main-3"}
