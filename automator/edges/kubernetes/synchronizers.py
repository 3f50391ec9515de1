"""Synchronizers: what Flux and Argo CD say of themselves, in the status of their objects.

Flux: https://fluxcd.io/flux/components/kustomize/kustomizations/ (status), helm/helmreleases, source.
Argo CD: https://argo-cd.readthedocs.io/en/stable/operator-manual/application.yaml
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from automator.core.running import Sync
from automator.edges.kubernetes.reading import at, condition, is_current, line, records, text, time
from automator.reasons import one_line

Objects = Mapping[str, list[dict[str, Any]]]
WORDS = 1000
"""Characters of a message that are kept: they name objects, some of them late."""
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
_UNDER_WAY = frozenset({"DependencyNotReady", "Progressing", "ProgressingWithRetry", "ArtifactFailed"})
"""Reasons of Flux for not being ready that say nothing of the commit itself."""
_FAILED = re.compile(r"(?<![\w/.-])([A-Z]\w*/[a-z0-9.-]+/[a-z0-9.-]+) status: 'Failed'", re.ASCII)
"""How Flux names an object that failed its health check; one in progress took longer than its `timeout`."""
_HERE = re.compile(r"|in-cluster|https://kubernetes\.default(?:\.svc(?:\.cluster\.local)?)?(?::443)?/?")
"""How an Application names the cluster that it stands in."""
_ANOTHER = "another cluster"
"""Flux says which one in a Secret, which is not read."""
_UNDONE = frozenset({"RollbackSucceeded", "RollbackFailed", "UninstallSucceeded", "UninstallFailed"})
"""Reasons of a HelmRelease that has taken back what it could not release; why stands in `Released`."""


def commit_of(revision: str) -> str | None:
    """The commit of a revision as Flux spells it (`main@sha1:abc…`, before v2 `main/abc…`, `sha1:abc…`), or
    as Argo CD does; None for what is no Git revision (a chart's version)."""
    last = re.split(r"[:/]", revision)[-1]
    return last if _COMMIT.fullmatch(last) else None


def read_flux(objects: Objects) -> tuple[Sync, ...]:
    """Kustomizations and HelmReleases, with the config repo that each reads where it is one."""
    repos = {
        (text(one, "metadata", "namespace"), text(one, "metadata", "name")): one
        for one in objects.get("gitrepositories", ())
    }
    found = [_kustomization(one, repos) for one in objects.get("kustomizations", ())]
    return (*found, *(_flux(one, "HelmRelease") for one in objects.get("helmreleases", ())))


def _kustomization(told: dict[str, Any], repos: Mapping[tuple[str, str], dict[str, Any]]) -> Sync:
    source = at(told, "spec", "sourceRef")
    own = text(told, "metadata", "namespace")
    repo = repos.get((text(source, "namespace") or own, text(source, "name")), {})
    found = _flux(told, "Kustomization")
    return replace(
        found,
        repo=text(repo, "spec", "url") or None if text(source, "kind") == "GitRepository" else None,
        path=text(told, "spec", "path"),
        space=None if found.elsewhere else text(told, "spec", "targetNamespace") or None,
        recurses=True,
        branch=_branch(at(repo, "spec", "ref")),
        overrides=True,
        prefix=text(told, "spec", "namePrefix"),
        suffix=text(told, "spec", "nameSuffix"),
    )


def _branch(ref: Any) -> str | None:
    """What a GitRepository follows: the first of these counts that is there."""
    said = (text(ref, key) for key in ("commit", "name", "semver", "tag", "branch"))
    return _short(next(filter(None, said), ""))


def _short(name: str) -> str | None:
    return None if name in ("", "HEAD") else name.removeprefix("refs/heads/")


def _flux(told: dict[str, Any], kind: str) -> Sync:
    ready = condition(told, "Ready")
    says, why = text(ready, "status"), text(ready, "reason")
    healthy: bool | None = None
    trouble = None
    ill: tuple[str, ...] = ()
    if is_current(told) and says in ("True", "False"):
        healthy = says == "True"
        if not healthy:
            released = condition(told, "Released") if why in _UNDONE else {}
            is_known = text(released, "status") == "False"
            message = one_line(text(released if is_known else ready, "message"), WORDS)
            trouble = ": ".join(filter(None, (why, message)))
            ill = tuple(_FAILED.findall(message)) if why == "HealthCheckFailed" else ()
            healthy = None if why in _UNDER_WAY else False
    if at(told, "spec", "suspend") is True:
        healthy, trouble = None, "it is suspended"
    return Sync(
        kind,
        text(told, "metadata", "namespace"),
        text(told, "metadata", "name"),
        commit_of(text(told, "status", "lastAppliedRevision")),
        commit_of(text(told, "status", "lastAttemptedRevision")),
        healthy,
        trouble,
        time(ready, "lastTransitionTime"),
        cause="" if healthy is not False else why,
        ill=ill if healthy is False else (),
        elsewhere=_ANOTHER if at(told, "spec", "kubeConfig") else "",
    )


def read_argo(applications: Iterable[dict[str, Any]]) -> tuple[Sync, ...]:
    """Applications: one for each Git source that they have."""
    return tuple(sync for one in applications for sync in _application(one))


def _application(told: dict[str, Any]) -> Iterator[Sync]:
    status = at(told, "status")
    several = records(told, "spec", "sources")
    sources = several or [source for source in (at(told, "spec", "source"),) if isinstance(source, dict)]
    healthy, trouble, cause = _health(status)
    ill = tuple(_degraded(status)) if cause == "Degraded" else ()
    server, name = (text(told, "spec", "destination", key) for key in ("server", "name"))
    elsewhere = "" if _HERE.fullmatch(server or name) else one_line(server or name)
    for i, source in enumerate(sources):
        path, values = text(source, "path"), _values(source, sources)
        if text(source, "chart") or not (path or values):
            continue
        moved = text(source, "kustomize", "namespace")
        spaces = (moved, text(source, "helm", "namespace"), text(told, "spec", "destination", "namespace"))
        is_synced = text(status, "sync", "status") == "Synced"
        compared = _revision(at(status, "sync"), i, is_several=bool(several))
        tried = _revision(at(status, "operationState", "syncResult"), i, is_several=bool(several))
        has_succeeded = text(status, "operationState", "phase") == "Succeeded"
        yield Sync(
            "Application",
            text(told, "metadata", "namespace"),
            text(told, "metadata", "name"),
            compared if is_synced else tried if has_succeeded else None,
            compared if is_synced else tried,
            healthy,
            trouble,
            time(status, "operationState", "finishedAt"),
            text(source, "repoURL") or None,
            path,
            cause,
            ill,
            None if elsewhere else next(filter(None, spaces), None),
            at(source, "directory", "recurse") is True,
            values,
            _short(text(source, "targetRevision")),
            bool(moved),
            text(source, "kustomize", "namePrefix"),
            text(source, "kustomize", "nameSuffix"),
            elsewhere,
        )


def _values(source: dict[str, Any], sources: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The files of values in this source's repository: the chart's own, and those that it, or a chart of
    another source (`$ref/…`), names."""
    folder, ref = text(source, "path").strip("/"), text(source, "ref")
    found = [posixpath.join(folder, "values.yaml")] if folder else []
    for one in sources:
        named = at(one, "helm", "valueFiles")
        for file in named if isinstance(named, list) else ():
            if not isinstance(file, str):
                continue
            if file.startswith("$"):
                start, _, rest = file.partition("/")
                found += [rest] if ref and start == f"${ref}" else []
            elif one is source:
                found.append(file.strip("/") if file.startswith("/") else posixpath.join(folder, file))
    return tuple(dict.fromkeys(map(posixpath.normpath, found)))


def _revision(told: Any, i: int, *, is_several: bool) -> str | None:
    if not is_several:
        return commit_of(text(told, "revision"))
    revisions = at(told, "revisions")
    here = revisions[i] if isinstance(revisions, list) and i < len(revisions) else None
    return commit_of(here) if isinstance(here, str) else None


def _degraded(status: Any) -> Iterator[str]:
    """The objects of an Application that it says are degraded."""
    for one in records(status, "resources"):
        if text(one, "health", "status") == "Degraded":
            yield f"{text(one, 'kind')}/{text(one, 'namespace')}/{text(one, 'name')}"


def _health(status: Any) -> tuple[bool | None, str | None, str]:
    """Whether an Application is well, what it says where it is not, and its word for that."""
    phase = text(status, "operationState", "phase")
    if phase in ("Failed", "Error") and text(status, "sync", "status") != "Synced":
        return False, f"{phase}: {one_line(text(status, 'operationState', 'message'), WORDS)}", phase
    health = text(status, "health", "status")
    if health == "Degraded":
        words = line(status, "health", "message")
        return False, f"{health}: {words}" if words else health, health
    if health == "Healthy" and text(status, "sync", "status") == "Synced":
        return True, None, ""
    return None, None, ""
