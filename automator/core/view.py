"""Views: what is shown of a running automator, as values that pages and the API are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from automator.core.delivery.change import Change
from automator.core.explain import Verdict
from automator.core.policy import InvalidWorkload, Workload
from automator.core.report import Outcome
from automator.reasons import Reason


@dataclass(frozen=True, slots=True)
class DaemonView:
    """How the process itself stands."""

    version: str
    started_at: datetime
    config_taken_at: datetime
    """When the config was read that is used now."""
    config_refused: Reason | None = None
    """Why a newer one is not used; None where there is none, or it is."""
    config_refused_at: datetime | None = None
    """Since when that is so."""
    no_cycles: Reason | None = None
    """Why no cycle runs at all: neither the new config could be opened nor the old one again."""


@dataclass(frozen=True, slots=True)
class RepoView:
    """One config repo of the daemon, and how its cycles go."""

    name: str
    place: str
    """Its URL, without whatever secret that has."""
    branch: str
    page: str | None
    """Its page on the forge, without a slash at the end."""
    mode: str
    """`write` or `observe`."""
    deliver: str
    """`push` or `pull-request`."""
    interval: timedelta
    head: str | None = None
    """Commit of the last decisions."""
    started_at: datetime | None = None
    """Begin of the last cycle that has ended; None before the first."""
    finished_at: datetime | None = None
    sentence: str = ""
    """The last cycle in a line."""
    running_since: datetime | None = None
    """When the cycle began that is running now."""
    changes_at: datetime | None = None
    """When an outcome changes by itself, or checks are due."""
    is_stuck: bool = False
    error: Reason | None = None
    warnings: tuple[Reason, ...] = ()
    commits: str | None = None
    """What the forge's page of a commit begins with; the whole id follows."""


@dataclass(frozen=True, slots=True)
class SiteView:
    """One place where a workload's image is written."""

    label: str
    version: str | None
    """Tag, digest or both, as the file has them."""
    page: str | None
    """The line or the file on the forge."""
    is_read: bool = True
    """Whether this process has read the file."""
    file: str | None = None
    field: str | None = None
    """Path of the value in the file, as `automator images` prints it."""
    line: int | None = None
    """Where the value begins, counted from 1."""


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """One workload with its last outcome. Its identity is (repo, outcome.workload)."""

    repo: str
    outcome: Outcome
    entry: Workload | InvalidWorkload | None
    """What its policy says; None before the first cycle of this process."""
    sites: tuple[SiteView, ...] = ()
    policy_page: str | None = None
    """Its policy file on the forge."""
    commit_page: str | None = None
    """The commit of its last release, where that is known."""
    pull_request: str | None = None
    """The page of the pull request that waits for it."""

    @property
    def name(self) -> str:
        return self.outcome.workload

    @property
    def key(self) -> tuple[str, str]:
        return (self.repo, self.outcome.workload)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of every tag of a workload, newest first."""

    told: tuple[Verdict, ...]
    decided_at: datetime
    """Begin of the cycle that they are of: an outcome may be of a later one."""
    is_outline: bool = False
    """Whether they were judged by filters, order and build times alone, since what else is known is in use by
    a cycle that runs or is stuck."""


@dataclass(frozen=True, slots=True)
class RegistryView:
    """How one registry host stands."""

    host: str
    is_up: bool
    requests: int
    """Sent since the start of the process."""
    remaining: int | None
    """Requests left in the host's own window, where it tells."""
    wait: float
    """Seconds until it is asked again."""
    queued: int
    succeeded_at: datetime | None = None
    """When a repository of it was last looked at with success."""
    trouble: Reason | None = None
    """Why the last look at one of its repositories failed, where it did."""
    failing: int = 0
    """Repositories whose last look failed."""
    repositories: int = 0
    """Repositories of it that are watched."""


@dataclass(frozen=True, slots=True)
class PolicyView:
    """One policy file with what is wrong or odd about it."""

    repo: str
    path: str
    page: str | None
    workloads: tuple[str, ...]
    problems: tuple[Reason, ...]
    warnings: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ChainNode:
    """A workload in a promotion chain, or a group that counts as one environment."""

    repo: str
    name: str
    status: str
    """Of its outcome; empty where it is not known here."""
    version: str | None
    since: datetime | None
    """Since when it has that version, as far as that is known."""
    sentence: str = ""
    environment: str | None = None


@dataclass(frozen=True, slots=True)
class ChainEdge:
    """`downstream` comes after `upstream`. Both are (repo, name) of nodes."""

    upstream: tuple[str, str]
    downstream: tuple[str, str]
    soak: timedelta
    candidate: str | None
    """Version that is on its way from the one to the other."""
    reason: Reason | None
    """What it waits for, with the time at which that changes; None where nothing is on its way."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Workloads that come after one another: a connected part of the graph of `after`."""

    nodes: tuple[ChainNode, ...]
    edges: tuple[ChainEdge, ...]


@dataclass(frozen=True, slots=True)
class Past:
    """The release log as far as it could be read so far."""

    state: Literal["ready", "reading", "failed"]
    changes: tuple[Change, ...] = ()
    """Newest first."""
    begins: datetime | None = None
    """Time of the oldest commit that was read."""
    trouble: Reason | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which workloads a question is about; what is empty asks for all."""

    repos: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    text: str = ""
    """Words that name, image, version, owner, environment or sentence have, in any case."""

    def takes(self, view: WorkloadView) -> bool:
        """Whether a workload is wanted."""
        outcome = view.outcome
        return (
            (not self.repos or view.repo in self.repos)
            and (not self.owners or outcome.owner in self.owners)
            and (not self.environments or outcome.environment in self.environments)
            and (not self.statuses or outcome.status in self.statuses)
            and (not self.text or self._is_told_by(view))
        )

    def _is_told_by(self, view: WorkloadView) -> bool:
        o = view.outcome
        named = (view.repo, o.workload, o.image, o.current, o.target, o.candidate, o.owner, o.environment)
        told = " ".join((*filter(None, named), o.reason.sentence)).lower()
        return all(word in told for word in self.text.lower().split())
