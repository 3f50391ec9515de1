"""Lags: how far each workload is behind, kept from one decision to the next.

Measured where a workload is decided anyway, from what that decision knew: nothing is asked for. When the
versions appeared is read from memory when there are other newer versions than the last time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from automator.core.decide import Decision, Judged, Need, Release
from automator.core.facts import Facts
from automator.core.lag import (
    NO_LAG,
    NOT_KNOWN,
    Ahead,
    Appearance,
    Lag,
    ahead_of,
    appeared_at,
    followed_lag,
)
from automator.core.policy import Workload
from automator.core.site import Site
from automator.core.together import Member
from automator.cycle.observe import Memory


class _Kept(NamedTuple):
    """A workload's lag, and what it was measured of."""

    workload: Workload
    sites: tuple[Site, ...]
    key: int
    """Of the newer tags, and of where they are listed: those whose time was read."""
    lag: Lag
    beyond: Lag
    """The lag that is left once the release is made that was decided."""


@dataclass
class Lags:
    """The lags of one config repo's workloads."""

    memory: Memory
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def of(self, name: str, *, released: bool = False) -> Lag:
        """The last one that was measured; with `released` what is left of it after the release."""
        kept = self._kept.get(name)
        if kept is None:
            return NO_LAG
        return kept.beyond if released else kept.lag

    def forget(self, name: str) -> None:
        """Nothing is known of a workload any more."""
        self._kept.pop(name, None)

    def measure(self, member: Member, judged: Judged | None, answer: Decision | Need | None = None) -> None:
        """Measure a workload's lag, and what is left of it if `answer` is a release.

        Where its tags could not be listed, the last lag stands as long as policy and sites do.
        """
        workload, sites, facts = member.workload, member.sites, member.facts
        kept = self._kept.get(workload.name)
        if workload.rule.followed is not None:
            lag = self._followed(workload, sites, facts)
            self._kept[workload.name] = _Kept(workload, sites, 0, lag, NO_LAG)
            return
        if judged is None:
            if kept is not None and (kept.workload, kept.sites) != (workload, sites):
                self.forget(workload.name)
            return
        ahead = ahead_of(workload, sites, judged, facts)
        tags = tuple(found.tag for found in ahead.tags)
        key = hash((workload.listed, tags))
        if kept is not None and kept.key == key and facts.images.keys().isdisjoint(tags):
            since = Appearance(kept.lag.since, kept.lag.at_least)
        else:
            since = self._since(workload, tags) if ahead.is_counted else NOT_KNOWN
        beyond = NO_LAG
        if isinstance(answer, Release):
            beyond = self._beyond(workload, ahead, answer)
        self._kept[workload.name] = _Kept(workload, sites, key, ahead.lag(since), beyond)

    def _followed(self, workload: Workload, sites: tuple[Site, ...], facts: Facts) -> Lag:
        tag = workload.rule.followed or ""
        return followed_lag(workload, sites, self.memory.sighted(workload.repository, tag), facts)

    def _beyond(self, workload: Workload, ahead: Ahead, release: Release) -> Lag:
        rank = next((found.rank for found in ahead.tags if found.tag == release.tag), None)
        if rank is None:  # it goes back
            return NO_LAG
        rest = ahead.beyond(rank)
        return rest.lag(self._since(workload, tuple(found.tag for found in rest.tags)))

    def _since(self, workload: Workload, tags: tuple[str, ...]) -> Appearance:
        if not tags:
            return NOT_KNOWN
        appeared = self.memory.appeared(workload.listed, tags)
        early = tuple(tag for tag in tags if tag not in appeared.arrived)
        built = self.memory.built(workload.repository, early) if early else {}
        return appeared_at(tags, appeared, built)
