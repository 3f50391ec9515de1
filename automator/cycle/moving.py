"""Moving: a person's release of one version, for which the policy is asked as a cycle asks it.

By force it goes past the policy, but neither past sites that cannot be written nor past a registry that has
no such tag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from automator.core.action import Change, Move, Nothing, Request, move_versions
from automator.core.decide import Release, Stay
from automator.core.explain import Question, Verdict, explain
from automator.core.facts import Need, Unavailable
from automator.core.policy import InvalidWorkload, Workload
from automator.core.pullrequest import FORCED
from automator.core.reference import TAG, Image, TagList, short_text, value_text
from automator.core.site import Site
from automator.core.standing import current_of, ranking, shown_current
from automator.core.together import Member
from automator.cycle.decisions import Considered
from automator.cycle.forcing import passed_by
from automator.cycle.index import Snapshot
from automator.cycle.run import Cycle
from automator.errors import ActionError
from automator.reasons import reason


def release(cycle: Cycle, snapshot: Snapshot, request: Request, now: datetime) -> Change | Nothing:
    """The commit that releases one version, if the policy permits it, or by force.

    Raises ActionError, ManifestError where a site cannot be written exactly, CheckoutError.
    """
    name, version = request.workload, request.version or ""
    require_movable(snapshot, name)
    considered = consider(cycle, name, now, offering((version,), name), force=request.force)
    member = member_of(considered, name)
    tag = tag_of(member, version)
    answer = considered.answers.get(name)
    if isinstance(answer, Release) and answer.tag == tag:
        return as_decided(cycle, request, "release", considered, "the policy permits it")
    verdict = verdict_of(considered, member, tag, now)
    is_there = verdict.reason.code == "tag/current" or _is_at(answer, member, tag)
    behind = _lagging(member, tag) if is_there else None
    if is_there and behind is None:
        return Nothing(reason("action/at-it", workload=name, version=tag))
    if request.force:
        _require_seen(member, request, tag)
        return _forced(cycle, request, considered, tag, verdict.reason.code, now)
    if behind is not None:
        raise ActionError(
            reason("action/lagging", workload=name, version=tag, site=behind.label, other=behind.tag)
        )
    why = verdict.reason
    if why.code == "tag/older":
        current = short_text(shown_current(member.workload, member.sites, member.facts)) or ""
        raise ActionError(reason("action/older", workload=name, version=tag, current=current))
    raise ActionError(
        reason(
            "action/refused",
            changes_at=why.changes_at,
            workload=name,
            version=tag,
            problem=why.sentence,
            next=why.next_step,
        )
    )


def consider(
    cycle: Cycle, name: str, now: datetime, as_if: Callable[[Member], Member], *, force: bool = False
) -> Considered:
    """What would become of a workload, once it is known what people refused by closing pull requests.

    Raises ForgeError where nobody can tell that.
    """
    considered = cycle.decider.consider(name, now, as_if)
    releases = [answer for answer in considered.answers.values() if isinstance(answer, Release)]
    if cycle.proposals is None or not releases or force:
        return considered
    learned = cycle.proposals.learn(releases, now, anew=True)
    cycle.facts.declined = cycle.proposals.closed.declined(now)
    for error in learned.failed.values():
        raise error
    return cycle.decider.consider(name, now, as_if) if learned.changed else considered


def offering(versions: tuple[str, ...], name: str) -> Callable[[Member], Member]:
    """A member as if its registry had but these versions; of a group whose members each have their own,
    only the one that is named moves, and the others stay."""

    def as_if(member: Member) -> Member:
        workload, tags = member.workload, member.tags
        if workload.group is not None and workload.group.match == "any" and workload.name != name:
            return silenced(member)
        if not isinstance(tags, TagList) or workload.rule.followed is not None:
            return member
        return member._replace(tags=replace(tags, tags=_naming(workload, tags, versions)), judged=None)

    return as_if


def silenced(member: Member) -> Member:
    """A member about which nothing is asked."""
    if not isinstance(member.tags, TagList):
        return member
    return member._replace(tags=replace(member.tags, tags=()), judged=None)


def _lagging(member: Member, tag: str) -> Site | None:
    """A site of the workload that is at another version than the highest one."""
    if member.workload.rule.followed is not None:
        return None
    names = member.workload.rule.names
    return next((s for s in member.sites if s.tag is not None and not names((tag,), s.tag)), None)


def _require_seen(member: Member, request: Request, tag: str) -> None:
    """Raises ActionError where somebody moved the workload since the person asked: force is meant for what
    was seen."""
    name = request.workload
    if request.at is None or any(value_text(s.tag, s.digest) == request.at for s in member.sites):
        return
    current = short_text(shown_current(member.workload, member.sites, member.facts)) or ""
    at = short_text(request.at)
    raise ActionError(reason("action/moved-on", workload=name, at=at, current=current, by="somebody"))


def _naming(workload: Workload, tags: TagList, versions: tuple[str, ...]) -> tuple[str, ...]:
    """The tags that these texts name; the very texts where they are tags."""
    exact = tuple(tag for tag in versions if tag in tags.tags)
    return exact[:1] or tuple(tag for tag in tags.tags if workload.rule.names(versions, tag))


def member_of(considered: Considered, name: str) -> Member:
    """The workload as it was considered. Raises ActionError where it cannot be decided at all."""
    if name in considered.blocked:
        problem = considered.blocked[name].sentence
        raise ActionError(reason("action/invalid", workload=name, problem=problem))
    return considered.members[name]


def tag_of(member: Member, version: str) -> str:
    """The tag that is meant by a version. Raises ActionError where the registry has none."""
    workload, tags = member.workload, member.tags
    if workload.rule.followed is not None:
        image = member.facts.images.get(workload.rule.followed)
        if version == workload.rule.followed or (isinstance(image, Image) and image.digest == version):
            return workload.rule.followed
        what = f"the digest that {workload.rule.followed} has now"
        raise ActionError(reason("action/no-version", workload=workload.name, version=version, what=what))
    if not isinstance(tags, TagList):
        raise ActionError(tags.reason)
    if not tags.tags:
        raise ActionError(reason("action/absent", image=workload.listed, version=version))
    return max(tags.tags)


def verdict_of(considered: Considered, member: Member, tag: str, now: datetime) -> Verdict:
    """What became of the one version that was offered."""
    answer = considered.answers.get(member.workload.name)
    decision = None if isinstance(answer, Need) else answer
    question = Question(member.workload, member.sites, member.facts, now, decision)
    (verdict,) = explain(question, TagList(member.workload.repository, (tag,), now, ""))
    if isinstance(decision, Stay) and verdict.reason.code in ("tag/undecided", "tag/chosen"):
        verdict = verdict._replace(reason=decision.reason)
    return verdict


def _is_at(answer: object, member: Member, tag: str) -> bool:
    """Whether the decision is that the workload is there: of a followed tag, at its digest."""
    followed = member.workload.rule.followed is not None
    return followed and isinstance(answer, Stay) and answer.reason.code == "current/followed"


def as_decided(cycle: Cycle, request: Request, kind: str, considered: Considered, permitted: str) -> Change:
    """The commit of what was decided for a workload and its group."""
    found = [answer for _, answer in sorted(considered.answers.items()) if isinstance(answer, Release)]
    found.sort(key=lambda move: move.workload.name != request.workload)
    moves = [Move(r.workload, r.tag, r.image, r.sites) for r in found]
    down = any(r.down for r in found)
    why = f"asked for by {request.actor}; {permitted}" + (f": {request.why}" if request.why else "")
    return move_versions(request, "rollback" if down else kind, moves, texts_of(cycle, moves), why)


def _forced(
    cycle: Cycle, request: Request, considered: Considered, tag: str, past: str, now: datetime
) -> Change | Nothing:
    """The commit of a version that the policy is against; with the group, where it is always at one."""
    name = request.workload
    for other, why in considered.blocked.items():
        raise ActionError(reason("action/member", workload=name, member=other, problem=why.sentence))
    lead = considered.members[name].workload
    moves, down, gone_past = [], False, [past]
    for other, member in sorted(considered.members.items(), key=lambda item: item[0] != name):
        workload = member.workload
        if other != name and (lead.group is None or lead.group.match != "version"):
            continue
        try:
            own = tag if other == name else tag_of(member, tag)
        except ActionError as error:
            problem = error.reason.sentence
            raise ActionError(
                reason("action/member", workload=name, member=other, problem=problem)
            ) from error
        image = image_served(cycle, workload, own, now)
        if isinstance(image, Unavailable):
            raise ActionError(image.reason)
        current, rank = current_of(workload, member.sites, member.facts), ranking(workload, member.facts)
        there = rank(own)
        down = down or (there is not None and current.rank is not None and there < current.rank)
        gone_past += passed_by(cycle, member, own, image, now)
        pinned = workload.pin == "digest"
        sites = tuple(
            site
            for site in member.sites
            if site.tag != own or (site.digest != image.digest and (site.digest is not None or pinned))
        )
        moves.append(Move(workload, own, image, sites))
    moves = [move for move in moves if move.sites]
    if not moves:
        return Nothing(reason("action/at-it", workload=name, version=tag))
    said = f"{FORCED}{', '.join(dict.fromkeys(gone_past))}" + (f": {request.why}" if request.why else "")
    forced = replace(request, why=said)
    words = f"asked for by {request.actor}, {said}"
    return move_versions(forced, "rollback" if down else "release", moves, texts_of(cycle, moves), words)


# -- what every move needs ------------------------------------------------------------------------------


def require_movable(snapshot: Snapshot, name: str) -> None:
    """Raises ActionError for a workload whose sites nobody may write, whatever the version."""
    entry = snapshot.workloads[name]
    why = snapshot.claims.problems.get(name)
    if isinstance(entry, InvalidWorkload):
        why = entry.reason
    if why is not None:
        raise ActionError(reason("action/invalid", workload=name, problem=why.sentence))
    if not snapshot.claims.sites.get(name):
        raise ActionError(reason("action/no-sites", workload=name))


def image_served(cycle: Cycle, workload: Workload, tag: str, now: datetime) -> Image | Unavailable:
    """What the registry serves for a tag now."""
    if not TAG.fullmatch(tag):
        return Unavailable(reason("tag/grammar"))
    known = cycle.facts.known(workload, ()).images
    if tag not in known:
        cycle.facts.look_up([(workload.repository, Need(images=(tag,)))], now)
        known = cycle.facts.known(workload, ()).images
    return known.get(tag) or Unavailable(reason("registry/not-asked", image=workload.repository))


def texts_of(cycle: Cycle, moves: Sequence[Move]) -> dict[str, str]:
    return cycle.index.texts({site.file for move in moves for site in move.sites})
