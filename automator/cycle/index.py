"""The config repo at one commit: policies, sites and who owns which, kept up to date by blob.

An unchanged file is never parsed twice: a new head costs one tree difference and the files in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice

from automator.core.claims import Claims, Ledger
from automator.core.history import FileChange, FileVersion
from automator.core.policy import InvalidWorkload, PolicySet, Workload, parse_policies
from automator.core.reference import Repository
from automator.core.site import FileSites, Site, locate, may_hold_sites
from automator.cycle.earlier import Earlier, held, held_sites, with_last_valid
from automator.cycle.source import BLOB_LIMIT, Scope, Source, decode
from automator.edges.checkout import SUBMODULE, SYMLINK, Entry
from automator.errors import ManifestError
from automator.reasons import Reason, reason

NO_TEXT = "\0"
"""What a policy file that is no text, or no file, counts as: it is as broken as one that does not parse."""
LOOKED_OVER = 300
"""Files that name no watched image and are looked at for faults when the head has moved."""
SEARCHED = 20
"""Files that cannot be read and whose past is searched, when the head has moved."""
LOCATED_KEPT = 20_000
"""Blobs of the past whose sites are kept in memory beside the present ones."""


_WORD = re.compile(rb"[A-Za-z0-9_.-]+")


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

    def held_tags(self, image: str) -> frozenset[str]:
        """Tags that the owned sites of an image hold."""
        sites = (site for found in self.claims.sites.values() for site in found)
        return frozenset(s.tag for s in sites if s.tag is not None and str(s.repository) == image)

    @cached_property
    def by_repository(self) -> dict[Repository, tuple[str, ...]]:
        """Valid workloads with sites, by the repository they watch."""
        found: dict[Repository, list[str]] = {}
        for w in self.policies.workloads:
            if isinstance(w, Workload) and self.claims.sites.get(w.name):
                found.setdefault(w.repository, []).append(w.name)
        return {repository: tuple(names) for repository, names in found.items()}


@dataclass
class Index:
    """Keeps the snapshot of a config repo's branch as its head moves."""

    source: Source
    scope: Scope
    earlier: Earlier
    thorough: bool = False
    """Read every file at once, as `check` does, instead of those that name a watched image first."""
    snapshot: Snapshot | None = None
    parsed: int = 0
    """Files parsed since the start: what a cycle without news must not raise."""
    _entries: dict[str, Entry] = field(default_factory=dict)
    _sites: dict[str, tuple[Site, ...]] = field(default_factory=dict)
    _troubles: dict[str, Reason] = field(default_factory=dict)
    _policy_texts: dict[str, str] = field(default_factory=dict)
    _fields: tuple[str, ...] = ()
    _repositories: set[Repository] = field(default_factory=set)
    _names: frozenset[bytes] = frozenset()
    """Last parts of the watched images' names: a file without any of them holds no site that counts."""
    _unread: dict[str, str] = field(default_factory=dict)
    """Files that name no watched image, and are yet to be looked at for faults: path -> blob id."""
    _ledger: Ledger | None = None
    _whole: bool = True
    """Whether everything here is of the snapshot's commit."""
    _located: dict[tuple[str, str], FileSites] = field(default_factory=dict)

    def move_to(self, commit: str) -> Snapshot:
        """Bring the snapshot to `commit`, which must have been fetched."""
        old = self.snapshot
        if old is not None and old.commit == commit:
            return old
        if not self._whole:
            old = None
            self._begin_again()
        self._whole = False  # until all is read: an error on the way must not leave half of two commits
        changed, removed = self._difference(old, commit)
        before = {path: self._sites[path] for path in changed if path in self._sites}
        for path in (*changed, *removed):
            self._forget(path)
        self._note_links(changed)
        policies = self._move_policies(old, commit, changed, removed)
        unreadable = self._read_manifests(self._affected(policies, changed), before)
        self._hold_unreadable(commit, unreadable, before)
        self._look_over()
        claims = self._claims(policies, old, (*changed, *removed))
        self._whole = True
        self._prune()
        self.snapshot = Snapshot(commit, policies, claims, dict(self._troubles))
        return self.snapshot

    def forget(self) -> None:
        """The clone was made anew: everything is read again."""
        self._whole = False
        self.snapshot = None

    def _begin_again(self) -> None:
        for kept in (self._entries, self._sites, self._troubles, self._policy_texts, self._unread):
            kept.clear()

    def _claims(self, policies: PolicySet, old: Snapshot | None, touched: Iterable[str]) -> Claims:
        if self._ledger is None or old is None or policies is not old.policies:
            self._ledger = Ledger(policies.workloads)
            touched = self._sites
        for path in touched:
            self._ledger.put(path, self._sites.get(path, ()))
        return self._ledger.claims()

    def texts(self, paths: Iterable[str]) -> dict[str, str]:
        """Texts of files at the snapshot's commit, read at once; one that is no text is left out."""
        found = {}
        for path, data in self._blobs_of({path: self._entries[path].oid for path in paths}):
            try:
                found[path] = decode(data)
            except ManifestError:
                continue
        return found

    def _locate_blobs(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], FileSites]:
        """Sites of (path, blob id) pairs anywhere in history, each blob parsed once."""
        keys = {(oid, _base_name(path)) for path, oid in wanted}
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
            found = None if oid is None else blobs[(oid, _base_name(path))]
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
        self._unread.pop(path, None)
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
            if not entry.is_file and self.scope.is_policy(path):
                self._policy_texts[path] = NO_TEXT

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
                self._policy_texts[path] = NO_TEXT
                self._troubles[path] = reason("file/unreadable", file=path, problem=error.reason.sentence)
        return self._policies(commit)

    def _affected(self, policies: PolicySet, changed: Mapping[str, Entry]) -> dict[str, str]:
        """Manifests to read: those that changed; and where policies watch more than before, those that
        did not matter until now, or all where they name other fields."""
        fields = tuple(sorted({w.where.field for w in policies.workloads if w.where.field is not None}))
        repositories = {w.repository for w in policies.workloads if w.repository is not None}
        more = not repositories <= self._repositories
        self._repositories = repositories
        self._names = frozenset(r.path.rpartition("/")[2].encode() for r in repositories)
        if fields != self._fields:
            self._fields = fields
            self._located.clear()
            self._sites.clear()
            changed = self._entries
        elif more and not self.thorough:
            changed = {path: entry for path, entry in self._entries.items() if path not in self._sites}
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

    def _read_manifests(self, files: Mapping[str, str], before: Collection[str]) -> dict[str, bytes | None]:
        """Take the sites of files; returns those that could not be read, with their bytes. Those that
        had sites `before` are looked at whatever they say now."""
        unreadable: dict[str, bytes | None] = {}
        for path, data in self._blobs_of(files):
            if path not in before and not self._matters(data):
                if data is not None and may_hold_sites(data):
                    self._unread[path] = files[path]
                continue
            self._unread.pop(path, None)
            name = _base_name(path)
            found = self._located.get((files[path], name))
            if found is None:
                found = self._locate(data, name, screened=path not in before)
                if found.sites:
                    self._located[(files[path], name)] = found
            if found.trouble is not None:
                self._troubles[path] = reason("file/unreadable", file=path, problem=found.trouble.sentence)
                unreadable[path] = data
            elif not path.isprintable() and found.sites:
                self._troubles[path] = reason("file/odd-path", file=ascii(path))
                self._sites[path] = held(found.sites, path, self._troubles[path])
            elif found.sites:
                self._sites[path] = tuple(site.at(path) for site in found.sites)
        return unreadable

    def _hold_unreadable(
        self, commit: str, unreadable: Mapping[str, bytes | None], before: Mapping[str, tuple[Site, ...]]
    ) -> None:
        """Keep the sites that files which cannot be read had when they could, held.

        History is asked only for files that say something of a watched image and are no templates:
        those never could be read.
        """
        asked = 0
        for path, data in unreadable.items():
            why = self._troubles[path]
            if path in before:
                self._sites[path] = held(before[path], path, why)
                continue
            if data is not None and (b"{{" in data or not self._says_something(data)):
                continue
            asked += 1
            if asked > SEARCHED:
                return
            texts = self.earlier.texts(commit, path)
            locate_here = partial(locate, name=_base_name(path), fields=self._fields)
            sites = held_sites(texts, locate_here, path, why)
            if sites:
                self._sites[path] = sites

    def _matters(self, data: bytes | None) -> bool:
        """Whether a file may hold a site that a policy claims: by the words in it, without parsing."""
        if self.thorough or data is None or b"\0" in data:
            return True
        if b"automator:" in data or self._names_field(data):
            return True
        return may_hold_sites(data) and self._names_image(data)

    def _may_matter(self, data: bytes) -> bool:
        return b"\0" in data or may_hold_sites(data) or self._names_field(data)

    def _says_something(self, data: bytes) -> bool:
        """Whether a file's bytes speak of a watched image, readable as YAML or not."""
        return self._names_image(data) or self._names_field(data)

    def _names_image(self, data: bytes) -> bool:
        # UTF-16 is no text here, but what it says of images counts all the same.
        return not self._names.isdisjoint(_WORD.findall(data.replace(b"\0", b"")))

    def _look_over(self) -> None:
        """Look at some of the files that do not matter, so that their faults are told too: at all of
        them in a small config repo, in a large one at some more with each new head."""
        some = dict(islice(self._unread.items(), LOOKED_OVER))
        for path, data in self._blobs_of(some):
            del self._unread[path]
            trouble = self._locate(data, _base_name(path)).trouble
            if trouble is not None:
                self._troubles[path] = reason("file/unreadable", file=path, problem=trouble.sentence)

    def _prune(self) -> None:
        """Let go of blobs that neither the present tree nor a recent look at history needs."""
        if len(self._located) > LOCATED_KEPT + len(self._sites):
            present = {(self._entries[path].oid, _base_name(path)) for path in self._sites}
            self._located = {key: found for key, found in self._located.items() if key in present}

    def _locate(self, data: bytes | None, name: str, *, screened: bool = True) -> FileSites:
        if screened and data is not None and not self._may_matter(data):
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
        if not policies.broken and all(w.repository is not None for w in policies.workloads):
            return policies
        return with_last_valid(policies, lambda path: self.earlier.texts(commit, path))


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]
