"""Synced: which synchronizer applies the files of some sites, and what it says of itself.

A synchronizer fails as a whole: for a broken file beside, a webhook, a chart that cannot be fetched. Of a
version that says nothing. What counts is the very object of a site that it says has failed, and a release of
Helm that has not come up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cached_property, lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from automator.core.running import Scope, Sync
from automator.core.site import Site

Named = tuple[str | None, str | None, str | None]
"""Kind, namespace and name of an object, as a file has them."""


class Source(NamedTuple):
    """The config repo as synchronizers may call it."""

    url: str
    revisions: frozenset[str] = frozenset()
    """Commits that are known to hold what the sites say now."""
    branch: str | None = None
    """The one that is watched; None for any."""


class Told(NamedTuple):
    """What the synchronizer of some sites says that is not well."""

    place: str
    trouble: str | None
    is_final: bool
    """Whether it says so of what the sites say now, and of these very objects."""


class _Reading(NamedTuple):
    """The synchronizers that apply one folder, or take one file for values."""

    is_applied: bool
    """Whether one of them has applied what the sites say now."""
    unwell: tuple[int, ...]
    """Those of which something is not well, by their places among all."""
    is_here: bool
    """Whether one of them puts it into the cluster that it stands in."""
    away: Sync | None
    """The first one that puts it into another cluster."""


class Synced:
    """What the synchronizers of one look say of the files of a config repo. They are read once, when the
    first question comes: what is asked of one workload costs the same, however many there are for others."""

    def __init__(self, syncs: Iterable[Sync], source: Source) -> None:
        self._syncs = tuple(syncs)
        self._source = source
        self._held: dict[tuple[str, str, Scope], list[int]] = {}

    @cached_property
    def _objects(self) -> dict[tuple[str, str], dict[str, list[int]]]:
        """The synchronizers by kind and name, and by namespace."""
        found: dict[tuple[str, str], dict[str, list[int]]] = {}
        for i, sync in enumerate(self._syncs):
            found.setdefault((sync.kind, sync.name), {}).setdefault(sync.namespace, []).append(i)
        return found

    @cached_property
    def _readings(self) -> dict[str, _Reading]:
        """What is applied, by folder and by file of values."""
        paths: dict[str, list[int]] = {}
        for i, sync in enumerate(self._syncs):
            if _reads(sync, self._source):
                for path in _paths(sync):
                    paths.setdefault(path, []).append(i)
        return {path: self._reading(indexes) for path, indexes in paths.items()}

    def told_of(
        self,
        sites: Iterable[Site],
        scope: Scope,
        *,
        objects: Collection[str] = (),
        present: Collection[str] = (),
        shared: Collection[Named] = (),
    ) -> Told | None:
        """What the synchronizer of some sites says, one that applies them or that is one of them; what is
        final before what is not. None where all are well, or none is known to apply them.

        `objects`, as `Deployment/shop/web`: those whose failure would be the version's. `present`: those of
        the workload that are there, in whatever version. `shared`: what several workloads have sites in, so
        that its failure is nobody's.
        """
        written, source = tuple(sites), self._source
        read = self._of_files(dict.fromkeys(site.file for site in written))
        is_applied = any(reading.is_applied for reading in read)
        own = self._releases(written, scope, shared)
        unwell = {i for reading in read for i in reading.unwell}
        unwell |= {i for i in own if _is_unwell(self._syncs[i])}
        first: Told | None = None
        for i in sorted(unwell):
            sync = self._syncs[i]
            if i in own and sync.attempted is None:  # a HelmRelease knows no commit: who applies it does
                is_final = own[i] and is_applied and _has_not_come_up(sync, present)
            else:
                is_at_tip = (sync.attempted or sync.revision) in source.revisions
                is_final = is_at_tip and sync.cause in _OF_OBJECTS and not set(objects).isdisjoint(sync.ill)
            if is_final and sync.healthy is False:
                return Told(sync.place, sync.trouble, is_final=True)
            first = first or Told(sync.place, sync.trouble, is_final=False)
        return first

    def elsewhere_of(self, sites: Iterable[Site], scope: Scope) -> Sync | None:
        """A synchronizer that puts what some sites say into another cluster; None where one of the sites is
        applied here too, or nobody is known to apply it."""
        found: Sync | None = None
        for site in sites:
            away = self._elsewhere_of(site, scope)
            if away is None:
                return None
            found = found or away
        return found

    def _elsewhere_of(self, site: Site, scope: Scope) -> Sync | None:
        own = [self._syncs[i] for i in self._releases((site,), scope, ())]
        if own:  # a release stands here, wherever it puts its objects
            return next((sync for sync in own if sync.elsewhere), None)
        read = self._of_files((site.file,))
        if any(reading.is_here for reading in read):
            return None
        return next((reading.away for reading in read if reading.away is not None), None)

    def _reading(self, indexes: Iterable[int]) -> _Reading:
        """What synchronizers say of what they apply together."""
        read = {i: self._syncs[i] for i in indexes}
        return _Reading(
            any(sync.revision in self._source.revisions for sync in read.values()),
            tuple(i for i, sync in read.items() if _is_unwell(sync)),
            any(not sync.elsewhere for sync in read.values()),
            next((sync for sync in read.values() if sync.elsewhere), None),
        )

    def _of_files(self, files: Iterable[str]) -> list[_Reading]:
        """What applies one of these files at least."""
        paths: dict[str, None] = {}
        for file in files:
            above = (file[: i + 1] for i, letter in enumerate(file) if letter == "/")
            paths |= dict.fromkeys(("", *above, file))
        return [self._readings[path] for path in paths if path in self._readings]

    def _releases(self, sites: Iterable[Site], scope: Scope, shared: Collection[Named]) -> dict[int, bool]:
        """The synchronizers that are sites themselves, each with whether that is certain: a file without a
        namespace means the one of that name that there is."""
        found: dict[int, bool] = {}
        for site in sites:
            kind, name = site.kind or "", site.name or ""
            is_alone = (site.kind, site.namespace, site.name) not in shared
            if site.namespace is not None:
                alike = self._objects.get((kind, name), {})
                found |= dict.fromkeys(alike.get(site.namespace, ()), is_alone)
                continue
            held = self._holds(kind, name, scope)
            if len(held) == 1:
                space = self._syncs[held[0]].namespace
                found.setdefault(held[0], is_alone and scope.namespaces == (space,))
        return found

    def _holds(self, kind: str, name: str, scope: Scope) -> list[int]:
        """What bears a name in the namespaces of a scope."""
        known = self._held.get((kind, name, scope))
        if known is None:
            alike = self._objects.get((kind, name), {}).items()
            known = [i for space, indexes in alike if scope.holds(space) for i in indexes]
            self._held[(kind, name, scope)] = known
        return known


_OF_OBJECTS = frozenset({"HealthCheckFailed", "Degraded"})
"""Words of Flux and of Argo CD for: it is applied, and some of it does not come up."""
_OF_RELEASES = frozenset(
    {
        "InstallFailed",
        "UpgradeFailed",
        "TestFailed",
        "RollbackSucceeded",
        "RollbackFailed",
        "UninstallSucceeded",
    }
)
"""Reasons of a HelmRelease for not being ready that are verdicts on a release, not on its chart's source or
its values: https://fluxcd.io/flux/components/helm/helmreleases/#conditions."""
_WAITED = re.compile(
    r"timed? ?out|deadline exceeded|not ready|BackoffLimitExceeded|DeadlineExceeded|test.* failed",
    re.IGNORECASE,
)
"""Words of Helm for a release that was applied, and has not come up; others are of the API or the chart."""


_NAMED = re.compile(r"\b([A-Z][A-Za-z]{0,60}/[a-z0-9-]{1,63}/[a-z0-9.-]{1,253})(?![\w./-])", re.ASCII)
"""Objects as Helm names them that it has waited for: `resource Deployment/shop/web not ready`."""


def _has_not_come_up(sync: Sync, present: Collection[str]) -> bool:
    """Whether a release was applied and did not come up, as far as Helm says for its own sake: not where it
    names objects that it waited for, and none of them is `present`."""
    if sync.cause not in _OF_RELEASES:
        return False
    named = _NAMED.findall(sync.trouble or "")
    if named and set(named).isdisjoint(present):
        return False
    return sync.cause == "TestFailed" or _WAITED.search(sync.trouble or "") is not None


def _is_unwell(sync: Sync) -> bool:
    return sync.healthy is False or bool(sync.trouble)


def readers(syncs: Iterable[Sync], source: Source) -> list[Sync]:
    """The synchronizers that read a config repo, on its branch: one that follows another (a preview of a pull
    request) says nothing of it."""
    return [sync for sync in syncs if _reads(sync, source)]


def _reads(sync: Sync, source: Source) -> bool:
    if sync.repo is None or place_of(sync.repo) != place_of(source.url):
        return False
    return sync.branch is None or source.branch is None or sync.branch == source.branch


def _paths(sync: Sync) -> Iterable[str]:
    """What a synchronizer applies: its folder, with a slash at its end where that is not all of the repo, and
    files that it takes for values. Argo CD takes them also from a source that names no folder: then it
    applies nothing else of it."""
    yield from sync.values
    if sync.path or not sync.values:
        folder = (sync.path or "").removeprefix("./").strip("/")
        yield "" if folder in ("", ".") else f"{folder}/"


_DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(.*)", re.S)


@lru_cache(maxsize=4096)
def place_of(url: str) -> tuple[str, str]:
    """Host and path of a Git repository, equal for its names by https and ssh: without user, the scheme's
    own port and `.git`, and whatever the case, in which no server that we know has two repositories."""
    host, path = "", url
    if "://" in url:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return "", url
        own = port is None or port == _DEFAULT_PORTS.get(parts.scheme)
        host, path = (parts.hostname or "") + ("" if own else f":{port}"), parts.path
    elif not url.startswith(("/", ".")) and (match := _SCP.fullmatch(url)):
        host, path = match[1], match[2]
    return host.lower(), path.strip("/").removesuffix(".git").strip("/").lower()
