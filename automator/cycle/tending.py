"""Tending: open pull requests of ours that this cycle does not propose anew.

One whose workload has what it proposes, or is gone, is closed, with a word why, and its branch deleted. The
head of every other gets a status that says whether its version may be released now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from automator.core.forge import PullRequest
from automator.core.policy import InvalidWorkload, Workload
from automator.core.pullrequest import closing, goal_in, status_of, was_closed_by_us
from automator.core.record import parse
from automator.core.report import Outcome
from automator.cycle.forgedesk import LOOK_AGAIN, REFUSED_AGAIN, is_refusal
from automator.cycle.index import Snapshot
from automator.cycle.proposalbook import UNKNOWN, Kept
from automator.cycle.proposing import Proposals
from automator.edges.checkout import Landed
from automator.errors import AutomatorError, ForgeError
from automator.reasons import Reason, Status, reason

NEVER = datetime.max.replace(tzinfo=UTC)
DONE = (Status.CURRENT, Status.RELEASED)


@dataclass
class Tender:
    """Looks after the open pull requests of one config repo."""

    proposals: Proposals
    bound: Callable[[str], Workload | None]
    """A workload under its guard rails; None for one that cannot be decided."""
    policies: str = "policies"
    """Folder of the policies that are ours."""
    _done: set[tuple[str, str, str]] = field(default_factory=set)
    """Branch, tip and why: what was tried already."""
    _members: tuple[Snapshot, Mapping[str, tuple[str, ...]]] | None = None
    _base: str = ""
    _waits: dict[str, tuple[str, datetime, Reason]] = field(default_factory=dict)
    """By branch: the tip at which something was refused, until when it is left, and why."""
    _changes: dict[str, tuple[str, datetime, bool]] = field(default_factory=dict)
    """By branch of a change: its tip, when the forge is asked about it next, and whether the base moved."""

    def workloads_of(self, heads: Iterable[str], snapshot: Snapshot) -> frozenset[str]:
        """Names of the workloads whose pull requests are on these branches."""
        heads = tuple(heads)
        return (
            frozenset(name for head in heads for name in self._heads(snapshot).get(head, ()))
            if heads
            else frozenset()
        )

    def tend(self, snapshot: Snapshot, outcomes: Mapping[str, Outcome], base: str, now: datetime) -> None:
        """Close what is done, and tell the others' heads how they stand; trouble is a warning.

        `base` is the commit that the branch is at.
        """
        moved, self._base = base != self._base, base
        proposals = self.proposals
        for head, tip in tuple(proposals.checkout.branches.items()):
            if head in proposals.handled or self._is_left(head, tip, now):
                continue
            try:
                if not proposals.is_change(head):
                    self._tend(head, tip, snapshot, outcomes, now)
                else:
                    self._sweep(head, tip, moved, now)
            except AutomatorError as error:
                why = error.reason
                if not isinstance(error, ForgeError):
                    why = reason("proposal/left-behind", branch=head, problem=why.sentence)
                proposals.desk.warn(why)
                if proposals.desk.trouble is not None:
                    return
                if not isinstance(error, ForgeError) or is_refusal(error):
                    self._waits[head] = tip, now + REFUSED_AGAIN, why

    def _is_left(self, head: str, tip: str, now: datetime) -> bool:
        """Whether the forge, or git, said no to what was to be done for a branch, a short while ago."""
        of, until, why = self._waits.get(head, ("", now, None))
        if why is None or of != tip or now >= until:
            self._waits.pop(head, None)
            return False
        self.proposals.desk.warn(why)
        return True

    def _heads(self, snapshot: Snapshot) -> Mapping[str, tuple[str, ...]]:
        """Workloads by the branch of their pull request, whether they have one or not."""
        if self._members is None or self._members[0] is not snapshot:
            found: dict[str, tuple[str, ...]] = {}
            for entry in snapshot.policies.workloads:
                if isinstance(entry, InvalidWorkload):
                    continue
                head = self.proposals.head_of(entry)
                found[head] = (*found.get(head, ()), entry.name)
            self._members = snapshot, found
        return self._members[1]

    def _tend(
        self, head: str, tip: str, snapshot: Snapshot, outcomes: Mapping[str, Outcome], now: datetime
    ) -> None:
        names = self._heads(snapshot).get(head)
        if names is None:
            if not snapshot.policies.broken and not self._is_held_invalid(head, snapshot):
                self._retire(head, tip, "no workload asks for it any more", now, is_gone=True)
            return
        found = [outcomes.get(name) for name in names]
        told = [outcome for outcome in found if outcome is not None]
        if len(told) < len(names) or any(outcome.status is Status.FAILED for outcome in told):
            return
        bound = [self.bound(name) for name in names]
        if all(outcome.status in DONE for outcome in told):
            versions = ", ".join(dict.fromkeys(o.current or o.target or "" for o in told))
            self._retire(head, tip, f"{self.proposals.base} is at {versions}", now)
        elif not any(w is None or self.proposals.is_for(w) for w in bound):
            self._retire(head, tip, "releases of it are pushed now", now)
        else:
            self._tell(head, told, bound, now)

    def _is_held_invalid(self, head: str, snapshot: Snapshot) -> bool:
        """Whether a policy that is wrong at the moment might be the one that asks for it."""
        return any(isinstance(entry, InvalidWorkload) for entry in snapshot.policies.workloads)

    def _tell(self, head: str, told: list[Outcome], bound: list[Workload | None], now: datetime) -> None:
        """Have the head's status say what stops the workload, or its group, now."""
        proposals = self.proposals
        kept = proposals.book.get(head)
        stops = [
            (o, s) for o in told if (s := status_of(o.status, o.reason)) is not None and o.status not in DONE
        ]
        if not stops:
            return
        if kept is None or kept.number is None:
            if kept is not None and kept.is_fresh(now, REFUSED_AGAIN.total_seconds()):
                return
            kept = self._adopted(head, now)
        if kept is None:
            return
        proposals.book.put(head, kept)
        if kept.number is None:
            kept.looked_at = now.timestamp()  # it has no open one, which nobody opens but us
            return
        if kept.armed != UNKNOWN or any(w is not None and proposals.automerges(w) for w in bound):
            proposals.disarm(kept)
        outcome, status = max(stops, key=lambda pair: pair[1].state == "failure")
        proposals.tell(kept, status, outcome.reason.code)

    def _adopted(self, head: str, now: datetime) -> Kept | None:
        """A pull request that we do not remember, found on the forge."""
        mine = self._mine(head)
        found = next((pull for pull in mine if pull.state == "open"), None)
        kept = self.proposals.whose(head, mine, now)
        if found is not None and kept is not None:
            kept.number, kept.url = found.number, found.url
        return kept

    def _mine(self, head: str) -> tuple[PullRequest, ...]:
        proposals = self.proposals
        return tuple(pull for pull in proposals.desk.pulls(head) if pull.base == proposals.base)

    # -- what is over ------------------------------------------------------------------------------

    def _retire(self, head: str, tip: str, why: str, now: datetime, *, is_gone: bool = False) -> None:
        """Close the pull request of a branch and delete it, unless somebody else's commit is on it."""
        proposals = self.proposals
        if (head, tip, why) in self._done:
            return
        mine = self._mine(head)
        others = any(p.base != proposals.base and p.state == "open" for p in proposals.desk.pulls(head))
        was_pushed = proposals.book.get(head) is not None
        ours = [pull for pull in mine if goal_in(pull.body)]
        if is_gone:
            ours = [pull for pull in ours if self._is_of_our_policies(pull)]
        kept = proposals.whose(head, mine, now)
        # A branch that no pull request of ours was on, and that we did not make, is somebody's.
        if (
            others
            or not (ours or (was_pushed and not is_gone))
            or (kept is not None and kept.foreign is not None)
        ):
            self._done.add((head, tip, why))
            return
        for pull in ours:
            if pull.state == "open":
                self._close(pull, why)
            elif pull.state == "merged":
                proposals.is_over(pull.head_commit, pull.number)
        self._delete(head, tip)
        self._done.add((head, tip, why))
        proposals.book.put(head, None)

    def _close(self, pull: PullRequest, why: str) -> None:
        """Its text says first that we do: a close without that word would refuse its version."""
        desk, number = self.proposals.desk, pull.number
        forge, project = desk.forge, desk.project
        if not was_closed_by_us(pull):
            body = closing(pull.body, why)
            desk.asked(lambda: forge.update_pull_request(project, number, body=body))
        desk.asked(lambda: forge.close_pull_request(project, number))
        # Not before it is closed: what has to be tried again would be said again.
        words = f"automator closed this: {why}."
        desk.beside(f"comment {number}", lambda: forge.comment(project, number, words, on="pull"))

    def _delete(self, head: str, tip: str) -> None:
        answer = self.proposals.checkout.push_branch(head, None, expected=tip)
        if not isinstance(answer, Landed):
            self.proposals.warnings.append(reason("proposal/left-behind", branch=head, problem=answer.words))

    def _sweep(self, head: str, tip: str, moved: bool, now: datetime) -> None:
        """Delete the branch of a change that was merged; one that was closed is not asked about again."""
        of, at, has_moved = self._changes.get(head, ("", now, True))
        if of != tip:
            at, has_moved = now, True
        has_moved = has_moved or moved
        self._changes[head] = tip, at, has_moved
        if not has_moved or now < at:
            return
        mine = self._mine(head)
        is_open = any(pull.state == "open" for pull in mine) or not mine
        self._changes[head] = tip, now + LOOK_AGAIN if is_open else NEVER, False
        if any(pull.state == "merged" and pull.head_commit == tip for pull in mine):
            self._delete(head, tip)

    def _is_of_our_policies(self, pull: PullRequest) -> bool:
        record = parse(pull.body)
        members = () if record is None else record.members
        return any((member.policy or "").startswith(f"{self.policies}/") for member in members)
