"""Explaining: for every tag, what became of it, by the same rules as the decision.

Asks the policy's one predicate and the steps of `decide`, so the two cannot disagree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from automator.core.decide import (
    Current,
    Decision,
    Facts,
    Release,
    Unavailable,
    built_rank,
    current_of,
    ranking,
    site_key,
    site_rank,
)
from automator.core.history import Rejection, SiteHistory, combine, turned_away
from automator.core.policy import Candidate, Dropped, Workload
from automator.core.reference import TagList
from automator.core.site import Site
from automator.reasons import Reason, reason


class Verdict(NamedTuple):
    """What became of one tag: kept, or dropped by the first rule that refused it."""

    tag: str
    key: str | None
    reason: Reason
    kept: bool


def explain(
    workload: Workload, sites: tuple[Site, ...], tags: TagList, facts: Facts, decision: Decision | None
) -> tuple[Verdict, ...]:
    """For every tag, newest first, whether it was kept, or the first rule that dropped it.

    `facts` are the ones `decision` was made with (None where some could not be had); tags that no
    rule can order come last.
    """
    rule = workload.rule
    judged = [rule.judge(tag) for tag in sorted(set(tags.tags), reverse=True)]
    dated = facts.built if rule.order == "newest" else {}
    current = current_of(workload, sites, facts)
    rejection = _known_rejection(workload, sites, facts)
    rows: list[tuple[tuple[int, Any, str], Verdict]] = []
    for item in judged:
        if isinstance(item, Dropped):
            rank = None if rule.order == "newest" else rule.rank(item.tag)
            rows.append((_sort_key(rank, item.tag), Verdict(item.tag, None, item.reason, False)))
            continue
        rank = built_rank(dated.get(item.tag)) if rule.order == "newest" else item.rank
        verdict = _verdict(item, rank, current, rejection, facts, decision)
        rows.append((_sort_key(rank, item.tag), verdict))
    rows.sort(key=lambda row: row[0], reverse=True)
    return tuple(verdict for _, verdict in rows)


def _verdict(
    item: Candidate,
    rank: Any,
    current: Current,
    rejection: Rejection | None,
    facts: Facts,
    decision: Decision | None,
) -> Verdict:
    tag = item.tag
    if isinstance(decision, Release) and tag == decision.tag:
        return Verdict(tag, item.key, reason("tag/chosen", tag=tag), True)
    if tag == current.tag:
        return Verdict(tag, item.key, reason("tag/current", tag=tag), True)
    if rank is None:
        return Verdict(tag, item.key, reason("tag/undated", tag=tag), False)
    if current.rank is not None and rank <= current.rank:
        return Verdict(tag, item.key, reason("tag/older", tag=tag, current=current.tag), False)
    if rejection is not None and rejection.rejects(rank):
        return Verdict(tag, item.key, rejection.reason, False)
    image = facts.images.get(tag)
    if isinstance(image, Unavailable):
        return Verdict(tag, item.key, image.reason, False)
    if isinstance(decision, Release):
        return Verdict(tag, item.key, reason("tag/lower", tag=tag, chosen=decision.tag), False)
    why = reason("tag/undecided", tag=tag) if decision is None else decision.reason
    return Verdict(tag, item.key, why, False)


def _known_rejection(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> Rejection | None:
    """The rejection, where the decision needed the history at all."""
    found = []
    for site in sites:
        history = facts.histories.get(site_key(site))
        if isinstance(history, SiteHistory):
            found.append(turned_away(history, site_rank(workload, site, facts), ranking(workload, facts)))
    return combine(tuple(found))


def _sort_key(rank: Any, tag: str) -> tuple[int, Any, str]:
    return (0, 0, tag) if rank is None else (1, rank, tag)
