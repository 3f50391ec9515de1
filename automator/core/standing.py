"""Standing: where a workload is now, in the terms of its own order."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from automator.core.facts import Facts, Unavailable
from automator.core.history import Rank
from automator.core.policy import Workload
from automator.core.reference import value_text
from automator.core.site import Site
from automator.reasons import Reason, reason


class Current(NamedTuple):
    """The workload's present version."""

    tag: str | None
    rank: Any
    """None where the policy's order cannot tell."""


def current_of(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> Current:
    """The highest of the sites' versions, and its rank; rank None where none can be ordered."""
    ranked = [(rank, site.tag) for site in sites if (rank := site_rank(workload, site, facts)) is not None]
    if not ranked:
        return Current(sites[0].tag if sites else None, None)
    rank, tag = max(ranked, key=lambda item: (item[0], item[1] or ""))
    return Current(tag, rank)


def site_rank(workload: Workload, site: Site, facts: Facts) -> Any:
    """Rank of what a site holds; None where the policy's order cannot tell."""
    if site.tag is None:
        return None
    if workload.rule.order == "newest":
        return built_rank(facts.built.get(site.tag))
    return workload.rule.rank(site.tag)


def built_rank(built: datetime | Unavailable | None) -> Any:
    """A build time as a rank under `order: newest`; None where it is not known."""
    return built if isinstance(built, datetime) else None


def ranking(workload: Workload, facts: Facts) -> Rank:
    """Tag -> rank in the policy's present order, for history's marks."""
    if workload.rule.order == "newest":
        return lambda tag: built_rank(facts.built.get(tag))
    return workload.rule.rank


def shown_current(workload: Workload, sites: tuple[Site, ...], facts: Facts) -> str | None:
    """The current version as trailers write it: of the highest site, digest included."""
    if not sites:
        return None
    current = current_of(workload, sites, facts).tag
    site = next((site for site in sites if site.tag == current), sites[0])
    return value_text(site.tag, site.digest)


def differing(workload: Workload, first: Site, other: Site) -> Reason:
    """Two sites of one workload at different versions, with the sentence that mends it."""
    return reason(
        "site/differ",
        first=f"{first.file}:{first.line}",
        first_version=first.tag,
        other=f"{other.file}:{other.line}",
        other_version=other.tag,
        place=workload.place,
    )
