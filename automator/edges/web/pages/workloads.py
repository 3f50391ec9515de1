"""The first page: all workloads, what needs a person first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from automator.core.view import Filter, RepoView, WorkloadView
from automator.edges.web.pages.asked import Asked, Page, Shown, part
from automator.edges.web.pages.words import STUCK, URGENCY, version_next, version_words
from automator.edges.web.parameters import Number, Text
from automator.reasons import Status

SIZE = 100
"""Workloads on one page."""
MOST_CHOICES = 200
"""Owners, environments or config repos that a form offers."""
MOST_TROUBLES = 20
"""Config repos whose troubles are told above the list."""
_LATE = datetime.max.replace(tzinfo=UTC)


def _urgency(view: WorkloadView) -> Any:
    return (URGENCY.index(view.outcome.status), -view.outcome.behind, view.key)


SORTS: dict[str, Callable[[WorkloadView], Any]] = {
    "urgency": _urgency,
    "name": lambda view: (view.name, view.repo),
    "behind": lambda view: (
        -view.outcome.behind,
        view.outcome.candidate is None,
        view.outcome.behind_since or _LATE,
        view.key,
    ),
    "since": lambda view: (view.outcome.behind_since or _LATE, view.key),
    "environment": lambda view: (view.outcome.environment or "\uffff", view.key),
    "owner": lambda view: (view.outcome.owner or "\uffff", view.key),
}

PARAMETERS = (
    Text("repo", "Only of this config repo.", many=True),
    Text("owner", "Only workloads of this owner.", many=True),
    Text("environment", "Only workloads of this environment.", many=True),
    Text("status", "Only with this outcome.", many=True, among=tuple(Status)),
    Text("text", "Only where name, image, version, owner or sentence have these words."),
    Text("sort", "The order of the list.", among=tuple(SORTS)),
    Number("offset", "How many to leave out at the beginning.", 0, 0, 10_000_000),
)


def _show(asked: Asked) -> Shown:
    query, every, repos = asked.query, asked.desk.workloads(), asked.desk.repos()
    # What the counts by status are of: all that is asked for but the status itself.
    beside = Filter(
        frozenset(query["repo"]),
        frozenset(query["owner"]),
        frozenset(query["environment"]),
        frozenset(),
        query["text"] or "",
    )
    found = [view for view in every if beside.takes(view)]
    counts = Counter(view.outcome.status for view in found)
    if query["status"]:
        found = [view for view in found if view.outcome.status in query["status"]]
    sort = query["sort"] or "urgency"
    found.sort(key=SORTS[sort])
    places = part(asked, len(found), SIZE)
    return Shown(
        "workloads.html",
        {
            "rows": [row(view, asked.now) for view in found[max(places.first - 1, 0) : places.last]],
            "part": places,
            "counts": [(status, counts[status]) for status in URGENCY],
            "whole": sum(counts.values()),
            "count": len(every),
            "sort": sort,
            "is_filtered": any(query[name] for name in ("repo", "owner", "environment", "status", "text")),
            "choices": _choices(every, repos, query),
            "troubles": _troubles(repos)[:MOST_TROUBLES],
            "repos": len(repos),
            "unread": [repo.name for repo in repos if repo.error is not None],
            "first": not every and any(repo.finished_at is None for repo in repos),
        },
    )


def row(view: WorkloadView, now: datetime) -> dict[str, Any]:
    """What a list tells of a workload."""
    outcome = view.outcome
    version, otherwise = version_words(outcome)
    return {
        "view": view,
        "outcome": outcome,
        "version": version,
        "otherwise": otherwise,
        "next": version_next(outcome),
        "lag": outcome.lag(now),
        "is_stuck": outcome.status in STUCK,
        "is_odd": outcome.status not in (Status.CURRENT, Status.RELEASED),
    }


def _choices(
    every: Sequence[WorkloadView], repos: Sequence[RepoView], query: Any
) -> list[tuple[str, str, list[str]]]:
    """What the form offers: label, parameter, values."""
    return [
        ("Environment", "environment", _some((v.outcome.environment for v in every), query["environment"])),
        ("Owner", "owner", _some((v.outcome.owner for v in every), query["owner"])),
        ("Config repo", "repo", _some((r.name for r in repos), query["repo"])),
    ]


def _some(found: Iterable[str | None], chosen: Iterable[str]) -> list[str]:
    """The values there are, with what is chosen already."""
    values = sorted({value for value in found if value})[:MOST_CHOICES]
    return [*values, *(one for one in dict.fromkeys(chosen) if one not in values)]


def _troubles(repos: Sequence[RepoView]) -> list[RepoView]:
    return [repo for repo in repos if repo.error is not None or repo.is_stuck]


PAGE = Page("/", _show, PARAMETERS)
