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
from automator.core.pullrequest import closing, goal_in, no_go, status_of, was_closed_by_us
from automator.core.record import parse
from automator.core.reference import short_text
from automator.core.report import Outcome
from automator.cycle.forgedesk import LOOK_AGAIN, REFUSED_AGAIN, is_refusal
from automator.cycle.index import Snapshot
from automator.cycle.proposalbook import Kept
from automator.cycle.proposed import go_as_asked, version_at
from automator.cycle.proposing import Proposals
from automator.edges.checkout import Landed
from automator.errors import AutomatorError, ForgeError
from automator.reasons import Reason, Status, reason

HOUR = REFUSED_AGAIN.total_seconds()
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
        for head, tip in (*proposals.checkout.branches.items(), *self._left_behind()):
            if head in proposals.handled or self._is_left(head, tip, now):
                continue
            try:
                if not head.startswith(proposals.style.prefix):
                    self._leave_behind(head, tip, now)
                elif not proposals.is_change(head):
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

    def _left_behind(self) -> list[tuple[str, str]]:
        """Branches, and their tips as we know them, of before the config had another prefix."""
        book, prefix = self.proposals.book, self.proposals.style.prefix
        found = ((head, book.get(head)) for head in book.heads() if not head.startswith(prefix))
        return [(head, kept.tip) for head, kept in found if kept is not None]

    def _leave_behind(self, head: str, tip: str, now: datetime) -> None:
        """Close what we opened under another prefix, unless somebody else's commit is on it."""
        proposals, kept = self.proposals, self.proposals.book.get(head)
        commits = {pull.head_commit for pull in self._mine(head) if pull.state == "open"}
        if kept is not None and kept.goal and kept.foreign is None and commits <= {tip}:
            self._retire(head, tip, f"pull requests are on {proposals.style.prefix} now", now)
        proposals.book.put(head, None)

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
            self._orphaned(head, tip, snapshot, outcomes, now)
            return
        if (left := self._who_left(head, names, snapshot)) is not None:
            self._retire(head, tip, left, now)
            return
        kept = self._asked(head, now)
        if kept is not None and self._tend_asked(head, kept, snapshot, outcomes, now):
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

    # -- whose workloads went elsewhere ------------------------------------------------------------

    def _orphaned(
        self, head: str, tip: str, snapshot: Snapshot, outcomes: Mapping[str, Outcome], now: datetime
    ) -> None:
        """One that no workload has any more; while a policy is wrong that may be the one that asks for it, it
        stays, the forge does not merge it, and its status says why."""
        kept = self._known(head, now)
        named = {each.partition(" ")[0] for each in kept.goal} if kept is not None else set()
        entries = [snapshot.workloads.get(name) for name in named]
        if snapshot.policies.broken or any(isinstance(entry, InvalidWorkload) for entry in entries):
            if kept is not None and kept.number is not None:
                self.proposals.disarm(kept)
                told = [outcomes[name] for name in sorted(named) if name in outcomes]
                if told:
                    self._tell(head, told, [], now)
                else:
                    self.proposals.tell(kept, no_go("a policy file cannot be read"), "policy/broken-file")
            return
        self._retire(head, tip, self._where(named, snapshot), now, is_gone=True)

    def _where(self, named: Iterable[str], snapshot: Snapshot) -> str:
        """Where workloads are proposed now, for people."""
        found = (snapshot.workloads.get(name) for name in sorted(named))
        heads = {w.name: self.proposals.head_of(w) for w in found if isinstance(w, Workload)}
        if not heads:
            return "no workload asks for it any more"
        return ", ".join(f"{name} belongs to {head} now" for name, head in heads.items())

    def _who_left(self, head: str, names: Iterable[str], snapshot: Snapshot) -> str | None:
        """Which workloads that one brings have left its group, for people; None where none has."""
        kept = self.proposals.book.get(head)
        if kept is None or kept.foreign is not None or kept.tip != self.proposals.checkout.branches.get(head):
            return None
        left = {each.partition(" ")[0] for each in kept.goal} - set(names)
        if not left or any(isinstance(snapshot.workloads.get(name), InvalidWorkload) for name in left):
            return None
        where = self._where(left, snapshot)
        return where if " belongs " in where else f"{', '.join(sorted(left))} is no workload any more"

    # -- what people asked for ---------------------------------------------------------------------

    def _known(self, head: str, now: datetime) -> Kept | None:
        """What a branch holds, with the pull request that is open; the forge is asked once an hour where
        none is."""
        book = self.proposals.book
        kept = book.get(head)
        is_present = kept is not None and kept.tip == self.proposals.checkout.branches.get(head)
        if kept is not None and is_present and (kept.number is not None or kept.is_fresh(now, HOUR)):
            return kept
        kept = self._adopted(head, now)
        if kept is not None:
            if kept.number is None:
                kept.looked_at = now.timestamp()
            book.put(head, kept)
        return kept

    def _asked(self, head: str, now: datetime) -> Kept | None:
        """What a branch holds where a person asked for that; seen anew as often as others are."""
        proposals = self.proposals
        kept = proposals.book.get(head)
        if kept is None or kept.tip != proposals.checkout.branches.get(head):
            kept = self._known(head, now)
        if kept is None or kept.asked is None or kept.foreign is not None:
            return None
        if not kept.is_fresh(now, LOOK_AGAIN.total_seconds()):
            kept.number = None
            kept = self._adopted(head, now) or kept
            kept.looked_at = now.timestamp()
            proposals.book.put(head, kept)
        return kept

    def _tend_asked(
        self,
        head: str,
        kept: Kept,
        snapshot: Snapshot,
        outcomes: Mapping[str, Outcome],
        now: datetime,
    ) -> bool:
        """Look after one that a person asked for; False where it is looked after as any other is."""
        asked, proposals = kept.asked, self.proposals
        assert asked is not None
        names = {name for name, _ in asked.moves}
        sites = snapshot.claims.sites
        present = {name: {version_at(site) for site in sites[name]} for name in names if sites.get(name)}
        if kept.number is None and now.timestamp() - kept.since < LOOK_AGAIN.total_seconds():
            return True  # whoever pushed it may be about to open it
        if kept.number is None or asked.is_overtaken(present):
            versions = ", ".join(
                sorted({f"{n} is at {short_text(v)}" for n, at in present.items() for v in at})
            )
            self._retire(head, kept.tip, versions or "its workload is gone", now)
            return True
        bound = [self.bound(name) for name in names]
        if any(w is None for w in bound):
            return True
        if not any(w is not None and proposals.is_for(w) for w in bound):
            self._retire(head, kept.tip, "releases of it are pushed now", now)
            return True
        proposals.arm(kept, False)
        proposals.complete(kept, [w for w in bound if w is not None])
        told = [outcomes[name] for name in names if name in outcomes]
        if asked.goes_past or all(o.status in DONE for o in told):
            proposals.tell(kept, go_as_asked(kept), "asked")
            return True
        self._tell(head, told, bound, now)
        return True

    def _tell(self, head: str, told: list[Outcome], bound: list[Workload | None], now: datetime) -> None:
        """Have the head's status say what stops the workload, or its group, now."""
        proposals = self.proposals
        stops = [
            (o, s) for o in told if (s := status_of(o.status, o.reason)) is not None and o.status not in DONE
        ]
        if not stops:
            return
        kept = self._known(head, now)
        if kept is None or kept.number is None:
            return
        proposals.disarm(kept)
        if bound:
            proposals.complete(kept, [workload for workload in bound if workload is not None])
        outcome, status = max(stops, key=lambda pair: pair[1].state == "failure")
        proposals.tell(kept, status, outcome.reason.code)

    def _adopted(self, head: str, now: datetime) -> Kept | None:
        """A pull request that we do not remember, found on the forge."""
        mine = self._mine(head)
        found = next((pull for pull in mine if pull.state == "open"), None)
        kept = self.proposals.whose(head, mine, now)
        if found is not None and kept is not None:
            workloads = [self.bound(name) for name in {each.partition(" ")[0] for each in kept.goal}]
            self.proposals.adopt(kept, found, [workload for workload in workloads if workload is not None])
            kept.looked_at = now.timestamp()
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
            still = next((pull for pull in ours if pull.state == "open"), None)
            if kept is not None and still is not None:
                proposals.adopt(kept, still, ())
                proposals.disarm(kept)  # whoever works on it merges it
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
        pull = desk.asked(lambda: forge.pull_request(project, number))
        if pull.state != "open":
            return  # another automator, or a person, was there first
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
