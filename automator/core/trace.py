"""Tracing: one site through the versions of its file, backwards, and through files that it was moved from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from automator.core.reference import Repository
from automator.core.site import Site

MOVES_FOLLOWED = 50
"""Moves from file to file that one site is followed through at most."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One commit of the branch's first-parent history that changed a file."""

    commit: str
    author: str
    """Name, as in the commit."""
    time: datetime
    """Committer time, UTC."""
    message: str
    path: str
    before: str | None
    """Blob id before; None where the commit added the file."""
    after: str | None
    """Blob id after; None where the commit removed the file."""
    merged: str = ""
    """Message of the commit that this one merged, where it is a merge."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A change of a file, and the sites that its two blobs hold."""

    change: FileChange
    before: tuple[Site, ...] | None
    """None where there was no file, or where it could not be read."""
    after: tuple[Site, ...] | None


class Step(NamedTuple):
    """What a site held after one change."""

    values: tuple[Value, ...]
    """Usually one; empty where the site was not there; several where it may have been any of them."""
    version: FileVersion | None
    """None where an older change than those read made it so."""


Value = tuple[str | None, str | None]
"""Tag and digest."""


class FilePast(NamedTuple):
    """The changes of one path that were read, newest first."""

    versions: tuple[FileVersion, ...]
    complete: bool
    """Whether there are no older ones."""


class Elsewhere(NamedTuple):
    """What was read of other files, for sites that somebody moved from one file to another."""

    files: Mapping[str, FilePast]
    """By path, those that are gone too."""
    commits: Mapping[str, tuple[FileVersion, ...]]
    """By commit, its changes of files that were there before it."""


class Lacking(NamedTuple):
    """What must be read before it can be told where a site was before."""

    commits: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


NOTHING = Lacking()


class Traced(NamedTuple):
    """One site, traced back as far as what was read tells."""

    steps: tuple[Step, ...]
    """Newest first."""
    complete: bool
    """Whether they go back to where the site began."""
    lacking: Lacking
    files: tuple[str, ...]
    """Paths at which the site was, the present one first."""
    changes: int
    """Changes of these files that were passed."""


def trace(past: FilePast, site: Site, elsewhere: Elsewhere | None = None) -> Traced:
    """What the site held, newest first, as far as the changes of its file tell.

    A site is followed by its image repository, step by step. From one version of the file to the one
    before, a site is the same one if it has the same field in the same object (kind, namespace,
    name), else in the same document, else the same field at all; each only where that is unambiguous.
    A site that matches none of these, where the older version has sites of the image that nothing
    else matches (a container was renamed, a file restructured), may have been any of them, and is
    taken to have held what each of them held. So no version that was turned away slips through, and
    staging and production in one file are not mixed up as long as fields tell them apart.

    A version that could not be read is passed over; one without the site (a deleted file) is a step
    without values. In a file that lost the site but kept others of its image, only the exact matches
    count from there on.

    With `elsewhere`, a site that a commit brought to a file while it took one of the same image away from
    another (renamed, split, merged, a folder moved) goes on there: with the one that stood in the same
    object and field, else in the same object, else in the same field, else anywhere, and of several with
    the one whose path is most alike. Without a word of what the commit did elsewhere, it is lacking.
    """
    tracer = _Tracer(site.repository, elsewhere)
    tracer.follow(site.file, _states(past.versions), past, (site,), (site,))
    lacking = Lacking(frozenset(tracer.commits), frozenset(tracer.unread))
    complete = tracer.complete and not (lacking.commits or lacking.files)
    return Traced(tuple(tracer.steps), complete, lacking, tuple(dict.fromkeys(tracer.files)), tracer.changes)


class _State(NamedTuple):
    """What a file held at one time, and the change that made it so."""

    sites: tuple[Site, ...] | None
    """None where it could not be read."""
    version: FileVersion | None
    """None where an older change than those read made it."""


def _states(versions: tuple[FileVersion, ...]) -> Iterator[_State]:
    """The file's contents, newest first; also those between changes that do not meet."""
    for i, version in enumerate(versions):
        change = version.change
        yield _State(() if change.after is None else version.after, version)
        older = versions[i + 1].change.after if i + 1 < len(versions) else None
        if change.before is not None and change.before != older:
            yield _State(version.before, None)


class _Origin(NamedTuple):
    """The sites that a commit took away from another file, and that went on as the one traced."""

    version: FileVersion
    sites: tuple[Site, ...]


class _Tracer:
    """Walks back through one file after the other."""

    def __init__(self, repository: Repository | None, elsewhere: Elsewhere | None) -> None:
        self.repository = repository
        self.elsewhere = elsewhere
        self.steps: list[Step] = []
        self.complete = True
        self.commits: set[str] = set()
        self.unread: set[str] = set()
        self.files: list[str] = []
        self.changes = 0
        self._moves = 0

    def follow(
        self,
        path: str,
        states: Iterator[_State],
        past: FilePast,
        newer: tuple[Site, ...],
        ours: tuple[Site, ...],
    ) -> None:
        """Walk back through one file: `ours` of `newer`, its sites of the image, are followed."""
        self.files.append(path)
        self.changes += len(past.versions)
        loosely, came = True, None
        for state in states:
            if state.sites is None:
                continue
            older = of_image(state.sites, self.repository)
            found = _same_sites(newer, ours, older, loosely) if older else ()
            if not found and came is not None and self._goes_on(path, came, ours):
                return
            if found:
                newer, ours, loosely = older, found, True
            elif older:
                loosely = False
            came = state.version if found else None
            self.steps.append(Step(tuple(dict.fromkeys((s.tag, s.digest) for s in found)), state.version))
        if came is not None and came.change.before is None and self._goes_on(path, came, ours):
            return
        self.complete = self.complete and past.complete

    def _goes_on(self, path: str, came: FileVersion, ours: tuple[Site, ...]) -> bool:
        """Whether the sites that `came` brought to the file were in others before; follows them there."""
        if self.elsewhere is None:
            return False
        commit = came.change.commit
        if commit not in self.elsewhere.commits:
            self.commits.add(commit)
            return True
        origins = _origins(came, ours, self.elsewhere.commits[commit], self.repository)
        if not origins:
            return False
        # The commit moves the image from what stood there: a claim is put to the proof by that.
        before = tuple(site for origin in origins for site in origin.sites)
        self.steps[-1] = self.steps[-1]._replace(
            version=replace(came, before=(*(came.before or ()), *before))
        )
        for origin in origins:
            self._moves += 1
            if self._moves > MOVES_FOLLOWED:
                self.complete = False
            else:
                self._follow_to(origin)
        return True

    def _follow_to(self, origin: _Origin) -> None:
        assert self.elsewhere is not None
        change, before = origin.version.change, origin.version.before or ()
        past = self.elsewhere.files.get(change.path)
        if past is None:
            self.unread.add(change.path)
            return
        at = next((i for i, v in enumerate(past.versions) if v.change.commit == change.commit), None)
        if at is None:  # older than what was read of it
            self.steps.append(Step(tuple((s.tag, s.digest) for s in origin.sites), None))
            self.complete = False
            return
        older = FilePast(past.versions[at:], past.complete)
        states = _states(older.versions)
        next(states)
        self.follow(change.path, states, older, of_image(before, self.repository), origin.sites)


def _origins(
    came: FileVersion,
    ours: tuple[Site, ...],
    changed: tuple[FileVersion, ...],
    repository: Repository | None,
) -> tuple[_Origin, ...]:
    """Where the sites that a commit brought to a file were before it, among the files that it changed."""
    best: tuple[int, ...] = ()
    found: dict[str, tuple[FileVersion, list[Site]]] = {}
    for version in changed:
        if version.change.path == came.change.path:
            continue
        for site in _departed(version, repository):
            score = max(_likeness(came, mine, version, site) for mine in ours)
            if score > best:
                best, found = score, {}
            if score == best:
                found.setdefault(version.change.path, (version, []))[1].append(site)
    return tuple(_Origin(version, tuple(sites)) for version, sites in found.values())


def _departed(version: FileVersion, repository: Repository | None) -> tuple[Site, ...]:
    """The sites of an image that a change took away from a file; none where it cannot be read now."""
    if version.change.after is not None and version.after is None:
        return ()
    older = of_image(version.before or (), repository)
    stayed = set(pairs(of_image(version.after or (), repository), older).values())
    return tuple(site for i, site in enumerate(older) if i not in stayed)


def _likeness(came: FileVersion, mine: Site, version: FileVersion, site: Site) -> tuple[int, ...]:
    """How likely a site of another file is the one that came: greater is likelier."""
    here, there = came.change.path.split("/"), version.change.path.split("/")
    owned = site.kind is not None and _in_object(mine)[:3] == _in_object(site)[:3]
    kin = 2 * int(owned) + int(site.field == mine.field)
    same = came.change.after is not None and came.change.after == version.change.before
    return (kin, int(same), _common(here[::-1], there[::-1]), _common(here, there))


def _common(one: list[str], other: list[str]) -> int:
    """How many parts two paths have in common, from their beginnings."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def of_image(sites: tuple[Site, ...], repository: Repository | None) -> tuple[Site, ...]:
    """The sites of one image repository."""
    return tuple(s for s in sites if s.repository == repository)


def _same_sites(
    newer: tuple[Site, ...], ours: tuple[Site, ...], older: tuple[Site, ...], loosely: bool
) -> tuple[Site, ...]:
    """Which sites of the older version `ours` were."""
    same = pairs(newer, older)
    mine = [i for i, site in enumerate(newer) if site in ours]
    found = [same[i] for i in mine if i in same]
    if loosely and len(found) < len(mine):
        found += sorted(set(range(len(older))) - set(same.values()))
    return tuple(older[i] for i in found)


def _in_object(site: Site) -> tuple[str | None, ...]:
    return (site.kind, site.namespace, site.name, site.field)


def _in_document(site: Site) -> object:
    return (site.document, site.field)


def _in_field(site: Site) -> object:
    return site.field


def pairs(newer: tuple[Site, ...], older: tuple[Site, ...]) -> dict[int, int]:
    """Index of a newer site -> index of the older one that it was, one to one."""
    same: dict[int, int] = {}
    for identity in (_in_object, _in_document, _in_field):
        left = _by_identity(newer, set(range(len(newer))) - same.keys(), identity)
        right = _by_identity(older, set(range(len(older))) - set(same.values()), identity)
        for key, here in left.items():
            there = right.get(key, [])
            if len(here) == len(there) == 1:
                same[here[0]] = there[0]
    return same


def _by_identity(
    sites: tuple[Site, ...], indexes: set[int], identity: Callable[[Site], object]
) -> dict[object, list[int]]:
    groups: dict[object, list[int]] = {}
    for i in sorted(indexes):
        groups.setdefault(identity(sites[i]), []).append(i)
    return groups
