"""Earlier versions: what a file that cannot be read now said when it last could.

A broken file must not free its sites, nor be left behind by a release of its neighbours: its
workloads are held as of its last valid version (promises 3 and 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from automator.core.history import FileChange
from automator.core.policy import InvalidWorkload, Place, PolicySet, Workload, group_of, parse_policies
from automator.core.site import FileSites, Site
from automator.cycle.reach import Reach
from automator.cycle.source import BLOB_LIMIT, Source, decode
from automator.errors import CheckoutError, ManifestError
from automator.reasons import Reason, reason

VERSIONS_TRIED = 50
"""Older versions of a broken file that are tried at most."""
MOVES_TRIED = 5
"""Moves from path to path that a broken file is followed through at most."""
REMOVED_READ = 2_000
"""Files that one commit removed and that are read at most, to find the one that it broke while moving it."""
ALIKE = 0.5
"""Share of lines that a file must have kept to count as moved."""


@dataclass(frozen=True)
class Earlier:
    """Reads older versions of files from history."""

    source: Source
    reach: Reach | None = None
    """How older history is had; a plain folder has none."""
    _looked_at: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def texts(self, commit: str, path: str, moves: int = MOVES_TRIED) -> Iterator[str]:
        """Texts that a file had before `commit`, newest first, also where it stood before it was moved;
        history is fetched only as far as they are asked for, and ends early where it cannot be fetched."""
        seen = 0
        while True:
            log = self.source.file_log(commit, [path], limit=VERSIONS_TRIED)
            older = [change.before for change in log.changes if change.before is not None]
            for _, data in self.source.blobs(older[seen:], limit=BLOB_LIMIT):
                try:
                    yield decode(data)
                except ManifestError:
                    continue
            added = log.changes[-1] if log.changes and log.changes[-1].before is None else None
            if added is not None and moves > 0:
                origin = self._origin(added)
                if origin is not None:
                    yield from self.texts(commit, origin, moves - 1)
                    return
            if log.complete or len(older) >= VERSIONS_TRIED or not self._grown():
                return
            seen = len(older)

    def _origin(self, added: FileChange) -> str | None:
        """The path of a file that the commit which added this one removed, and that is most like it."""
        if added.after is None:
            return None
        ending = PurePosixPath(added.path).suffix
        removed = {oid: path for oid, path in self._removed(added.commit).items() if path.endswith(ending)}
        if not removed:
            return None
        here = _lines(next(iter(self.source.blobs([added.after], limit=BLOB_LIMIT)))[1])
        best, found = ALIKE, None
        for oid, data in self.source.blobs(list(removed)[:REMOVED_READ], limit=BLOB_LIMIT):
            there = _lines(data)
            kept = len(here & there) / max(len(here), len(there), 1)
            if kept >= best:
                best, found = kept, removed[oid]
        return found

    def _removed(self, commit: str) -> Mapping[str, str]:
        """Paths of the files that a commit removed, by what was in them."""
        if commit not in self._looked_at:
            self._looked_at.clear()  # a commit that breaks many files is asked about once
            self._looked_at[commit] = {
                change.before: change.path
                for change in self.source.commit_changes([commit])
                if change.after is None and change.before is not None
            }
        return self._looked_at[commit]

    def _grown(self) -> bool:
        if self.reach is None or not self.reach.can_grow():
            return False
        try:
            self.reach.grow()
        except CheckoutError:
            # Nothing is released without history either, so nothing slips through meanwhile.
            return False
        return True


def _lines(data: bytes | None) -> frozenset[bytes]:
    """The lines of a file, each once, without what is white."""
    return frozenset(filter(None, map(bytes.strip, (data or b"").splitlines())))


def last_readable(texts: Iterable[str], locate: Callable[[str], FileSites]) -> FileSites | None:
    """What the newest text that can be read holds and says, or None."""
    for text in texts:
        found = locate(text)
        if found.trouble is None:
            return found
    return None


def held(sites: Iterable[Site], path: str, why: Reason) -> tuple[Site, ...]:
    """Sites as they were, with the reason for which they cannot be edited."""
    return tuple(replace(site, file=path, held=why) for site in sites)


def with_last_valid(policies: PolicySet, earlier: Callable[[str], Iterable[str]]) -> PolicySet:
    """Claims as of the last version that could be read: of files that do not parse, and of entries
    whose image cannot be read. Both are held."""
    replaced: dict[tuple[str, str], InvalidWorkload] = {}
    added: list[InvalidWorkload] = []
    known = {w.name for w in policies.workloads}
    wanted: dict[str, set[str]] = {path: set() for path in policies.broken}
    for workload in policies.workloads:
        if workload.repository is None:
            wanted.setdefault(workload.place.file, set()).add(workload.name)
            assert isinstance(workload, InvalidWorkload)
            replaced[(workload.place.file, workload.name)] = workload
    for path, lacking in wanted.items():
        broken = path in policies.broken
        for text in earlier(path):
            old = parse_policies({path: text})
            if old.broken:
                continue
            if broken:  # the newest version that parses says which workloads there are
                broken = False
                new = [w for w in old.workloads if w.name not in known]
                added.extend(_stopped(w, path) for w in new if w.repository is not None)
                replaced |= {(path, w.name): _stopped(w, path) for w in new if w.repository is None}
                lacking.update(w.name for w in new if w.repository is None)
            for workload in old.workloads:
                if workload.name in lacking and workload.repository is not None:
                    key = (path, workload.name)
                    replaced[key] = replace(
                        replaced[key], repository=workload.repository, where=workload.where
                    )
                    lacking.discard(workload.name)
            if not lacking:
                break
    present = {(w.place.file, w.name) for w in policies.workloads}
    kept = (replaced.get((w.place.file, w.name), w) for w in policies.workloads)
    further = (w for key, w in replaced.items() if key not in present)
    return replace(policies, workloads=(*kept, *further, *added))


def _stopped(workload: Workload | InvalidWorkload, path: str) -> InvalidWorkload:
    why = reason("policy/broken-file", file=path)
    place = Place(path, workload.place.line)
    return InvalidWorkload(workload.name, workload.repository, workload.where, why, place, group_of(workload))
