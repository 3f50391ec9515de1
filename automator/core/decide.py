"""Deciding: from a workload, its sites, the tags and the facts known so far to one decision.

`decide` is pure. It returns a decision, or the facts it still needs, cheapest first; the cycle
fetches just those and asks again ("could not be had" is a fact too). `core.explain` asks the same
rules what became of every tag, so the two cannot disagree.

The order of the rules is DESIGN.md section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from automator.core.history import (
    Rank,
    Rejection,
    SiteHistory,
    Writer,
    combine,
    last_writer,
    released_here,
    turned_away,
    undated,
)
from automator.core.policy import Candidate, Workload
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
    withdrawn: frozenset[str] = frozenset()
    """Tags whose releases the branch was rewound past."""


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
    shown = shown_current(workload, sites, facts)
    if not sites:
        return Stay(Status.HELD, reason("site/none", workload=workload.name, image=workload.repository))
    hold = workload.hold
    if hold is not None and (hold.until is None or now < hold.until):
        until = "a person removes it" if hold.until is None else f"{hold.until:%Y-%m-%d %H:%M} UTC"
        place = workload.place
        why = reason("guard/hold", changes_at=hold.until, reason=hold.reason, until=until, place=place)
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
    return Stay(Status.HELD, differing(workload, first, other), shown_current(workload, sites, facts))


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
    gone: Stay | None = None
    """Under `order: newest`: a tag is listed whose manifest, and so its date, is missing."""


def _rank(ground: _Ground, facts: Facts, limits: Limits) -> _Ranked | Decision | Need:
    workload, sites, tags = ground
    accepted = [c for c in map(workload.rule.judge, set(tags.tags)) if isinstance(c, Candidate)]
    if workload.rule.order == "newest":
        ranked = _rank_by_build_time(ground, accepted, facts, limits)
        if not isinstance(ranked, _Ranked):
            return ranked
    else:
        ordered = sorted(((c.rank, c.tag) for c in accepted), reverse=True)
        ranked = _Ranked(current_of(workload, sites, facts).rank, tuple(ordered))
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
    shown = shown_current(workload, sites, facts)
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
    dated = [(rank, c.tag) for c in accepted if (rank := built_rank(facts.built[c.tag])) is not None]
    missing = max((c.tag for c in accepted if isinstance(facts.built[c.tag], Unavailable)), default=None)
    gone = None
    if missing is not None:
        why = reason("tag/gone", tag=missing, image=workload.repository)
        gone = Stay(Status.WAITING, why, shown, missing)
    return _Ranked(current_of(workload, sites, facts).rank, tuple(sorted(dated, reverse=True)), gone)


def built_rank(built: datetime | Unavailable | None) -> Any:
    """A build time as a rank under `order: newest`; None where it is not known."""
    return built if isinstance(built, datetime) else None


class Current(NamedTuple):
    """The workload's present version."""

    tag: str | None
    rank: Any


def current_of(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> Current:
    """The highest of the sites' versions, and its rank; rank None where none can be ordered."""
    ranked = [(rank, site.tag) for site in sites if (rank := site_rank(workload, site, facts)) is not None]
    if not ranked:
        return Current(sites[0].tag if sites else None, None)
    rank, tag = max(ranked, key=lambda item: (item[0], item[1] or ""))
    return Current(tag, rank)


def site_rank(workload: Workload, site: Site, facts: Facts) -> Any:
    """Rank of what a site holds; None where the policy's order cannot tell."""
    if site.tag is None:
        return None
    if workload.rule.order == "newest":
        return built_rank(facts.built.get(site.tag))
    return workload.rule.rank(site.tag)


def _floor(ground: _Ground, facts: Facts) -> Any:
    """Rank of the newest version that stood where an unorderable one stands now: not to be fallen below."""
    rank = ranking(ground.workload, facts)
    found = []
    for site in ground.sites:
        history = facts.histories.get(site_key(site))
        if isinstance(history, SiteHistory):
            ranks = (rank(value.tag) for value in history.held if value.tag is not None)
            found.append(next((r for r in ranks if r is not None), None))
    return max((r for r in found if r is not None), default=None)


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
            return Stay(Status.HELD, why, shown_current(ground.workload, ground.sites, facts))
    return None


# -- step 3: from the best downwards ---------------------------------------------------------


def _choose(ground: _Ground, ranked: _Ranked, facts: Facts) -> Decision | Need:
    workload, sites, tags = ground
    floor = _floor(ground, facts) if ranked.current_rank is None else None
    newer = [
        (rank, tag)
        for rank, tag in ranked.candidates
        if (floor is None or rank >= floor) and (ranked.current_rank is None or rank > ranked.current_rank)
    ]
    if not newer:
        return ranked.gone or _nothing_newer(ground, ranked, facts)
    shown = shown_current(workload, sites, facts)
    rejection = _rejection(ground, facts)
    if isinstance(rejection, (Need, Stay)):
        return rejection
    rank_of = ranking(workload, facts)
    withdrawn = max((r for tag in facts.withdrawn if (r := rank_of(tag)) is not None), default=None)
    stopped: Reason | None = None
    for rank, tag in newer:
        if rejection is not None and rejection.rejects(rank):
            stopped = stopped or rejection.reason
            continue
        if tag in facts.withdrawn or (withdrawn is not None and rank <= withdrawn):
            stopped = stopped or reason("history/rewound", tag=tag)
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
    own = site_rank(workload, site, facts)
    return site.tag != tag if own is None else bool(own < rank)


def _nothing_newer(ground: _Ground, ranked: _Ranked, facts: Facts) -> Decision:
    workload, sites, tags = ground
    shown = shown_current(workload, sites, facts)
    rule, count = workload.rule, len(set(tags.tags))
    current = current_of(workload, sites, facts).tag
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
            turned_away(history, site_rank(workload, site, facts), ranking(workload, facts))
            for site, history in zip(sites, histories, strict=True)
        )
    )


def ranking(workload: Workload, facts: Facts) -> Rank:
    """Tag -> rank in the policy's present order, for history's marks."""
    if workload.rule.order == "newest":
        return lambda tag: built_rank(facts.built.get(tag))
    return workload.rule.rank


# -- telling -----------------------------------------------------------------------------------


def shown_current(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> str | None:
    """The current version as trailers write it: of the highest site, digest included."""
    if not sites:
        return None
    current = current_of(workload, sites, facts).tag
    site = next((site for site in sites if site.tag == current), sites[0])
    return value_text(site.tag, site.digest)
