"""Overlays: where a Kustomization, or what deploys one, sets the image of a manifest further in.

Kustomize applies patches, then replaces the images of containers by the name they have by then, so an
edit in a base is without effect wherever one further out sets the same image's version. Flux's and Argo
CD's resources can do the same to a folder that they deploy.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as List
from dataclasses import dataclass
from typing import NamedTuple

from automator.core.found import KUSTOMIZATIONS
from automator.core.nodes import at, items, resolved, resources, text, texts
from automator.core.pattern import Expression
from automator.core.site import Site
from automator.core.workload import Workload
from automator.core.yamltext import Document, Node, parse
from automator.errors import ManifestError, PolicyError
from automator.reasons import Reason, reason

_CONTAINER = re.compile(r"(?:^|\.)(?:init|ephemeral)?[cC]ontainers\[[^\]]*\]\.image$")
"""The fields that the `images` of a Kustomization are about."""
_LIST = re.compile(r"(?P<list>.*)\[[^\]]*\]\.image", re.DOTALL)
_POINTER = re.compile(r"/(?P<list>.+)/(?P<index>[0-9]{1,4})/image", re.DOTALL)
"""JSON Pointer (RFC 6901) to the image of the container with this number."""
_ENTRY = re.compile(r"^images\[[^\]]*\]\.(?:newTag|digest|newName)$")
_INCLUDES = ("resources", "bases")
_PATCHES = ("patches", "patchesStrategicMerge", "patchesJson6902")
_FLUX = "kustomize.toolkit.fluxcd.io/"
WORDS = (_FLUX.encode(), b"argoproj.io/")
"""A manifest without any of these deploys no folder."""


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


class Patch(NamedTuple):
    """One patch of a Kustomization."""

    file: str
    """Where it is written."""
    within: str
    """How the fields of its sites begin there."""
    kind: str | None
    name: str | None
    """Expressions of `target`; None for all."""
    operations: tuple[str, ...]
    """Where the operations of a JSON patch (RFC 6902) that is written inline write."""


@dataclass(frozen=True, slots=True)
class Kustomization:
    """What one file includes and which images it sets."""

    file: str
    includes: tuple[str, ...]
    """Paths of files and folders in the config repo."""
    components: tuple[str, ...]
    """Those of them whose `images` are about everything that this one includes."""
    overrides: tuple[Override, ...]
    patches: tuple[Patch, ...] = ()
    deploys: bool = False
    """Whether it is a resource that deploys a folder: nothing is further out."""
    whole: bool = False
    """Whether it deploys what lies in the folder without a Kustomization too."""
    line: int = 1
    namespace: str | None = None
    """Into which it puts everything that it includes."""
    fills: bool = False
    """Whether it puts only what says no namespace there."""
    prefix: str = ""
    suffix: str = ""
    """What it writes before and after the names of what it includes."""


def kustomization(file: str, content: str, documents: List[Document]) -> Kustomization | None:
    """Read a Kustomization; None where the file is none."""
    folder, _, name = file.rpartition("/")
    if name not in KUSTOMIZATIONS or not documents:
        return None
    root = documents[0].root
    if (text(root, "apiVersion") or "").startswith(_FLUX):
        return None
    included = tuple(_joined(folder, path) for key in _INCLUDES for path in texts(root, key))
    components = tuple(_joined(folder, path) for path in texts(root, "components"))
    overrides = tuple(_overrides(root, content))
    patches = tuple(_patches(file, folder, root))
    return Kustomization(
        file,
        (*included, *components),
        components,
        overrides,
        patches,
        namespace=text(root, "namespace") or None,
        prefix=text(root, "namePrefix") or "",
        suffix=text(root, "nameSuffix") or "",
    )


def _overrides(root: Node | None, content: str) -> Iterator[Override]:
    for item in items(root, "images"):
        named, node = text(item, "name"), resolved(item)
        if named is None or node is None:
            continue
        versioned = text(item, "newTag") is not None or text(item, "digest") is not None
        end = node.line + content.count("\n", node.start, node.end)
        yield Override(named, text(item, "newName"), versioned, node.line, end)


def _patches(file: str, folder: str | None, root: Node | None, within: str = "") -> Iterator[Patch]:
    """The patches under a Kustomization's keys, as far as it is certain what they are about. Without a
    folder only those that are written inline."""
    for key in _PATCHES:
        for number, item in enumerate(items(root, key)):
            target = at(item, "target")
            if any(text(target, other) is not None for other in ("labelSelector", "annotationSelector")):
                continue
            path, inline = text(item, "path"), text(item, "patch")
            start = f"{within}{key}[{number}].patch|"
            if (plain := text(item)) is not None:
                path, inline = (None, plain) if "\n" in plain else (plain, None)
                start = f"{within}{key}[{number}]|"
            kind, name = text(target, "kind"), text(target, "name")
            if inline is not None:
                yield Patch(file, start, kind, name, operations(inline))
            elif path is not None and folder is not None:
                yield Patch(_joined(folder, path), "", kind, name, ())


def operations(content: str) -> tuple[str, ...]:
    """Where the operations of a JSON patch write, in their order; none of another patch."""
    try:
        documents = parse(content)
    except ManifestError:
        return ()
    found = items(documents[0].root) if len(documents) == 1 else ()
    written = (text(item, "path") if text(item, "op") in ("replace", "add") else None for item in found)
    return tuple(path or "" for path in written)


def deployers(file: str, content: str, documents: List[Document]) -> Iterator[Kustomization]:
    """The resources of a manifest that deploy folders: Kustomizations of Flux, Applications of Argo CD
    and what ApplicationSets make of them. Paths with templates are left out."""
    for root in resources(tuple(documents)):
        version, kind = text(root, "apiVersion") or "", text(root, "kind")
        if version.startswith(_FLUX) and kind == "Kustomization":
            yield _deployer(file, root, text(root, "spec", "path") or ".", content)
        elif kind in ("Application", "ApplicationSet") and version.startswith("argoproj.io/"):
            spec = at(root, "spec") if kind == "Application" else at(root, "spec", "template", "spec")
            for source in (at(spec, "source"), *items(spec, "sources")):
                if (path := text(source, "path")) is not None and "{{" not in path:
                    yield _argo(file, root, path, source)


def _deployer(file: str, root: Node, path: str, content: str) -> Kustomization:
    spec = at(root, "spec")
    patches = tuple(_patches(file, None, spec, "spec."))
    included = (_joined("", path.lstrip("/")),)
    overrides = tuple(_overrides(spec, content))
    return Kustomization(
        file, included, (), overrides, patches, deploys=True, whole=True, line=root.line,
        prefix=text(spec, "namePrefix") or "", suffix=text(spec, "nameSuffix") or "",
    )  # fmt: skip


def _argo(file: str, root: Node, path: str, source: Node | None) -> Kustomization:
    overrides = []
    for item in items(source, "kustomize", "images"):
        node, written = resolved(item), text(item)
        if node is None or written is None or "{{" in written:
            continue
        old, renames, new = written.rpartition("=")
        folder, slash, last = new.partition("@")[0].rpartition("/")
        name = f"{folder}{slash}{last.partition(':')[0]}"
        overrides.append(Override(old if renames else name, name, new != name, node.line, node.line))
    included = (_joined("", path.lstrip("/")),)
    return Kustomization(
        file, included, (), tuple(overrides), deploys=True, line=root.line,
        prefix=text(source, "kustomize", "namePrefix") or "",
        suffix=text(source, "kustomize", "nameSuffix") or "",
    )  # fmt: skip


def _joined(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path)) if "://" not in path else path


class _Setting(NamedTuple):
    """The lines that decide the version of an image."""

    file: str
    line: int
    end: int


class _Step(NamedTuple):
    """On the way outwards from a site: a Kustomization, and what is known before it."""

    one: Kustomization
    name: str
    setting: _Setting | None
    applies: bool
    """Whether its own `images` come after the site: not where the site is one of them."""
    before: str = ""
    """The name that the last `images` further in were asked for; who deploys may replace their entries."""


class Inclusion:
    """The Kustomizations of a config repo, and which include what."""

    def __init__(self, kustomizations: Iterable[Kustomization]) -> None:
        every = tuple(kustomizations)
        self.by_file = {one.file: one for one in every if not one.deploys}
        self._includers: dict[str, list[Kustomization]] = {}
        for one in every:
            for path in one.includes:
                self._includers.setdefault(path, []).append(one)
        self._folders = {posixpath.dirname(file) or "." for file in self.by_file}

    def around(self, file: str) -> list[Kustomization]:
        """Those that include a file, itself or as the Kustomization of a folder."""
        paths = [file]
        folder, _, name = file.rpartition("/")
        if name in KUSTOMIZATIONS:
            paths.append(folder or ".")
        around = [one for path in paths for one in self._includers.get(path, ()) if one.file != file]
        return around + list(self._generated(folder or ".", name in KUSTOMIZATIONS))

    def deployers(self, folder: str) -> list[Kustomization]:
        """Those that deploy a folder without a Kustomization, and nothing below it."""
        if folder in self._folders:
            return []
        return [one for one in self._includers.get(folder, ()) if one.deploys and not one.whole]

    def components(self, of: Kustomization) -> Iterator[Kustomization]:
        """The components of one, in their order."""
        for path in of.components:
            for name in KUSTOMIZATIONS:
                component = self.by_file.get(posixpath.normpath(posixpath.join(path, name)))
                if component is not None and component is not of:
                    yield component

    def _generated(self, folder: str, is_kustomization: bool) -> Iterator[Kustomization]:
        """What deploys a folder further up as a whole: Flux makes up a Kustomization where there is none."""
        if is_kustomization:
            if folder == ".":
                return
            folder = posixpath.dirname(folder) or "."
        while folder not in self._folders:
            yield from (one for one in self._includers.get(folder, ()) if one.whole)
            if folder == ".":
                return
            folder = posixpath.dirname(folder) or "."


class Overlays:
    """What the Kustomizations of a config repo do to the sites of what they include."""

    def __init__(
        self,
        kustomizations: List[Kustomization],
        owned: Mapping[str, List[Site]],
        sites: Mapping[str, List[Site]],
        written: Mapping[str, tuple[str, ...]],
    ) -> None:
        """`owned`: the sites of each workload, so that it is known whose the overrides are; `sites`: all
        sites by file; `written`: file of a patch -> what `operations` found there."""
        self._sites = sites
        self._written = written
        self._inclusion = Inclusion(kustomizations)
        self._owners: dict[tuple[str, int], set[str]] = {}
        for name, mine in owned.items():
            for site in mine:
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
        place = f"{first.file}:{first.line}"
        return reason("lint/overridden", site=site.label, workload=workload.name, overlay=place)

    def is_replaced(self, site: Site) -> bool:
        """Whether the `images` of every outermost Kustomization around a site say the version themselves, so
        that nothing runs as it says."""
        settings = list(self._settings(site))
        return bool(settings) and None not in settings

    def _owners_of(self, setting: _Setting) -> set[str]:
        lines = range(setting.line, setting.end + 1)
        return set().union(*(self._owners.get((setting.file, line), set()) for line in lines))

    def _settings(self, site: Site) -> Iterator[_Setting | None]:
        """For each outermost Kustomization around a site: what sets the image there, None for nothing."""
        written = site.written
        if site.file in self._inclusion.by_file and _ENTRY.search(site.field):
            one = self._inclusion.by_file[site.file]
            before = next((o.name for o in one.overrides if o.line <= site.line <= o.end), written)
            todo = [_Step(one, written, None, applies=False, before=before)]
        elif _CONTAINER.search(site.field):
            todo = [_Step(one, written, None, applies=True) for one in self._inclusion.around(site.file)]
        else:
            return
        yield from self._walk(site, todo)

    def _walk(self, site: Site, todo: list[_Step]) -> Iterator[_Setting | None]:
        seen: set[tuple[str, int, str, _Setting | None]] = set()
        while todo:
            one, name, setting, applies, before = todo.pop()
            if (one.file, one.line, name, setting) in seen:
                continue
            seen.add((one.file, one.line, name, setting))
            for part in (*self._inclusion.components(one), one) if applies else ():
                if (patched := self._patched(part, site)) is not None:
                    name, setting = patched.written, _Setting(patched.file, patched.line, patched.line)
                known = {name, before} if part.deploys else {name}
                override = next((o for o in part.overrides if o.name in known), None)
                before = name
                if override is not None:
                    found = _Setting(part.file, override.line, override.end)
                    setting = found if override.versioned else setting
                    name = override.renamed or name
            outer = [] if one.deploys else self._inclusion.around(one.file)
            todo += [_Step(further, name, setting, applies=True, before=before) for further in outer]
            if not outer:
                yield setting

    def _patched(self, one: Kustomization, site: Site) -> Site | None:
        """The image in the patches of a Kustomization that replaces the one at a site of a container."""
        found = None
        for patch in one.patches if _CONTAINER.search(site.field) else ():
            pointers = patch.operations or self._written.get(patch.file, ())
            for image in self._sites.get(patch.file, ()):
                if not image.field.startswith(patch.within) or image == site:
                    continue
                field = image.field.removeprefix(patch.within)
                number = _NUMBER.fullmatch(field)
                if number is not None and int(number[1]) < len(pointers):
                    hit = self._is_at(pointers[int(number[1])], site) and _is_target(patch, site, None)
                else:
                    hit = field == site.field and _is_target(patch, site, image)
                found = image if hit else found
        return found

    def _is_at(self, pointer: str, site: Site) -> bool:
        """Whether a JSON Pointer leads to the container of a site, all containers having an image."""
        match, mine = _POINTER.fullmatch(pointer), _LIST.fullmatch(site.field)
        if match is None or mine is None or match["list"].replace("/", ".") != mine["list"]:
            return False
        fields = dict.fromkeys(
            other.field
            for other in sorted(self._sites.get(site.file, ()), key=lambda other: other.line)
            if other.document == site.document
            and (listed := _LIST.fullmatch(other.field)) is not None
            and listed["list"] == mine["list"]
        )
        index = int(match["index"])
        return index < len(fields) and list(fields)[index] == site.field


_NUMBER = re.compile(r"\[([0-9]{1,6})\]\.value", re.ASCII)


def _is_target(patch: Patch, site: Site, image: Site | None) -> bool:
    """Whether a patch is about the resource of a site; `image` is the one in a patch that names its
    resource itself."""
    if site.kind is None or site.name is None:
        return False
    if patch.kind is None and patch.name is None:
        return image is not None and (image.kind, image.name) == (site.kind, site.name)
    wanted = ((patch.kind, site.kind), (patch.name, site.name))
    return all(pattern is None or _is_named(pattern, found) for pattern, found in wanted)


def _is_named(pattern: str, name: str) -> bool:
    try:
        return Expression.parse(pattern).key(name) is not None
    except PolicyError:
        return False
