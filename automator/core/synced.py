"""Synced: which synchronizer applies the files of some sites, and what it says of itself.

A synchronizer fails as a whole: for a broken file beside, a webhook, a chart that cannot be fetched. Of a
version that says nothing. What counts is the very object of a site that it says has failed, and a release of
Helm that has not come up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
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


def told_of(
    sites: Iterable[Site],
    syncs: Sequence[Sync],
    source: Source,
    scope: Scope,
    *,
    objects: Collection[str] = (),
    shared: Collection[Named] = (),
) -> Told | None:
    """What the synchronizer of some sites says, one that applies them or that is one of them; what is final
    before what is not. None where all are well, or none is known to apply them.

    `objects`, as `Deployment/shop/web`: those whose failure would be the version's. `shared`: what several
    workloads have sites in, so that its failure is nobody's.
    """
    written = tuple(sites)
    files = tuple(site.file for site in written)
    read = [sync for sync in readers(syncs, source) if _applies(sync, files)]
    is_applied = any(sync.revision in source.revisions for sync in read)
    own = _releases(written, syncs, scope, shared)
    first: Told | None = None
    for sync in syncs:
        is_well = sync.healthy is not False and not sync.trouble
        if is_well or not (sync in own or sync in read):
            continue
        if sync in own and sync.attempted is None:  # a HelmRelease knows no commit: who applies it does
            is_final = own[sync] and is_applied and _has_not_come_up(sync)
        else:
            is_at_tip = (sync.attempted or sync.revision) in source.revisions
            is_final = is_at_tip and sync.cause in _OF_OBJECTS and not set(objects).isdisjoint(sync.ill)
        if is_final and sync.healthy is False:
            return Told(sync.place, sync.trouble, is_final=True)
        first = first or Told(sync.place, sync.trouble, is_final=False)
    return first


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


def _has_not_come_up(sync: Sync) -> bool:
    if sync.cause not in _OF_RELEASES:
        return False
    return sync.cause == "TestFailed" or _WAITED.search(sync.trouble or "") is not None


def _releases(
    sites: Iterable[Site], syncs: Iterable[Sync], scope: Scope, shared: Collection[Named]
) -> dict[Sync, bool]:
    """The synchronizers that are sites themselves, each with whether that is certain: a file without a
    namespace means the one of that name that there is."""
    found: dict[Sync, bool] = {}
    named: dict[tuple[str, str], list[Sync]] = {}
    for sync in syncs:
        named.setdefault((sync.kind, sync.name), []).append(sync)
    for site in sites:
        alike = named.get((site.kind or "", site.name or ""), ())
        is_alone = (site.kind, site.namespace, site.name) not in shared
        if site.namespace is not None:
            found |= {sync: is_alone for sync in alike if sync.namespace == site.namespace}
            continue
        held = [sync for sync in alike if scope.holds(sync.namespace)]
        if len(held) == 1:
            found.setdefault(held[0], is_alone and scope.namespaces == (held[0].namespace,))
    return found


def readers(syncs: Iterable[Sync], source: Source) -> list[Sync]:
    """The synchronizers that read a config repo, on its branch: one that follows another (a preview of a pull
    request) says nothing of it."""
    place = place_of(source.url)
    return [
        sync
        for sync in syncs
        if sync.repo is not None
        and place_of(sync.repo) == place
        and (sync.branch is None or source.branch is None or sync.branch == source.branch)
    ]


def _applies(sync: Sync, files: tuple[str, ...]) -> bool:
    """Whether what a synchronizer applies are these files, one of them at least."""
    folder = (sync.path or "").removeprefix("./").strip("/")
    return folder in ("", ".") or any(file.startswith(folder + "/") for file in files)


_DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(.*)", re.S)


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
