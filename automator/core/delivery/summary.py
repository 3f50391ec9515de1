"""Summary: the report on delivery as one value, grouped as it was asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from automator.core.delivery.fate import Fate
from automator.core.delivery.figures import Figures, Period, Spread, figures
from automator.core.delivery.stations import Journey, Waits, journey, legs_in_short

GROUPINGS = ("workload", "owner", "environment", "repo", "week", "month")
NOBODY = "-"
"""What workloads without an owner, or an environment, are called together."""


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of some of the deployments."""

    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Summary:
    """What a report says."""

    period: Period
    overall: Figures
    by: str
    """One of GROUPINGS."""
    groups: tuple[Group, ...]
    weeks: tuple[Group, ...]
    journeys: tuple[Journey, ...]
    """Of every deployment in the period, slowest first."""
    stations: tuple[tuple[str, Spread], ...]
    """Each leg of the way, the slowest median first."""
    skewed: int = 0
    """Legs left out since two clocks disagree."""
    notes: tuple[str, ...] = ()
    """What to know before believing the figures."""


def summarize(
    fates: Iterable[Fate],
    period: Period,
    *,
    by: str = "workload",
    waits: Callable[[Fate], Waits | None] = lambda _: None,
    notes: tuple[str, ...] = (),
) -> Summary:
    """The report on the deployments that landed in a period."""
    counted = [fate for fate in fates if period.has(fate.change.landed)]
    journeys = sorted(
        (journey(fate, waits(fate)) for fate in counted),
        key=lambda one: (-one.whole, one.fate.change.landed, one.fate.change.key),
    )
    return Summary(
        period=period,
        overall=figures(counted, period),
        by=by,
        groups=grouped(counted, period, by),
        weeks=grouped(counted, period, "week"),
        journeys=tuple(journeys),
        stations=legs_in_short(journeys),
        skewed=sum(len(one.skewed) for one in journeys),
        notes=notes,
    )


def grouped(fates: Iterable[Fate], period: Period, by: str) -> tuple[Group, ...]:
    """The figures of each group. Weeks and months are told even where nothing was released in them."""
    fates = tuple(fates)
    if by in ("week", "month"):
        return _in_turn(fates, split(period, weekly=by == "week"))
    members: dict[str, list[Fate]] = {}
    for fate in fates:
        members.setdefault(_NAMES[by](fate), []).append(fate)
    return tuple(Group(name, figures(members[name], period)) for name in sorted(members))


def _in_turn(fates: tuple[Fate, ...], parts: tuple[tuple[str, Period], ...]) -> tuple[Group, ...]:
    """The figures of each part of a period, which follow one another."""
    begins = [part.since for _, part in parts]
    inside: list[list[Fate]] = [[] for _ in parts]
    for fate in fates:
        place = bisect_right(begins, fate.change.landed) - 1
        if place >= 0:
            inside[place].append(fate)
    return tuple(Group(name, figures(mine, part)) for (name, part), mine in zip(parts, inside, strict=True))


_NAMES: Mapping[str, Callable[[Fate], str]] = {
    "workload": lambda fate: "/".join(fate.change.key),
    "owner": lambda fate: fate.change.owner or NOBODY,
    "environment": lambda fate: fate.change.environment or NOBODY,
    "repo": lambda fate: fate.change.repo,
}


def split(period: Period, *, weekly: bool) -> tuple[tuple[str, Period], ...]:
    """The ISO weeks or the months of a period, in UTC; the first and the last may be cut short."""
    parts = []
    at = period.since.astimezone(UTC)
    until = period.until.astimezone(UTC)
    while at < until:
        day = datetime(at.year, at.month, at.day, tzinfo=UTC)
        if weekly:
            turn = day + timedelta(days=7 - day.weekday())
            name = f"{at.isocalendar().year}-W{at.isocalendar().week:02}"
        else:
            turn = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            name = f"{at:%Y-%m}"
        parts.append((name, Period(at, min(turn, until))))
        at = turn
    return tuple(parts)
