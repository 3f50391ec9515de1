"""What runs: what a runtime (a cluster, an engine) said at one time, as values.

A runtime is only ever asked, never told: nothing here can be sent to one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from automator.reasons import Reason


@dataclass(frozen=True, slots=True)
class Running:
    """Containers of one workload object that run one image, or ought to."""

    kind: str
    """`Deployment`, `StatefulSet`, `DaemonSet`, `Rollout`, `CronJob`, `Job`, `Pod`; of an engine `container`,
    or `service` (Compose)."""
    namespace: str
    """Empty for engines."""
    name: str
    """Of the controller, the container or the service."""
    container: str
    reference: str
    """As the runtime spells it: `ghcr.io/acme/web:1.4.3@sha256:…`."""
    digest: str | None = None
    """What was really pulled, where that is told. On some nodes that is the index, on others one platform's
    part of it: only equality says something."""
    wanted: int | None = None
    """Replicas that ought to run this: 0 for what a rollout leaves behind, and for a job that has ended; None
    where nobody counts (a CronJob between its runs)."""
    ready: int | None = None
    """Replicas that run this and are ready; None where nobody counts."""
    settled: bool | None = None
    """Whether the controller says that its rollout is complete; None where it says nothing of it."""
    trouble: str | None = None
    """One line: `ImagePullBackOff: …`, `the rollout exceeded its deadline`; None where there is none."""
    since: datetime | None = None
    """When this image began to run here, where that is told."""
    project: str = ""
    """Compose project."""
    failed: bool = False
    """Whether the controller itself has given up on this image; `trouble` may pass."""
    hindrance: str | None = None
    """One line: what is in its way that is not its own (no node takes it, a quota, a container beside it)."""
    restarts: int | None = None
    """How often its present containers were started again, all together; None where that is not told."""

    @property
    def place(self) -> str:
        """`Deployment shop/web [app]`, as people name it."""
        named = f"{self.namespace or self.project}/{self.name}".removeprefix("/")
        one = self.container in ("", self.name)
        return f"{self.kind} {named}" if one else f"{self.kind} {named} [{self.container}]"


@dataclass(frozen=True, slots=True)
class Sync:
    """What an object of a synchronizer says of itself: Flux's Kustomization or HelmRelease, Argo CD's
    Application."""

    kind: str
    namespace: str
    name: str
    revision: str | None = None
    """Commit that is applied."""
    attempted: str | None = None
    """Commit that was tried last."""
    healthy: bool | None = None
    """None where it says nothing yet, or is at work."""
    trouble: str | None = None
    """One line."""
    since: datetime | None = None
    """When it became so."""
    repo: str | None = None
    """URL of the config repo that it reads."""
    path: str | None = None
    """Folder in it; empty for all of it."""
    cause: str = ""
    """Word for why it is not well: Flux's `reason`, Argo CD's phase or health."""
    ill: tuple[str, ...] = ()
    """Objects that it says have failed themselves, each as `Deployment/shop/web`."""
    space: str | None = None
    """Namespace of its cluster into which it puts what it applies: Flux all, Argo CD what says none."""
    recurses: bool = False
    """Whether it applies what lies in folders below too."""
    values: tuple[str, ...] = ()
    """Files of the config repo from which it takes values of a chart."""
    branch: str | None = None
    """Branch, tag or commit that it follows; None where it says none."""
    overrides: bool = False
    """Whether what names another namespace is put into `space` too."""
    prefix: str = ""
    suffix: str = ""
    """What it puts before and behind the names of objects."""
    elsewhere: str = ""
    """The cluster into which it puts what it applies, where that is not the one that it stands in."""

    @property
    def place(self) -> str:
        """`Kustomization flux-system/apps`."""
        return f"{self.kind} {self.namespace}/{self.name}"


def as_placed(sync: Sync) -> Sync:
    """A synchronizer as far as it says where it puts things, and nothing of how they are."""
    return replace(
        sync, revision=None, attempted=None, healthy=None, trouble=None, since=None, cause="", ill=()
    )


@dataclass(frozen=True, slots=True)
class Observation:
    """What one runtime said, complete: what is not in it does not run in what was asked for."""

    runtime: str
    at: datetime
    running: tuple[Running, ...] = ()
    syncs: tuple[Sync, ...] = ()
    notes: tuple[Reason, ...] = ()
    """What could not be read and is not needed: a synchronizer's status that the rights do not cover."""
    unread: tuple[str, ...] = ()
    """Synchronizers of which was never read where they put things: `flux`, `argocd`."""

    def spaces(self) -> dict[tuple[str, str], set[str]]:
        """The namespaces of what runs, by kind and name."""
        found: dict[tuple[str, str], set[str]] = {}
        for one in self.running:
            found.setdefault((one.kind, one.name), set()).add(one.namespace)
        return found


@dataclass(frozen=True, slots=True)
class Unobserved:
    """A runtime that could not be asked: whatever runs there is not known."""

    runtime: str
    at: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Scope:
    """Which sites of a config repo run at a runtime, and where there."""

    runtime: str
    paths: tuple[str, ...] = ()
    """gitignore-style globs; empty for all."""
    namespaces: tuple[str, ...] = ()
    """Empty for all."""
    project: str = ""
    """Compose project that alone is looked at; empty for all."""

    def holds(self, namespace: str) -> bool:
        """Whether what runs in a namespace belongs to it; what has none does."""
        return not self.namespaces or not namespace or namespace in self.namespaces


class DeployState(StrEnum):
    """How far a version is at a runtime that covers its workload."""

    DEPLOYED = "deployed"
    """It runs, completely and healthily, wherever it ought to."""
    PENDING = "pending"
    FAILED = "failed"
    """The runtime says that it will not come up as it is."""
    ABSENT = "absent"
    """Seen: it is not this version that runs there, or nothing does."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Deployed:
    """What one runtime says of one version of a workload."""

    runtime: str
    state: DeployState
    at: datetime | None = None
    """When it came to be so: never before it was first seen so by anybody who is believed."""
    trouble: str | None = None
    """One line: why it failed, or why that is not known."""
    ready: int | None = None
    """Replicas that run it and are ready, where the look tells: more of them are progress."""
    restarts: int | None = None
    """How often its present containers were started again, where the look tells."""
    is_idle: bool = False
    """Of *absent*: whether it is its version, told to have no replicas."""
    is_down: bool = False
    """Whether an object of it ought to have replicas of which none is ready; jobs are not counted."""
    is_short: bool = False
    """Whether fewer than half of the replicas of an object are ready, or nothing of it is found: that is no
    time to go on with the version."""
    is_counted: bool = False
    """Whether replicas of it are told that ought to run."""
    is_hindered: bool = False
    """Whether something is in its way that is not its own."""
    is_hearsay: bool = False
    """Of *failed*: whether only its synchronizer says so, and no trouble of its own was seen."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version of a workload at a runtime, as one observation shows it."""

    workload: str
    version: str
    """Tag; empty where the sites have only a digest."""
    digest: str | None
    """That the sites pin; None where they name a tag alone."""
    seen: Deployed


class Runtime(Protocol):
    """A place where images run. It is asked, read-only."""

    @property
    def name(self) -> str:
        """As it is called in the config."""

    def observe(self, now: datetime) -> Observation:
        """What runs there now. Raises RuntimeTrouble: then nothing is known, and nothing is concluded."""


class Deployments(Protocol):
    """What the last observations left: nobody waits for a runtime here."""

    def of(self, workload: str, version: str, digest: str | None) -> tuple[Deployed, ...]:
        """What is known of a version, by each runtime that covers the workload; empty where none does."""
