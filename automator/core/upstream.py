"""Upstream: what a workload held, as proof for the workloads that come after it.

From the histories of its sites to `promotion.Upstream`. A workload held a version while all of its sites
did; a group held it while all of its members did, each with the digest of its own image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from automator.core.decide import Ranked, refusal, rejections
from automator.core.facts import Facts, site_key
from automator.core.history import HeldValue, SiteHistory
from automator.core.policy import Candidate, Workload
from automator.core.promotion import Stay, Upstream, stay_begins
from automator.core.reference import DIGEST
from automator.core.refusal import accepted_digests
from automator.core.rollout import Told, landing
from automator.core.site import Site
from automator.core.standing import Current, current_of, ranking
from automator.core.verification import State, Verification

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sights:
    """Since when commits of a branch have been seen there, by us."""

    at: Mapping[str, datetime]
    otherwise: datetime
    """What counts for a commit that is not among them, and for one that is older than the history read."""

    def of(self, commit: str | None) -> datetime:
        """When a commit was first seen."""
        return self.otherwise if commit is None else self.at.get(commit, self.otherwise)


class Span(NamedTuple):
    """One unbroken stay of one version."""

    tag: str
    digest: str | None
    since: datetime
    until: datetime
    """`NEVER` while it lasts."""
    committed: datetime | None = None
    """What the commit that began it says."""
    awaits: tuple[str, ...] = ()
    """What each runtime that is not known to have run it has to say."""

    @property
    def version(self) -> tuple[str, str | None]:
        return self.tag, self.digest


class Held(NamedTuple):
    """What one workload held."""

    workload: Workload
    spans: tuple[Span, ...]
    """Newest first."""
    complete: bool


def held_by(workload: Workload, histories: Sequence[SiteHistory], sights: Sights) -> Held:
    """What all sites of a workload held together."""
    each = [_spans(history, sights) for history in histories]
    spans = each[0] if each else ()
    for other in each[1:]:
        spans = both(spans, other, lambda one, two: one.version == two.version)
    return Held(workload, spans, all(history.complete for history in histories))


def commits_of(histories: Collection[SiteHistory]) -> frozenset[str]:
    """The commits whose first sight counts for stays."""
    return frozenset(v.commit for history in histories for v in history.held if v.commit is not None)


def both(
    spans: Sequence[Span], others: Sequence[Span], match: Callable[[Span, Span], bool]
) -> tuple[Span, ...]:
    """The parts of `spans` that fall together with matching ones of `others`, newest first."""
    found = [
        span._replace(
            since=max(span.since, other.since),
            until=min(span.until, other.until),
            awaits=tuple(dict.fromkeys((*span.awaits, *other.awaits))),
        )
        for span in spans
        for other in others
        if match(span, other) and max(span.since, other.since) < min(span.until, other.until)
    ]
    return tuple(sorted(found, key=lambda span: span.since, reverse=True))


def deployed_by(held: Held, told: Mapping[str, Told]) -> Held:
    """What a workload held, each stay from when all of its runtimes ran it; `told` is what each of them, by
    name, says of the workload, and is empty where none is known."""
    return held._replace(spans=tuple(_deployed(span, told) for span in held.spans)) if told else held


def _deployed(span: Span, told: Mapping[str, Told]) -> Span:
    until = None if span.until == NEVER else span.until
    found = landing(told, span.tag, span.digest, span.since, until)
    return span._replace(since=stay_begins(span.since, deployed=found.at), awaits=found.awaits)


def _spans(history: SiteHistory, sights: Sights) -> tuple[Span, ...]:
    """The stays of one site, as far as they prove something: with a tag, and a digest where it is known.

    A value of which the commit's change does not tell for sure that this site held it proves nothing, nor
    does the time of one whose end was not read.
    """
    found: list[Span] = []
    told = [value.commit for value in history.held if value.commit is not None]
    for i, value in enumerate(history.held):
        if value.tag is None or value.beside:
            continue
        begun = stay_begins(value.time or sights.otherwise, seen=sights.of(value.commit))
        until = NEVER if i == 0 else _ended(value, history.held[i - 1], begun, sights)
        digest = None if told.count(value.commit or "") > 1 else _digest(value)
        last = found[-1] if found else None
        if last is not None and last.version == (value.tag, digest) and _meet(value, history.held[i - 1]):
            found[-1] = last._replace(since=begun, committed=value.time)  # only how it is written was changed
        else:
            found.append(Span(value.tag, digest, begun, max(begun, until), value.time))
    return tuple(found)


def _ended(value: HeldValue, newer: HeldValue, begun: datetime, sights: Sights) -> datetime:
    if value.until is None:
        return begun
    seen = sights.at.get(newer.commit or "", value.until)
    return min(value.until, seen) if _meet(value, newer) else value.until


def _meet(value: HeldValue, newer: HeldValue) -> bool:
    return value.until is not None and value.until == newer.time


def _digest(value: HeldValue) -> str | None:
    """The digest that was written, or that our release says it took; its commit proves that."""
    if value.digest is not None or value.member is None:
        return value.digest
    return value.member.after.partition("@")[2] or None


# -- for those that come after ------------------------------------------------------------------------


def upstream_of(
    name: str,
    held: Held,
    series: Collection[Verification],
    rejected: frozenset[tuple[str, str | None]],
    *,
    learnt: bool = True,
) -> Upstream:
    """A workload as `after` asks about it; `series` is what checks said there, `rejected` what was turned
    away, `learnt` whether the forge was asked about the latter."""
    stays = tuple(
        Stay(
            span.tag,
            span.digest,
            span.since,
            None if span.until == NEVER else span.until,
            not held.workload.verify or _passed(series, span),
            span.committed,
            not held.workload.verify or _series_of(series, span) is not None,
            span.awaits,
        )
        for span in held.spans
    )
    return Upstream(name, stays, rejected, held.complete, learnt)


def turned_away_there(
    workload: Workload, sites: tuple[Site, ...], facts: Facts, tags: Collection[str]
) -> frozenset[tuple[str, str | None]]:
    """Of these tags, those that people turned away at a workload: by going back, by `reject`, by a rewind, by
    closing a pull request.

    `facts` has the histories of all its sites. What `accept` names there is not turned away.
    """
    rule = workload.rule
    by_name = {("", text) if DIGEST.fullmatch(text) else (text, None) for text in rule.reject}
    pasts = [past for site in sites if isinstance(past := facts.histories.get(site_key(site)), SiteHistory)]
    left = {digest for past in pasts for digest in digests_left(past, follows=rule.followed is not None)}
    accepted = accepted_digests(workload, sites, facts)
    by_name |= {("", digest) for digest in left - accepted}
    if rule.followed is not None:
        gone = {*facts.withdrawn, *(d.digest for d in facts.declined if d.digest is not None)}
        return frozenset(by_name | {("", digest) for digest in gone - accepted})
    rejected = [found for found in rejections(workload, sites, facts) if found is not None]
    if not (rejected or facts.withdrawn or facts.declined or by_name):
        return frozenset()
    rank_of = ranking(workload, facts)
    nobodys = replace(facts, declined=())
    tests = [refusal(workload, sites, Current(None, None), found, nobodys) for found in (*rejected, None)]
    # A closed pull request refuses what lies above the version that is there, not what is there already.
    current = current_of(workload, sites, facts)
    closed = refusal(workload, sites, current, None, facts)
    turned_away: set[tuple[str, str | None]] = set()
    for tag in tags:
        rank = rank_of(tag)
        judged = rule.judge(tag)
        key = judged.key if isinstance(judged, Candidate) else tag
        if rule.names(rule.reject, tag):
            turned_away.add((tag, None))
        elif rank is None:
            # Under `newest`: its build time is not known, so it may lie in what was turned away.
            if rejected and rule.order == "newest" and not rule.names(workload.accept, tag):
                turned_away.add((tag, None))
        elif any(refused(Ranked(rank, tag, key)) is not None for refused in tests) or (
            rank != current.rank
            and (why := closed(Ranked(rank, tag, key))) is not None
            and why.code == "proposal/closed"
        ):
            turned_away.add((tag, None))
    return frozenset(turned_away | by_name)


def digests_left(history: SiteHistory, *, follows: bool) -> frozenset[str]:
    """Digests that were turned away at a site whose tag stayed the same: those that it held after one that it
    went back to, by whomever, and, where it follows a tag, those that a person wrote another one over.

    What it holds now, or came to again, is not turned away.
    """
    line: list[tuple[str | None, str]] = []
    left: dict[str, None] = {}
    values = [value for value in reversed(history.held) if value.tag is not None or value.digest is not None]
    for i, value in enumerate(values):
        digest = _digest(value)
        before = None if i == 0 else _digest(values[i - 1])
        by_hand = value.commit is not None and value.record is None
        if follows and by_hand and before is not None and before != digest:
            left[before] = None
        if digest is None:
            continue
        version = (value.tag, digest)
        if version in line:
            place = line.index(version) + 1
            left.update((newer, None) for tag, newer in line[place:] if tag == value.tag)
            del line[place:]
        else:
            line.append(version)
        left.pop(digest, None)
    return frozenset(left)


def _passed(series: Collection[Verification], span: Span) -> bool:
    found = _series_of(series, span)
    return found is not None and found.state is State.PASSED


def _series_of(series: Collection[Verification], span: Span) -> Verification | None:
    for one in series:
        tag, _, digest = one.version.partition("@")
        if tag == span.tag and (not digest or digest == span.digest):
            return one
    return None


def in_group(group: Mapping[str, Held], name: str) -> Held:
    """What a member of a group held while the group was complete: under `match: version`, while every other
    member held the same version, whatever its image."""
    held = group[name]
    spans, complete = held.spans, held.complete
    by_version = held.workload.group is not None and held.workload.group.match == "version"
    for other in (other for who, other in sorted(group.items()) if who != name and by_version):
        spans = both(spans, other.spans, partial(_same, held, other))
        complete = complete and other.complete
    return held._replace(spans=spans, complete=complete)


def _same(held: Held, other: Held, mine: Span, theirs: Span) -> bool:
    """Whether two members were at one version, however each spells it."""
    if mine.tag == theirs.tag:
        return True
    rank = held.workload.rule.rank(mine.tag)
    if held.workload.rule.order == "newest" or rank is None:
        return False
    return bool(rank == other.workload.rule.rank(theirs.tag))
