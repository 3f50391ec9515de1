"""The first look: what a branch holds, told before any registry has answered."""

from __future__ import annotations

from automator.core.facts import Facts
from automator.core.policy import InvalidWorkload
from automator.core.report import Outcome
from automator.core.standing import shown_current
from automator.cycle.index import Snapshot
from automator.reasons import Status, reason


def first_outcomes(snapshot: Snapshot) -> tuple[Outcome, ...]:
    """Every workload, by name, at its current version: waiting for the first list of its tags, or held by
    what is wrong with its policy or its places."""
    return tuple(_first_outcome(snapshot, name) for name in sorted(snapshot.workloads))


def _first_outcome(snapshot: Snapshot, name: str) -> Outcome:
    entry, sites = snapshot.workloads[name], snapshot.claims.sites.get(name, ())
    labels = tuple(site.label for site in sites)
    image = "" if entry.repository is None else str(entry.repository)
    if isinstance(entry, InvalidWorkload):
        return Outcome(name, Status.HELD, entry.reason, image, sites=labels)
    wrong = snapshot.claims.problems.get(name)
    return Outcome(
        name,
        Status.WAITING if wrong is None else Status.HELD,
        reason("waiting/first-look", image=image) if wrong is None else wrong,
        image,
        current=shown_current(entry, sites, Facts()),
        owner=entry.owner,
        environment=entry.environment,
        sites=labels,
    )
