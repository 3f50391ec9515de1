"""The gate: what `check` finds in a plain folder of policies and manifests, without network.

It reads the folder through the same index as a cycle reads a commit, so it cannot judge otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from automator.core.deadmarkers import FluxPolicy, Survey, flux_policies, is_known, survey
from automator.core.decide import differing
from automator.core.policy import InvalidWorkload, Place, Workload
from automator.core.site import Site
from automator.core.yamltext import Document, parse
from automator.cycle.earlier import Earlier
from automator.cycle.index import Index, Snapshot
from automator.cycle.source import BLOB_LIMIT, Scope, decode
from automator.edges.checkout import Entry, FileLog, TreeChange
from automator.edges.folder import FolderSource
from automator.errors import ManifestError
from automator.reasons import Reason, reason

_MARKER_WORDS = (b"$imagepolicy", b"automator:", b"ImagePolicy")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` has to say."""

    error: bool
    """True: it cannot work. False: it will surprise."""
    place: str
    """`file:line`, or the file."""
    reason: Reason

    @property
    def level(self) -> str:
        return "error" if self.error else "warning"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything `check` found in a folder."""

    workloads: int
    sites: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        return sum(finding.error for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors


class _Folder:
    """A folder as a source for the index; it is one commit without a past."""

    def __init__(self, root: Path) -> None:
        self._files = FolderSource(root)

    def tree(self, commit: str) -> Mapping[str, Entry]:
        return {path: Entry(mode, path) for path, mode in self._files.modes().items()}

    def changes(self, old: str, new: str) -> tuple[TreeChange, ...]:
        return ()

    def blobs(self, oids: Iterable[str], *, limit: int) -> Iterator[tuple[str, bytes | None]]:
        return self._files.blobs(oids, limit=limit)

    def file_log(self, commit: str, paths: Sequence[str], *, limit: int) -> FileLog:
        return FileLog((), complete=True)


def check(root: Path, scope: Scope) -> Verdict:
    """Judge the policies and manifests below a folder.

    Raises UsageError where `root` is no folder.
    """
    folder = _Folder(root)
    snapshot = Index(folder, scope, Earlier(folder), thorough=True).move_to("folder")
    markers = _Markers(snapshot)
    markers.read(folder, scope)
    found = [*_policy_findings(snapshot), *_file_findings(snapshot), *markers.findings()]
    found += _site_findings(snapshot, markers)
    claimed = sum(len(sites) for sites in snapshot.claims.sites.values())
    found.sort(key=lambda f: (not f.error, _in_file_order(f.place), f.reason.code))
    return Verdict(len(snapshot.workloads), claimed, tuple(dict.fromkeys(found)))


def _in_file_order(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (place, 0)


class _Markers:
    """What the markers of a folder's files say, in files that hold any."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._sites: dict[str, list[Site]] = {}
        claims = snapshot.claims
        for site in (*chain.from_iterable(claims.sites.values()), *claims.unowned):
            self._sites.setdefault(site.file, []).append(site)
        self._surveys: dict[str, Survey] = {}
        self._declared: list[FluxPolicy] = []

    def read(self, folder: _Folder, scope: Scope) -> None:
        """Look at every file that speaks of a policy of Flux or of a workload."""
        entries = folder.tree("folder").items()
        paths = [path for path, entry in entries if entry.is_file and scope.is_manifest(path)]
        for path, data in folder.blobs(paths, limit=BLOB_LIMIT):
            if data is None or not any(word in data for word in _MARKER_WORDS):
                continue
            try:
                text = decode(data)
            except ManifestError:
                continue
            documents = _documents(text)
            self._declared.extend(flux_policies(documents or ()))
            self._surveys[path] = survey(text, documents, self._sites.get(path, ()))

    def findings(self) -> Iterator[Finding]:
        """Markers that cannot work, and those of a policy that nobody declares."""
        for path, found in self._surveys.items():
            dead = {line for line, _ in found.dead}
            for line, why in found.dead:
                yield Finding(False, str(Place(path, line)), why)
            for line, policy in found.policies:
                if self._declared and line not in dead and not is_known(policy, self._declared):
                    why = reason("marker/unknown-policy", line=line, policy=policy)
                    yield Finding(False, str(Place(path, line)), why)

    def is_live(self, site: Site) -> bool:
        """Whether Flux sees the marker at a site."""
        found = self._surveys.get(site.file)
        lines = {site.line - 1, site.line}
        return found is not None and lines.isdisjoint(line for line, _ in found.dead)

    def missing(self, workload: Workload) -> Reason | None:
        """Why a workload that looks for a marker has no site, if no file has that marker."""
        wanted = workload.where.marker
        named = {policy for found in self._surveys.values() for _, policy in found.policies}
        if wanted is None or wanted in named or wanted in {name.partition(":")[2] for name in named}:
            return None
        return reason("marker/none", marker=wanted, workload=workload.name)


def _documents(text: str) -> tuple[Document, ...] | None:
    try:
        return parse(text)
    except ManifestError:
        return None


def _no_site(workload: Workload) -> Reason:
    return reason("site/none", workload=workload.name, image=workload.repository)


def _policy_findings(snapshot: Snapshot) -> Iterator[Finding]:
    for place, why in snapshot.policies.problems:
        yield Finding(True, str(place), why)
    for place, why in snapshot.policies.warnings:
        yield Finding(False, str(place), why)
    told = {why for _, why in snapshot.policies.problems}
    for entry in snapshot.policies.workloads:
        if isinstance(entry, InvalidWorkload) and entry.reason not in told:
            yield Finding(True, str(entry.place), entry.reason)
    if not snapshot.workloads and not snapshot.policies.problems:
        yield Finding(False, "policies", reason("policy/none"))


def _file_findings(snapshot: Snapshot) -> Iterator[Finding]:
    for path, why in snapshot.troubles.items():
        yield Finding(False, path, why)


def _site_findings(snapshot: Snapshot, markers: _Markers) -> Iterator[Finding]:
    claims = snapshot.claims
    for name, why in claims.problems.items():
        yield Finding(True, str(snapshot.workloads[name].place), why)
    for why in claims.warnings:
        yield Finding(False, "manifests", why)
    for entry in snapshot.policies.workloads:
        if isinstance(entry, Workload) and entry.name not in claims.problems:
            yield from _workload_findings(entry, claims.sites.get(entry.name, ()), markers)


def _workload_findings(workload: Workload, sites: tuple[Site, ...], markers: _Markers) -> Iterator[Finding]:
    if not sites:
        yield Finding(False, str(workload.place), markers.missing(workload) or _no_site(workload))
        return
    for site in sites:
        place = str(Place(site.file, site.line))
        if site.held is not None:
            yield Finding(False, place, site.held)
        if site.marker is not None and markers.is_live(site):
            yield Finding(False, place, reason("marker/shared", site=site.label, marker=site.marker))
    other = next((site for site in sites if site.tag != sites[0].tag), None)
    if other is not None:
        yield Finding(False, str(workload.place), differing(workload, sites[0], other))
