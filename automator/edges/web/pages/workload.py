"""A workload's page: where it is and why, what it went through, and what became of each of its tags."""

from __future__ import annotations

from automator.core.chainpicture import picture, weight
from automator.core.delivery.change import Wanted
from automator.core.policy import InvalidWorkload, Workload
from automator.edges.web.pages.asked import Asked, Page, Shown, part
from automator.edges.web.pages.deliveries import AGAIN
from automator.edges.web.pages.standing import pictured
from automator.edges.web.pages.words import STUCK, rules, version_next, version_words
from automator.edges.web.parameters import Number
from automator.edges.web.problem import Problem
from automator.reasons import reason

TAGS = 50
"""Tags on one page."""
CHANGES = 30
"""Changes that are told here; the rest is at /releases."""
SITES = 200
RUNTIMES = 20
"""At which it is told how it runs."""


def _show(asked: Asked) -> Shown:
    repo, name = asked.place["repo"], asked.place["name"]
    view = asked.desk.workload(repo, name)
    if view is None:
        raise Problem(404, reason("web/no-workload", name=name, repo=repo))
    outcome, entry = view.outcome, view.entry
    home = next((one for one in asked.desk.repos() if one.name == repo), None)
    past = asked.desk.past(Wanted(workloads=frozenset((name,))), repos=frozenset((repo,)), limit=CHANGES + 1)
    tags = asked.desk.verdicts(repo, name)
    verdicts = None if tags is None else tags.told
    places = part(asked, len(verdicts or ()), TAGS)
    chain = asked.desk.chain(repo, name)
    drawn = None if chain is None or weight(chain, MOST_DRAWN) is None else picture(chain)
    version, otherwise = version_words(outcome, view.sites)
    since = next((one.landed for one in past.changes if one.moves and one.proven), None)
    return Shown(
        "workload.html",
        {
            "view": view,
            "outcome": outcome,
            "version": version,
            "otherwise": otherwise,
            "next": version_next(outcome),
            "lag": outcome.lag(asked.now),
            "is_stuck": outcome.status in STUCK,
            "since": since,
            "running": asked.desk.drifts_of(repo, name)[:RUNTIMES],
            "home": home,
            "base": None if home is None else home.page,
            "commits": {repo: None if home is None else home.commits},
            "description": entry.description if isinstance(entry, Workload) else None,
            "is_invalid": isinstance(entry, InvalidWorkload),
            "policy": entry.place if isinstance(entry, Workload | InvalidWorkload) else None,
            "rules": rules(entry),
            "sites": view.sites[:SITES],
            "more_sites": len(view.sites) - SITES,
            "past": past,
            "changes": past.changes[:CHANGES],
            "has_more": len(past.changes) > CHANGES,
            "verdicts": None if verdicts is None else verdicts[max(places.first - 1, 0) : places.last],
            "decided_at": None if tags is None else tags.decided_at,
            "is_outline": tags is not None and tags.is_outline,
            "part": places,
            "chain": chain,
            "picture": drawn,
            "known": pictured(asked.desk, (chain,)) if chain is not None else frozenset(),
        },
        AGAIN if past.state == "reading" else None,
    )


MOST_DRAWN = 80
"""How much of a chain is drawn here; /chains draws larger ones."""

PAGE = Page(
    "/workloads/{repo}/{name}",
    _show,
    (Number("offset", "How many tags to leave out at the beginning.", 0, 0, 10_000_000),),
)
