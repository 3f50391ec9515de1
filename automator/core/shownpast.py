"""Shown past: the release log and the report on delivery as JSON has them, for commands and the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypedDict, cast

from automator.core.delivery.change import Change
from automator.core.delivery.figures import Figures, Level, Spread
from automator.core.delivery.stations import Journey
from automator.core.delivery.summary import Summary

# -- the release log -------------------------------------------------------------------------------------


class PolicyChangeShown(TypedDict):
    """The last change of a policy file before a release."""

    commit: str
    author: str
    time: datetime


LoggedShown = TypedDict(
    "LoggedShown",
    {
        "repo": str,
        "commit": str,
        "time": datetime,
        "committed": datetime,
        "merged": datetime | None,
        "author": str,
        "email": str,
        "actor": str | None,
        "merged_by": str | None,
        "reason": str | None,
        "kind": str,
        "workload": str | None,
        "owner": str | None,
        "environment": str | None,
        "image": str | None,
        "from": str | None,
        "to": str | None,
        "sites": list[str],
        "built": datetime | None,
        "source": str | None,
        "source_time": datetime | None,
        "why": str | None,
        "policy": str | None,
        "pull_request": int | None,
        "refs": list[str],
        "reverts": str | None,
        "proven": bool | None,
    },
)
LoggedShown.__doc__ = "A line of the release log, as commits alone tell it."


class ChangeShown(LoggedShown):
    """A line of the release log, with what else git and the forge were asked about its commit."""

    policy_changed: PolicyChangeShown | None
    approved_by: list[str] | None
    signature: str | None
    signer: str | None


_ASKED = ChangeShown.__annotations__.keys() - LoggedShown.__annotations__.keys()


def shown_logged(change: Change) -> LoggedShown:
    """A line of the release log, without what nobody asked about its commit."""
    told = {key: value for key, value in shown_change(change).items() if key not in _ASKED}
    return cast(LoggedShown, told)


def shown_change(change: Change) -> ChangeShown:
    """A line of the release log."""
    member, policy = change.member, change.policy_change
    return {
        "repo": change.repo,
        "commit": change.commit,
        "time": change.landed,
        "committed": change.made or change.landed,
        "merged": None if change.made is None else change.landed,
        "author": change.author,
        "email": change.mail,
        "actor": change.actor,
        "merged_by": change.merged_by,
        "reason": change.reason,
        "kind": change.kind,
        "workload": member.workload or None,
        "owner": change.owner,
        "environment": change.environment,
        "image": member.image or None,
        "from": member.before or None,
        "to": member.after or None,
        "sites": list(member.sites),
        "built": member.built,
        "source": member.source,
        "source_time": member.source_time,
        "why": change.why or None,
        "policy": member.policy,
        "policy_changed": None
        if policy is None
        else {"commit": policy.commit, "author": policy.author, "time": policy.time},
        "pull_request": change.pull_request,
        "approved_by": None if change.approved_by is None else list(change.approved_by),
        "refs": list(change.refs),
        "reverts": change.reverts,
        "signature": change.signature,
        "signer": change.signer,
        "proven": change.proven,
    }


# -- the report on delivery ------------------------------------------------------------------------------

LevelWord = Literal["elite", "high", "medium", "low"]


class SpreadShown(TypedDict):
    """Durations in short, in seconds."""

    n: int
    median: float | None
    p90: float | None
    least: float | None
    greatest: float | None


class FrequencyShown(TypedDict):
    """How often something was deployed."""

    deployments: int
    per_day: float | None
    level: LevelWord | None


class LeadTimeShown(SpreadShown):
    """How long it took from the source, or the build, to the branch, or until it ran."""

    from_source: int
    from_build: int
    until_deployed: int
    unknown: int
    level: LevelWord | None


class FailureRateShown(TypedDict):
    """How many deployments failed, and how that is known."""

    failed: int
    rate: float | None
    ways: dict[str, int]
    level: LevelWord | None


class RestoreShown(SpreadShown):
    """How long it took until a failed deployment was mended."""

    unrestored: int
    level: LevelWord | None


class FiguresShown(TypedDict):
    """The four figures of DORA."""

    deployment_frequency: FrequencyShown
    lead_time: LeadTimeShown
    change_failure_rate: FailureRateShown
    time_to_restore: RestoreShown
    skewed: int


class GroupShown(TypedDict):
    """The figures of some of the deployments."""

    name: str
    figures: FiguresShown


class StationShown(SpreadShown):
    """One leg of the way of releases."""

    leg: str


LegShown = TypedDict("LegShown", {"from": str, "to": str, "guard": str | None, "seconds": float | None})
LegShown.__doc__ = "The way from one known station to the next."


class JourneyShown(TypedDict):
    """One release, station by station."""

    repo: str
    workload: str
    to: str
    commit: str
    kind: str
    failure: str | None
    restored: datetime | None
    restored_by: str | None
    stations: dict[str, datetime]
    legs: list[LegShown]
    skewed: list[str]


class SummaryShown(TypedDict):
    """The report on delivery."""

    since: datetime
    until: datetime
    days: float
    figures: FiguresShown
    by: str
    groups: list[GroupShown]
    stations: list[StationShown]
    slowest: list[JourneyShown]
    skewed_legs: int
    notes: list[str]


def shown_summary(summary: Summary, *, slowest: int) -> SummaryShown:
    """The report, with so many of the slowest releases."""
    return {
        "since": summary.period.since,
        "until": summary.period.until,
        "days": round(summary.period.days, 3),
        "figures": _figures(summary.overall),
        "by": summary.by,
        "groups": [{"name": g.name, "figures": _figures(g.figures)} for g in summary.groups],
        "stations": [{"leg": name, **_spread(spread)} for name, spread in summary.stations],
        "slowest": [_journey(one) for one in summary.journeys[:slowest]],
        "skewed_legs": summary.skewed,
        "notes": list(summary.notes),
    }


def _figures(figures: Figures) -> FiguresShown:
    return {
        "deployment_frequency": {
            "deployments": figures.deployments,
            "per_day": None if figures.per_day is None else round(figures.per_day, 4),
            "level": _level(figures.frequency_level),
        },
        "lead_time": {
            **_spread(figures.lead),
            "from_source": figures.lead_from_source,
            "from_build": figures.lead_from_build,
            "until_deployed": figures.lead_until_deployed,
            "unknown": figures.lead_unknown,
            "level": _level(figures.lead_level),
        },
        "change_failure_rate": {
            "failed": figures.failed,
            "rate": None if figures.failure_rate is None else round(figures.failure_rate, 4),
            "ways": {str(way): count for way, count in figures.failures},
            "level": _level(figures.failure_level),
        },
        "time_to_restore": {
            **_spread(figures.restore),
            "unrestored": figures.unrestored,
            "level": _level(figures.restore_level),
        },
        "skewed": figures.skewed,
    }


def _level(level: Level | None) -> LevelWord | None:
    return None if level is None else level.value


def _spread(spread: Spread) -> SpreadShown:
    return {
        "n": spread.n,
        "median": _seconds(spread.median),
        "p90": _seconds(spread.p90),
        "least": _seconds(spread.least),
        "greatest": _seconds(spread.greatest),
    }


def _seconds(took: timedelta | None) -> float | None:
    return None if took is None else round(took.total_seconds(), 3)


def _journey(one: Journey) -> JourneyShown:
    fate = one.fate
    return {
        "repo": fate.change.repo,
        "workload": fate.change.workload,
        "to": fate.change.member.after,
        "commit": fate.change.commit,
        "kind": fate.change.kind,
        "failure": fate.failure,
        "restored": fate.restored,
        "restored_by": fate.restored_by,
        "stations": dict(one.times),
        "legs": [
            {"from": leg.begin, "to": leg.end, "guard": leg.guard or None, "seconds": _seconds(leg.took)}
            for leg in one.legs
        ],
        "skewed": list(one.skewed),
    }
