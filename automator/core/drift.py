"""Drift: whether what runs at a runtime is what Git says, and since when it is not.

Never *diverged* out of ignorance: a runtime that could not be asked, a stale answer, an image that several
workloads share and nothing tells apart, a digest that cannot be compared are *unknown*, each with its
sentence. What is not what Git says is *pending* for the grace time, counted from when it came to be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain, islice
from types import MappingProxyType
from typing import NamedTuple

from automator.core.claims import paths_match
from automator.core.duration import format_age, format_moment
from automator.core.history import HeldValue, SiteHistory, enough, is_same_version
from automator.core.matching import Finding, Found, Shows, home_of, is_mirror, is_run, is_told, match
from automator.core.reference import value_text
from automator.core.running import Observation, Scope, Unobserved
from automator.core.site import Site
from automator.core.synced import Source, Synced
from automator.reasons import Reason, one_line, reason

Sites = Mapping[str, tuple[Site, ...]]
"""Of each workload, by its name. A site whose name is templated is given the image of its workload, by
which it is found."""


class DriftState(StrEnum):
    """How what runs relates to what Git says."""

    SAME = "same"
    PENDING = "pending"
    """Not yet deployed, within the grace time."""
    DIVERGED = "diverged"
    UNKNOWN = "unknown"


class Known(NamedTuple):
    """What was known of a workload at a runtime when it was last known: a look that fails ends nothing."""

    state: DriftState
    wanted: str
    since: datetime | None
    runs: tuple[str, ...] = ()
    runs_since: datetime | None = None

    @property
    def differs(self) -> bool:
        return self.state in (DriftState.PENDING, DriftState.DIVERGED)


@dataclass(frozen=True, slots=True)
class Drift:
    """One workload at one runtime that covers it."""

    workload: str
    runtime: str
    state: DriftState
    wanted: str
    """What Git says: `1.4.3@sha256:…`; several versions where its sites there differ."""
    runs: tuple[str, ...]
    """What runs, each version once, those that are not what Git says first; of the first hundred."""
    since: datetime | None
    """When it came to be so; of `diverged`, when it began to be another than Git says. None where that is not
    known, or longer ago than what was read of the history."""
    places: tuple[str, ...]
    """`Deployment shop/web [app]`, those that are not what Git says first; a hundred at the most."""
    reason: Reason
    last: Known | None = None
    """Of *unknown*: what was known before."""
    runs_since: datetime | None = None
    """The look that first found `runs`; None where no look found anything else."""

    @property
    def known(self) -> Known | None:
        """What is known, or was before it came to be unknown; None where nothing ever was."""
        if self.state is DriftState.UNKNOWN:
            return self.last
        return Known(self.state, self.wanted, self.since, self.runs, self.runs_since)

    @property
    def differs(self) -> bool:
        """Whether something else runs than Git says, for however long."""
        return self.state in (DriftState.PENDING, DriftState.DIVERGED)


_WORST = (DriftState.DIVERGED, DriftState.PENDING, DriftState.UNKNOWN, DriftState.SAME)


class Said(NamedTuple):
    """A version that Git said of a workload."""

    tag: str | None
    digest: str | None
    since: datetime | None = None
    """The commit's time; None where it is older than what is known."""


class Says(NamedTuple):
    """What Git said of a workload, as far as that is known."""

    values: tuple[Said, ...]
    """Newest first: what it says now, then what it said before."""
    is_complete: bool = False
    """Whether there was nothing before: only then can be told what Git never said."""


def says_of(histories: Iterable[SiteHistory]) -> Says:
    """What Git said of a workload, from the histories of its sites."""
    pasts = tuple(histories)
    values = [Said(one.tag, one.digest, one.time) for past in pasts for one in past.held if not one.beside]
    order = sorted(values, key=lambda one: one.since or _LONG_AGO, reverse=True)
    return Says(tuple(order), bool(pasts) and all(enough(past) for past in pasts))


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Clock(NamedTuple):
    """What is needed to tell how long something has been so."""

    now: datetime
    grace: timedelta
    stale_after: timedelta | None = None
    """Age from which on an observation says nothing any more."""


def covers(scope: Scope, file: str) -> bool:
    """Whether the sites of a file run at a runtime. Raises PolicyError for patterns that are none."""
    return paths_match(scope.paths)(file)


def covered(workloads: Sites, scope: Scope) -> dict[str, tuple[Site, ...]]:
    """The workloads that a runtime covers, with their sites that do run there: no charts, and where others
    tell, none that a template fills in.

    Raises PolicyError for patterns that are none.
    """
    mine = {
        name: tuple(site for site in sites if is_run(site) and covers(scope, site.file))
        for name, sites in workloads.items()
    }
    told = {name: tuple(filter(is_told, sites)) or sites for name, sites in mine.items()}
    return {name: sites for name, sites in told.items() if sites}


def counting(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that say something: a job that is not there has ended, where something else of the workload
    is."""
    return tuple(one for one in findings if not one.may_have_passed) or findings


def compare(
    workloads: Sites,
    scope: Scope,
    seen: Observation | Unobserved,
    clock: Clock,
    *,
    says: Mapping[str, Says] = MappingProxyType({}),
    earlier: Mapping[str, Drift] = MappingProxyType({}),
    source: Source | None = None,
) -> tuple[Drift, ...]:
    """Every workload that the runtime covers, in the order given.

    `says` is needed only of workloads that differ: compare without first, then again with it. Without it the
    grace time counts from the first look that found the difference, as `earlier` (by workload, what the last
    look left) tells. `source`: what synchronizers call the config repo.

    Raises PolicyError for patterns of the scope that are none.
    """
    mine = covered(workloads, scope)
    nothing = unusable(seen, clock)
    if nothing is not None or isinstance(seen, Unobserved):
        why = nothing or reason("drift/stale", runtime=scope.runtime, age="")
        return tuple(_unknown(name, sites, scope, why, earlier.get(name)) for name, sites in mine.items())
    found = match(mine, seen.running, scope)
    synced = None if source is None else Synced(seen.syncs, source)
    look = _Look(scope.runtime, scope, seen, clock, synced)
    return tuple(
        _drift(_Own(name, sites, _wanted(sites), says.get(name), earlier.get(name)), found[name], look)
        for name, sites in mine.items()
    )


def unusable(seen: Observation | Unobserved, clock: Clock) -> Reason | None:
    """Why nothing can be concluded from what a runtime said; None where something can."""
    if isinstance(seen, Unobserved):
        return reason("drift/unobserved", runtime=seen.runtime, problem=seen.reason.sentence)
    age = clock.now - seen.at
    if clock.stale_after is not None and age > clock.stale_after:
        return reason("drift/stale", runtime=seen.runtime, age=format_age(age))
    return None


class _Look(NamedTuple):
    runtime: str
    scope: Scope
    seen: Observation
    clock: Clock
    synced: Synced | None


def _unknown(name: str, sites: tuple[Site, ...], scope: Scope, why: Reason, earlier: Drift | None) -> Drift:
    wanted = _wanted(sites)
    since = _stays(earlier, DriftState.UNKNOWN, wanted)
    last = None if earlier is None else earlier.known
    return Drift(name, scope.runtime, DriftState.UNKNOWN, wanted, (), since, (), why, last)


class _Own(NamedTuple):
    """A workload, and what is known of it beside the observation."""

    name: str
    sites: tuple[Site, ...]
    wanted: str
    says: Says | None
    earlier: Drift | None
    runs: tuple[str, ...] = ()
    """What runs, each version once."""


def _drift(own: _Own, findings: tuple[Finding, ...], look: _Look) -> Drift:
    parts = chain((f for one in findings for f in one.others), (f for one in findings for f in one.same))
    shown = tuple(islice(parts, _LOOKED_AT))
    runs = tuple(dict.fromkeys(_version(found) for found in shown))
    places = dict.fromkeys(found.running.place for found in shown)
    own = own._replace(runs=runs)
    judged = [_judged(own, finding, look) for finding in counting(findings)]
    state, since, why = min(judged, key=lambda one: _WORST.index(one[0]))
    if state in (DriftState.SAME, DriftState.UNKNOWN):
        since = _stays(own.earlier, state, own.wanted)
        if since is None and own.earlier is not None:
            since = look.seen.at
    known = None if own.earlier is None else own.earlier.known
    last = known if state is DriftState.UNKNOWN else None
    runs_since = None
    if known is not None:
        runs_since = known.runs_since if set(known.runs) == set(runs) else look.seen.at
    return Drift(own.name, look.runtime, state, own.wanted, runs, since, tuple(places), why, last, runs_since)


def _stays(earlier: Drift | None, state: DriftState, wanted: str) -> datetime | None:
    """Since when it is so without a break; what is the same is so over looks that failed."""
    if earlier is None:
        return None
    if earlier.state is DriftState.UNKNOWN is not state:
        known = earlier.known
        return known.since if known is not None and known[:2] == (state, wanted) else None
    return earlier.since if (earlier.state, earlier.wanted) == (state, wanted) else None


_Judged = tuple[DriftState, datetime | None, Reason]


def _judged(own: _Own, finding: Finding, look: _Look) -> _Judged:
    away = put_elsewhere(finding, look.scope, look.synced)
    if away is not None:
        return DriftState.UNKNOWN, None, away
    if finding.shows in (Shows.ROLLING, Shows.OTHER, Shows.MISSING):
        return _differing(own, finding, look)
    if finding.shows is Shows.SAME:
        wanted = _versions(finding.sites)
        why = reason("drift/same", place=_places(finding.same), runtime=look.runtime, wanted=wanted)
        return DriftState.SAME, None, why
    return DriftState.UNKNOWN, None, unclear(finding, look.runtime)


def put_elsewhere(finding: Finding, scope: Scope, synced: Synced | None) -> Reason | None:
    """Why what is not there is not looked for there: who applies its files puts them into another cluster.
    None where something is there, or somebody may put it there."""
    if synced is None or finding.shows not in (Shows.ABSENT, Shows.MISSING):
        return None
    sync = synced.elsewhere_of(finding.sites, scope)
    if sync is None:
        return None
    site, where = finding.sites[0].label, sync.elsewhere
    return reason("drift/elsewhere", runtime=scope.runtime, site=site, sync=sync.place, elsewhere=where)


def unclear(finding: Finding, runtime: str) -> Reason:
    """Why a finding tells neither that what runs is what Git says nor that it is not."""
    site = finding.sites[0]
    image = site.repository or site.written or site.label
    wanted, place = _versions(finding.sites), _places(finding.others)
    if finding.shows in (Shows.SAME, Shows.UNSURE, Shows.AMBIGUOUS) and not any(map(is_told, finding.sites)):
        return reason("drift/templated", runtime=runtime, site=site.label)
    match finding.shows:
        case Shows.ENDED:
            return reason("drift/ended", place=place, runtime=runtime, runs=_runs(finding), wanted=wanted)
        case Shows.UNSURE:
            runs = _runs(finding, is_whole=True)
            named = [one.reference for one in finding.others if one.reference is not None]
            if any(is_mirror(site, one) for one in named[:_LOOKED_AT]):
                return reason("drift/mirrored", place=place, runtime=runtime, runs=runs, image=image)
            return reason("drift/unsure", place=place, runtime=runtime, runs=runs, wanted=_whole(site))
        case Shows.AMBIGUOUS:
            who = _listed(finding.claimants)
            return reason("drift/ambiguous", runtime=runtime, image=image, workloads=who, place=place)
        case Shows.SPREAD:
            spaces = dict.fromkeys(one.running.namespace or one.running.project for one in finding.others)
            return reason(
                "drift/spread", runtime=runtime, image=image, site=site.label, namespaces=_listed(spaces)
            )
        case Shows.MISSING:
            return reason("drift/missing", place=_object(site), runtime=runtime, wanted=wanted, told="")
    home = home_of(site)
    where = runtime if home is None else f"namespace {home} of {runtime}"
    return reason("drift/absent", runtime=runtime, where=where, image=image, site=site.label)


# -- what differs, and for how long ------------------------------------------------------------------------


def _differing(own: _Own, finding: Finding, look: _Look) -> _Judged:
    now = look.clock.now
    git = _said_since(own.says, finding.sites)
    begun = _begun(own, finding, look, git)
    is_late = begun is None or now - begun > look.clock.grace
    until = None if is_late or begun is None else begun + look.clock.grace
    runtime, wanted = look.runtime, _versions(finding.sites)
    wanted += "" if git is None else f" since {format_moment(git, now)}"
    told = _told(finding, look)
    if finding.shows is Shows.ROLLING:
        place, ready = _places(finding.same), _ready(finding)
        if is_late:
            why = reason(
                "drift/stuck",
                place=place,
                runtime=runtime,
                wanted=wanted,
                ready=ready,
                told=told,
            )
            return DriftState.DIVERGED, begun, why
        why = reason(
            "drift/rolling", changes_at=until,
            place=place, runtime=runtime, wanted=wanted, ready=ready, told=told,
        )  # fmt: skip
        return DriftState.PENDING, begun, why
    if finding.shows is Shows.MISSING:
        place = _object(finding.sites[0])
        if is_late:
            why = reason("drift/missing", place=place, runtime=runtime, wanted=wanted, told=told)
            return DriftState.DIVERGED, begun, why
        why = reason(
            "drift/awaited", changes_at=until, place=place, runtime=runtime, wanted=wanted, told=told
        )
        return DriftState.PENDING, begun, why
    place, runs = _places(finding.others), _runs(finding)
    if not is_late:
        why = reason(
            "drift/pending", changes_at=until,
            place=place, runtime=runtime, runs=runs, wanted=wanted, told=told,
        )  # fmt: skip
        return DriftState.PENDING, begun, why
    if _is_foreign(own.says, finding):
        why = reason("drift/foreign", place=place, runtime=runtime, runs=runs, wanted=wanted, told=told)
        return DriftState.DIVERGED, begun, why
    why = reason("drift/late", place=place, runtime=runtime, runs=runs, wanted=wanted, told=told)
    return DriftState.DIVERGED, begun, why


def _said_since(says: Says | None, sites: tuple[Site, ...]) -> datetime | None:
    """Since when Git says what these sites say; None where that is not known."""
    versions = {(site.tag, site.digest) for site in sites}
    values = () if says is None else says.values
    return _latest(one.since for one in values if (one.tag, one.digest) in versions)


def _begun(own: _Own, finding: Finding, look: _Look, git: datetime | None) -> datetime | None:
    """When the difference began, never in the future; None where that is longer ago than anybody knows.

    The latest of what is known: Git's commit, the runtime's word, and the look that first found it. The first
    two are clocks of others; and what runs on, as the last look saw it, is only started again.
    """
    now = look.clock.now
    earlier = None if own.earlier is None else own.earlier.known
    is_known = earlier is not None and earlier.differs and earlier.wanted == own.wanted
    known = [git]
    if earlier is None or not is_known or set(earlier.runs) != set(own.runs):
        known.append(_latest(found.running.since for found in finding.others or finding.same))
    if earlier is not None and is_known:
        known.append(earlier.since)
    elif own.says is None or earlier is not None or _is_fresh(finding):
        # The last look found it the same, or Git said something else; or nobody knows better.
        return now
    begun = _latest(known)
    return None if begun is None else min(begun, now)


def _is_fresh(finding: Finding) -> bool:
    """Whether it may have begun just now, whenever the version came: scaling rolls too."""
    return finding.shows is Shows.ROLLING and not any(found.running.failed for found in finding.same)


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    return max((at for at in times if at is not None), default=None)


def _is_foreign(says: Says | None, finding: Finding) -> bool:
    """Whether something runs that Git is known never to have said of the workload."""
    if says is None or not says.is_complete:
        return False
    repositories = {site.repository for site in finding.sites}
    held = [HeldValue(one.tag, one.digest) for one in says.values]
    for found in finding.others:
        one = found.reference
        if one is None or (one.repository not in repositories and None not in repositories):
            return True
        version = HeldValue(one.tag or ("latest" if one.digest is None else None), one.digest)
        if not any(is_same_version(version, value) for value in held):
            return True
    return False


# -- words -------------------------------------------------------------------------------------------------

_LISTED = 3
_LOOKED_AT = 100
"""Containers that are looked at for words: an image may run in thousands."""


def _wanted(sites: tuple[Site, ...]) -> str:
    return ", ".join(dict.fromkeys(_whole(site) for site in sites))


def _versions(sites: tuple[Site, ...]) -> str:
    return _listed(dict.fromkeys(_shown(_whole(site)) for site in sites))


def _whole(site: Site) -> str:
    return value_text(site.tag, site.digest) or ("latest" if is_told(site) else "what a template fills in")


def shown_version(found: Found) -> str:
    """What runs, in few characters."""
    return _shown(_version(found))


def _version(found: Found) -> str:
    """What runs, as people compare it with what Git says."""
    one = found.reference
    if one is None:
        return one_line(found.running.reference)
    return value_text(one.tag, one.digest) or "latest"


def _shown(version: str) -> str:
    """A version with a digest of twelve digits."""
    tag, at, digest = version.partition("@")
    return f"{tag}{at}{digest[:19]}"


def _runs(finding: Finding, *, is_whole: bool = False) -> str:
    """What runs that is not what Git says, with its image where that is another one."""
    repositories = {site.repository for site in finding.sites}
    said = []
    for found in finding.others[:_LOOKED_AT]:
        one = found.reference
        version = _version(found) if is_whole else _shown(_version(found))
        if is_whole and found.running.digest is not None and (one is None or one.digest is None):
            version += f" (pulled as {found.running.digest})"
        if one is not None and None not in repositories and one.repository not in repositories:
            version = f"{one.repository}:{version}"
        said.append(version)
    return _listed(dict.fromkeys(said))


def _places(parts: Sequence[Found]) -> str:
    places = dict.fromkeys(found.running.place for found in parts[:_LOOKED_AT])
    return _listed(places, max(0, len(parts) - _LOOKED_AT))


def _object(site: Site) -> str:
    """The object that a site names, where it is to run, as people name it."""
    home = home_of(site)
    return one_line(f"{site.kind} {site.name}" if home is None else f"{site.kind} {home}/{site.name}")


def _listed(words: Iterable[str], more: int = 0) -> str:
    every = [one_line(word, 120) for word in words]
    more += len(every) - _LISTED
    shown = ", ".join(every[:_LISTED])
    return f"{shown} and {more} more" if more > 0 else shown


def _ready(finding: Finding) -> str:
    """`2 of 3 run it`, over everything that counts."""
    counted = [found.running for found in finding.same if found.running.wanted is not None]
    wanted = sum(one.wanted or 0 for one in counted)
    ready = sum(one.ready or 0 for one in counted)
    left = sum(found.running.ready or 0 for found in finding.others)
    words = f"{ready} of {wanted} run it" if counted else "its rollout is not complete"
    return f"{words}, {left} still run {_runs(finding)}" if left else words


def _told(finding: Finding, look: _Look) -> str:
    """What is wrong, in the runtime's words or the synchronizer's; empty where neither says so."""
    parts = [found.running for found in (*finding.same, *finding.others)[:_LOOKED_AT]]
    words = [one.trouble or one.hindrance for one in parts]
    told = None if look.synced is None else look.synced.told_of(finding.sites, look.scope)
    words.append(None if told is None or not told.trouble else f"{told.place} says: {told.trouble}")
    first = next((one for one in words if one), None)
    return "" if first is None else f"; {one_line(first)}"


def doubted(drifts: Iterable[Drift], read_at: datetime | None, now: datetime) -> tuple[Drift, ...]:
    """Drifts as far as they are known from a config repo that was read last at `read_at`; None for just now.
    What runs otherwise since a later time may be what Git says by then: nobody can tell."""
    if read_at is None:
        return tuple(drifts)
    return tuple(_doubted(drift, read_at, now) for drift in drifts)


def _doubted(drift: Drift, read_at: datetime, now: datetime) -> Drift:
    begun = _latest((drift.since, drift.runs_since))
    if drift.state is not DriftState.DIVERGED or begun is None or begun <= read_at:
        return drift
    runs = ", ".join(drift.runs) or "nothing"
    why = reason("drift/git-unread", runtime=drift.runtime, runs=runs, at=format_moment(read_at, now))
    # It has not diverged yet: it does where Git, read again, still says the same.
    known = drift.known and drift.known._replace(state=DriftState.PENDING)
    return replace(drift, state=DriftState.UNKNOWN, reason=why, last=known)
