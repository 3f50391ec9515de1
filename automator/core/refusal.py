"""Refusal: what people turned away, took back or closed, as one test of candidates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from automator.core.contest import contested, stands
from automator.core.facts import Declined, Facts, site_key
from automator.core.history import Rejection, SiteHistory, undone_downgrade
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
    rank_of = ranking(workload, facts)
    known = (facts.histories.get(site_key(site)) for site in sites)
    past = [history for history in known if isinstance(history, SiteHistory)]
    undone = [found for history in past if (found := undone_downgrade(history, rank_of)) is not None]
    no_lower = max(undone, key=lambda found: found.rank, default=None)
    contest = next((two for history in past if (two := contested(history)) is not None), None)
    ranked = ((r, tag) for tag in facts.withdrawn if (r := rank_of(tag)) is not None)
    withdrawn = max(ranked, default=None)
    by_time = workload.rule.order == "newest"
    declined = [(d, rank_of(d.tag) or (d.built if by_time else None)) for d in facts.declined]

    def refused(candidate: Ranked) -> Reason | None:
        fought_over = stands(contest, workload, candidate.tag)
        if fought_over is not None:
            return fought_over
        if workload.rule.names(workload.accept, candidate.tag):
            return None
        if rejection is not None and rejection.rejects(candidate.rank):
            return rejection.reason
        goes_down = current.rank is not None and candidate.rank < current.rank
        closed = next((d for d, r in declined if _covers(d, r, candidate, current, down=goes_down)), None)
        if closed is not None:
            return closed.reason
        if goes_down and no_lower is not None and candidate.rank <= no_lower.rank:
            return no_lower.reason
        if candidate.tag in facts.withdrawn:
            return reason("history/rewound", tag=candidate.tag, held=candidate.tag)
        if withdrawn is not None and not goes_down and candidate.rank <= withdrawn[0]:
            return reason("history/rewound", tag=candidate.tag, held=withdrawn[1])
        return None

    return refused


def _covers(declined: Declined, rank: Any, candidate: Ranked, current: Current, *, down: bool) -> bool:
    """Whether a version that people refused is this one, or above it and on the same side of the current."""
    if candidate.tag == declined.tag:
        return True
    if rank is None:
        return False
    is_below = current.rank is not None and rank < current.rank
    return is_below == down and bool(candidate.rank <= rank)
