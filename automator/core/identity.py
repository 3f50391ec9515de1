"""Identity: which sites of a newer version were which of an older one, in a file and from file to file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from automator.core.reference import Repository
from automator.core.site import Site


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
    beside: bool = False
    """Whether the branch never was at this commit: somebody merged the branch into it, and pushed that."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A change of a file, and the sites that its two blobs hold."""

    change: FileChange
    before: tuple[Site, ...] | None
    """None where there was no file, or where it could not be read."""
    after: tuple[Site, ...] | None


# -- from version to version -------------------------------------------------------------------------


def of_image(sites: tuple[Site, ...], repository: Repository | None) -> tuple[Site, ...]:
    """The sites of one image repository."""
    return tuple(s for s in sites if s.repository == repository)


def by_image(sites: tuple[Site, ...]) -> dict[Repository | None, tuple[Site, ...]]:
    """The sites of each image repository."""
    groups: dict[Repository | None, list[Site]] = {}
    for site in sites:
        groups.setdefault(site.repository, []).append(site)
    return {repository: tuple(found) for repository, found in groups.items()}


def may_be_of(sites: tuple[Site, ...], repository: Repository | None) -> tuple[Site, ...]:
    """The sites of one image repository, and those that may have been: of which another file told the
    image, and none does today."""
    return tuple(s for s in sites if s.repository == repository or _may_be(s, repository))


def _may_be(site: Site, repository: Repository | None) -> bool:
    if site.awaits is None or site.repository is not None or repository is None:
        return False
    return f"/{repository.path}".endswith(f"/{site.awaits.chart}" if site.awaits.chart else "")


def renamed(site: Site, other: Site) -> bool:
    """Whether two sites are in objects of different names."""
    return site.name is not None and in_object(site)[:3] != in_object(other)[:3]


def in_object(site: Site) -> tuple[str | None, ...]:
    return (site.kind, site.namespace, site.name, site.field)


def _in_document(site: Site) -> object:
    return (site.document, site.field)


def _in_field(site: Site) -> object:
    return site.field


_IDENTITIES: tuple[Callable[[Site], object], ...] = (in_object, _in_document, _in_field)
"""What tells sites of one file from each other, the surest first."""


def pairs(newer: tuple[Site, ...], older: tuple[Site, ...]) -> dict[int, int]:
    """Index of a newer site -> index of the older one that it was, one to one."""
    same: dict[int, int] = {}
    for identity in _IDENTITIES:
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


class Identities:
    """The sites of one version, to be paired with a few others time and again: what that costs does not grow
    with how many they are."""

    def __init__(self, sites: tuple[Site, ...]) -> None:
        self._sites = sites
        every = set(range(len(sites)))
        self._groups = [_by_identity(sites, every, identity) for identity in _IDENTITIES]

    def pairs(self, few: tuple[Site, ...]) -> dict[int, int]:
        """As `pairs(few, these)`: index of one of the few -> index of one of these."""
        same: dict[int, int] = {}
        for identity, groups in zip(_IDENTITIES, self._groups, strict=True):
            matched = set(same.values())
            gone = Counter(identity(self._sites[i]) for i in matched)
            for key, mine in _by_identity(few, set(range(len(few))) - same.keys(), identity).items():
                there = groups.get(key, [])
                if len(mine) == 1 and len(there) - gone[key] == 1:
                    same[mine[0]] = next(i for i in there if i not in matched)
        return same


class Origin(NamedTuple):
    """The sites that a commit took away from another file, and that went on as the one traced."""

    version: FileVersion
    sites: tuple[Site, ...]


# -- from file to file -------------------------------------------------------------------------------


class _Moved(NamedTuple):
    """A site that a commit took away from a file, or brought to one."""

    version: FileVersion
    site: Site
    renamed: bool
    """Whether another object stands in its place: it counts for its own object only."""

    @property
    def path(self) -> str:
        return self.version.change.path


_Score = tuple[int, ...]
"""How likely one site is another: greater is likelier."""


class Moving:
    """What a commit took away from files, and what it brought to files, of one image."""

    def __init__(self, versions: tuple[FileVersion, ...], repository: Repository | None) -> None:
        self._departed = _Places()
        self._arrived = _Places()
        self._told: dict[tuple[object, str, bool], tuple[Origin, ...]] = {}
        self._made: dict[_Alike, tuple[Origin, ...]] = {}
        for number, version in enumerate(versions):
            if version.change.after is not None and version.after is None:
                continue  # what it holds now cannot be read: nothing is known to be gone
            newer = may_be_of(version.after or (), repository)
            older = may_be_of(version.before or (), repository)
            same = pairs(newer, older)
            back = {o: n for n, o in same.items()}
            for here, there, match, found in (
                (older, newer, back, self._departed),
                (newer, older, same, self._arrived),
            ):
                for i, site in enumerate(here):
                    if i not in match or renamed(site, there[match[i]]):
                        found.add(_Moved(version, site, renamed=i in match), number)

    def origins(
        self, came: FileVersion, ours: tuple[Site, ...], key: object = None, *, owned: bool
    ) -> tuple[Origin, ...]:
        """Where sites that the commit brought to a file were before it, in other files. `key` tells these
        sites from others, where they will be asked for again."""
        if key is None:
            return self._origins_of(came, ours, owned)
        asked = key, came.change.path, owned
        if asked not in self._told:
            self._told[asked] = self._origins_of(came, ours, owned)
        return self._told[asked]

    def _origins_of(self, came: FileVersion, ours: tuple[Site, ...], owned: bool) -> tuple[Origin, ...]:
        best: _Score = ()
        likest: dict[_Alike, None] = {}
        for mine in ours:
            score, alike = self._origins(_Moved(came, mine, owned))
            if score > best:
                best, likest = score, {}
            if score == best:
                likest[alike] = None
        if len(likest) != 1:
            return _origins(chain.from_iterable(alike.moved for alike in likest))
        (alike,) = likest
        if len(alike.moved) <= _MANY_ALIKE:
            return _origins(alike.moved)
        if alike not in self._made:
            self._made[alike] = _origins(alike.moved)
        return self._made[alike]

    def _origins(self, mine: _Moved) -> tuple[_Score, _Alike]:
        """The likeliest origins that no other site which came is more like; where there are none such, the
        likeliest ones: nothing that was turned away may slip through."""
        first = score, found = self._departed.likest(mine, {mine.path})
        taken: dict[str, set[str]] = {}
        for _ in range(_RIVALS):
            if not found.moved or len(found.moved) > _MANY_ALIKE:
                break  # they may have been any of so many
            free = [one for one in found.moved if not self._is_taken(one, mine, score)]
            if free:
                return score, _Alike(free)
            for one in found.moved:
                taken.setdefault(one.path, set()).add(one.site.field)
            score, found = self._departed.likest(mine, {mine.path}, taken)
        return first

    def _is_taken(self, one: _Moved, mine: _Moved, score: _Score) -> bool:
        """Whether something else that came is more like an origin than `mine`, which scores `score`."""
        return self._arrived.likeness(one, {one.path, mine.path}, score[:2]) > score


def _origins(moved: Iterable[_Moved]) -> tuple[Origin, ...]:
    found: dict[str, tuple[FileVersion, dict[Site, None]]] = {}
    for one in moved:
        found.setdefault(one.path, (one.version, {}))[1][one.site] = None
    return tuple(Origin(version, tuple(sites)) for version, sites in found.values())


_MANY_ALIKE = 20
"""Origins that are alike, above which they all count."""
_RIVALS = 8
"""Origins, each time the likeliest ones, that may be taken by others before any of them counts."""


class _Alike:
    """Sites that are equally likely; told from others by which object it is."""

    __slots__ = ("moved",)

    def __init__(self, moved: list[_Moved]) -> None:
        self.moved = moved


class _Places:
    """Sites by what makes one of them likely to be another: object and field, then the path's end."""

    def __init__(self) -> None:
        self._found: dict[object, dict[str, dict[int, _Alike]]] = {}
        """By what they are alike in, by the path's end, by file: those of one file are as likely."""
        self._joined: dict[tuple[_Alike, ...], _Alike] = {}

    def add(self, moved: _Moved, file: int) -> None:
        """Take a site; `file` is the same number for those of one file."""
        for _, key in _kinds(moved):
            group = self._found.setdefault(key, {})
            for end in _ends(moved.path):
                group.setdefault(end, {}).setdefault(file, _Alike([])).moved.append(moved)

    def likest(
        self, moved: _Moved, but: Collection[str], taken: Mapping[str, Collection[str]] | None = None
    ) -> tuple[_Score, _Alike]:
        """Those that are most like a site, outside of the files `but`, and how much they are. The very same
        object for sites to which the same ones are."""
        score, files = self._nearest(moved, but, taken or {})
        if len(files) == 1:
            return score, files[0]
        known = self._joined.get(files)
        if known is None:
            known = _Alike([one for file in files for one in file.moved])
            if not taken:
                self._joined[files] = known
        return score, known

    def likeness(self, moved: _Moved, but: Collection[str], least: _Score) -> _Score:
        """How much those that are most like a site are; nothing where they are not `least` as much."""
        return self._nearest(moved, but, {}, least)[0]

    def _nearest(
        self,
        moved: _Moved,
        but: Collection[str],
        taken: Mapping[str, Collection[str]],
        least: _Score = (),
    ) -> tuple[_Score, tuple[_Alike, ...]]:
        for kin, key in _kinds(moved):
            group = self._found.get(key, {})
            for end in _ends(moved.path):
                near = (kin, end.count("/") + bool(end))
                if near < least:
                    return (), ()
                files = [_but(file, taken) for file in group.get(end, {}).values()]
                scores = [
                    (_likeness(moved, file.moved[0]), file)
                    for file in files
                    if file.moved and file.moved[0].path not in but
                ]
                if scores:
                    best = max(score for score, _ in scores)
                    return (*near, *best), tuple(file for score, file in scores if score == best)
        return (), ()


def _but(file: _Alike, taken: Mapping[str, Collection[str]]) -> _Alike:
    fields = taken.get(file.moved[0].path)
    return file if fields is None else _Alike([one for one in file.moved if one.site.field not in fields])


def _kinds(moved: _Moved) -> Iterator[tuple[int, object]]:
    """What a site is looked for by, the surest first, and how sure that is."""
    site = moved.site
    if site.kind is not None and (site.name is not None or not moved.renamed):
        yield 3, in_object(site)
        yield 2, in_object(site)[:3]
    if not moved.renamed:
        yield 1, site.field
        yield 0, None


def _ends(path: str) -> Iterator[str]:
    """A path's endings at its folders, the longest first; the last is empty."""
    yield path
    while path:
        path = path.partition("/")[2]
        yield path


_WORDS = re.compile(r"[^\W_]+")


@lru_cache(maxsize=50_000)
def _words(path: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(path))


def _likeness(one: _Moved, other: _Moved) -> _Score:
    """How much two paths with a common end are alike besides, and then whether the files are."""
    front = _common(one.path.split("/"), other.path.split("/"))
    mine, its = one.version.change, other.version.change
    same = mine.after is not None and mine.after == its.before
    same = same or (its.after is not None and its.after == mine.before)
    return (len(_words(one.path) & _words(other.path)), front, int(same))


def _common(one: list[str], other: list[str]) -> int:
    """How many parts two paths have in common, from their beginnings."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
