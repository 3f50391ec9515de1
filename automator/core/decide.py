"""Deciding: from a workload, its sites, the tags and the facts known so far to one decision.

`decide` is pure. It returns a decision, or the facts it still needs, cheapest first; the cycle
fetches just those and asks again ("could not be had" is a fact too). `core.explain` asks the same
rules what became of every tag, so the two cannot disagree. `core.together` decides groups.

The order of the rules is DESIGN.md section 5.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from automator.core import guards
from automator.core.contest import contested, stands
from automator.core.facts import DEFAULT_LIMITS as DEFAULT_LIMITS
from automator.core.facts import Facts as Facts
from automator.core.facts import Limits as Limits
from automator.core.facts import Need as Need
from automator.core.facts import Sighting as Sighting
from automator.core.facts import SiteKey as SiteKey
from automator.core.facts import Unavailable as Unavailable
from automator.core.facts import site_key as site_key
from automator.core.guards import Stop
from automator.core.heirs import is_heir
from automator.core.history import (
    Rejection,
    SiteHistory,
    Writer,
    combine,
    last_writer,
    newer_wrote,
    released_here,
    turned_away,
    undated,
)
from automator.core.policy import Candidate, Dropped, Hold, Workload
from automator.core.promotion import Unknown
from automator.core.reference import Image, TagList, value_text
from automator.core.refusal import Ranked as Ranked
from automator.core.refusal import Refusal as Refusal
from automator.core.refusal import accepted_digests
from automator.core.refusal import refusal as refusal
from automator.core.site import Site
from automator.core.standing import (
    Current,
    current_of,
    ranking,
    site_rank,
)
from automator.core.standing import differing as differing
from automator.core.standing import shown_current as shown_current
from automator.reasons import Reason, Status, reason


@dataclass(frozen=True, slots=True)
class Release:
    """The workload moves: these sites, to this tag."""

    workload: Workload
    current: str
    """Version before, as trailers write it."""
    tag: str
    image: Image
    sites: tuple[Site, ...]
    """Sites that are moved; the others are at the target already."""
    count: int
    """Tags the choice was made from."""
    down: bool = False
    """Whether it moves to an older version, as `downgrade` permits."""
    together: str | None = None
    """Group whose releases are made in one commit."""
    undo: str | None = None
    """Why the version that the workload is at is left for one that it held before: then this is a rollback
    of ours."""

    @property
    def target(self) -> str:
        return value_text(self.tag, self.image.digest)

    @property
    def is_urgent(self) -> bool:
        """Whether it is the version that need not wait."""
        return guards.is_urgent(self.workload, self.tag, self.image.digest)


@dataclass(frozen=True, slots=True)
class Stay:
    """The workload stays where it is, and why."""

    status: Status
    reason: Reason
    current: str | None = None
    candidate: str | None = None
    """A newer version that something stops."""
    polled: bool = False
    """Whether some version waits for what nobody tells of (a manifest, a platform), so that it is asked
    for in each cycle, whatever else the outcome waits for."""
    hourly: bool = False
    """Whether some version is stopped by its digest, so that it is looked at again within the hour."""


Decision = Release | Stay


def decide(
    workload: Workload,
    sites: tuple[Site, ...],
    tags: TagList | Unavailable,
    facts: Facts,
    now: datetime,
    limits: Limits = DEFAULT_LIMITS,
    judged: Judged | None = None,
) -> Decision | Need:
    """Decide one workload, or name the facts that are missing.

    The result does not depend on the order of the tags or on duplicates. Under `follow` no tag list is
    looked at. `judged` saves judging the same tags anew each time the same is asked.
    """
    ground = prepare(workload, sites, tags, facts, now, limits, judged)
    return choose(ground, facts, now, limits) if isinstance(ground, Ground) else ground


# -- step 1: may anything happen at all? ----------------------------------------------------


class Ground(NamedTuple):
    """What a choice is made from."""

    workload: Workload
    sites: tuple[Site, ...]
    listed: int
    """Tags in the list."""
    current: Current
    shown: str
    """The current version as trailers write it."""
    candidates: tuple[Ranked, ...]
    """Tags that filters and range accept, best first."""
    gone: Stay | None = None
    """Under `order: newest`: a tag is listed whose manifest, and so its date, is missing."""


def prepare(
    workload: Workload,
    sites: tuple[Site, ...],
    tags: TagList | Unavailable,
    facts: Facts,
    now: datetime,
    limits: Limits,
    judged: Judged | None = None,
) -> Ground | Decision | Need:
    """Everything before the choice of a version: holds, sites, tags, order."""
    shown = shown_current(workload, sites, facts)
    if not sites and workload.rule.followed is not None:
        why = reason("follow/none", followed=workload.rule.followed, image=workload.repository)
        return Stay(Status.HELD, why)
    if not sites:
        return Stay(Status.HELD, reason("site/none", workload=workload.name, image=workload.repository))
    stop = stopped_by_person(workload, now)
    if stop is not None:
        return Stay(Status.HELD, stop, shown)
    for site in sites:
        if site.held is not None:
            return Stay(Status.HELD, site.held, shown)
    if workload.rule.followed is not None:
        return _follow(workload, sites, workload.rule.followed, facts, now)
    if is_heir(workload):
        return _ruleless(workload, facts, shown)
    if isinstance(tags, Unavailable):
        return Stay(tags.status, tags.reason, shown)
    differing = None if workload.align else _differ(workload, sites, facts)
    if differing is not None:
        return differing
    return _rank(workload, sites, judged or judge(workload, tags), facts, limits)


def _ruleless(workload: Workload, facts: Facts, shown: str | None) -> Stay | Need:
    """A workload that has no rule of its own, while that of upstream is not known."""
    if isinstance(facts.lent, Unknown):
        return Stay(facts.lent.status, facts.lent.reason, shown)
    if facts.lent:
        return Need(upstreams=facts.lent, idle=True)
    names = ", ".join(name.removeprefix(guards.OF_GROUP) for name in guards.upstreams_of(workload))
    return Stay(Status.HELD, reason("guard/after-unknown", version="any version", upstream=names), shown)


def stopped_by_person(workload: Workload, now: datetime) -> Reason | None:
    """The hold or freeze that stops a workload; of several the one that lasts longest."""
    found: list[tuple[Hold, str]] = [(hold, "guard/freeze") for hold in workload.freezes if hold.stops(now)]
    if workload.hold is not None and workload.hold.stops(now):
        found.append((workload.hold, "guard/hold"))
    if not found:
        return None
    last = max(found, key=lambda item: (item[0].until is None, item[0].until or now, item[1]))
    hold, code = last
    until = (
        "a person removes it" if hold.until is None else f"{hold.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    )
    return reason(code, changes_at=hold.until, reason=hold.reason, until=until, place=hold.place)


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


# -- step 2: the tags that pass, in order ----------------------------------------------------


class Judged(NamedTuple):
    """What a workload's rule says of a tag list, before any fact is known."""

    listed: int
    """Tags in the list, each once."""
    accepted: tuple[Ranked, ...]
    """Best first; in no order under `order: newest`."""


def judge(workload: Workload, tags: TagList) -> Judged:
    """Ask the rule of a workload about every tag."""
    listed = set(tags.tags)
    accepted = [
        Ranked(c.rank, c.tag, c.key) for c in map(workload.rule.judge, listed) if type(c) is Candidate
    ]
    if workload.rule.order != "newest":
        accepted.sort(reverse=True)
    return Judged(len(listed), tuple(accepted))


def _rank(
    workload: Workload, sites: tuple[Site, ...], judged: Judged, facts: Facts, limits: Limits
) -> Ground | Decision | Need:
    ordered, gone = judged.accepted, None
    if workload.rule.order == "newest":
        dated = _dated(workload, sites, judged.accepted, facts, limits)
        if not isinstance(dated, _Dated):
            return dated
        ordered, gone = dated
    current = current_of(workload, sites, facts)
    shown = shown_current(workload, sites, facts) or ""
    ground = Ground(workload, sites, judged.listed, current, shown, ordered, gone)
    if current.rank is None:
        stop = _unorderable_current(ground, facts)
        if stop is not None:
            return stop
    return ground


class _Dated(NamedTuple):
    ordered: tuple[Ranked, ...]
    gone: Stay | None


def _dated(
    workload: Workload, sites: tuple[Site, ...], accepted: tuple[Ranked, ...], facts: Facts, limits: Limits
) -> _Dated | Decision | Need:
    """The candidates with their build times, under `order: newest`."""
    current = {site.tag for site in sites if site.tag is not None}
    wanted = {c.tag for c in accepted} | current
    unknown = tuple(sorted(wanted - facts.built.keys()))
    shown = shown_current(workload, sites, facts)
    if len(unknown) > limits.lookups:
        why = reason("facts/too-many", count=len(unknown), limit=limits.lookups, image=workload.repository)
        return Stay(Status.HELD, why, shown)
    if unknown:
        return Need(built=unknown)
    lost = [site for site in sites if _is_gone(facts.built.get(site.tag or "")) and site.tag is not None]
    unread = tuple(site for site in lost if site_key(site) not in facts.histories)
    if unread:  # the release that wrote it may have said when it was built
        return Need(histories=unread)
    for tag in sorted(current):
        built = facts.built[tag]
        if isinstance(built, Unavailable) and not built.gone:
            return Stay(built.status, built.reason, shown)
        if not isinstance(built, datetime):
            return Stay(Status.HELD, reason("current/undated", current=tag, image=workload.repository), shown)
    dated: list[Ranked] = []
    missing: dict[str, Unavailable] = {}
    for candidate in accepted:
        built = facts.built[candidate.tag]
        if isinstance(built, datetime):
            dated.append(Ranked(built, candidate.tag, candidate.key))
        elif built is not None:
            missing[candidate.tag] = built
    failed = max((tag for tag, why in missing.items() if not why.gone), default=None)
    if failed is not None:
        # Without this date the newest cannot be known: no decision from a partial answer.
        return Stay(missing[failed].status, missing[failed].reason, shown)
    gone = None
    if missing:
        why = reason("tag/gone", tag=max(missing), image=workload.repository)
        gone = Stay(Status.WAITING, why, shown, max(missing))
    dated.sort(reverse=True)
    return _Dated(tuple(dated), gone)


def _is_gone(built: datetime | Unavailable | None) -> bool:
    return isinstance(built, Unavailable) and built.gone


def _floor(ground: Ground, facts: Facts) -> Any:
    """Rank of the newest version that stood where an unorderable one stands now: not to be fallen below."""
    rank = ranking(ground.workload, facts)
    found = []
    for site in ground.sites:
        history = facts.histories.get(site_key(site))
        if isinstance(history, SiteHistory):
            ranks = (rank(value.tag) for value in history.held if value.tag is not None)
            found.append(next((r for r in ranks if r is not None), None))
    return max((r for r in found if r is not None), default=None)


def _unorderable_current(ground: Ground, facts: Facts) -> Decision | Need | None:
    """`latest` or a SHA: any version may be taken, unless a person wrote it after a release of ours."""
    histories = _histories(ground.sites, facts)
    if not isinstance(histories, tuple):
        return histories
    for site, history in zip(ground.sites, histories, strict=True):
        is_adopted = released_here(history) or newer_wrote(history) is not None
        if is_adopted and last_writer(history) is not Writer.OURS:
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


def newer(ground: Ground, facts: Facts) -> tuple[Ranked, ...]:
    """The candidates that the workload may move to, best first: newer ones, and with `downgrade` older
    ones where the policy itself excludes the current version."""
    current, best_first = ground.current.rank, ground.candidates
    if current is None:
        floor = _floor(ground, facts)
        if floor is None:
            return best_first
        return best_first[: bisect_left(best_first, True, key=lambda c: bool(c.rank < floor))]
    if excludes_current(ground.workload, ground.current) and ground.workload.downgrade:
        return tuple(c for c in ground.candidates if c.rank != current)
    return best_first[: bisect_left(best_first, True, key=lambda c: bool(c.rank <= current))]


_EXCLUDED = frozenset(
    {"tag/glob", "tag/regex", "tag/excluded", "tag/rejected", "tag/range", "tag/prerelease"}
)


def excludes_current(workload: Workload, current: Current) -> bool:
    """Whether filters or range refuse the current version; that it is not in the list says nothing."""
    judged = None if current.tag is None else workload.rule.judge(current.tag)
    return isinstance(judged, Dropped) and judged.code in _EXCLUDED


def choose(ground: Ground, facts: Facts, now: datetime, limits: Limits) -> Decision | Need:
    """The best version that every guard lets through."""
    workload = ground.workload
    open_to = newer(ground, facts)
    if not open_to:
        broken = guards.failed(workload, facts)
        return _nothing_newer(ground, facts) if broken is None else Stay(Status.HELD, broken, ground.shown)
    refused = people(ground, facts)
    if not callable(refused):
        return refused
    stops: list[tuple[Ranked, Stop]] = []
    clocks = asked = 0
    for candidate in open_to:
        why = refused(candidate)
        if why is not None:
            stops.append((candidate, Stop(Status.HELD, why)))
            continue
        tag = candidate.tag
        if clocks >= CLOCKS and must_be_seen(workload, tag, facts):
            continue
        if stops and guards.is_too_far(workload, ground.current.rank, candidate.rank):
            continue  # of those that no time lets through, only the best is told
        polls = candidate is open_to[0]
        answer = guards.passes(workload, ground.current, tag, facts, now, polls=polls)
        if isinstance(answer, Need):
            if asked >= limits.lookups:
                why = reason("facts/too-many-candidates", limit=limits.lookups, image=workload.repository)
                return Stay(Status.HELD, why, ground.shown, tag)
            return answer
        asked += tag in facts.images
        if isinstance(answer, Image):
            return release(ground, candidate, answer, facts)
        if answer.is_final:
            return Stay(answer.status, answer.reason, ground.shown, tag)
        clocks += answer.reason.code == "guard/min-age"
        stops.append((candidate, answer))
    return _stopped(ground, stops)


def must_be_seen(workload: Workload, tag: str, facts: Facts) -> bool:
    """Whether looking at a tag could only start its clock, below versions whose clocks run already."""
    return tag not in facts.seen and not guards.is_urgent(workload, tag)


def _stopped(ground: Ground, stops: list[tuple[Ranked, Stop]]) -> Stay:
    """What stops every version that is newer: the stop that ends first by itself; else the best one's."""
    timed = [(at, item) for item in stops if (at := item[1].reason.changes_at) is not None]
    candidate, stop = min(timed, key=lambda pair: pair[0])[1] if timed else stops[0]
    # A manifest that is missing is being pushed, or will be; a person's no stays.
    polled = any(stop.is_polled for _, stop in stops)
    hourly = any(stop.is_of_digest for _, stop in stops)
    return Stay(stop.status, stop.reason, ground.shown, candidate.tag, polled, hourly)


CLOCKS = 2
"""Clocks of newer versions that run before versions never looked at are left alone: with one, a tag that is
pushed again and again would keep all others from ever being looked at."""


def people(ground: Ground, facts: Facts) -> Refusal | Need | Stay:
    """What people turned away, as a test of candidates; else what is missing to know it."""
    workload = ground.workload
    rejection = _rejection(ground, facts)
    if isinstance(rejection, (Need, Stay)):
        return rejection
    return refusal(workload, ground.sites, ground.current, rejection, facts)


def release(ground: Ground, candidate: Ranked, image: Image, facts: Facts) -> Decision:
    """The move to a version that passed; the workload is current where no site is elsewhere."""
    workload, rank = ground.workload, candidate.rank
    down = ground.current.rank is not None and rank < ground.current.rank
    moved = tuple(
        site
        for site in ground.sites
        if _is_below(workload, site, rank, candidate.tag, image, facts)
        or (down and site.tag is not None and excludes_current(workload, Current(site.tag, None)))
    )
    if not moved:  # sites that are written by digest alone, and have this one
        why = reason("current/newest", current=candidate.tag, count=ground.listed, rule=workload.rule.text)
        return Stay(Status.CURRENT, why, ground.shown)
    return Release(workload, ground.shown, candidate.tag, image, moved, ground.listed, down)


def _is_below(workload: Workload, site: Site, rank: Any, tag: str, image: Image, facts: Facts) -> bool:
    if site.tag is None:
        return site.digest != image.digest
    own = site_rank(workload, site, facts)
    return site.tag != tag if own is None else bool(own < rank)


def _nothing_newer(ground: Ground, facts: Facts) -> Decision | Need:
    workload, current, shown = ground.workload, ground.current.tag, ground.shown
    if ground.gone is not None:
        return ground.gone
    if current is not None and isinstance(workload.rule.judge(current), Candidate):
        return _current(ground, current, facts)
    if not ground.candidates:
        why = reason("tag/none", image=workload.listed, count=ground.listed, rule=workload.rule.text)
    else:
        best = ground.candidates[0].tag
        why = reason(
            "current/outside", current=shown, rule=workload.rule.text, best=best, place=workload.place
        )
    return Stay(Status.HELD, why, shown)


def _current(ground: Ground, tag: str, facts: Facts) -> Decision | Need:
    """At the newest version; where a digest is pinned, whether the registry still serves it is told."""
    workload = ground.workload
    pinned = {site.digest for site in ground.sites if site.tag == tag and site.digest is not None}
    if pinned:
        image = facts.images.get(tag)
        if image is None:
            return Need(images=(tag,), idle=True)
        if isinstance(image, Image) and image.digest not in pinned:
            why = reason("current/moved-digest", current=tag, digest=image.digest, image=workload.repository)
            return Stay(Status.CURRENT, why, ground.shown)
    why = reason("current/newest", current=tag, count=ground.listed, rule=workload.rule.text)
    return Stay(Status.CURRENT, why, ground.shown)


# -- a followed tag ---------------------------------------------------------------------------


def _tag_of(site: Site) -> str | None:
    """The tag that a site is at; a reference without tag and digest is at `latest`, as everywhere."""
    return "latest" if site.tag is None and site.digest is None else site.tag


def _follow(
    workload: Workload, sites: tuple[Site, ...], tag: str, facts: Facts, now: datetime
) -> Decision | Need:
    """A moving tag: the sites at it get the digest that the registry serves, unless people or guards
    are against it."""
    at_tag = tuple(site for site in sites if _tag_of(site) == tag)
    if not at_tag:
        place = f"{sites[0].file}:{sites[0].line}"
        current_tag = _tag_of(sites[0]) or sites[0].digest or ""
        why = reason("follow/elsewhere", followed=tag, place=place, current=current_tag)
        return Stay(Status.HELD, why, value_text(sites[0].tag, sites[0].digest))
    shown = value_text(at_tag[0].tag, at_tag[0].digest)
    image = facts.images.get(tag)
    if image is None:  # each time: under a moving tag may be another digest by now
        return Need(images=(tag,), idle=True)
    if isinstance(image, Image) and all(site.digest == image.digest for site in at_tag):
        broken = guards.failed(workload, facts)
        if broken is not None:
            return Stay(Status.HELD, broken, shown)
        return Stay(Status.CURRENT, reason("current/followed", current=shown, followed=tag), shown)
    accepted = accepted_digests(workload, sites, facts)
    if isinstance(image, Image) and image.digest in facts.withdrawn - accepted:
        shown_digest = value_text(tag, image.digest)
        why = reason("history/rewound", tag=shown_digest, held=shown_digest)
        return Stay(Status.HELD, why, shown, tag)
    if isinstance(image, Image) and image.digest not in accepted:
        closed = next((d for d in facts.declined if d.digest == image.digest), None)
        if closed is not None:
            return Stay(Status.HELD, closed.reason, shown, tag)
    answer = guards.passes(workload, Current(tag, None), tag, facts, now)
    if isinstance(answer, Need):
        return answer
    if isinstance(answer, Stop):
        return Stay(answer.status, answer.reason, shown, tag)
    moved = tuple(site for site in at_tag if site.digest != answer.digest)
    histories = _histories(moved, facts)
    if not isinstance(histories, tuple):
        return histories
    for history in histories:
        fought_over = stands(contested(history), workload, tag, answer.digest)
        if fought_over is not None:
            return Stay(Status.HELD, fought_over, shown, tag)
        earlier = next((v for v in history.held[1:] if v.digest == answer.digest), None)
        if earlier is not None and answer.digest not in accepted_digests(workload, sites, facts):
            why = reason("history/digest-left", tag=tag, digest=answer.digest, place=workload.place)
            return Stay(Status.HELD, why, shown, tag)
    return Release(workload, shown, tag, answer, moved, 1)


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


def _rejection(ground: Ground, facts: Facts) -> Rejection | Need | Stay | None:
    """What people turned away at any site binds the workload (DESIGN section 8)."""
    workload, sites = ground.workload, ground.sites
    histories = _histories(sites, facts)
    if not isinstance(histories, tuple):
        return histories
    if workload.rule.order == "newest":
        lacking = sorted({tag for h in histories for tag in undated(h, facts.built)})
        if lacking:
            return Need(built=tuple(lacking))
    return combine(rejections(workload, sites, facts))


def rejections(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> Iterator[Rejection | None]:
    """What people turned away at each site whose history is known."""
    for site in sites:
        history = facts.histories.get(site_key(site))
        if isinstance(history, SiteHistory):
            yield turned_away(history, site_rank(workload, site, facts), ranking(workload, facts))
