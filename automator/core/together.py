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
    CLOCKS,
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
    must_be_seen,
    newer,
    people,
    prepare,
    release,
    shown_current,
    stopped_by_person,
)
from automator.core.guards import Stop
from automator.core.heirs import is_heir
from automator.core.policy import Candidate, Group, Workload
from automator.core.reference import Image, TagList
from automator.core.site import Site
from automator.core.standing import current_of
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
    if blocked or any(_is_stopped_already(member, now) for member in ordered):
        return _none_asked(group, ordered, blocked, now, limits)
    if group.match == "any":
        return _each_its_own(group, ordered, now, limits)
    apart = _apart(group, ordered)
    if apart is not None:
        return {
            m.workload.name: Stay(Status.HELD, apart, shown_current(m.workload, m.sites, m.facts))
            for m in ordered
        }
    return _one_version(group, ordered, now, limits)


def _apart(group: Group, members: Sequence[Member]) -> Reason | None:
    """Why versions of the members cannot be compared, where some take the order of upstream: what policies
    say themselves was looked at when they were read."""
    known = [m.workload for m in members if not is_heir(m.workload)]
    first = next(iter(known), None)
    other = next((w for w in known if first is not None and w.rule.order != first.rule.order), None)
    problem = "versions are ordered otherwise"
    if first is not None and other is None and first.rule.followed is not None:
        other, problem = first, "a followed tag has no version that a group could agree on"
    if first is None or other is None:
        return None
    return reason(
        "policy/group-differs",
        place=first.place_of("group"),
        group=group.name,
        problem=problem,
        other=other.name,
        other_place=other.place_of("group"),
    )


def _is_stopped_already(member: Member, now: datetime) -> bool:
    """Whether a member cannot move, whatever registries and history would say."""
    return (
        not member.sites
        or stopped_by_person(member.workload, now) is not None
        or any(site.held is not None for site in member.sites)
    )


def _none_asked(
    group: Group, members: Sequence[Member], blocked: Mapping[str, Reason], now: datetime, limits: Limits
) -> Answers:
    """A group that cannot move: what can be told of each member without one more fact."""
    found = {
        m.workload.name: prepare(m.workload, m.sites, m.tags, m.facts, now, limits, m.judged) for m in members
    }
    stopping = {
        name: s for name, s in found.items() if isinstance(s, Stay) and s.status is not Status.CURRENT
    }
    who, why, status = _culprit(stopping, blocked)
    outcome: dict[str, Decision | Need] = {}
    for member in members:
        name = member.workload.name
        ground = found[name]
        if isinstance(ground, Ground) and not newer(ground, member.facts):
            stay = choose(ground, member.facts, now, limits)
            outcome[name] = _at_newest(ground) if isinstance(stay, Need) else stay
        elif isinstance(ground, Ground):
            outcome[name] = _member_stops(group, ground, ground.candidates[0].tag, who, why, status)
        elif isinstance(ground, Stay):
            outcome[name] = ground
        else:
            tag = member.workload.rule.followed
            told = for_its_sake(group.name, who, why, tag or "whatever is newer")
            shown = shown_current(member.workload, member.sites, member.facts)
            outcome[name] = Stay(status, told, shown, tag)
    return outcome


def _each_its_own(group: Group, members: Sequence[Member], now: datetime, limits: Limits) -> Answers:
    found: dict[str, Decision | Need] = {
        m.workload.name: decide(m.workload, m.sites, m.tags, m.facts, now, limits, m.judged) for m in members
    }
    needs = _needs(found)
    if needs:
        return needs
    stops: dict[str, Stay | Stop] = {}
    for member in members:
        name, stay = member.workload.name, found[member.workload.name]
        if isinstance(stay, Stay) and stay.status is not Status.CURRENT:
            stops[name] = stay
        elif isinstance(stay, Stay):  # the windows of who need not move stop the others all the same
            tag = member.workload.rule.followed or current_of(member.workload, member.sites, member.facts).tag
            window = guards.closed(member.workload, tag or "", now)
            if window is not None:
                stops[name] = window
    return _all_or_none(group, found, stops)


def _one_version(group: Group, members: Sequence[Member], now: datetime, limits: Limits) -> Answers:
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
    if stopping:
        for name, ground in moving.items():
            settled[name] = _waits_for(group, ground, stopping)
        return settled
    refusals = {name: people(ground, facts[name]) for name, ground in moving.items()}
    if _needs(refusals):
        return _needs(refusals)
    for name, answer in refusals.items():
        if isinstance(answer, Stay):
            stopping[name] = settled[name] = answer
    if stopping:
        for name in moving.keys() - stopping.keys():
            settled[name] = _waits_for(group, moving[name], stopping)
        return settled
    tests = {name: answer for name, answer in refusals.items() if callable(answer)}
    return _together(_Open(group, grounds, tests, facts, now, limits), settled)


class _Open(NamedTuple):
    """A group of which some members may move, as far as they themselves and people are concerned."""

    group: Group
    grounds: Mapping[str, Ground]
    refusals: Mapping[str, Refusal]
    """What people turned away, for each member that moves."""
    facts: Mapping[str, Facts]
    now: datetime
    limits: Limits

    def answers(self, version: Mapping[str, Ranked], *, polls: bool) -> dict[str, Image | Stop | Need]:
        """What becomes of a version for each member that would move to it, and the windows of those that
        are at it and are closed now."""
        found: dict[str, Image | Stop | Need] = {}
        for name in self.grounds.keys() - version.keys():
            ground = self.grounds[name]
            window = guards.closed(ground.workload, ground.current.tag or "", self.now)
            if window is not None:
                found[name] = window
        for name, candidate in version.items():
            ground, why = self.grounds[name], self.refusals[name](candidate)
            found[name] = (
                guards.passes(
                    ground.workload, ground.current, candidate.tag, self.facts[name], self.now, polls=polls
                )
                if why is None
                else Stop(Status.HELD, why)
            )
        return found

    def must_be_seen(self, version: Mapping[str, Ranked]) -> bool:
        """Whether looking at a version could only start another clock."""
        return any(
            self.grounds[name].workload.guards.min_age is not None
            and must_be_seen(self.grounds[name].workload, candidate.tag, self.facts[name])
            for name, candidate in version.items()
        )

    def was_looked_up(self, version: Mapping[str, Ranked]) -> bool:
        """Whether a registry was asked about a version in this cycle."""
        return any(candidate.tag in self.facts[name].images for name, candidate in version.items())


class _Stopped(NamedTuple):
    """A version that some members cannot go to now, and why."""

    version: Mapping[str, Ranked]
    stops: Mapping[str, Stop]

    @property
    def ends(self) -> tuple[datetime, str] | None:
        """When the last of its stops ends by itself, and at which member; None where one does not."""
        who = _last(self.stops)
        at = self.stops[who].reason.changes_at
        return None if at is None else (at, who)


def _together(open_to: _Open, settled: Mapping[str, Decision | Need]) -> Answers:
    """The best version that all members share and whose guards all let it through."""
    group, grounds, facts = open_to.group, open_to.grounds, open_to.facts
    stopped: list[_Stopped] = []
    clocks = looked_up = 0
    for i, version in enumerate(shared(grounds, facts)):
        if clocks >= CLOCKS and open_to.must_be_seen(version):
            continue
        answers = open_to.answers(version, polls=i == 0)
        stops = {name: stop for name, stop in answers.items() if isinstance(stop, Stop)}
        passing = {name: stop for name, stop in stops.items() if not stop.is_final}
        needs = _needs(answers)
        if needs and all(stop.reason.changes_at is not None for stop in passing.values()):
            if looked_up < open_to.limits.lookups:
                return needs
            stops = {name: _too_many(grounds[name], open_to.limits) for name in needs}
            return {**settled, **_none_passed(open_to, [_Stopped(version, stops)])}
        if not stops:
            images = {name: image for name, image in answers.items() if isinstance(image, Image)}
            moves = {
                name: _joined(group, release(grounds[name], version[name], image, facts[name]))
                for name, image in images.items()
            }
            return {**_current_at(grounds, version, moves), **settled, **moves}
        looked_up += open_to.was_looked_up(version)
        if not passing:  # without an answer nobody knows which version is the best
            return {**settled, **_none_passed(open_to, [_Stopped(version, stops)])}
        stopped.append(_Stopped(version, passing))
        ages = any(stop.reason.code == "guard/min-age" for stop in passing.values())
        clocks += ages and stopped[-1].ends is not None
    return {**settled, **_none_passed(open_to, stopped)}


def _joined(group: Group, move: Decision) -> Decision:
    return replace(move, together=group.name) if isinstance(move, Release) else move


def _too_many(ground: Ground, limits: Limits) -> Stop:
    why = reason("facts/too-many-candidates", limit=limits.lookups, image=ground.workload.repository)
    return Stop(Status.HELD, why, is_final=True)


def _none_passed(open_to: _Open, stopped: Sequence[_Stopped]) -> dict[str, Decision]:
    """Every member that could move stays: by a guard of its own, or for the sake of another member."""
    group, grounds = open_to.group, open_to.grounds
    outcome: dict[str, Decision] = {}
    if not stopped:
        for name in open_to.refusals:
            best = newer(grounds[name], open_to.facts[name])[0].tag
            why = reason("group/no-common", group=group.name, tag=best)
            outcome[name] = Stay(Status.HELD, why, grounds[name].shown, best)
        return outcome
    timed = [(found.ends, i) for i, found in enumerate(stopped) if found.ends is not None]
    if timed:  # the version that may go first by itself, and the member that is last to let it
        (_, who), i = min(timed)
        version, stops = stopped[i]
    else:
        version, stops = stopped[0]
        who = _last(stops)
    stop = stops[who]
    polled = any(stop.is_polled for _, stops in stopped for stop in stops.values())
    hourly = any(stop.is_of_digest for _, stops in stopped for stop in stops.values())
    for name in open_to.refusals:
        ground = grounds[name]
        tag = version[name].tag if name in version else newer(ground, open_to.facts[name])[0].tag
        if name == who:
            outcome[name] = Stay(stop.status, stop.reason, ground.shown, tag, polled, hourly)
        else:
            stay = _member_stops(group, ground, tag, who, stop.reason, stop.status)
            outcome[name] = replace(stay, polled=polled, hourly=hourly)
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
        elif ground.current.rank is not None and _is_accepted(ground):
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


def _is_accepted(ground: Ground) -> bool:
    """Whether filters and range accept the current version. That no list has it says nothing; under
    `order: newest` it is the same version as another's only where it is listed."""
    tag, rule = ground.current.tag, ground.workload.rule
    return tag is not None and rule.order != "newest" and isinstance(rule.judge(tag), Candidate)


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
        name: _at_newest(ground)
        for name, ground in grounds.items()
        if name not in version and name not in releases
    }


def _at_newest(ground: Ground) -> Stay:
    rule = ground.workload.rule
    why = reason("current/newest", current=ground.current.tag, count=ground.listed, rule=rule.text)
    return Stay(Status.CURRENT, why, ground.shown)


def _all_or_none(
    group: Group, found: Mapping[str, Decision | Need], stops: Mapping[str, Stay | Stop]
) -> Answers:
    """Each member's own decision where nothing stops any; else who would move, or may at a time at which
    another is stopped still, is told of the stop that lasts longest."""
    if not stops:
        return {
            name: _joined(group, decision)
            for name, decision in found.items()
            if not isinstance(decision, Need)
        }
    who, why, status = _culprit(stops, {})
    outcome: dict[str, Decision | Need] = {}
    for name, decision in found.items():
        if isinstance(decision, Release):
            told = for_its_sake(group.name, who, why, decision.tag)
            outcome[name] = Stay(status, told, decision.current, decision.tag)
        elif isinstance(decision, Stay) and decision.candidate and _ends_before(decision.reason, why):
            told = for_its_sake(group.name, who, why, decision.candidate)
            outcome[name] = replace(decision, status=status, reason=told)
        else:
            outcome[name] = decision
    return outcome


def _ends_before(stop: Reason, other: Reason) -> bool:
    if stop.changes_at is None:
        return False
    return other.changes_at is None or stop.changes_at < other.changes_at


def _waits_for(group: Group, ground: Ground, stopping: Mapping[str, Stay]) -> Stay:
    who, why, status = _culprit(stopping, {})
    return _member_stops(group, ground, ground.candidates[0].tag, who, why, status)


def _member_stops(group: Group, ground: Ground, tag: str, who: str, why: Reason, status: Status) -> Stay:
    held = Status.WAITING if status is Status.WAITING else Status.HELD
    return Stay(held, for_its_sake(group.name, who, why, tag), ground.shown, tag)


def _culprit(
    stopping: Mapping[str, Stay | Stop], blocked: Mapping[str, Reason]
) -> tuple[str, Reason, Status]:
    """Who holds the group longest, why, and what that makes the others."""
    if blocked:
        who, why = min(blocked.items())
        return who, why, Status.HELD
    who = _last(stopping)
    stop = stopping[who]
    return who, stop.reason, Status.WAITING if stop.status is Status.WAITING else Status.HELD


def _last(stops: Mapping[str, Stay | Stop]) -> str:
    """Whose stop ends last; before all, the first by name of those that do not end by themselves."""
    endless = [name for name, stop in stops.items() if stop.reason.changes_at is None]
    if endless:
        return min(endless)
    return max((at, name) for name, stop in stops.items() if (at := stop.reason.changes_at) is not None)[1]


def for_its_sake(group: str, who: str, why: Reason, tag: str) -> Reason:
    """Why the other members of a group stay: this one does, for this reason."""
    return reason(
        "group/member-stops",
        changes_at=why.changes_at,
        group=group,
        member=who,
        tag=tag,
        why=why.sentence,
        stopped_by=why.code,
    )


def _needs(found: Mapping[str, object]) -> dict[str, Decision | Need]:
    return {name: need for name, need in found.items() if isinstance(need, Need)}
