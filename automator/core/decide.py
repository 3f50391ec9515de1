"""Deciding: from a workload, its sites, the tags and the facts known so far to one decision.

`decide` is pure. It returns a decision, or the facts it still needs, cheapest first; the cycle
fetches just those and asks again ("could not be had" is a fact too). `explain` walks the same
steps and tells what became of every tag, so the two cannot disagree.

The order of the rules is DESIGN.md section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from automator.core.history import (
    Rejection,
    SiteHistory,
    Writer,
    combine,
    last_writer,
    released_here,
    turned_away,
    undated,
)
from automator.core.policy import Candidate, Dropped, Workload
from automator.core.reference import Image, TagList, value_text
from automator.core.site import Site
from automator.reasons import Reason, Status, reason

SiteKey = tuple[str, int, str]


def site_key(site: Site) -> SiteKey:
    """A site's identity within a config repo: file, document, field."""
    return (site.file, site.document, site.field)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A fact that could not be had, and why."""

    reason: Reason
    waiting: bool = False
    """True where the answer is only late; False where asking failed."""

    @property
    def status(self) -> Status:
        return Status.WAITING if self.waiting else Status.FAILED

    @property
    def gone(self) -> bool:
        """The registry answered that there is no such thing: an answer, not a failure."""
        return self.reason.code == "registry/not-found"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known so far, for one workload."""

    built: Mapping[str, datetime | Unavailable | None] = field(default_factory=dict)
    """Build time by tag; None where the image does not say."""
    images: Mapping[str, Image | Unavailable] = field(default_factory=dict)
    """What the registry serves for a tag, asked in this cycle."""
    histories: Mapping[SiteKey, SiteHistory | Unavailable] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Need:
    """The facts a decision still lacks."""

    built: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    histories: tuple[Site, ...] = ()


@dataclass(frozen=True, slots=True)
class Release:
    """The workload moves: these sites, to this tag."""

    workload: Workload
    current: str
    """Version before, as trailers write it."""
    tag: str
    image: Image
    sites: tuple[Site, ...]
    """Sites that are raised; the others are at the target already."""
    count: int
    """Tags the choice was made from."""

    @property
    def target(self) -> str:
        return value_text(self.tag, self.image.digest)


@dataclass(frozen=True, slots=True)
class Stay:
    """The workload stays where it is, and why."""

    status: Status
    reason: Reason
    current: str | None = None
    candidate: str | None = None
    """A newer version that something stops."""


Decision = Release | Stay


class Verdict(NamedTuple):
    """What became of one tag: kept, or dropped by the first rule that refused it."""

    tag: str
    key: str | None
    reason: Reason
    kept: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds from the daemon's config."""

    lookups: int = 200
    """Build times looked up at most for one workload in one cycle."""


def decide(
    workload: Workload,
    sites: tuple[Site, ...],
    tags: TagList | Unavailable,
    facts: Facts,
    now: datetime,
    limits: Limits = Limits(),
) -> Decision | Need:
    """Decide one workload, or name the facts that are missing.

    The result does not depend on the order of the tags or on duplicates.
    """
    ground = _ground(workload, sites, tags, facts, now)
    if not isinstance(ground, _Ground):
        return ground
    ranked = _rank(ground, facts, limits)
    if not isinstance(ranked, _Ranked):
        return ranked
    return _choose(ground, ranked, facts)


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
    current = _current(workload, sites, facts)
    rejection = _known_rejection(workload, sites, facts)
    rows: list[tuple[tuple[int, Any, str], Verdict]] = []
    for item in judged:
        if isinstance(item, Dropped):
            rank = None if rule.order == "newest" else rule.rank(item.tag)
            rows.append((_sort_key(rank, item.tag), Verdict(item.tag, None, item.reason, False)))
            continue
        rank = _built_rank(dated.get(item.tag)) if rule.order == "newest" else item.rank
        verdict = _verdict(item, rank, current, rejection, facts, decision)
        rows.append((_sort_key(rank, item.tag), verdict))
    rows.sort(key=lambda row: row[0], reverse=True)
    return tuple(verdict for _, verdict in rows)


# -- step 1: may anything happen at all? ----------------------------------------------------


class _Ground(NamedTuple):
    workload: Workload
    sites: tuple[Site, ...]
    tags: TagList


def _ground(
    workload: Workload,
    sites: tuple[Site, ...],
    tags: TagList | Unavailable,
    facts: Facts,
    now: datetime,
) -> _Ground | Decision | Need:
    shown = shown_current(workload, sites)
    if not sites:
        return Stay(Status.HELD, reason("site/none", workload=workload.name, image=workload.repository))
    hold = workload.hold
    if hold is not None and (hold.until is None or now < hold.until):
        until = "" if hold.until is None else f" until {hold.until:%Y-%m-%d %H:%M} UTC"
        why = reason(
            "guard/hold", changes_at=hold.until, reason=hold.reason, until=until, place=workload.place
        )
        return Stay(Status.HELD, why, shown)
    for site in sites:
        if site.held is not None:
            return Stay(Status.HELD, site.held, shown)
    if isinstance(tags, Unavailable):
        return Stay(tags.status, tags.reason, shown)
    differing = _differ(workload, sites, facts)
    return _Ground(workload, sites, tags) if differing is None else differing


def _differ(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> Decision | Need | None:
    """Sites at different versions are held until a first release of ours has joined them."""
    if len({site.tag for site in sites}) < 2:
        return None
    histories = _histories(sites, facts)
    if not isinstance(histories, tuple):
        return histories
    if any(released_here(history) for history in histories):
        return None
    first, other = sites[0], next(s for s in sites if s.tag != sites[0].tag)
    return Stay(Status.HELD, differing(workload, first, other), shown_current(workload, sites))


def differing(workload: Workload, first: Site, other: Site) -> Reason:
    """Two sites of one workload at different versions, with the sentence that mends it."""
    return reason(
        "site/differ",
        first=f"{first.file}:{first.line}",
        first_version=first.tag,
        other=f"{other.file}:{other.line}",
        other_version=other.tag,
        place=workload.place,
    )


# -- step 2: the tags that pass, in order ----------------------------------------------------


class _Ranked(NamedTuple):
    current_rank: Any
    """None where the current version cannot be ordered and any version may be taken."""
    candidates: tuple[tuple[Any, str], ...]
    """(rank, tag), best first."""


def _rank(ground: _Ground, facts: Facts, limits: Limits) -> _Ranked | Decision | Need:
    workload, sites, tags = ground
    accepted = [c for c in map(workload.rule.judge, set(tags.tags)) if isinstance(c, Candidate)]
    if workload.rule.order == "newest":
        ranked = _rank_by_build_time(ground, accepted, facts, limits)
        if not isinstance(ranked, _Ranked):
            return ranked
    else:
        ordered = sorted(((c.rank, c.tag) for c in accepted), reverse=True)
        ranked = _Ranked(_current(workload, sites, facts).rank, tuple(ordered))
    if ranked.current_rank is None:
        stop = _unorderable_current(ground, facts)
        if stop is not None:
            return stop
    return ranked


def _rank_by_build_time(
    ground: _Ground, accepted: list[Candidate], facts: Facts, limits: Limits
) -> _Ranked | Decision | Need:
    workload, sites, _ = ground
    current = {site.tag for site in sites if site.tag is not None}
    wanted = {c.tag for c in accepted} | current
    unknown = tuple(sorted(wanted - facts.built.keys()))
    shown = shown_current(workload, sites)
    if len(unknown) > limits.lookups:
        why = reason("facts/too-many", count=len(unknown), limit=limits.lookups, image=workload.repository)
        return Stay(Status.HELD, why, shown)
    if unknown:
        return Need(built=unknown)
    for tag in sorted(current):
        built = facts.built[tag]
        if isinstance(built, Unavailable) and not built.gone:
            return Stay(built.status, built.reason, shown)
        if not isinstance(built, datetime):
            return Stay(Status.HELD, reason("current/undated", current=tag, image=workload.repository), shown)
    for candidate in accepted:
        built = facts.built[candidate.tag]
        if isinstance(built, Unavailable) and not built.gone:
            # Without this date the newest cannot be known: no decision from a partial answer.
            return Stay(built.status, built.reason, shown)
    dated = [(rank, c.tag) for c in accepted if (rank := _built_rank(facts.built[c.tag])) is not None]
    return _Ranked(_current(workload, sites, facts).rank, tuple(sorted(dated, reverse=True)))


def _built_rank(built: datetime | Unavailable | None) -> Any:
    return built if isinstance(built, datetime) else None


class _Current(NamedTuple):
    tag: str | None
    rank: Any


def _current(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> _Current:
    """The highest of the sites' versions, and its rank; rank None where none can be ordered."""
    ranked = [(rank, site.tag) for site in sites if (rank := _site_rank(workload, site, facts)) is not None]
    if not ranked:
        return _Current(sites[0].tag if sites else None, None)
    rank, tag = max(ranked, key=lambda item: (item[0], item[1] or ""))
    return _Current(tag, rank)


def _site_rank(workload: Workload, site: Site, facts: Facts) -> Any:
    if site.tag is None:
        return None
    if workload.rule.order == "newest":
        return _built_rank(facts.built.get(site.tag))
    return workload.rule.rank(site.tag)


def _unorderable_current(ground: _Ground, facts: Facts) -> Decision | Need | None:
    """`latest` or a SHA: any version may be taken, unless a person wrote it after a release of ours."""
    histories = _histories(ground.sites, facts)
    if not isinstance(histories, tuple):
        return histories
    for site, history in zip(ground.sites, histories, strict=True):
        if released_here(history) and last_writer(history) is not Writer.OURS:
            by = history.held[0].author if history.held else "somebody"
            why = reason(
                "current/unorderable",
                current=value_text(site.tag, site.digest),
                author=by,
                order=ground.workload.rule.order,
                place=f"{site.file}:{site.line}",
            )
            return Stay(Status.HELD, why, shown_current(ground.workload, ground.sites))
    return None


# -- step 3: from the best downwards ---------------------------------------------------------


def _choose(ground: _Ground, ranked: _Ranked, facts: Facts) -> Decision | Need:
    workload, sites, tags = ground
    newer = [
        (rank, tag)
        for rank, tag in ranked.candidates
        if ranked.current_rank is None or rank > ranked.current_rank
    ]
    if not newer:
        return _nothing_newer(ground, ranked, facts)
    shown = shown_current(workload, sites)
    rejection = _rejection(ground, facts)
    if isinstance(rejection, (Need, Stay)):
        return rejection
    stopped: Reason | None = None
    for rank, tag in newer:
        if rejection is not None and rejection.rejects(rank):
            stopped = stopped or rejection.reason
            continue
        image = facts.images.get(tag)
        if image is None:
            return Need(images=(tag,))
        if isinstance(image, Unavailable):
            if not image.gone:
                return Stay(image.status, image.reason, shown, tag)
            stopped = stopped or reason("tag/gone", tag=tag, image=workload.repository)
            continue
        raised = tuple(s for s in sites if _is_below(workload, s, rank, tag, image, facts))
        if not raised:  # sites that are written by digest alone, and have this one
            why = reason("current/newest", current=tag, count=len(set(tags.tags)), rule=workload.rule.text)
            return Stay(Status.CURRENT, why, shown)
        return Release(workload, shown or "", tag, image, raised, len(set(tags.tags)))
    assert stopped is not None
    # A manifest that is missing is being pushed, or will be; a person's no stays.
    status = Status.WAITING if stopped.code == "tag/gone" else Status.HELD
    return Stay(status, stopped, shown, newer[0][1])


def _is_below(workload: Workload, site: Site, rank: Any, tag: str, image: Image, facts: Facts) -> bool:
    if site.tag is None:
        return site.digest != image.digest
    own = _site_rank(workload, site, facts)
    return site.tag != tag if own is None else bool(own < rank)


def _nothing_newer(ground: _Ground, ranked: _Ranked, facts: Facts) -> Decision:
    workload, sites, tags = ground
    shown = shown_current(workload, sites)
    rule, count = workload.rule, len(set(tags.tags))
    current = _current(workload, sites, facts).tag
    if current is not None and isinstance(rule.judge(current), Candidate):
        why = reason("current/newest", current=current, count=count, rule=rule.text)
        return Stay(Status.CURRENT, why, shown)
    if not ranked.candidates:
        why = reason("tag/none", image=workload.repository, count=count, rule=rule.text)
    else:
        best = ranked.candidates[0][1]
        why = reason("current/outside", current=shown, rule=rule.text, best=best, place=workload.place)
    return Stay(Status.HELD, why, shown)


# -- history ---------------------------------------------------------------------------------


def _histories(sites: tuple[Site, ...], facts: Facts) -> tuple[SiteHistory, ...] | Need | Stay:
    missing = tuple(site for site in sites if site_key(site) not in facts.histories)
    if missing:
        return Need(histories=missing)
    found = []
    for site in sites:
        history = facts.histories[site_key(site)]
        if isinstance(history, Unavailable):
            return Stay(history.status, history.reason, value_text(site.tag, site.digest))
        found.append(history)
    return tuple(found)


def _rejection(ground: _Ground, facts: Facts) -> Rejection | Need | Stay | None:
    """What people turned away at any site binds the workload (DESIGN section 8)."""
    workload, sites, _ = ground
    histories = _histories(sites, facts)
    if not isinstance(histories, tuple):
        return histories
    if workload.rule.order == "newest":
        lacking = sorted({tag for h in histories for tag in undated(h, facts.built)})
        if lacking:
            return Need(built=tuple(lacking))
    return combine(
        tuple(
            turned_away(history, _site_rank(workload, site, facts), _ranking(workload, facts))
            for site, history in zip(sites, histories, strict=True)
        )
    )


def _ranking(workload: Workload, facts: Facts) -> Any:
    if workload.rule.order == "newest":
        return lambda tag: _built_rank(facts.built.get(tag))
    return workload.rule.rank


def _known_rejection(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> Rejection | None:
    """The rejection, where the decision needed the history at all."""
    found = []
    for site in sites:
        history = facts.histories.get(site_key(site))
        if isinstance(history, SiteHistory):
            found.append(turned_away(history, _site_rank(workload, site, facts), _ranking(workload, facts)))
    return combine(tuple(found))


# -- telling -----------------------------------------------------------------------------------


def shown_current(workload: Workload, sites: tuple[Site, ...]) -> str | None:
    """The current version as trailers write it: of the highest site, digest included."""
    if not sites:
        return None
    ranked = [(rank, i) for i, s in enumerate(sites) if (rank := workload.rule.rank(s.tag or "")) is not None]
    site = sites[max(ranked)[1]] if ranked else sites[0]
    return value_text(site.tag, site.digest)


def _sort_key(rank: Any, tag: str) -> tuple[int, Any, str]:
    return (0, 0, tag) if rank is None else (1, rank, tag)


def _verdict(
    item: Candidate,
    rank: Any,
    current: _Current,
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
