"""What happened: the releases as a timeline, and the figures of DORA drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from markupsafe import Markup

from automator.core.delivery.change import Change, Wanted
from automator.core.delivery.figures import Level
from automator.core.delivery.page import plotted
from automator.core.delivery.summary import GROUPINGS
from automator.core.delivery.words import FIGURES, level
from automator.edges.web.desk import Desk
from automator.edges.web.pages.asked import Asked, Page, Part, Shown
from automator.edges.web.pages.workloads import MOST_CHOICES
from automator.edges.web.parameters import Moment, Number, Text, wanted_by, wrong

SIZE = 100
"""Changes on one page."""
FARTHEST = 20_000
"""How far back pages can be turned."""
AGAIN = 3
"""Seconds after which a page asks again, while history is being read."""
MOST_DOTS, MOST_GROUPS, SLOWEST = 300, 200, 10
KINDS = (
    *("release", "promote", "rollback", "revert", "manual"),
    *("hold", "resume", "reject", "accept", "freeze", "thaw"),
)

_REPO = Text("repo", "Only of this config repo.", many=True)
_COMMON = (
    _REPO,
    Text("workload", "Only this workload.", many=True),
    Text("owner", "Only workloads of this owner.", many=True),
    Text("environment", "Only workloads of this environment.", many=True),
    Moment("since", "Only from then on: a date, a time, or how long ago."),
    Moment("until", "Only before then; a date is its end.", timedelta(days=1)),
)


def days(changes: Iterable[Change]) -> list[tuple[datetime, list[Change]]]:
    """Changes by the day on which they came to the branch, in UTC."""
    return [
        (members[0].landed.astimezone(UTC), members)
        for _, found in groupby(changes, key=lambda change: change.landed.astimezone(UTC).date())
        if (members := list(found))
    ]


# -- the timeline ----------------------------------------------------------------------------------------


def _releases(asked: Asked) -> Shown:
    query = asked.query
    wanted, offset = _wanted(asked), min(query["offset"], FARTHEST)
    past = asked.desk.past(wanted, repos=frozenset(query["repo"]), limit=offset + SIZE + 1)
    shown = past.changes[offset : offset + SIZE]
    older = asked.to(offset=offset + SIZE) if len(past.changes) > offset + SIZE else None
    newer = asked.to(offset=max(offset - SIZE, 0) or None) if offset else None
    return Shown(
        "releases.html",
        {
            "past": past,
            "days": days(shown),
            "count": len(shown),
            "part": Part(offset + 1, offset + len(shown), None, newer, older),
            "commits": {repo.name: repo.commits for repo in asked.desk.repos()},
            "bases": {repo.name: repo.page for repo in asked.desk.repos()},
            "kinds": KINDS,
            "choices": _choices(asked),
            "is_filtered": bool(asked.told),
        },
        AGAIN if past.state == "reading" else None,
    )


def _wanted(asked: Asked) -> Wanted:
    """Raises Problem for what no period is."""
    known = {repo.name for repo in asked.desk.repos()}
    strange = next((name for name in asked.query["repo"] if name not in known), None)
    if strange is not None:
        raise wrong("repo", f"one of {', '.join(sorted(known))}", strange)
    return wanted_by(asked.query, asked.now)


def _choices(asked: Asked) -> list[tuple[str, str, list[str]]]:
    """What forms offer: label, parameter, values."""
    outcomes = [view.outcome for view in asked.desk.workloads()]
    return [
        ("Environment", "environment", _some({o.environment for o in outcomes}, asked.query["environment"])),
        ("Owner", "owner", _some({o.owner for o in outcomes}, asked.query["owner"])),
        ("Config repo", "repo", _some({repo.name for repo in asked.desk.repos()}, asked.query["repo"])),
    ]


def _some(found: Iterable[str | None], chosen: Sequence[str]) -> list[str]:
    values = sorted(value for value in found if value)[:MOST_CHOICES]
    return [*values, *(one for one in dict.fromkeys(chosen) if one not in values)]


RELEASES = Page(
    "/releases",
    _releases,
    (
        *_COMMON,
        Text("author", "Only by people whose name or mail has this.", many=True),
        Text("kind", "Only changes of this kind.", many=True, among=KINDS),
        Number("offset", "How many to leave out at the beginning.", 0, 0, FARTHEST),
    ),
)

# -- the figures -----------------------------------------------------------------------------------------

ANCHORS = ("frequency", "lead-time", "failure-rate", "restore")
"""Where the page itself says how each of the four is counted."""
PERIODS = (("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "365 days"))


def _report(asked: Asked) -> Shown:
    query = asked.query
    by = query["by"] or "workload"
    summary = _summary(asked.desk, _wanted(asked), frozenset(query["repo"]), by)
    figures = plots = past = None
    if summary is None:
        past = asked.desk.past(Wanted(), repos=frozenset(query["repo"]), limit=1)
    if summary is not None:
        figures = [
            _figure(anchor, name, value(summary.overall), rank(summary.overall), basis(summary.overall))
            for anchor, (name, value, rank, basis) in zip(ANCHORS, FIGURES, strict=True)
        ]
        # `plotted` escapes every text itself; it has no style, script or address.
        plots = Markup(plotted(summary, slowest=SLOWEST, most=MOST_DOTS, groups=MOST_GROUPS))  # noqa: S704
    told = dict(asked.told)
    return Shown(
        "report.html",
        {
            "summary": summary,
            "past": past,
            "figures": figures,
            "plots": plots,
            "by": by,
            "groupings": GROUPINGS,
            "since": told.get("since", "90d"),
            "until": told.get("until", ""),
            "periods": PERIODS,
            "choices": _choices(asked),
        },
        AGAIN if past is not None and past.state == "reading" else None,
    )


def _figure(anchor: str, name: str, value: str, rank: Level | None, basis: str) -> tuple[str, ...]:
    return anchor, name, value, level(rank, value), rank or "none", basis


def _summary(desk: Desk, wanted: Wanted, repos: frozenset[str], by: str) -> Any:
    return desk.summary(wanted, repos=repos, by=by)


REPORT = Page(
    "/report", _report, (*_COMMON, Text("by", "What the figures are told apart by.", among=GROUPINGS))
)
