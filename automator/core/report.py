"""Reports: what a cycle did, as one value from which log, metrics and messages are computed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from automator.core.duration import format_age
from automator.core.unidiff import unified_diff
from automator.reasons import Reason, Status

_TELLING = timedelta(hours=1)
"""A shorter "at least" says nothing of how far behind something is, only that somebody has just looked."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where one workload is after a cycle. Every workload has exactly one."""

    workload: str
    status: Status
    reason: Reason
    image: str
    """Repository; empty where the policy could not be read so far."""
    current: str | None = None
    """Version in the config repo before the cycle; None where it has no site."""
    target: str | None = None
    """Version it moves, or would move, to."""
    commit: str | None = None
    owner: str | None = None
    environment: str | None = None
    sites: tuple[str, ...] = ()
    """Labels of its sites."""
    candidate: str | None = None
    """The newest version that filters and range let through, where it is newer than the current one."""
    behind: int = 0
    """How many such versions there are; 0 with a candidate where the current version has no place in the
    policy's order (`latest`), so that nobody can tell."""
    behind_since: datetime | None = None
    """Since when there has been one of them, as far as that is known: built or first seen."""
    behind_at_least: bool = False
    """Whether that is but when we looked first: there may have been one for longer."""

    def lag(self, now: datetime) -> str:
        """How far it is behind, as people say it: `2 versions, 3 days behind`; empty where it is not."""
        if self.candidate is None:
            return ""
        if not self.behind:
            return "unknown how far behind"
        versions = "1 version" if self.behind == 1 else f"{self.behind} versions"
        age = None if self.behind_since is None else now - self.behind_since
        if age is None or (self.behind_at_least and age < _TELLING):
            return f"{versions} behind"
        return f"{versions}, {'at least ' if self.behind_at_least else ''}{format_age(age)} behind"


@dataclass(frozen=True, slots=True)
class Patch:
    """What a release changes, or would change, in one file."""

    workload: str
    file: str
    before: str
    after: str

    def diff(self) -> str:
        """A unified diff as `git apply` takes it."""
        return unified_diff(self.file, self.before, self.after)


@dataclass(frozen=True, slots=True)
class Report:
    """What one cycle over one config repo did."""

    repo: str
    trigger: str
    """interval, request, due, startup or command."""
    started_at: datetime
    finished_at: datetime
    head: str | None
    """Commit the decisions were made on."""
    pushed: str | None
    """Commit the branch stands at after our push; None where nothing was pushed."""
    outcomes: tuple[Outcome, ...]
    warnings: tuple[Reason, ...] = ()
    """Troubles that no workload needs mended: an unreadable file, a stale registry."""
    patches: tuple[Patch, ...] = ()
    """The changes of the releases made or planned; kept out of what is stored."""
    error: Reason | None = None
    """Why the cycle as a whole could not be done (the config repo could not be read)."""
    lost_races: int = 0
    """Pushes that came too late, since somebody else was first."""
    again_at: datetime | None = None
    """When checks are to be asked again, of which no outcome tells."""

    @property
    def is_broken_off(self) -> bool:
        """Whether we had git ended under it, for a changed config or a stop: nothing failed."""
        return self.error is not None and self.error.code == "git/ended"

    @property
    def changes_at(self) -> datetime | None:
        """Earliest time after the cycle's start at which an outcome changes by itself, or checks are due."""
        times = (*(o.reason.changes_at for o in self.outcomes), self.again_at)
        return min((at for at in times if at is not None and at > self.started_at), default=None)

    def count(self, status: Status) -> int:
        return sum(o.status is status for o in self.outcomes)

    @property
    def sentence(self) -> str:
        """The cycle in a line: `cycle shop: 2 released, 14 current, 1 held in 1.2 s`."""
        seconds = (self.finished_at - self.started_at).total_seconds()
        if self.error is not None:
            return f"cycle {self.repo}: not done after {seconds:.1f} s: {self.error.sentence}"
        counts = [f"{self.count(status)} {status}" for status in Status if self.count(status)]
        return f"cycle {self.repo}: {', '.join(counts) or 'no workloads'} in {seconds:.1f} s"

    def completed(self, last: Report | None, known: Collection[str] | None) -> Report:
        """This report with the workloads that it is not about as the `last` one left them.

        `known` names the workloads that there still are; None where the config repo was not read.
        """
        told = {outcome.workload for outcome in self.outcomes}
        rest = () if last is None else last.outcomes
        kept = [o for o in rest if o.workload not in told and (known is None or o.workload in known)]
        if not kept:
            return self
        return replace(self, outcomes=tuple(sorted((*self.outcomes, *kept), key=lambda o: o.workload)))
