"""The cluster: one look at what runs in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from automator.core.running import Observation, Sync, as_placed
from automator.edges.kubernetes import keeping
from automator.edges.kubernetes.access import read_access
from automator.edges.kubernetes.caller import Caller, Line, Missing
from automator.edges.kubernetes.controllers import read_running
from automator.edges.kubernetes.pods import Pod, read_pod
from automator.edges.kubernetes.settings import ClusterSettings
from automator.edges.kubernetes.synchronizers import read_argo, read_flux
from automator.errors import RuntimeTrouble
from automator.reasons import Reason, reason

T = TypeVar("T")
BUILT_IN = (
    ("apps", "v1", "deployments"),
    ("apps", "v1", "statefulsets"),
    ("apps", "v1", "daemonsets"),
    ("apps", "v1", "replicasets"),
    ("batch", "v1", "cronjobs"),
    ("batch", "v1", "jobs"),
)
AT_WORK = "status.phase!=Succeeded,status.phase!=Failed"
"""Pods that have ended hold no image; what became of a job is told by the job."""
FLUX = (
    ("source.toolkit.fluxcd.io", "gitrepositories"),
    ("kustomize.toolkit.fluxcd.io", "kustomizations"),
    ("helm.toolkit.fluxcd.io", "helmreleases"),
)
ARGO = "argoproj.io"
RELEASE = "HelmRelease"
"""Kind of a synchronizer that puts nothing of the config repo anywhere but itself."""
PLACING = {"flux": ("gitrepositories", "kustomizations"), "argocd": ("applications",)}
"""What tells where synchronizers put things."""
HOMES = {"argocd": "argocd", "flux": "flux-system"}
"""Namespaces in which synchronizers keep their own objects, by habit."""


class Cluster:
    """One cluster, read-only. For several threads."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._line = Line(settings.outside)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Sync, ...]] = {}
        self._known_of = ""

    @property
    def name(self) -> str:
        return self._settings.name

    def close(self) -> None:
        """End the connections that are kept open."""
        self._line.close()

    def observe(self, now: datetime) -> Observation:
        """What runs there, complete. The status of synchronizers is left out, with a note, where it cannot be
        read; where they put things is then known from an earlier look, or not.

        Raises RuntimeTrouble: `cluster/…`.
        """
        access = read_access(self._settings)
        caller = Caller(self.name, access, self._line, self._settings.seconds, self._settings.size)
        look = _Look(caller, self._settings, now)
        running = read_running(look.controllers(), look.pods())
        syncs, unread = self._with_known(access.server, look.syncs(), look.partial)
        return Observation(self.name, now, running, syncs, tuple(look.notes), unread)

    def _with_known(
        self, server: str, told: Mapping[str, tuple[Sync, ...]], partial: Collection[str]
    ) -> tuple[tuple[Sync, ...], tuple[str, ...]]:
        """The synchronizers as they were read; of those of which a part could not be, where they put things
        as it was read last: an answer that is late moves nothing into another namespace. And which never
        were, in a whole cluster: who names namespaces says what is looked at."""
        with self._lock:
            known = self._known if self._known_of == server else {}
            whole = {name: syncs for name, syncs in told.items() if name not in partial}
            self._known, self._known_of = {**known, **whole}, server
        found: list[Sync] = []
        for name, syncs in told.items():
            if name in partial and name in known:
                found += (as_placed(sync) for sync in known[name] if sync.kind != RELEASE)
                found += (sync for sync in syncs if sync.kind == RELEASE)
            else:
                found += syncs
        never = tuple(name for name in told if name in partial and name not in known)
        return tuple(found), () if self._settings.namespaces else never


class _Look:
    """The questions of one look."""

    def __init__(self, caller: Caller, settings: ClusterSettings, now: datetime) -> None:
        self._caller = caller
        self._settings = settings
        self._namespaces: tuple[str | None, ...] = settings.namespaces or (None,)
        self._groups = caller.groups()
        # Our clock may be wrong by an hour: how long a container runs is counted by the cluster's.
        self._now = caller.told_at or now
        self.notes: list[Reason] = []
        self._left_out: set[str] = set()

    def controllers(self) -> dict[str, list[dict[str, Any]]]:
        found = {
            kind[2]: self._needed(
                kind, keeping.replica_set if kind[2] == "replicasets" else keeping.controller
            )
            for kind in BUILT_IN
        }
        found["rollouts"] = self._optional(ARGO, "rollouts", self._namespaces, keeping.controller)
        return found

    def pods(self) -> list[Pod]:
        keep = partial(read_pod, now=self._now)
        return self._needed(("", "v1", "pods"), keep, {"fieldSelector": AT_WORK})

    def syncs(self) -> dict[str, tuple[Sync, ...]]:
        """What each synchronizer says that is asked for."""
        found: dict[str, tuple[Sync, ...]] = {}
        if "flux" in self._settings.status:
            homes = self._with_home("flux")
            found["flux"] = read_flux(
                {plural: self._optional(group, plural, homes) for group, plural in FLUX}
            )
        if "argocd" in self._settings.status:
            found["argocd"] = read_argo(self._optional(ARGO, "applications", self._with_home("argocd")))
        return found

    @property
    def partial(self) -> tuple[str, ...]:
        """The synchronizers of which it was not read where all of them put things."""
        return tuple(name for name, plurals in PLACING.items() if not self._left_out.isdisjoint(plurals))

    def _with_home(self, synchronizer: str) -> tuple[str | None, ...]:
        if self._namespaces == (None,):
            return self._namespaces
        return tuple(dict.fromkeys((*self._namespaces, HOMES[synchronizer])))

    def _needed(
        self,
        kind: tuple[str, str, str],
        keep: Callable[[dict[str, Any]], T],
        query: Mapping[str, str] = MappingProxyType({}),
    ) -> list[T]:
        found: list[T] = []
        for namespace in self._namespaces:
            try:
                found += self._caller.objects(kind, namespace, keep, query)
            except Missing:
                why = reason(
                    "cluster/answer",
                    runtime=self._settings.name,
                    host=self._caller.host,
                    what=kind[2],
                    problem="it does not serve them: it is no Kubernetes API of 1.21 or later",
                )
                raise RuntimeTrouble(why) from None
        return found

    def _optional(
        self,
        group: str,
        plural: str,
        namespaces: tuple[str | None, ...],
        keep: Callable[[dict[str, Any]], dict[str, Any]] = keeping.synchronizer,
    ) -> list[dict[str, Any]]:
        """Objects that are of use where they are there, and may be read."""
        version = self._groups.get(group)
        if version is None:
            return []
        found: list[dict[str, Any]] = []
        for namespace in namespaces:
            try:
                found += self._caller.objects((group, version, plural), namespace, keep)
            except Missing:
                return found
            except RuntimeTrouble as error:
                what = f"{plural}.{group}"
                # A home that the rights do not cover is none of these namespaces' own.
                is_home = bool(self._settings.namespaces) and namespace not in self._settings.namespaces
                if not (is_home and error.reason.code == "cluster/forbidden"):
                    self._left_out.add(plural)
                why = reason(
                    "cluster/left-out", runtime=self._settings.name, what=what, problem=error.reason.sentence
                )
                self.notes.append(why)
        return found
