"""Counting: the numbers of one config repo, from the reports of its cycles."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Tally
from dataclasses import dataclass, field

from automator.core.report import Outcome, Report
from automator.reasons import Status

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the classes of a cycle's duration."""


@dataclass
class RepoNumbers:
    """The numbers of one config repo."""

    cycles: Tally[str] = field(default_factory=Tally)
    pushes: Tally[str] = field(default_factory=Tally)
    classes: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    seconds: float = 0.0
    releases: int = 0
    commits: int = 0
    finished_at: float | None = None
    succeeded_at: float | None = None
    counted: frozenset[tuple[str, str | None]] = frozenset()
    """Releases of the last report: one that is still told is not counted again."""
    outcomes: tuple[Outcome, ...] | None = None
    """Those that the following were counted from; None before the first."""
    statuses: Tally[str] = field(default_factory=Tally)
    codes: Tally[tuple[str, str]] = field(default_factory=Tally)
    waiting: Tally[str] = field(default_factory=Tally)
    oldest: dict[str, float] = field(default_factory=dict)
    pull_requests: int = 0

    def count(self, report: Report) -> None:
        """Take a cycle in. One that could not be done leaves the outcomes as they were."""
        took = (report.finished_at - report.started_at).total_seconds()
        self.cycles[_result(report)] += 1
        self.classes[bisect_left(SECONDS, took)] += 1
        self.seconds += took
        self.finished_at = report.finished_at.timestamp()
        self.pushes["lost"] += report.lost_races
        self.pushes["landed"] += report.pushed is not None
        if report.error is None:
            self.succeeded_at = self.finished_at
        if report.outcomes is self.outcomes or (report.error is not None and not report.outcomes):
            return
        self._count_releases(report.outcomes)
        self._count_outcomes(report.outcomes)

    def _count_releases(self, outcomes: tuple[Outcome, ...]) -> None:
        released = frozenset((o.workload, o.commit) for o in outcomes if o.status is Status.RELEASED)
        news = released - self.counted
        self.counted = released
        self.releases += len(news)
        self.commits += len({commit for _, commit in news} - {None})

    def _count_outcomes(self, outcomes: tuple[Outcome, ...]) -> None:
        self.outcomes = outcomes
        self.statuses = Tally(o.status.value for o in outcomes)
        self.codes = Tally((o.status.value, o.reason.code) for o in outcomes)
        behind = [o for o in outcomes if o.candidate is not None and o.status is not Status.RELEASED]
        self.waiting = Tally(o.status.value for o in behind)
        self.oldest = {}
        for outcome in behind:
            if outcome.behind_since is not None:
                at, status = outcome.behind_since.timestamp(), outcome.status.value
                self.oldest[status] = min(at, self.oldest.get(status, at))
        self.pull_requests = len({url for o in outcomes if (url := _pull_request(o)) is not None})


def _result(report: Report) -> str:
    if report.error is not None:
        return "ended" if report.is_broken_off else "error"
    return "failed" if report.count(Status.FAILED) else "done"


def _pull_request(outcome: Outcome) -> str | None:
    """The pull request that an outcome waits for."""
    if outcome.status is not Status.WAITING or not outcome.reason.code.startswith("proposal/"):
        return None
    return dict(outcome.reason.params).get("url")
