"""Contests: what counts as two writers setting a field back and forth, what does not, and how it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.deciding import SEMVER, World, Wrote, code, digest, past, sites, told, workload

from automator.core.contest import MOVES, contested
from automator.core.decide import Decision

OLD, NEW = "1.4.2", "1.4.3"


def we(value: str, **more: str) -> Wrote:
    return Wrote(value, ours=True, **more)  # type: ignore[arg-type]


def bot(value: str) -> Wrote:
    return Wrote(value, who="Flux")


# The field's values, newest first, and whether two writers fight over it.
STORIES = {
    "we release, a bot undoes it, twice": ([bot(OLD), we(NEW), bot(OLD), we(NEW), OLD], True),
    "and on our side of it": ([we(NEW), bot(OLD), we(NEW), bot(OLD), NEW], True),
    "two automators": ([we(OLD), we(NEW), we(OLD), we(NEW), OLD], True),
    "for long": ([*[bot(OLD), we(NEW)] * 20, OLD], True),
    "one revert": ([OLD, we(NEW), OLD], False),
    "one revert, and a newer release": ([we("1.4.4"), OLD, we(NEW), OLD], False),
    "a revert, accepted later": ([we(NEW), OLD, we(NEW), OLD], False),
    "and rolled back again": (
        [we(OLD, kind="rollback", actor="Ann"), we(NEW), we(OLD, kind="rollback", actor="Ann"), we(NEW), OLD],
        False,
    ),
    "and accepted once more": (
        [we(NEW), we(OLD, kind="rollback", actor="Ann"), we(NEW), we(OLD, kind="rollback", actor="Ann"), NEW],
        False,
    ),
    "a bot, and in the end a person who asks": (
        [we(OLD, kind="rollback", actor="Ann"), we(NEW), bot(OLD), we(NEW), OLD],
        False,
    ),
    "a revert of a revert of a revert": ([OLD, NEW, OLD, we(NEW), OLD], False),
    "people among themselves": ([OLD, NEW, OLD, NEW, OLD], False),
    "each newer release undone": ([OLD, we("1.4.5"), OLD, we("1.4.4"), OLD, we(NEW), OLD], False),
    "somebody asked us each time": (
        [OLD, we(NEW, actor="Bob"), OLD, we(NEW, actor="Ann"), OLD],
        False,
    ),
    "rollbacks that people asked for": (
        [we(OLD, kind="rollback", actor="Ann"), NEW, we(OLD, kind="rollback", actor="Ann"), NEW, OLD],
        False,
    ),
    "settled by hand on our side": ([NEW, bot(OLD), we(NEW), bot(OLD), we(NEW), OLD], False),
    "settled by a third version": ([Wrote("1.4.1"), bot(OLD), we(NEW), bot(OLD), we(NEW), OLD], False),
    "four values only": ([bot(OLD), we(NEW), bot(OLD), NEW], False),
}


@pytest.mark.parametrize(("values", "expected"), STORIES.values(), ids=STORIES)
def test_what_counts_as_a_contest(values: list[Wrote | str], expected: bool) -> None:
    site = sites(values[0].value if isinstance(values[0], Wrote) else values[0])[0]
    assert (contested(past(site, *values)) is not None) is expected


def test_the_sentence_names_both_writers_the_versions_and_the_commits() -> None:
    site = sites(OLD)[0]
    found = contested(past(site, bot(OLD), we(NEW), bot(OLD), we(NEW), OLD))
    assert found is not None
    four = ", ".join(["0000000"] * MOVES)
    assert (
        found.reason.sentence == f"Flux and automator set it back and forth between 1.4.2 and 1.4.3 ({four})"
    )
    assert len(found.commits) == MOVES


def test_digests_that_are_swapped_under_one_tag_are_told_apart() -> None:
    one, other = f"7@{digest('one')}", f"7@{digest('other')}"
    found = contested(past(sites(one)[0], bot(one), we(other), bot(one), we(other), one))
    assert found is not None
    assert found.values == (one, other)


def fought_over(*lines: str, tags: tuple[str, ...] = (OLD, NEW)) -> Decision:
    found = sites(OLD)
    history = past(found[0], bot(OLD), we(NEW), bot(OLD), we(NEW), OLD)
    return World(workload(SEMVER, *lines), found, tags, pasts={found[0].file: history}).decide()


@pytest.mark.parametrize(
    ("lines", "tags", "expected"),
    [
        ((f'accept: ["{NEW}"]',), (OLD, NEW), "history/contested"),
        ((), (OLD, NEW), "history/contested"),
        ((), (OLD, NEW, "1.5.0"), "history/contested"),
        (('accept: ["1.5.0"]',), (OLD, NEW, "1.5.0"), "to 1.5.0"),
        (('accept: ["1.5.0"]',), (OLD, NEW, "1.6.0"), "history/contested"),
        ((), (OLD,), "current/newest"),
    ],
)
def test_it_is_left_alone_until_a_person_lists_another_version(
    lines: tuple[str, ...], tags: tuple[str, ...], expected: str
) -> None:
    decision = fought_over(*lines, tags=tags)
    assert told(decision) == expected


def test_a_followed_tag_is_left_alone_too() -> None:
    ours, theirs = f"7@{digest('7')}", f"7@{digest('theirs')}"
    found = sites(theirs)
    history = past(found[0], bot(theirs), we(ours), bot(theirs), we(ours), theirs)
    accepted = workload('follow: "7"', f'accept: ["{digest("7")}"]')
    assert code(World(accepted, found, (), pasts={found[0].file: history}).decide()) == "history/contested"


@given(st.lists(st.tuples(st.sampled_from((OLD, NEW, "1.4.4")), st.booleans()), min_size=1, max_size=9))
def test_no_contest_without_two_moves_of_an_automator_to_the_same_version(
    told_values: list[tuple[str, bool]],
) -> None:
    values = [
        v for i, v in enumerate(told_values) if i + 1 == len(told_values) or v[0] != told_values[i + 1][0]
    ]
    values[-1] = values[-1][0], False
    history = past(sites(values[0][0])[0], *(we(v) if ours else Wrote(v) for v, ours in values))
    found = contested(history)
    if found is not None:
        ours = [value for value, by_us in values[:MOVES] if by_us]
        assert any(ours.count(value) >= 2 for value in found.values)
        assert {value for value, _ in values[: MOVES + 1]} == set(found.values)
