"""Courses: what files held of an image, version by version, worked out once for all sites that are traced."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterator
from operator import is_
from typing import Any, NamedTuple, TypeVar

from automator.core.identity import (
    FileVersion,
    Identities,
    Moving,
    Origin,
    by_image,
    in_object,
    may_be_of,
    pairs,
    renamed,
)
from automator.core.reference import Repository
from automator.core.site import Site

SHARED_KEPT = 80_000_000
"""Bytes, by and large, of what is kept for the next trace at most."""
_ENTRY = 400
"""Bytes, by and large, of one entry."""
_FEW = 8
"""Sites of a version, up to which one alone is compared with each of them."""

_Made = TypeVar("_Made")


class FilePast(NamedTuple):
    """The changes of one path that were read, newest first."""

    versions: tuple[FileVersion, ...]
    complete: bool
    """Whether there are no older ones."""


Value = tuple[str | None, str | None]
"""Tag and digest."""


class Held(NamedTuple):
    """Sites of one image in one version of a file."""

    number: int
    """Tells it from others without comparing sites; 0 for a site by itself."""
    sites: tuple[Site, ...]


class Part(NamedTuple):
    """Some sites of one version of a file: those that the one traced may have been."""

    number: int
    """Tells it from others; 0 for fewer than two sites, which no other trace asks for."""
    held: Held
    indices: tuple[int, ...]
    sites: tuple[Site, ...]
    values: tuple[Value, ...]
    """What they hold, each once."""


class State(NamedTuple):
    """What a file held of an image at one time, and the change that made it so."""

    held: Held
    version: FileVersion | None
    """None where an older change than those read made it."""
    brought: FileVersion | None
    """The same, or where the file could not be read before it, the change that made it unreadable."""
    age: int
    """How many states of the file are newer than the oldest one that holds just this."""


class _Pairing(NamedTuple):
    """Which sites of a newer version were which of an older one."""

    same: array[int]
    """By the newer one's index; -1 for none."""
    left: Part
    """Older sites that nothing matches."""


_Blob = tuple[str, str | None]
"""A file's path, and the id of what is in it."""


class Shared:
    """What traces of one image's sites have in common: worked out once, and kept as long as versions are.

    What a file of many sites of one image costs, in time and in memory, grows with what is in it: no site
    is compared with all others for itself alone.
    """

    def __init__(self) -> None:
        self._last = 0
        self._begin()

    def _begin(self) -> None:
        self._kept = 0
        self._images: dict[_Blob, tuple[object, dict[Repository | None, Held]]] = {}
        self._pairings: dict[tuple[int, int], _Pairing] = {}
        self._parts: dict[tuple[int, tuple[int, ...]], Part] = {}
        self._was: dict[tuple[int, int, bool], Part] = {}
        self._made: dict[Hashable, tuple[tuple[object, ...], Any]] = {}

    def _keep(self, size: int = 0) -> None:
        """Make room for an entry."""
        if self._kept > SHARED_KEPT:
            self._begin()
        self._kept += _ENTRY + size

    def once(self, key: Hashable, of: tuple[object, ...], make: Callable[[], _Made], size: int = 0) -> _Made:
        """What `make` makes: anew only where it is asked for other objects `of` than before. `size` is how
        many bytes that takes, by and large."""
        known = self._made.get(key)
        if known is None or len(known[0]) != len(of) or not all(map(is_, known[0], of)):
            made = make()
            self._keep(size)
            known = self._made[key] = of, made
        found: _Made = known[1]
        return found

    def held(self, blob: _Blob, sites: tuple[Site, ...], repository: Repository | None) -> Held:
        """What a version of a file holds of an image, or may have held."""
        known = self._images.get(blob)
        if known is None or known[0] is not sites:
            self._keep()
            awaiting = any(site.repository is None and site.awaits is not None for site in sites)
            groups = {} if awaiting else {of: self._number(found) for of, found in by_image(sites).items()}
            known = self._images[blob] = sites, groups
        found = known[1].get(repository)
        if found is None:
            found = known[1][repository] = self._number(may_be_of(sites, repository))
        return found

    def _number(self, sites: tuple[Site, ...]) -> Held:
        self._last += 1
        return Held(self._last, sites)

    def alone(self, site: Site) -> Part:
        """A site by itself, of no version that is known."""
        return _single(Held(0, (site,)), 0)

    def part(self, held: Held, indices: tuple[int, ...]) -> Part:
        """Some sites of a version; always the same for the same ones."""
        if len(indices) == 1:
            return _single(held, indices[0])
        if not indices:
            return Part(0, held, (), (), ())
        known = self._parts.get((held.number, indices))
        if known is None:
            self._keep(16 * len(indices))
            self._last += 1
            sites = tuple(held.sites[i] for i in indices)
            values = tuple(dict.fromkeys((site.tag, site.digest) for site in sites))
            known = self._parts[held.number, indices] = Part(self._last, held, indices, sites, values)
        return known

    def was(self, part: Part, older: Held, *, loosely: bool) -> Part:
        """Which sites of an older version these were; `loosely`, where one of them is not found, any of those
        that nothing matches."""
        if not part.sites or not older.sites:
            return self.part(older, ())
        if not part.number:
            return self._was_one(part, older, loosely)
        key = part.number, older.number, loosely
        known = self._was.get(key)
        if known is None:
            found = tuple(i for i in self._same(part, older) if i >= 0)
            if loosely and len(found) < len(part.indices):
                found = (*found, *self._pairing(part.held, older).left.indices)
            self._keep()
            known = self._was[key] = self.part(older, found)
        return known

    def _was_one(self, part: Part, older: Held, loosely: bool) -> Part:
        (i,) = self._same(part, older)
        if i >= 0:
            return _single(older, i)
        if not loosely:
            return self.part(older, ())
        if part.held.number:
            return self._pairing(part.held, older).left
        every = range(len(older.sites))
        return self.once(("all", older.number), (), lambda: self.part(older, tuple(every)))

    def parted(self, part: Part, older: Held) -> tuple[Part, tuple[Site, ...]]:
        """Which sites of an older version some of these were in the same object, and those of the others that
        are in objects with names."""
        if not part.number:
            return self._parted(part, older)
        return self.once(
            ("parted", part.number, older.number),
            (),
            lambda: self._parted(part, older),
            8 * len(part.sites),
        )

    def _parted(self, part: Part, older: Held) -> tuple[Part, tuple[Site, ...]]:
        stayed: list[int] = []
        others: list[Site] = []
        for site, i in zip(part.sites, self._same(part, older), strict=True):
            if i >= 0 and not renamed(site, older.sites[i]):
                stayed.append(i)
            elif site.name is not None:
                others.append(site)
        return self.part(older, tuple(stayed)), tuple(others)

    def _same(self, part: Part, older: Held) -> list[int]:
        """For each site its index in an older version; -1 for none."""
        if part.held.number:
            same = self._pairing(part.held, older).same
            return [same[i] for i in part.indices]
        if len(older.sites) <= _FEW:
            return [pairs(part.sites, older.sites).get(0, -1)]
        size = 1000 * len(older.sites)
        known = self.once(("known", older.number), (), lambda: Identities(older.sites), size)
        return [known.pairs(part.sites).get(0, -1)]

    def _pairing(self, newer: Held, older: Held) -> _Pairing:
        """How two versions match."""
        known = self._pairings.get((newer.number, older.number))
        if known is None:
            self._keep(8 * len(newer.sites))
            found = pairs(newer.sites, older.sites)
            same = array("i", [found.get(i, -1) for i in range(len(newer.sites))])
            matched = set(found.values())
            left = tuple(i for i in range(len(older.sites)) if i not in matched)
            known = self._pairings[newer.number, older.number] = _Pairing(same, self.part(older, left))
        return known

    def left_from(self, origin: Origin, repository: Repository | None) -> Part:
        """The sites of an image that a commit took away from a file, in what the file held before."""
        if len(origin.sites) == 1:
            return self._left_from(origin, repository)
        change, first = origin.version.change, origin.sites[0]
        key = "left from", change.commit, change.path, len(origin.sites), first.document, first.field
        return self.once(key, (origin,), lambda: self._left_from(origin, repository))

    def _left_from(self, origin: Origin, repository: Repository | None) -> Part:
        change, sites = origin.version.change, origin.version.before or ()
        before = self.held((change.path, f"before {change.commit}"), sites, repository)
        places = self.once(
            ("places", before.number), (), lambda: _places(before.sites), 300 * len(before.sites)
        )
        found = {i for site in origin.sites for i in places.get(site, ())}
        return self.part(before, tuple(sorted(found)))

    def course(self, path: str, past: FilePast, repository: Repository | None) -> list[State]:
        """What a file held of an image, newest first: versions that differ in nothing of it are one."""
        return self.once(
            ("course", path, repository), (past.versions,), lambda: self._course(path, past, repository)
        )

    def _course(self, path: str, past: FilePast, repository: Repository | None) -> list[State]:
        found: list[State] = []
        said: list[object] = []
        for age, (sites, blob, version) in enumerate(_states(past.versions)):
            if sites is None:
                if found and version is not None:
                    found[-1] = found[-1]._replace(brought=version)
                continue
            held = self.held((path, blob), sites, repository)
            says = tuple((in_object(s), s.document, s.tag, s.digest) for s in held.sites)
            if found and says == said[-1]:
                found[-1] = State(found[-1].held, version, version, age)
            else:
                found.append(State(held, version, version, age))
                said.append(says)
        return found

    def moving(self, commit: str, versions: tuple[FileVersion, ...], repository: Repository | None) -> Moving:
        """Which sites of an image a commit took away from files, and which it brought to others."""
        return self.once(("moving", commit, repository), (versions,), lambda: Moving(versions, repository))


def _single(held: Held, i: int) -> Part:
    site = held.sites[i]
    return Part(0, held, (i,), (site,), ((site.tag, site.digest),))


def _places(sites: tuple[Site, ...]) -> dict[Site, list[int]]:
    """Where each site stands: equal ones may be several."""
    found: dict[Site, list[int]] = {}
    for i, site in enumerate(sites):
        found.setdefault(site, []).append(i)
    return found


_Read = tuple[tuple[Site, ...] | None, str | None, FileVersion | None]
"""What a file held, None where it could not be read; its blob; and the change that made it so."""


def _states(versions: tuple[FileVersion, ...]) -> Iterator[_Read]:
    """The file's contents after and before each change, newest first, and what made them so; nothing
    (unread) before a change that the next older one meets."""
    for i, version in enumerate(versions):
        change = version.change
        yield (() if change.after is None else version.after), change.after, version
        older = versions[i + 1].change.after if i + 1 < len(versions) else None
        meets = change.before is None or change.before == older
        yield (None if meets else version.before), change.before, None
