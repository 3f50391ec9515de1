"""Rollback: back to a version that a workload held before.

History says which; it is the way out when something is wrong, so neither holds nor windows nor registries
that do not answer stop it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from automator.core.action import (
    Change,
    FileEdit,
    Move,
    Nothing,
    Request,
    move_versions,
    named_version,
    unlist,
)
from automator.core.duration import format_age
from automator.core.facts import Facts, Need, Unavailable, site_key
from automator.core.history import HeldValue, SiteHistory, earlier_versions, is_same_version
from automator.core.policy import Workload
from automator.core.reference import DIGEST, TAG, Image, short_text, value_text
from automator.core.site import Site
from automator.core.standing import current_of, ranking
from automator.core.wayback import good_before, is_rejected
from automator.cycle.index import Snapshot
from automator.cycle.moving import image_served, require_movable, texts_of
from automator.cycle.run import Cycle
from automator.errors import ActionError, ManifestError
from automator.reasons import Reason, reason

DATED = 20
"""Versions of a site, the newest first, whose build times a rollback asks for."""
JUST_NOW = timedelta(minutes=10)
"""After somebody's rollback, another person's is probably the same one, asked for twice."""


@dataclass(frozen=True, slots=True)
class _Going:
    """A workload that may go back, and where it was."""

    workload: Workload
    sites: tuple[Site, ...]
    histories: tuple[SiteHistory, ...]
    """Those of its sites that could be read; of the sites at its current version first."""
    trouble: Reason | None
    """Why one could not."""
    facts: Facts

    @property
    def shown(self) -> str:
        site = self.sites[0]
        return short_text(value_text(site.tag, site.digest)) or "no version"

    def held(self) -> Iterator[HeldValue]:
        for history in self.histories:
            yield from history.held

    def above(self, move: Move) -> tuple[str, ...]:
        """The versions that a move leaves: those of its sites, and those held before that are above where it
        goes; digests of a followed tag."""
        if self.workload.rule.followed is not None:
            return tuple(dict.fromkeys(site.digest for site in move.sites if site.digest is not None))
        rank = ranking(self.workload, self.facts)
        floor = None if move.tag is None else rank(move.tag)
        held = [value.tag for value in self.held() if value.tag is not None]
        above = (tag for tag in held if floor is not None and (r := rank(tag)) is not None and r > floor)
        every = (*(site.tag for site in move.sites if site.tag is not None), *above)
        return tuple(tag for tag in dict.fromkeys(every) if tag != move.tag)

    def before(self) -> HeldValue | None:
        """The last good version before the present one."""
        found = (next(good_before(self.workload, self.facts, past), None) for past in self.histories)
        values = [v for v in found if v is not None and (v.tag is not None or v.digest is not None)]
        return next((v for v in values if v.tag is not None), values[0] if values else None)

    def named(self, versions: tuple[str, ...]) -> HeldValue | None:
        """The value that these texts name, by tag, version or digest; the newest of several."""
        rule = self.workload.rule
        for value in self.held():
            if value.digest is not None and value.digest in versions:
                return value
            if rule.followed is None and value.tag is not None and rule.names(versions, value.tag):
                return value
        return None


def roll_back(cycle: Cycle, snapshot: Snapshot, request: Request, now: datetime) -> Change | Nothing:
    """The commit that takes a workload, and its group, back.

    Raises ActionError, ManifestError where a site cannot be written exactly, CheckoutError.
    """
    names = _together(snapshot, request.workload)
    for name in names:
        require_movable(snapshot, name)
    first = request.workload
    going, target = _way_back(cycle, snapshot, names, request, now)
    notes: list[Reason] = list(_further_back(going[first], request, now))
    if target.tag is None and any(site.tag is not None for site in going[first].sites):
        raise ActionError(reason("action/nothing-before", workload=first, current=going[first].shown))
    moves = []
    for name in names:
        wanted = target if name == first else _with_it(cycle, going, name, request, target, now)
        if wanted is not None:
            moves.append(_back(cycle, going[name], wanted, request, notes, now))
    moves = [move for move in moves if move.sites]
    version = short_text(value_text(target.tag, target.digest)) or ""
    if not moves:
        return Nothing(reason("action/at-it", workload=first, version=version))
    why = f"taken back from {going[first].shown}" + (f": {request.why}" if request.why else "")
    change = move_versions(request, "rollback", moves, texts_of(cycle, moves), why)
    unlisted = _no_longer_accepted(cycle, going, moves, notes)
    return replace(change, edits=(*change.edits, *unlisted), notes=tuple(dict.fromkeys(notes)))


def _no_longer_accepted(
    cycle: Cycle, going: Mapping[str, _Going], moves: Sequence[Move], notes: list[Reason]
) -> Iterator[FileEdit]:
    """The policies without what they accept of the versions that are left: whoever accepts one of them again
    then says so anew. Where that cannot be edited, the person hears of it."""
    texts = dict(cycle.index.policy_texts)
    for move in moves:
        workload, file = move.workload, move.workload.place.file
        left = going[workload.name].above(move)
        try:
            texts[file] = unlist(texts[file], workload, left)
            lists = workload.accept if texts[file] == cycle.index.policy_texts[file] else ()
        except ManifestError:
            lists = workload.accept
        for version in left:
            if workload.rule.names(lists, version):
                place = workload.place_of("accept")
                notes.append(reason("action/still-accepted", version=version, place=place))
    for file, text in texts.items():
        if text != cycle.index.policy_texts[file]:
            yield FileEdit(file, cycle.index.policy_texts[file], text)


def _together(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    """A workload and the members of its group, itself first."""
    entry = snapshot.workloads[name]
    group = entry.group.name if isinstance(entry, Workload) and entry.group is not None else None
    members = snapshot.groups.get(group, ()) if group is not None else ()
    return (name, *(member for member in members if member != name))


def _way_back(
    cycle: Cycle, snapshot: Snapshot, names: Sequence[str], request: Request, now: datetime
) -> tuple[dict[str, _Going], HeldValue]:
    """Where everyone was, and which version the first goes to; more history is fetched until it is found."""
    first = names[0]
    entry = snapshot.workloads[first]
    version = request.version
    if version is not None and isinstance(entry, Workload):
        version = named_version(version, cycle.facts.ask_rule(entry, now))
    served: Image | Unavailable | None = None
    while True:
        going = _read(cycle, snapshot, names)
        _require_at(going[first], request, version)
        target = going[first].before() if version is None else going[first].named((version,))
        if target is None and version is not None and served is None:
            served = image_served(cycle, going[first].workload, version, now)
        if target is None and isinstance(served, Image):
            target = HeldValue(version, served.digest)
        if target is not None or not cycle.facts.reach.can_grow():
            break
        cycle.facts.reach.grow()
        cycle.facts.forget()
    here = going[first]
    if target is None and here.trouble is not None:
        raise ActionError(here.trouble, retry=True)
    if target is None and version is None:
        raise ActionError(reason("action/nothing-before", workload=first, current=here.shown))
    if target is None and version is not None:
        if not request.force or not TAG.fullmatch(version):
            problem = served.reason.sentence if isinstance(served, Unavailable) else "it is no tag"
            raise ActionError(reason("action/never-there", workload=first, version=version, problem=problem))
        target = HeldValue(version, None)
    assert target is not None
    _refuse_no_way_back(here, target, request)
    return going, target


def holds(workload: Workload, site: Site, version: str) -> bool:
    """Whether a site is at what a text names: a version, a digest, or both."""
    tag, at, digest = version.partition("@")
    if DIGEST.fullmatch(version):
        return site.digest == version
    if at and site.digest is not None and site.digest != digest:
        return False
    return (not tag and site.tag is None) or (
        site.tag is not None and workload.rule.names((tag,), site.tag, site.digest)
    )


def _require_at(going: _Going, request: Request, version: str | None) -> None:
    """Raises ActionError where the workload is not any more where the person saw it; that it is where it is
    to go is no reason to refuse."""
    site = going.sites[0]
    if request.at is None or holds(going.workload, site, request.at):
        return
    if version is None or not holds(going.workload, site, version):
        history = next(iter(going.histories), None)
        by = _who(history.held[0]) if history is not None and history.held else "somebody"
        name, at = going.workload.name, short_text(request.at)
        raise ActionError(reason("action/moved-on", workload=name, at=at, current=going.shown, by=by))


def _who(value: HeldValue) -> str:
    return value.author if value.record is None else value.record.actor or "automator"


def _further_back(going: _Going, request: Request, now: datetime) -> Iterator[Reason]:
    """What the person should hear where the workload was taken back already: this goes further.

    Raises ActionError where somebody else did that just now, and nothing says that both are meant.
    """
    present = next((history.held[0] for history in going.histories if history.held), None)
    is_back = present is not None and present.record is not None and present.record.kind == "rollback"
    if present is None or not is_back or request.version is not None:
        return
    by, name = _who(present), going.workload.name
    since = None if present.time is None else now - present.time
    if request.at is None and by != request.actor and since is not None and abs(since) < JUST_NOW:
        age = format_age(max(since, timedelta(0)))
        raise ActionError(reason("action/back-already", workload=name, current=going.shown, by=by, age=age))
    yield reason("action/further-back", workload=name, current=going.shown, by=by)


def _read(cycle: Cycle, snapshot: Snapshot, names: Sequence[str]) -> dict[str, _Going]:
    every = [site for name in names for site in snapshot.claims.sites[name]]
    cycle.facts.read_histories(every)
    found = {}
    for name in names:
        entry, sites = snapshot.workloads[name], snapshot.claims.sites[name]
        assert isinstance(entry, Workload)
        workload = cycle.facts.ask_rule(entry, cycle.clock())
        facts = _with_build_times(cycle, workload, sites)
        if cycle.facts.verifying is not None and workload.verify:
            facts = replace(facts, verified=cycle.facts.verifying.failures(name))
        current = current_of(workload, sites, facts).tag
        ordered = tuple(sorted(sites, key=lambda site: site.tag != current))
        known = [facts.histories.get(site_key(site)) for site in ordered]
        histories = tuple(history for history in known if isinstance(history, SiteHistory))
        troubles = (history.reason for history in known if isinstance(history, Unavailable))
        found[name] = _Going(workload, ordered, histories, next(troubles, None), facts)
    return found


def _with_build_times(cycle: Cycle, workload: Workload, sites: tuple[Site, ...]) -> Facts:
    """What is known of a workload; under `newest`, the registry is asked when its last versions were built,
    since what is above what cannot be told otherwise. It may not answer: then it stays unknown."""
    facts = cycle.facts.known(workload, sites)
    if workload.rule.order != "newest":
        return facts
    pasts = (past for past in facts.histories.values() if isinstance(past, SiteHistory))
    tags = dict.fromkeys(v.tag for past in pasts for v in past.held[:DATED] if v.tag is not None)
    undated = tuple(tag for tag in tags if tag not in facts.built)
    if not undated:
        return facts
    cycle.facts.look_up([(workload.repository, Need(built=undated))], cycle.clock())
    return cycle.facts.known(workload, sites)


def _refuse_no_way_back(going: _Going, target: HeldValue, request: Request) -> None:
    """Raises ActionError for a version above the present one; and, unless it is forced, for one of which it
    cannot be told that it is below, and for one that a person rejected."""
    workload, site = going.workload, going.sites[0]
    rank = ranking(workload, going.facts)
    here, there = (None if tag is None else rank(tag) for tag in (site.tag, target.tag))
    version = short_text(value_text(target.tag, target.digest))
    if here is not None and there is not None and there > here:
        raise ActionError(
            reason("action/newer", workload=workload.name, version=version, current=going.shown)
        )
    if request.force or is_same_version(target, HeldValue(site.tag, site.digest)):
        return
    if here is None or there is None:
        line = (v for past in going.histories for v in earlier_versions(past, rank))
        if not any(is_same_version(target, value) for value in line):
            why = reason("action/not-before", workload=workload.name, version=version, current=going.shown)
            raise ActionError(why)
    if is_rejected(workload, target):
        place = workload.place_of("reject")
        raise ActionError(reason("action/rejected", workload=workload.name, version=version, place=place))


def _with_it(
    cycle: Cycle,
    going: Mapping[str, _Going],
    name: str,
    request: Request,
    target: HeldValue,
    now: datetime,
) -> HeldValue | None:
    """What another member of the group goes back to; None where it stays.

    To the same version, where the group is always at one; else a member goes back to where it was before,
    if the commit that brought the present version moved it too.
    """
    first = request.workload
    here, lead = going[name], going[first]
    group = lead.workload.group
    if group is not None and group.match == "version" and target.tag is not None:
        versions = _spellings(lead.workload, target.tag)
        if here.sites[0].tag is not None and here.workload.rule.names(versions, here.sites[0].tag):
            return None
        found = here.named(versions)
        if is_rejected(here.workload, found or HeldValue(target.tag, None)) and not request.force:
            place = here.workload.place_of("reject")
            why = reason("action/rejected", workload=name, version=target.tag, place=place)
            raise ActionError(reason("action/member", workload=first, member=name, problem=why.sentence))
        if found is not None:
            return found
        served = image_served(cycle, here.workload, target.tag, now)
        if isinstance(served, Image):
            return HeldValue(target.tag, served.digest)
        problem = reason(
            "action/never-there", workload=name, version=target.tag, problem=served.reason.sentence
        )
        raise ActionError(reason("action/member", workload=first, member=name, problem=problem.sentence))
    commits = {history.held[0].commit for history in lead.histories if history.held}
    mine = {history.held[0].commit for history in here.histories if history.held}
    return here.before() if (commits & mine) - {None} else None


def _spellings(workload: Workload, tag: str) -> tuple[str, ...]:
    """The texts by which other workloads may know the version of a tag: the tag, and its key."""
    matcher = workload.rule.matcher
    key = None if matcher is None else matcher.key(tag)
    return (tag,) if key is None else (tag, key)


def _back(
    cycle: Cycle, going: _Going, target: HeldValue, request: Request, notes: list[Reason], now: datetime
) -> Move:
    """One workload's way back, with the digest that belongs to the version."""
    workload, tag = going.workload, target.tag
    image = None if target.digest is None else Image(target.digest)
    asked = named_version(request.version or "", workload)
    if tag is not None and workload.rule.followed is None and not DIGEST.fullmatch(asked):
        image = _image_of(cycle, going, tag, request, notes, now)
    _, at, wanted_digest = (request.version or "").partition("@")
    if at and going.workload.name == request.workload and DIGEST.fullmatch(wanted_digest):
        image = _image_named(going, tag, wanted_digest, image)
    rank = ranking(workload, going.facts)
    wanted = None if tag is None else rank(tag)

    def is_above(site: Site) -> bool:
        here = None if site.tag is None else rank(site.tag)
        if here is None or wanted is None:  # the others may be below it
            return site.tag in (tag, going.sites[0].tag) or workload.rule.order != "newest"
        return bool(here >= wanted)

    digest = None if image is None else image.digest
    sites = tuple(
        site
        for site in going.sites
        if is_above(site)
        and (site.tag != tag or (digest != site.digest and (site.digest or workload.pin == "digest")))
    )
    return Move(workload, tag, image, sites)


def _image_of(
    cycle: Cycle, going: _Going, tag: str, request: Request, notes: list[Reason], now: datetime
) -> Image | None:
    """What a tag stands for: what it stood for when the workload held it, where a digest is pinned; what
    the registry serves for it else. None where nobody tells, and no site needs it."""
    workload = going.workload
    held = next((d for value in going.held() if value.tag == tag and (d := _digest(value))), None)
    served = image_served(cycle, workload, tag, now)
    is_pinned = workload.pin == "digest" or any(site.digest is not None for site in going.sites)
    if isinstance(served, Unavailable) and served.gone and not request.force:
        raise ActionError(reason("action/not-served", image=workload.repository, version=tag))
    if isinstance(served, Image) and (held is None or held == served.digest):
        return served
    if is_pinned and held is not None:
        return Image(held)
    if isinstance(served, Image):
        image, found = workload.repository, served.digest
        notes.append(reason("action/moved-tag", image=image, version=tag, held=held, found=found))
        return served
    if is_pinned:
        problem = served.reason.sentence
        raise ActionError(reason("action/no-digest", workload=workload.name, version=tag, problem=problem))
    return None if held is None else Image(held)


def _image_named(going: _Going, tag: str | None, digest: str, image: Image | None) -> Image:
    """The digest that the person named, if it is one that the version has or had. Raises ActionError."""
    if image is not None and image.digest == digest:
        return image
    if all(digest != _digest(value) for value in going.held() if value.tag == tag):
        name, found = going.workload.name, "none" if image is None else image.digest
        raise ActionError(
            reason("action/not-its-digest", workload=name, version=tag, digest=digest, found=found)
        )
    return Image(digest)


def _digest(value: HeldValue) -> str | None:
    """The digest of a value: what stood there, or what our release saw."""
    if value.digest is not None or value.member is None:
        return value.digest
    return value.member.after.partition("@")[2] or None
