"""Operations: everything that the API answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypedDict, TypeVar

from automator.core.delivery.change import Wanted
from automator.core.delivery.summary import GROUPINGS
from automator.core.duration import format_moment
from automator.core.reference import parse_repository
from automator.core.shown import (
    CodeShown,
    ExplanationShown,
    OutcomeShown,
    ReasonShown,
    shown_code,
    shown_explanation,
    shown_outcome,
    shown_reason,
)
from automator.core.shownpast import LoggedShown, SummaryShown, shown_logged, shown_summary
from automator.core.shownview import (
    ChainShown,
    DaemonShown,
    PastState,
    PolicyShown,
    RegistryShown,
    RepoShown,
    WorkloadShown,
    shown_chain,
    shown_daemon,
    shown_policy,
    shown_registry,
    shown_repo,
    shown_workload,
)
from automator.core.view import Filter, WorkloadView
from automator.edges.web.api import Operation, Question
from automator.edges.web.drifting import DRIFT
from automator.edges.web.look import no_repo
from automator.edges.web.parameters import Moment, Number, Text, wanted_by, wrong
from automator.edges.web.problem import Problem
from automator.errors import AutomatorError
from automator.reasons import CODES, Reason, Status, reason

T = TypeVar("T")
KINDS = (
    *("release", "promote", "rollback", "revert", "manual"),
    *("hold", "resume", "reject", "accept", "freeze", "thaw"),
)


# -- the shapes of answers -------------------------------------------------------------------------------


class Page(TypedDict):
    """A part of a list: `total` is how long the whole is."""

    total: int
    offset: int
    limit: int


class ReposAnswer(TypedDict):
    """The config repos, in the order of the config."""

    items: list[RepoShown]


class WorkloadsAnswer(Page):
    """Workloads, by config repo and name."""

    items: list[OutcomeShown]


class ExplanationAnswer(ExplanationShown):
    """Why a workload is where it is; `total` is how many tags there are, `decided_at` when the cycle began
    that they were judged in: while a cycle runs, the outcome may be newer. With `is_outline` they were judged
    by filters, order and build times alone, as guards and history are in use by the cycle that runs."""

    decided_at: datetime
    is_outline: bool
    total: int
    offset: int
    limit: int


class LogAnswer(TypedDict):
    """The release log, newest first; `state` is `ready` once all of it could be looked through."""

    state: PastState
    begins: datetime | None
    trouble: ReasonShown | None
    items: list[LoggedShown]


class RegistriesAnswer(TypedDict):
    """The registry hosts."""

    items: list[RegistryShown]


class PoliciesAnswer(TypedDict):
    """The policy files."""

    items: list[PolicyShown]


class ChainsAnswer(Page):
    """The promotion chains, by the names of their first workloads."""

    items: list[ChainShown]


class LookBody(TypedDict, total=False):
    """What to look at: all where nothing is named, a config repo, or a workload of one."""

    repo: str | None
    workload: str | None


class LookAnswer(TypedDict):
    """The config repos of which a cycle runs now, or right after the one that is running."""

    looking: list[str]


# -- parameters ------------------------------------------------------------------------------------------

_REPO = Text("repo", "Only of this config repo.", many=True)
_OWNER = Text("owner", "Only workloads of this owner.", many=True)
_ENVIRONMENT = Text("environment", "Only workloads of this environment.", many=True)
_OFFSET = Number("offset", "How many to leave out at the beginning.", 0, 0, 10_000_000)
_SINCE = Moment("since", "Only from then on: a date, a time, or how long ago.")
_UNTIL = Moment("until", "Only before then; a date is its end.", timedelta(days=1))
_WORKLOAD = Text("workload", "Only this workload.", many=True)
_AT = (("repo", "Name of the config repo."), ("name", "Name of the workload."))


def _limit(default: int, most: int) -> Number:
    return Number("limit", "Most of them.", default, 1, most)


# -- what is done ----------------------------------------------------------------------------------------


def _daemon(asked: Question) -> DaemonShown:
    return shown_daemon(asked.desk.daemon())


def _repos(asked: Question) -> ReposAnswer:
    return {"items": [shown_repo(view) for view in asked.desk.repos()]}


def _workloads(asked: Question) -> WorkloadsAnswer:
    query = asked.query
    _require_repos(asked)
    wanted = Filter(
        frozenset(query["repo"]),
        frozenset(query["owner"]),
        frozenset(query["environment"]),
        frozenset(query["status"]),
        query["text"] or "",
    )
    found = [view for view in asked.desk.workloads() if wanted.takes(view)]
    page, items = _paged(asked, found)
    return {**page, "items": [shown_outcome(view.repo, view.outcome) for view in items]}


def _workload(asked: Question) -> WorkloadShown:
    return shown_workload(_view(asked))


def _explanation(asked: Question) -> ExplanationAnswer:
    view = _view(asked)
    verdicts = asked.desk.verdicts(view.repo, view.name)
    if verdicts is None:
        raise Problem(503, _not_known(asked, view), {"Retry-After": "2"})
    page, items = _paged(asked, verdicts.told)
    told = shown_explanation(view.repo, view.outcome, items)
    return {**told, "decided_at": verdicts.decided_at, "is_outline": verdicts.is_outline, **page}


def _not_known(asked: Question, view: WorkloadView) -> Reason:
    """Why nobody can tell what became of a workload's tags."""
    since = next((repo.running_since for repo in asked.desk.repos() if repo.name == view.repo), None)
    if since is None:
        return reason("web/not-yet", repo=view.repo, name=view.name)
    at = format_moment(since, asked.now)
    return reason("web/cycle-runs", repo=view.repo, name=view.name, since=at)


def _code(asked: Question) -> CodeShown:
    code = f"{asked.path['area']}/{asked.path['code']}"
    if code not in CODES:
        raise Problem(404, reason("web/no-code", name=code))
    return shown_code(code)


def _log(asked: Question) -> LogAnswer:
    past = asked.desk.past(_wanted(asked), repos=frozenset(asked.query["repo"]), limit=asked.query["limit"])
    return {
        "state": past.state,
        "begins": past.begins,
        "trouble": None if past.trouble is None else shown_reason(past.trouble),
        "items": [shown_logged(change) for change in past.changes],
    }


def _report(asked: Question) -> SummaryShown:
    wanted, repos = _wanted(asked), frozenset(asked.query["repo"])
    summary = asked.desk.summary(wanted, repos=repos, by=asked.query["by"] or "workload")
    if summary is None:
        past = asked.desk.past(wanted, repos=repos, limit=1)
        why = past.trouble or reason("web/reading-history")
        raise Problem(503, why, {"Retry-After": "2"})
    return shown_summary(summary, slowest=asked.query["slowest"])


def _registries(asked: Question) -> RegistriesAnswer:
    return {"items": [shown_registry(view) for view in asked.desk.registries()]}


def _policies(asked: Question) -> PoliciesAnswer:
    _require_repos(asked)
    wanted = asked.query["repo"]
    views = asked.desk.policies()
    return {"items": [shown_policy(view) for view in views if not wanted or view.repo in wanted]}


def _chains(asked: Question) -> ChainsAnswer:
    page, items = _paged(asked, asked.desk.chains())
    return {**page, "items": [shown_chain(chain) for chain in items]}


def _look(asked: Question) -> LookAnswer:
    told: dict[str, str | None] = {}
    for name, value in asked.body.items():
        if name not in ("repo", "workload"):
            raise Problem(400, reason("web/body", problem=f"{name} is no member of it"))
        if value is not None and not isinstance(value, str):
            raise Problem(400, reason("web/body", problem=f"{name} is no text"))
        told[name] = value
    looking = asked.looking.look(asked.request, told.get("repo"), told.get("workload"))
    return {"looking": list(looking)}


# -- what they share -------------------------------------------------------------------------------------


def _view(asked: Question) -> WorkloadView:
    repo, name = asked.path["repo"], asked.path["name"]
    known = tuple(view.name for view in asked.desk.repos())
    if repo not in known:
        raise no_repo(repo, known)
    view = asked.desk.workload(repo, name)
    if view is None:
        raise Problem(404, reason("web/no-workload", name=name, repo=repo))
    return view


def _require_repos(asked: Question) -> None:
    known = tuple(view.name for view in asked.desk.repos())
    for repo in asked.query["repo"]:
        if repo not in known:
            raise no_repo(repo, known)


def _paged(asked: Question, found: Sequence[T]) -> tuple[Page, Sequence[T]]:
    offset, limit = asked.query["offset"], asked.query["limit"]
    return {"total": len(found), "offset": offset, "limit": limit}, found[offset : offset + limit]


def _wanted(asked: Question) -> Wanted:
    _require_repos(asked)
    return wanted_by(asked.query, asked.now, images=map(_image, asked.query.get("image", ())))


def _image(text: str) -> str:
    try:
        return str(parse_repository(text))
    except AutomatorError:
        raise wrong("image", "an image repository such as ghcr.io/acme/web", text) from None


# -- all of them -----------------------------------------------------------------------------------------

OPERATIONS = (
    Operation(
        "daemon",
        "/daemon",
        "The process itself: its version, and whether it uses the config that is there.",
        DaemonShown,
        _daemon,
    ),
    Operation("repos", "/repos", "The config repos, and how their cycles go.", ReposAnswer, _repos),
    Operation(
        "workloads",
        "/workloads",
        "Workloads with their outcomes.",
        WorkloadsAnswer,
        _workloads,
        (
            *(_REPO, _OWNER, _ENVIRONMENT),
            Text("status", "Only with this outcome.", many=True, among=tuple(Status)),
            Text("text", "Only where name, image, version, owner or sentence have these words."),
            *(_limit(100, 500), _OFFSET),
        ),
        problems=(404,),
    ),
    Operation(
        *("workload", "/workloads/{repo}/{name}", "One workload with its places.", WorkloadShown, _workload),
        varies=_AT,
        problems=(404,),
    ),
    Operation(
        "explanation",
        "/workloads/{repo}/{name}/explanation",
        "Why a workload is where it is, tag by tag, by the last cycle.",
        ExplanationAnswer,
        _explanation,
        (_limit(100, 500), _OFFSET),
        varies=_AT,
        problems=(404,),
    ),
    Operation(
        *("code", "/codes/{area}/{code}", "What a reason code means.", CodeShown, _code),
        varies=(("area", "What stands before the slash."), ("code", "What stands behind it.")),
        problems=(404,),
    ),
    Operation(
        "log",
        "/log",
        "The release log, read back from Git.",
        LogAnswer,
        _log,
        (
            *(_REPO, _WORKLOAD, _OWNER, _ENVIRONMENT),
            Text("image", "Only releases of this image repository.", many=True),
            Text("author", "Only by people whose name or mail has this.", many=True),
            Text("kind", "Only changes of this kind.", many=True, among=KINDS),
            *(_SINCE, _UNTIL, _limit(50, 500)),
        ),
        problems=(404,),
    ),
    Operation(
        "report",
        "/report",
        "The four figures of DORA, and where the time of releases went; of the last 90 days without `since`.",
        SummaryShown,
        _report,
        (
            *(_REPO, _WORKLOAD, _OWNER, _ENVIRONMENT, _SINCE, _UNTIL),
            Text("by", "What the figures are told apart by.", among=GROUPINGS),
            Number("slowest", "How many releases are told station by station.", 10, 0, 100),
        ),
        problems=(404,),
    ),
    Operation("registries", "/registries", "The registry hosts.", RegistriesAnswer, _registries),
    Operation(
        "policies",
        "/policies",
        "The policy files, with what is wrong or odd.",
        PoliciesAnswer,
        _policies,
        (_REPO,),
        problems=(404,),
    ),
    Operation(
        *("chains", "/chains", "The promotion chains.", ChainsAnswer, _chains, (_limit(50, 200), _OFFSET)),
    ),
    DRIFT,
    Operation(
        "look",
        "/look",
        "Have a cycle run now: of all config repos, of one, or with the tags of one workload listed first.",
        LookAnswer,
        _look,
        body=LookBody,
        status=202,
        problems=(404, 408, 413, 415, 429),
    ),
)
