"""The config repo at one commit: policies, sites and who owns which, kept up to date by blob.

An unchanged file is never parsed twice: a new head costs one tree difference and the files in it.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import islice

from automator.core.claims import Claims, Ledger
from automator.core.dotenv import is_dotenv
from automator.core.fields import parse_field
from automator.core.history import FileChange, FilePast, FileVersion
from automator.core.homes import Homes
from automator.core.joining import Joiner
from automator.core.policy import InvalidWorkload, PolicySet, Workload, group_of, parse_policies
from automator.core.reference import Repository
from automator.core.retold import Retelling
from automator.core.site import FileSites, Site, locate
from automator.core.sources import Source as Given
from automator.cycle.earlier import Earlier, held, last_readable, with_last_valid
from automator.cycle.kustomized import Kustomized, is_kustomization
from automator.cycle.located import Blob, Located, blob_of
from automator.cycle.screen import may_give, may_hold
from automator.cycle.source import BLOB_LIMIT, Scope, Source, decode
from automator.edges.checkout import SUBMODULE, SYMLINK, Entry
from automator.errors import ManifestError
from automator.reasons import Reason, reason

NO_TEXT = "\0"
"""What a policy file that is no text, or no file, counts as: it is as broken as one that does not parse."""
LOOKED_OVER = 300
"""Files that name no watched image and are looked at for faults when the head has moved."""
MANY_CHANGED = 20
"""Files of one head, from which on others are looked over too: reading those costs a process of its own."""
SEARCHED = 200
"""Files that cannot be read and whose past is searched, when the head has moved."""
RETELLINGS_KEPT = 2_000
"""Files of which one version is kept as a text, while others of it are told from that one."""

Retellings = dict[str, Retelling]
"""Of files, by path, the version that was parsed last."""


_WORD = re.compile(rb"[A-Za-z0-9_.-]+")
_WORD_TEXT = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Snapshot:
    """Everything the core needs to know of the config repo at one commit."""

    commit: str
    policies: PolicySet
    claims: Claims
    troubles: Mapping[str, Reason]
    """Files that could not be read, and why; no workload needs them."""
    registries: frozenset[str] = frozenset()
    """The only hosts that may be asked; empty for any. A rail of the same hosts holds what names others."""
    homes: Homes | None = None
    """Where Kustomizations put what other files hold; None where nobody asks what runs."""

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
        """Valid workloads with sites, by the repository whose tags they watch."""
        return self._watchers(lambda w: w.rule.followed is None)

    @cached_property
    def followers(self) -> dict[Repository, tuple[str, ...]]:
        """Valid workloads with sites that follow one tag, by its repository."""
        return self._watchers(lambda w: w.rule.followed is not None)

    @cached_property
    def watched(self) -> dict[Repository, bool]:
        """Repositories that are looked at; true for those whose tags are listed."""
        return {**dict.fromkeys(self.followers, False), **dict.fromkeys(self.by_repository, True)}

    @cached_property
    def has_chains(self) -> bool:
        """Whether any workload comes after another."""
        return any(isinstance(w, Workload) and w.guards.after is not None for w in self.policies.workloads)

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Names of the members of each group, invalid ones too."""
        found: dict[str, list[str]] = {}
        for w in self.policies.workloads:
            name = group_of(w)
            if name is not None:
                found.setdefault(name, []).append(w.name)
        return {group: tuple(sorted(set(names))) for group, names in found.items()}

    def _watchers(self, wanted: Callable[[Workload], bool]) -> dict[Repository, tuple[str, ...]]:
        found: dict[Repository, list[str]] = {}
        for w in self.policies.workloads:
            permitted = not self.registries or (
                isinstance(w, Workload) and w.listed.registry in self.registries
            )
            if isinstance(w, Workload) and permitted and wanted(w) and self.claims.sites.get(w.name):
                found.setdefault(w.listed, []).append(w.name)
        return {repository: tuple(names) for repository, names in found.items()}


@dataclass
class Index:
    """Keeps the snapshot of a config repo's branch as its head moves."""

    source: Source
    scope: Scope
    earlier: Earlier
    located: Located = field(default_factory=Located)
    """What is known of blobs, over restarts too where it has a store."""
    kustomized: Kustomized | None = None
    """Where anybody asks what runs: reads Kustomizations too of which no site is."""
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
    _markers: frozenset[bytes] = frozenset()
    """Names of the Flux policies that a `where.marker` names."""
    _unread: dict[str, str] = field(default_factory=dict)
    """Files that name no watched image, and are yet to be looked at for faults: path -> blob id."""
    _joiner: Joiner = field(default_factory=Joiner)
    """Sites that await what another file says, as they were located."""
    _ledger: Ledger | None = None
    _whole: bool = True
    """Whether everything here is of the snapshot's commit."""

    def move_to(self, commit: str, first_sight: Callable[[Snapshot], None] | None = None) -> Snapshot:
        """Bring the snapshot to `commit`, which must have been fetched.

        `first_sight` is told the snapshot as soon as sites and claims are known: faults of files that name
        no watched image are not among its troubles yet. It must not call the index.
        """
        old = self.snapshot
        if old is not None and old.commit == commit and self._whole:
            return old
        if old is not None and self._whole:
            return self._move(old, commit, first_sight)
        with _collector_paused():
            return self._move(old, commit, first_sight)

    def _move(
        self, old: Snapshot | None, commit: str, first_sight: Callable[[Snapshot], None] | None
    ) -> Snapshot:
        if not self._whole:
            old = None
            self._begin_again()
        self._whole = False  # until all is read: an error on the way must not leave half of two commits
        changed, removed = self._difference(old, commit)
        before = {path: self._sites[path] for path in changed if path in self._sites}
        given = {path: self._joiner.sources(path) for path in changed}
        for path in (*changed, *removed):
            self._forget(path)
        self._note_links(changed)
        self._place(changed, removed)
        policies = self._move_policies(old, commit, changed, removed)
        unreadable = self._read_manifests(self._affected(policies, changed), before)
        self._hold_unreadable(commit, unreadable, before, given)
        claims = self._claims(policies, old, (*changed, *removed, *self._join()))
        snapshot = self.snapshot = self._snapshot(commit, policies, claims)
        if first_sight is not None:
            first_sight(snapshot)
        if commit != self.located.head:
            self._look_over(None if old is None else changed)
        self._whole = True
        self.located.prune(self._entries)
        self.located.keep(commit)
        if snapshot.troubles != self._troubles:
            snapshot = self.snapshot = self._snapshot(commit, policies, claims)
        return snapshot

    def _snapshot(self, commit: str, policies: PolicySet, claims: Claims) -> Snapshot:
        homes = None if self.kustomized is None else self.kustomized.homes
        return Snapshot(commit, policies, claims, dict(self._troubles), self.scope.registries, homes)

    def forget(self) -> None:
        """The clone was made anew: everything is read again."""
        self._whole = False
        self.snapshot = None

    def _begin_again(self) -> None:
        for kept in (self._entries, self._sites, self._troubles, self._policy_texts, self._unread):
            kept.clear()
        if self.kustomized is not None:
            self.kustomized = Kustomized()
        news = self._joiner.news
        self._joiner = Joiner()
        self._joiner.news = news + 1

    def _keep(self, path: str, sites: tuple[Site, ...], given: tuple[Given, ...]) -> None:
        """Take what a file holds, and what it says of sites in others."""
        self._joiner.put(path, sites, given)
        if sites:
            self._sites[path] = sites

    def _join(self) -> tuple[str, ...]:
        """Bring sites that await what another file says up to date; returns their files."""
        joined = self._joiner.settle()
        for path, sites in joined.items():
            self._sites.pop(path, None)
            if sites:
                self._sites[path] = sites
        return tuple(joined)

    def _claims(self, policies: PolicySet, old: Snapshot | None, touched: Iterable[str]) -> Claims:
        if self._ledger is None or old is None or policies is not old.policies:
            self._ledger = Ledger(policies.workloads)
            touched = self._sites
        for path in touched:
            self._ledger.put(path, self._sites.get(path, ()))
        return self._ledger.claims()

    @property
    def policy_texts(self) -> Mapping[str, str]:
        """Text of every policy file at the snapshot's commit; NO_TEXT for one that is no text, or no file."""
        return self._policy_texts

    @property
    def sources_told(self) -> int:
        """Another number whenever files say something else of the images of sites in other files."""
        return self._joiner.news

    def awaits_others(self, past: FilePast, path: str) -> bool:
        """Whether what was read of a file's past hangs on what other files say today."""
        every = (sites for version in past.versions for sites in (version.before, version.after) if sites)
        return self._joiner.awaits(path) or any(s.awaits is not None for sites in every for s in sites)

    def texts(self, paths: Iterable[str]) -> dict[str, str]:
        """Texts of files at the snapshot's commit, read at once; one that is no text is left out."""
        found = {}
        for path, data in self._blobs_of({path: self._entries[path].oid for path in paths}):
            try:
                found[path] = decode(data)
            except ManifestError:
                continue
        return found

    def _locate_blobs(
        self, wanted: Iterable[tuple[str, str]], naming: bytes, retellings: Retellings
    ) -> dict[Blob, FileSites]:
        """Sites of (path, blob id) pairs anywhere in history, each blob parsed once; none of one without
        the bytes `naming` in it."""
        paths = {blob_of(path, oid): path for path, oid in wanted}
        found = {blob: self.located.get(blob) for blob in paths}
        names: dict[str, list[str]] = {}
        for (oid, name), sites in found.items():
            if sites is None:
                names.setdefault(oid, []).append(name)
        for oid, data in self.source.blobs(list(names), limit=BLOB_LIMIT):
            passed = data is not None and naming not in data.replace(b"\0", b"")
            for name in names[oid]:
                blob = oid, name
                if passed and not is_dotenv(name):  # the image of a variable stands elsewhere
                    found[blob] = FileSites(())
                else:
                    found[blob] = self._retell(data, blob, retellings, paths[blob])
        self.located.keep()
        return {blob: sites for blob, sites in found.items() if sites is not None}

    def _retell(self, data: bytes | None, blob: Blob, retellings: Retellings, path: str) -> FileSites:
        """Sites of one of many versions of a file: parsed, unless only its images' versions differ from one
        that was."""
        known = retellings.get(path)
        if known is not None and data is not None:
            sites = known.sites_of(data.decode("utf-8", "replace"))
            if sites is not None:
                return FileSites(sites)
        found = self._locate(data, blob)
        if found.sites and found.trouble is None:
            if len(retellings) >= RETELLINGS_KEPT:
                retellings.clear()
            retellings[path] = Retelling(decode(data), found.sites)
        return found

    def file_versions(
        self,
        changes: Iterable[FileChange],
        naming: bytes = b"",
        *,
        past: bool = False,
        retellings: Retellings | None = None,
    ) -> list[FileVersion]:
        """Changes of files with the sites that their blobs hold, before and after; with `naming`, only those
        of blobs that have these bytes in them, or whose images other files name. With `past` also sites of
        which today nothing says what image they are of. Who asks for one file after the other, in batches,
        keeps `retellings` from one to the next."""
        changes = tuple(changes)
        sides = ((change.path, oid) for change in changes for oid in (change.before, change.after))
        told = {} if retellings is None else retellings
        blobs = self._locate_blobs(((path, oid) for path, oid in sides if oid is not None), naming, told)

        def sites(path: str, oid: str | None) -> tuple[Site, ...] | None:
            found = None if oid is None else blobs[blob_of(path, oid)]
            if found is None or found.trouble is not None:
                return None
            return self._joiner.join(path, found.sites, past=past)

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
        self._joiner.put(path, (), ())

    def _place(self, changed: Mapping[str, Entry], removed: Iterable[str]) -> None:
        """Take the Kustomizations among what changed."""
        files, gone = self._files(changed, is_kustomization), [*filter(is_kustomization, removed)]
        if self.kustomized is not None and (files or gone):
            self.kustomized.move(self._blobs_of(files), gone)

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
        if self.snapshot is not None and policies is self.snapshot.policies:
            return self._files(changed, self.scope.is_manifest)
        fields = tuple(sorted({w.where.field for w in policies.workloads if w.where.field is not None}))
        repositories = {w.repository for w in policies.workloads if w.repository is not None}
        names = (w.where.marker.rpartition(":")[2] for w in policies.workloads if w.where.marker is not None)
        markers = frozenset(name.encode() for name in names)
        more = not (repositories <= self._repositories and markers <= self._markers)
        self._repositories, self._markers = repositories, markers
        self._names = frozenset(r.path.rpartition("/")[2].encode() for r in repositories)
        self.located.begin(fields, (*self._names, *(b"$" + marker for marker in markers)), more=more)
        if fields != self._fields:
            self._fields = fields
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
        for path, data in self._blobs_of(self._unknown(files, before)):
            blob = blob_of(path, files[path])
            found = self.located.get(blob)
            may = data is not None and may_hold(path, data)
            if found is None and path not in before and not self._matters(data, path, may=may):
                self._pass_over(path, blob, may=may)
                continue
            if found is None or (path in before and not found.sites):
                found = self._locate(data, blob, screened=path not in before)
            if found.trouble is not None:
                self._troubles[path] = reason("file/unreadable", file=path, problem=found.trouble.sentence)
                unreadable[path] = data
            else:
                self._take(path, found)
        return unreadable

    def _unknown(self, files: Mapping[str, str], before: Collection[str]) -> dict[str, str]:
        """The files that must be read: of the others it is known what they hold, or that they name no
        watched image. Those that cannot be read are, to see what they speak of."""
        unknown = {}
        for path, oid in files.items():
            self._unread.pop(path, None)
            blob = blob_of(path, oid)
            found, over = self.located.get(blob), self.located.passed_over(blob)
            if found is not None and found.trouble is None and (found.sites or path not in before):
                self._take(path, found)
            elif over is None or path in before:
                unknown[path] = oid
            elif not over:
                self._unread[path] = oid
        return unknown

    def _pass_over(self, path: str, blob: Blob, *, may: bool) -> None:
        """Leave a file alone that names no watched image, for now; `may`: it may hold sites."""
        if may:
            self._unread[path] = blob[0]
        self.located.pass_over(blob, looked_over=not may)

    def _take(self, path: str, found: FileSites) -> None:
        if found.sites and not path.isprintable():
            self._troubles[path] = reason("file/odd-path", file=ascii(path))
            self._keep(path, held(found.sites, path, self._troubles[path]), found.sources)
        else:
            self._keep(path, tuple(site.at(path) for site in found.sites), found.sources)

    def _hold_unreadable(
        self,
        commit: str,
        unreadable: Mapping[str, bytes | None],
        before: Mapping[str, tuple[Site, ...]],
        given: Mapping[str, tuple[Given, ...]],
    ) -> None:
        """Keep the sites that files which cannot be read had when they could, held, and what they gave.

        History is asked only for files that say something of a watched image, or to sites elsewhere.
        """
        asked = 0
        for path, data in unreadable.items():
            why = self._troubles[path]
            if path in before or given.get(path):
                self._keep(path, held(before.get(path, ()), path, why), given.get(path, ()))
                continue
            if data is not None and not (self._says_something(data) or may_give(path, data)):
                continue
            asked += 1
            if asked > SEARCHED:
                return
            texts = self.earlier.texts(commit, path)
            locate_here = partial(locate, name=path.rpartition("/")[2], fields=self._fields)
            found = last_readable(texts, locate_here)
            if found is not None:
                self._keep(path, held(found.sites, path, why), found.sources)

    def _matters(self, data: bytes | None, path: str, *, may: bool) -> bool:
        """Whether a file may hold a site that a policy claims: by the words in it, without parsing. `may`:
        it may hold sites at all."""
        if self.thorough or data is None or b"\0" in data:
            return True
        if b"automator:" in data or self._names_field(data) or self._names_marker(data):
            return True
        return may_give(path, data) or (may and self._names_image(data))

    def _may_matter(self, data: bytes, name: str) -> bool:
        return b"\0" in data or may_hold(name, data) or self._names_field(data)

    def _says_something(self, data: bytes) -> bool:
        """Whether a file's bytes speak of a watched image, readable as YAML or not."""
        return self._names_image(data) or self._names_field(data)

    def _names_image(self, data: bytes) -> bool:
        # UTF-16 is no text here, but what it says of images counts all the same.
        return not self._names.isdisjoint(_WORD.findall(data.replace(b"\0", b"")))

    def _look_over(self, changed: Collection[str] | None) -> None:
        """Look at some of the files that do not matter, so that their faults are told too: at all of them
        in a small config repo; in a large one at those that changed and, with a larger change, at as many
        others, so that a head costs no more than what it brought."""
        first = [path for path in changed or () if path in self._unread]
        limit = LOOKED_OVER if changed is None else len(first)
        if changed is not None and len(changed) >= MANY_CHANGED:
            limit = 2 * len(changed)
        paths = islice(dict.fromkeys((*first, *islice(self._unread, limit))), limit)
        some = {path: self._unread[path] for path in paths}
        for path, data in self._blobs_of(some):
            del self._unread[path]
            blob = blob_of(path, some[path])
            trouble = self._locate(data, blob, passed_over=True).trouble
            if trouble is not None:
                self._troubles[path] = reason("file/unreadable", file=path, problem=trouble.sentence)

    def _locate(
        self, data: bytes | None, blob: Blob, *, screened: bool = True, passed_over: bool = False
    ) -> FileSites:
        """Parse a blob, unless its words say that nothing is in it, and remember what was found."""
        if screened and data is not None and not self._may_matter(data, blob[1]):
            found = FileSites(())
        else:
            try:
                text = decode(data)
                self.parsed += 1
                found = locate(text, blob[1], self._fields)
            except ManifestError as error:
                found = FileSites((), error.reason)
        if passed_over and found.trouble is None:
            self.located.pass_over(blob, looked_over=True)
        elif screened or found.sites:
            # Else a look at one path, for want of what it said before, would bind files that are new there.
            self.located.put(blob, found)
        return found

    def _names_field(self, data: bytes) -> bool:
        """Whether a file may hold the field of a `where.field`, by the last word of its path."""
        return any(word in data for word in _field_words(self._fields))

    def _names_marker(self, data: bytes) -> bool:
        return b"$imagepolicy" in data and any(name in data for name in self._markers)

    def _policies(self, commit: str) -> PolicySet:
        policies = parse_policies(dict(sorted(self._policy_texts.items())))
        if not policies.broken and all(w.repository is not None for w in policies.workloads):
            return policies
        return with_last_valid(policies, lambda path: self.earlier.texts(commit, path))


@lru_cache(maxsize=16)
def _field_words(fields: tuple[str, ...]) -> tuple[bytes, ...]:
    """For each written path the last key, or value of a `[key=value]`, that a file with the field must
    spell out; nothing (which stands in every file) where all are indexes, or could be spelled otherwise."""
    words = []
    for steps in filter(None, map(parse_field, fields)):
        said = (step.key if step.value is None else step.value for step in reversed(steps) if not step.inside)
        words.append(next(filter(_WORD_TEXT.fullmatch, said), "").encode())
    return tuple(words)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Everything that is made here stays, and a collector that looks through it time and again finds
    nothing to take: a quarter of a restart's time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.freeze()  # nor later
            gc.enable()
