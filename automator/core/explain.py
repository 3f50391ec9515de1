"""Explaining: for every tag, what became of it, by the same rules as the decision.

Asks the policy's one predicate and the steps of `decide`, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from automator.core import guards
from automator.core.decide import Decision, Facts, Need, Ranked, Refusal, Release, Stay, refusal, rejections
from automator.core.decide import excludes_current as excludes_current
from automator.core.guards import Stop
from automator.core.history import combine
from automator.core.policy import Candidate, Dropped, Workload
from automator.core.reference import TagList
from automator.core.site import Site
from automator.core.standing import Current, built_rank, current_of
from automator.reasons import Reason, Status, reason


class Verdict(NamedTuple):
    """What became of one tag: kept, or dropped by the first rule that refused it."""

    tag: str
    key: str | None
    reason: Reason
    kept: bool


class Question(NamedTuple):
    """What is explained: the workload and all that its decision was made from."""

    workload: Workload
    sites: tuple[Site, ...]
    facts: Facts
    now: datetime
    decision: Decision | None
    """None where facts could not be had."""
    group_stops: Mapping[str, Reason] = {}
    """Tags that another member of the workload's group refuses, and why."""


def explain(question: Question, tags: TagList) -> tuple[Verdict, ...]:
    """For every tag, newest first, whether it was kept, or the first rule that dropped it.

    The facts are the ones the decision was made with; tags that no rule can order come last.
    """
    workload, facts = question.workload, question.facts
    rule = workload.rule
    judged = [rule.judge(tag) for tag in sorted(set(tags.tags), reverse=True)]
    current = current_of(workload, question.sites, facts)
    if rule.followed is not None:
        current = Current(None, None)
    rejected = combine(rejections(workload, question.sites, facts))
    refused = refusal(workload, question.sites, current, rejected, facts)
    rows: list[tuple[tuple[int, Any, str], Verdict]] = []
    for item in judged:
        if isinstance(item, Dropped):
            rank = None if rule.order == "newest" else rule.rank(item.tag)
            rows.append((_sort_key(rank, item.tag), Verdict(item.tag, item.key, item.reason, False)))
            continue
        rank = built_rank(facts.built.get(item.tag)) if rule.order == "newest" else item.rank
        rows.append((_sort_key(rank, item.tag), _verdict(question, item, rank, current, refused)))
    rows.sort(key=lambda row: row[0], reverse=True)
    return tuple(verdict for _, verdict in rows)


def _verdict(question: Question, item: Candidate, rank: Any, current: Current, refused: Refusal) -> Verdict:
    tag, decision = item.tag, question.decision
    if isinstance(decision, Release) and tag == decision.tag:
        return Verdict(tag, item.key, reason("tag/chosen", tag=tag), True)
    if isinstance(decision, Stay) and decision.status is Status.CURRENT and question.workload.rule.followed:
        return Verdict(tag, item.key, decision.reason, True)
    if tag == current.tag:
        return Verdict(tag, item.key, reason("tag/current", tag=tag), True)
    return Verdict(tag, item.key, _dropped(question, Ranked(rank, tag, item.key), current, refused), False)


def _dropped(question: Question, candidate: Ranked, current: Current, refused: Refusal) -> Reason:
    """The first rule after filters and range that a tag does not pass."""
    workload, facts, decision = question.workload, question.facts, question.decision
    tag, rank = candidate.tag, candidate.rank
    if rank is None and workload.rule.followed is None:
        return reason("tag/undated", tag=tag)
    may_go_down = workload.downgrade and excludes_current(workload, current)
    if current.rank is not None and rank <= current.rank and not may_go_down:
        return reason("tag/older", tag=tag, current=current.tag)
    why = None if workload.rule.followed is not None else refused(candidate)
    if why is not None:
        return why
    if (
        isinstance(decision, Release)
        and not (decision.down or rank is None)
        and _is_lower(decision, rank, workload, facts)
    ):
        return reason("tag/lower", tag=tag, chosen=decision.tag)
    answer = guards.passes(workload, current, tag, facts, question.now)
    if isinstance(answer, Stop):
        # What stops the workload as a whole wins over a guard that ends before it does.
        whole = decision.reason if isinstance(decision, Stay) and decision.reason.code in _WHOLE else None
        return answer.reason if whole is None or _ends(whole) < _ends(answer.reason) else whole
    if tag in question.group_stops:
        return question.group_stops[tag]
    if isinstance(decision, Release):
        return reason("tag/lower", tag=tag, chosen=decision.tag)
    if isinstance(decision, Stay) and not isinstance(answer, Need):
        return decision.reason
    if isinstance(decision, Stay) and decision.candidate is None:
        return decision.reason
    return reason("tag/undecided", tag=tag)


_WHOLE = frozenset({"guard/hold", "guard/freeze", "group/member-stops"})


def _ends(why: Reason) -> datetime:
    """When a stop ends by itself; the end of time where it does not."""
    return why.changes_at or datetime.max.replace(tzinfo=UTC)


def _is_lower(decision: Release, rank: Any, workload: Workload, facts: Facts) -> bool:
    """Whether a tag was not looked at, since a better one passed."""
    if workload.rule.order == "newest":
        chosen = built_rank(facts.built.get(decision.tag))
    else:
        chosen = workload.rule.rank(decision.tag)
    return bool(chosen is not None and rank <= chosen)


def _sort_key(rank: Any, tag: str) -> tuple[int, Any, str]:
    return (0, 0, tag) if rank is None else (1, rank, tag)
