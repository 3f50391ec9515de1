"""`follow`: the digest behind one moving tag is taken, and a digest that was left never comes back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from parts.deciding import NOW, World, Wrote, code, digest, past, sites, told, workload

from automator.core.decide import Need, Release, Sighting, Stay, Unavailable, decide
from automator.core.facts import Facts
from automator.core.reference import Image
from automator.reasons import Status, reason

OLD, NEW, THIRD = digest("old"), digest("new"), digest("third")


def follower(*lines: str, at: tuple[str, ...] = (f"7@{OLD}",), serves: str = NEW, **more: object) -> World:
    """A workload that follows 7, whose registry serves one digest for it."""
    images = {"7": Image(serves, platforms=("linux/amd64",))}
    return World(workload('follow: "7"', *lines), sites(*at), (), images, **more)  # type: ignore[arg-type]


def test_a_new_digest_under_the_tag_is_released_to_every_site_at_it() -> None:
    world = follower(at=(f"7@{OLD}", f"7@{NEW}", "7"))
    release = world.decide()
    assert isinstance(release, Release)
    assert (release.target, release.current) == (f"7@{NEW}", f"7@{OLD}")
    assert [site.digest for site in release.sites] == [OLD, None]
    assert release.workload.pin == "digest"
    assert code(world.applied(release).decide()) == "current/followed"


def test_the_digest_that_is_there_already_is_current_after_one_question() -> None:
    world = follower(at=(f"7@{NEW}",))
    stay = world.decide()
    assert (code(stay), stay.status) == ("current/followed", Status.CURRENT)  # type: ignore[union-attr]
    assert world.asked == [Need(images=("7",), idle=True)]


def test_no_tag_list_is_looked_at() -> None:
    broken = Unavailable(reason("registry/not-asked", image="x"))
    world = follower(at=(f"7@{NEW}",))
    facts = Facts(images=world.images)
    answer = decide(world.workload, world.sites, broken, facts, NOW)
    assert isinstance(answer, Stay)
    assert code(answer) == "current/followed"


def test_sites_at_another_tag_are_left_alone() -> None:
    mixed = follower(at=("6", "7"))
    release = mixed.decide()
    assert isinstance(release, Release)
    assert [site.tag for site in release.sites] == ["7"]
    elsewhere = follower(at=("6", f"6@{OLD}")).decide()
    assert (code(elsewhere), elsewhere.status) == ("follow/elsewhere", Status.HELD)  # type: ignore[union-attr]
    assert "apps/web/0.yaml:1" in elsewhere.reason.sentence  # type: ignore[union-attr]


LEFT = (f"7@{THIRD}", Wrote(f"7@{NEW}", ours=True), f"7@{OLD}")


@pytest.mark.parametrize("again", [NEW, OLD])
def test_a_digest_that_the_site_left_never_comes_back_unless_accepted(again: str) -> None:
    at = (f"7@{THIRD}",)
    owned = sites(*at)
    pasts = {owned[0].file: past(owned[0], *LEFT)}
    stay = follower(at=at, serves=again, pasts=pasts).decide()
    assert (code(stay), stay.status) == ("history/digest-left", Status.HELD)  # type: ignore[union-attr]
    assert again in stay.reason.sentence  # type: ignore[union-attr]
    accepted = follower(f'accept: ["{again}"]', at=at, serves=again, pasts=pasts)
    assert told(accepted.decide()) == "to 7"
    newer = follower(at=at, serves=digest("fourth"), pasts=pasts)
    assert told(newer.decide()) == "to 7"


def test_accepting_another_digest_or_the_tag_accepts_nothing() -> None:
    at = (f"7@{THIRD}",)
    pasts = {sites(*at)[0].file: past(sites(*at)[0], *LEFT)}
    for accept in (THIRD, "7"):
        world = follower(f'accept: ["{accept}"]', at=at, serves=OLD, pasts=pasts)
        assert code(world.decide()) == "history/digest-left"


def test_a_digest_that_one_site_left_is_not_brought_back_by_another() -> None:
    at = (f"7@{OLD}", f"7@{THIRD}")
    left = sites(*at)[1]
    pasts = {left.file: past(left, f"7@{THIRD}", Wrote(f"7@{NEW}", ours=True), f"7@{OLD}")}
    assert code(follower(at=at, pasts=pasts).decide()) == "history/digest-left"


def test_a_digest_whose_release_was_taken_back_by_a_rewind_is_held_unless_accepted() -> None:
    rewound = frozenset({NEW, "6"})
    stay = follower(withdrawn=rewound).decide()
    assert (code(stay), stay.status) == ("history/rewound", Status.HELD)  # type: ignore[union-attr]
    assert told(follower(f'accept: ["{NEW}"]', withdrawn=rewound).decide()) == "to 7"
    assert told(follower(serves=THIRD, withdrawn=rewound).decide()) == "to 7"


def test_a_person_who_goes_back_to_the_bare_tag_has_left_the_digest() -> None:
    owned = sites("7")
    pasts = {owned[0].file: past(owned[0], "7", Wrote(f"7@{NEW}", ours=True), "7")}
    assert code(follower(at=("7",), pasts=pasts).decide()) == "history/digest-left"


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [
        ("min_age: 1h", "guard/min-age"),
        ("platforms: [linux/arm64]", "guard/platforms"),
        ("platforms: [linux/amd64]", "to 7"),
        ('windows: [{deny: "0 9 * * *", for: 2h}]', "guard/window"),
        ('windows: [{allow: "0 9 * * *", for: 2h}]', "to 7"),
        (f'reject: ["{NEW}"]', "guard/rejected-digest"),
        (f'reject: ["{OLD}"]', "to 7"),
        ("hold: {reason: audit}", "guard/hold"),
    ],
)
def test_guards_hold_a_followed_digest_back_as_they_do_a_version(keys: str, outcome: str) -> None:
    assert told(follower(keys).decide()) == outcome


def test_urgent_names_a_digest_and_no_later_one_of_the_tag() -> None:
    urgent = f"urgent: {{version: '{NEW}', reason: CVE}}"
    windows = 'windows: [{deny: "0 9 * * *", for: 2h}]'
    release = follower("min_age: 1d", windows, urgent).decide()
    assert isinstance(release, Release)
    assert release.is_urgent
    assert code(follower("min_age: 1d", windows, urgent, serves=THIRD).decide()) == "guard/min-age"
    assert code(follower(windows, urgent, serves=THIRD).decide()) == "guard/window"
    plain = follower(urgent, serves=THIRD).decide()
    assert isinstance(plain, Release)
    assert not plain.is_urgent


@pytest.mark.parametrize("remembered", [OLD, NEW])
def test_an_urgent_digest_does_not_wait_for_the_age_of_what_was_under_the_tag_before(remembered: str) -> None:
    young = {"7": Sighting(remembered, NOW - timedelta(minutes=5))}
    urgent = f"urgent: {{version: '{NEW}', reason: CVE}}"
    assert told(follower("min_age: 1d", urgent, since=young).decide()) == "to 7"
    assert code(follower("min_age: 1d", urgent, serves=THIRD, since=young).decide()) == "guard/min-age"


def test_a_digest_that_moves_while_it_ages_begins_anew() -> None:
    hour = timedelta(hours=1)
    for since, outcome in (
        (Sighting(NEW, NOW - hour), "to 7"),
        (Sighting(NEW, NOW - hour / 2), "guard/min-age"),
        (Sighting(OLD, NOW - 30 * hour), "guard/min-age"),
    ):
        world = follower("min_age: 1h", since={"7": since})
        assert told(world.decide()) == outcome
        assert world.looked_up == ["7"]


@pytest.mark.parametrize("waiting", [False, True])
def test_a_registry_that_does_not_answer_is_not_passed_over(waiting: bool) -> None:
    world = follower()
    down = Unavailable(reason("registry/late", image="x", seconds="30"), waiting=waiting)
    answer = decide(world.workload, world.sites, world.listed, Facts(images={"7": down}), NOW)
    assert isinstance(answer, Stay)
    assert answer.status is (Status.WAITING if waiting else Status.FAILED)
    assert answer.reason == down.reason
