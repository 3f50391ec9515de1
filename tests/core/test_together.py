"""Groups: members move together, to one version or each to its own, or none of them moves."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import timedelta

import pytest
from parts.deciding import (
    NOW,
    World,
    Wrote,
    code,
    decide_together,
    digest,
    past,
    sites,
    told,
    workloads,
)

from automator.core.decide import Decision, Release, Stay, Unavailable
from automator.core.reference import Image
from automator.core.together import Member, decide_group
from automator.reasons import Reason, Status, reason

GROUP = "group: shop"
ANY = "group: {name: shop, match: any}"
RANGE = 'semver: ">=1.0 <2"'


def member(name: str, at: str, tags: str, *lines: str, group: str = GROUP, **more: object) -> World:
    keys = "\n".join(
        (group, *(lines if any("semver" in line or "order" in line for line in lines) else (RANGE, *lines)))
    )
    (found,) = workloads({name: keys})
    return World(found, sites(*at.split(), name=name), tags.split(), **more)  # type: ignore[arg-type]


def outcomes(*worlds: World, blocked: Mapping[str, Reason] | None = None) -> dict[str, str]:
    return {name: told(found) for name, found in decide_together(worlds, blocked=blocked).items()}


def releases(found: Mapping[str, Decision]) -> list[Release]:
    return [decision for decision in found.values() if isinstance(decision, Release)]


# -- one version ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("web", "api", "to"),
    [
        ("1.4.0 1.5.0 1.6.0", "1.4.0 1.5.0 1.6.0", "1.6.0"),
        ("1.4.0 1.5.0 1.6.0", "1.4.0 1.5.0", "1.5.0"),
        ("1.4.0 1.6.0", "1.4.0 1.5.0 1.6.0 1.7.0", "1.6.0"),
        ("1.5.0 2.0.0", "1.5.0 2.0.0", "1.5.0"),
        ("v1.5.0", "1.5.0", "1.5.0"),
    ],
)
def test_all_go_to_the_best_version_that_every_member_has(web: str, api: str, to: str) -> None:
    found = decide_together([member("web", "1.4.0", web), member("api", "1.4.0", api)])
    assert [release.tag.removeprefix("v") for release in releases(found)] == [to, to]
    assert {release.together for release in releases(found)} == {"shop"}


def test_without_a_common_version_nobody_moves_and_is_told_so() -> None:
    worlds = member("web", "1.4.0", "1.5.0"), member("api", "1.4.0", "1.6.0")
    found = decide_together(worlds)
    assert {name: (code(f), f.status, f.candidate) for name, f in found.items() if isinstance(f, Stay)} == {
        "web": ("group/no-common", Status.HELD, "1.5.0"),
        "api": ("group/no-common", Status.HELD, "1.6.0"),
    }
    assert [world.looked_up for world in worlds] == [[], []]


def test_who_is_at_the_version_already_stays_current_while_the_others_catch_up() -> None:
    ahead = member("web", "1.5.0", "1.4.0 1.5.0 1.6.0")
    assert outcomes(ahead, member("api", "1.4.0", "1.4.0 1.5.0")) == {
        "web": "current/newest",
        "api": "to 1.5.0",
    }


def test_a_version_below_what_a_member_has_is_no_common_one() -> None:
    assert outcomes(member("web", "1.6.0", "1.5.0 1.6.0"), member("api", "1.4.0", "1.4.0 1.5.0")) == {
        "web": "current/newest",
        "api": "group/no-common",
    }


def test_every_member_keeps_its_own_filters_and_guards() -> None:
    tags = "1.4.0 1.4.9 1.5.0 1.6.0"
    assert outcomes(
        member("web", "1.4.0", tags, 'exclude: ["1.6.*"]'),
        member("api", "1.4.0", tags, "step: patch"),
        member("job", "1.4.0", tags),
    ) == {"web": "to 1.4.9", "api": "to 1.4.9", "job": "to 1.4.9"}


def test_the_one_that_waits_is_told_and_the_others_wait_for_it() -> None:
    young = member("web", "1.4.0", "1.5.0", "min_age: 1h", since={"1.5.0": NOW - timedelta(minutes=20)})
    found = decide_together([young, member("api", "1.4.0", "1.5.0")])
    assert {name: told(f) for name, f in found.items()} == {
        "web": "guard/min-age",
        "api": "group/member-stops",
    }
    other = found["api"]
    assert isinstance(other, Stay)
    assert (other.status, other.candidate) == (Status.WAITING, "1.5.0")
    assert other.reason.changes_at == NOW + timedelta(minutes=40)
    assert "1.5.0 is 20 minutes old" in other.reason.sentence


def test_of_two_that_wait_the_last_one_is_told() -> None:
    """Before that nothing can happen."""
    tags = "1.4.0 1.5.0"
    found = decide_together(
        [member("api", "1.4.0", tags, "min_age: 1h"), member("web", "1.4.0", tags, "min_age: 2h")]
    )
    assert {name: told(f) for name, f in found.items()} == {
        "api": "group/member-stops",
        "web": "guard/min-age",
    }
    assert {f.reason.changes_at for f in found.values() if isinstance(f, Stay)} == {NOW + timedelta(hours=2)}


def test_no_time_is_told_where_time_alone_changes_nothing() -> None:
    tags = "1.4.0 1.5.0"
    images = {"1.5.0": Image(digest("1.5.0"), platforms=("linux/amd64",))}
    since = {"1.5.0": NOW - timedelta(hours=2)}
    lacking = member("api", "1.4.0", tags, "platforms: [linux/arm64]", images=images, since=since)
    found = decide_together([lacking, member("web", "1.4.0", tags, "min_age: 2h")])
    assert {name: told(f) for name, f in found.items()} == {
        "api": "guard/platforms",
        "web": "group/member-stops",
    }
    assert {f.reason.changes_at for f in found.values() if isinstance(f, Stay)} == {None}


@pytest.mark.parametrize("swapped", [False, True])
def test_whatever_their_names_the_member_that_time_does_not_help_is_told(swapped: bool) -> None:
    names = ("web", "api") if swapped else ("api", "web")
    tags = "1.4.0 1.5.0"
    lacking = member(names[0], "1.4.0", tags, "step: patch")
    assert outcomes(lacking, member(names[1], "1.4.0", tags, "min_age: 2h")) == {
        names[0]: "guard/step",
        names[1]: "group/member-stops",
    }


# -- who is at the version already ---------------------------------------------------------------------


def test_a_version_that_a_members_own_policy_refuses_is_no_common_one() -> None:
    tags = "1.0.0 1.9.0 2.0.0"
    worlds = (
        member("api", "2.0.0", tags, 'semver: "<2"', "downgrade: true"),
        member("web", "1.0.0", tags, 'semver: ">=1"'),
    )
    assert outcomes(*worlds) == {"api": "to 1.9.0", "web": "to 1.9.0"}


@pytest.mark.parametrize("refused", ['reject: ["1.5.0"]', 'exclude: ["1.5.*"]'])
def test_nobody_follows_a_member_to_what_its_own_policy_refuses(refused: str) -> None:
    api = member("api", "1.5.0", "1.4.0 1.5.0 1.6.0", refused)
    assert outcomes(api, member("web", "1.4.0", "1.4.0 1.5.0")) == {
        "api": "group/no-common",
        "web": "group/no-common",
    }


def test_a_member_whose_version_no_list_has_is_caught_up_with() -> None:
    assert outcomes(member("api", "1.5.0", "1.4.0"), member("web", "1.4.0", "1.5.0")) == {
        "api": "current/newest",
        "web": "to 1.5.0",
    }


CLOSED = 'windows: [{deny: "0 9 * * *", for: 3h}]'


@pytest.mark.parametrize("group", [GROUP, ANY], ids=["version", "any"])
def test_the_windows_of_who_is_at_the_version_already_stop_the_others(group: str) -> None:
    def worlds() -> tuple[World, World]:
        return (
            member("api", "1.5.0", "1.5.0", CLOSED, group=group),
            member("web", "1.4.0", "1.5.0", group=group),
        )

    found = decide_together(worlds())
    assert {name: told(f) for name, f in found.items()} == {
        "api": "current/newest",
        "web": "group/member-stops",
    }
    web = found["web"]
    assert isinstance(web, Stay)
    assert (web.status, web.reason.changes_at) == (Status.WAITING, NOW + timedelta(hours=2))
    later = decide_together(worlds(), now=NOW + timedelta(hours=2))
    assert {name: told(f) for name, f in later.items()} == {"api": "current/newest", "web": "to 1.5.0"}


def test_the_windows_of_who_is_at_the_version_and_might_go_on_stop_the_others() -> None:
    worlds = member("api", "1.5.0", "1.5.0 1.6.0", CLOSED), member("web", "1.4.0", "1.5.0")
    assert outcomes(*worlds) == {"api": "guard/window", "web": "group/member-stops"}


def test_who_is_at_the_urgent_version_has_no_window_for_it() -> None:
    urgent = 'urgent: {version: "1.5.0", reason: CVE-2026-1}'
    worlds = member("api", "1.5.0", "1.5.0", CLOSED, urgent), member("web", "1.4.0", "1.5.0")
    assert outcomes(*worlds) == {"api": "current/newest", "web": "to 1.5.0"}


MORNING = 'windows: [{allow: "0 9 * * *", for: 2h}]'
NOON = 'windows: [{allow: "30 10 * * *", for: 2h}]'


def test_windows_intersect() -> None:
    for at, open_to_both in (
        (NOW, False),
        (NOW + timedelta(minutes=40), True),
        (NOW + timedelta(minutes=70), False),
    ):
        worlds = [
            member("web", "1.4.0", "1.5.0", MORNING, now=at),
            member("api", "1.4.0", "1.5.0", NOON, now=at),
        ]
        found = decide_together(worlds, now=at)
        assert len(releases(found)) == (2 if open_to_both else 0), at


def past_of(name: str, *values: str | Wrote) -> dict[str, object]:
    (site,) = sites(*(v for v in values[:1] if isinstance(v, str)), name=name)
    return {"pasts": {site.file: past(site, *values)}}


STOPPED = {
    "held": (("hold: {reason: audit}",), {}, "guard/hold"),
    "outside its range": (('semver: ">=1.0 <1.4"',), {}, "current/outside"),
    "too far": (("step: patch",), {}, "guard/step"),
    "turned away": ((), past_of("api", "1.4.0", Wrote("1.5.0", ours=True), "1.4.0"), "history/turned-away"),
    "rewound": ((), {"withdrawn": frozenset({"1.5.0"})}, "history/rewound"),
    "without the platform": (("platforms: [linux/s390x]",), {}, "guard/platforms"),
    "rejected digest": ((f'reject: ["{digest("1.5.0")}"]',), {}, "guard/rejected-digest"),
    "window closed": (('windows: [{deny: "0 9 * * *", for: 3h}]',), {}, "guard/window"),
}


@pytest.mark.parametrize("group", [GROUP, ANY], ids=["version", "any"])
@pytest.mark.parametrize("case", STOPPED)
def test_one_member_that_cannot_holds_all(case: str, group: str) -> None:
    lines, more, why = STOPPED[case]
    stopped = member("api", "1.4.0", "1.4.0 1.3.0 1.5.0", *lines, group=group, **more)
    found = decide_together([member("web", "1.4.0", "1.5.0", group=group), stopped])
    assert {name: told(f) for name, f in found.items()} == {"web": "group/member-stops", "api": why}
    web = found["web"]
    assert isinstance(web, Stay)
    assert "api" in web.reason.sentence
    assert found["api"].reason.sentence in web.reason.sentence  # type: ignore[union-attr]


@pytest.mark.parametrize("group", [GROUP, ANY], ids=["version", "any"])
def test_a_member_that_cannot_be_decided_holds_all(group: str) -> None:
    why = reason("policy/no-choice", place="policies/api.yaml:3", key="workloads.api")
    found = decide_together([member("web", "1.4.0", "1.5.0", group=group)], blocked={"api": why})
    web = found["web"]
    assert isinstance(web, Stay)
    assert (code(web), web.status) == ("group/member-stops", Status.HELD)
    assert why.sentence in web.reason.sentence
    current = decide_together([member("web", "1.5.0", "1.5.0", group=group)], blocked={"api": why})
    assert code(current["web"]) == "current/newest"


@pytest.mark.parametrize("group", [GROUP, ANY], ids=["version", "any"])
def test_while_a_person_holds_one_member_nobody_is_asked_for_anything(group: str) -> None:
    held = member("api", "1.4.0", "1.5.0", "hold: {reason: audit}", group=group)
    pinned = f"1.5.0@{digest('1.5.0')}"
    worlds = [
        held,
        member("web", "1.4.0", "1.5.0", group=group),
        member("job", "1.5.0", "1.5.0", group=group),
        member("pin", pinned, "1.5.0", group=group),
        member("cron", "latest", "1.5.0", group=group),
        member("new", "main-1", "main-1 main-2", 'glob: "main-*"', "order: newest", group=group),
    ]
    assert outcomes(*worlds) == {
        "api": "guard/hold",
        "web": "group/member-stops",
        "job": "current/newest",
        "pin": "current/newest",
        "cron": "group/member-stops",
        "new": "group/member-stops",
    }
    assert [world.asked for world in worlds] == [[]] * len(worlds)


@pytest.mark.parametrize("group", [GROUP, ANY], ids=["version", "any"])
def test_of_two_people_who_hold_members_the_one_who_does_so_longer_is_told(group: str) -> None:
    until = 'hold: {reason: audit, until: "2026-11-21T%s:00:00Z"}'
    found = decide_together(
        [
            member("api", "1.4.0", "1.5.0", until % 12, group=group),
            member("job", "1.4.0", "1.5.0", until % 14, group=group),
            member("web", "1.4.0", "1.5.0", group=group),
        ]
    )
    assert {name: told(f) for name, f in found.items()} == {
        "api": "guard/hold",
        "job": "guard/hold",
        "web": "group/member-stops",
    }
    web = found["web"]
    assert isinstance(web, Stay)
    assert web.reason.changes_at == NOW + timedelta(hours=4)


@pytest.mark.parametrize("group", [GROUP, ANY], ids=["version", "any"])
@pytest.mark.parametrize("waiting", [False, True])
def test_a_member_whose_registry_fails_holds_all(waiting: bool, group: str) -> None:
    down = Unavailable(reason("registry/late", image="x", seconds="30"), waiting=waiting)
    web, api = member("web", "1.4.0", "1.5.0", group=group), member("api", "1.4.0", "1.5.0", group=group)
    assert web.workload.group is not None
    members = [web.member, Member(api.workload, api.sites, down, api.facts)]
    found: dict[str, object] = {}
    for _ in range(4):
        found = dict(decide_group(web.workload.group, members, {}, NOW))
        for name, need in found.items():
            if name == "web" and not isinstance(need, (Stay, Release)):
                web.answer(need)  # type: ignore[arg-type]
        members[0] = web.member
    stays = {name: stay for name, stay in found.items() if isinstance(stay, Stay)}
    assert {name: stay.reason.code for name, stay in stays.items()} == {
        "web": "group/member-stops",
        "api": "registry/late",
    }
    assert stays["api"].status is (Status.WAITING if waiting else Status.FAILED)
    assert stays["web"].status is (Status.WAITING if waiting else Status.HELD)


def test_an_answer_that_lacks_for_the_best_version_does_not_fall_back_to_another() -> None:
    """Without it nobody knows which is the best; a better one that is only young changes nothing."""
    tags = "1.5.0 1.6.0"
    young = {"1.6.0": NOW - timedelta(minutes=1), "1.5.0": NOW - timedelta(days=2)}
    web = member("web", "1.4.0", tags, "min_age: 1h", since=young)
    api = member("api", "1.4.0", tags)
    failed = Unavailable(reason("registry/late", image="x", seconds="30"))
    api.images = {"1.5.0": failed}
    outcome = decide_together([web, api])["api"]
    assert isinstance(outcome, Stay)
    assert (outcome.status, outcome.reason) == (Status.FAILED, failed.reason)


def test_a_tag_that_is_gone_for_one_is_passed_over_by_all() -> None:
    tags = "1.5.0 1.6.0"
    web, api = member("web", "1.4.0", tags), member("api", "1.4.0", tags)
    api.images = {"1.6.0": Unavailable(Reason("registry/not-found", (("x", "y"),)))}
    assert outcomes(web, api) == {"web": "to 1.5.0", "api": "to 1.5.0"}


def test_what_cannot_be_ordered_may_join() -> None:
    assert outcomes(member("web", "latest", "1.5.0"), member("api", "1.4.0", "1.5.0 1.6.0")) == {
        "web": "to 1.5.0",
        "api": "to 1.5.0",
    }


def test_under_newest_the_same_tag_is_the_same_version() -> None:
    lines = ('glob: "main-*"', "order: newest")
    tags = "main-1 main-2 main-3"
    found = decide_together([member(name, "main-1", tags, *lines) for name in ("web", "api")])
    assert len({told(decision) for decision in found.values()}) == 1


def test_a_person_turned_away_a_version_at_one_member_the_next_one_is_taken_by_all() -> None:
    turned = past_of("api", "1.4.0", Wrote("1.5.0", ours=True), "1.4.0")
    tags = "1.5.0 1.6.0"
    assert outcomes(member("web", "1.4.0", tags), member("api", "1.4.0", tags, **turned)) == {
        "web": "to 1.6.0",
        "api": "to 1.6.0",
    }


def test_a_version_that_nobody_wants_is_looked_up_for_nobody() -> None:
    tags = " ".join(f"1.5.{i}" for i in range(30))
    worlds = member("web", "1.4.0", tags, "step: patch"), member("api", "1.4.0", tags)
    assert outcomes(*worlds)["web"] == "guard/step"
    assert [world.looked_up for world in worlds] == [[], []]


def test_while_two_clocks_run_older_versions_are_not_asked_for() -> None:
    """As with one workload: a tag that is pushed again and again keeps no other from being looked at."""
    tags = " ".join(f"1.5.{i}" for i in range(30))
    worlds = member("web", "1.4.0", tags, "min_age: 1h"), member("api", "1.4.0", tags)
    assert outcomes(*worlds) == {"web": "guard/min-age", "api": "group/member-stops"}
    assert worlds[0].looked_up == ["1.5.29", "1.5.28"]
    assert set(worlds[1].looked_up) <= {"1.5.29", "1.5.28"}


def test_a_guard_that_refuses_everything_looks_at_no_more_versions_than_allowed() -> None:
    tags = " ".join(f"1.5.{i}" for i in range(20))
    worlds = member("web", "1.4.0", tags, "platforms: [linux/s390x]"), member("api", "1.4.0", tags)
    found = decide_together(worlds, lookups=6)
    assert {told(decision) for decision in found.values()} == {
        "facts/too-many-candidates",
        "group/member-stops",
    }
    assert [world.looked_up for world in worlds] == [[f"1.5.{i}" for i in range(19, 13, -1)]] * 2


# -- each to its own -----------------------------------------------------------------------------------


def test_any_moves_each_to_its_own_together() -> None:
    found = decide_together(
        [member("web", "1.4.0", "1.5.0", group=ANY), member("api", "1.1.0", "1.7.0", group=ANY)]
    )
    assert {name: told(f) for name, f in found.items()} == {"web": "to 1.5.0", "api": "to 1.7.0"}
    assert {release.together for release in releases(found)} == {"shop"}


def test_any_moves_the_one_that_can_while_the_others_are_current() -> None:
    worlds = member("web", "1.4.0", "1.5.0", group=ANY), member("api", "1.7.0", "1.7.0", group=ANY)
    assert outcomes(*worlds) == {"web": "to 1.5.0", "api": "current/newest"}


def test_any_tells_all_of_the_stop_that_ends_last() -> None:
    """Before that nothing can happen."""
    tags = "1.4.0 1.5.0"
    found = decide_together(
        [
            member("api", "1.4.0", tags, "min_age: 1h", group=ANY),
            member("job", "1.4.0", tags, "min_age: 30m", group=ANY),
            member("web", "1.4.0", tags, group=ANY),
        ]
    )
    assert {name: told(f) for name, f in found.items()} == {
        "api": "guard/min-age",
        "job": "group/member-stops",
        "web": "group/member-stops",
    }
    assert {f.reason.changes_at for f in found.values() if isinstance(f, Stay)} == {NOW + timedelta(hours=1)}


def test_any_tells_no_time_where_time_alone_changes_nothing() -> None:
    tags = "1.4.0 1.5.0"
    found = decide_together(
        [
            member("api", "1.4.0", tags, "min_age: 1h", group=ANY),
            member("job", "1.4.0", tags, "step: patch", group=ANY),
        ]
    )
    assert {name: told(f) for name, f in found.items()} == {
        "api": "group/member-stops",
        "job": "guard/step",
    }
    assert {(f.status, f.reason.changes_at) for f in found.values() if isinstance(f, Stay)} == {
        (Status.HELD, None)
    }


def test_any_may_hold_a_followed_tag_beside_versions() -> None:
    (follows,) = workloads({"cache": f'follow: "7"\n{ANY}'})
    cache = World(follows, sites("7", name="cache"), (), {"7": Image(digest("7"))})
    assert outcomes(member("web", "1.4.0", "1.5.0", group=ANY), cache) == {
        "web": "to 1.5.0",
        "cache": "to 7",
    }


# -- whatever the order --------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [GROUP, ANY], ids=["version", "any"])
def test_the_order_of_members_does_not_matter(group: str) -> None:
    def worlds() -> list[World]:
        return [
            member("web", "1.4.0", "1.5.0 1.6.0", "min_age: 1h", group=group),
            member("api", "1.4.0", "1.5.0 1.6.0", MORNING, group=group),
            member("job", "1.2.0", "1.5.0", group=group),
        ]

    expected = decide_together(worlds())
    for order in itertools.permutations(range(3)):
        assert decide_together([worlds()[i] for i in order]) == expected
