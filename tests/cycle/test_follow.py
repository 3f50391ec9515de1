"""`follow` in whole cycles: one moving tag, its digest pinned, one question for each turn."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.gitserver import git
from parts.platforms import push_platforms
from parts.stage import Stage

from automator.core.record import parse
from automator.core.report import Outcome
from automator.cycle.run import Trigger
from automator.reasons import Status

FOLLOW = 'follow: "7"'
SOME = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x", "linux/riscv64")


def serve(stage: Stage, which: int) -> str:
    """The registry serves another image under 7: one for each number; its digest."""
    return push_platforms(stage.host, "acme/cache", "7", SOME[which])


def begin(stage: Stage, *keys: str, at: str = "7") -> str:
    return stage.commit(stage.workload("cache", at, keys="\n".join((FOLLOW, *keys))))


def cache(stage: Stage, **more: object) -> Outcome:
    return stage.outcomes(**more)["cache"]


def asked(stage: Stage) -> list[str]:
    """What automator asked the registry so far."""
    return [
        line.partition(" /v2/acme/")[2]
        for line in stage.registry.log
        if line.startswith(("GET", "HEAD")) and "/blobs/" not in line
    ]


def test_the_digest_behind_the_tag_is_pinned_where_there_was_none(stage: Stage) -> None:
    first = serve(stage, 0)
    begin(stage)
    outcome = cache(stage)
    assert (outcome.status, outcome.current, outcome.target) == (Status.RELEASED, "7", f"7@{first}")
    assert stage.image_of("cache") == f"cache:7@{first}"
    assert stage.numstat("main") == ["1\t1\tapps/cache.yaml"]
    record = parse(git(stage.repo.path, "show", "--no-patch", "--format=%B", "main"))
    assert record is not None
    assert [(m.before, m.after) for m in record.members] == [("7", f"7@{first}")]


def test_a_new_digest_is_one_commit_and_then_there_is_nothing_to_do(stage: Stage) -> None:
    first = serve(stage, 0)
    begin(stage, at=f"7@{first}")
    assert cache(stage).reason.code == "current/followed"
    second = serve(stage, 1)
    before = stage.repo.tip()
    released = cache(stage)
    assert released.status is Status.RELEASED
    assert f"{first[:19]} -> {second[:19]} in " in released.reason.sentence
    assert stage.image_of("cache") == f"cache:7@{second}"
    assert cache(stage).reason.code == "current/followed"
    assert git(stage.repo.path, "rev-list", "--count", f"{before}..main") == "1"


def test_a_turn_costs_one_question_and_no_tag_list(stage: Stage) -> None:
    begin(stage, at=f"7@{serve(stage, 0)}")
    stage.run()
    assert [line for line in asked(stage) if "tags/list" in line] == []
    before = asked(stage)
    report = stage.run(trigger=Trigger("interval"))
    assert [o.status for o in report.outcomes] == [Status.CURRENT]
    assert asked(stage)[len(before) :] == ["cache/manifests/7 200"]
    assert stage.registry.log[-1].startswith("HEAD ")


def test_it_is_asked_at_its_turn_and_not_in_between(stage: Stage) -> None:
    begin(stage, at=f"7@{serve(stage, 0)}")
    stage.cycle.observer.interval = lambda _host: timedelta(minutes=30)
    stage.run()
    second = serve(stage, 1)
    before = asked(stage)
    for _ in range(29):
        stage.run(trigger=Trigger("interval"))
    assert asked(stage) == before
    stage.run(trigger=Trigger("interval"))
    assert stage.image_of("cache") == f"cache:7@{second}"


@pytest.mark.parametrize("lost", [False, True], ids=["state kept", "state lost"])
def test_a_digest_that_was_left_never_comes_back_unless_accepted(stage: Stage, lost: bool) -> None:
    first = serve(stage, 0)
    begin(stage)
    stage.run()
    serve(stage, 1)
    stage.run()
    serve(stage, 0)
    if lost:
        stage.lose_state()
    back = cache(stage)
    assert (back.status, back.reason.code) == (Status.HELD, "history/digest-left")
    stage.commit(
        {"policies/cache.yaml": stage.repo.read("policies/cache.yaml") + f'\n    accept: ["{first}"]\n'}
    )
    assert cache(stage).status is Status.RELEASED
    assert stage.image_of("cache") == f"cache:7@{first}"


def test_a_digest_left_long_ago_is_found_beyond_our_last_release(stage: Stage) -> None:
    """A shorter history ends at our last release, which proves nothing about digests."""
    serve(stage, 0)
    begin(stage)
    stage.run()
    serve(stage, 1)
    stage.run()
    for i in range(150):
        stage.commit({"notes.md": f"{i}\n"}, f"Note {i}")
    third = serve(stage, 2)
    stage.run()
    assert stage.image_of("cache") == f"cache:7@{third}"
    serve(stage, 0)
    stage.lose_state()
    assert cache(stage).reason.code == "history/digest-left"


def test_a_persons_revert_is_kept_until_the_tag_moves_on(stage: Stage) -> None:
    first = serve(stage, 0)
    begin(stage, at=f"7@{first}")
    stage.run()
    serve(stage, 1)
    commit = cache(stage).commit
    assert commit is not None
    stage.revert(commit)
    assert cache(stage).reason.code == "history/digest-left"
    assert stage.image_of("cache") == f"cache:7@{first}"
    third = serve(stage, 2)
    assert cache(stage).status is Status.RELEASED
    assert stage.image_of("cache") == f"cache:7@{third}"


def test_a_digest_that_the_branch_was_rewound_past_is_held_until_accepted(stage: Stage) -> None:
    first = serve(stage, 0)
    before = begin(stage, at=f"7@{first}")
    second = serve(stage, 1)
    assert cache(stage).status is Status.RELEASED
    stage.repo.set_tip(before)
    for _ in range(2):
        rewound = cache(stage)
        assert (rewound.status, rewound.reason.code) == (Status.HELD, "history/rewound")
    assert stage.image_of("cache") == f"cache:7@{first}"
    begin(stage, f'accept: ["{second}"]', at=f"7@{first}")
    assert cache(stage).status is Status.RELEASED
    assert cache(stage).reason.code == "current/followed"


def test_other_tags_of_the_image_are_left_alone(stage: Stage) -> None:
    first = serve(stage, 0)
    begin(stage)
    other = f"image: {stage.host}/acme/cache:6\n"
    stage.commit({"apps/other.yaml": other})
    assert cache(stage).status is Status.RELEASED
    assert stage.image_of("cache") == f"cache:7@{first}"
    assert stage.repo.read("apps/other.yaml") == other.rstrip("\n")


@pytest.mark.parametrize(("followed", "moves"), [("latest", True), ("7", False)])
def test_a_reference_that_names_no_version_is_at_latest(stage: Stage, followed: str, moves: bool) -> None:
    served = push_platforms(stage.host, "acme/cache", followed, "linux/amd64")
    field = 'where: {field: "spec.template.spec.containers[app].image"}'
    files = stage.workload("cache", "", keys=f'follow: "{followed}"\n{field}')
    files["apps/cache.yaml"] = files["apps/cache.yaml"].replace("acme/cache:", "acme/cache")
    stage.commit(files)
    outcome = cache(stage)
    if moves:
        assert outcome.status is Status.RELEASED
        assert stage.image_of("cache") == f"cache:latest@{served}"
        assert cache(stage).reason.code == "current/followed"
    else:
        assert outcome.reason.code == "follow/elsewhere"
        assert "is at latest" in outcome.reason.sentence


def test_min_age_counts_for_the_digest_that_stays(stage: Stage) -> None:
    first = serve(stage, 0)
    begin(stage, "min_age: 1h", at=f"7@{first}")
    stage.run()
    start = stage.now
    serve(stage, 1)
    assert cache(stage).reason.changes_at == start + timedelta(hours=1)
    stage.now = start + timedelta(minutes=50)
    third = serve(stage, 2)
    moved = cache(stage)
    assert moved.reason.changes_at == start + timedelta(minutes=110)
    stage.now = start + timedelta(minutes=60)
    assert cache(stage, trigger=Trigger("due")).status is Status.WAITING
    stage.now = start + timedelta(minutes=110)
    assert cache(stage, trigger=Trigger("due")).status is Status.RELEASED
    assert stage.image_of("cache") == f"cache:7@{third}"


def test_a_tag_that_is_not_there_waits_and_a_dead_registry_fails(stage: Stage) -> None:
    stage.push("acme/cache", "6")
    begin(stage)
    assert (cache(stage).status, cache(stage).reason.code) == (Status.WAITING, "tag/gone")
    stage.registry.stop()
    assert cache(stage).status is Status.FAILED


def test_a_tag_that_was_looked_up_long_ago_is_pinned_by_what_is_served_now(stage: Stage) -> None:
    begin(stage, "hold: {reason: audit}", at=f"7@{serve(stage, 0)}")
    assert cache(stage).reason.code == "guard/hold"
    second = serve(stage, 1)
    begin(stage, at="7")
    assert cache(stage).status is Status.RELEASED
    assert stage.image_of("cache") == f"cache:7@{second}"


def test_two_tags_of_one_image_are_followed_side_by_side(stage: Stage) -> None:
    digests = {tag: push_platforms(stage.host, "acme/cache", tag, SOME[i]) for i, tag in enumerate("67")}
    six, seven = stage.workload("cache", "6"), stage.workload("cache", "7", keys=FOLLOW)
    policy = seven["policies/cache.yaml"]
    stage.commit(
        {
            "apps/old.yaml": six["apps/cache.yaml"],
            "apps/new.yaml": seven["apps/cache.yaml"],
            "policies/cache.yaml": policy,
            "policies/old.yaml": policy.replace("  cache:", "  cache-old:").replace('"7"', '"6"'),
        }
    )
    found = {name: outcome.target for name, outcome in stage.outcomes().items()}
    assert found == {"cache": f"7@{digests['7']}", "cache-old": f"6@{digests['6']}"}


def test_a_tag_that_stands_nowhere_is_told_as_such(stage: Stage) -> None:
    serve(stage, 0)
    begin(stage, at="8")
    outcome = cache(stage)
    assert (outcome.status, outcome.reason.code) == (Status.HELD, "follow/none")
