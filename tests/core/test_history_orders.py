"""The mark rule in every order: what was turned away in the policy's present order stays away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.deciding import World, Wrote, digest, past, sites, told, workload

from automator.core.history import (
    HeldValue,
    SiteHistory,
    Writer,
    previous_version,
    stays,
    turned_away,
)

SEMVER = 'semver: "*"'
LENIENT = 'semver: "*"\nversions: lenient'
DOTTED = "order: version\nregex: '^(?P<key>[0-9.]+)-[a-z]+$'"
NUMERIC = 'order: numeric\nglob: "main-*-{key}"'
ALPHABETICAL = 'order: alphabetical\nglob: "*"'


def we(value: str) -> Wrote:
    return Wrote(value, ours=True)


# Keys of the policy, the field's values newest first, the tags of the registry, and what becomes of it.
CASES = {
    # semver: precedence, not text; build metadata is no precedence
    "semver, a revert": (SEMVER, ["1.9.0", we("1.10.0"), "1.9.0"], ["1.10.0"], "history/turned-away"),
    "semver, newer": (SEMVER, ["1.9.0", we("1.10.0"), "1.9.0"], ["1.10.0", "1.10.1"], "to 1.10.1"),
    "semver, between": (SEMVER, ["1.9.0", we("1.10.0"), "1.9.0"], ["1.9.5"], "history/turned-away"),
    "semver, its release candidate": (
        'semver: ">=1.0.0-0"', ["1.9.0", we("1.10.0"), "1.9.0"], ["1.10.0-rc.1"], "history/turned-away",
    ),
    "semver, with a v": (SEMVER, ["v1.9.0", we("v1.10.0"), "v1.9.0"], ["1.10.0"], "history/turned-away"),
    "semver, a tag of another shape in between": (
        SEMVER, ["1.9.0", "debug-ann", we("1.10.0"), "1.9.0"], ["1.10.0"], "history/turned-away",
    ),
    "lenient": (LENIENT, ["1.9", we("1.10"), "1.9"], ["1.10"], "history/turned-away"),
    "lenient, newer": (LENIENT, ["1.9", we("1.10"), "1.9"], ["1.10", "2"], "to 2"),
    # version: rows of numbers of any length
    "version": (DOTTED, ["24.04.1-b", we("24.04.10-a"), "24.04.1-b"], ["24.04.10-c"], "history/turned-away"),
    "version, newer": (DOTTED, ["24.04.1-b", we("24.04.10-a"), "24.04.1-b"], ["24.04.11-c"], "to 24.04.11-c"),
    # numeric: integers of any size, whatever the rest of the tag
    "numeric": (NUMERIC, ["main-a-9", we("main-b-10"), "main-a-9"], ["main-c-10"], "history/turned-away"),
    "numeric, newer": (NUMERIC, ["main-a-9", we("main-b-10"), "main-a-9"], ["main-c-11"], "to main-c-11"),
    "alphabetical": (ALPHABETICAL, ["b", we("d"), "b"], ["c", "d"], "history/turned-away"),
    "alphabetical, newer": (ALPHABETICAL, ["b", we("d"), "b"], ["d", "e"], "to e"),
    # the order of the policy changed: the present one counts, back to the beginning
    "from alphabetical to numeric": (
        NUMERIC, ["main-a-9", "main-a-100", we("main-a-9"), "main-a-10"], ["main-a-100"],
        "history/turned-away",
    ),
    "from dates to semver, which cannot read them": (
        SEMVER, ["1.4.2", we("2026-11-01"), "2026-10-01"], ["1.4.3"], "to 1.4.3",
    ),
    "from one glob to another": (
        'order: numeric\nglob: "rel-{key}"', ["rel-9", "main-a-99", "rel-8"], ["rel-10"], "to rel-10",
    ),
    "from a range to a wider one": (
        SEMVER, ["1.4.2", "2.0.0", we("1.4.2"), "1.4.1"], ["2.0.0"], "history/turned-away",
    ),
    "our release went down under another order, and past a rejection above": (
        SEMVER, [we("1.4.0"), "1.9.0", "2.0.0"], ["1.9.1", "2.0.0"], "history/turned-away",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "values", "tags", "expected"), CASES.values(), ids=CASES)
def test_what_was_turned_away_stays_away(
    keys: str, values: list[Wrote | str], tags: list[str], expected: str
) -> None:
    now = values[0].value if isinstance(values[0], Wrote) else values[0]
    found = sites(now)
    history = past(found[0], *values)
    world = World(workload(*keys.splitlines()), found, [now, *tags], pasts={found[0].file: history})
    assert told(world.decide()) == expected


def test_followed_digests_never_come_back() -> None:
    one, two, three = (digest(text) for text in ("one", "two", "7"))
    found = sites(f"7@{one}")
    history = past(found[0], f"7@{one}", we(f"7@{two}"), f"7@{one}")
    owned = workload('follow: "7"')
    world = World(owned, found, (), pasts={found[0].file: history})
    assert told(world.decide()) == "to 7"
    left = past(found[0], f"7@{one}", we(f"7@{three}"), f"7@{one}")
    assert told(World(owned, found, (), pasts={found[0].file: left}).decide()) == "history/digest-left"


# -- newest: build times, and commits whose clocks are wrong --------------------------------------------

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def wrote(tag: str, at: float | None) -> HeldValue:
    return HeldValue(tag, None, f"{tag}-{at}", "Ann", None if at is None else day(at))


# Commit times of the values a (now), gone (its date is lost), b (first): what was built before that day is
# turned away with `gone`.
CLOCKS = {
    "right": ((3, 2, 1), 2),
    "the one that wrote it was behind": ((3, -300, 1), 1),
    "it was ahead": ((3, 9_000, 1), 3),
    "all that came later were behind": ((-300, 2, 1), -300),
}


@pytest.mark.parametrize(("times", "until"), CLOCKS.values(), ids=CLOCKS)
def test_a_lost_date_is_bounded_by_what_was_written_before_and_after(
    times: tuple[float, float, float], until: float
) -> None:
    history = SiteHistory(tuple(map(wrote, ("a", "gone", "b"), times)), True)
    built = {"a": day(-400), "b": day(-500)}
    found = turned_away(history, built["a"], built.get)
    assert found is not None
    assert found.rejects(day(until))
    assert not found.rejects(day(until + 0.1))


# -- stays, and the version before ------------------------------------------------------------------------


def test_stays_begin_and_end_with_commits_and_never_end_before_they_begin() -> None:
    held = (
        replace(wrote("c", 5), until=None),
        replace(wrote("b", 3), until=day(4)),  # the file was away for a day
        replace(wrote("a", 2), until=day(1)),  # a clock was wrong
        HeldValue("old", None, until=day(2)),
    )
    found = stays(SiteHistory(held, False))
    assert [(s.tag, s.since, s.until) for s in found] == [
        ("c", day(5), None),
        ("b", day(3), day(4)),
        ("a", day(2), day(2)),
        ("old", None, day(2)),
    ]
    assert [s.writer for s in found] == [Writer.PERSON] * 3 + [Writer.UNKNOWN]


def test_a_stay_whose_end_was_not_read_is_not_longer_than_known() -> None:
    found = stays(SiteHistory((wrote("b", 9), wrote("a", 2)), True))
    assert (found[1].since, found[1].until) == (day(2), day(2))


PREVIOUS = {
    "nothing before": (["1.4.2"], None),
    "the one before": ([we("1.4.3"), "1.4.2"], "1.4.2"),
    "what was turned away is passed over": ([we("1.4.4"), "1.4.2", we("1.4.3"), "1.4.2"], "1.4.2"),
    "down again": (["1.4.2", we("1.4.3"), "1.4.2", "1.4.1"], "1.4.1"),
    "a rollback leaves what it left": (
        [Wrote("1.4.1", ours=True, kind="rollback", actor="Ann"), we("1.4.3"), "1.4.2", "1.4.0"], "1.4.0",
    ),
    "a rollback to what was never there": (
        [Wrote("1.4.1", ours=True, kind="rollback", actor="Ann"), we("1.4.3"), "1.4.2"], None,
    ),
    "lifted again": (["1.4.3", "1.4.2", we("1.4.3"), "1.4.2"], "1.4.2"),
    "down by hand to what was never there": (["1.4.1", we("1.4.3"), "1.4.0"], "1.4.0"),
    "our release downwards can be undone": ([we("1.4.1"), "1.4.3"], "1.4.3"),
    "digests under one tag": ([f"7@{digest('b')}", f"7@{digest('a')}"], f"7@{digest('a')}"),
}  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), PREVIOUS.values(), ids=PREVIOUS)
def test_the_version_before(values: list[Wrote | str], expected: str | None) -> None:
    now = values[0].value if isinstance(values[0], Wrote) else values[0]
    found = previous_version(past(sites(now)[0], *values), workload(SEMVER).rule.rank)
    assert (None if found is None else str(found)) == expected


TAGS = st.sampled_from(["1.0.0", "1.1.0", "1.2.0", "1.10.0", "2.0.0"])


@given(st.lists(TAGS, min_size=1, max_size=8), st.lists(TAGS, unique=True, max_size=5))
def test_nothing_that_stood_above_the_present_version_is_released(
    values: list[str], listed: list[str]
) -> None:
    """People alone wrote: whatever is released is newer than all that ever stood there."""
    found = sites(values[0])
    owned = workload(SEMVER)
    history = past(found[0], *[v for i, v in enumerate(values) if i == 0 or v != values[i - 1]])
    world = World(owned, found, [values[0], *listed], pasts={found[0].file: history})
    decision = told(world.decide())
    if decision.startswith("to "):
        rank = owned.rule.rank
        assert all(rank(decision[3:]) > rank(value) for value in values)


@given(st.lists(TAGS, min_size=1, max_size=8))
def test_the_version_before_is_another_one_that_stood_there(values: list[str]) -> None:
    found = previous_version(past(sites(values[0])[0], *values), workload(SEMVER).rule.rank)
    if found is not None:
        assert found.tag in values
        assert found.tag != values[0]
