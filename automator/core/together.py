"""Groups: workloads that move together, in one commit, or not at all.

With `match: version` all members go to one version, which every member's filters and guards accept;
with `match: any` each goes to its own, and all of them wait for the one that cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from automator.core import guards
from automator.core.decide import (
    DEFAULT_LIMITS,
    Decision,
    Facts,
    Ground,
    Judged,
    Limits,
    Need,
    Ranked,
    Refusal,
    Release,
    Stay,
    Unavailable,
    choose,
    decide,
    newer,
    people,
    prepare,
    release,
)
from automator.core.guards import Stop
from automator.core.policy import Group, Workload
from automator.core.reference import Image, TagList
from automator.core.site import Site
from automator.reasons import Reason, Status, reason


class Member(NamedTuple):
    """One workload of a group, with what is known for it."""

    workload: Workload
    sites: tuple[Site, ...]
    tags: TagList | Unavailable
    facts: Facts
    judged: Judged | None = None


Answers = Mapping[str, Decision | Need]


def decide_group(
    group: Group,
    members: Sequence[Member],
    blocked: Mapping[str, Reason],
    now: datetime,
    limits: Limits = DEFAULT_LIMITS,
) -> Answers:
    """Decide the members of a group: what is decided for each, or, for some, the facts that are missing;
    then none is decided yet.

    `blocked` are members that cannot be decided at all (invalid, contested sites), with the reason: they
    hold the others. The result does not depend on the order of the members.
    """
    ordered = sorted(members, key=lambda member: member.workload.name)
    if group.match == "any":
        return _each_its_own(group, ordered, blocked, now, limits)
    return _one_version(group, ordered, blocked, now, limits)


def _each_its_own(
    group: Group, members: Sequence[Member], blocked: Mapping[str, Reason], now: datetime, limits: Limits
) -> Answers:
    found: dict[str, Decision | Need] = {
        m.workload.name: decide(m.workload, m.sites, m.tags, m.facts, now, limits, m.judged) for m in members
    }
    needs = _needs(found)
    if needs:
        return needs
    stays = [(name, stay) for name, stay in found.items() if isinstance(stay, Stay)]
    stopping = {name: stay for name, stay in stays if stay.status is not Status.CURRENT}
    return _all_or_none(group, found, stopping, blocked)


def _one_version(
    group: Group, members: Sequence[Member], blocked: Mapping[str, Reason], now: datetime, limits: Limits
) -> Answers:
    found: dict[str, Ground | Decision | Need] = {
        m.workload.name: prepare(m.workload, m.sites, m.tags, m.facts, now, limits, m.judged) for m in members
    }
    needs = _needs(found)
    if needs:
        return needs
    facts = {m.workload.name: m.facts for m in members}
    grounds = {name: ground for name, ground in found.items() if isinstance(ground, Ground)}
    stays = {name: stay for name, stay in found.items() if isinstance(stay, Stay)}
    moving = {name: g for name, g in grounds.items() if newer(g, facts[name])}
    settled: dict[str, Decision | Need] = dict(stays)
    for name in grounds.keys() - moving.keys():
        settled[name] = choose(grounds[name], facts[name], now, limits)  # current, or nothing to take
    if _needs(settled):
        return _needs(settled)
    stopping = {n: s for n, s in settled.items() if isinstance(s, Stay) and s.status is not Status.CURRENT}
    if not moving:
        return settled
    if stopping or blocked:
        for name, ground in moving.items():
            settled[name] = _waits_for(group, ground, stopping, blocked)
        return settled
    refusals = {name: people(ground, facts[name]) for name, ground in moving.items()}
    if _needs(refusals):
        return _needs(refusals)
    for name, answer in refusals.items():
        if isinstance(answer, Stay):
            stopping[name] = settled[name] = answer
    if stopping:
        for name in moving.keys() - stopping.keys():
            settled[name] = _waits_for(group, moving[name], stopping, blocked)
        return settled
    tests = {name: answer for name, answer in refusals.items() if callable(answer)}
    return _together(group, grounds, tests, facts, settled, now)


def _together(
    group: Group,
    grounds: Mapping[str, Ground],
    refusals: Mapping[str, Refusal],
    facts: Mapping[str, Facts],
    settled: dict[str, Decision | Need],
    now: datetime,
) -> Answers:
    """The best version that all members share and whose guards all let it through."""
    first_stops: dict[str, tuple[str, Stop]] = {}
    timed: list[tuple[datetime, str, str, Stop]] = []
    for version in shared(grounds, facts):
        answers: dict[str, Image | Stop | Need] = {}
        for name, candidate in version.items():
            why = refusals[name](candidate)
            if why is not None:
                answers[name] = Stop(Status.HELD, why)
            else:
                answers[name] = guards.passes(
                    grounds[name].workload, grounds[name].current, candidate.tag, facts[name], now
                )
        needs = _needs(answers)
        if needs:
            return needs
        stops = {name: stop for name, stop in answers.items() if isinstance(stop, Stop)}
        if not stops:
            releases = {
                name: release(grounds[name], version[name], image, facts[name])
                for name, image in answers.items()
                if isinstance(image, Image)
            }
            return {
                **settled,
                **_current_at(grounds, version, releases),
                **{
                    n: replace(r, together=group.name) if isinstance(r, Release) else r
                    for n, r in releases.items()
                },
            }
        for name, stop in stops.items():
            first_stops.setdefault(name, (version[name].tag, stop))
            if stop.reason.changes_at is not None:
                timed.append((stop.reason.changes_at, name, version[name].tag, stop))
        if any(stop.is_final for stop in stops.values()):
            break
    return {**settled, **_none_passed(group, grounds, refusals, first_stops, timed, facts)}


def _none_passed(
    group: Group,
    grounds: Mapping[str, Ground],
    moving: Mapping[str, Any],
    first_stops: Mapping[str, tuple[str, Stop]],
    timed: list[tuple[datetime, str, str, Stop]],
    facts: Mapping[str, Facts],
) -> dict[str, Decision]:
    """Every member that could move stays: by a guard of its own, or for the sake of another member."""
    outcome: dict[str, Decision] = {}
    if not first_stops:
        for name in moving:
            ground = grounds[name]
            best = newer(ground, facts[name])[0].tag
            why = reason("group/no-common", group=group.name, tag=best)
            outcome[name] = Stay(Status.HELD, why, ground.shown, best)
        return outcome
    if timed:  # what ends by itself first
        _, who, tag, stop = min(timed, key=lambda item: item[:3])
    else:
        who, (tag, stop) = min(first_stops.items())
    for name in moving:
        ground = grounds[name]
        if name == who:
            outcome[name] = Stay(stop.status, stop.reason, ground.shown, tag)
        else:
            outcome[name] = _member_stops(group, ground, who, stop.reason, stop.status)
    return outcome


def unshared(
    group: Group, members: Sequence[Member], name: str, now: datetime, limits: Limits
) -> dict[str, Reason]:
    """For the explanation of one member: its newer tags that another member of the group does not have,
    or cannot go to."""
    if group.match == "any":
        return {}
    facts = {m.workload.name: m.facts for m in members}
    found = {
        m.workload.name: prepare(m.workload, m.sites, m.tags, m.facts, now, limits, m.judged) for m in members
    }
    grounds = {n: ground for n, ground in found.items() if isinstance(ground, Ground)}
    if name not in grounds:
        return {}
    common = {v[name].tag for v in shared(grounds, facts) if name in v}
    return {
        candidate.tag: reason("group/no-common", group=group.name, tag=candidate.tag)
        for candidate in newer(grounds[name], facts[name])
        if candidate.tag not in common
    }


def shared(grounds: Mapping[str, Ground], facts: Mapping[str, Facts]) -> tuple[Mapping[str, Ranked], ...]:
    """The versions that every member may go to or is at, best first: by member, for those that move."""
    offers: dict[str, dict[Any, Ranked | None]] = {}
    for name, ground in grounds.items():
        offered: dict[Any, Ranked | None] = {}
        for candidate in newer(ground, facts[name]):
            offered.setdefault(_identity(ground, candidate), candidate)
        here = next((c for c in ground.candidates if c.tag == ground.current.tag), None)
        if here is not None:
            offered[_identity(ground, here)] = None
        elif ground.current.rank is not None and ground.workload.rule.order != "newest":
            offered[ground.current.rank] = None
        offers[name] = offered
    names = sorted(offers)
    common = set.intersection(*(set(offered) for offered in offers.values())) if offers else set()
    found = []
    for identity in common:
        version = {name: c for name in names if (c := offers[name][identity]) is not None}
        if version:
            found.append(version)
    return tuple(sorted(found, key=lambda v: _place(v, names), reverse=True))


def _identity(ground: Ground, candidate: Ranked) -> Any:
    """What makes versions of two members the same: the version itself, however it is spelled; under
    `order: newest` the key, since every image has a build time of its own."""
    return candidate.key if ground.workload.rule.order == "newest" else candidate.rank


def _place(version: Mapping[str, Ranked], names: Sequence[str]) -> tuple[Any, ...]:
    """The order of shared versions is that of the first member that moves."""
    first = next(name for name in names if name in version)
    return (version[first].rank, version[first].tag)


def _current_at(
    grounds: Mapping[str, Ground], version: Mapping[str, Ranked], releases: Mapping[str, Decision]
) -> dict[str, Decision]:
    """Members that are at the group's version already."""
    return {
        name: Stay(
            Status.CURRENT,
            reason(
                "current/newest",
                current=ground.current.tag,
                count=ground.listed,
                rule=ground.workload.rule.text,
            ),
            ground.shown,
        )
        for name, ground in grounds.items()
        if name not in version and name not in releases
    }


def _all_or_none(
    group: Group,
    found: Mapping[str, Decision | Need],
    stopping: Mapping[str, Stay],
    blocked: Mapping[str, Reason],
) -> Answers:
    outcome: dict[str, Decision | Need] = {}
    for name, decision in found.items():
        if not isinstance(decision, Release):
            outcome[name] = decision
        elif not (stopping or blocked):
            outcome[name] = replace(decision, together=group.name)
        else:
            who, why, status = _culprit(stopping, blocked)
            outcome[name] = Stay(
                status, _for_its_sake(group, who, why, decision.tag), decision.current, decision.tag
            )
    return outcome


def _waits_for(
    group: Group, ground: Ground, stopping: Mapping[str, Stay], blocked: Mapping[str, Reason]
) -> Stay:
    who, why, status = _culprit(stopping, blocked)
    return _member_stops(group, ground, who, why, status)


def _member_stops(group: Group, ground: Ground, who: str, why: Reason, status: Status) -> Stay:
    best = ground.candidates[0].tag
    held = Status.WAITING if status is Status.WAITING else Status.HELD
    return Stay(held, _for_its_sake(group, who, why, best), ground.shown, best)


def _culprit(stopping: Mapping[str, Stay], blocked: Mapping[str, Reason]) -> tuple[str, Reason, Status]:
    if blocked:
        who, why = min(blocked.items())
        return who, why, Status.HELD
    who, stay = min(stopping.items())
    return who, stay.reason, Status.WAITING if stay.status is Status.WAITING else Status.HELD


def _for_its_sake(group: Group, who: str, why: Reason, tag: str) -> Reason:
    return reason(
        "group/member-stops",
        changes_at=why.changes_at,
        group=group.name,
        member=who,
        tag=tag,
        why=why.sentence,
        stopped_by=why.code,
    )


def _needs(found: Mapping[str, object]) -> dict[str, Decision | Need]:
    return {name: need for name, need in found.items() if isinstance(need, Need)}
