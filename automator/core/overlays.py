"""Overlays: where a Kustomization sets the image of a manifest that it includes.

Kustomize replaces the images of containers by the name they have after the Kustomizations further in,
so an edit in a base is without effect wherever one further out sets the same image's version.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as List
from dataclasses import dataclass
from typing import NamedTuple

from automator.core.found import KUSTOMIZATIONS
from automator.core.nodes import items, resolved, text, texts
from automator.core.site import Site
from automator.core.workload import Workload
from automator.core.yamltext import Document
from automator.reasons import Reason, reason

_CONTAINER = re.compile(r"(?:^|\.)(?:init|ephemeral)?[cC]ontainers\[[^\]]*\]\.image$")
"""The fields that the `images` of a Kustomization are about."""
_ENTRY = re.compile(r"^images\[[^\]]*\]\.(?:newTag|digest|newName)$")
_INCLUDES = ("resources", "bases")


class Override(NamedTuple):
    """One entry of `images` in a Kustomization."""

    name: str
    renamed: str | None
    """`newName`."""
    versioned: bool
    """Whether it sets `newTag` or `digest`."""
    line: int
    end: int
    """Its last line."""


@dataclass(frozen=True, slots=True)
class Kustomization:
    """What one file includes and which images it sets."""

    file: str
    includes: tuple[str, ...]
    """Paths of files and folders in the config repo."""
    components: tuple[str, ...]
    """Those of them whose `images` are about everything that this one includes."""
    overrides: tuple[Override, ...]


def kustomization(file: str, content: str, documents: List[Document]) -> Kustomization | None:
    """Read a Kustomization; None where the file is none."""
    folder, _, name = file.rpartition("/")
    if name not in KUSTOMIZATIONS or not documents:
        return None
    root = documents[0].root
    included = tuple(_joined(folder, path) for key in _INCLUDES for path in texts(root, key))
    components = tuple(_joined(folder, path) for path in texts(root, "components"))
    overrides = []
    for item in items(root, "images"):
        named, node = text(item, "name"), resolved(item)
        if named is None or node is None:
            continue
        versioned = text(item, "newTag") is not None or text(item, "digest") is not None
        end = node.line + content.count("\n", node.start, node.end)
        overrides.append(Override(named, text(item, "newName"), versioned, node.line, end))
    return Kustomization(file, (*included, *components), components, tuple(overrides))


def _joined(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path)) if "://" not in path else path


class _Setting(NamedTuple):
    """An override that decides the version of an image, and where."""

    file: str
    override: Override


class _Step(NamedTuple):
    """On the way outwards from a site: a Kustomization, and what is known before it."""

    one: Kustomization
    name: str
    setting: _Setting | None
    applies: bool
    """Whether its own `images` come after the site: not where the site is one of them."""


class Overlays:
    """The Kustomizations of a config repo and what includes what."""

    def __init__(self, kustomizations: List[Kustomization], owned: Mapping[str, List[Site]]) -> None:
        """`owned`: the sites of each workload, so that it is known whose the overrides are."""
        self._includers: dict[str, list[Kustomization]] = {}
        for one in kustomizations:
            for path in one.includes:
                self._includers.setdefault(path, []).append(one)
        self._by_file = {one.file: one for one in kustomizations}
        self._owners: dict[tuple[str, int], set[str]] = {}
        for name, sites in owned.items():
            for site in sites:
                if _ENTRY.search(site.field):
                    self._owners.setdefault((site.file, site.line), set()).add(name)

    def overridden(self, workload: Workload, site: Site) -> Reason | None:
        """Why an edit at a site of the workload is without effect in some overlay, if nobody else releases
        that overlay, or in all of them."""
        settings = list(self._settings(site))
        decided = [one for one in settings if one is not None]
        if not decided:
            return None
        owners = {one: self._owners_of(one) for one in decided}
        if all(workload.name in names for names in owners.values()):
            return None
        nobodys = next((one for one, names in owners.items() if not names), None)
        first = nobodys or next(one for one, names in owners.items() if workload.name not in names)
        if nobodys is None and None in settings:
            return None  # some overlay takes what the base says, and the others have policies of their own
        place = f"{first.file}:{first.override.line}"
        return reason("lint/overridden", site=site.label, workload=workload.name, overlay=place)

    def _owners_of(self, setting: _Setting) -> set[str]:
        lines = range(setting.override.line, setting.override.end + 1)
        return set().union(*(self._owners.get((setting.file, line), set()) for line in lines))

    def _settings(self, site: Site) -> Iterator[_Setting | None]:
        """For each outermost Kustomization around a site: what sets the image there, None for nothing."""
        written = site.written
        if site.file in self._by_file and _ENTRY.search(site.field):
            todo = [_Step(self._by_file[site.file], written, None, applies=False)]
        elif _CONTAINER.search(site.field):
            todo = [_Step(one, written, None, applies=True) for one in self._around(site.file)]
        else:
            return
        yield from self._walk(todo)

    def _walk(self, todo: list[_Step]) -> Iterator[_Setting | None]:
        seen: set[tuple[str, str, _Setting | None]] = set()
        while todo:
            one, name, setting, applies = todo.pop()
            if (one.file, name, setting) in seen:
                continue
            seen.add((one.file, name, setting))
            for part in self._at_work(one) if applies else ():
                override = next((o for o in part.overrides if o.name == name), None)
                if override is not None:
                    setting = _Setting(part.file, override) if override.versioned else setting
                    name = override.renamed or name
            outer = self._around(one.file)
            todo += [_Step(further, name, setting, applies=True) for further in outer]
            if not outer:
                yield setting

    def _at_work(self, one: Kustomization) -> Iterator[Kustomization]:
        """Whose `images` a Kustomization applies, in this order: its components', then its own."""
        for path in one.components:
            for name in KUSTOMIZATIONS:
                component = self._by_file.get(posixpath.normpath(posixpath.join(path, name)))
                if component is not None and component is not one:
                    yield component
        yield one

    def _around(self, file: str) -> list[Kustomization]:
        """The Kustomizations that include a file, itself or as the Kustomization of a folder."""
        paths = [file]
        folder, _, name = file.rpartition("/")
        if name in KUSTOMIZATIONS:
            paths.append(folder or ".")
        return [one for path in paths for one in self._includers.get(path, ()) if one.file != file]
