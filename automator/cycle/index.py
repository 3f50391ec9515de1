"""The config repo at one commit: policies, sites and who owns which, kept up to date by blob.

An unchanged file is never parsed twice: a new head costs one tree difference and the files in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Protocol

from automator.core.claims import Claims, assign, paths_match
from automator.core.history import FileChange, FileVersion
from automator.core.policy import InvalidWorkload, Place, PolicySet, Workload, parse_policies
from automator.core.reference import Repository
from automator.core.site import FileSites, Site, locate, may_hold_sites
from automator.cycle.reach import Reach
from automator.edges.checkout import SUBMODULE, SYMLINK, Entry, FileLog, TreeChange
from automator.errors import ManifestError
from automator.reasons import Reason, reason

BLOB_LIMIT = 8_000_000
"""Bytes; larger files are named and left alone."""

VERSIONS_TRIED = 50
"""Older versions of a broken policy file that are tried at most."""

YAML_ENDINGS = (".yaml", ".yml", ".json")
YAML_NAMES = ("Kustomization",)
NEVER_WRITTEN = ("CODEOWNERS",)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the config lets policies claim, and where policies live."""

    policies: str = "policies"
    write: tuple[str, ...] = ("**",)
    ignore: tuple[str, ...] = ()

    def is_policy(self, path: str) -> bool:
        return path.startswith(self.policies.rstrip("/") + "/") and path.endswith((".yaml", ".yml"))

    def is_manifest(self, path: str) -> bool:
        """Whether a file at this path may hold sites (DESIGN section 6, "Never written")."""
        pure = PurePosixPath(path)
        if not (path.endswith(YAML_ENDINGS) or pure.name in YAML_NAMES):
            return False
        if path.startswith(self.policies.rstrip("/") + "/") or pure.name in NEVER_WRITTEN:
            return False
        if any(not c.isprintable() for c in path):
            return False
        hidden = any(part.startswith(".") for part in pure.parts[:-1])
        if hidden and not _matches(tuple(p for p in self.write if p.startswith(".")), path):
            return False
        return _matches(self.write, path) and not _matches(self.ignore, path)


def _matches(patterns: tuple[str, ...], path: str) -> bool:
    return patterns == ("**",) or (bool(patterns) and paths_match(patterns)(path))


@dataclass(frozen=True)
class Snapshot:
    """Everything the core needs to know of the config repo at one commit."""

    commit: str
    policies: PolicySet
    claims: Claims
    troubles: Mapping[str, Reason]
    """Files that could not be read, and why; no workload needs them."""

    @cached_property
    def warnings(self) -> tuple[Reason, ...]:
        """Everything wrong that stops no workload by itself."""
        unread = [self.troubles[path] for path in sorted(self.troubles)]
        problems = [why for _, why in self.policies.problems]
        odd = [why for _, why in self.policies.warnings]
        return (*problems, *unread, *odd, *self.claims.warnings)

    @cached_property
    def workloads(self) -> dict[str, Workload | InvalidWorkload]:
        return {w.name: w for w in self.policies.workloads}

    @cached_property
    def by_repository(self) -> dict[Repository, tuple[str, ...]]:
        """Valid workloads with sites, by the repository they watch."""
        found: dict[Repository, list[str]] = {}
        for w in self.policies.workloads:
            if isinstance(w, Workload) and self.claims.sites.get(w.name):
                found.setdefault(w.repository, []).append(w.name)
        return {repository: tuple(names) for repository, names in found.items()}


class Source(Protocol):
    """Where files are read from: a clone (`edges.checkout`), or a folder for `check`."""

    def tree(self, commit: str) -> Mapping[str, Entry]: ...
    def changes(self, old: str, new: str) -> tuple[TreeChange, ...]: ...
    def blobs(self, oids: Iterable[str], *, limit: int) -> Iterator[tuple[str, bytes | None]]: ...
    def file_log(self, commit: str, paths: Sequence[str], *, limit: int) -> FileLog: ...


@dataclass
class Index:
    """Keeps the snapshot of a config repo's branch as its head moves."""

    source: Source
    scope: Scope
    reach: Reach | None = None
    """How older history is had; a plain folder has none."""
    snapshot: Snapshot | None = None
    parsed: int = 0
    """Files parsed since the start: what a cycle without news must not raise."""
    _entries: dict[str, Entry] = field(default_factory=dict)
    _sites: dict[str, tuple[Site, ...]] = field(default_factory=dict)
    _troubles: dict[str, Reason] = field(default_factory=dict)
    _policy_texts: dict[str, str] = field(default_factory=dict)
    _fields: tuple[str, ...] = ()
    _located: dict[tuple[str, str], FileSites] = field(default_factory=dict)

    def move_to(self, commit: str) -> Snapshot:
        """Bring the snapshot to `commit`, which must have been fetched."""
        old = self.snapshot
        if old is not None and old.commit == commit:
            return old
        changed, removed = self._difference(old, commit)
        for path in (*changed, *removed):
            self._forget(path)
        self._note_links(changed)
        policies = self._move_policies(old, commit, changed, removed)
        self._read_manifests(self._affected(policies, changed))
        sites = [site for found in self._sites.values() for site in found]
        claims = assign(sites, policies.workloads)
        self.snapshot = Snapshot(commit, policies, claims, dict(self._troubles))
        return self.snapshot

    def text(self, path: str) -> str:
        """The text of a file at the snapshot's commit.

        Raises ManifestError where it cannot be read.
        """
        _, data = next(iter(self.source.blobs([self._entries[path].oid], limit=BLOB_LIMIT)))
        return decode(data)

    def _locate_blobs(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], FileSites]:
        """Sites of (path, blob id) pairs anywhere in history, each blob parsed once."""
        keys = {(oid, PurePosixPath(path).name) for path, oid in wanted}
        missing = [key for key in keys if key not in self._located]
        names: dict[str, list[str]] = {}
        for oid, name in missing:
            names.setdefault(oid, []).append(name)
        for oid, data in self.source.blobs(list(names), limit=BLOB_LIMIT):
            for name in names[oid]:
                self._located[(oid, name)] = self._locate(data, name)
        return {key: self._located[key] for key in keys}

    def file_versions(self, changes: Iterable[FileChange]) -> list[FileVersion]:
        """Changes of files with the sites that their blobs hold, before and after."""
        changes = tuple(changes)
        blobs = self._locate_blobs(
            (change.path, oid)
            for change in changes
            for oid in (change.before, change.after)
            if oid is not None
        )

        def sites(path: str, oid: str | None) -> tuple[Site, ...] | None:
            found = None if oid is None else blobs[(oid, PurePosixPath(path).name)]
            return None if found is None or found.trouble is not None else found.sites

        return [
            FileVersion(change, sites(change.path, change.before), sites(change.path, change.after))
            for change in changes
        ]

    def _difference(self, old: Snapshot | None, commit: str) -> tuple[dict[str, Entry], set[str]]:
        """Entries to read and paths that went, from the last commit to this one."""
        if old is None:
            self._entries = dict(self.source.tree(commit))
            return self._entries, set()
        changed, removed = {}, set()
        for change in self.source.changes(old.commit, commit):
            if change.after is None:
                removed.add(change.path)
                del self._entries[change.path]
            else:
                changed[change.path] = self._entries[change.path] = change.after
        return changed, removed

    def _forget(self, path: str) -> None:
        self._sites.pop(path, None)
        self._troubles.pop(path, None)
        self._policy_texts.pop(path, None)

    def _note_links(self, changed: Mapping[str, Entry]) -> None:
        """Name what is never followed."""
        for path, entry in changed.items():
            if entry.mode == SUBMODULE:
                self._troubles[path] = reason("file/submodule", file=path)
            elif entry.mode == SYMLINK and (self.scope.is_policy(path) or self.scope.is_manifest(path)):
                self._troubles[path] = reason("file/symlink", file=path)

    def _move_policies(
        self, old: Snapshot | None, commit: str, changed: Mapping[str, Entry], removed: set[str]
    ) -> PolicySet:
        files = self._files(changed, self.scope.is_policy)
        if old is not None and not files and not any(map(self.scope.is_policy, (*changed, *removed))):
            return old.policies
        for path, data in self._blobs_of(files):
            try:
                self._policy_texts[path] = decode(data)
            except ManifestError as error:
                # A policy file that is no text is as broken as one that does not parse.
                self._policy_texts[path] = "\0"
                self._troubles[path] = reason("file/unreadable", file=path, problem=error.reason.sentence)
        return self._policies(commit)

    def _affected(self, policies: PolicySet, changed: Mapping[str, Entry]) -> dict[str, str]:
        """Manifests to read: those that changed, or all where policies name other fields than before."""
        fields = tuple(sorted({w.where.field for w in policies.workloads if w.where.field is not None}))
        if fields != self._fields:
            self._fields = fields
            self._located.clear()
            self._sites.clear()
            changed = self._entries
        return self._files(changed, self.scope.is_manifest)

    @staticmethod
    def _files(entries: Mapping[str, Entry], wanted: Callable[[str], bool]) -> dict[str, str]:
        """Path -> blob id of the regular files that are wanted."""
        return {path: entry.oid for path, entry in entries.items() if entry.is_file and wanted(path)}

    def _blobs_of(self, files: Mapping[str, str]) -> Iterator[tuple[str, bytes | None]]:
        """(path, bytes) of files given with their blob ids; each blob is read once."""
        paths: dict[str, list[str]] = {}
        for path, oid in files.items():
            paths.setdefault(oid, []).append(path)
        for oid, data in self.source.blobs(list(paths), limit=BLOB_LIMIT):
            for path in paths[oid]:
                yield path, data

    def _read_manifests(self, files: Mapping[str, str]) -> None:
        for path, data in self._blobs_of(files):
            name = PurePosixPath(path).name
            found = self._located.get((files[path], name))
            if found is None:
                found = self._locate(data, name)
                if found.sites:
                    self._located[(files[path], name)] = found
            if found.trouble is not None:
                self._troubles[path] = reason("file/unreadable", file=path, problem=found.trouble.sentence)
            if found.sites:
                self._sites[path] = tuple(site.at(path) for site in found.sites)

    def _locate(self, data: bytes | None, name: str) -> FileSites:
        if data is not None and not may_hold_sites(data) and not self._names_field(data):
            return FileSites(())
        try:
            text = decode(data)
        except ManifestError as error:
            return FileSites((), error.reason)
        self.parsed += 1
        return locate(text, name, self._fields)

    def _names_field(self, data: bytes) -> bool:
        """Whether the last key of a `where.field` stands somewhere in a file."""
        return any(re.split(r"[.\[]", field)[-1].strip("]'\"").encode() in data for field in self._fields)

    def _policies(self, commit: str) -> PolicySet:
        policies = parse_policies(dict(sorted(self._policy_texts.items())))
        if not policies.broken:
            return policies
        return with_last_valid(policies, lambda path: self._earlier_texts(commit, path))

    def _earlier_texts(self, commit: str, path: str) -> Iterable[str]:
        """Texts that a file had before, newest first, fetching history only as far as they are asked for."""
        seen = 0
        while True:
            log = self.source.file_log(commit, [path], limit=VERSIONS_TRIED)
            older = [change.before for change in log.changes if change.before is not None]
            for _, data in self.source.blobs(older[seen:], limit=BLOB_LIMIT):
                try:
                    yield decode(data)
                except ManifestError:
                    continue
            if (
                log.complete
                or len(older) >= VERSIONS_TRIED
                or self.reach is None
                or not self.reach.can_grow()
            ):
                return
            seen = len(older)
            self.reach.grow()


def decode(data: bytes | None) -> str:
    """A blob as text, byte for byte reversible.

    Raises ManifestError (`file/too-large`, `file/binary`).
    """
    if data is None:
        raise ManifestError(reason("file/too-large", limit=BLOB_LIMIT))
    if b"\0" in data:
        raise ManifestError(reason("file/binary"))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ManifestError(reason("file/binary")) from error


def with_last_valid(policies: PolicySet, earlier: Callable[[str], Iterable[str]]) -> PolicySet:
    """Hold the workloads of files that do not parse, as of their last version in Git that does.

    Their claims stay, so that a broken file frees no site for another policy (promise 7).
    """
    known = {w.name for w in policies.workloads}
    held: list[InvalidWorkload] = []
    for path in policies.broken:
        for text in earlier(path):
            old = parse_policies({path: text})
            if old.broken:
                continue
            held.extend(_held(workload, path) for workload in old.workloads if workload.name not in known)
            break
    return PolicySet(
        (*policies.workloads, *held), policies.problems, policies.broken, warnings=policies.warnings
    )


def _held(workload: Workload | InvalidWorkload, path: str) -> InvalidWorkload:
    why = reason("policy/broken-file", file=path)
    return InvalidWorkload(
        workload.name, workload.repository, workload.where, why, Place(path, workload.place.line)
    )
