"""Fates: which changes were deployments, which of them failed, and when that was mended.

A change is a *restore* where it goes back: `rollback`, `revert`, or a move by a person to a version that
the workload held before a deployment which is still in force. Every deployment that it goes back past has
failed, and is restored by it. Any other proven move is a deployment. docs/metrics.md has the words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from automator.core.delivery.change import MANUAL, REVERT, Change
from automator.core.delivery.moves import agree


class Failure(StrEnum):
    """How it is known that a deployment failed."""

    ROLLED_BACK = "rolled back"
    REVERTED = "reverted"
    TURNED_AWAY = "turned away"
    """A person set an older version by hand."""
    REJECTED = "rejected"
    VERIFICATION = "verification failed"


@dataclass(frozen=True, slots=True)
class Seen:
    """What other places than Git know of a change; None is not known."""

    source: datetime | None = None
    """When the commit was made that the image was built from."""
    first_seen: datetime | None = None
    """When the registry first listed the version."""
    deployed: datetime | None = None
    verified: datetime | None = None
    """When the checks after it came to an end."""
    passed: bool | None = None
    """What they said."""


NOT_SEEN = Seen()


@dataclass(frozen=True, slots=True)
class Fate:
    """A deployment of one workload, and what became of it."""

    change: Change
    failure: Failure | None = None
    restored: datetime | None = None
    """When the branch was at another version again; None where it still is at the failed one."""
    restored_by: str | None = None
    """The commit."""
    seen: Seen = NOT_SEEN

    @property
    def id(self) -> tuple[str, str]:
        """One commit is one deployment, of however many workloads: config repo and commit."""
        return (self.change.repo, self.change.commit)


class _Course:
    """The deployments of one workload, oldest first."""

    def __init__(self) -> None:
        self.done: list[Fate] = []
        self.in_force: list[int] = []
        """Indexes of those that nothing went back past."""

    def take(self, change: Change, seen: Seen) -> None:
        if not change.moves:
            if change.kind == "reject":
                self._reject(change)
            return
        if self._is_told(change):
            return
        back = self._goes_back(change)
        self._end_broken(change)
        if back is None:
            failure = Failure.VERIFICATION if seen.passed is False else None
            self.in_force.append(len(self.done))
            self.done.append(Fate(change, failure, seen=seen))
            return
        for index in self.in_force[back:]:
            fate = self.done[index]
            self.done[index] = replace(
                fate,
                failure=fate.failure or _how(change),
                restored=fate.restored or change.landed,
                restored_by=fate.restored_by or change.commit,
            )
        del self.in_force[back:]

    def _is_told(self, change: Change) -> bool:
        """Whether it is one more block of the last deployment: sites that came from another version."""
        last = self.done[-1].change if self.done else None
        return (
            last is not None
            and last.commit == change.commit
            and agree(last.member.after, change.member.after)
        )

    def _goes_back(self, change: Change) -> int | None:
        """From which deployment in force on a change goes back; None where it does not."""
        after = change.member.after
        for place in range(len(self.in_force) - 1, -1, -1):
            if agree(self.done[self.in_force[place]].change.member.before, after):
                by_person = change.kind == MANUAL or change.actor is not None
                return place if by_person or change.kind in ("rollback", REVERT) else None
        if change.kind not in ("rollback", REVERT):
            return None
        if any(agree(fate.change.member.after, after) for fate in self.done):
            return None  # the revert of a revert: what was taken back is deployed once more
        return max(len(self.in_force) - 1, 0)  # to a version older than what is told here

    def _reject(self, change: Change) -> None:
        """A person said of a version that it is not to be had."""
        said = change.member.after
        for index in self.in_force:
            fate = self.done[index]
            after = fate.change.member.after
            same = after.endswith(said) if said.startswith("@") else agree(after, said)
            if fate.failure is None and same:
                self.done[index] = replace(fate, failure=Failure.REJECTED)

    def _end_broken(self, change: Change) -> None:
        """Whatever moves the workload on ends what had failed already."""
        for index in self.in_force:
            fate = self.done[index]
            if fate.failure is not None and fate.restored is None:
                self.done[index] = replace(fate, restored=change.landed, restored_by=change.commit)


def _how(change: Change) -> Failure:
    return {"rollback": Failure.ROLLED_BACK, REVERT: Failure.REVERTED}.get(change.kind, Failure.TURNED_AWAY)


def fates(told: Iterable[tuple[Change, Seen]]) -> tuple[Fate, ...]:
    """What became of every deployment among changes, which come oldest first as the branch has them. Only
    proven ones count. What becomes of one workload depends on no other."""
    courses: dict[tuple[str, str], _Course] = {}
    for change, seen in told:
        if change.proven and change.workload:
            courses.setdefault(change.key, _Course()).take(change, seen)
    return tuple(fate for course in courses.values() for fate in course.done)
