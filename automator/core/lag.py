"""Lag: how far a workload is behind the versions that its filters and range let through.

What guards hold back counts, since it is what one waits for; what people turned away does not, as far as
history was read: nobody waits for that. It is counted from the version that is shown as the current one, the
highest of the sites.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from automator.core.contest import contested, stands
from automator.core.decide import Ground, Judged, Ranked, newer, people
from automator.core.facts import Facts, Sighting, site_key
from automator.core.history import SiteHistory
from automator.core.policy import Workload
from automator.core.record import FIRST_COMMIT
from automator.core.reference import value_text
from automator.core.refusal import accepted_digests
from automator.core.site import Site
from automator.core.standing import built_rank, current_of, shown_current


class Lag(NamedTuple):
    """How far a workload is behind. All empty where it is not, or where that cannot be known."""

    candidate: str | None = None
    """The newest version that it could be at."""
    behind: int = 0
    """Newer versions; 0 with a candidate where the current version has no place in the order."""
    since: datetime | None = None
    """When the oldest of them appeared, as far as that is known."""
    at_least: bool = False
    """Whether `since` is but when somebody looked first at one of them: it may have been there for longer."""


NO_LAG = Lag()


class Appearance(NamedTuple):
    """When the oldest of some versions appeared."""

    at: datetime | None = None
    at_least: bool = False
    """Whether one of them may have been there for longer."""


NOT_KNOWN = Appearance()


class Ahead(NamedTuple):
    """The tags that are newer than a workload's version, best first."""

    tags: tuple[Ranked, ...] = ()
    is_counted: bool = True
    """False where the current version has no place in the order (`latest`): then nobody can say how many of
    them are newer than it."""

    def beyond(self, rank: Any) -> Ahead:
        """Those that are newer than a version at `rank`, too."""
        return Ahead(tuple(found for found in self.tags if found.rank > rank))

    def lag(self, since: Appearance = NOT_KNOWN) -> Lag:
        """They as a lag; tags that spell the same version count once."""
        if not self.tags:
            return NO_LAG
        if not self.is_counted:
            return Lag(self.tags[0].tag)
        return Lag(self.tags[0].tag, len({found.rank for found in self.tags}), *since)


def ahead_of(workload: Workload, sites: tuple[Site, ...], judged: Judged, facts: Facts) -> Ahead:
    """What is newer than the workload's version, by what is known already: nothing is asked for.

    Under `order: newest` a tag counts whose build time is known.
    """
    if not sites or not judged.accepted:
        return Ahead()
    ordered = judged.accepted
    if workload.rule.order == "newest":
        dated = ((built_rank(facts.built.get(found.tag)), found) for found in judged.accepted)
        by_time = [Ranked(rank, found.tag, found.key) for rank, found in dated if rank is not None]
        ordered = tuple(sorted(by_time, reverse=True))
    current = current_of(workload, sites, facts)
    shown = shown_current(workload, sites, facts) or ""
    ground = Ground(workload, sites, judged.listed, current, shown, ordered)
    found = newer(ground, facts)
    if current.rank is not None:  # `downgrade` offers older ones too
        found = tuple(each for each in found if each.rank > current.rank)
    refused = people(ground, facts) if found else None
    if callable(refused):
        found = tuple(each for each in found if refused(each) is None)
    return Ahead(found, current.rank is not None)


def followed_lag(workload: Workload, sites: tuple[Site, ...], sighting: Sighting | None, facts: Facts) -> Lag:
    """Of a workload that follows a tag: one version, where another digest was seen under the tag last than
    one of its sites has, since that was first seen there, at least."""
    tag = workload.rule.followed
    if tag is None or sighting is None:
        return NO_LAG
    at_tag = [site for site in sites if (site.tag or ("latest" if site.digest is None else None)) == tag]
    behind = [site for site in at_tag if site.digest != sighting.digest]
    if not behind or _is_turned_away(workload, behind, tag, sighting.digest, facts):
        return NO_LAG
    return Lag(value_text(tag, sighting.digest), 1, sighting.since, at_least=True)


def _is_turned_away(workload: Workload, sites: list[Site], tag: str, digest: str, facts: Facts) -> bool:
    """Whether people are known to be against a digest of a followed tag."""
    histories = [facts.histories.get(site_key(site)) for site in sites]
    past = [history for history in histories if isinstance(history, SiteHistory)]
    if any(stands(contested(history), workload, tag, digest) is not None for history in past):
        return True
    if digest in accepted_digests(workload, tuple(sites), facts):
        return False
    if digest in facts.withdrawn or any(closed.digest == digest for closed in facts.declined):
        return True
    return any(value.digest == digest for history in past for value in history.held[1:])


class Appeared(NamedTuple):
    """When tags of a repository appeared."""

    baseline: datetime | None
    """When the repository was first listed; None where it never was."""
    arrived: Mapping[str, datetime]
    """When those came that were not there then."""


def appeared_at(tags: Iterable[str], appeared: Appeared, built: Mapping[str, datetime]) -> Appearance:
    """When the oldest of these tags appeared: when it came, as far as we saw it come; for one that was there
    before us when it was built, if that is known and can be; else when we first looked, or before."""
    times: list[datetime] = []
    at_least = False
    for tag in tags:
        at = appeared.arrived.get(tag) or _possible(built.get(tag), appeared.baseline)
        if at is None:
            at, at_least = appeared.baseline, True
        if at is not None:
            times.append(at)
    return Appearance(min(times), at_least) if times else NOT_KNOWN


def _possible(built: datetime | None, baseline: datetime | None) -> datetime | None:
    # A reproducible build calls itself of 1970, and a wrong clock of tomorrow.
    if built is None or built < FIRST_COMMIT or (baseline is not None and built > baseline):
        return None
    return built
