"""Versions and ranges: what Flux and Helm users expect of a range, and orders that never contradict."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from automator.core.version import (
    Constraint,
    Rank,
    alphabetical_rank,
    dotted_rank,
    is_prerelease,
    numeric_rank,
    parse_semver,
    semver_rank,
)
from automator.errors import InvalidConstraint

CONFORMANCE = Path(
    os.environ.get("AUTOMATOR_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance"
)

# Ranges that the recorded implementation reads otherwise than it describes, by two faults of its
# regular expressions: `|` counts as a digit there, and what follows an `x` is not looked at.
UPSTREAM_FAULTS = {
    ">=1||2.0 - 3": "a hyphen range right behind `||` is refused there",
    "2.x.1|0": "a single `|` behind an `x` is accepted there",
    "1.x.2x": "junk behind an `x` is accepted there",
}

INSIDE_AND_OUTSIDE = [
    (">=1.4 <2", "1.4.0 1.9.99 v1.5.0 1.10.0 1.4", "1.3.9 2.0.0 1.5.0-rc.1 2.0.0-rc.1 0.9.0 latest"),
    ("1.25.x", "1.25.0 1.25.17", "1.26.0 1.24.9 1.25.3-alpine"),
    ("~1.4.2", "1.4.2 1.4.9", "1.4.1 1.5.0"),
    ("~1", "1.0.0 1.99.0", "2.0.0 0.9.0"),
    ("^1.4.2", "1.4.2 1.9.0", "1.4.1 2.0.0"),
    ("^0.4.2", "0.4.2 0.4.9", "0.5.0 0.4.1 1.4.2"),
    ("^0.0.4", "0.0.4", "0.0.5 0.0.3"),
    ("^0.0", "0.0.1 0.0.99", "0.1.0"),
    (">1", "2.0.0 3.1.0", "1.9.9 1.0.0"),
    (">1.2", "1.3.0 2.0.0", "1.2.9"),
    ("<=1.2", "1.2.9 0.1.0", "1.3.0"),
    ("1.2 - 2", "1.2.0 2.9.9", "3.0.0 1.1.9"),
    ("1.2.3 - 1.4.5, !=1.3.0", "1.2.3 1.4.5 1.3.1", "1.4.6 1.3.0"),
    ("!=1.3", "1.2.9 1.4.0", "1.3.0 1.3.9"),
    ("!=1", "2.0.0 0.1.0", "1.0.0 1.9.9"),
    ("=1.2.3", "1.2.3 v1.2.3 1.2.3+build7", "1.2.4 1.2.3-rc1"),
    ("*", "0.0.0 99.0.0", "1.0.0-rc1"),
    ("~0.0.0", "0.0.0 99.0.0", "1.0.0-rc1"),
    (">=1.4-0", "1.4.0-rc.1 2.0.0-alpha 1.4.0", "1.3.9-rc.1 1.3.9"),
    (">=1.4.0-0 <1.5 || >=3", "1.4.1-rc.1 3.0.0", "3.0.0-rc.1 2.0.0"),
    ("<1.2 || =>2, =<3", "1.1.9 2.0.0 3.9.0", "1.5.0 4.0.0"),
    ("~>2025.2", "2025.02.03 v2025.2.17", "2025.3.0"),
    ("1 - 2<1.9", "1.0.0 1.8.9", "1.9.0 2.0.0"),
]

REFUSED = [
    ("", "empty"),
    ("  ", "empty"),
    (">=1 ||", "one side of `||` is empty"),
    ("==1.2", "`=` is"),
    (">=V1", "lower case"),
    (">=1.2.3.4", "does not begin with an operator and a version"),
    (">=1,", "missing at its end"),
    (">=1,, <2", "before a comma"),
    (">=1<2", "space or a comma is missing"),
    ("foo", '"foo"'),
    ("1.2-rc.01", "begins with 0"),
    ("1 -2", '"-2"'),
    (">=1 2 - 3", "first or after a comma"),
    ("18446744073709551616", "64 bits"),
    (">=1.2\u0663", "is missing before"),
    ("1." * 600, "characters"),
    *((text, "") for text in ("2.x.1|0", "1.x.2x")),
]


@pytest.mark.parametrize(("text", "inside", "outside"), INSIDE_AND_OUTSIDE)
def test_ranges(text: str, inside: str, outside: str) -> None:
    constraint = Constraint.parse(text)
    assert [tag for tag in inside.split() if not constraint.allows(tag)] == []
    assert [tag for tag in outside.split() if constraint.allows(tag)] == []


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_no_range_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(InvalidConstraint) as caught:
        Constraint.parse(text)
    assert caught.value.reason.code == "constraint/invalid"
    assert words in str(caught.value)


def test_prereleases_can_be_let_in_from_outside() -> None:
    constraint = Constraint.parse(">=1.4 <2")
    assert not constraint.allows("1.5.0-rc.1")
    assert constraint.allows("1.5.0-rc.1", prereleases=True)
    # The well-known trap, and the way to write what was meant.
    assert constraint.allows("2.0.0-rc.1", prereleases=True)
    assert not Constraint.parse(">=1.4 <2.0.0-0").allows("2.0.0-rc.1", prereleases=True)


@pytest.mark.parametrize("text", [">2 <1", "=1.2.3 >1.2.3", ">2 <1 || <1, >=1"])
def test_a_range_without_versions_is_known_as_such(text: str) -> None:
    assert Constraint.parse(text).empty
    assert not Constraint.parse(text + " || 1.x").empty


@pytest.mark.parametrize("text", ["^*", ">x", "<=*", "<*", "!=*"])
def test_stars_that_mislead_are_named(text: str) -> None:
    assert Constraint.parse(f">=1 || {text}").oddities == (text.replace("x", "*"),)
    assert Constraint.parse("* || >=* || ~x").oddities == ()


def recorded(name: str) -> list[dict[str, Any]]:
    file = CONFORMANCE / name
    return json.loads(file.read_text()) if file.exists() else []


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason=f"no conformance data in {CONFORMANCE}")
@pytest.mark.parametrize("name", ["masterminds_cases.json", "masterminds_golden.json"])
def test_agrees_with_the_recorded_answers(name: str) -> None:
    cases = [row for row in recorded(name) if row["constraint"] not in UPSTREAM_FAULTS]
    assert cases
    wrong = []
    for row in cases:
        try:
            got: bool | None = Constraint.parse(row["constraint"]).allows(
                row["version"], row["include_prerelease"]
            )
        except InvalidConstraint:
            got = None
        if got is not row["expected"]:
            wrong.append((row, got))
    assert not wrong


@pytest.mark.skipif(not CONFORMANCE.is_dir(), reason=f"no conformance data in {CONFORMANCE}")
def test_agrees_with_the_recorded_verdicts_on_ranges() -> None:
    wrong = []
    for row in recorded("masterminds_parse_cases.json"):
        try:
            Constraint.parse(row["constraint"])
            valid = True
        except InvalidConstraint:
            valid = False
        if valid is not row["valid"]:
            wrong.append(row)
    assert not wrong


def test_faults_of_the_recorded_implementation_are_not_copied() -> None:
    assert Constraint.parse(">=1||2.0 - 3").allows("1.5.0")
    for text in ("2.x.1|0", "1.x.2x"):
        with pytest.raises(InvalidConstraint):
            Constraint.parse(text)


# -- reading keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("1.2.3", "1.2.3", "1.2.3"),
        ("v1.2.3-rc.1", "1.2.3-rc.1", "1.2.3-rc.1"),
        ("v2025.02.03", "2025.2.3", "2025.2.3"),
        ("1.2", None, "1.2.0"),
        ("7", None, "7.0.0"),
        ("7-alpine", None, "7.0.0-alpine"),
        ("1.2.3.4", None, None),
        ("V1.2.3", None, None),
        ("1.2.3-01", None, None),
        ("1.2.3-", None, None),
        ("1.2.3\n", None, None),
        ("18446744073709551616.0.0", None, None),
        ("\u0661.\u0662.\u0663", None, None),
        ("latest", None, None),
        ("", None, None),
    ],
)
def test_semantic_versions(text: str, strict: str | None, lenient: str | None) -> None:
    def read(lenient: bool) -> str | None:
        found = parse_semver(text, lenient=lenient)
        return None if found is None else str(found)

    assert (read(False), read(True)) == (strict, lenient)


@pytest.mark.parametrize(
    ("rank", "ascending"),
    [
        (dotted_rank, "0 1 1.0.0.1 1.2 1.9 1.10 2026.01.15 2026.1.16 2026.10.1 20260101"),
        (numeric_rank, "0 7 08 10 99999999999999999999 100000000000000000000"),
        (alphabetical_rank, "1.10 1.9 Z a nightly-2026-01-15 nightly-2026-02-01"),
        (
            semver_rank,
            "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0",
        ),
    ],
)
def test_orders(rank: Callable[[str], Rank | None], ascending: str) -> None:
    ranks = [rank(text) for text in ascending.split()]
    assert None not in ranks
    assert all(a < b for a, b in itertools.pairwise(ranks))  # type: ignore[operator]


def test_what_an_order_cannot_read_has_no_rank() -> None:
    assert [dotted_rank(text) for text in ("", "1.", ".1", "1..2", "1.2-rc1", "latest", "1.²")] == [None] * 7
    assert [numeric_rank(text) for text in ("", "-1", "1.0", "1e3", "²", "abc")] == [None] * 6


def test_one_version_under_two_names_is_the_same() -> None:
    assert dotted_rank("1.2") == dotted_rank("v1.2.0")
    assert semver_rank("1.2", lenient=True) == semver_rank("v1.2.0", lenient=True)


numbers = st.integers(0, 3) | st.integers(0, 2**64 - 1)
identifier = (
    st.integers(0, 12).map(str)
    | st.from_regex(r"[0-9A-Za-z-]{1,4}", fullmatch=True).filter(lambda s: not (s.isdigit() and s[0] == "0"))
    | st.integers(0, 10**30).map(str)
)
versions = st.builds(
    lambda n, pre: ".".join(map(str, n)) + ("-" + ".".join(pre) if pre else ""),
    st.tuples(numbers, numbers, numbers),
    st.lists(identifier, max_size=3),
)


@given(versions, versions)
def test_ranks_order_as_semantic_versions_do(a: str, b: str) -> None:
    left, right = semver_rank(a), semver_rank(b)
    assert left is not None
    assert right is not None
    compared = semver.Version.parse(a).compare(b)
    assert ((left > right) - (left < right)) == compared
    assert parse_semver(f"v{a}") == semver.Version.parse(a)
    assert is_prerelease(left) == (semver.Version.parse(a).prerelease is not None)


@given(versions, versions)
def test_comparators_say_what_comparing_says(a: str, b: str) -> None:
    order = semver.Version.parse(a).compare(b)
    answers = {
        "=": order == 0,
        "!=": order != 0,
        ">": order > 0,
        ">=": order >= 0,
        "<": order < 0,
        "<=": order <= 0,
    }
    for operator, answer in answers.items():
        assert Constraint.parse(f"{operator} {b}").allows(a, prereleases=True) is answer


partial = st.from_regex(r"(0|1|2|10)(\.(0|1|2|x)(\.(0|1|2|\*))?)?(-(0|alpha|rc\.1))?", fullmatch=True)
comparator = st.builds(
    str.__add__, st.sampled_from(["", "=", "!=", ">", ">=", "<", "<=", "~", "^"]), partial
) | st.builds("{} - {}".format, partial, partial)
small = st.from_regex(r"(0|1|2|10)\.(0|1|2)\.(0|1|2)(-(0|alpha|rc\.1))?", fullmatch=True)


@given(st.lists(comparator, min_size=1, max_size=3), st.lists(comparator, min_size=1, max_size=3), small)
def test_commas_are_and_and_bars_are_or(left: list[str], right: list[str], tag: str) -> None:
    alone = [Constraint.parse(text) for text in left]
    together = Constraint.parse(", ".join(left))
    assert together.allows(tag, prereleases=True) is all(c.allows(tag, prereleases=True) for c in alone)
    either = Constraint.parse(f"{', '.join(left)} || {', '.join(right)}")
    for let_in in (False, True):
        other = Constraint.parse(", ".join(right)).allows(tag, let_in)
        assert either.allows(tag, let_in) is (together.allows(tag, let_in) or other)
    if either.empty:
        assert not either.allows(tag, prereleases=True)


@given(st.text(max_size=30) | st.text(alphabet="0123x*.-+ ~^<>=!|,v", max_size=20))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        Constraint.parse(text).allows(text)
    except InvalidConstraint as error:
        refusal = error.reason
    else:
        return
    assert refusal.sentence
    assert refusal.next_step


@given(st.text(max_size=40), st.lists(st.text(alphabet="0129.v-", max_size=6), max_size=6))
def test_every_order_is_total(text: str, keys: list[str]) -> None:
    for rank in (semver_rank, dotted_rank, numeric_rank, alphabetical_rank):
        rank(text)
        ranks = [found for key in keys if (found := rank(key)) is not None]
        ordered = sorted(ranks)
        assert all(a <= b for a, b in itertools.pairwise(ordered))
        ranks.reverse()
        assert sorted(ranks) == ordered
