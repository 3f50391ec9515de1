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
from automator.core.promotion import After, Unknown, Upstream, promoted
from automator.core.reference import TagList, value_text
from automator.core.together import Member
from automator.cycle.index import Snapshot
from automator.cycle.moving import as_decided, member_of, offering, require_movable, tag_of, verdict_of
from automator.cycle.run import Cycle
from automator.errors import ActionError
from automator.reasons import Reason, reason


def promote(cycle: Cycle, snapshot: Snapshot, request: Request, now: datetime) -> Change | Nothing:
    """The commit that takes what the workload upstream holds now, without waiting for soak and checks.

    Raises ActionError, ManifestError where a site cannot be written exactly, CheckoutError.
    """
    name = request.workload
    require_movable(snapshot, name)
    plain = member_of(cycle.decider.consider(name, now, _silenced), name)
    after = plain.workload.guards.after
    if after is None:
        raise ActionError(reason("action/no-upstream", workload=name))
    held = _upstreams(cycle, plain.workload, after, now)
    tag, digest = _held_now(plain.workload, held, request.version)
    considered = cycle.decider.consider(name, now, _approving(offering((tag,), name)))
    member = member_of(considered, name)
    tag = tag_of(member, tag)
    rejected = promoted(tag, digest or "", after, held, now, approved=True)
    answer = considered.answers.get(name)
    if rejected is None and isinstance(answer, Release):
        if digest is not None and answer.image.digest != digest:
            raise ActionError(_other_digest(member.workload, tag, answer.image.digest, digest, held))
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


def _silenced(member: Member) -> Member:
    """A member about which nothing is asked."""
    if not isinstance(member.tags, TagList):
        return member
    return member._replace(tags=replace(member.tags, tags=()), judged=None)


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
    cycle.facts.look_up([(workload.repository, Need(upstreams=names))], now)
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
    workload: Workload, held: Mapping[str, Upstream], version: str | None
) -> tuple[str, str | None]:
    """Tag and digest to be promoted: what all upstreams hold now, or the version named, with the digest that
    it has there. Raises ActionError."""
    stays = {
        name: [s for s in upstream.stays if (s.tag == version if version else s.until is None)]
        for name, upstream in held.items()
    }
    found = {(stay.tag, stay.digest): name for name, of in stays.items() for stay in of[:1]}
    if version is not None and not found:
        return version, None
    if not found:
        raise ActionError(_unclear(workload, ", ".join(sorted(held)), "it holds none"))
    if len(found) > 1:
        each = ", ".join(f"{name} has {value_text(*value)}" for value, name in sorted(found.items(), key=str))
        raise ActionError(_unclear(workload, ", ".join(sorted(held)), each))
    ((tag, digest),) = found
    if digest is None and version is None:
        raise ActionError(_unclear(workload, ", ".join(sorted(held)), f"no digest is known for {tag}"))
    return tag, digest


def _unclear(workload: Workload, upstream: str, problem: str) -> Reason:
    return reason("action/upstream-unclear", workload=workload.name, upstream=upstream, problem=problem)


def _other_digest(
    workload: Workload, tag: str, found: str, digest: str, held: Mapping[str, Upstream]
) -> Reason:
    upstream, image = ", ".join(sorted(held)), workload.repository
    return reason(
        "action/other-digest", image=image, version=tag, found=found, digest=digest, upstream=upstream
    )
