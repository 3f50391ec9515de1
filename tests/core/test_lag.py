"""Lag: how far a workload is behind, by values alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.deciding import LONG_AGO, NOW, World, Wrote, built, digest, past, sites, workload

from automator.core.decide import judge
from automator.core.facts import Declined, Sighting
from automator.core.lag import (
    NO_LAG,
    NOT_KNOWN,
    Appearance,
    Appeared,
    Lag,
    ahead_of,
    appeared_at,
    followed_lag,
)
from automator.core.report import Outcome
from automator.reasons import Status, reason

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def lag(world: World) -> Lag:
    """What a workload's lag is once it was decided."""
    world.decide()
    return ahead_of(world.workload, world.sites, judge(world.workload, world.listed), world.facts).lag()


@pytest.mark.parametrize(
    ("keys", "held", "tags", "expected"),
    [
        ('semver: ">=1.4 <2"', ["1.4.2"], ["1.4.1", "1.4.2"], (None, 0)),
        ('semver: ">=1.4 <2"', ["1.4.2"], ["1.4.2", "1.4.3", "1.5.0", "2.0.0", "junk"], ("1.5.0", 2)),
        ('semver: ">=1.4 <2"', ["1.4.2"], ["1.4.3", "1.4.3-rc.1"], ("1.4.3", 1)),
        # two spellings of one version are one version
        ('semver: ">=1.4 <2"', ["1.4.2"], ["1.4.3", "v1.4.3"], ("v1.4.3", 1)),
        # guards do not matter, what the policy rejects does
        ('semver: ">=1.4 <2"\nmin_age: 30d', ["1.4.2"], ["1.4.3"], ("1.4.3", 1)),
        ('semver: ">=1.4 <2"\nreject: [1.4.3]', ["1.4.2"], ["1.4.3"], (None, 0)),
        ('semver: ">=1.4 <2"\nhold: {reason: wait}', ["1.4.2"], ["1.4.3", "1.4.4"], ("1.4.4", 2)),
        # the highest of the sites is the current version, whatever holds the others back
        ('semver: ">=1.4 <2"', ["1.4.2", "1.4.3"], ["1.4.2", "1.4.3", "1.4.4"], ("1.4.4", 1)),
        # nobody knows what `latest` is
        ('semver: ">=1.4 <2"', ["latest"], ["1.4.2", "1.4.3"], ("1.4.3", 0)),
        # a range that excludes the current version offers older ones: these are not newer
        ('semver: "<1.4"\ndowngrade: true', ["1.5.0"], ["1.3.0", "1.5.0", "1.6.0"], (None, 0)),
        ('glob: "main-{key}"\norder: numeric', ["main-7"], ["main-8", "main-10", "dev-11"], ("main-10", 2)),
        ('semver: ">=1.4 <2"', [], ["1.4.3"], (None, 0)),
        ('semver: ">=1.4 <2"', ["1.4.2"], [], (None, 0)),
    ],
)
def test_versions_count_that_filters_and_range_let_through(
    keys: str, held: list[str], tags: list[str], expected: tuple[str | None, int]
) -> None:
    found = lag(World(workload(*keys.splitlines()), sites(*held), tags))
    assert (found.candidate, found.behind) == expected


def test_what_people_turned_away_is_no_lag() -> None:
    (site,) = sites("1.4.2")
    pasts = {site.file: past(site, "1.4.2", Wrote("1.4.3", ours=True), "1.4.2")}
    world = World(workload('semver: ">=1.4 <2"'), (site,), ["1.4.2", "1.4.3"], pasts=pasts)
    assert lag(world) == NO_LAG
    assert lag(world.again(tags=["1.4.3", "1.4.4"])) == Lag("1.4.4", 1)


def test_nothing_is_asked_for_the_sake_of_the_lag_alone() -> None:
    """Held by a person: no history is read, so that nobody knows what was turned away before."""
    (site,) = sites("1.4.2")
    held = workload('semver: ">=1.4 <2"', "hold: {reason: wait}")
    world = World(held, (site,), ["1.4.3"], pasts={site.file: past(site, "1.4.2", "1.4.3")})
    assert lag(world) == Lag("1.4.3", 1)
    assert world.asked == []


def test_under_newest_those_count_whose_build_time_is_known() -> None:
    tags = ["main-a", "main-b", "main-c", "main-d"]
    first, *later = sorted(tags, key=built)
    world = World(workload('glob: "main-*"', "order: newest"), sites(first), tags)
    judged = judge(world.workload, world.listed)
    assert ahead_of(world.workload, world.sites, judged, world.facts).lag(None) == NO_LAG
    assert lag(world) == Lag(later[-1], 3)


@given(st.sets(st.integers(0, 30), min_size=1), st.integers(0, 30))
def test_the_lag_is_the_number_of_newer_versions(patches: set[int], current: int) -> None:
    world = World(
        workload('semver: ">=1.4 <2"'), sites(f"1.4.{current}"), [f"1.4.{patch}" for patch in patches]
    )
    newer = [patch for patch in patches if patch > current]
    assert lag(world) == (Lag(f"1.4.{max(newer)}", len(newer)) if newer else NO_LAG)


# -- a followed tag ----------------------------------------------------------------------------------


def follows(held: str, *, sighted: str | None, **facts: object) -> Lag:
    world = World(workload('follow: "7"'), sites(held), [])
    sighting = None if sighted is None else Sighting(digest(sighted), LONG_AGO)
    return followed_lag(world.workload, world.sites, sighting, replace(world.facts, **facts))


def test_a_followed_tag_is_behind_while_another_digest_is_under_it() -> None:
    assert follows(f"7@{digest('old')}", sighted="new") == Lag(
        f"7@{digest('new')}", 1, LONG_AGO, at_least=True
    )
    assert follows("7", sighted="new").behind == 1
    assert follows(f"7@{digest('new')}", sighted="new") == NO_LAG
    assert follows(f"6@{digest('old')}", sighted="new") == NO_LAG
    assert follows(f"7@{digest('old')}", sighted=None) == NO_LAG


def test_a_digest_that_people_are_against_is_no_lag() -> None:
    held = f"7@{digest('old')}"
    declined = Declined("ghcr.io/acme/web", "7", digest("new"), None, 7, "https://x.test/7", None)
    assert follows(held, sighted="new", withdrawn=frozenset({digest("new")})) == NO_LAG
    assert follows(held, sighted="new", declined=(declined,)) == NO_LAG
    (site,) = sites(held)
    was = {(site.file, site.document, site.field): past(site, held, f"7@{digest('new')}", held)}
    assert follows(held, sighted="new", histories=was) == NO_LAG


# -- since when --------------------------------------------------------------------------------------


def test_a_tag_that_we_saw_come_is_as_old_as_that() -> None:
    appeared = Appeared(LONG_AGO, {"1.4.3": NOW - HOUR, "1.4.4": NOW - 2 * HOUR})
    found = appeared_at(["1.4.3", "1.4.4"], appeared, {"1.4.3": LONG_AGO - DAY})
    assert found == Appearance(NOW - 2 * HOUR)


@pytest.mark.parametrize(
    ("built_at", "expected"),
    [
        (LONG_AGO - DAY, Appearance(LONG_AGO - DAY)),
        (None, Appearance(LONG_AGO, at_least=True)),
        (LONG_AGO.replace(year=1980), Appearance(LONG_AGO, at_least=True)),  # a reproducible build
        (NOW + DAY, Appearance(LONG_AGO, at_least=True)),  # somebody's clock
    ],
)
def test_a_tag_that_was_there_before_us_is_as_old_as_its_image(built_at, expected) -> None:  # type: ignore[no-untyped-def]
    built_times = {} if built_at is None else {"1.4.3": built_at}
    assert appeared_at(["1.4.3"], Appeared(LONG_AGO, {}), built_times) == expected


def test_what_may_be_older_than_what_is_known_is_said_to_be() -> None:
    built_times = {"1.4.4": LONG_AGO - DAY}
    found = appeared_at(["1.4.3", "1.4.4"], Appeared(LONG_AGO, {}), built_times)
    assert found == Appearance(LONG_AGO - DAY, at_least=True), "1.4.3 may have been built before"


def test_of_what_was_never_listed_nothing_is_known() -> None:
    assert appeared_at(["1.4.3"], Appeared(None, {}), {}) == NOT_KNOWN


# -- in words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidate", "behind", "since", "words"),
    [
        (None, 0, None, ""),
        ("1.4.3", 1, NOW - HOUR, "1 version, 1 hour behind"),
        ("1.4.4", 2, NOW - 3 * DAY - HOUR, "2 versions, 3 days behind"),
        ("1.4.4", 2, None, "2 versions behind"),
        ("1.4.4", 0, None, "unknown how far behind"),
        ("1.4.3", 1, NOW + HOUR, "1 version, 0 seconds behind"),
    ],
)
def test_the_lag_in_words(candidate, behind, since, words) -> None:  # type: ignore[no-untyped-def]
    why = reason("current/newest", current="1.4.2", count=3, rule="any")
    outcome = Outcome("web", Status.CURRENT, why, "ghcr.io/acme/web")
    assert replace(outcome, candidate=candidate, behind=behind, behind_since=since).lag(NOW) == words


@pytest.mark.parametrize(
    ("looked", "words"),
    [
        (timedelta(seconds=2), "2 versions behind"),
        (HOUR, "2 versions, at least 1 hour behind"),
        (3 * DAY, "2 versions, at least 3 days behind"),
    ],
)
def test_a_first_look_a_moment_ago_is_not_said_to_be_how_far_behind(looked: timedelta, words: str) -> None:
    why = reason("current/newest", current="1.4.2", count=3, rule="any")
    outcome = Outcome("web", Status.CURRENT, why, "ghcr.io/acme/web", candidate="1.4.4", behind=2)
    assert replace(outcome, behind_since=NOW - looked, behind_at_least=True).lag(NOW) == words
