"""What runs: each runtime, and what runs there beside what Git says, the worst first."""

from __future__ import annotations

from collections import Counter

from automator.core.drift import DriftState
from automator.edges.web.drifting import FILTERS, chosen
from automator.edges.web.pages.asked import Asked, Page, Shown, part
from automator.edges.web.parameters import Number

SIZE, MOST_RUNTIMES = 100, 50
"""Workloads on one page, and runtimes above them."""
STATES = (DriftState.DIVERGED, DriftState.PENDING, DriftState.UNKNOWN, DriftState.SAME)


def _drift(asked: Asked) -> Shown:
    query, runtimes = dict(asked.query), asked.desk.runtimes()
    every = asked.desk.drifts()
    beside = chosen(every, {**query, "state": ()})
    found = chosen(beside, query)
    counts = Counter(view.drift.state for view in beside)
    places = part(asked, len(found), SIZE)
    return Shown(
        "drift.html",
        {
            "runtimes": sorted(runtimes, key=lambda one: (one.trouble is None, one.name))[:MOST_RUNTIMES],
            "more_runtimes": len(runtimes) - MOST_RUNTIMES,
            "rows": found[max(places.first - 1, 0) : places.last],
            "part": places,
            "counts": [(state.value, counts[state]) for state in STATES],
            "whole": len(beside),
            "count": len(every),
        },
    )


PAGE = Page(
    "/drift",
    _drift,
    (*FILTERS, Number("offset", "How many to leave out at the beginning.", 0, 0, 10_000_000)),
)
