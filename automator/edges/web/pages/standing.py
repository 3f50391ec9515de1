"""How things stand: promotion chains, registries, policies, config repos, and what reason codes mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from automator.core.chainpicture import picture, weight
from automator.core.view import Chain, PolicyView, RepoView
from automator.edges.web.desk import Desk
from automator.edges.web.pages.asked import Asked, Page, Shown, allot, part
from automator.edges.web.parameters import Number, Text
from automator.edges.web.problem import Problem
from automator.reasons import CODES, reason

_OFFSET = Number("offset", "How many to leave out at the beginning.", 0, 0, 10_000_000)
_REPO = Text("repo", "Only of this config repo.", many=True)

# -- promotion chains ------------------------------------------------------------------------------------

CHAINS_SIZE, WEIGHT = 20, 200
"""Chains on one page, and how much of them all is drawn: boxes, lines, and places where lines pass."""
ROWS = 120
"""Rows of all tables of one page; what is too large for a picture is told as a table alone."""


def _chains(asked: Asked) -> Shown:
    every = sorted(asked.desk.chains(), key=_rest)
    wanted, text = frozenset(asked.query["repo"]), (asked.query["text"] or "").lower()
    found = [chain for chain in every if _has(chain, wanted, text)]
    places = part(asked, len(found), CHAINS_SIZE)
    here, left = found[max(places.first - 1, 0) : places.last], WEIGHT
    shown = []
    for chain, rows in zip(here, allot((len(one.edges) for one in here), ROWS, ROWS), strict=True):
        heavy = weight(chain, left)
        left -= 0 if heavy is None else heavy
        shown.append((chain, None if heavy is None else picture(chain), chain.edges[:rows], _name(chain)))
    return Shown(
        "chains.html",
        {
            "chains": shown,
            "part": places,
            "count": len(every),
            "known": pictured(asked.desk, (chain for chain, *_ in shown)),
            "is_filtered": bool(wanted or text),
            "repos": sorted(repo.name for repo in asked.desk.repos()),
            "unread": unread(asked.desk.repos()),
        },
    )


def unread(repos: Iterable[RepoView]) -> list[str]:
    """Config repos of which nobody can say that something is not there: they could not be read."""
    return [repo.name for repo in repos if repo.error is not None or repo.finished_at is None]


def _rest(chain: Chain) -> tuple[bool, int, str]:
    """Where something is on its way comes first, then what is longest."""
    return (not any(edge.candidate for edge in chain.edges), -len(chain.nodes), _name(chain))


def _name(chain: Chain) -> str:
    first, last = chain.nodes[0], chain.nodes[-1]
    if len(chain.nodes) == 2 or first.name == last.name:
        return f"{first.repo}/{first.name} → {last.repo}/{last.name}"
    return f"{first.repo}/{first.name} and {len(chain.nodes) - 1} after it"


def _has(chain: Chain, repos: Collection[str], text: str) -> bool:
    return any(
        (not repos or node.repo in repos) and (not text or text in f"{node.repo}/{node.name}".lower())
        for node in chain.nodes
    )


def pictured(desk: Desk, chains: Iterable[Chain]) -> frozenset[tuple[str, str]]:
    """Those nodes of chains that have a page: groups and what is not known have none."""
    nodes = {(node.repo, node.name) for chain in chains for node in chain.nodes}
    return frozenset(view.key for view in desk.workloads() if view.key in nodes)


CHAINS = Page("/chains", _chains, (_REPO, Text("text", "Only where a name has this."), _OFFSET))

# -- registries ------------------------------------------------------------------------------------------

REGISTRIES_SIZE = 200


def _registries(asked: Asked) -> Shown:
    found = sorted(asked.desk.registries(), key=lambda one: (one.is_up and not one.failing, one.host))
    places = part(asked, len(found), REGISTRIES_SIZE)
    rows = found[max(places.first - 1, 0) : places.last]
    return Shown("registries.html", {"rows": rows, "part": places})


REGISTRIES = Page("/registries", _registries, (_OFFSET,))

# -- policies --------------------------------------------------------------------------------------------

POLICIES_SIZE, MOST_TOLD, MOST_NAMES = 50, 20, 40
"""Files on one page; problems and names that are told of one."""
ALL_TOLD, ALL_NAMES = 100, 400
"""Problems and names that are told of all files of one page together."""


def _policies(asked: Asked) -> Shown:
    query = asked.query
    every = asked.desk.policies()
    found = [
        view
        for view in sorted(every, key=_worst)
        if (not query["repo"] or view.repo in query["repo"])
        and (query["only"] is None or (view.problems if query["only"] == "problems" else view.warnings))
    ]
    places = part(asked, len(found), POLICIES_SIZE)
    rows = found[max(places.first - 1, 0) : places.last]
    problems = allot((len(one.problems) for one in rows), MOST_TOLD, ALL_TOLD)
    warnings = allot((len(one.warnings) for one in rows), MOST_TOLD, ALL_TOLD - sum(problems))
    names = allot((len(one.workloads) for one in rows), MOST_NAMES, ALL_NAMES)
    return Shown(
        "policies.html",
        {
            "rows": list(zip(rows, problems, warnings, names, strict=True)),
            "part": places,
            "unread": unread(asked.desk.repos()),
            "count": len(every),
            "problems": sum(len(view.problems) for view in every),
            "warnings": sum(len(view.warnings) for view in every),
            "bases": _bases(asked.desk.repos()),
        },
    )


def _worst(view: PolicyView) -> tuple[bool, bool, str, str]:
    return (not view.problems, not view.warnings, view.repo, view.path)


def _bases(repos: Iterable[RepoView]) -> dict[str, str | None]:
    return {repo.name: repo.page for repo in repos}


POLICIES = Page(
    "/policies",
    _policies,
    (_REPO, Text("only", "Only files with problems, or warnings.", among=("problems", "warnings")), _OFFSET),
)

# -- config repos ----------------------------------------------------------------------------------------

REPOS_SIZE = 50


def _repos(asked: Asked) -> Shown:
    found = sorted(asked.desk.repos(), key=lambda one: one.error is None and not one.is_stuck)
    places = part(asked, len(found), REPOS_SIZE)
    rows = found[max(places.first - 1, 0) : places.last]
    warnings = allot((len(one.warnings) for one in rows), MOST_TOLD, ALL_TOLD)
    return Shown(
        "repos.html",
        {
            "rows": [(repo, next_cycle(repo), told) for repo, told in zip(rows, warnings, strict=True)],
            "part": places,
        },
    )


def next_cycle(repo: RepoView) -> datetime | None:
    """When the next cycle is due; None where none has ended yet."""
    if repo.started_at is None:
        return None
    at = repo.started_at + repo.interval
    return at if repo.changes_at is None else min(at, repo.changes_at)


REPOS = Page("/repos", _repos, (_OFFSET,))

# -- reason codes ----------------------------------------------------------------------------------------


def _code(asked: Asked) -> Shown:
    code = f"{asked.place['area']}/{asked.place['code']}"
    row = CODES.get(code)
    if row is None:
        raise Problem(404, reason("web/no-code", name=code))
    same = [view for view in asked.desk.workloads() if view.outcome.reason.code == code]
    return Shown("code.html", {"row": row, "here_now": same[:MOST_NAMES], "count": len(same)})


CODE = Page("/codes/{area}/{code}", _code)


def _codes(asked: Asked) -> Shown:
    words = (asked.query["text"] or "").lower().split()
    areas: dict[str, list[tuple[str, str]]] = {}
    for code, row in CODES.items():
        told = f"{code} {row.sentence} {row.meaning}".lower()
        if all(word in told for word in words):
            areas.setdefault(code.partition("/")[0], []).append((code, row.sentence))
    return Shown("codes.html", {"areas": sorted(areas.items()), "count": sum(map(len, areas.values()))})


CODES_TEXT = Text("text", "Only where code, sentence or meaning have these words.")
CODES_PAGE = Page("/codes", _codes, (CODES_TEXT,))
