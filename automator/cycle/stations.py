"""Stations: what this machine remembers of releases, and what their policies had them wait for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from automator.core.delivery.change import Change
from automator.core.delivery.fate import NOT_SEEN, Fate, Seen
from automator.core.delivery.moves import agree
from automator.core.delivery.stations import Waits
from automator.core.policy import Workload
from automator.core.promotion import After
from automator.core.reference import Repository
from automator.core.rollout import Rollout, Told, first_ran, is_of
from automator.core.rollout import from_text as from_rollout
from automator.core.verification import State, Verification, from_text
from automator.cycle.index import Snapshot


class Memory(Protocol):
    """Where first-seen times are kept, and what checks and runtimes said (`edges.store`)."""

    def first_seen(self, repository: Repository, tag: str) -> datetime | None: ...
    def series(self, branch: str, workload: str | None = None) -> Iterable[tuple[str, str, str]]: ...
    def rollouts(self, branch: str, workload: str | None = None) -> Iterable[tuple[str, str, str]]: ...
    def runtimes_answered(self, branch: str) -> Mapping[str, datetime]: ...


class Remembered:
    """What this machine knows of the releases of one config repo beside what Git says."""

    def __init__(self, branch: str, snapshot: Snapshot, memory: Memory) -> None:
        """`branch` is the name, URL and branch of the config repo."""
        self._snapshot = snapshot
        self._memory = memory
        self._branch = branch
        self._answered = memory.runtimes_answered(branch)
        self._runtimes: dict[str, dict[str, Told]] = {}
        """What each runtime told of each workload that was asked for."""
        self._series: dict[str, list[Verification]] = {}
        """The ended series of checks of each workload, newest first."""
        for name, _, text in memory.series(branch):
            series = from_text(text)
            if series is not None and series.ended is not None:
                self._series.setdefault(name, []).append(series)

    def told(self, oldest_first: Sequence[Change]) -> Iterator[tuple[Change, Seen]]:
        """Changes of this config repo in their order, each with what is known of it."""
        left: dict[str, tuple[str, datetime | None, datetime]] = {}
        ends: list[datetime | None] = []
        for change in reversed(oldest_first):
            commit, end, landed = left.get(change.workload, ("", None, None))
            if commit and commit != change.commit:
                end = landed
            ends.append(end)
            if change.moves and change.proven:
                left[change.workload] = (change.commit, end, change.landed)
        for change, end in zip(oldest_first, reversed(ends), strict=True):
            yield change, self.of(change, end)

    def of(self, change: Change, left: datetime | None = None) -> Seen:
        """What is known of a change; `left` is when the workload went on to another version: checks that
        began later were asked of another release."""
        tag = change.member.after.partition("@")[0]
        if not tag or not change.moves:
            return NOT_SEEN
        entry = self._snapshot.workloads.get(change.workload)
        first_seen = self._memory.first_seen(entry.listed, tag) if isinstance(entry, Workload) else None
        seen = Seen(first_seen=first_seen, deployed=self._deployed(change, left))
        for series in self._series.get(change.workload, ()):
            ended = series.ended
            if ended is None or ended < change.landed or not agree(series.version, change.member.after):
                continue
            if series.commit == change.commit or left is None or series.begun < left:
                return replace(seen, verified=ended, passed=series.state is State.PASSED)
        return seen

    def _deployed(self, change: Change, left: datetime | None) -> datetime | None:
        """When the last of the runtimes that were asked about the version first ran it, of this release; None
        where one of them never did."""
        tag, _, digest = change.member.after.partition("@")
        told = {
            runtime: one
            for runtime, one in self._told(change.workload).items()
            if any(is_of(rollout, tag, digest or None) for rollout in one.rollouts)
        }
        return first_ran(told, tag, digest or None, change.landed, left) if told else None

    def _told(self, workload: str) -> Mapping[str, Told]:
        if workload not in self._runtimes:
            found: dict[str, list[Rollout]] = {}
            for _, runtime, text in self._memory.rollouts(self._branch, workload) if self._answered else ():
                rollout = from_rollout(text)
                if rollout is not None:
                    found.setdefault(runtime, []).append(rollout)
            self._runtimes[workload] = {
                runtime: Told(tuple(rollouts), self._answered.get(runtime))
                for runtime, rollouts in found.items()
            }
        return self._runtimes[workload]


@dataclass(frozen=True)
class Policies:
    """What policies, as they stand today, have versions wait for."""

    snapshots: Mapping[str, Snapshot]
    """By config repo."""
    arrived: Mapping[tuple[str, str, str], datetime]
    """Config repo, workload and tag -> when the workload came to that tag first."""

    @classmethod
    def of(cls, snapshots: Mapping[str, Snapshot], oldest_first: Iterable[Change]) -> Policies:
        """With the times at which workloads came to versions."""
        arrived: dict[tuple[str, str, str], datetime] = {}
        for change in oldest_first:
            if change.moves and change.proven:
                arrived.setdefault((*change.key, change.member.after.partition("@")[0]), change.landed)
        return cls(snapshots, arrived)

    def waits(self, fate: Fate) -> Waits | None:
        """What one release waited for, if its policy was what it is now; None where that is not known."""
        repo, name = fate.change.key
        snapshot = self.snapshots.get(repo)
        entry = None if snapshot is None else snapshot.workloads.get(name)
        if snapshot is None or not isinstance(entry, Workload):
            return None
        guards = entry.guards
        upstream = None if guards.after is None else self._upstream(fate.change, guards.after, snapshot)
        if upstream is None and guards.after is not None:
            return None
        return Waits(guards.min_age, upstream, guards.windows)

    def _upstream(self, change: Change, after: After, snapshot: Snapshot) -> datetime | None:
        """When the upstream workloads had held the version for the soak time; None where not all of those
        that matter are known to have had it."""
        tag = change.member.after.partition("@")[0]
        came = [
            self.arrived.get((repo or change.repo, name, tag)) for repo, name in upstreams(after, snapshot)
        ]
        known = [at for at in came if at is not None and at <= change.landed]
        if not known or (after.need == "all" and len(known) < len(came)):
            return None
        return (max(known) if after.need == "all" else min(known)) + after.soak


def upstreams(after: After, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    """Config repo (empty for the same one) and workload of every upstream."""
    if after.group is not None:
        return tuple(("", name) for name in snapshot.groups.get(after.group, ()))
    return tuple((repo, name) for repo, _, name in (text.rpartition("/") for text in after.upstreams))
