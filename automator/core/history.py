"""History: who set a site to what and since when, and what people turned away (the mark rule)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any

from automator.core.proven import agree, proven
from automator.core.record import Member, ReleaseRecord, newer_format
from automator.core.reference import value_text
from automator.core.site import Site
from automator.core.trace import (
    NOTHING,
    Elsewhere,
    FileChange,
    FilePast,
    FileVersion,
    Lacking,
    Shared,
    Value,
    trace,
)
from automator.reasons import Reason, reason

__all__ = [
    "ENOUGH_CHANGES",
    "Elsewhere",
    "FileChange",
    "FilePast",
    "FileVersion",
    "HeldSpan",
    "HeldValue",
    "Lacking",
    "Rank",
    "Rejection",
    "SiteHistory",
    "Undone",
    "Writer",
    "combine",
    "departure",
    "departures",
    "earlier_versions",
    "enough",
    "is_ours",
    "is_same_version",
    "last_writer",
    "newer_wrote",
    "previous_version",
    "released_here",
    "site_history",
    "stays",
    "turned_away",
    "undated",
    "undone_downgrade",
]

ENOUGH_CHANGES = 2_000
"""Changes of a site's file after which its history is taken as read."""

Rank = Callable[[str], Any]
"""Tag -> its rank in the policy's present order, or None where that cannot be told."""


class Writer(StrEnum):
    """Whose hand wrote a value."""

    OURS = "ours"
    PERSON = "person"
    """Anybody else: another bot too."""
    UNKNOWN = "unknown"
    """It is older than the history that was read."""


@dataclass(frozen=True, slots=True)
class HeldValue:
    """A value that a site held, and the commit that wrote it."""

    tag: str | None
    digest: str | None
    commit: str | None = None
    """None where it was written before the history that was read."""
    author: str = "somebody"
    time: datetime | None = None
    """Since when the site held it: the commit's time."""
    message: str = ""
    record: ReleaseRecord | None = None
    """What the commit claims, where it is proven; then the commit is ours."""
    member: Member | None = None
    """The part of `record` that speaks of this value."""
    until: datetime | None = None
    """When another value, or none, took its place: that commit's time; None for the present value, and
    where the commit that did it was not read."""
    beside: bool = False
    """Whether only commits held it that the branch never was at."""

    @property
    def writer(self) -> Writer:
        if self.record is not None:
            return Writer.OURS
        return Writer.UNKNOWN if self.commit is None else Writer.PERSON

    @property
    def built(self) -> datetime | None:
        """Build time that our release wrote down."""
        return None if self.member is None else self.member.built

    @property
    def asked_by(self) -> str:
        """Whose word it is: who asked us for it, else who committed it."""
        actor = None if self.record is None else self.record.actor
        return actor or self.author

    @property
    def is_word(self) -> bool:
        """Whether it says what somebody wants: no release that automator made by itself."""
        return self.record is None or self.record.actor is not None or self.record.kind == "rollback"

    def __str__(self) -> str:
        return value_text(self.tag, self.digest)


@dataclass(frozen=True, slots=True)
class SiteHistory:
    """The successive values of one site, newest first; the first is the present one."""

    held: tuple[HeldValue, ...]
    complete: bool
    """Whether it was read to where the site began."""
    changes: int = 0
    """Changes of its files that were read."""
    lacking: Lacking = NOTHING
    """What must be read before it can be told where the site was before it came to its oldest file."""
    files: tuple[str, ...] = ()
    """Paths at which the site was, the present one first."""

    @property
    def since(self) -> datetime | None:
        """When the oldest value was written of which that is known."""
        return next((value.time for value in reversed(self.held) if value.time is not None), None)


def site_history(
    versions: tuple[FileVersion, ...],
    site: Site,
    complete: bool,
    elsewhere: Elsewhere | None = None,
    shared: Shared | None = None,
) -> SiteHistory:
    """The values that a site held, from its file's changes, newest first. Never raises.

    `core.trace` says which site of an older file is the same one, and with `elsewhere` which one of another
    file. A value that was away in between (a deleted file) begins a new stay. A record counts only where
    its commit really moves the image from `before` to `after` at a site of this file, and leaves this
    site at `after`. `shared` keeps what the histories of other sites need too.
    """
    shared = Shared() if shared is None else shared
    traced = trace(FilePast(versions, complete), site, elsewhere, shared)
    steps = traced.steps
    held: list[HeldValue] = []
    present = (site.tag, site.digest)
    if not steps or present not in steps[0].values:
        held.append(HeldValue(*present))
    ended: FileVersion | None = None
    was_there = False
    for i, step in enumerate(steps):
        was_there = was_there or step.version is None or not step.version.change.beside
        if i + 1 < len(steps) and steps[i + 1].values == step.values:
            continue  # an older change wrote it
        until = None if ended is None else ended.change.time
        found = (_held(value, step.version, site, until, shared) for value in step.values)
        held.extend(found if was_there else (replace(value, beside=True) for value in found))
        ended, was_there = step.version, False
    return SiteHistory(tuple(held), traced.complete, traced.changes, traced.lacking, traced.files)


def enough(history: SiteHistory) -> bool:
    """Whether the history reaches far enough back for the mark rule: to its beginning, or over so many
    changes that no more are read. The latter is a bound, and told: what is older would count as much.

    A release of ours is no place to stop: it may have gone past what people had turned away (`accept`, a
    release that somebody forced, a commit that was picked from elsewhere, an order that the policy has
    given up since), and what is known must not hang on how far back the clone happens to reach.
    """
    if history.lacking.commits or history.lacking.files:
        return False
    return history.complete or history.changes >= ENOUGH_CHANGES


def is_ours(value: HeldValue) -> bool:
    """Whether a commit of ours wrote this value: its message says so, and what it says is true."""
    return value.writer is Writer.OURS


def released_here(history: SiteHistory) -> bool:
    """Whether automator ever wrote this site, as far as the history was read."""
    return any(is_ours(value) for value in history.held)


def newer_wrote(history: SiteHistory) -> HeldValue | None:
    """What a newer automator wrote here last, whose record is of a format that this one does not know."""
    return next((v for v in history.held if v.record is None and newer_format(v.message) is not None), None)


def last_writer(history: SiteHistory) -> Writer:
    """Whose hand wrote the present value."""
    return history.held[0].writer if history.held else Writer.UNKNOWN


@dataclass(frozen=True, slots=True)
class HeldSpan:
    """One unbroken stay of a site at one version, and the commit that began it."""

    tag: str | None
    digest: str | None
    since: datetime | None
    """The commit's time; None where it is older than the history that was read."""
    until: datetime | None
    """None while it lasts. Never before `since`, however the clocks of those who committed went."""
    commit: str | None
    writer: Writer


def stays(history: SiteHistory) -> tuple[HeldSpan, ...]:
    """The stays of a site, newest first. Commit times are anybody's claim: see `promotion.stay_begins`.

    A stay whose end was not read has lasted no longer than is known: it ends where it began, or where the
    stay after it did if that is all that is known.
    """
    found: list[HeldSpan] = []
    for i, value in enumerate(history.held):
        since, until = value.time, value.until
        if i and until is None:
            until = since or next((v.time for v in reversed(history.held[:i]) if v.time), None)
        if since is not None and until is not None:
            until = max(since, until)
        found.append(HeldSpan(value.tag, value.digest, since, until, value.commit, value.writer))
    return tuple(found)


def previous_version(history: SiteHistory, rank: Rank | None = None) -> HeldValue | None:
    """The version to go back to: the last of `earlier_versions`; None where there is none."""
    return next(iter(earlier_versions(history, rank)), None)


def earlier_versions(history: SiteHistory, rank: Rank | None = None) -> tuple[HeldValue, ...]:
    """The other versions that the site held and that nobody turned away since, newest first.

    Going back to a version that was held before turns away what came between, a `rollback` what it left;
    with `rank`, a step down to a version that was never there all that is above it.
    """
    line: list[HeldValue] = []
    for value in reversed(history.held):
        if value.beside:
            continue
        again = next((i for i, old in enumerate(line) if is_same_version(old, value)), None)
        if again is not None:
            del line[again:]
        else:
            is_back = value.record is not None and value.record.kind == "rollback"
            if is_back:
                del line[-1:]
            if rank is not None and (is_back or value.writer is not Writer.OURS):
                while line and _is_below(value, line[-1], rank):
                    line.pop()
        line.append(value)
    return tuple(reversed(line[:-1]))


def is_same_version(one: HeldValue, other: HeldValue) -> bool:
    """Whether two values are one version; a digest that only one of them names does not part them."""
    return agree((one.tag, one.digest), (other.tag, other.digest))


def _is_below(one: HeldValue, other: HeldValue, rank: Rank) -> bool:
    lower, upper = (None if value.tag is None else rank(value.tag) for value in (one, other))
    return lower is not None and upper is not None and bool(lower < upper)


# -- the mark rule -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rejection:
    """People moved a site down from its mark: what lies between is turned away."""

    mark_tag: str
    mark_rank: Any
    current_tag: str
    current_rank: Any
    by: str
    """Who moved it away from the mark."""
    set_tag: str
    """To what."""
    commit: str
    time: datetime | None
    dated: bool = True
    """False where the mark's build time is not known: `mark_rank` is then the time at which it was
    written, and the image is older than that."""

    def rejects(self, rank: Any) -> bool:
        """Whether a version of this rank is turned away: above the current one, not above the mark."""
        return bool(self.current_rank < rank <= self.mark_rank)

    @property
    def reason(self) -> Reason:
        """The sentence: `was 1.4.3 until Ann set 1.4.2 in abc1234`."""
        return reason(
            "history/turned-away" if self.dated else "history/undated",
            mark=self.mark_tag,
            author=self.by,
            version=self.set_tag,
            commit=self.commit[:7] or "a commit before those read",
        )


def turned_away(history: SiteHistory, current_rank: Any, rank: Rank) -> Rejection | None:
    """What people turned away at this site (DESIGN section 8), or None.

    The mark is the highest version that the site held, whoever wrote it, back to the last `release`
    of ours that went down (`downgrade`, or another order at the time): there, nobody turned anything
    away. What people had turned away until then stays so: a downgrade of ours frees what it left itself,
    and nothing above it. Tags that the present order cannot rank make no mark. Equal tags are one
    version, whatever their digests.

    `current_rank` None means that the present value cannot be ordered; the newest one that can stands
    for it, so that what was turned away before stays so.

    Under `order: newest` ranks are build times. A tag whose time cannot be had was built before it was
    written to the file: that time is its rank then, so that nothing which may be older gets through.
    """
    held = history.held
    stretches: list[tuple[Rejection | None, Any]] = []
    while True:
        since, floor, down = _turned_away_since(held, current_rank, rank)
        stretches.append((since, floor))
        if down is None:
            break
        held = held[down:]
        current_rank = _rank(held, 0, rank)
    found: Rejection | None = None
    for since, floor in reversed(stretches):
        found = combine((since, found if found is not None and found.mark_rank > floor else None))
    return found


def _turned_away_since(
    held: tuple[HeldValue, ...], current_rank: Any, rank: Rank
) -> tuple[Rejection | None, Any, int | None]:
    """What people turned away since the last release of ours that went down; the rank above which that is;
    and where the release went down from, if there is one."""
    begin, floor = 0, current_rank
    while floor is None and begin < len(held):
        floor = _rank(held, begin, rank)
        begin += floor is None
    if floor is None or begin >= len(held):
        return None, floor, None
    by_time = isinstance(floor, datetime)
    mark: tuple[int, Any] | None = None
    down: int | None = None
    for i in range(begin + 1, len(held)):
        if _went_down(held, i - 1, rank):
            down = i
            break
        own = _upper_rank(held, i, rank) if by_time else _rank(held, i, rank)
        if own is not None and own > floor and (mark is None or own > mark[1]):
            mark = (i, own)
    since = None if mark is None else _rejection(held, begin, floor, *mark, rank)
    return since, floor, down


def departure(history: SiteHistory, is_up: Callable[[HeldValue], bool]) -> HeldValue | None:
    """What the site was set to when it last left those values that `is_up` names, if somebody wanted that;
    None where it is at one, never was, or where a release of ours by itself left it."""
    for newer, older in pairwise(history.held):
        if is_up(newer):
            return None
        if is_up(older):
            return newer if newer.is_word else None
    return None


def departures(history: SiteHistory, rank: Rank, listed: Callable[[HeldValue], bool]) -> tuple[str, ...]:
    """The commits in which the site may have last left a version above the present one, or one that is
    `listed`: where `departure` may find something."""
    found: dict[str, None] = {}
    highest = _rank(history.held, 0, rank) if history.held else None
    for i, (newer, older) in enumerate(pairwise(history.held), 1):
        own = _rank(history.held, i, rank)
        is_new = own is not None and (highest is None or own > highest)
        highest = own if is_new else highest
        if newer.commit is not None and newer.is_word and (is_new or listed(older)):
            found[newer.commit] = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Undone:
    """A release of ours that went down, and that a person undid."""

    rank: Any
    """Of the version it went down to: nothing up to it is moved down to again."""
    tag: str
    by: str
    set_tag: str
    commit: str

    @property
    def reason(self) -> Reason:
        """The sentence: `was moved down to 1.4.0 until Ann set 1.5.0 in abc1234`."""
        return reason(
            "history/downgrade-undone",
            tag=self.tag,
            author=self.by,
            version=self.set_tag,
            commit=self.commit[:7] or "a commit before those read",
        )


def undone_downgrade(history: SiteHistory, rank: Rank) -> Undone | None:
    """The highest version that a release of ours moved this site down to and that a person moved it up
    from again, or None: the same downgrade would only be undone once more."""
    held = history.held
    found: Undone | None = None
    for i in range(1, len(held)):
        mover, left = held[i - 1], _rank(held, i, rank)
        if mover.writer is not Writer.PERSON or not _went_down(held, i, rank) or left is None:
            continue
        then = _rank(held, i - 1, rank)
        if then is not None and then > left and (found is None or left > found.rank):
            found = Undone(left, held[i].tag or "", mover.author, str(mover), mover.commit or "")
    return found


def undated(history: SiteHistory, known: Mapping[str, object]) -> tuple[str, ...]:
    """Tags whose build times the mark rule still needs under `order: newest`, each once.

    `known` has the tags already looked up (None and failures too). Not needed are those that our own
    releases wrote down, and those written before the present image was built.
    """
    held = history.held
    current = known.get(held[0].tag or "") if held else None
    lacking: dict[str, None] = {}
    for i, value in enumerate(held):
        if value.tag is None or value.tag in known or value.built is not None:
            continue
        bound = _written_by(held, i)
        if isinstance(current, datetime) and bound <= current:
            continue
        lacking[value.tag] = None
    return tuple(lacking)


def combine(rejections: Iterable[Rejection | None]) -> Rejection | None:
    """One rejection for the workload: what is turned away at one site is so at all of them."""
    found = [r for r in rejections if r is not None]
    if not found:
        return None
    highest = max(found, key=lambda r: r.mark_rank)
    lowest = min(found, key=lambda r: r.current_rank)
    return replace(highest, current_tag=lowest.current_tag, current_rank=lowest.current_rank)


def _rejection(
    held: tuple[HeldValue, ...], current: int, floor: Any, at: int, mark: Any, rank: Rank
) -> Rejection:
    value = held[at]
    left = next((v for v in reversed(held[:at]) if v.commit != value.commit), held[at - 1])
    return Rejection(
        mark_tag=value.tag or "",
        mark_rank=mark,
        current_tag=held[current].tag or "",
        current_rank=floor,
        by=left.asked_by,
        set_tag=left.tag or str(left),
        commit=left.commit or "",
        time=left.time,
        dated=not isinstance(mark, datetime) or (_rank(held, at, rank) or value.built) is not None,
    )


def _rank(held: tuple[HeldValue, ...], i: int, rank: Rank) -> Any:
    tag = held[i].tag
    return None if tag is None else rank(tag)


def _upper_rank(held: tuple[HeldValue, ...], i: int, rank: Rank) -> datetime | None:
    """Build time of a held value, or a time before which it was built; None for one without a tag."""
    if held[i].tag is None:
        return None
    return _rank(held, i, rank) or held[i].built or _written_by(held, i)


def _written_by(held: tuple[HeldValue, ...], i: int) -> datetime:
    """A time at which the value was written already: its own commit's, else the next known one.

    Clocks of those who commit may be wrong. What stood before was written earlier, so a later time of that
    counts instead; but nothing was written after all that came later.
    """
    newer = [value.time for value in reversed(held[:i]) if value.time is not None]
    known = [value.time for value in held[i:] if value.time is not None]
    if held[i].time is None or not known:
        return newer[0] if newer else datetime.max.replace(tzinfo=UTC)
    return min(max(known), max(newer)) if newer else max(known)


def _went_down(held: tuple[HeldValue, ...], i: int, rank: Rank) -> bool:
    """Whether a release of ours moved the site down to value `i`."""
    record = held[i].record
    if record is None or record.kind != "release" or i + 1 >= len(held):
        return False
    now, then = _rank(held, i, rank), _rank(held, i + 1, rank)
    return now is not None and then is not None and bool(now < then)


def _held(
    value: Value, version: FileVersion | None, site: Site, until: datetime | None, shared: Shared
) -> HeldValue:
    tag, digest = value
    if version is None:
        return HeldValue(tag, digest, until=until)
    change = version.change
    record, member = proven(version, value, site, shared) or (None, None)
    return HeldValue(
        tag, digest, change.commit, change.author, change.time, change.message, record, member, until
    )
