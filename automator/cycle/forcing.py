"""Forcing: everything that a version goes past when a person forces it, as codes for the commit.

A cycle is content with the first obstacle; who reads the commit later wants to know of each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from automator.core import guards
from automator.core.decide import rejections, stopped_by_person
from automator.core.facts import Facts, Need
from automator.core.guards import Stop
from automator.core.history import combine
from automator.core.policy import Dropped, Workload
from automator.core.reference import Image
from automator.core.refusal import Ranked, refusals
from automator.core.standing import current_of, ranking
from automator.core.together import Member
from automator.cycle.run import Cycle

MOST_GUARDS = 12


def passed_by(cycle: Cycle, member: Member, tag: str, image: Image, now: datetime) -> Iterator[str]:
    """The codes of all that stands against a version of a workload; what cannot be found out is left out."""
    workload, facts = member.workload, member.facts
    stop = stopped_by_person(workload, now)
    if stop is not None:
        yield stop.code
    yield from (site.held.code for site in member.sites if site.held is not None)
    judged = None if workload.rule.followed is not None else workload.rule.judge(tag)
    if isinstance(judged, Dropped):
        yield judged.code
    yield from _by_people(member, tag)
    broken = guards.failed(workload, facts)
    if broken is not None:
        yield broken.code
    yield from _by_guards(cycle, member, tag, image, now)


def _by_people(member: Member, tag: str) -> Iterator[str]:
    """All that people have against it: what they turned away, took back, undid or closed."""
    workload, sites, facts = member.workload, member.sites, member.facts
    rank = ranking(workload, facts)(tag)
    if workload.rule.followed is not None or rank is None:
        return
    rejection = combine(rejections(workload, sites, facts))
    against = refusals(workload, sites, current_of(workload, sites, facts), rejection, facts)
    yield from (why.code for why in against(Ranked(rank, tag, tag)))


def _by_guards(cycle: Cycle, member: Member, tag: str, image: Image, now: datetime) -> Iterator[str]:
    """Each guard that stops it: the first one, then the first one without that, and so on."""
    workload = member.workload
    current = current_of(workload, member.sites, member.facts)
    facts = replace(member.facts, verification=None, images={**member.facts.images, tag: image})
    is_asked = False
    for _ in range(MOST_GUARDS):
        answer = guards.passes(workload, current, tag, facts, now)
        if isinstance(answer, Need) and not is_asked:
            is_asked = True
            cycle.facts.look_up([(workload.repository, answer)], now)
            facts = _learnt(facts, cycle.facts.known(workload, member.sites))
            continue
        if not isinstance(answer, Stop):
            return
        yield answer.reason.code
        without = _WITHOUT.get(answer.reason.code)
        if without is None:
            return
        workload, is_asked = without(workload), False


def _learnt(facts: Facts, found: Facts) -> Facts:
    return replace(
        facts,
        images={**found.images, **facts.images},
        seen=found.seen,
        signatures=found.signatures,
        upstreams=found.upstreams,
    )


def _guarded(**changes: object) -> Callable[[Workload], Workload]:
    def without(workload: Workload) -> Workload:
        return replace(workload, guards=replace(workload.guards, **changes))  # type: ignore[arg-type]

    return without


def _unrejecting(workload: Workload) -> Workload:
    return replace(workload, rule=replace(workload.rule, reject=()))


_WITHOUT: dict[str, Callable[[Workload], Workload]] = {
    "guard/step": _guarded(step=None),
    "guard/step-unknown": _guarded(step=None),
    "guard/min-age": _guarded(min_age=None, least_age=None),
    "guard/platforms": _guarded(platforms=()),
    "guard/unsigned": _guarded(signed_by=()),
    "guard/bad-signature": _guarded(signed_by=()),
    "guard/window": _guarded(windows=()),
    "guard/rejected-digest": _unrejecting,
    **dict.fromkeys(
        (
            "guard/after-rejected",
            "guard/after-never",
            "guard/after-not-there",
            "guard/after-unknown",
            "guard/after-unverified",
            "guard/soak",
            "guard/soak-ended",
        ),
        _guarded(after=None),
    ),
}
