"""Requested: what a person asks for by a command, as a pull request.

A move to another version is on the one branch of its workload, or of its group, where releases of these go
through pull requests; every other change has a branch of its own, one for each kind of change of a workload.
On neither is somebody else's commit overwritten, and what is replaced is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from automator.core.forge import PullDraft, PullRequest
from automator.core.policy import Workload
from automator.core.pullrequest import (
    asked_in,
    body_of_request,
    goal_in,
    head_of_change,
    title_of,
    versions_in,
)
from automator.core.release import Draft
from automator.cycle.proposalbook import Kept
from automator.cycle.proposed import go_as_asked, mark
from automator.cycle.proposing import Proposals
from automator.cycle.whose import is_our_change
from automator.edges.checkout import Landed, Lost
from automator.errors import CheckoutError
from automator.reasons import Reason, reason


class Requested(NamedTuple):
    """The pull request of what a person asked for."""

    url: str
    notes: tuple[Reason, ...] = ()
    """What the person should hear beside it."""


class Place(NamedTuple):
    """Where a request goes, or would go."""

    head: str
    """The branch."""
    is_rolling: bool
    """Whether it is the one of a workload or group."""
    open: PullRequest | None
    """The pull request that is open there."""


def place_of(
    proposals: Proposals, name: str, draft: Draft, moved: Sequence[Workload], now: datetime
) -> Place:
    """Where a change goes that moves these workloads (under their guard rails), none of them for one of
    policies. Raises ForgeError; CheckoutError (`proposal/other-base`)."""
    heads = {proposals.head_of(workload) for workload in moved}
    is_rolling = len(heads) == 1 and all(map(proposals.is_for, moved))
    paths = (path for path, _ in draft.files)
    prefix = proposals.style.prefix
    head = heads.pop() if is_rolling else head_of_change(prefix, name, draft.message, paths)
    proposals.desk.begin(now)
    found = [pull for pull in proposals.desk.pulls(head) if pull.state == "open"]
    other = next((pull for pull in found if pull.base != proposals.base), None)
    if other is not None and is_rolling:
        raise CheckoutError(reason("proposal/other-base", branch=head, url=other.url, base=other.base))
    return Place(head, is_rolling, next((p for p in found if p.base == proposals.base), None))


def request_pull(proposals: Proposals, place: Place, base: str, draft: Draft, *, now: datetime) -> Requested:
    """A pull request for a change that somebody asked for, on the commit `base`; of what is open already,
    the one that is there.

    Raises ForgeError; CheckoutError (`proposal/foreign-commit`, `proposal/moved`, `push/refused`, those of
    git).
    """
    head, found = place.head, place.open
    kept = _kept(proposals, place, draft, now)
    if found is not None and kept is not None and _texts(kept) == _wanted_texts(draft):
        return Requested(found.url)
    if kept is not None and found is not None and place.is_rolling:
        proposals.adopt(kept, found, ())
        proposals.disarm(kept)  # what a person asks for, a person merges
    new = _pushed(proposals, head, base, draft, now)
    title, body = title_of(draft.message), body_of_request(draft.message, new.asked)
    notes: list[Reason] = []
    if found is None:
        style = proposals.style
        wanted = PullDraft(head, proposals.base, title, body, False, style.labels, style.reviewers)
        found = proposals.opened(wanted)
        notes += found.warnings
    else:
        before, number = _shown(found, kept), found.number
        notes.append(reason("action/replaces", url=found.url, before=before))
        found = proposals.desk.asked(
            lambda: proposals.forge.update_pull_request(proposals.project, number, title=title, body=body)
        )
    if place.is_rolling:
        new.number, new.url, new.looked_at = found.number, found.url, now.timestamp()
        new.lacks = found.lacks_extras
        if kept is not None:
            new.armed = kept.armed
        proposals.tell(new, go_as_asked(new), "asked")
        proposals.book.put(head, new)
        proposals.book.save()
    notes += proposals.warnings
    return Requested(found.url, tuple(dict.fromkeys(notes)))


def _shown(found: PullRequest, kept: Kept | None) -> str:
    """What a pull request brought until now, for people."""
    versions = "" if kept is None else versions_in(kept.goal)
    return versions or f'"{found.title}"'


def _kept(proposals: Proposals, place: Place, draft: Draft, now: datetime) -> Kept | None:
    """What the branch holds, which is ours to overwrite; None where it is not there.

    Raises CheckoutError (`proposal/foreign-commit`).
    """
    head = place.head
    tip = proposals.checkout.branches.get(head)
    if tip is None:
        return None
    pulls = [pull for pull in proposals.desk.pulls(head) if pull.base == proposals.base]
    if place.is_rolling:
        kept = proposals.whose(head, pulls, now)
        if kept is not None and kept.foreign is not None:
            author, commit = kept.foreign
            raise _theirs(head, commit, author)
        return kept
    if any(pull.state == "merged" and pull.head_commit == tip for pull in pulls):
        return Kept(tip)
    look = proposals.look(head, tip, now)
    if not is_our_change(look, draft.message, proposals.checkout.hands(proposals.publisher.author)):
        raise _theirs(head, look.commit.commit, look.commit.author)
    edits = ((f.path, "", "" if f.after_text is None else mark(f.after_text)) for f in look.files)
    return Kept(tip, goal_in(look.commit.message), tuple(edits))


def _theirs(head: str, commit: str, author: str) -> CheckoutError:
    why = reason("proposal/foreign-commit", branch=head, commit=commit[:12], author=author)
    return CheckoutError(why, retry=False)


def _texts(kept: Kept) -> set[tuple[str, str]]:
    """The texts that a branch brings, by file; what stands for them."""
    return {(path, after) for path, _, after in kept.edits}


def _wanted_texts(draft: Draft) -> set[tuple[str, str]]:
    return {
        (path, "" if data is None else mark(data.decode("utf-8", "surrogateescape")))
        for path, data in draft.files
    }


def _pushed(proposals: Proposals, head: str, base: str, draft: Draft, now: datetime) -> Kept:
    """The branch, made anew on the base. Raises CheckoutError."""
    (commit,) = proposals.publisher.commit(base, [draft], now)
    proposals.closed.forget((head,))
    answer = proposals.checkout.push_branch(head, commit, expected=proposals.checkout.branches.get(head))
    if isinstance(answer, Lost):
        raise CheckoutError(reason("proposal/moved", after="it", branch=head))
    if not isinstance(answer, Landed):
        raise CheckoutError(reason("push/refused", after="it", words=answer.words))
    if proposals.publisher.teller is not None:
        proposals.publisher.teller.proposed(draft.message, commit)
    edits = tuple((path, "", text) for path, text in sorted(_wanted_texts(draft)))
    return Kept(commit, goal_in(draft.message), edits, now.timestamp(), asked=asked_in(draft.message))
