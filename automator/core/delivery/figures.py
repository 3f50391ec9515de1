"""Figures: the four of DORA over a period, each with its level.

The levels are those of the Accelerate State of DevOps Report of 2023 (dora.dev/research/2023): its table
of performance levels, read as thresholds. docs/metrics.md says how each figure is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median

from automator.core.delivery.fate import Failure, Fate

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
MONTH = timedelta(days=30)
LONGEST_MONTH = timedelta(days=31)
"""One deployment in any month of the calendar is one a month."""
ENOUGH_FOR_P90 = 10
"""Values from which on the 90th percentile says more than the greatest."""


class Level(StrEnum):
    """How a team with this figure compares, best first."""

    ELITE = "elite"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` on, up to but not at `until`; both aware, in UTC."""

    since: datetime
    until: datetime

    @property
    def days(self) -> float:
        return max((self.until - self.since) / DAY, 0.0)

    def has(self, moment: datetime) -> bool:
        return self.since <= moment < self.until


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations in short. All but `n` are None where there are none."""

    n: int = 0
    median: timedelta | None = None
    p90: timedelta | None = None
    """Nearest rank; None for fewer than ENOUGH_FOR_P90 values."""
    least: timedelta | None = None
    greatest: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """The four figures of a set of deployments."""

    days: float
    """Length of the period."""
    deployments: int = 0
    """Commits that brought a new version to the branch."""
    per_day: float | None = None
    """None where there was no deployment; a shorter period counts as a day."""
    lead: Spread = Spread()
    """Lead time of each workload's changes."""
    lead_from_source: int = 0
    """How many of them count from the source's commit."""
    lead_from_build: int = 0
    """How many count from the image's build, since nothing older is known."""
    lead_until_deployed: int = 0
    """How many end when the version was seen to run, and not when it came to the branch."""
    lead_unknown: int = 0
    lead_skewed: int = 0
    """Lead times left out since they would be negative: two clocks disagree."""
    restore_skewed: int = 0
    """The same of times to restore."""
    failed: int = 0
    """Deployments that failed."""
    failure_rate: float | None = None
    """Share of the deployments, 0 to 1."""
    failures: tuple[tuple[Failure, int], ...] = ()
    """Failed deployments, by how that is known; one may be known in several ways."""
    restore: Spread = Spread()
    """From a failed deployment to what mended the last of its workloads."""
    unrestored: int = 0
    """Failed deployments that the branch is still at, in a workload at least."""

    @property
    def skewed(self) -> int:
        """All durations that were left out."""
        return self.lead_skewed + self.restore_skewed

    @property
    def frequency_level(self) -> Level | None:
        rate = self.per_day
        if rate is None or self.days < WEEK / DAY:  # what is no week says nothing of how often
            return None
        steps = ((1.0, Level.ELITE), (DAY / WEEK, Level.HIGH), (DAY / LONGEST_MONTH, Level.MEDIUM))
        return next((level for least, level in steps if rate >= least), Level.LOW)

    @property
    def lead_level(self) -> Level | None:
        return _quickness(self.lead.median, (DAY, WEEK, MONTH))

    @property
    def failure_level(self) -> Level | None:
        rate = self.failure_rate
        if rate is None:
            return None
        steps = ((0.05, Level.ELITE), (0.10, Level.HIGH), (0.15, Level.MEDIUM))
        return next((level for most, level in steps if rate <= most), Level.LOW)

    @property
    def restore_level(self) -> Level | None:
        return _quickness(self.restore.median, (timedelta(hours=1), DAY, WEEK))


def _quickness(took: timedelta | None, below: tuple[timedelta, timedelta, timedelta]) -> Level | None:
    if took is None:
        return None
    steps = zip(below, (Level.ELITE, Level.HIGH, Level.MEDIUM), strict=True)
    return next((level for bound, level in steps if took < bound), Level.LOW)


def figures(fates: Iterable[Fate], period: Period) -> Figures:
    """The figures of the deployments that landed in a period. A failure counts for the period of its
    deployment, whenever it came out."""
    counted = [fate for fate in fates if period.has(fate.change.landed)]
    if not counted:
        return Figures(period.days)
    deployments = {fate.id for fate in counted}
    failed = [fate for fate in counted if fate.failure is not None]
    bad = {fate.id for fate in failed}
    leads = [lead for fate in counted if (lead := lead_time(fate)) is not None]
    restores = _restores(failed)
    good_leads, good_restores = _forward(leads), _forward(restores)
    forward = [f for f in counted if _is_forward(lead_time(f))]
    from_source = sum(map(is_from_source, forward))
    ways = [way for _, way in {(fate.id, fate.failure) for fate in failed}]
    return Figures(
        days=period.days,
        deployments=len(deployments),
        per_day=len(deployments) / max(period.days, 1.0) if period.days else None,
        lead=spread(good_leads),
        lead_from_source=from_source,
        lead_from_build=len(good_leads) - from_source,
        lead_until_deployed=sum(f.seen.deployed is not None for f in forward),
        lead_unknown=len(counted) - len(leads),
        lead_skewed=len(leads) - len(good_leads),
        restore_skewed=len(restores) - len(good_restores),
        failed=len(bad),
        failure_rate=len(bad) / len(deployments),
        failures=tuple((way, ways.count(way)) for way in Failure if way in ways),
        restore=spread(good_restores),
        unrestored=len(bad) - len(restores),
    )


def _restores(failed: Iterable[Fate]) -> list[timedelta]:
    """How long each deployment took to be mended, in all of its workloads that failed."""
    ends: dict[tuple[str, str], tuple[datetime, datetime | None]] = {}
    for fate in failed:
        landed, end = ends.get(fate.id, (fate.change.landed, fate.restored))
        ends[fate.id] = landed, None if end is None or fate.restored is None else max(end, fate.restored)
    return [end - landed for landed, end in ends.values() if end is not None]


def lead_time(fate: Fate) -> timedelta | None:
    """From the source's commit, or else the image's build, to the deployment; None where neither is
    known. Negative where clocks disagree."""
    change = fate.change
    began = change.source_made if is_from_source(fate) else change.built
    return None if began is None else (fate.seen.deployed or change.landed) - began


def is_from_source(fate: Fate) -> bool:
    """Whether lead time counts from the source's commit: not where that is later than what was built from
    it, as one of both times is wrong then, and the build's is the one that we read ourselves."""
    made, built = fate.change.source_made, fate.change.built
    return made is not None and (built is None or made <= built)


def spread(durations: Sequence[timedelta]) -> Spread:
    """Durations in short."""
    if not durations:
        return Spread()
    ordered = sorted(durations)
    rank = -(-9 * len(ordered) // 10) - 1
    return Spread(
        len(ordered),
        timedelta(seconds=median(d.total_seconds() for d in ordered)),
        ordered[rank] if len(ordered) >= ENOUGH_FOR_P90 else None,
        ordered[0],
        ordered[-1],
    )


def _forward(durations: Iterable[timedelta]) -> list[timedelta]:
    return [duration for duration in durations if _is_forward(duration)]


def _is_forward(duration: timedelta | None) -> bool:
    return duration is not None and duration >= timedelta(0)
