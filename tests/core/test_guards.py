"""Guards: what holds a version back although filters and range accept it, for how long, and what asks
for nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from parts.deciding import (
    LONG_AGO,
    NOW,
    PLATFORMS,
    SEMVER,
    World,
    Wrote,
    code,
    digest,
    past,
    sites,
    told,
    workload,
)

from automator.core.decide import Need, Release, Sighting, Stay, decide
from automator.core.explain import Question, explain
from automator.core.promotion import Stay as UpstreamStay
from automator.core.promotion import Upstream
from automator.core.reference import Image
from automator.reasons import Status

MINUTE = timedelta(minutes=1)


def world(*lines: str, at: tuple[str, ...] = ("1.4.2",), tags: str, **more: object) -> World:
    """One workload under `semver: >=1.0 <2` and these keys."""
    return World(workload(SEMVER, *lines), sites(*at), tags.split(), **more)  # type: ignore[arg-type]


def stays(found: object) -> Stay:
    assert isinstance(found, Stay), found
    return found


# -- min_age ------------------------------------------------------------------------------------------


def test_a_version_waits_for_its_age_and_the_sentence_says_until_when() -> None:
    young = world("min_age: 30m", tags="1.4.2 1.4.3", since={"1.4.3": NOW - 12 * MINUTE})
    stay = stays(young.decide())
    assert (stay.status, stay.candidate) == (Status.WAITING, "1.4.3")
    assert stay.reason.sentence == "1.4.3 is 12 minutes old; min_age 30m; eligible at 10:18 UTC"
    assert stay.reason.changes_at == NOW + 18 * MINUTE


@pytest.mark.parametrize(("late", "released"), [(-1, False), (0, True), (1, True)])
def test_exactly_its_age_is_old_enough(late: int, released: bool) -> None:
    since = NOW - 30 * MINUTE - timedelta(microseconds=late)
    found = world("min_age: 30m", tags="1.4.3", since={"1.4.3": since}).decide()
    assert isinstance(found, Release) is released


def test_a_tag_that_nobody_saw_before_is_looked_at_once_and_waits_its_whole_age() -> None:
    fresh = world("min_age: 30m", tags="1.4.3")
    assert stays(fresh.decide()).reason.changes_at == NOW + 30 * MINUTE
    assert fresh.looked_up == ["1.4.3"]


def test_a_build_time_says_nothing_about_the_age() -> None:
    old = {"1.4.3": Image(digest("1.4.3"), built=LONG_AGO)}
    assert code(world("min_age: 30m", tags="1.4.3", images=old).decide()) == "guard/min-age"


def test_another_digest_under_the_tag_begins_anew() -> None:
    before = {"1.4.3": Sighting(digest("another"), LONG_AGO)}
    pushed_again = world("min_age: 30m", tags="1.4.3", since=before)
    assert stays(pushed_again.decide()).reason.changes_at == NOW + 30 * MINUTE


def test_what_is_remembered_of_another_digest_counts_for_nothing() -> None:
    pushed_again = world("min_age: 30m", tags="1.4.3")
    pushed_again.decide()
    seen = {"1.4.3": Sighting(digest("another"), LONG_AGO)}
    facts = replace(pushed_again.facts, seen=seen)
    found = decide(pushed_again.workload, pushed_again.sites, pushed_again.listed, facts, NOW)
    assert stays(found).reason.changes_at == NOW + 30 * MINUTE


def test_an_older_version_that_is_old_enough_is_taken_meanwhile() -> None:
    since = {"1.4.5": NOW - MINUTE, "1.4.4": NOW - 40 * MINUTE}
    both = world("min_age: 30m", tags="1.4.3 1.4.4 1.4.5", since=since)
    assert told(both.decide()) == "to 1.4.4"
    assert both.looked_up == ["1.4.4"]


def test_while_two_clocks_run_older_versions_are_not_asked_for() -> None:
    """Two, since a tag that is pushed again and again must not keep the next one from being looked at."""
    many = world("min_age: 30m", tags=" ".join(f"1.4.{i}" for i in range(3, 60)))
    assert stays(many.decide()).candidate == "1.4.59"
    assert many.looked_up == ["1.4.59", "1.4.58"]


def test_among_several_that_wait_the_one_that_is_done_first_is_told() -> None:
    since = {"1.4.5": NOW - MINUTE, "1.4.4": NOW - 20 * MINUTE}
    stay = stays(world("min_age: 30m", tags="1.4.3 1.4.4 1.4.5", since=since).decide())
    assert (stay.candidate, stay.reason.changes_at) == ("1.4.4", NOW + 10 * MINUTE)


def test_no_age_at_all_is_no_guard() -> None:
    assert told(world("min_age: 0s", tags="1.4.3").decide()) == "to 1.4.3"


# -- step ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "current", "tags", "outcome"),
    [
        ("patch", "1.4.2", "1.4.9 1.5.0", "to 1.4.9"),
        ("patch", "1.4.2", "1.5.0", "guard/step"),
        ("minor", "1.4.2", "1.9.0 2.1.0", "to 1.9.0"),
        ("minor", "1.4.2", "2.0.0", "guard/step"),
        ("major", "1.4.2", "2.1.0", "to 2.1.0"),
        ("patch", "1.4.2-rc.1", "1.4.2", "to 1.4.2"),
        ("patch", "latest", "1.4.9", "guard/step-unknown"),
        ("patch", "v1.4.2", "1.4.9", "to 1.4.9"),
        ("patch", "1.4.9", "1.4.2 1.5.0", "guard/step"),
    ],
)
def test_no_release_jumps_further_than_its_step(step: str, current: str, tags: str, outcome: str) -> None:
    policy = workload('semver: ">=1.0"', f"step: {step}")
    jump = World(policy, sites(current), tags.split())
    assert told(jump.decide()) == outcome


def test_what_is_a_step_too_far_is_not_asked_for() -> None:
    far = world("step: patch", tags="1.4.2 1.5.0 1.6.0 1.7.0")
    assert code(far.decide()) == "guard/step"
    assert far.looked_up == []


def test_a_lenient_version_counts_its_missing_numbers_as_zero() -> None:
    policy = workload('semver: ">=1.0"', "versions: lenient", "step: patch")
    assert told(World(policy, sites("1.4"), ["1.4.1", "1.5", "2"]).decide()) == "to 1.4.1"


# -- platforms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "there", "passes"),
    [
        ("linux/amd64", ("linux/amd64",), True),
        ("linux/amd64", ("linux/amd64", "linux/arm64"), True),
        ("linux/arm64", ("linux/arm64/v8",), True),
        ("linux/arm64/v8", ("linux/arm64",), True),
        ("linux/arm", ("linux/arm/v7",), True),
        ("linux/arm/v7", ("linux/arm/v6",), False),
        ("linux/arm/v7", ("linux/arm",), False),
        ("linux/arm", ("linux/arm64",), False),
        ("linux/amd64", ("windows/amd64",), False),
        ("linux/amd64", (), False),
    ],
)
def test_every_platform_must_be_there(wanted: str, there: tuple[str, ...], passes: bool) -> None:
    images = {"1.4.3": Image(digest("1.4.3"), platforms=there)}
    found = world(f"platforms: [{wanted}]", tags="1.4.3", images=images).decide()
    assert told(found) == ("to 1.4.3" if passes else "guard/platforms")


def test_what_lacks_is_named_and_so_is_what_there_is() -> None:
    images = {"1.4.3": Image(digest("1.4.3"), platforms=("linux/amd64",))}
    found = world("platforms: [linux/amd64, linux/arm64, linux/arm/v7]", tags="1.4.3", images=images)
    sentence = stays(found.decide()).reason.sentence
    assert "not there for linux/arm64, linux/arm/v7 (it is for: linux/amd64)" in sentence


def test_an_older_version_that_has_them_is_taken_meanwhile() -> None:
    images = {"1.4.4": Image(digest("1.4.4"), platforms=("linux/amd64",))}
    found = world("platforms: [linux/amd64, linux/arm64]", tags="1.4.3 1.4.4", images=images).decide()
    assert told(found) == "to 1.4.3"
    assert isinstance(found, Release)
    assert found.workload.pin == "digest"


def test_platforms_are_awaited_for_an_hour_and_then_they_hold() -> None:
    images = {"1.4.3": Image(digest("1.4.3"), platforms=("linux/amd64",))}
    for age, status in ((0, Status.WAITING), (59, Status.WAITING), (60, Status.HELD)):
        since = {"1.4.3": NOW - age * MINUTE}
        found = world("platforms: [linux/arm64]", tags="1.4.3", images=images, since=since).decide()
        assert (stays(found).status, code(found)) == (status, "guard/platforms")


# -- windows ------------------------------------------------------------------------------------------

WORKDAYS = 'windows: [{allow: "0 9 * * 1-5", for: 8h, zone: Europe/Berlin}]'


@pytest.mark.parametrize(
    ("now", "released"),
    [
        ("2026-11-20T07:59:59", False),  # Friday
        ("2026-11-20T08:00:00", True),
        ("2026-11-20T15:59:59", True),
        ("2026-11-20T16:00:00", False),
        ("2026-11-21T10:00:00", False),  # Saturday
        # Summer ends in the night to Sunday, 25 October: nine o'clock comes an hour later in UTC.
        ("2026-10-23T07:00:00", True),
        ("2026-10-26T07:00:00", False),
        ("2026-10-26T08:00:00", True),
        # It begins in the night to Sunday, 28 March.
        ("2027-03-29T06:59:59", False),
        ("2027-03-29T07:00:00", True),
    ],
)
def test_a_window_is_kept_by_the_clocks_of_its_zone(now: str, released: bool) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = world(WORKDAYS, tags="1.4.3", now=at).decide()
    assert told(found) == ("to 1.4.3" if released else "guard/window")


def test_a_closed_window_says_when_it_opens_and_where_it_stands() -> None:
    stay = stays(world(WORKDAYS, tags="1.4.3").decide())
    assert (stay.status, stay.reason.changes_at) == (
        Status.WAITING,
        datetime(2026, 11, 23, 8, tzinfo=UTC),
    )
    assert "0 9 * * 1-5 for 8h Europe/Berlin" in stay.reason.sentence
    assert "2026-11-23 08:00 UTC" in stay.reason.sentence
    assert "policies/shop.yaml:6" in stay.reason.next_step


def test_a_denied_time_beats_an_allowed_one() -> None:
    both = 'windows: [{allow: "0 0 * * *", for: 24h}, {deny: "0 9 * * *", for: 2h}]'
    assert stays(world(both, tags="1.4.3").decide()).reason.changes_at == NOW.replace(hour=11)
    assert told(world(both, tags="1.4.3", now=NOW.replace(hour=11)).decide()) == "to 1.4.3"


def test_age_and_window_are_both_kept() -> None:
    """The version is old enough only when the window has closed again."""
    keys = ("min_age: 3h", 'windows: [{allow: "0 9 * * *", for: 2h}]')
    seen = {"1.4.3": NOW - 10 * MINUTE}
    assert code(world(*keys, tags="1.4.3", since=seen).decide()) == "guard/min-age"
    old_enough = world(*keys, tags="1.4.3", since=seen, now=NOW + 170 * MINUTE)
    assert stays(old_enough.decide()).reason.changes_at == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert told(world(*keys, tags="1.4.3", since=seen, now=NOW + 23 * 60 * MINUTE).decide()) == "to 1.4.3"


# -- hold and freeze ----------------------------------------------------------------------------------


def test_what_holds_longest_is_told() -> None:
    hold = 'hold: {reason: load test, until: "2026-11-21T11:00:00Z"}'
    stay = stays(world(hold, tags="1.4.3").decide())
    assert (stay.reason.changes_at, stay.status) == (NOW.replace(hour=11), Status.HELD)
    assert told(world(hold, tags="1.4.3", now=NOW.replace(hour=11)).decide()) == "to 1.4.3"


def test_a_held_workload_asks_for_nothing() -> None:
    held = world("hold: {reason: load test}", "min_age: 1h", tags="1.4.3")
    assert code(held.decide()) == "guard/hold"
    assert held.asked == []


# -- reject, accept, urgent ---------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", ["1.4.4", "v1.4.4", digest("1.4.4")])
def test_a_rejected_version_is_passed_over_for_the_next_one(spelled: str) -> None:
    assert told(world(f'reject: ["{spelled}"]', tags="1.4.3 1.4.4").decide()) == "to 1.4.3"


def test_a_rejected_digest_is_named() -> None:
    found = world(f'reject: ["{digest("1.4.4")}"]', tags="1.4.4").decide()
    assert (code(found), stays(found).status) == ("guard/rejected-digest", Status.HELD)
    assert digest("1.4.4") in stays(found).reason.sentence


def test_an_accepted_version_comes_back_although_it_was_turned_away_and_no_other_does() -> None:
    owned = sites("1.4.2")
    turned = {owned[0].file: past(owned[0], "1.4.2", Wrote("1.4.4", ours=True), "1.4.2")}
    tags = "1.4.3 1.4.4"
    assert code(world(tags=tags, pasts=turned).decide()) == "history/turned-away"
    assert told(world("accept: ['1.4.3']", tags=tags, pasts=turned).decide()) == "to 1.4.3"
    assert told(world("accept: ['1.4.4']", tags=tags, pasts=turned).decide()) == "to 1.4.4"


@pytest.mark.parametrize(("spelled", "tag"), [("1.4.4", "v1.4.4"), ("v1.4.4", "1.4.4"), ("1.04.4", "1.4.4")])
def test_an_accepted_version_is_one_however_it_is_spelled(spelled: str, tag: str) -> None:
    owned = sites("1.4.2")
    turned = {owned[0].file: past(owned[0], "1.4.2", Wrote(tag, ours=True), "1.4.2")}
    assert told(world(f"accept: ['{spelled}']", tags=f"1.4.3 {tag}", pasts=turned).decide()) == f"to {tag}"


@pytest.mark.parametrize(
    ("keys", "named", "others"),
    [
        ('semver: "*"', ("1.4.3", "v1.4.3"), ("1.4.4", "1.4.3-1", "latest")),
        ('semver: "*"\nversions: lenient', ("1.4.3", "v1.4.3"), ("1.4", "1")),
        ('semver: "*"\nglob: "web-{key}"', ("web-1.4.3", "web-v1.4.3"), ("1.4.4", "web-1.4.4")),
        ("order: version", ("1.4.3", "v1.4.3", "1.4.3.0"), ("1.4.3.1",)),
        ("order: alphabetical", ("1.4.3",), ("v1.4.3",)),
        ('order: newest\nglob: "web-{key}"', ("web-1.4.3",), ("web-v1.4.3",)),
    ],
)
def test_a_version_that_is_named_is_compared_as_its_order_compares(
    keys: str, named: tuple[str, ...], others: tuple[str, ...]
) -> None:
    rule = workload(*keys.splitlines()).rule
    assert [tag for tag in (*named, *others) if rule.names(("1.4.3",), tag)] == list(named)


def test_a_number_that_is_named_is_compared_as_a_number() -> None:
    rule = workload('glob: "main-*-{key}"', "order: numeric").rule
    assert [tag for tag in ("main-a-57", "main-b-057", "main-a-58") if rule.names(("57",), tag)] == [
        "main-a-57",
        "main-b-057",
    ]


def test_an_accepted_version_is_taken_after_a_rewind_too() -> None:
    rewound = frozenset({"1.4.4"})
    assert code(world(tags="1.4.3 1.4.4", withdrawn=rewound).decide()) == "history/rewound"
    assert told(world("accept: ['1.4.4']", tags="1.4.3 1.4.4", withdrawn=rewound).decide()) == "to 1.4.4"


def test_accepting_a_version_passes_no_guard() -> None:
    owned = sites("1.4.2")
    turned = {owned[0].file: past(owned[0], "1.4.2", Wrote("1.4.4", ours=True), "1.4.2")}
    found = world("accept: ['1.4.4']", "min_age: 1h", tags="1.4.4", pasts=turned).decide()
    assert code(found) == "guard/min-age"


URGENT = 'urgent: {version: "1.4.3", reason: CVE-2026-1}'


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [
        (("min_age: 1d",), "to 1.4.3"),
        ((WORKDAYS,), "to 1.4.3"),
        (("min_age: 1d", WORKDAYS), "to 1.4.3"),
        (("hold: {reason: audit}",), "guard/hold"),
        (("platforms: [linux/s390x]",), "guard/platforms"),
        (("reject: ['1.4.3']",), "current/newest"),
        ((f"reject: ['{digest('1.4.3')}']",), "guard/rejected-digest"),
    ],
)
def test_an_urgent_version_waits_for_no_time_but_for_everything_else(
    keys: tuple[str, ...], outcome: str
) -> None:
    assert told(world(URGENT, *keys, tags="1.4.3").decide()) == outcome
    if outcome.startswith("to "):
        assert told(world(*keys, tags="1.4.3").decide()) != outcome


def test_an_urgent_version_is_one_however_it_is_spelled() -> None:
    found = world(URGENT, "min_age: 1d", WORKDAYS, tags="v1.4.3 v1.4.4").decide()
    assert isinstance(found, Release)
    assert (found.tag, found.is_urgent) == ("v1.4.3", True)


def test_urgent_is_for_one_version_only_and_not_for_a_newer_one() -> None:
    both = world(URGENT, "min_age: 1d", WORKDAYS, tags="1.4.2 1.4.3 1.4.4")
    found = both.decide()
    assert told(found) == "to 1.4.3"
    assert isinstance(found, Release)
    assert found.is_urgent
    assert both.applied(found).decide().reason.code == "guard/min-age"  # type: ignore[union-attr]


def test_urgent_takes_nothing_that_people_turned_away() -> None:
    owned = sites("1.4.2")
    turned = {owned[0].file: past(owned[0], "1.4.2", Wrote("1.4.3", ours=True), "1.4.2")}
    assert code(world(URGENT, "min_age: 1d", tags="1.4.3", pasts=turned).decide()) == "history/turned-away"


# -- downgrade and align ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "tags", "outcome"),
    [
        (("downgrade: true",), "1.9.0 2.1.0", "to 1.9.0"),
        (("downgrade: true",), "1.9.0", "to 1.9.0"),
        ((), "1.9.0 2.1.0", "current/outside"),
        (("downgrade: false",), "1.9.0 2.1.0", "current/outside"),
        (("downgrade: true",), "2.1.0 2.2.0", "tag/none"),
    ],
)
def test_only_downgrade_moves_below_a_version_that_the_range_excludes(
    keys: tuple[str, ...], tags: str, outcome: str
) -> None:
    assert told(world(*keys, at=("2.1.0",), tags=tags).decide()) == outcome


@pytest.mark.parametrize("keys", ['exclude: ["1.9.*"]', 'reject: ["1.9.0"]', "prereleases: only"])
def test_any_filter_that_refuses_the_current_version_permits_it_too(keys: str) -> None:
    tags = "1.8.0 1.8.0-rc1 1.9.0"
    assert told(world(keys, "downgrade: true", at=("1.9.0",), tags=tags).decide()).startswith("to 1.8.0")


def test_a_tag_that_vanished_moves_nothing_down() -> None:
    gone = world("downgrade: true", at=("1.9.0",), tags="1.8.0 1.7.0")
    assert code(gone.decide()) == "current/newest"
    assert gone.asked == []


def test_a_downgrade_resets_the_mark_so_that_a_wider_range_takes_the_version_again() -> None:
    down = world("downgrade: true", at=("2.1.0",), tags="1.9.0 2.1.0")
    release = down.decide()
    assert isinstance(release, Release)
    assert release.down
    after = down.applied(release)
    assert code(after.decide()) == "current/newest"
    wider = World(workload('semver: ">=1.0"'), after.sites, after.tags, pasts=after.pasts)
    assert told(wider.decide()) == "to 2.1.0"


def test_a_downgrade_is_kept_although_a_person_had_turned_the_version_away_once() -> None:
    """Moving up to 2.1.0 lifted what was turned away below it."""
    owned = sites("2.1.0")
    before = past(owned[0], "2.1.0", "1.8.0", Wrote("1.9.0", ours=True), "1.8.0")
    found = world("downgrade: true", at=("2.1.0",), tags="1.9.0", pasts={owned[0].file: before}).decide()
    assert told(found) == "to 1.9.0"


def test_only_sites_that_the_policy_excludes_go_down() -> None:
    mixed = world("downgrade: true", "align: true", at=("2.1.0", "1.9.0", "1.7.0"), tags="1.8.0")
    release = mixed.decide()
    assert isinstance(release, Release)
    assert [(site.tag) for site in release.sites] == ["2.1.0", "1.7.0"]
    assert code(mixed.applied(release).decide()) == "current/newest"


def test_align_lets_the_first_release_join_sites_that_differ() -> None:
    apart = {"at": ("1.4.2", "1.3.0"), "tags": "1.4.2 1.4.3"}
    assert code(world(**apart).decide()) == "site/differ"  # type: ignore[arg-type]
    release = world("align: true", **apart).decide()  # type: ignore[arg-type]
    assert isinstance(release, Release)
    assert (release.tag, len(release.sites)) == ("1.4.3", 2)


def test_align_makes_no_release_of_its_own() -> None:
    level = world("align: true", at=("1.4.3", "1.3.0"), tags="1.4.2 1.4.3")
    assert code(level.decide()) == "current/newest"


# -- what it costs ------------------------------------------------------------------------------------


def test_a_guard_that_refuses_everything_looks_at_no_more_tags_than_allowed() -> None:
    every = world("platforms: [linux/s390x]", tags=" ".join(f"1.5.{i}" for i in range(40)))
    stay = stays(every.decide(lookups=7))
    assert (code(stay), stay.status) == ("facts/too-many-candidates", Status.HELD)
    assert every.looked_up == [f"1.5.{i}" for i in range(39, 32, -1)]


def test_history_is_read_before_the_registry_is_asked() -> None:
    full = world("min_age: 1h", "platforms: [linux/amd64]", WORKDAYS, tags="1.4.3 1.4.4")
    full.decide()
    looks = [Need(images=("1.4.4",)), Need(images=("1.4.3",))]
    assert full.asked == [Need(histories=full.sites), *looks]


def test_what_people_turned_away_is_not_asked_for() -> None:
    owned = sites("1.4.2")
    turned = {owned[0].file: past(owned[0], "1.4.2", Wrote("1.4.4", ours=True), "1.4.2")}
    held = world("platforms: [linux/amd64]", tags="1.4.3 1.4.4", pasts=turned)
    assert code(held.decide()) == "history/turned-away"
    assert held.looked_up == []


def test_after_is_held_while_nothing_is_known_of_upstream() -> None:
    policy = workload(SEMVER, "after: {workload: other/staging, soak: 1h}")
    assert policy.pin == "digest"
    found = World(policy, sites("1.4.2"), ["1.4.3"]).decide()
    assert (code(found), stays(found).status) == ("guard/after-unknown", Status.HELD)


STAGING = "after: {workload: staging/web, soak: 1h}"
GROUP = "after: {group: staging/shop, soak: 1h}"
GROUPED = "group:staging/shop"


def stayed(name: str, tag: str, minutes: int, of: str | None = None) -> Upstream:
    """A workload upstream that is at a version, and for how long."""
    return Upstream(name, (UpstreamStay(tag, digest(of or tag), NOW - minutes * MINUTE, None),))


@pytest.mark.parametrize(
    ("key", "upstreams", "outcome"),
    [
        (STAGING, {"staging/web": (stayed("staging/web", "1.4.3", 60),)}, "to 1.4.3"),
        (STAGING, {"staging/web": (stayed("staging/web", "1.4.3", 59),)}, "guard/soak"),
        (STAGING, {"staging/web": (stayed("staging/web", "1.4.3", 600, of="1.4.2"),)}, "guard/after-never"),
        (STAGING, {"staging/web": (stayed("staging/web", "1.4.2", 600),)}, "guard/after-not-there"),
        (STAGING, {"staging/web": None}, "guard/after-unknown"),
        (GROUP, {GROUPED: (stayed("a", "1.4.3", 60), stayed("b", "1.4.3", 90))}, "to 1.4.3"),
        (GROUP, {GROUPED: (stayed("a", "1.4.3", 60), stayed("b", "1.4.3", 5))}, "guard/soak"),
        (GROUP, {GROUPED: (stayed("a", "1.4.3", 60), stayed("b", "1.4.2", 90))}, "guard/after-not-there"),
        (GROUP, {GROUPED: ()}, "guard/after-unknown"),
        (GROUP, {GROUPED: None}, "guard/after-unknown"),
    ],
)
def test_after_takes_what_upstream_has_held_long_enough(
    key: str, upstreams: dict[str, tuple[Upstream, ...] | None], outcome: str
) -> None:
    held = World(workload(SEMVER, key), sites("1.4.2"), ["1.4.3"])
    held.facts = replace(held.facts, upstreams=upstreams)
    found = held.decide()
    assert (told(found) if isinstance(found, Release) else code(found)) == outcome


def test_the_end_of_the_soak_is_told_by_outcome_and_explanation_and_is_the_time_of_the_release() -> None:
    upstreams = {"staging/web": (stayed("staging/web", "1.4.3", 20),)}
    waiting = World(workload(SEMVER, STAGING), sites("1.4.2"), ["1.4.3"])
    waiting.facts = replace(waiting.facts, upstreams=upstreams)
    stay = stays(waiting.decide())
    assert (stay.status, stay.reason.changes_at) == (Status.WAITING, NOW + 40 * MINUTE)
    (verdict,) = explain(Question(waiting.workload, waiting.sites, waiting.facts, NOW, stay), waiting.listed)
    assert (verdict.kept, verdict.reason) == (False, stay.reason)
    then = waiting.again(now=NOW + 40 * MINUTE)
    then.facts = replace(then.facts, upstreams=upstreams)
    assert told(then.decide()) == "to 1.4.3"


def test_the_image_of_the_release_is_the_one_that_passed() -> None:
    images = {"1.4.3": Image("sha256:" + "b" * 64, platforms=PLATFORMS)}
    release = world("platforms: [linux/amd64]", tags="1.4.3", images=images).decide()
    assert isinstance(release, Release)
    assert release.target == f"1.4.3@sha256:{'b' * 64}"
