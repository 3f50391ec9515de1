"""Stations: where a version was when, on its way from a commit of the source to a verified release.

What is not known is left out, and the time from the station before to the one after it is told as one leg:
an unknown time is never taken for none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from automator.core.delivery.fate import Fate
from automator.core.delivery.figures import Spread, spread
from automator.core.windows import Window, state

SOURCE, BUILT, SEEN, ELIGIBLE = "source commit", "built", "first seen", "eligible"
PROPOSED, MERGED, DEPLOYED, VERIFIED = "proposed", "merged", "deployed", "verified"
STATIONS = (SOURCE, BUILT, SEEN, ELIGIBLE, PROPOSED, MERGED, DEPLOYED, VERIFIED)
"""In the order of the way. `merged` is when the change came to the branch, pushed or merged."""

_ON_BRANCH = STATIONS.index(MERGED)


@dataclass(frozen=True, slots=True)
class Waits:
    """What the policy has a version wait for, as it stands today."""

    min_age: timedelta | None = None
    upstream: datetime | None = None
    """When the upstream workload had held the version for long enough; None without `after`, or where
    that is not known."""
    windows: tuple[Window, ...] = ()


class Leg(NamedTuple):
    """The way from one known station to the next."""

    begin: str
    end: str
    guard: str
    """Which guard made it wait there; empty where none did."""
    took: timedelta

    @property
    def name(self) -> str:
        return f"{self.begin} → {self.end}" + (f" ({self.guard})" if self.guard else "")


@dataclass(frozen=True, slots=True)
class Journey:
    """One deployment of one workload, leg by leg."""

    fate: Fate
    times: tuple[tuple[str, datetime], ...]
    """The known stations, in the order of STATIONS."""
    legs: tuple[Leg, ...]
    """Those of the way, slowest first."""
    skewed: tuple[str, ...] = ()
    """Names of legs that would be negative, and are left out: two clocks disagree there."""

    @property
    def whole(self) -> timedelta:
        """From the earliest known time to the last station."""
        known = [at for _, at in self.times]
        return known[-1] - min(known) if known else timedelta(0)


def journey(fate: Fate, waits: Waits | None = None) -> Journey:
    """The way of one deployment, as far as it is known. Without `waits`, when it was eligible is not."""
    change, seen = fate.change, fate.seen
    proposed = change.made
    until = change.landed if proposed is None else min(proposed, change.landed)
    first_seen = seen.first_seen if seen.first_seen is not None and seen.first_seen <= until else None
    waited: tuple[tuple[str, timedelta], ...] = ()
    eligible = None
    if first_seen is not None and waits is not None:
        waited = tuple(_waited(first_seen, until, waits))
        eligible = first_seen + sum((took for _, took in waited), timedelta(0))
    moments = (change.source_made, change.built, first_seen, eligible, proposed, change.landed,
               seen.deployed, seen.verified)  # fmt: skip
    times = tuple((name, at) for name, at in zip(STATIONS, moments, strict=True) if at is not None)
    # What is dated after it came to the branch is dated wrongly: it begins and ends no leg.
    late = [name for name, at in times if at > change.landed and STATIONS.index(name) < _ON_BRANCH]
    legs: list[Leg] = []
    for (begin, left), (end, reached) in pairwise(item for item in times if item[0] not in late):
        if end == ELIGIBLE and waited:
            legs += [Leg(begin, end, guard, took) for guard, took in waited]
        else:
            legs.append(Leg(begin, end, "", reached - left))
    whole = [leg for leg in legs if leg.took >= timedelta(0)]
    return Journey(
        fate,
        times,
        tuple(sorted(whole, key=lambda leg: leg.took, reverse=True)),
        (*(f"{name} → {MERGED}" for name in late), *(leg.name for leg in legs if leg.took < timedelta(0))),
    )


def _waited(begin: datetime, until: datetime, waits: Waits) -> Iterable[tuple[str, timedelta]]:
    """How long each guard kept a version that was there since `begin`, in the order in which guards are
    asked. One that would have kept it past `until` did not bind it then, and is left out."""
    at = begin
    for guard, ends in (
        ("min_age", None if waits.min_age is None else begin + waits.min_age),
        ("after", waits.upstream),
    ):
        if ends is not None and at < ends <= until:
            yield guard, ends - at
            at = ends
    if waits.windows:
        now = state(waits.windows, at)
        if not now.open and now.is_exact and now.changes_at is not None and now.changes_at <= until:
            yield "windows", now.changes_at - at


def legs_in_short(journeys: Iterable[Journey]) -> tuple[tuple[str, Spread], ...]:
    """Each leg over all journeys, the slowest median first."""
    took: dict[str, list[timedelta]] = {}
    for one in journeys:
        for leg in one.legs:
            took.setdefault(leg.name, []).append(leg.took)
    found = [(name, spread(durations)) for name, durations in took.items()]
    return tuple(sorted(found, key=lambda item: (-(item[1].median or timedelta(0)), item[0])))
