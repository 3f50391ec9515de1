"""Explaining: for every tag what became of it, by the very rules of the decision, with the time at which
that changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.deciding import (
    NOW,
    SEMVER,
    World,
    Wrote,
    decide_together,
    digest,
    past,
    sites,
    workload,
    workloads,
)

from automator.core.decide import Limits, Release, Stay
from automator.core.explain import Question, Verdict, explain
from automator.core.reference import Image, TagList
from automator.core.together import unshared

MINUTE = timedelta(minutes=1)


def verdicts(world: World) -> tuple[Verdict, ...]:
    decision = world.decide()
    return explain(Question(world.workload, world.sites, world.facts, NOW, decision), world.listed)


def told(world: World) -> dict[str, str]:
    """Tag -> code, newest first."""
    return {verdict.tag: verdict.reason.code for verdict in verdicts(world)}


def world(*lines: str, at: str = "1.4.2", tags: str, **more: object) -> World:
    return World(workload(SEMVER, *lines), sites(at), tags.split(), **more)  # type: ignore[arg-type]


def test_a_version_that_is_too_young_is_told_with_its_time_as_the_decision_tells_it() -> None:
    young = world("min_age: 30m", tags="1.4.1 1.4.2 1.4.3", since={"1.4.3": NOW - 12 * MINUTE})
    assert told(young) == {"1.4.3": "guard/min-age", "1.4.2": "tag/current", "1.4.1": "tag/older"}
    verdict = verdicts(young)[0]
    assert verdict.reason.sentence == "1.4.3 is 12 minutes old; min_age 30m; eligible at 10:18 UTC"
    assert verdict.reason == young.decide().reason  # type: ignore[union-attr]


GUARDED = {
    "step": (("step: patch",), {}, "1.5.0", "guard/step"),
    "platforms": (("platforms: [linux/s390x]",), {}, "1.5.0", "guard/platforms"),
    "window": (('windows: [{deny: "0 9 * * *", for: 3h}]',), {}, "1.5.0", "guard/window"),
    "rejected digest": ((f'reject: ["{digest("1.5.0")}"]',), {}, "1.5.0", "guard/rejected-digest"),
    "rejected": (('reject: ["1.5.0"]',), {}, "1.5.0", "tag/rejected"),
    "excluded": (('exclude: ["1.5.*"]',), {}, "1.5.0", "tag/excluded"),
    "outside": ((), {}, "2.0.0", "tag/range"),
    "pre-release": ((), {}, "1.5.0-rc.1", "tag/prerelease"),
    "unreadable": ((), {}, "edge", "tag/unreadable"),
    "rewound": ((), {"withdrawn": frozenset({"1.5.0"})}, "1.5.0", "history/rewound"),
}


@pytest.mark.parametrize("case", GUARDED)
def test_each_tag_is_dropped_by_the_first_rule_that_refuses_it(case: str) -> None:
    lines, more, tag, code = GUARDED[case]
    assert told(world(*lines, tags=f"1.4.2 {tag}", **more))[tag] == code


def test_rules_come_in_the_order_of_their_cost() -> None:
    """What several rules refuse is told by the first of them."""
    owned = sites("1.4.2")
    turned = {owned[0].file: past(owned[0], "1.4.2", Wrote("1.5.0", ours=True), "1.4.2")}
    keys = ("min_age: 1h", "platforms: [linux/s390x]", "step: patch")
    every = world(*keys, 'exclude: ["1.5.0"]', tags="1.4.2 1.5.0", pasts=turned)
    assert told(every)["1.5.0"] == "tag/excluded"
    every = world(*keys, tags="1.4.2 1.5.0", pasts=turned)
    every.decide()
    assert told(every)["1.5.0"] == "history/turned-away"
    assert told(world(*keys, tags="1.4.2 1.5.0"))["1.5.0"] == "guard/step"
    assert told(world(*keys[:2], tags="1.4.2 1.5.0"))["1.5.0"] == "guard/min-age"
    assert told(world(keys[1], tags="1.4.2 1.5.0"))["1.5.0"] == "guard/platforms"


def test_an_older_one_that_is_taken_meanwhile_stands_below_the_one_that_waits() -> None:
    since = {"1.4.5": NOW - MINUTE, "1.4.4": NOW - 60 * MINUTE}
    both = world("min_age: 30m", tags="1.4.2 1.4.3 1.4.4 1.4.5", since=since)
    assert told(both) == {
        "1.4.5": "guard/min-age",
        "1.4.4": "tag/chosen",
        "1.4.3": "tag/lower",
        "1.4.2": "tag/current",
    }


def test_an_urgent_version_is_chosen_and_says_nothing_of_the_others() -> None:
    keys = ("min_age: 1d", 'urgent: {version: "1.4.3", reason: CVE}')
    assert told(world(*keys, tags="1.4.2 1.4.3 1.4.4")) == {
        "1.4.4": "guard/min-age",
        "1.4.3": "tag/chosen",
        "1.4.2": "tag/current",
    }


def test_a_downgrade_is_explained_from_both_sides() -> None:
    down = world("downgrade: true", at="2.1.0", tags="1.8.0 1.9.0 2.0.0 2.1.0 2.2.0")
    assert told(down) == {
        "2.2.0": "tag/range",
        "2.1.0": "tag/range",
        "2.0.0": "tag/range",
        "1.9.0": "tag/chosen",
        "1.8.0": "tag/lower",
    }


def test_without_downgrade_older_versions_are_just_older() -> None:
    outside = world(at="2.1.0", tags="1.9.0 2.1.0")
    assert told(outside) == {"2.1.0": "tag/range", "1.9.0": "tag/older"}


def test_a_hold_is_the_reason_of_every_version_that_might_have_gone() -> None:
    held = world("hold: {reason: audit}", tags="1.4.1 1.4.2 1.4.3 2.0.0")
    assert told(held) == {
        "2.0.0": "tag/range",
        "1.4.3": "guard/hold",
        "1.4.2": "tag/current",
        "1.4.1": "tag/older",
    }


OLD, NEW = digest("old"), digest("new")


@pytest.mark.parametrize(
    ("at", "keys", "code", "kept"),
    [
        (f"7@{OLD}", (), "tag/chosen", True),
        (f"7@{OLD}", ("min_age: 1h",), "guard/min-age", False),
        (f"7@{OLD}", ("hold: {reason: audit}",), "guard/hold", False),
        (f"7@{NEW}", (), "current/followed", True),
    ],
)
def test_a_followed_tag_is_explained_alone(at: str, keys: tuple[str, ...], code: str, kept: bool) -> None:
    follows = World(workload('follow: "7"', *keys), sites(at), (), {"7": Image(NEW)})
    decision = follows.decide()
    tags = TagList(follows.workload.repository, ("7",), NOW, "")
    (verdict,) = explain(Question(follows.workload, follows.sites, follows.facts, NOW, decision), tags)
    assert verdict.reason.code == code
    assert verdict.kept is kept


def test_what_another_member_of_the_group_cannot_have_is_told() -> None:
    web, api = workloads(dict.fromkeys(("web", "api"), f"{SEMVER}\ngroup: shop"))
    members = [
        World(web, sites("1.4.0"), ["1.4.0", "1.5.0", "1.6.0"]),
        World(api, sites("1.4.0", name="api"), ["1.4.0", "1.5.0"]),
    ]
    decision = decide_together(members)["web"]
    assert isinstance(decision, Release)
    assert web.group is not None
    stops = unshared(web.group, [m.member for m in members], "web", NOW, Limits())
    found = explain(
        Question(web, members[0].sites, members[0].facts, NOW, decision, stops), members[0].listed
    )
    assert {verdict.tag: verdict.reason.code for verdict in found} == {
        "1.6.0": "group/no-common",
        "1.5.0": "tag/chosen",
        "1.4.0": "tag/current",
    }


def test_a_version_that_waits_for_another_member_says_so() -> None:
    web, api = workloads({"web": f"{SEMVER}\ngroup: shop", "api": f"{SEMVER}\ngroup: shop\nmin_age: 1h"})
    members = [
        World(web, sites("1.4.0"), ["1.4.0", "1.5.0"]),
        World(api, sites("1.4.0", name="api"), ["1.4.0", "1.5.0"]),
    ]
    decision = decide_together(members)["web"]
    assert isinstance(decision, Stay)
    found = explain(Question(web, members[0].sites, members[0].facts, NOW, decision), members[0].listed)
    assert found[0].reason.code == "group/member-stops"
    assert "eligible at 11:00 UTC" in found[0].reason.sentence
