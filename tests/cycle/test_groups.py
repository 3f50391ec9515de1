"""Groups in whole cycles: one commit for all members, or none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.gitserver import git
from parts.stage import Stage

from automator.core.record import parse
from automator.core.report import Outcome
from automator.cycle.run import Trigger
from automator.reasons import Status

RANGE = 'semver: ">=1.0 <2"'
GROUP = "group: shop"
ANY = "group: {name: shop, match: any}"
NAMES = ("api", "web")


def member(stage: Stage, name: str, at: str, *keys: str, group: str = GROUP) -> dict[str, str]:
    lines = keys if any("semver" in key or "follow" in key for key in keys) else (RANGE, *keys)
    return stage.workload(name, at, keys="\n".join((group, *lines)))


def begin(stage: Stage, *, group: str = GROUP, tags: str = "1.0.0 1.1.0", **keys: tuple[str, ...]) -> str:
    """CI has pushed both images at these tags, both workloads are at 1.0.0; the commit before."""
    files = {}
    for name in NAMES:
        stage.push(f"acme/{name}", *tags.split())
        files |= member(stage, name, "1.0.0", *keys.get(name, ()), group=group)
    return stage.commit(files)


def commits_since(stage: Stage, base: str) -> list[str]:
    return git(stage.repo.path, "log", "--reverse", "--format=%H", f"{base}..main").splitlines()


def versions(stage: Stage) -> dict[str, str]:
    return {name: stage.image_of(name).partition(":")[2] for name in NAMES}


def said(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.reason.code for name, outcome in outcomes.items()}


def refuse(stage: Stage, word: str) -> None:
    """The server refuses every push whose new commits name a word, in its own words."""
    stage.repo.hook(
        "pre-receive",
        f"while read old new ref; do\n  if git log --format=%B $old..$new | grep -q '{word}'; then\n"
        '    echo "the committee says no" >&2\n    exit 1\n  fi\ndone\n',
    )


# -- one version ----------------------------------------------------------------------------------------


def test_a_group_moves_in_one_commit_with_a_block_for_each_member(stage: Stage) -> None:
    before = begin(stage)
    outcomes = stage.outcomes()
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}
    (commit,) = commits_since(stage, before)
    assert {outcome.commit for outcome in outcomes.values()} == {commit}
    assert sorted(stage.numstat(commit)) == ["1\t1\tapps/api.yaml", "1\t1\tapps/web.yaml"]
    record = parse(git(stage.repo.path, "show", "--no-patch", "--format=%B", commit))
    assert record is not None
    assert [(m.workload, m.before, m.after.partition("@")[0], m.sites) for m in record.members] == [
        ("api", "1.0.0", "1.1.0", ("apps/api.yaml#spec.template.spec.containers[app].image",)),
        ("web", "1.0.0", "1.1.0", ("apps/web.yaml#spec.template.spec.containers[app].image",)),
    ]
    assert said(stage.outcomes()) == {"api": "current/newest", "web": "current/newest"}


def test_a_revert_of_a_groups_commit_is_a_revert_for_every_member(stage: Stage) -> None:
    before = begin(stage)
    stage.run()
    (commit,) = commits_since(stage, before)
    stage.revert(commit)
    for name in NAMES:
        stage.push(f"acme/{name}", "1.0.9")
    outcomes = stage.outcomes()
    assert {outcome.status for outcome in outcomes.values()} == {Status.HELD}
    assert "history/turned-away" in said(outcomes).values()
    assert versions(stage) == {"api": "1.0.0", "web": "1.0.0"}
    for name in NAMES:
        stage.push(f"acme/{name}", "1.2.0")
    stage.run()
    assert versions(stage) == {"api": "1.2.0", "web": "1.2.0"}


def test_the_group_waits_until_the_last_image_is_there(stage: Stage) -> None:
    before = begin(stage, tags="1.0.0")
    stage.push("acme/api", "1.1.0")
    outcomes = stage.outcomes()
    assert said(outcomes) == {"api": "group/no-common", "web": "current/newest"}
    assert commits_since(stage, before) == []
    stage.push("acme/web", "1.1.0")
    stage.run()
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}


def test_two_members_may_write_into_one_file(stage: Stage) -> None:
    before = begin(stage)
    pods = "".join(
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n"
        f"    - name: {name}\n      image: {stage.host}/acme/{name}:1.0.0\n"
        for name in NAMES
    )
    before = stage.commit({"apps/api.yaml": None, "apps/web.yaml": None, "apps/both.yaml": pods})
    stage.run()
    (commit,) = commits_since(stage, before)
    assert stage.numstat(commit) == ["2\t2\tapps/both.yaml"]
    assert stage.repo.read("apps/both.yaml").count(":1.1.0") == 2


STOPPED = {
    "held": ("hold: {reason: audit}",),
    "invalid": ("smver: x",),
    "rejected": ('reject: ["1.1.0"]',),
    "window closed": ('windows: [{deny: "0 9 * * *", for: 3h}]',),
    "too young": ("min_age: 1d",),
    "out of range": ('semver: ">=1.0 <1.1"',),
    "of another order": ("order: numeric", 'glob: "{key}.0.0"'),
    "of another match": ("group: {name: shop, match: any}",),
}


@pytest.mark.parametrize("case", STOPPED)
def test_one_member_that_cannot_move_holds_all_others(stage: Stage, case: str) -> None:
    keys = STOPPED[case]
    for name in NAMES:
        stage.push(f"acme/{name}", "1.0.0", "1.1.0")
    files = member(stage, "web", "1.0.0")
    if keys[0].startswith("group"):
        files |= member(stage, "api", "1.0.0", group=keys[0])
    elif keys[0].startswith("order"):
        files |= stage.workload("api", "1.0.0", keys="\n".join((GROUP, *keys)))
    else:
        files |= member(stage, "api", "1.0.0", *keys)
    before = stage.commit(files)
    outcomes = stage.outcomes()
    assert commits_since(stage, before) == []
    assert outcomes["web"].status in (Status.HELD, Status.WAITING)
    assert outcomes["web"].reason.code.startswith(("group/", "policy/group-differs"))


def test_a_member_without_a_site_holds_all_others(stage: Stage) -> None:
    begin(stage)
    before = stage.commit({"apps/api.yaml": None})
    assert said(stage.outcomes()) == {"api": "site/none", "web": "group/member-stops"}
    assert commits_since(stage, before) == []


def test_a_member_whose_registry_fails_holds_all_others(stage: Stage) -> None:
    begin(stage)
    stage.insecure.add("127.0.0.1:9")
    before = stage.commit(stage.workload("api", "1.0.0", keys=f"{GROUP}\n{RANGE}", host="127.0.0.1:9"))
    outcomes = stage.outcomes()
    assert commits_since(stage, before) == []
    assert outcomes["api"].status is Status.FAILED
    assert said(outcomes)["web"] == "group/member-stops"


def test_whose_turn_it_is_first_by_itself_is_told_and_at_that_time_all_move(stage: Stage) -> None:
    start = stage.now
    begin(stage, api=("min_age: 1h",), web=("min_age: 2h",))
    outcomes = stage.outcomes()
    assert said(outcomes) == {"api": "group/member-stops", "web": "guard/min-age"}
    assert {outcome.reason.changes_at for outcome in outcomes.values()} == {start + timedelta(hours=2)}
    stage.now = start + timedelta(hours=1)
    stage.run(trigger=Trigger("due"))
    assert versions(stage) == {"api": "1.0.0", "web": "1.0.0"}
    stage.now = start + timedelta(hours=2)
    stage.run(trigger=Trigger("due"))
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}


def test_what_is_waited_for_costs_no_request_until_then(stage: Stage) -> None:
    begin(stage, api=("min_age: 1h",))
    stage.run()

    def looked_up() -> list[str]:
        return [r for r in stage.registry.log if "manifests" in r and not r.startswith("PUT")]

    asked = looked_up()
    for _ in range(3):
        stage.run()
    assert looked_up() == asked


@pytest.mark.parametrize("trigger", [Trigger("command", all_due=True, workloads=frozenset({"web"}))])
def test_a_cycle_for_one_member_is_one_for_all(stage: Stage, trigger: Trigger) -> None:
    begin(stage)
    outcomes = stage.outcomes(trigger=trigger)
    assert {outcome.status for outcome in outcomes.values()} == {Status.RELEASED}
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}


def test_a_refused_push_is_one_refusal_for_all_members_and_harms_nobody_else(stage: Stage) -> None:
    stage.push("acme/other", "1.0.0", "1.1.0")
    refuse(stage, "Release-Workload: web")
    begin(stage)
    before = stage.commit(stage.workload("other", "1.0.0"))
    outcomes = stage.outcomes()
    assert said(outcomes) == {"api": "push/refused", "other": "released/pushed", "web": "push/refused"}
    assert len(commits_since(stage, before)) == 1
    assert versions(stage) == {"api": "1.0.0", "web": "1.0.0"}
    (stage.repo.path / "hooks" / "pre-receive").unlink()
    stage.now += timedelta(hours=1)
    assert {o.status for n, o in stage.outcomes().items() if n != "other"} == {Status.RELEASED}


def test_a_group_counts_as_one_release_under_the_limit(stage: Stage) -> None:
    stage.settings = {"max_releases_per_cycle": 1}
    stage.push("acme/zoo", "1.0.0", "1.1.0")
    begin(stage)
    stage.commit(stage.workload("zoo", "1.0.0"))
    first = stage.outcomes()
    assert said(first) == {
        "api": "released/pushed",
        "web": "released/pushed",
        "zoo": "waiting/limit",
    }
    assert stage.outcomes()["zoo"].status is Status.RELEASED


def test_a_group_that_the_limit_leaves_out_waits_as_a_whole(stage: Stage) -> None:
    stage.settings = {"max_releases_per_cycle": 1}
    stage.push("acme/aaa", "1.0.0", "1.1.0")
    begin(stage)
    stage.commit(stage.workload("aaa", "1.0.0"))
    assert said(stage.outcomes()) == {
        "aaa": "released/pushed",
        "api": "waiting/limit",
        "web": "waiting/limit",
    }
    assert versions(stage) == {"api": "1.0.0", "web": "1.0.0"}
    stage.run()
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}


def test_who_joins_or_leaves_a_group_is_noticed_by_the_others(stage: Stage) -> None:
    begin(stage, web=("hold: {reason: audit}",))
    assert said(stage.outcomes()) == {"api": "group/member-stops", "web": "guard/hold"}
    stage.commit({"policies/web.yaml": stage.repo.read("policies/web.yaml").replace(GROUP, "owner: ann")})
    assert said(stage.outcomes()) == {"api": "released/pushed", "web": "guard/hold"}


@pytest.mark.parametrize("held", [False, True], ids=["another file", "a hold for one member"])
def test_a_lost_race_is_decided_again_for_all_members(stage: Stage, held: bool) -> None:
    base = begin(stage)
    rival = {"notes.md": "pushed while the release was on its way\n"}
    if held:
        rival = member(stage, "api", "1.0.0", "hold: {reason: audit}")
    tip = stage.commit(rival, "Rival")
    stage.repo.set_tip(base)
    flag = stage.folder / "raced"
    stage.repo.hook(
        "pre-receive",
        f"[ -e {flag} ] && exit 0\ntouch {flag}\n"
        f"unset GIT_QUARANTINE_PATH; git update-ref refs/heads/main {tip}\n",
    )
    outcomes = stage.outcomes()
    subjects = git(stage.repo.path, "log", "--format=%s", f"{base}..main").splitlines()
    if held:
        assert said(outcomes) == {"api": "guard/hold", "web": "group/member-stops"}
        assert subjects == ["Rival"]
    else:
        assert {outcome.status for outcome in outcomes.values()} == {Status.RELEASED}
        assert len(subjects) == 2
        assert subjects[1] == "Rival"


def test_a_release_that_the_branch_was_rewound_past_is_taken_back_for_every_member(stage: Stage) -> None:
    base = begin(stage)
    stage.run()
    stage.repo.set_tip(base)
    outcomes = stage.outcomes()
    assert {outcome.status for outcome in outcomes.values()} == {Status.HELD}
    assert versions(stage) == {"api": "1.0.0", "web": "1.0.0"}


def test_an_urgent_version_waits_for_the_other_members_all_the_same(stage: Stage) -> None:
    urgent = 'urgent: {version: "1.1.0", reason: CVE-2026-1}'
    before = begin(stage, api=("min_age: 1h", urgent), web=("min_age: 1h",))
    assert said(stage.outcomes()) == {"api": "group/member-stops", "web": "guard/min-age"}
    stage.commit(member(stage, "web", "1.0.0", "min_age: 1h", urgent))
    stage.run()
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}
    assert len(commits_since(stage, before)) == 2
    message = git(stage.repo.path, "show", "--no-patch", "--format=%B", "main")
    assert message.count("Release-Reason: urgent: CVE-2026-1") == 1


# -- each to its own ------------------------------------------------------------------------------------


def test_any_moves_each_to_its_own_in_one_commit(stage: Stage) -> None:
    before = begin(stage, group=ANY, tags="1.0.0")
    stage.push("acme/api", "1.7.0")
    stage.push("acme/web", "1.1.0")
    stage.run()
    assert versions(stage) == {"api": "1.7.0", "web": "1.1.0"}
    assert len(commits_since(stage, before)) == 1


def test_any_holds_all_for_one_that_waits(stage: Stage) -> None:
    before = begin(stage, group=ANY, api=("min_age: 1h",))
    assert said(stage.outcomes()) == {"api": "guard/min-age", "web": "group/member-stops"}
    assert commits_since(stage, before) == []
    stage.now += timedelta(hours=1)
    stage.run()
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}


def test_a_closed_window_of_a_member_that_is_there_already_is_waited_for(stage: Stage) -> None:
    begin(stage)
    before = stage.commit(member(stage, "api", "1.1.0", 'windows: [{deny: "0 9 * * *", for: 3h}]'))
    outcomes = stage.outcomes()
    assert said(outcomes) == {"api": "current/newest", "web": "group/member-stops"}
    assert commits_since(stage, before) == []
    at = outcomes["web"].reason.changes_at
    assert at is not None
    stage.now = at
    stage.run(trigger=Trigger("due"))
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}


def test_any_is_released_at_the_time_that_every_member_tells(stage: Stage) -> None:
    begin(stage, group=ANY, api=("min_age: 1h",), web=("min_age: 30m",))
    (at,) = {outcome.reason.changes_at for outcome in stage.outcomes().values()}
    assert at is not None
    stage.now = at - timedelta(minutes=1)
    stage.run(trigger=Trigger("due"))
    assert versions(stage) == {"api": "1.0.0", "web": "1.0.0"}
    stage.now = at
    stage.run(trigger=Trigger("due"))
    assert versions(stage) == {"api": "1.1.0", "web": "1.1.0"}


def test_a_followed_tag_costs_no_request_while_a_person_holds_another_member(stage: Stage) -> None:
    stage.push("acme/api", "stable")
    stage.push("acme/web", "1.0.0", "1.1.0")
    api = member(stage, "api", "stable", "follow: stable", group=ANY)
    stage.commit(api | member(stage, "web", "1.0.0", "hold: {reason: audit}", group=ANY))
    for _ in range(3):
        assert said(stage.outcomes()) == {"api": "group/member-stops", "web": "guard/hold"}
    assert [r for r in stage.registry.log if "manifests" in r and not r.startswith("PUT")] == []
