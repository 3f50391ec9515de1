"""Surroundings: what the files of a folder say of the sites in others; overlays, markers, other bots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Protocol

from automator.core.deadmarkers import FluxPolicy, Survey, flux_policies, is_known, survey
from automator.core.found import KUSTOMIZATIONS
from automator.core.overlays import WORDS as DEPLOYS
from automator.core.overlays import Kustomization, Overlays, deployers, kustomization, operations
from automator.core.policy import Workload
from automator.core.site import Site
from automator.core.writers import CONFIGS, WORDS, Said, Writers, said_by_config, said_by_manifest
from automator.core.yamltext import Document, parse
from automator.cycle.findings import Finding
from automator.cycle.index import Snapshot
from automator.cycle.source import BLOB_LIMIT, Scope, decode
from automator.edges.checkout import Entry
from automator.errors import ManifestError
from automator.reasons import Reason, reason

_MARKER_WORDS = (b"$imagepolicy", b"automator:", b"ImagePolicy")


class Files(Protocol):
    """The folder."""

    def tree(self, commit: str) -> Mapping[str, Entry]: ...
    def blobs(self, oids: Iterable[str], *, limit: int) -> Iterator[tuple[str, bytes | None]]: ...


class Surroundings:
    """Everything around the sites of a folder that makes an edit there dead, or somebody else's too."""

    def __init__(self, snapshot: Snapshot, folder: Files, scope: Scope) -> None:
        self._sites: dict[str, list[Site]] = {}
        claims = snapshot.claims
        for site in (*chain.from_iterable(claims.sites.values()), *claims.unowned):
            self._sites.setdefault(site.file, []).append(site)
        self._surveys: dict[str, Survey] = {}
        self._declared: list[FluxPolicy] = []
        self._kustomizations: list[Kustomization] = []
        self._said: list[Said] = []
        self._read(folder, scope)
        self._overlays = Overlays(self._kustomizations, claims.sites, self._sites, self._operations(folder))
        self._writers = Writers(self._said)

    def _read(self, folder: Files, scope: Scope) -> None:
        entries = {path: entry for path, entry in folder.tree("folder").items() if entry.is_file}
        configs = [path for path in CONFIGS if path in entries]
        paths = [path for path in entries if scope.is_manifest(path) and path not in configs]
        for path, data in folder.blobs((*configs, *paths), limit=BLOB_LIMIT):
            try:
                if path in configs:
                    self._said.append(said_by_config(path, decode(data)))
                elif data is not None:
                    self._read_manifest(path, data)
            except ManifestError:
                continue

    def _operations(self, folder: Files) -> dict[str, tuple[str, ...]]:
        """What the JSON patches that Kustomizations name write."""
        named = {patch.file for one in self._kustomizations for patch in one.patches if not patch.within}
        found: dict[str, tuple[str, ...]] = {}
        for path, data in folder.blobs(sorted(named & self._sites.keys()), limit=BLOB_LIMIT):
            try:
                found[path] = operations(decode(data))
            except ManifestError:
                continue
        return found

    def _read_manifest(self, path: str, data: bytes) -> None:
        """Look at a manifest that says something of others, or of a policy of Flux.

        Raises ManifestError where it is no text.
        """
        marked = any(word in data for word in _MARKER_WORDS)
        overlay = path.rpartition("/")[2] in KUSTOMIZATIONS
        bots = any(word in data for word in WORDS)
        deploys = any(word in data for word in DEPLOYS)
        if not (marked or overlay or bots or deploys):
            return
        text = decode(data)
        documents = _documents(text)
        if marked:
            self._declared.extend(flux_policies(documents or ()))
            self._surveys[path] = survey(text, documents, self._sites.get(path, ()))
        if overlay and documents and (found := kustomization(path, text, documents)) is not None:
            self._kustomizations.append(found)
        if deploys and documents:
            self._kustomizations += deployers(path, text, documents)
        if bots and documents:
            self._said.append(said_by_manifest(path, text, documents))

    def marker_findings(self) -> Iterator[Finding]:
        """Markers that cannot work, and those of a policy that nobody declares."""
        for path, found in self._surveys.items():
            dead = {line for line, _ in found.dead}
            for line, why in found.dead:
                yield Finding(False, path, line, why)
            for line, policy in found.policies:
                if self._declared and line not in dead and not is_known(policy, self._declared):
                    why = reason("marker/unknown-policy", line=line, policy=policy)
                    yield Finding(False, path, line, why, policy)

    def missing_marker(self, workload: Workload) -> Reason | None:
        """Why a workload that looks for a marker has no site, if no file has that marker."""
        wanted = workload.where.marker
        named = {policy for found in self._surveys.values() for _, policy in found.policies}
        if wanted is None or wanted in named or wanted in {name.partition(":")[2] for name in named}:
            return None
        return reason("marker/none", marker=wanted, workload=workload.name)

    def of_site(self, workload: Workload, site: Site) -> Iterator[Reason]:
        """What makes an edit at a site of a workload dead, or somebody else's too."""
        if site.marker is not None and self._is_live(site):
            yield reason("marker/shared", site=site.label, marker=site.marker)
        if (overridden := self._overlays.overridden(workload, site)) is not None:
            yield overridden
        yield from self._writers.at(site)

    def _is_live(self, site: Site) -> bool:
        """Whether Flux sees the marker at a site."""
        found = self._surveys.get(site.file)
        lines = {site.line - 1, site.line}
        return found is not None and lines.isdisjoint(line for line, _ in found.dead)


def _documents(text: str) -> tuple[Document, ...] | None:
    try:
        return parse(text)
    except ManifestError:
        return None
