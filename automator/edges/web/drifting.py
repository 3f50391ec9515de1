"""What the API answers of drift: the runtimes, and what runs there beside what Git says."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypedDict

from automator.core.drift import DriftState
from automator.core.driftview import DriftView
from automator.core.showndrift import DriftShown, RuntimeShown, shown_drift, shown_runtime
from automator.edges.web.api import Operation, Question
from automator.edges.web.look import no_repo
from automator.edges.web.parameters import Number, Text
from automator.edges.web.problem import Problem
from automator.reasons import reason


class DriftAnswer(TypedDict):
    """What the last look at each runtime showed, the worst first: `total` is how long the whole list is."""

    runtimes: list[RuntimeShown]
    total: int
    offset: int
    limit: int
    items: list[DriftShown]


def _drift(asked: Question) -> DriftAnswer:
    query, desk = asked.query, asked.desk
    repos, runtimes = tuple(view.name for view in desk.repos()), desk.runtimes()
    for repo in query["repo"]:
        if repo not in repos:
            raise no_repo(repo, repos)
    names = [view.name for view in runtimes]
    for name in query["runtime"]:
        if name not in names:
            known = ", ".join(names[:20]) or "none"
            raise Problem(404, reason("web/no-runtime", name=name, known=known))
    found = chosen(desk.drifts(), query)
    offset, limit = query["offset"], query["limit"]
    return {
        "runtimes": [shown_runtime(view) for view in runtimes if _in(view.name, query["runtime"])],
        "total": len(found),
        "offset": offset,
        "limit": limit,
        "items": [*map(shown_drift, found[offset : offset + limit])],
    }


def chosen(views: Iterable[DriftView], query: Mapping[str, Any]) -> list[DriftView]:
    """Those that all filters let through."""
    return [
        view
        for view in views
        if _in(view.repo, query["repo"])
        and _in(view.drift.workload, query["workload"])
        and _in(view.drift.runtime, query["runtime"])
        and _in(view.drift.state.value, query["state"])
        and (not query["owner"] or view.owner in query["owner"])
        and (not query["environment"] or view.environment in query["environment"])
    ]


def _in(value: str, wanted: Collection[str]) -> bool:
    return not wanted or value in wanted


FILTERS = (
    Text("repo", "Only of this config repo.", many=True),
    Text("workload", "Only this workload.", many=True),
    Text("runtime", "Only at this runtime.", many=True),
    Text("state", "Only in this state.", many=True, among=tuple(state.value for state in DriftState)),
    Text("owner", "Only workloads of this owner.", many=True),
    Text("environment", "Only workloads of this environment.", many=True),
)

DRIFT = Operation(
    "drift",
    "/drift",
    "What runs beside what Git says, by the last look at each runtime.",
    DriftAnswer,
    _drift,
    (
        *FILTERS,
        Number("limit", "Most of them.", 100, 1, 500),
        Number("offset", "How many to leave out at the beginning.", 0, 0, 10_000_000),
    ),
    problems=(404,),
)
