"""Tracing: one site through the versions of its file, backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
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


def trace(versions: tuple[FileVersion, ...], site: Site) -> tuple[Step, ...]:
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
    """
    return tuple(_walk(_states(versions), site))


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


def _walk(states: Iterable[_State], site: Site) -> Iterator[Step]:
    newer: tuple[Site, ...] = (site,)
    ours: tuple[Site, ...] = (site,)
    loosely = True
    for state in states:
        if state.sites is None:
            continue
        older = of_image(state.sites, site.repository)
        if not older:
            yield Step((), state.version)
            continue
        found = _same_sites(newer, ours, older, loosely)
        if found:
            newer, ours, loosely = older, found, True
        else:
            loosely = False
        yield Step(tuple(dict.fromkeys((s.tag, s.digest) for s in found)), state.version)


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


def _in_object(site: Site) -> object:
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
