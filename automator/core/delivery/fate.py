"""Fates: which changes were deployments, which of them failed, and when that was mended.

A change is a *restore* where it goes back: a `rollback`, or a `revert` or a move by a person to a version
that the workload held before a deployment which is still in force. Every deployment that it goes back past
has failed, and is restored by it. Any other proven move is a deployment. docs/metrics.md has the words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from automator.core.delivery.change import MANUAL, REVERT, Change
from automator.core.delivery.moves import agree
from automator.core.record import Member


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


class _Places:
    """At which places of a stack versions stand, found as `moves.agree` compares them, however many."""

    def __init__(self) -> None:
        self._exactly: dict[str, list[int]] = {}
        self._by_tag: dict[str, list[int]] = {}

    def put(self, version: str, place: int) -> None:
        self._exactly.setdefault(version, []).append(place)
        self._by_tag.setdefault(version.partition("@")[0], []).append(place)

    def take_off(self, version: str) -> None:
        """Forget the last place of a version that was put here."""
        self._exactly[version].pop()
        self._by_tag[version.partition("@")[0]].pop()

    def last(self, version: str) -> int | None:
        """The last place at which the version stands."""
        tag, _, digest = version.partition("@")
        if not version:
            return None
        if not digest:
            return next(iter(self._by_tag.get(tag, ())[-1:]), None)
        found = [*self._exactly.get(version, ())[-1:], *(self._exactly.get(tag, ())[-1:] if tag else ())]
        return max(found, default=None)


class _Step(NamedTuple):
    """A deployment in force: its place, and the versions that the workload held before it."""

    place: int
    held: list[str]


class _Course:
    """The deployments of one workload, oldest first."""

    def __init__(self) -> None:
        self.done: list[Fate] = []
        self._in_force: list[_Step] = []
        """Those that nothing went back past."""
        self._held = _Places()
        """What was held before each of them."""
        self._running = _Places()
        """What each one in force brought."""
        self._broken: list[int] = []
        """Indexes of those that failed and that nothing has followed yet."""
        self._present = ""
        self._commits: dict[str, bool] = {}
        """Commits that moved the workload -> whether they went back."""

    def take(self, change: Change, seen: Seen) -> None:
        if not change.moves:
            if change.kind == "reject":
                self._reject(change)
            return
        went_back = self._commits.get(change.commit)
        if went_back is not None and agree(self._present, change.member.after):
            # One more block of the same commit: sites that came from another version.
            if not went_back:
                self._hold_before(change.member.before)
            return
        if change.kind == MANUAL and self._stays(change.member):
            self._present = change.member.after
            return
        back = self._goes_back(change)
        self._end_broken(change)
        self._commits[change.commit] = back is not None
        if back is None:
            self._deploy(change, seen)
        else:
            self._restore(change, back)
        self._present = change.member.after

    def _stays(self, member: Member) -> bool:
        """Whether the workload is at that version already: a digest came or went, or a site that was behind
        was brought there."""
        return agree(member.before, member.after) or agree(self._present, member.after)

    def _deploy(self, change: Change, seen: Seen) -> None:
        failure = Failure.VERIFICATION if seen.passed is False else None
        index = len(self.done)
        if failure is not None:
            self._broken.append(index)
        for version in _spellings(change.member.after):
            self._running.put(version, len(self._in_force))
        self._in_force.append(_Step(index, []))
        self.done.append(Fate(change, failure, seen=seen))
        for version in dict.fromkeys((self._present, change.member.before)):
            self._hold_before(version)

    def _hold_before(self, version: str) -> None:
        """The last deployment's workload held this before it."""
        if version and self._in_force:
            self._held.put(version, len(self._in_force) - 1)
            self._in_force[-1].held.append(version)

    def _restore(self, change: Change, back: int) -> None:
        """Go back past all from the place `back` on."""
        while len(self._in_force) > back:
            step = self._in_force.pop()
            fate = self.done[step.place]
            for version in step.held:
                self._held.take_off(version)
            for version in _spellings(fate.change.member.after):
                self._running.take_off(version)
            self.done[step.place] = replace(
                fate,
                failure=fate.failure or _how(change),
                restored=fate.restored or change.landed,
                restored_by=fate.restored_by or change.commit,
            )

    def _goes_back(self, change: Change) -> int | None:
        """From which place of those in force on a change goes back; None where it does not."""
        by_person = change.kind == MANUAL or change.actor is not None
        if not (by_person or change.kind in ("rollback", REVERT)):
            return None
        place = self._held.last(change.member.after)
        if place is not None:
            return place
        last = max(len(self._in_force) - 1, 0)
        if change.kind == "rollback":
            return last  # to what was held on a course that was left, or before what is told here
        if change.kind != REVERT or change.reverts is None:
            return None
        # The revert of a revert deploys once more what was taken back; the words alone take nothing back.
        return last if self._commits.get(change.reverts) is False else None

    def _reject(self, change: Change) -> None:
        """A person said of a version that it is not to be had."""
        place = self._running.last(change.member.after)
        if place is None:
            return
        index = self._in_force[place].place
        fate = self.done[index]
        if fate.failure is not None:
            return
        if place + 1 < len(self._in_force):  # it had been left for the next one, for good
            end = self.done[self._in_force[place + 1].place].change
            fate = replace(fate, restored=end.landed, restored_by=end.commit)
        else:
            self._broken.append(index)
        self.done[index] = replace(fate, failure=Failure.REJECTED)

    def _end_broken(self, change: Change) -> None:
        """Whatever moves the workload on ends what had failed already."""
        for index in self._broken:
            fate = self.done[index]
            if fate.restored is None:
                self.done[index] = replace(fate, restored=change.landed, restored_by=change.commit)
        self._broken.clear()


def _spellings(version: str) -> tuple[str, ...]:
    """How a version may be named: as it is, and by its digest alone."""
    _, at, digest = version.partition("@")
    return tuple(dict.fromkeys((version, at + digest))) if digest else (version,)


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
