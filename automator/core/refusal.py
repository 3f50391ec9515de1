"""Refusal: what people turned away, took back or closed, as one test of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from automator.core.contest import contested, stands
from automator.core.facts import Declined, Facts, site_key
from automator.core.history import (
    HeldValue,
    Rank,
    Rejection,
    SiteHistory,
    departure,
    undone_downgrade,
)
from automator.core.policy import Workload
from automator.core.site import Site
from automator.core.standing import Current, ranking
from automator.reasons import Reason, reason


class Ranked(NamedTuple):
    """A candidate with its place in the order."""

    rank: Any
    """None under orders that compare something else than the tag."""
    tag: str
    key: str


Refusal = Callable[[Ranked], Reason | None]
"""Why people are against a version, or None."""


def refusal(
    workload: Workload, sites: tuple[Site, ...], current: Current, rejection: Rejection | None, facts: Facts
) -> Refusal:
    """The test of candidates for a rejection, past releases that were withdrawn or undone, and `accept`."""
    test = refusals(workload, sites, current, rejection, facts)
    return lambda candidate: next(test(candidate), None)


def refusals(
    workload: Workload, sites: tuple[Site, ...], current: Current, rejection: Rejection | None, facts: Facts
) -> Callable[[Ranked], Iterator[Reason]]:
    """As `refusal`, with everything that is against a candidate, the first one first."""
    rank_of = ranking(workload, facts)
    past = _pasts(sites, facts)
    undone = [found for history in past if (found := undone_downgrade(history, rank_of)) is not None]
    no_lower = max(undone, key=lambda found: found.rank, default=None)
    contest = next((two for history in past if (two := contested(history)) is not None), None)
    ranked = ((r, tag) for tag in facts.withdrawn if (r := rank_of(tag)) is not None)
    withdrawn = max(ranked, default=None)
    by_time = workload.rule.order == "newest"
    declined = [(d, rank_of(d.tag) or (d.built if by_time else None)) for d in facts.declined]

    def refused(candidate: Ranked) -> Iterator[Reason]:
        fought_over = stands(contest, workload, candidate.tag)
        if fought_over is not None:
            yield fought_over
        if workload.rule.names(workload.accept, candidate.tag):
            left = _turned_away_since(workload, past, facts, candidate, rank_of)
            if left is None and candidate.tag not in facts.unaccepted:
                return
            if left is not None:
                yield _accepted_before(candidate.tag, left)
        if rejection is not None and rejection.rejects(candidate.rank):
            yield rejection.reason
        goes_down = current.rank is not None and candidate.rank < current.rank
        closed = next((d for d, r in declined if _covers(d, r, candidate, current, down=goes_down)), None)
        if closed is not None:
            yield closed.reason
        if goes_down and no_lower is not None and candidate.rank <= no_lower.rank:
            yield no_lower.reason
        if candidate.tag in facts.withdrawn:
            yield reason("history/rewound", tag=candidate.tag, held=candidate.tag)
        elif withdrawn is not None and not goes_down and candidate.rank <= withdrawn[0]:
            yield reason("history/rewound", tag=candidate.tag, held=withdrawn[1])

    return refused


def accepted_digests(workload: Workload, sites: Iterable[Site], facts: Facts) -> frozenset[str]:
    """What `accept` lists of a followed tag's digests, but for those that were turned away since."""
    past = _pasts(sites, facts)

    def is_turned_away(digest: str) -> bool:
        found = (departure(history, lambda value: value.digest == digest) for history in past)
        return any(left is not None and digest in facts.outdated.get(left.commit or "", ()) for left in found)

    listed = (text for text in workload.accept if text not in facts.unaccepted)
    return frozenset(text for text in listed if not is_turned_away(text))


def _pasts(sites: Iterable[Site], facts: Facts) -> list[SiteHistory]:
    known = (facts.histories.get(site_key(site)) for site in sites)
    return [history for history in known if isinstance(history, SiteHistory)]


def _turned_away_since(
    workload: Workload, past: list[SiteHistory], facts: Facts, candidate: Ranked, rank_of: Rank
) -> HeldValue | None:
    """What people set instead of an accepted version after they had accepted it."""
    if not facts.outdated:
        return None

    def is_up(value: HeldValue) -> bool:
        rank = None if value.tag is None else rank_of(value.tag)
        return value.tag == candidate.tag or (None not in (rank, candidate.rank) and rank >= candidate.rank)

    for history in past:
        left = departure(history, is_up)
        if left is not None and left.commit is not None:
            listed = facts.outdated.get(left.commit, ())
            if workload.rule.names(listed, candidate.tag):
                return left
    return None


def _accepted_before(tag: str, left: HeldValue) -> Reason:
    return reason(
        "history/accepted-before",
        tag=tag,
        author=left.asked_by,
        version=str(left),
        commit=(left.commit or "")[:7],
    )


def _covers(declined: Declined, rank: Any, candidate: Ranked, current: Current, *, down: bool) -> bool:
    """Whether a version that people refused is this one, or above it and on the same side of the current."""
    if candidate.tag == declined.tag:
        return True
    if rank is None:
        return False
    is_below = current.rank is not None and rank < current.rank
    return is_below == down and bool(candidate.rank <= rank)
