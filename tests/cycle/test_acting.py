"""What people ask for by commands: rollbacks, stops, releases by hand; races, refusals, groups."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import requests
from parts.gitserver import git
from parts.stage import NOW, Stage

from automator.core.action import Request
from automator.core.record import ReleaseRecord, parse
from automator.cycle.acting import Acted, Terms, act
from automator.errors import ActionError, AutomatorError, ManifestError, UsageError
from automator.reasons import Reason, Status

ROLLBACK = Request("rollback", "Ann", "crashes at login", "web")


def ask(stage: Stage, kind: str, workload: str = "web", version: str | None = None, **more: Any) -> Acted:
    """What the program does when Ann asks for it."""
    why = more.pop("why", "because")
    terms = Terms(**{k: more.pop(k) for k in ("by_pull_request", "push", "dry_run") if k in more})
    done = act(stage.cycle, Request(kind, "Ann", why, workload, version, **more), terms)
    stage.now += timedelta(minutes=1)
    return done


def refused(stage: Stage, *asked: Any, error: type[AutomatorError] = ActionError, **more: Any) -> Reason:
    """Why it is not done; and nothing is pushed then."""
    before = stage.repo.tip()
    with pytest.raises(error) as raised:
        ask(stage, *asked, **more)
    assert stage.repo.tip() == before
    return raised.value.reason


def record(stage: Stage, commit: str = "main") -> ReleaseRecord:
    found = parse(git(stage.repo.path, "log", "-1", "--format=%B", commit))
    assert found is not None
    return found


def released(stage: Stage, *tags: str, keys: str = 'semver: ">=1.0 <2"') -> None:
    """web at the newest of the tags, by releases of ours, one after the other."""
    stage.push("acme/web", tags[0])
    stage.commit(stage.workload("web", tags[0], keys=keys))
    stage.run()
    for tag in tags[1:]:
        stage.push("acme/web", tag)
        assert stage.outcomes()["web"].status is Status.RELEASED


# -- rollback -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True], ids=["state kept", "state lost"])
def test_a_rollback_goes_to_the_version_before_and_stays_there(stage: Stage, lost: bool) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    done = ask(stage, "rollback", why="crashes at login")
    assert (stage.image_of("web"), stage.repo.tip()) == ("web:1.4.2", done.commit)
    assert done.commit is not None
    assert stage.numstat(done.commit) == ["1\t1\tapps/web.yaml"]
    assert done.message.splitlines()[0] == "Roll back web to 1.4.2"
    told = record(stage)
    assert (told.kind, told.actor, told.reason) == ("rollback", "Ann", "crashes at login")
    (member,) = told.members
    assert (member.before, member.after.partition("@")[0]) == ("1.4.3", "1.4.2")
    assert member.sites == ("apps/web.yaml#spec.template.spec.containers[app].image",)
    assert member.policy == "policies/web.yaml"
    if lost:
        stage.lose_state()
    for _ in range(3):
        outcome = stage.outcomes()["web"]
        assert (outcome.status, outcome.reason.code) == (Status.HELD, "history/turned-away")
    assert outcome.reason.sentence.startswith("was 1.4.3 until Ann set 1.4.2 in ")
    stage.push("acme/web", "1.4.4")
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.4"


def test_a_second_rollback_goes_further_back(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    ask(stage, "rollback")
    ask(stage, "rollback")
    assert stage.image_of("web") == "web:1.4.1"
    assert refused(stage, "rollback").code == "action/nothing-before"
    assert stage.outcomes()["web"].reason.code == "history/turned-away"


def test_accept_takes_back_what_a_rollback_turned_away(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    ask(stage, "rollback")
    ask(stage, "accept", version="1.4.3")
    assert record(stage).kind == "accept"
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:1.4.3"


def test_under_newest_a_rollback_asks_what_is_older_and_never_goes_up(stage: Stage) -> None:
    stage.push("acme/web", "build-1", age=timedelta(days=3))
    stage.push("acme/web", "build-2", age=timedelta(days=1))
    stage.push("acme/web", "build-3", age=timedelta(days=2))
    stage.commit(stage.workload("web", "build-1", keys='glob: "build-*"\norder: newest'))
    assert stage.outcomes()["web"].status is Status.RELEASED
    assert stage.image_of("web") == "web:build-2"
    stage.commit({"apps/web.yaml": stage.repo.read("apps/web.yaml").replace("build-2", "build-3") + "\n"})
    stage.lose_state()
    ask(stage, "rollback")
    assert stage.image_of("web") == "web:build-1"


def test_a_version_that_a_person_wrote_is_rolled_back_too(stage: Stage) -> None:
    released(stage, "1.4.2")
    stage.push("acme/web", "1.4.3", "1.4.4")
    stage.commit({"apps/web.yaml": stage.repo.read("apps/web.yaml").replace("1.4.2", "1.4.4") + "\n"})
    ask(stage, "rollback")
    assert stage.image_of("web") == "web:1.4.2"
    assert stage.outcomes()["web"].reason.code == "history/turned-away"


def test_a_rollback_to_a_named_version_looks_in_history_and_in_the_registry(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    stage.push("acme/web", "1.3.9")
    assert refused(stage, "rollback", version="1.4.4").code == "action/never-there"
    assert refused(stage, "rollback", version="no tag").code == "action/never-there"
    stage.push("acme/web", "1.5.0")
    assert refused(stage, "rollback", version="1.5.0").code == "action/newer"
    ask(stage, "rollback", version="v1.4.1")
    assert stage.image_of("web") == "web:1.4.1"
    ask(stage, "rollback", version="1.3.9")
    assert stage.image_of("web") == "web:1.3.9"
    same = ask(stage, "rollback", version="1.3.9")
    assert same.nothing is not None
    assert same.nothing.code == "action/at-it"


def test_nobody_was_there_before(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    why = refused(stage, "rollback")
    assert why.code == "action/nothing-before"
    assert "1.4.2" in why.sentence


def test_a_rollback_is_not_stopped_by_freezes_holds_and_silent_registries(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    ask(stage, "freeze", "")
    ask(stage, "hold")
    stage.stop()
    stage.registry.stop()
    ask(stage, "rollback")
    assert stage.image_of("web") == "web:1.4.2"


def test_an_image_that_is_gone_is_not_rolled_back_to(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    url = f"http://{stage.host}/v2/acme/web/manifests/1.4.2"
    requests.delete(url, timeout=20).raise_for_status()
    assert refused(stage, "rollback").code == "action/not-served"
    ask(stage, "rollback", force=True)
    assert stage.image_of("web") == "web:1.4.2"


def test_a_pinned_site_gets_the_digest_that_it_held(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3", keys='semver: "1.x"\npin: digest')
    held = record(stage).members[0].before
    assert held.startswith("1.4.2@sha256:")
    stage.push("acme/web", "1.4.2", age=timedelta(days=3))  # pushed again: another image by now
    ask(stage, "rollback")
    assert stage.image_of("web") == f"web:{held}"
    assert record(stage).members[0].after == held


def test_a_tag_that_means_another_image_by_now_is_told(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    stage.push("acme/web", "1.4.2", age=timedelta(days=3))
    done = ask(stage, "rollback")
    assert done.change is not None
    assert [note.code for note in done.change.notes] == ["action/moved-tag"]


def test_a_followed_tag_goes_back_to_its_last_digest_and_stays_there(stage: Stage) -> None:
    stage.push("acme/web", "7")
    stage.commit(stage.workload("web", "7", keys='follow: "7"'))
    stage.run()
    first = stage.image_of("web")
    stage.push("acme/web", "7", age=timedelta(hours=5))
    stage.run()
    second = stage.image_of("web")
    assert second != first
    ask(stage, "rollback")
    assert stage.image_of("web") == first
    stage.lose_state()
    for _ in range(2):
        assert stage.outcomes()["web"].reason.code == "history/digest-left"
    assert stage.image_of("web") == first
    digest = second.partition("@")[2]
    ask(stage, "accept", version=f"7@{digest}")
    stage.run()
    assert stage.image_of("web") == second


def test_a_rollback_passes_over_what_a_person_rejected(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2")
    ask(stage, "reject", version="v1.4.2")
    stage.push("acme/web", "1.4.3")
    stage.run()
    assert refused(stage, "rollback", version="1.4.2").code == "action/rejected"
    ask(stage, "rollback")
    assert stage.image_of("web") == "web:1.4.1"
    assert refused(stage, "rollback", version="1.4.2", force=True).code == "action/newer"


def test_a_followed_tag_does_not_go_back_to_a_rejected_digest(stage: Stage) -> None:
    stage.push("acme/web", "7")
    stage.commit(stage.workload("web", "7", keys='follow: "7"'))
    stage.run()
    first = stage.image_of("web")
    stage.push("acme/web", "7", age=timedelta(hours=5))
    stage.run()
    rejected = stage.image_of("web").partition("@")[2]
    ask(stage, "reject", version=rejected)
    stage.push("acme/web", "7", age=timedelta(hours=3))
    stage.run()
    ask(stage, "rollback")
    assert stage.image_of("web") == first


def test_nothing_goes_forward_by_a_rollback(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2")
    stage.push("acme/web", "nightly")
    assert refused(stage, "rollback", version="nightly").code == "action/not-before"
    ask(stage, "rollback", version="nightly", force=True)
    assert stage.image_of("web") == "web:nightly"
    assert refused(stage, "rollback", version="1.3.0").code == "action/never-there"
    why = refused(stage, "rollback", version="1.4.2")  # turned away by the rollback before
    assert why.code == "action/not-before"
    ask(stage, "rollback", version="1.4.1")  # held before, whatever the order makes of nightly
    assert stage.image_of("web") == "web:1.4.1"


def test_a_digest_that_is_named_is_the_one_that_is_meant(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3", keys='semver: "1.x"\npin: digest')
    held = record(stage).members[0].before
    other = f"1.4.2@sha256:{'0' * 64}"
    assert refused(stage, "rollback", version=other).code == "action/not-its-digest"
    ask(stage, "rollback", version=held)
    assert stage.image_of("web") == f"web:{held}"


def test_two_people_who_see_the_same_failure_go_back_once(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    ask(stage, "rollback")
    again = replace(ROLLBACK, actor="Bob")
    tip = stage.repo.tip()
    for request, code in (
        (again, "action/back-already"),
        (replace(again, at="1.4.3"), "action/moved-on"),
    ):
        with pytest.raises(ActionError) as raised:
            act(stage.cycle, request, Terms())
        assert raised.value.reason.code == code
        assert "Ann" in raised.value.reason.sentence
    same = act(stage.cycle, replace(again, at="1.4.3", version="1.4.2"), Terms())
    assert same.nothing is not None
    assert stage.repo.tip() == tip
    done = act(stage.cycle, replace(again, at="1.4.2"), Terms())
    assert done.change is not None
    assert [note.code for note in done.change.notes] == ["action/further-back"]
    assert stage.image_of("web") == "web:1.4.1"


def grouped(stage: Stage, match: str) -> None:
    """web and api in one group, moved together from 1.0.0 to 1.1.0."""
    keys = f'semver: "1.x"\ngroup: {{name: shop, match: {match}}}'
    stage.push("acme/web", "1.0.0", "1.1.0")
    stage.push("acme/api", "1.0.0", "1.1.0")
    stage.commit(stage.workload("web", "1.0.0", keys=keys) | stage.workload("api", "1.0.0", keys=keys))
    stage.run()
    assert (stage.image_of("web"), stage.image_of("api")) == ("web:1.1.0", "api:1.1.0")


@pytest.mark.parametrize("match", ["version", "any"])
def test_a_group_goes_back_together_in_one_commit(stage: Stage, match: str) -> None:
    grouped(stage, match)
    before = stage.repo.tip()
    ask(stage, "rollback", "api")
    assert (stage.image_of("web"), stage.image_of("api")) == ("web:1.0.0", "api:1.0.0")
    assert git(stage.repo.path, "rev-parse", "main~1") == before
    assert [member.workload for member in record(stage).members] == ["api", "web"]
    assert {o.reason.code for o in stage.outcomes().values()} <= {"history/turned-away", "group/member-stops"}
    ask(stage, "accept", "api", "1.1.0")
    if match == "any":
        ask(stage, "accept", "web", "1.1.0")
    stage.run()
    assert (stage.image_of("web"), stage.image_of("api")) == ("web:1.1.0", "api:1.1.0")


def test_a_group_does_not_go_where_one_member_has_nothing(stage: Stage) -> None:
    grouped(stage, "version")
    stage.push("acme/web", "1.0.5")
    why = refused(stage, "rollback", version="1.0.5")
    assert why.code == "action/member"
    assert "api" in why.sentence


def test_a_member_of_a_group_does_not_go_back_to_what_was_rejected_for_it(stage: Stage) -> None:
    grouped(stage, "any")
    ask(stage, "reject", "api", "1.1.0")
    stage.push("acme/web", "1.2.0")
    stage.push("acme/api", "1.2.0")
    stage.run()
    ask(stage, "rollback")
    assert (stage.image_of("web"), stage.image_of("api")) == ("web:1.1.0", "api:1.0.0")


# -- stops --------------------------------------------------------------------------------------------


def test_a_stop_that_lasts_longer_is_not_replaced_and_one_that_ended_is(stage: Stage) -> None:
    released(stage, "1.4.2")
    ask(stage, "hold", why="migration")
    why = refused(stage, "hold", why="a quick look", until=stage.now + timedelta(minutes=5))
    assert (why.code, "migration" in why.sentence) == ("action/held", True)
    ask(stage, "resume")
    for file in (None, "policies/web.yaml"):
        end = stage.now + timedelta(hours=2)
        ask(stage, "freeze", "", file=file, until=end)
        ask(stage, "freeze", "", file=file, until=end + timedelta(hours=2))
        shorter = refused(stage, "freeze", "", file=file, until=end)
        assert shorter.code == "action/frozen"
        stage.now = end + timedelta(hours=3)
        ask(stage, "freeze", "", file=file, why="incident")
        stage.push("acme/web", "1.4.3")
        assert "incident" in stage.outcomes()["web"].reason.sentence
        ask(stage, "thaw", "", file=file)


def test_who_takes_a_stop_away_hears_of_those_beside_it(stage: Stage) -> None:
    released(stage, "1.4.2")
    ask(stage, "freeze", "", why="Black Friday")
    ask(stage, "hold")
    done = ask(stage, "resume")
    assert done.change is not None
    (note,) = done.change.notes
    assert (note.code, "Black Friday" in note.sentence) == ("action/still-stopped", True)
    assert "releases go on" not in done.message


def test_hold_and_resume_leave_the_file_as_it_was(stage: Stage) -> None:
    released(stage, "1.4.2")
    text = stage.repo.read("policies/web.yaml")
    ask(stage, "hold", why="audit", until=NOW + timedelta(days=2))
    stage.push("acme/web", "1.4.3")
    outcome = stage.outcomes()["web"]
    assert (outcome.reason.code, outcome.reason.changes_at) == ("guard/hold", NOW + timedelta(days=2))
    assert "audit" in outcome.reason.sentence
    assert record(stage).members[0].workload == "web"
    again = ask(stage, "hold", why="audit", until=NOW + timedelta(days=2))
    assert again.nothing is not None
    assert again.nothing.code == "action/held-already"
    ask(stage, "resume")
    assert stage.repo.read("policies/web.yaml") == text
    assert stage.outcomes()["web"].status is Status.RELEASED
    none = ask(stage, "resume")
    assert none.nothing is not None
    assert none.nothing.code == "action/not-held"


def test_a_hold_of_the_defaults_is_not_taken_away_for_one_workload(stage: Stage) -> None:
    files = stage.workload("web", "1.4.2")
    text = files["policies/web.yaml"].replace("workloads:", "defaults:\n  hold: {reason: audit}\nworkloads:")
    stage.commit(files | {"policies/web.yaml": text})
    why = refused(stage, "resume")
    assert why.code == "action/inherited"
    assert "policies/web.yaml:3" in why.sentence


def test_freeze_and_thaw_make_and_remove_the_file(stage: Stage) -> None:
    released(stage, "1.4.2")
    tree = git(stage.repo.path, "rev-parse", "main^{tree}")
    ask(stage, "freeze", "", why="Black Friday")
    stage.push("acme/web", "1.4.3")
    assert stage.outcomes()["web"].reason.code == "guard/freeze"
    assert stage.repo.read("policies/_freeze.yaml") == "version: 1\nfreeze:\n  reason: Black Friday"
    assert ask(stage, "freeze", "", why="Black Friday").commit is None
    assert refused(stage, "freeze", "", why="another").code == "action/frozen"
    ask(stage, "thaw", "")
    assert git(stage.repo.path, "rev-parse", "main^{tree}") == tree
    assert ask(stage, "thaw", "").commit is None
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_one_policy_file_is_frozen_by_itself(stage: Stage) -> None:
    released(stage, "1.4.2")
    stage.push("acme/api", "1.0.0", "1.1.0")
    stage.commit(stage.workload("api", "1.0.0"))
    stage.push("acme/web", "1.4.3")
    ask(stage, "freeze", "", file="policies/web.yaml")
    outcomes = stage.outcomes()
    assert outcomes["web"].reason.code == "guard/freeze"
    assert outcomes["api"].status is Status.RELEASED
    assert refused(stage, "freeze", "", file="policies/web.yaml", why="other").code == "action/frozen"
    missing = refused(stage, "freeze", "", file="policies/no.yaml", error=UsageError)
    assert missing.code == "usage/no-policy-file"
    ask(stage, "thaw", "", file="policies/web.yaml")
    assert stage.outcomes()["web"].status is Status.RELEASED


def test_a_rejected_version_is_passed_over_and_accept_takes_the_rejection_away(stage: Stage) -> None:
    released(stage, "1.4.2")
    text = stage.repo.read("policies/web.yaml")
    stage.push("acme/web", "1.4.3")
    ask(stage, "reject", version="v1.4.3")
    assert stage.outcomes()["web"].status is Status.CURRENT
    stage.push("acme/web", "1.4.4")
    stage.run()
    assert stage.image_of("web") == "web:1.4.4"
    ask(stage, "accept", version="1.4.3")
    assert "reject" not in stage.repo.read("policies/web.yaml")
    assert stage.repo.read("policies/web.yaml") == f"{text}\n    accept: [1.4.3]"
    ask(stage, "reject", version="1.4.3")
    assert stage.repo.read("policies/web.yaml") == f"{text}\n    reject: [1.4.3]"


def test_a_list_of_its_own_goes_on_with_what_the_defaults_reject(stage: Stage) -> None:
    files = stage.workload("web", "1.4.2")
    text = files["policies/web.yaml"].replace("workloads:", "defaults:\n  reject: [1.4.3]\nworkloads:")
    stage.commit(files | {"policies/web.yaml": text})
    stage.push("acme/web", "1.4.2", "1.4.3", "1.4.4")
    ask(stage, "reject", version="1.4.4")
    assert stage.outcomes()["web"].status is Status.CURRENT
    assert refused(stage, "accept", version="sha256:" + "0" * 64).code == "action/no-version"


def test_what_cannot_be_edited_exactly_is_told_with_the_line_to_write(stage: Stage) -> None:
    files = stage.workload("web", "1.4.2")
    image = f"{stage.host}/acme/web"
    policy = f'version: 1\nworkloads:\n  web: {{image: "{image}", semver: "1.x"}}\n'
    stage.commit(files | {"policies/web.yaml": policy})
    why = refused(stage, "hold", error=ManifestError)
    assert why.code == "edit/flow"
    assert "hold: {reason: because}" in why.next_step


# -- release ------------------------------------------------------------------------------------------


def test_a_version_below_the_newest_is_released_if_the_policy_permits_it(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3", "1.4.4", "2.0.0")
    stage.commit(stage.workload("web", "1.4.2"))
    ask(stage, "release", version="1.4.3")
    assert stage.image_of("web") == "web:1.4.3"
    told = record(stage)
    assert (told.kind, told.actor, told.reason) == ("release", "Ann", "because")
    assert refused(stage, "release", version="2.0.0").code == "action/refused"
    assert refused(stage, "release", version="1.4.9").code == "action/absent"
    assert refused(stage, "release", version="1.4.2").code == "action/older"
    assert ask(stage, "release", version="1.4.3").commit is None


def test_what_the_policy_is_against_is_released_by_force_and_that_is_written_down(stage: Stage) -> None:
    stage.push("acme/web", "1.4.2", "1.4.3")
    stage.commit(stage.workload("web", "1.4.2", keys='semver: "1.x"\nmin_age: 2h'))
    why = refused(stage, "release", version="1.4.3")
    assert why.code == "action/refused"
    assert why.changes_at is not None
    ask(stage, "release", version="1.4.3", force=True, why="hotfix")
    assert stage.image_of("web") == "web:1.4.3"
    assert record(stage).reason == "forced past guard/min-age: hotfix"
    assert refused(stage, "release", version="1.4.9", force=True).code == "action/absent"


def test_moving_down_by_force_is_a_rollback_and_stays(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    ask(stage, "release", version="1.4.2", force=True)
    assert record(stage).kind == "rollback"
    assert record(stage).reason == "forced past tag/older: because"
    stage.lose_state()
    assert stage.outcomes()["web"].reason.code == "history/turned-away"
    ask(stage, "release", version="1.4.3", force=True)
    assert record(stage).kind == "release"
    assert stage.outcomes()["web"].status is Status.CURRENT


@pytest.mark.parametrize("stop", ["hold", "freeze"])
def test_a_person_who_stopped_releases_is_asked_first(stage: Stage, stop: str) -> None:
    released(stage, "1.4.2")
    stage.push("acme/web", "1.4.3")
    ask(stage, stop, "web" if stop == "hold" else "")
    assert "because" in refused(stage, "release", version="1.4.3").sentence
    ask(stage, "release", version="1.4.3", force=True)
    assert record(stage).reason == f"forced past guard/{stop}: because"


def test_a_group_is_released_together(stage: Stage) -> None:
    grouped(stage, "version")
    stage.push("acme/web", "1.2.0", "1.3.0")
    stage.push("acme/api", "1.3.0")
    assert refused(stage, "release", version="1.2.0").code == "action/refused"
    assert refused(stage, "release", version="1.2.0", force=True).code == "action/member"
    ask(stage, "release", version="1.3.0")
    assert (stage.image_of("web"), stage.image_of("api")) == ("web:1.3.0", "api:1.3.0")


def test_release_moves_one_member_of_a_loose_group(stage: Stage) -> None:
    grouped(stage, "any")
    stage.push("acme/web", "1.2.0")
    stage.push("acme/api", "1.2.0")
    ask(stage, "release", version="1.2.0")
    assert (stage.image_of("web"), stage.image_of("api")) == ("web:1.2.0", "api:1.1.0")


def test_a_site_that_lags_behind_is_told_and_brought_along_by_force(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2")
    stage.commit({"apps/web2.yaml": stage.repo.read("apps/web.yaml").replace("1.4.2", "1.4.1") + "\n"})
    why = refused(stage, "release", version="1.4.2")
    assert (why.code, "apps/web2.yaml" in why.sentence) == ("action/lagging", True)
    ask(stage, "release", version="1.4.2", force=True)
    assert ":1.4.2" in stage.repo.read("apps/web2.yaml")


def test_force_writes_down_all_that_it_goes_past(stage: Stage) -> None:
    stage.push("acme/web", "1.4.1")
    stage.push("acme/web", "2.0.0", age=timedelta(minutes=5))
    keys = 'semver: "1.x"\nmin_age: 3d\nplatforms: [linux/s390x]\nhold: {reason: audit}'
    stage.commit(stage.workload("web", "1.4.1", keys=keys))
    ask(stage, "release", version="2.0.0", force=True, why="hotfix")
    past, _, why = (record(stage).reason or "").partition(": ")
    assert why == "hotfix"
    codes = set(past.removeprefix("forced past ").split(", "))
    assert codes == {"tag/range", "guard/hold", "guard/platforms", "guard/min-age"}


def test_promote_is_for_workloads_that_come_after_another(stage: Stage) -> None:
    released(stage, "1.4.2")
    assert refused(stage, "promote").code == "action/no-upstream"


# -- the road -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hold", "rollback"])
def test_who_loses_the_race_computes_anew_on_the_new_tip(stage: Stage, kind: str) -> None:
    released(stage, "1.4.2", "1.4.3")
    other = {"apps/api.yaml": "# somebody else was first\n"}
    commit = stage.commit(other)
    stage.repo.set_tip(git(stage.repo.path, "rev-parse", "main~1"))
    lose_once(stage, commit)
    done = ask(stage, kind)
    assert git(stage.repo.path, "rev-parse", "main", "main~1").split() == [done.commit, commit]


def behind(stage: Stage, commit: str | None, base: str | None) -> None:
    """The branch is at `base`, and `commit` lands there before the next push does."""
    assert base is not None
    assert commit is not None
    stage.repo.set_tip(base)
    lose_once(stage, commit)


def test_who_loses_the_race_to_the_same_rollback_has_nothing_to_do(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    base = stage.repo.tip()
    first = act(stage.cycle, replace(ROLLBACK, actor="Bob"), Terms()).commit
    behind(stage, first, base)
    again = ask(stage, "rollback")
    assert again.nothing is not None
    assert again.nothing.code == "action/at-it"
    assert (stage.image_of("web"), stage.repo.tip()) == ("web:1.4.2", first)


def test_who_loses_the_race_to_a_release_does_not_take_that_one_back(stage: Stage) -> None:
    released(stage, "1.4.1", "1.4.2", "1.4.3")
    base = stage.repo.tip()
    stage.push("acme/web", "1.4.4")
    stage.run()
    newer = stage.repo.tip()
    stage.lose_state()
    behind(stage, newer, base)
    with pytest.raises(ActionError) as raised:
        ask(stage, "rollback")
    assert raised.value.reason.code == "action/moved-on"
    assert "1.4.4" in raised.value.reason.sentence
    assert stage.repo.tip() == newer


@pytest.mark.parametrize("kind", ["hold", "resume"])
def test_a_stop_that_somebody_declared_meanwhile_is_neither_replaced_nor_removed(
    stage: Stage, kind: str
) -> None:
    released(stage, "1.4.2")
    if kind == "resume":
        ask(stage, "hold", why="mine")
    base = stage.repo.tip()
    theirs = ask(stage, "hold", why="data loss").commit
    behind(stage, theirs, base)
    with pytest.raises(ActionError) as raised:
        ask(stage, kind, why="another")
    assert raised.value.reason.code == "action/stopped-meanwhile"
    assert "data loss" in raised.value.reason.sentence
    assert stage.repo.tip() == theirs


def lose_once(stage: Stage, commit: str) -> None:
    """The next push to the branch finds it moved to `commit`."""
    stage.repo.hook(
        "update",
        "test -f moved && exit 0\ntouch moved\nunset GIT_QUARANTINE_PATH\n"
        f"git update-ref refs/heads/main {commit}\n",
    )


def test_the_words_of_a_server_that_refuses_are_told(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    stage.repo.hook("pre-receive", "echo 'the branch is protected'; exit 1")
    why = refused(stage, "rollback")
    assert why.code == "action/push-refused"
    assert "the branch is protected" in why.sentence
    assert refused(stage, "freeze", "").code == "action/push-refused"


def test_a_dry_run_shows_the_commit_and_pushes_nothing(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    before = stage.repo.tip()
    shown = ask(stage, "rollback", dry_run=True)
    assert shown.commit is None
    assert stage.repo.tip() == before
    assert shown.change is not None
    (edit,) = shown.change.edits
    work = stage.folder / "work"
    git(stage.folder, "clone", "--quiet", str(stage.repo.path), str(work))
    git(work, "apply", "--index", "-", feed=edit.diff.encode())
    done = ask(stage, "rollback")
    assert done.message == shown.message
    assert git(work, "write-tree") == git(stage.repo.path, "rev-parse", "main^{tree}")


def test_a_repo_that_is_only_observed_is_not_written_to(stage: Stage) -> None:
    stage.settings["mode"] = "observe"
    stage.push("acme/web", "1.4.2")
    stage.commit(stage.workload("web", "1.4.2"))
    assert refused(stage, "hold").code == "action/observe-only"
    assert ask(stage, "hold", dry_run=True).change is not None


def test_a_pull_request_that_is_demanded_is_not_pushed_around(stage: Stage) -> None:
    stage.commit(stage.workload("web", "1.4.2", keys='semver: "1.x"\ndeliver: pull-request'))
    assert refused(stage, "hold", push=True).code == "action/pull-request-only"
    assert refused(stage, "hold", by_pull_request=True).code == "action/no-forge"
    assert refused(stage, "hold").code == "action/no-forge"
    assert refused(stage, "freeze", "", file="policies/web.yaml").code == "action/no-forge"
    stage.commit({"policies/web.yaml": stage.repo.read("policies/web.yaml") + "\n    semvr: x\n"})
    assert refused(stage, "hold").code == "action/no-forge"
    assert ask(stage, "freeze", "").commit is not None


def test_a_workload_of_a_broken_policy_is_not_moved(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    text = stage.repo.read("policies/web.yaml").replace("semver", "semvr") + "\n"
    stage.commit({"policies/web.yaml": text})
    for kind in ("rollback", "release", "reject"):
        assert refused(stage, kind, version="1.4.2").code == "action/invalid"
    assert refused(stage, "rollback", "nobody", error=UsageError).code == "usage/unknown-workload"


def test_templates_of_the_config_make_the_message(stage: Stage) -> None:
    released(stage, "1.4.2", "1.4.3")
    app = stage.app
    publisher = app.cycles["shop"].publisher
    assert publisher.templates is not None
    own = replace(publisher.templates, subject="[{{ kind }}] {{ workload }} by {{ actor }}")
    app.cycles["shop"].publisher = replace(publisher, templates=own)
    assert ask(stage, "rollback").message.startswith("[rollback] web by Ann\n")
