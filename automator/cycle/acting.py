"""Acting: what a person asks for becomes one commit, on the race-safe road of every release.

The change is computed on the branch's tip, pushed as a compare-and-swap, and where somebody else was
first, computed anew on what they pushed. Where a pull request is demanded, it takes effect on merge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from automator.core.action import Change, Nothing, Request, edit_policies, named_version, standing_stops
from automator.core.guardrails import concerns
from automator.core.policy import InvalidWorkload, Workload
from automator.core.policyfile import read_policy_file
from automator.core.release import Draft
from automator.cycle.index import Snapshot
from automator.cycle.moving import release
from automator.cycle.promote import promote
from automator.cycle.race import tries
from automator.cycle.requested import place_of, request_pull
from automator.cycle.rollback import roll_back
from automator.cycle.run import Cycle
from automator.cycle.withdrawals import moves
from automator.edges.checkout import Landed, Refused
from automator.errors import ActionError, CheckoutError, UsageError
from automator.reasons import Reason, reason

MOVES = {"rollback": roll_back, "release": release, "promote": promote}
LISTED = ("release", "promote")
"""Requests for which registries are asked what there is."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a request is carried out."""

    by_pull_request: bool = False
    """Whether the config repo takes every change by pull request."""
    push: bool = False
    """Whether the person insists on pushing."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Acted:
    """What became of a request."""

    change: Change | None
    """None where there was nothing to do."""
    message: str = ""
    """Of the commit."""
    nothing: Reason | None = None
    commit: str | None = None
    """What was pushed."""
    url: str | None = None
    """The pull request, on whose merge it takes effect; in a dry run, the one that is open there."""
    demanding: str | None = None
    """Who demands a pull request, if anybody does."""
    branch: str | None = None
    """Of the pull request."""


def act(cycle: Cycle, request: Request, terms: Terms) -> Acted:
    """Carry a request out.

    Raises UsageError for a name that the config repo does not have, ActionError (`action/…`) where its
    state or a policy forbids it, ManifestError (`edit/…`, `site/…`, `yaml/…`) where it cannot be
    written exactly, CheckoutError and ForgeError where the servers do not answer; nothing was done then.
    """
    if request.version is not None and not request.version.strip():
        raise UsageError(reason("usage/no-version", command=request.kind))
    if cycle.mode == "observe" and not terms.dry_run:
        raise ActionError(reason("action/observe-only", repo=cycle.repo))
    for attempt in tries(cycle.clock):
        snapshot = _look(cycle, request, again=attempt > 0)
        now = cycle.clock()
        change = compute(cycle, snapshot, request, now)
        if isinstance(change, Nothing):
            return Acted(None, nothing=change.reason)
        change = replace(change, record=cycle.publisher.with_refs(change.record))
        draft = change.draft(cycle.publisher.templates)
        demanding = _demands_pull_request(cycle, snapshot, request, change, terms)
        if demanding is not None:
            _require_forge(cycle, demanding, terms)
        if demanding is not None:
            return _propose(
                cycle, snapshot, request, Acted(change, draft.message, demanding=demanding), draft, terms
            )
        if terms.dry_run:
            return Acted(change, draft.message)
        if attempt == 0:
            request = _as_seen(cycle, snapshot, request, change)
        commit, answer = cycle.publisher.publish_draft(snapshot.commit, draft, now)
        if isinstance(answer, Landed):
            cycle.withdrawals.saw(commit, moves(change.record))
            return Acted(change, draft.message, commit=commit)
        if isinstance(answer, Refused):
            raise ActionError(reason("action/push-refused", repo=cycle.repo, words=answer.words))
    raise ActionError(reason("action/lost-race", repo=cycle.repo, tries=attempt + 1), retry=True)


def _as_seen(cycle: Cycle, snapshot: Snapshot, request: Request, change: Change) -> Request:
    """What is asked for if somebody else was first: the same move, and no stop that was not there."""
    entry = snapshot.workloads.get(request.workload)
    lead = next((m for m in change.record.members if m.workload == request.workload), None)
    if request.kind not in MOVES:
        return replace(request, seen=standing_stops(request, cycle.index.policy_texts, snapshot.workloads))
    if lead is None or not isinstance(entry, Workload):
        return request
    if request.kind == "rollback":
        version = request.version or named_version(lead.after, entry).removeprefix("@")
        return replace(request, version=version, at=request.at or lead.before)
    if request.kind == "promote":
        return replace(request, version=request.version or lead.after)
    return replace(request, at=lead.before) if request.force else request


def compute(cycle: Cycle, snapshot: Snapshot, request: Request, now: datetime) -> Change | Nothing:
    """The change that a request asks for, on a snapshot. Raises the errors of `act`."""
    texts = cycle.index.policy_texts
    if request.kind in ("freeze", "thaw"):
        if request.file is not None and request.file not in texts:
            known = ", ".join(sorted(texts)) or "there is none"
            raise UsageError(reason("usage/no-policy-file", file=request.file, known=known))
    elif request.workload not in snapshot.workloads:
        raise UsageError(reason("usage/unknown-workload", name=request.workload, known="it was there before"))
    move = MOVES.get(request.kind)
    if move is not None:
        return move(cycle, snapshot, request, now)
    folder = cycle.index.scope.policies.rstrip("/")
    change = edit_policies(request, texts, snapshot.workloads, folder, now)
    if isinstance(change, Change) and request.kind == "reject":
        return replace(change, notes=(*change.notes, *_still_there(snapshot, change)))
    return change


def _still_there(snapshot: Snapshot, change: Change) -> Iterator[Reason]:
    """Where a rejected version is the present one: a rejection moves nothing."""
    for workload, member in zip(change.of, change.record.members, strict=True):
        version = member.after.removeprefix("@")
        for site in snapshot.claims.sites.get(workload.name, ()):
            if site.digest == version or (site.tag and workload.rule.names((version,), site.tag)):
                yield reason("action/rejects-current", workload=workload.name, version=version)
                break


def _look(cycle: Cycle, request: Request, *, again: bool) -> Snapshot:
    """The config repo at its tip; on a clone that turns out to be damaged, once more on a new one."""
    names = (request.workload,) if request.kind in LISTED else ()
    try:
        return cycle.look(names, again=again)
    except CheckoutError as error:
        if error.reason.code not in ("git/damaged", "git/no-commit"):
            raise
    cycle.index.forget()
    cycle.facts.forget()
    return cycle.look(names, again=again)


# -- by pull request ------------------------------------------------------------------------------------


def _demands_pull_request(
    cycle: Cycle, snapshot: Snapshot, request: Request, change: Change, terms: Terms
) -> str | None:
    """Who demands a pull request: the config, a workload's policy, or a rule; None where nobody does.

    What cannot be told of an invalid entry is what its neighbours in the file demand. A freeze of the whole
    config repo is no workload's: it is stopped by the config alone, and does not wait for the strictest one.
    """
    if terms.by_pull_request:
        return "the config"
    if request.kind in ("freeze", "thaw") and request.file is None:
        return None
    about = change.of
    entry = snapshot.workloads.get(request.workload)
    if isinstance(entry, InvalidWorkload):
        if _says_pull_request(entry, cycle.index.policy_texts.get(entry.place.file, "")):
            return f"the policy of {entry.name}"
        beside = (w for w in snapshot.workloads.values() if w.place.file == entry.place.file)
        about = tuple(w for w in beside if isinstance(w, Workload))
    found = (_demanded_of(cycle, snapshot, workload) for workload in about)
    return next((who for who in found if who is not None), None)


def _demanded_of(cycle: Cycle, snapshot: Snapshot, workload: Workload) -> str | None:
    if workload.delivery.deliver == "pull-request":
        return f"the policy of {workload.name}"
    files = {site.file for site in snapshot.claims.sites.get(workload.name, ())}
    for rail in (*cycle.decider.rails, *snapshot.policies.rails):
        if rail.deliver == "pull-request" and concerns(rail, workload, files):
            return f"the rule {rail.label}"
    return None


def _says_pull_request(entry: InvalidWorkload, text: str) -> bool:
    found = read_policy_file(entry.place.file, text).entries
    return any(e.name == entry.name and e.raw.get("deliver") == "pull-request" for e in found)


def _require_forge(cycle: Cycle, demanding: str, terms: Terms) -> None:
    """Raises ActionError where there is no forge, or where the person insists on pushing."""
    if terms.push:
        raise ActionError(reason("action/pull-request-only", repo=cycle.repo, who=demanding))
    if cycle.proposals is None:
        raise ActionError(reason("action/no-forge", repo=cycle.repo))


def _propose(
    cycle: Cycle, snapshot: Snapshot, request: Request, acted: Acted, draft: Draft, terms: Terms
) -> Acted:
    """Open a pull request, or find the one that is there; or only say which one that would be."""
    proposals, change = cycle.proposals, acted.change
    assert proposals is not None
    assert change is not None
    name = "-".join(filter(None, (request.kind, request.workload)))
    bound = [cycle.decider.bound(w.name) for w in change.of] if request.kind in MOVES else []
    moved = [workload for workload in bound if workload is not None]
    now = cycle.clock()
    place = place_of(proposals, name, draft, moved if len(moved) == len(bound) else (), now)
    if terms.dry_run:
        return replace(acted, branch=place.head, url=None if place.open is None else place.open.url)
    done = request_pull(proposals, place, snapshot.commit, draft, now=now)
    told = replace(change, notes=(*change.notes, *done.notes))
    return replace(acted, change=told, branch=place.head, url=done.url)
