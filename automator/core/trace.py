"""Tracing: one site through the versions of its file, backwards, and through files that it was moved from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from automator.core.identity import (
    FileChange,
    FileVersion,
    Moving,
    Origin,
    by_image,
    in_object,
    may_be_of,
    of_image,
    pairs,
    renamed,
)
from automator.core.reference import Repository
from automator.core.site import Site

__all__ = [
    "BROKEN_LOOKED_INTO",
    "MOVES_FOLLOWED",
    "NOTHING",
    "Elsewhere",
    "FileChange",
    "FilePast",
    "FileVersion",
    "Lacking",
    "Shared",
    "Step",
    "Traced",
    "Value",
    "may_be_of",
    "of_image",
    "pairs",
    "trace",
]

MOVES_FOLLOWED = 50
"""Moves from file to file that one site is followed through at most."""
BROKEN_LOOKED_INTO = 20
"""Files that one commit took away while they could not be read, and whose past is looked into at most."""
SHARED_KEPT = 200_000
"""Pairings of versions that are kept for the next trace at most."""


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
    """By commit, its changes of files: of those that were there before it; where one of them lost a site of
    the image, also of those that it added."""


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


def trace(
    past: FilePast, site: Site, elsewhere: Elsewhere | None = None, shared: Shared | None = None
) -> Traced:
    """What the site held, newest first, as far as the changes of its file tell.

    A site is followed by its image repository, step by step. From one version of the file to the one
    before, a site is the same one if it has the same field in the same object (kind, namespace,
    name), else in the same document, else the same field at all; each only where that is unambiguous.
    A site that matches none of these, where the older version has sites of the image that nothing
    else matches (a container was renamed, a file restructured), may have been any of them, and is
    taken to have held what each of them held. So no version that was turned away slips through, and
    staging and production in one file are not mixed up as long as fields tell them apart. A site whose
    image another file tells, and of which nothing is known today, may be of any image that it can be of.

    A version that could not be read is passed over; one without the site (a deleted file) is a step
    without values. In a file that lost the site but kept others of its image, only the exact matches
    count from there on.

    With `elsewhere`, a site that a commit brought to a file while it took one of the same image away from
    another (renamed, split, merged, a folder moved) goes on there: with the one that stood in the same
    object and field, else in the same object, else in the same field, else anywhere; of several with the one
    whose path is most alike and that nothing else which came is more like. So it does where another object
    stood in its place, if its own stood in another file (two files swapped). Without a word of what the
    commit did elsewhere, it is lacking.

    `shared` keeps what traces of other sites need too.
    """
    tracer = _Tracer(site.repository, elsewhere, Shared() if shared is None else shared)
    tracer.follow(site.file, past, tracer.shared.number((site,)), (0,))
    lacking = Lacking(frozenset(tracer.commits), frozenset(tracer.unread))
    complete = tracer.complete and not (lacking.commits or lacking.files)
    return Traced(tuple(tracer.steps), complete, lacking, tuple(dict.fromkeys(tracer.files)), tracer.changes)


_Read = tuple[tuple[Site, ...] | None, str | None, FileVersion | None]
"""What a file held, None where it could not be read; its blob; and the change that made it so."""


class _Held(NamedTuple):
    """Sites of one image in one version of a file."""

    number: int
    sites: tuple[Site, ...]


_Blob = tuple[str, str | None]
"""A file's path, and the id of what is in it."""


class _State(NamedTuple):
    """What a file held of an image at one time, and the change that made it so."""

    held: _Held
    version: FileVersion | None
    """None where an older change than those read made it."""
    brought: FileVersion | None
    """The same, or where the file could not be read before it, the change that made it unreadable."""
    age: int
    """How many states of the file are newer than the oldest one that holds just this."""


class _Pairing(NamedTuple):
    """Which sites of a newer version were which of an older one."""

    same: dict[int, int]
    left: tuple[int, ...]
    """Older sites that nothing matches."""


class Shared:
    """What traces of one image's sites have in common: worked out once, and kept as long as versions are."""

    def __init__(self) -> None:
        self._last = 0
        self._begin()

    def _begin(self) -> None:
        self._images: dict[_Blob, tuple[object, dict[Repository | None, _Held]]] = {}
        self._pairings: dict[tuple[int, int], _Pairing] = {}
        self._courses: dict[tuple[str, Repository | None], tuple[object, list[_State]]] = {}
        self._movings: dict[tuple[str, Repository | None], tuple[object, Moving]] = {}

    def held(self, blob: _Blob, sites: tuple[Site, ...], repository: Repository | None) -> _Held:
        """What a version of a file holds of an image, or may have held."""
        known = self._images.get(blob)
        if known is None or known[0] is not sites:
            awaiting = any(site.repository is None and site.awaits is not None for site in sites)
            groups = {} if awaiting else {of: self.number(found) for of, found in by_image(sites).items()}
            known = self._images[blob] = sites, groups
        found = known[1].get(repository)
        if found is None:
            found = known[1][repository] = self.number(may_be_of(sites, repository))
        return found

    def number(self, sites: tuple[Site, ...]) -> _Held:
        """Sites as something that is told from others without comparing them."""
        self._last += 1
        return _Held(self._last, sites)

    def pairing(self, newer: _Held, older: _Held) -> _Pairing:
        """How two versions match."""
        known = self._pairings.get((newer.number, older.number))
        if known is None:
            same = pairs(newer.sites, older.sites)
            matched = set(same.values())
            left = tuple(i for i in range(len(older.sites)) if i not in matched)
            known = self._pairings[newer.number, older.number] = _Pairing(same, left)
        return known

    def course(self, path: str, past: FilePast, repository: Repository | None) -> list[_State]:
        """What a file held of an image, newest first: versions that differ in nothing of it are one."""
        known = self._courses.get((path, repository))
        if known is None or known[0] is not past.versions:
            if len(self._images) + len(self._pairings) > SHARED_KEPT:
                self._begin()
            known = self._courses[path, repository] = past.versions, self._course(path, past, repository)
        return known[1]

    def _course(self, path: str, past: FilePast, repository: Repository | None) -> list[_State]:
        found: list[_State] = []
        said: list[object] = []
        for age, (sites, blob, version) in enumerate(_states(past.versions)):
            if sites is None:
                if found and version is not None:
                    found[-1] = found[-1]._replace(brought=version)
                continue
            held = self.held((path, blob), sites, repository)
            says = tuple((in_object(s), s.document, s.tag, s.digest) for s in held.sites)
            if found and says == said[-1]:
                found[-1] = _State(found[-1].held, version, version, age)
            else:
                found.append(_State(held, version, version, age))
                said.append(says)
        return found

    def moving(self, commit: str, versions: tuple[FileVersion, ...], repository: Repository | None) -> Moving:
        """Which sites of an image a commit took away from files, and which it brought to others."""
        known = self._movings.get((commit, repository))
        if known is None or known[0] is not versions:
            known = self._movings[commit, repository] = versions, Moving(versions, repository)
        return known[1]


def _states(
    versions: tuple[FileVersion, ...],
) -> Iterator[_Read]:
    """The file's contents after and before each change, newest first, and what made them so; nothing
    (unread) before a change that the next older one meets."""
    for i, version in enumerate(versions):
        change = version.change
        yield (() if change.after is None else version.after), change.after, version
        older = versions[i + 1].change.after if i + 1 < len(versions) else None
        meets = change.before is None or change.before == older
        yield (None if meets else version.before), change.before, None


class _Tracer:
    """Walks back through one file after the other."""

    def __init__(self, repository: Repository | None, elsewhere: Elsewhere | None, shared: Shared) -> None:
        self.repository = repository
        self.elsewhere = elsewhere
        self.shared = shared
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
        past: FilePast,
        newer: _Held,
        ours: tuple[int, ...],
        change: int = -1,
    ) -> None:
        """Walk back through one file, from before one of its changes: `ours` of `newer`, its sites of the
        image, are followed."""
        self.files.append(path)
        self.changes += len(past.versions) - max(change, 0)
        loosely, came, brought = True, None, None
        for state in self.shared.course(path, past, self.repository):
            if state.age <= 2 * change:
                continue
            older = state.held
            found = self._same_sites(newer, ours, older, loosely) if older.sites else ()
            if (
                brought is not None
                and not found
                and self._goes_on(path, brought, [newer.sites[i] for i in ours])
            ):
                return
            if came is not None and found:
                left = self._swapped(path, came, newer, ours, older)
                if left is not None and not left:
                    return
                found = found if left is None else left
            if found:
                newer, ours, loosely = older, found, True
            elif older.sites:
                loosely = False
            came, brought = (state.version, state.brought) if found else (None, None)
            values = ((older.sites[i].tag, older.sites[i].digest) for i in found)
            self.steps.append(Step(tuple(dict.fromkeys(values)), state.version))
        mine = [newer.sites[i] for i in ours]
        if brought is not None and brought.change.before is None and self._goes_on(path, brought, mine):
            return
        self.complete = self.complete and past.complete

    def _same_sites(
        self, newer: _Held, ours: tuple[int, ...], older: _Held, loosely: bool
    ) -> tuple[int, ...]:
        """Which sites of the older version `ours` were."""
        pairing = self.shared.pairing(newer, older)
        found = tuple(pairing.same[i] for i in ours if i in pairing.same)
        return (*found, *pairing.left) if loosely and len(found) < len(ours) else found

    def _swapped(
        self,
        path: str,
        came: FileVersion,
        newer: _Held,
        ours: tuple[int, ...],
        older: _Held,
    ) -> tuple[int, ...] | None:
        """Where the objects of some of `ours` stood in other files before `came`: follows these there, and
        tells what the others were here. None where all go on here."""
        same = self.shared.pairing(newer, older).same
        stayed = tuple(i for i in ours if i in same and not renamed(newer.sites[i], older.sites[same[i]]))
        doubtful = (newer.sites[i] for i in ours if i not in stayed)
        others = [site for site in doubtful if site.name is not None]
        if not others or not self._goes_on(path, came, others, owned=True):
            return None
        return tuple(same[i] for i in stayed)

    def _goes_on(self, path: str, came: FileVersion, ours: list[Site], *, owned: bool = False) -> bool:
        """Whether the sites that `came` brought to the file were in others before; follows them there.
        `owned`: only to where the very same objects were."""
        if self.elsewhere is None:
            return False
        commit = came.change.commit
        if commit not in self.elsewhere.commits:
            self.commits.add(commit)
            return True
        versions = self._readable(self.elsewhere.commits[commit])
        if versions is None:
            return True
        moving = self.shared.moving(commit, versions, self.repository)
        origins = moving.origins(came, ours, owned=owned)
        if not origins:
            return False
        # The commit moves the image from what stood there: a claim is put to the proof by that.
        before = tuple(site for origin in origins for site in origin.sites)
        last = self.steps[-1].version or came
        moved = replace(last, before=(*(last.before or ()), *before))
        self.steps[-1] = self.steps[-1]._replace(version=moved)
        for origin in origins:
            self._moves += 1
            if self._moves > MOVES_FOLLOWED:
                self.complete = False
            else:
                self._follow_to(origin)
        return True

    def _readable(self, versions: tuple[FileVersion, ...]) -> tuple[FileVersion, ...] | None:
        """A commit's changes; files that it took away while they could not be read, as they were when they
        last could. None where their past is yet to be read."""
        assert self.elsewhere is not None
        broken = [v for v in versions if v.change.after is None and v.before is None][:BROKEN_LOOKED_INTO]
        if not broken:
            return versions
        unread = {v.change.path for v in broken} - self.elsewhere.files.keys()
        if unread:
            self.unread |= unread
            return None
        paths = {v.change.path for v in broken}
        return tuple(
            replace(v, before=self._last_readable(v)) if v.change.path in paths and v in broken else v
            for v in versions
        )

    def _last_readable(self, version: FileVersion) -> tuple[Site, ...] | None:
        assert self.elsewhere is not None
        past = self.elsewhere.files[version.change.path]
        at = _position(past, version.change.commit)
        return None if at is None else next((v.before for v in past.versions[at:] if v.before), None)

    def _follow_to(self, origin: Origin) -> None:
        assert self.elsewhere is not None
        change = origin.version.change
        past = self.elsewhere.files.get(change.path)
        if past is None:
            self.unread.add(change.path)
            return
        at = _position(past, change.commit)
        if at is None:  # older than what was read of it
            self.steps.append(Step(tuple((s.tag, s.digest) for s in origin.sites), None))
            self.complete = False
            return
        before = self.shared.number(may_be_of(origin.version.before or (), self.repository))
        ours = tuple(i for i, site in enumerate(before.sites) if site in origin.sites)
        self.follow(change.path, past, before, ours, at)


def _position(past: FilePast, commit: str) -> int | None:
    """Which of a file's changes is a commit's."""
    return next((i for i, v in enumerate(past.versions) if v.change.commit == commit), None)
