"""The release log: what happened to workloads, read back from real histories and put to the proof."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from parts.forgestage import ForgeStage, forge_stage
from parts.gitserver import BareRepo, git
from parts.signedcommits import allowed, by_ssh, sign_tip, ssh_key
from parts.story import HOST, POLICY, Story, at, image, september
from parts.world import PROGRAM, World, deployment

from automator.app import App
from automator.cli.entry import automator
from automator.cli.logbook import print_as_csv
from automator.config import Config
from automator.core.delivery.change import Change, Wanted
from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose
from automator.cycle.approvals import Approvals
from automator.cycle.logbook import Logbook
from automator.cycle.touching import folders_of
from automator.edges.forge import Forge


def log(folder: Path, repo: BareRepo, wanted: Wanted = Wanted(), **how: bool) -> list[Change]:  # noqa: B008
    """What the log tells of a config repo, newest first."""
    config = Config(state=folder / "state", repos={"shop": {"url": str(repo.path)}})
    with App.open(config, exclusive=False) as app:
        return list(app.cycles["shop"].logbook().changes(wanted, **how))


def lines(changes: list[Change]) -> list[str]:
    """What a person would take for the same line: kind, workload, versions, whether it is proven."""
    return [
        f"{c.kind}{'' if c.proven else '?'} {c.workload} {c.member.before} {c.member.after}".replace(
            "  ", " "
        )
        for c in changes
    ]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    story = Story(BareRepo.create(tmp_path / "shop.git"))
    story.adopt("09-01 10:00", web="1.0.0", api="2.0.0")
    return story


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logbook]:
    folder = tmp_path_factory.mktemp("month")
    repo = BareRepo.create(folder / "shop.git")
    september(repo)
    config = Config(state=folder / "state", repos={"shop": {"url": str(repo.path)}})
    with App.open(config, exclusive=False) as app:
        yield app.cycles["shop"].logbook()


# -- what happened -----------------------------------------------------------------------------------


def test_a_month_with_what_people_did(month: Logbook) -> None:
    assert lines(list(month.changes(Wanted()))) == [
        "release web 1.4.0 1.5.0",
        "release? web 1.4.0 9.9.9",
        "release web 1.3.0 1.4.0",
        "manual api 2.2.0 2.0.0",
        "reject api 2.2.0",
        "manual api 2.0.0 2.2.0",
        "rollback api 2.1.0 2.0.0",
        "release web 1.2.1 1.3.0",
        "release api 2.0.0 2.1.0",
        "release web 1.1.0 1.2.1",
        "revert web 1.2.0 1.1.0",
        "release web 1.1.0 1.2.0",
        "release web 1.0.0 1.1.0",
    ]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(workloads=frozenset({"api"})), 5),
        (Wanted(images=frozenset({image("web")})), 8),
        (Wanted(owners=frozenset({"team-web"})), 8),
        (Wanted(environments=frozenset({"production"})), 13),
        (Wanted(environments=frozenset({"staging"})), 0),
        (Wanted(people=frozenset({"bob"})), 1),
        (Wanted(people=frozenset({"ann@"})), 3),
        (Wanted(kinds=frozenset({"manual", "revert"})), 3),
        (Wanted(kinds=frozenset({"rollback"})), 1),
        (Wanted(since=at("09-10 00:00"), until=at("09-11 00:00")), 3),
        (Wanted(workloads=frozenset({"web"}), kinds=frozenset({"release"}), since=at("09-20 00:00")), 2),
    ],
)
def test_only_what_is_wanted(month: Logbook, wanted: Wanted, count: int) -> None:
    found = list(month.changes(wanted))
    assert len(found) == count
    assert all(wanted.takes(change) for change in found)


def test_claims_are_what_messages_say_and_nothing_more(month: Logbook) -> None:
    found = list(month.claims(Wanted()))
    assert {change.proven for change in found} == {None}
    assert {change.kind for change in found} == {"release", "rollback", "reject"}
    assert len(found) == 10


def test_what_people_asked_for_has_their_name_and_reason(month: Logbook) -> None:
    (back,) = month.changes(Wanted(kinds=frozenset({"rollback"})))
    assert (back.actor, back.reason, back.author) == ("bob", "errors", "automator")
    (revert,) = month.changes(Wanted(kinds=frozenset({"revert"})))
    assert revert.author == "Ann Author"
    (bad,) = month.changes(Wanted(since=at("09-02 12:00"), until=at("09-02 13:00")))
    assert revert.reverts == bad.commit


def test_the_rule_and_who_changed_the_policy_last_before(month: Logbook) -> None:
    found = {c.member.after: c for c in month.changes(Wanted(kinds=frozenset({"release"})), policies=True)}
    for version, author in (("1.3.0", "Ann Author"), ("1.4.0", "carol")):
        change = found[version]
        assert change.why == 'newest in semver "*" of 9 tags'
        assert change.member.policy == POLICY
        assert change.policy_change is not None
        assert change.policy_change.author == author


def test_a_commit_that_changes_a_policy_is_its_own_last_change(month: Logbook) -> None:
    (reject,) = month.changes(Wanted(kinds=frozenset({"reject"})), policies=True)
    assert reject.proven
    assert reject.policy_change is not None
    assert reject.policy_change.commit == reject.commit


def test_a_claim_to_have_changed_a_policy_is_proven_too(story: Story, tmp_path: Path) -> None:
    member = story.member("web", "1.0.0")
    message = compose(ReleaseRecord("hold", (member,), "eve", "because"), why="held")
    story.commit("09-02 10:00", {"notes.md": "no policy\n"}, message)
    (hold,) = log(tmp_path, story.repo)
    assert (hold.kind, hold.proven) == ("hold", False)


def test_a_merge_is_told_by_the_commit_that_it_merged(story: Story, tmp_path: Path) -> None:
    _, merge = story.merged("09-02 10:00", "09-03 12:00", number=12, web="1.1.0")
    (found,) = log(tmp_path, story.repo)
    assert (found.kind, found.proven, found.commit, found.pull_request) == ("release", True, merge, 12)
    assert (found.author, found.merged_by) == ("automator", "Rita Reviewer")
    assert (found.made, found.landed) == (at("09-02 10:00"), at("09-03 12:00"))


def test_a_squash_of_two_releases_tells_where_it_ended(story: Story, tmp_path: Path) -> None:
    """The version in between never was on the branch: it stays a claim."""
    told = []
    for version in ("1.1.0", "1.2.0"):
        record = ReleaseRecord("release", (story.member("web", version),))
        told.append("* " + compose(record, why="newest"))
        story.versions["web"] = version
    files = {story.file("web"): story.manifest("web")}
    story.commit("09-02 10:00", files, "Release web 1.2.0 (#7)\n\n" + "\n".join(told))
    found = log(tmp_path, story.repo)
    assert lines(found) == ["release? web 1.0.0 1.1.0", "release web 1.1.0 1.2.0"]
    assert {change.pull_request for change in found} == {7}


def test_a_person_who_moves_more_than_the_trailers_say_is_seen(story: Story, tmp_path: Path) -> None:
    record = ReleaseRecord("release", (story.member("web", "1.1.0"),))
    story.versions |= {"web": "1.1.0", "api": "6.6.6"}
    files = {story.file(name): story.manifest(name) for name in ("web", "api")}
    story.commit("09-02 10:00", files, compose(record, why="newest"))
    assert lines(log(tmp_path, story.repo)) == ["release web 1.0.0 1.1.0", "manual api 2.0.0 6.6.6"]


def test_a_file_that_moved_away_is_followed_by_its_releases(story: Story, tmp_path: Path) -> None:
    """What people did in the old file is told as far down as releases name it."""
    story.by_hand("09-02 10:00", web="1.1.0")
    story.release("09-03 10:00", web="1.2.0")
    old = story.repo.read(story.file("web"))
    story.repo.commit({story.file("web"): None, "clusters/web.yaml": old}, "Move")
    assert lines(log(tmp_path, story.repo)) == ["release web 1.1.0 1.2.0", "manual web 1.0.0 1.1.0"]


def test_a_file_that_wandered_through_many_folders_tells_all_that_happened_there(
    story: Story, tmp_path: Path
) -> None:
    """More folders than git is asked for at once, each of which is known of only when the walk gets there,
    and more often than the walk begins anew."""
    told, file = [], story.file("web")
    for number in range(1, 13):
        story.versions["web"] = f"1.{number}.0"
        text = story.manifest("web")
        story.commit(f"09-{number + 1:02} 10:00", {file: text, "notes.md": f"{number}\n"}, "By hand")
        story.repo.commit({"notes.md": f"again {number}\n"}, "A note")
        now = f"stage{number}/deep/er/web.yaml"
        story.repo.commit({file: None, now: text}, "Move")
        told.append(f"manual web 1.{number - 1}.0 1.{number}.0")
        file = now
    story.repo.commit({"apps/other.yaml": "a: 1\n"}, "Another file")
    assert lines(log(tmp_path, story.repo)) == told[::-1]


def test_a_merge_elsewhere_than_anything_of_today_is_told_with_what_it_changed(
    story: Story, tmp_path: Path
) -> None:
    """Nobody owns `gone` any more, so that its folder is watched only for what the merged message names."""
    story.versions["gone"] = "3.0.0"
    story.commit("09-02 08:00", {"old/gone.yaml": story.manifest("gone")}, "One more")
    base, side = side_of(story)
    member = Member(
        "gone", image("gone"), "3.0.0", "3.1.0", ("old/gone.yaml#spec.template.spec.containers[app].image",)
    )
    story.versions["gone"] = "3.1.0"
    message = compose(ReleaseRecord("release", (member,)), why="newest")
    tip = side.commit({"old/gone.yaml": story.manifest("gone")}, message, author="automator")
    merge_of(story, "09-03 10:00", tip, base, "Merge pull request #7 from acme/x")
    story.repo.commit({"old/gone.yaml": None}, "Gone")
    (found,) = log(tmp_path, story.repo)
    assert (found.workload, found.proven, found.pull_request) == ("gone", True, 7)


@pytest.mark.parametrize(
    ("paths", "folders"),
    [
        ((), ()),
        (("apps/web.yaml", "apps/api.yaml", "policies"), ("apps/api.yaml", "apps/web.yaml", "policies")),
        ([f"apps/{n}/web.yaml" for n in range(9)], ("apps",)),
        ([f"a/b/{n}/web.yaml" for n in range(9)] + ["c/d.yaml"], ("a/b", "c/d.yaml")),
        ([f"{n}/web.yaml" for n in range(9)], ()),
        (["a/line\nend/web.yaml", "a/web.yaml"], ("a",)),
    ],
)
def test_a_few_folders_hold_all_that_is_watched(paths: list[str], folders: tuple[str, ...]) -> None:
    assert folders_of(path.encode() for path in paths) == tuple(folder.encode() for folder in folders)


def test_notes_of_people_are_no_changes_of_workloads(story: Story, tmp_path: Path) -> None:
    text = story.manifest("web").replace("# web:", "# the shop's web:")
    story.commit("09-02 10:00", {story.file("web"): text}, "A comment")
    assert log(tmp_path, story.repo) == []


def two_of_one_image(folder: Path) -> Story:
    """Staging and production of one image, each in a file of its own."""
    story = Story(BareRepo.create(folder / "shop.git"))
    keys = "".join(
        f'  {name}:\n    image: {image("web")}\n    semver: "*"\n    where: {{paths: [apps/{name}.yaml]}}\n'
        for name in ("stage", "prod")
    )
    files = {f"apps/{name}.yaml": deployment(f"{image('web')}:1.0.0", name) for name in ("stage", "prod")}
    story.commit("09-01 10:00", {**files, POLICY: f"version: 1\nworkloads:\n{keys}"}, "Adopt")
    return story


def of_stage(after: str, before: str = "1.0.0") -> str:
    site = "apps/stage.yaml#spec.template.spec.containers[app].image"
    member = Member("stage", image("web"), before, after, (site,), None, None, POLICY)
    return compose(ReleaseRecord("release", (member,)), why="newest")


def test_trailers_of_one_workload_hide_no_move_of_another(tmp_path: Path) -> None:
    story = two_of_one_image(tmp_path)
    prod = {"apps/prod.yaml": deployment(f"{image('web')}:6.6.6", "prod")}
    story.commit("09-02 10:00", prod, of_stage("6.6.6"), "Mallory M")
    assert lines(log(tmp_path, story.repo)) == ["release? stage 1.0.0 6.6.6", "manual prod 1.0.0 6.6.6"]
    assert lines(log(tmp_path, story.repo, Wanted(workloads=frozenset({"prod"})))) == [
        "manual prod 1.0.0 6.6.6"
    ]


def test_a_move_beside_a_true_release_is_a_persons(tmp_path: Path) -> None:
    story = two_of_one_image(tmp_path)
    both = {f"apps/{n}.yaml": deployment(f"{image('web')}:1.1.0", n) for n in ("stage", "prod")}
    story.commit("09-02 10:00", both, of_stage("1.1.0"))
    assert lines(log(tmp_path, story.repo)) == ["release stage 1.0.0 1.1.0", "manual prod 1.0.0 1.1.0"]


def test_a_record_that_comes_from_elsewhere_is_a_claim(story: Story, tmp_path: Path) -> None:
    """The version before is part of what is put to the proof."""
    forged = story.member("web", "1.1.0")
    story.versions["web"] = "1.1.0"
    record = ReleaseRecord("release", (replace(forged, before="0.0.1"),), "boss")
    story.commit("09-02 10:00", {story.file("web"): story.manifest("web")}, compose(record, why="x"))
    assert lines(log(tmp_path, story.repo)) == ["release? web 0.0.1 1.1.0", "manual web 1.0.0 1.1.0"]


def test_a_workload_that_was_renamed_keeps_its_past(story: Story, tmp_path: Path) -> None:
    story.release("09-02 10:00", web="1.1.0")
    story.commit("09-03 10:00", {POLICY: story.policy.replace("  web:", "  shop:")}, "Rename")
    assert lines(log(tmp_path, story.repo)) == ["release shop 1.0.0 1.1.0"]


def merge_of(story: Story, when: str, tip: str, base: str, message: str) -> str:
    moment = f"{int(at(when).timestamp())} +0000"
    commit = git(
        story.repo.path,
        *("commit-tree", f"{tip}^{{tree}}", "-p", base, "-p", tip, "-m", message),
        GIT_AUTHOR_NAME="Rita Reviewer",
        GIT_AUTHOR_DATE=moment,
        GIT_COMMITTER_DATE=moment,
    )
    story.repo.set_tip(commit)
    return commit


def side_of(story: Story) -> tuple[str, BareRepo]:
    """The branch's tip, and a branch that begins there."""
    base = story.repo.tip()
    assert base is not None
    git(story.repo.path, "branch", "side", base)
    return base, BareRepo(story.repo.path, "side", int(at("09-02 10:00").timestamp()))


def test_a_command_that_came_by_a_merged_pull_request(story: Story, tmp_path: Path) -> None:
    base, side = side_of(story)
    member = Member("web", image("web"), after="1.1.0", policy=POLICY)
    message = compose(ReleaseRecord("reject", (member,), "carol", "leaks"), why="never")
    tip = side.commit({POLICY: story.policy + "# no\n"}, message, author="automator")
    merge_of(story, "09-03 11:00", tip, base, "Merge pull request #5 from acme/automator/web\n\nReject")
    (found,) = log(tmp_path, story.repo, Wanted(kinds=frozenset({"reject"})))
    assert (found.proven, found.actor, found.pull_request) == (True, "carol", 5)


@pytest.mark.parametrize("gone", [False, True])
def test_merged_releases_stay_in_the_log_when_their_files_go(
    story: Story, tmp_path: Path, gone: bool
) -> None:
    for number in (1, 2):
        story.merged(f"09-0{number + 1} 10:00", f"09-0{number + 1} 12:00", number=number, web=f"1.{number}.0")
    old = story.repo.read(story.file("web"))
    files: dict[str, str | bytes | None] = {story.file("web"): None, "clusters/web.yaml": old}
    if gone:
        files = {story.file("web"): None, POLICY: "version: 1\nworkloads: {}\n"}
    story.repo.commit(files, "Move")
    assert lines(log(tmp_path, story.repo)) == ["release web 1.1.0 1.2.0", "release web 1.0.0 1.1.0"]


def test_everything_that_one_merge_brought_is_told_by_who_did_it(story: Story, tmp_path: Path) -> None:
    base, side = side_of(story)
    for name, version in (("web", "1.1.0"), ("api", "2.1.0")):
        files, message = story._release(None, "release", None, None, {name: version})
        side.commit(files, message, author="automator")
    story.versions["web"] = "6.6.6"
    tip = side.commit({story.file("web"): story.manifest("web")}, "Also this", author="Mallory M")
    merge_of(story, "09-03 11:00", tip, base, "Merge branch 'side'")
    found = log(tmp_path, story.repo)
    assert [(c.kind, c.proven, c.member.after, c.author) for c in found] == [
        ("release", True, "2.1.0", "automator"),
        ("release", False, "1.1.0", "automator"),
        ("manual", True, "6.6.6", "Mallory M"),
    ]


def test_a_merge_that_has_the_trailers_itself_is_still_a_merge(story: Story, tmp_path: Path) -> None:
    base, side = side_of(story)
    files, message = story._release(None, "release", None, None, {"web": "1.1.0"})
    tip = side.commit(files, message, author="automator")
    merge_of(story, "09-03 12:00", tip, base, f"Merge pull request #7 from acme/web\n\n{message}")
    (found,) = log(tmp_path, story.repo)
    assert (found.author, found.merged_by, found.proven) == ("automator", "Rita Reviewer", True)
    assert (found.made, found.landed) == (at("09-02 10:01"), at("09-03 12:00"))


def test_halves_of_characters_in_a_message_stop_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    story = Story(world.repo)
    story.adopt("09-01 10:00", web="1.0.0")
    files, message = story._release(None, "release", "ann", "why", {"web": "1.1.0"})
    for old in ("Workload: web", "Reason: why", f"Site: {story.site('web')}"):
        message = message.replace(f"Release-{old}", f'Release-{old.split(":")[0]}: "\\ud800#x"')
    story.commit("09-02 10:00", files, message)
    for form in ("table", "json", "csv"):
        assert "Traceback" not in world.run("log", "-o", form).fine().err
    page = tmp_path / "report.html"
    world.run("report", "--since", "2026-09-01", "--until", "2026-09-30", "--html", str(page)).fine()


# -- signatures and approvals ------------------------------------------------------------------------


@pytest.mark.needs("openssh-client")
def test_the_state_of_each_signature(story: Story, tmp_path: Path) -> None:
    key = ssh_key(tmp_path)
    story.release("09-02 10:00", web="1.1.0")
    story.release("09-03 10:00", web="1.2.0")
    sign_tip(story.repo, by_ssh(key))
    (tmp_path / "allowed").write_text(allowed(key))
    unsure = log(tmp_path, story.repo, signed=True)
    assert [change.signature for change in unsure] == ["unknown", "none"]
    required = {"allowed_signers_file": str(tmp_path / "allowed")}
    config = Config(
        state=tmp_path / "other",
        repos={"shop": {"url": str(story.repo.path), "mode": "observe", "require_signed": required}},
    )
    with App.open(config, exclusive=False) as app:
        sure = list(app.cycles["shop"].logbook().changes(Wanted(), signed=True))
    assert [change.signature for change in sure] == ["good", "none"]
    assert sure[0].signer


@pytest.mark.parametrize(("kind", "how"), [("github", "merge"), ("github", "squash"), ("gitlab", "merge")])
def test_who_approved_and_merged_on_a_forge(tmp_path: Path, kind: str, how: str) -> None:
    with forge_stage(tmp_path, kind) as stage:
        release = _merged_release(stage, how)
        assert (release.kind, release.proven, release.pull_request) == ("release", True, stage.pull.number)
        stage.forge.forget()
        approvals = Approvals(*_forge_of(stage))
        (told,) = approvals.told(iter([release]))
        assert told.approved_by == ("bob",)
        assert list(approvals.told(iter([release]))) == [told]
        assert stage.forge.count() <= 3, "each commit and each pull request is asked about once"


def test_a_number_in_a_message_is_no_approval(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "github") as stage:
        _merged_release(stage, "squash")
        text = stage.repo.read("apps/web.yaml").replace("1.4.3", "6.6.6")
        stage.repo.commit({"apps/web.yaml": text}, f"Set web (#{stage.pull.number})", author="Mallory M")
        told = list(Approvals(*_forge_of(stage)).told(stage.cycle.logbook().changes(Wanted())))
        assert [(c.kind, c.pull_request, c.approved_by) for c in told] == [
            ("manual", None, None),
            ("release", stage.pull.number, ("bob",)),
        ]


def test_the_rule_is_read_from_the_text_of_our_pull_request_too(tmp_path: Path) -> None:
    with forge_stage(tmp_path, "gitea") as stage:
        assert _merged_release(stage, "squash").why == 'newest in semver ">=1.0 <2" of 2 tags'


def _merged_release(stage: ForgeStage, how: str) -> Change:
    pull = stage.proposed("1.4.3")
    stage.forge.approve(pull.number, by="bob")
    stage.forge.merge(pull.number, how)
    (release,) = stage.cycle.logbook().changes(Wanted())
    return release


def _forge_of(stage: ForgeStage) -> tuple[Forge, str]:
    place = stage.app.config.forge_of("shop")
    assert place is not None
    return stage.app.forges[place[0]], place[1]


# -- as people run it --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("told"), HOST)
    september(world.repo)
    return world


def said(world: World, *arguments: str) -> str:
    """What `log` itself prints, without a process for it."""
    words = ["--config", str(world.config), "log", *arguments]
    done = CliRunner().invoke(automator, words, standalone_mode=False)
    assert done.exception is None, done.exception
    return done.stdout


@pytest.mark.parametrize(
    ("chosen", "versions"),
    [
        (("--workload", "api"), "2.0.0 2.2.0 2.2.0 2.0.0 2.1.0"),
        (("-w", "shop/api", "--kind", "manual", "--kind", "rollback"), "2.0.0 2.2.0 2.0.0"),
        (("--image", image("api"), "--until", "2026-09-06"), "2.0.0 2.1.0"),
        (("--image", image("web"), "--since", "2026-10-01"), "1.5.0"),
        (("--image", image("nobodys")), ""),
        (("--author", "ANN@", "--author", "carol"), "2.0.0 2.2.0 2.2.0 1.1.0"),
        (("--author", "bob"), "2.0.0"),
        (("--owner", "team-web", "--until", "2026-09-02T14:00:00+02:00"), "1.1.0"),
        (("--environment", "production", "-n", "2"), "1.5.0 9.9.9"),
        (("--environment", "staging"), ""),
        (("--since", "2026-09-10T09:30:00Z", "--until", "2026-09-10T20:00:00Z"), "2.2.0"),
        (("--repo", "shop", "--kind", "reject"), "2.2.0"),
        (("--claims", "--kind", "rollback"), "2.0.0"),
    ],
)
def test_each_filter_as_people_type_it(told: World, chosen: tuple[str, ...], versions: str) -> None:
    rows = json.loads(said(told, *chosen, "-o", "json"))
    assert " ".join(row["to"] for row in rows) == versions


@pytest.mark.needs("openssh-client")
def test_what_an_auditor_asks_for_of_a_pull_request(tmp_path: Path) -> None:
    """Who approved, who merged, who changed the policy, who signed: from a real merge on a forge."""
    with forge_stage(tmp_path, "github") as stage:
        pull = stage.proposed("1.4.3")
        stage.forge.approve(pull.number, by="bob")
        stage.forge.merge(pull.number, "merge", by="rita")
        key = ssh_key(tmp_path)
        pull.merge_commit = sign_tip(stage.repo, by_ssh(key))  # as a forge signs what it merges
        stage.stop()
        (tmp_path / "allowed").write_text(allowed(key))
        world = World(tmp_path / "world", HOST)
        world.configure(
            url=str(stage.repo.path),
            repo=f'forge = "{stage.forge.host}"\nproject = "acme/shop"\nmode = "observe"\n'
            f'require_signed.allowed_signers_file = "{tmp_path / "allowed"}"',
            more=f'[forges."{stage.forge.host}"]\nkind = "github"\napi = "{stage.forge.api}"\n'
            f'token_file = "{stage.forge.token_file}"',
        )
        asked = ("--forge", "--kind", "release")
        (row,) = json.loads(said(world, *asked, "-o", "json"))
        (line,) = csv.DictReader(io.StringIO(said(world, *asked, "-o", "csv")))
        details = said(world, *asked, "--details")
    assert row["commit"] == pull.merge_commit
    assert (row["approved_by"], row["merged_by"], row["signature"]) == (["bob"], "Ann Author", "good")
    assert (row["pull_request"], row["proven"]) == (pull.number, True)
    assert row["policy_changed"]["author"] == "Ann Author"
    assert row["why"] == 'newest in semver ">=1.0 <2" of 2 tags'
    assert (line["approved_by"], line["signature"], line["policy_changed_by"]) == (
        "bob",
        "good",
        "Ann Author",
    )
    for told in ("approved by   bob", "policy by     Ann Author", "signature     good", f"#{pull.number}"):
        assert told in details


def test_very_long_words_are_cut_for_people_and_whole_for_programs(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    story = Story(world.repo)
    story.adopt("09-01 10:00", web="1.0.0")
    who, words = "-" + "A" * 3_000, "@" + 'é, "x" ' * 400 + "!"
    story.release("09-02 10:00", kind="rollback", actor=who, reason=words, web="0.9.0")
    (row,) = json.loads(said(world, "-o", "json"))
    assert (row["actor"], row["reason"]) == (who, words)
    (cells,) = csv.DictReader(io.StringIO(said(world, "-o", "csv")))
    assert (cells["actor"], cells["reason"]) == (f"'{who}", f"'{words}")
    assert max(map(len, said(world).splitlines())) < 300
    assert max(map(len, said(world, "--details").splitlines())) < 430


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r=", " =", "\u00a0=", "\u3000@"])
def test_no_cell_begins_a_formula(begin: str) -> None:
    change = Change(
        *("shop", "c", at("09-01 10:00"), f"{begin}1+1", f"{begin}x@y", "manual", Member(f"{begin}w")),
        proven=True,
        refs=(f"{begin}SUM(A1)", "x"),
        signer=f"{begin}k",
    )
    out = io.StringIO()
    with redirect_stdout(out):
        print_as_csv(iter([change]))
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    for name in ("author", "email", "workload", "refs", "signer"):
        assert row[name].startswith("'"), name


def test_the_table_has_a_line_for_each(told: World) -> None:
    out = told.run("log", "--since", "2026-09-10", "--until", "2026-09-10").fine().out.splitlines()
    assert [line.split() for line in out] == [
        ["TIME", "COMMIT", "KIND", "WORKLOAD", "FROM", "TO", "AUTHOR", "PULL", "REQUEST"],
        ["2026-09-10", "20:00", out[1].split()[2], "manual", "shop/api", "2.2.0", "2.0.0", "Ann", "Author"],
        ["2026-09-10", "09:30", out[2].split()[2], "reject", "shop/api", "-", "2.2.0", "carol"],
        ["2026-09-10", "08:00", out[3].split()[2], "manual", "shop/api", "2.0.0", "2.2.0", "Ann", "Author"],
    ]


def test_details_tell_what_an_auditor_asks_for(told: World) -> None:
    out = told.run("log", "--details", "--kind", "rollback").fine().out
    for line in (
        "rollback shop/api 2.1.0 -> 2.0.0",
        "committed     2026-09-06T10:00:00Z by automator <automator@example.org>",
        "asked by      bob",
        "reason        errors",
        'why           newest in semver "*" of 9 tags',
        "policy        policies/shop.yaml",
        "policy by     Ann Author, 2026-08-20T10:00:00Z",
        "signature     none",
        "proven        yes",
    ):
        assert line in out


def test_json_is_one_array_also_of_nothing(told: World) -> None:
    (release,) = told.run("log", "-n", "1", "-o", "json").fine().json
    assert (release["workload"], release["to"], release["time"]) == ("web", "1.5.0", "2026-10-02T10:00:00Z")
    assert release["policy_changed"]["author"] == "carol"
    assert release["signature"] == "none"
    assert release["approved_by"] is None
    assert told.run("log", "-w", "nothing", "-o", "json").fine().json == []


def test_csv_is_what_spreadsheets_read_and_runs_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    story = Story(world.repo)
    story.adopt("09-01 10:00", web="1.0.0")
    story.release("09-02 10:00", kind="rollback", actor='=cmd|"/c calc"!A1', reason='a "b", c', web="0.9.0")
    raw = subprocess.run(
        [PROGRAM, "log", "-o", "csv"], cwd=world.root, capture_output=True, check=True, env=os.environ
    ).stdout
    assert raw.count(b"\r\n") == 2
    (row,) = csv.DictReader(io.StringIO(raw.decode()))
    assert row["actor"] == '\'=cmd|"/c calc"!A1'
    assert row["reason"] == 'a "b", c'
    assert (row["from"], row["to"], row["proven"]) == ("1.0.0", "0.9.0", "true")


def test_nothing_in_a_message_steers_a_terminal_or_a_spreadsheet(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    story = Story(world.repo)
    story.adopt("09-01 10:00", web="1.0.0")
    story.release(
        "09-02 10:00", kind="rollback", actor="a\x1b]0;b\x07\x9b2J\u202ec", reason=" \t=1+1", web="0.9.0"
    )
    for form in ("csv", "json"):
        raw = subprocess.run(
            [PROGRAM, "log", "-o", form], cwd=world.root, capture_output=True, check=True
        ).stdout.decode()
        assert all(c.isprintable() or c in "\r\n" for c in raw)
        if form == "json":
            assert json.loads(raw)[0]["actor"] == "a\x1b]0;b\x07\x9b2J\u202ec"
        else:
            (row,) = csv.DictReader(io.StringIO(raw))
            assert row["reason"].startswith("'")


def test_a_pager_that_stays_open_keeps_nobody_out(long_story: Path) -> None:
    world = World(long_story / "paged", HOST)
    world.configure(url=long_story / "shop.git")
    command = [PROGRAM, "log", "-n", "0", "-o", "json"]
    with subprocess.Popen(command, cwd=world.root, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        done = world.run("once")
        assert "another automator" not in done.err
        assert "locked" not in done.err
        assert "registry/dns" in done.out, "it came as far as its registry, which nobody has"
        process.stdout.close()


def test_without_a_forge_nobody_can_tell_who_approved(told: World) -> None:
    done = told.run("log", "--forge")
    assert done.code == 2
    assert "the config names no forge for the config repo shop" in done.err


def test_two_config_repos_are_one_log(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    other = BareRepo.create(tmp_path / "git" / "prod.git")
    for repo, times in ((world.repo, ("09-02", "09-04")), (other, ("09-03", "09-05"))):
        story = Story(repo)
        story.adopt("09-01 10:00", web="1.0.0")
        for number, day in enumerate(times, 1):
            story.release(f"{day} 10:00", web=f"1.{number}.0")
    world.configure(more=f'[repos.prod]\nurl = "{other.path}"')
    found = world.run("log", "-o", "json", "-n", "3").fine().json
    assert [(line["repo"], line["to"]) for line in found] == [
        ("prod", "1.2.0"),
        ("shop", "1.2.0"),
        ("prod", "1.1.0"),
    ]


def test_what_is_older_than_was_read_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, HOST)
    story = Story(world.repo)
    story.adopt("09-01 10:00", web="1.0.0")
    for number in range(1, 9):
        story.release(f"09-{number + 1:02} 10:00", web=f"1.{number}.0")
    # Git takes no depth from a repository that it reads as a plain path.
    world.configure(repo="history_limit = 3", url=f"file://{world.repo.path}")
    done = world.run("log", "-o", "json").fine()
    assert [line["to"] for line in json.loads(done.out)][:2] == ["1.8.0", "1.7.0"]
    assert "repos.shop.history_limit" in done.err


# -- long histories ----------------------------------------------------------------------------------

COMMITS, EVERY = 3_000, 10


@pytest.fixture(scope="module")
def long_story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three thousand commits, each tenth of them a release."""
    folder = tmp_path_factory.mktemp("long")
    story = Story(BareRepo.create(folder / "shop.git"))
    story.adopt("09-01 10:00", web="1.0.0")
    stream = []
    clock = int(at("09-01 11:00").timestamp())
    for number in range(1, COMMITS):
        files = {"notes.md": f"{number}\n"}
        message = "Note\n"
        if number % EVERY == 0:
            record = ReleaseRecord("release", (story.member("web", f"1.{number}.0"),))
            message = compose(record, why="newest")
            story.versions["web"] = f"1.{number}.0"
            files = {story.file("web"): story.manifest("web")}
        who = f"automator <automator@example.org> {clock + 60 * number} +0000"
        start = "from refs/heads/main^0\n" if number == 1 else ""
        data = "".join(f"M 100644 inline {f}\ndata {len(t.encode())}\n{t}\n" for f, t in files.items())
        stream.append(
            f"commit refs/heads/main\ncommitter {who}\ndata {len(message.encode())}\n{message}\n{start}{data}"
        )
    git(story.repo.path, "fast-import", "--quiet", feed="".join(stream).encode())
    return folder


def test_the_first_lines_come_before_the_last_ones_are_read(long_story: Path) -> None:
    config = Config(state=long_story / "state", repos={"shop": {"url": str(long_story / "shop.git")}})
    with App.open(config, exclusive=False) as app:
        book = app.cycles["shop"].logbook()
        changes = book.changes(Wanted())
        assert next(changes).proven
        newest = book.begins
        changes.close()
        assert newest is not None
        assert newest > at("09-02 12:00"), "the walk has not come far"
        before = book.checkout.processes
        assert sum(1 for _ in book.changes(Wanted())) == (COMMITS - 1) // EVERY
        assert book.checkout.processes - before <= 16, "files are read in batches"


def test_a_time_in_the_past_ends_the_walk(long_story: Path) -> None:
    config = Config(state=long_story / "recent", repos={"shop": {"url": str(long_story / "shop.git")}})
    last = at("09-01 11:00") + timedelta(minutes=COMMITS - 1)
    with App.open(config, exclusive=False) as app:
        book = app.cycles["shop"].logbook()
        found = list(book.changes(Wanted(since=last - timedelta(hours=1))))
        assert len(found) == 6
        assert book.begins is not None
        assert book.begins > last - timedelta(minutes=700), "500 older ones in a row are enough"


def test_a_reader_that_leaves_ends_the_log(long_story: Path) -> None:
    world = World(long_story / "world", HOST)
    world.configure(url=long_story / "shop.git")
    process = subprocess.Popen(
        [PROGRAM, "log", "-n", "0"], cwd=world.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"TIME")
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
