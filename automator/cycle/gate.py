"""The gate: what `check` finds in a plain folder of policies and manifests, without network.

It reads the folder through the same index as a cycle reads a commit, so it cannot judge otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from automator.core.decide import differing
from automator.core.policy import InvalidWorkload, Place, Workload
from automator.core.site import Site
from automator.cycle.earlier import Earlier
from automator.cycle.index import Index, Snapshot
from automator.cycle.source import Scope
from automator.edges.checkout import Entry, FileLog, TreeChange
from automator.edges.folder import FolderSource
from automator.reasons import Reason, reason


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
    found = [*_policy_findings(snapshot), *_file_findings(snapshot), *_site_findings(snapshot)]
    claimed = sum(len(sites) for sites in snapshot.claims.sites.values())
    found.sort(key=lambda f: (not f.error, _in_file_order(f.place), f.reason.code))
    return Verdict(len(snapshot.workloads), claimed, tuple(dict.fromkeys(found)))


def _in_file_order(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (place, 0)


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


def _site_findings(snapshot: Snapshot) -> Iterator[Finding]:
    claims = snapshot.claims
    for name, why in claims.problems.items():
        yield Finding(True, str(snapshot.workloads[name].place), why)
    for why in claims.warnings:
        yield Finding(False, "manifests", why)
    for entry in snapshot.policies.workloads:
        if isinstance(entry, Workload) and entry.name not in claims.problems:
            yield from _workload_findings(entry, claims.sites.get(entry.name, ()))


def _workload_findings(workload: Workload, sites: tuple[Site, ...]) -> Iterator[Finding]:
    if not sites:
        why = reason("site/none", workload=workload.name, image=workload.repository)
        yield Finding(False, str(workload.place), why)
        return
    for site in sites:
        if site.held is not None:
            yield Finding(False, str(Place(site.file, site.line)), site.held)
    other = next((site for site in sites if site.tag != sites[0].tag), None)
    if other is not None:
        yield Finding(False, str(workload.place), differing(workload, sites[0], other))
