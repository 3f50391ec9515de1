"""Promotion by a person: what the workload upstream holds now, without waiting for soak and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from automator.core.action import Change, Nothing, Request
from automator.core.decide import Release
from automator.core.facts import Need
from automator.core.guards import upstream_names
from automator.core.policy import Workload
from automator.core.promotion import After, Stay, Unknown, Upstream, never_there, promoted
from automator.core.reference import value_text
from automator.core.together import Member
from automator.cycle.index import Snapshot
from automator.cycle.moving import (
    as_decided,
    consider,
    member_of,
    offering,
    require_movable,
    silenced,
    tag_of,
    verdict_of,
)
from automator.cycle.run import Cycle
from automator.errors import ActionError
from automator.reasons import Reason, reason


def promote(cycle: Cycle, snapshot: Snapshot, request: Request, now: datetime) -> Change | Nothing:
    """The commit that takes what the workload upstream holds now, without waiting for soak and checks.

    Raises ActionError, ManifestError where a site cannot be written exactly, CheckoutError.
    """
    name = request.workload
    require_movable(snapshot, name)
    asked = cycle.decider.consider(name, now, silenced)
    plain = member_of(asked, name)
    after = plain.workload.guards.after
    if after is None:
        raise ActionError(reason("action/no-upstream", workload=name))
    held = _upstreams(cycle, plain.workload, after, now)
    tag, digest = _held_now(plain.workload, after, held, request.version)
    considered = consider(cycle, name, now, _approving(offering((tag,), name)))
    member = member_of(considered, name)
    tag = tag_of(member, tag)
    rejected = _rejected_upstream(tag, digest, after, held, now)
    answer = considered.answers.get(name)
    if rejected is None and isinstance(answer, Release) and answer.tag == tag:
        if digest is not None and answer.image.digest != digest:
            raise ActionError(_other_digest(member.workload, tag, answer.image.digest, digest, held))
        for move in considered.answers.values():
            if isinstance(move, Release) and move.workload.name != name:
                _require_tried(cycle, name, asked.members[move.workload.name].workload, move, now)
        upstreams = ", ".join(sorted(held))
        return as_decided(cycle, request, "promote", considered, f"as {upstreams} has it")
    verdict = verdict_of(considered, member, tag, now)
    if verdict.reason.code == "tag/current":
        return Nothing(reason("action/at-it", workload=name, version=tag))
    why = rejected or verdict.reason
    raise ActionError(
        reason(
            "action/held-back",
            changes_at=why.changes_at,
            workload=name,
            version=tag,
            problem=why.sentence,
            next=why.next_step,
        )
    )


def _rejected_upstream(
    tag: str, digest: str | None, after: After, held: Mapping[str, Upstream], now: datetime
) -> Reason | None:
    """Why a version may not be promoted by anybody: it was rejected upstream, or was never there."""
    there = {
        name: replace(u, stays=tuple(replace(s, verified=True) for s in u.stays)) for name, u in held.items()
    }
    # What is urgent waits for no soak, and what counts as verified for no check: what is left is whether
    # exactly this was there.
    return promoted(tag, digest or "", after, there, now, urgent=True)


def _require_tried(cycle: Cycle, name: str, workload: Workload, move: Release, now: datetime) -> None:
    """Raises ActionError for another member of the group that would take what its own upstream rejected or
    never held."""
    after = workload.guards.after
    if after is None:
        return
    held = _upstreams(cycle, workload, after, now)
    why = _rejected_upstream(move.tag, move.image.digest, after, held, now)
    if why is not None:
        member = workload.name
        raise ActionError(reason("action/member", workload=name, member=member, problem=why.sentence))


def _approving(as_if: Callable[[Member], Member]) -> Callable[[Member], Member]:
    """A member as if it came after nobody."""

    def approved(member: Member) -> Member:
        member = as_if(member)
        guards = replace(member.workload.guards, after=None)
        return member._replace(workload=replace(member.workload, guards=guards), judged=None)

    return approved


def _upstreams(cycle: Cycle, workload: Workload, after: After, now: datetime) -> dict[str, Upstream]:
    """What is known of each workload upstream. Raises ActionError where one is not known."""
    names = upstream_names(after)
    cycle.facts.look_up([(workload.repository, Need(closings=names))], now)
    known = cycle.facts.known(workload, ()).upstreams
    found: dict[str, Upstream] = {}
    for name in names:
        members = known.get(name)
        if not members or isinstance(members, Unknown):
            problem = members.reason.sentence if isinstance(members, Unknown) else "its history is not known"
            raise ActionError(_unclear(workload, name, problem))
        found.update({member.name: member for member in members})
    return found


def _held_now(
    workload: Workload, after: After, held: Mapping[str, Upstream], version: str | None
) -> tuple[str, str | None]:
    """Tag and digest to be promoted: what all upstreams hold now, or the version named, with the digest that
    it has there. Raises ActionError."""
    stays = {
        name: [
            s
            for s in upstream.stays
            if (s.until is None if version is None else _is_named(workload, s, version))
        ]
        for name, upstream in held.items()
    }
    found = {(stay.tag, stay.digest): name for name, of in stays.items() for stay in of[:1]}
    if version is not None and not found:
        why = never_there(version, replace(after, need="all"), held)
        words = "its history is not known that far back" if why is None else why.sentence
        raise ActionError(_unclear(workload, ", ".join(sorted(held)), words))
    if not found:
        raise ActionError(_unclear(workload, ", ".join(sorted(held)), "it holds none"))
    if len(found) > 1:
        each = ", ".join(f"{name} has {value_text(*value)}" for value, name in sorted(found.items(), key=str))
        raise ActionError(_unclear(workload, ", ".join(sorted(held)), each))
    ((tag, digest),) = found
    if digest is None:
        raise ActionError(_unclear(workload, ", ".join(sorted(held)), f"no digest is known for {tag}"))
    return tag, digest


def _is_named(workload: Workload, stay: Stay, version: str) -> bool:
    tag, at, digest = version.partition("@")
    if stay.digest is not None and version == stay.digest:
        return True
    return workload.rule.names((tag,), stay.tag) and (not at or stay.digest == digest)


def _unclear(workload: Workload, upstream: str, problem: str) -> Reason:
    return reason("action/upstream-unclear", workload=workload.name, upstream=upstream, problem=problem)


def _other_digest(
    workload: Workload, tag: str, found: str, digest: str, held: Mapping[str, Upstream]
) -> Reason:
    upstream, image = ", ".join(sorted(held)), workload.repository
    return reason(
        "action/other-digest", image=image, version=tag, found=found, digest=digest, upstream=upstream
    )
