"""Shown views: what a running automator has to show, as JSON has it, for the API."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypedDict

from automator.core.policy import Workload, group_of
from automator.core.shown import OutcomeShown, ReasonShown, shown_outcome, shown_reason
from automator.core.view import (
    Chain,
    ChainEdge,
    ChainNode,
    DaemonView,
    PolicyView,
    RegistryView,
    RepoView,
    SiteView,
    WorkloadView,
)
from automator.reasons import Reason


class DaemonShown(TypedDict):
    """How the process itself stands. `config_refused` says why a newer config is not used, `no_cycles` why
    there are none at all."""

    version: str
    started_at: datetime
    config_taken_at: datetime
    config_refused: ReasonShown | None
    config_refused_at: datetime | None
    no_cycles: ReasonShown | None


class RepoShown(TypedDict):
    """One config repo of the daemon, and how its cycles go. `interval` is in seconds."""

    name: str
    place: str
    branch: str
    page: str | None
    mode: str
    deliver: str
    interval: float
    head: str | None
    started_at: datetime | None
    finished_at: datetime | None
    sentence: str
    running_since: datetime | None
    changes_at: datetime | None
    is_stuck: bool
    error: ReasonShown | None
    warnings: list[ReasonShown]


class SiteShown(TypedDict):
    """One place where a workload's image is written. `file`, `field` and `line` are null where this process
    has not read the file yet, `page` where the config names no forge."""

    label: str
    file: str | None
    field: str | None
    line: int | None
    version: str | None
    page: str | None


class WorkloadShown(OutcomeShown):
    """A workload with all that is known of it. `after` has the names it comes after."""

    places: list[SiteShown]
    description: str | None
    policy: str | None
    policy_page: str | None
    commit_page: str | None
    pull_request: str | None
    group: str | None
    after: list[str]


class RegistryShown(TypedDict):
    """How one registry host stands. `wait` is in seconds."""

    host: str
    is_up: bool
    requests: int
    remaining: int | None
    wait: float
    queued: int
    succeeded_at: datetime | None
    trouble: ReasonShown | None
    failing: int
    repositories: int


class PolicyShown(TypedDict):
    """One policy file with what is wrong or odd about it."""

    repo: str
    path: str
    page: str | None
    workloads: list[str]
    problems: list[ReasonShown]
    warnings: list[ReasonShown]


class ChainNodeShown(TypedDict):
    """A workload in a promotion chain, or a group; `status` is empty where it is not known."""

    repo: str
    name: str
    status: str
    version: str | None
    since: datetime | None
    sentence: str
    environment: str | None


class ChainPlaceShown(TypedDict):
    """Which node is meant."""

    repo: str
    name: str


class ChainEdgeShown(TypedDict):
    """What comes after what, and what it waits for. `soak` is in seconds."""

    upstream: ChainPlaceShown
    downstream: ChainPlaceShown
    soak: float
    candidate: str | None
    reason: ReasonShown | None


class ChainShown(TypedDict):
    """Workloads that come after one another."""

    nodes: list[ChainNodeShown]
    edges: list[ChainEdgeShown]


PastState = Literal["ready", "reading", "failed"]


def shown_daemon(view: DaemonView) -> DaemonShown:
    """The process."""
    return {
        "version": view.version,
        "started_at": view.started_at,
        "config_taken_at": view.config_taken_at,
        "config_refused": _reason(view.config_refused),
        "config_refused_at": view.config_refused_at,
        "no_cycles": _reason(view.no_cycles),
    }


def shown_repo(view: RepoView) -> RepoShown:
    """A config repo."""
    return {
        "name": view.name,
        "place": view.place,
        "branch": view.branch,
        "page": view.page,
        "mode": view.mode,
        "deliver": view.deliver,
        "interval": view.interval.total_seconds(),
        "head": view.head,
        "started_at": view.started_at,
        "finished_at": view.finished_at,
        "sentence": view.sentence,
        "running_since": view.running_since,
        "changes_at": view.changes_at,
        "is_stuck": view.is_stuck,
        "error": _reason(view.error),
        "warnings": [shown_reason(why) for why in view.warnings],
    }


def shown_workload(view: WorkloadView) -> WorkloadShown:
    """A workload."""
    entry = view.entry
    known = entry if isinstance(entry, Workload) else None
    after = None if known is None else known.guards.after
    return {
        **shown_outcome(view.repo, view.outcome),
        "places": list(map(_site, view.sites)),
        "description": None if known is None else known.description,
        "policy": None if entry is None else str(entry.place),
        "policy_page": view.policy_page,
        "commit_page": view.commit_page,
        "pull_request": view.pull_request,
        "group": None if entry is None else group_of(entry),
        "after": [] if after is None else list(after.upstreams or (after.group or "",)),
    }


def _site(view: SiteView) -> SiteShown:
    return {
        "label": view.label,
        "file": view.file,
        "field": view.field,
        "line": view.line,
        "version": view.version,
        "page": view.page,
    }


def shown_registry(view: RegistryView) -> RegistryShown:
    """A registry host."""
    return {
        "host": view.host,
        "is_up": view.is_up,
        "requests": view.requests,
        "remaining": view.remaining,
        "wait": round(view.wait, 3),
        "queued": view.queued,
        "succeeded_at": view.succeeded_at,
        "trouble": _reason(view.trouble),
        "failing": view.failing,
        "repositories": view.repositories,
    }


def shown_policy(view: PolicyView) -> PolicyShown:
    """A policy file."""
    return {
        "repo": view.repo,
        "path": view.path,
        "page": view.page,
        "workloads": list(view.workloads),
        "problems": [shown_reason(why) for why in view.problems],
        "warnings": [shown_reason(why) for why in view.warnings],
    }


def shown_chain(chain: Chain) -> ChainShown:
    """A promotion chain."""
    return {"nodes": [_node(node) for node in chain.nodes], "edges": [_edge(edge) for edge in chain.edges]}


def _node(node: ChainNode) -> ChainNodeShown:
    return {
        "repo": node.repo,
        "name": node.name,
        "status": node.status,
        "version": node.version,
        "since": node.since,
        "sentence": node.sentence,
        "environment": node.environment,
    }


def _edge(edge: ChainEdge) -> ChainEdgeShown:
    return {
        "upstream": {"repo": edge.upstream[0], "name": edge.upstream[1]},
        "downstream": {"repo": edge.downstream[0], "name": edge.downstream[1]},
        "soak": edge.soak.total_seconds(),
        "candidate": edge.candidate,
        "reason": _reason(edge.reason),
    }


def _reason(why: Reason | None) -> ReasonShown | None:
    return None if why is None else shown_reason(why)
