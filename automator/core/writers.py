"""Other writers: bots whose configs in the config repo say that they write where a workload has a site.

Two writers with different rules undo each other's commits. Read are Renovate's and Dependabot's configs,
Argo CD Image Updater's annotations and resources that write to Git, and Keel's annotations and labels.
Markers of Flux are `deadmarkers`'.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from automator.core import renovate as bots
from automator.core.found import KUSTOMIZATIONS
from automator.core.nodes import at, items, resources, text, texts
from automator.core.reference import Repository, parse_repository
from automator.core.renovate import Renovate, folder_of, name_test, renovate
from automator.core.site import Site
from automator.core.yamltext import Document, Mapping, Node, Scalar, parse
from automator.errors import AutomatorError, ManifestError
from automator.reasons import Reason, reason

DEPENDABOT = (".github/dependabot.yml", ".github/dependabot.yaml")
CONFIGS = (*bots.FILES, *DEPENDABOT)
"""Files by whose place one knows what they are."""
_UPDATER = "argocd-image-updater.argoproj.io/"
_KEEL = "keel.sh/policy"
_DOCKER = "datasource=docker"
WORDS = (_UPDATER.encode(), _KEEL.encode(), b"kind: Application", b'"Application', _DOCKER.encode())
"""A manifest without any of these says nothing of other writers."""


class _Update(NamedTuple):
    """One entry of Dependabot's `updates`."""

    file: str
    line: int
    ecosystem: str
    directories: tuple[str, ...]
    ignored: tuple[str, ...]
    allowed: tuple[str, ...]


class _Keel(NamedTuple):
    """A resource that Keel watches."""

    file: str
    line: int
    kind: str | None
    namespace: str | None
    name: str | None


class _Application(NamedTuple):
    """An Application of Argo CD."""

    file: str
    line: int
    name: str
    paths: tuple[str, ...]
    images: tuple[Repository, ...]
    """Of its annotation."""
    method: str
    target: str


class _Updater(NamedTuple):
    """What an ImageUpdater says of the Applications of one name pattern."""

    file: str
    line: int
    pattern: str
    images: tuple[Repository, ...]
    method: str
    target: str


class _Target(NamedTuple):
    """Where Argo CD Image Updater writes."""

    place: str
    images: tuple[Repository, ...]
    files: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """What one file says of other writers."""

    renovate: Renovate | None = None
    updates: tuple[_Update, ...] = ()
    watched: tuple[_Keel, ...] = ()
    applications: tuple[_Application, ...] = ()
    updaters: tuple[_Updater, ...] = ()
    comments: tuple[tuple[str, int], ...] = ()
    """Files and lines of comments that tell Renovate of a Docker image."""


def said_by_config(file: str, content: str) -> Said:
    """What the config of a bot says. Never raises: one that cannot be read says nothing."""
    if file not in DEPENDABOT:
        return Said(renovate(file, content))
    try:
        documents = parse(content)
    except ManifestError:
        return Said()
    return Said(updates=tuple(_updates(file, documents[0].root if documents else None)))


def said_by_manifest(file: str, content: str, documents: Sequence[Document]) -> Said:
    """What the resources of a manifest say."""
    watched: list[_Keel] = []
    applications: list[_Application] = []
    updaters: list[_Updater] = []
    for root in resources(tuple(documents)):
        match text(root, "kind"):
            case "Application":
                applications.append(_application(file, root, root))
            case "ApplicationSet" if isinstance(template := at(root, "spec", "template"), Mapping):
                applications.append(_application(file, template, root))
            case "ImageUpdater":
                updaters += _updaters(file, root)
            case kind:
                watched += _watched(file, root, kind)
    comments = tuple(
        (file, number)
        for number, line in enumerate(content.split("\n"), 1)
        if _DOCKER in line and _DOCKER in line.partition("#")[2].partition("renovate:")[2].split()
    )
    return Said(None, (), tuple(watched), tuple(applications), tuple(updaters), comments)


class Writers:
    """All other writers of a config repo."""

    def __init__(self, said: Sequence[Said]) -> None:
        self._renovates = [one.renovate for one in said if one.renovate is not None]
        self._updates = [update for one in said for update in one.updates]
        self._watched = {(w.file, w.kind, w.namespace, w.name): w for one in said for w in one.watched}
        self._comments = {comment for one in said for comment in one.comments}
        applications = [a for one in said for a in one.applications]
        updaters = [u for one in said for u in one.updaters]
        self._targets: dict[Repository, list[_Target]] = {}
        for target in _targets(applications, updaters):
            for image in target.images:
                self._targets.setdefault(image, []).append(target)

    def at(self, site: Site) -> Iterator[Reason]:
        """Everyone else who writes at a site."""
        for config in self._renovates:
            beside = any((site.file, line) in self._comments for line in (site.line - 1, site.line))
            if manager := config.covers(site, has_comment=beside):
                how = f"its manager {manager} covers the file ({config.file})"
                yield _second("Renovate", site, how, f"add the image to `ignoreDeps` in {config.file}")
        for update in self._updates:
            if _covers(update, site):
                how = f"{update.file}:{update.line} names the folder for {update.ecosystem}"
                stop = f"add the image to `ignore` at {update.file}:{update.line}"
                yield _second("Dependabot", site, how, stop)
        watched = self._watched.get((site.file, site.kind, site.namespace, site.name))
        if watched is not None and site.name is not None:
            how = f"`{_KEEL}` stands at {watched.file}:{watched.line}"
            yield _second("Keel", site, how, f"remove `{_KEEL}` from the resource")
        for target in self._targets.get(site.repository, ()) if site.repository is not None else ():
            files = any(_matches(file, site.file) for file in target.files)
            if files or any(_inside(folder, site.file) for folder in target.folders):
                how = f"{target.place} writes this image to Git"
                stop = f"remove the image from {target.place}"
                yield _second("Argo CD Image Updater", site, how, stop)


def _inside(folder: str, path: str) -> bool:
    if "*" in folder:
        return _matches(f"{folder.rstrip('/')}/**", f"/{path}")
    return f"/{path}".startswith(f"{folder.rstrip('/')}/")


def _second(writer: str, site: Site, how: str, stop: str) -> Reason:
    return reason("lint/second-writer", writer=writer, site=site.label, how=how, stop=stop)


# -- Dependabot ----------------------------------------------------------------------------------------

_ECOSYSTEMS = ("docker", "docker-compose", "helm")


def _updates(file: str, root: Node | None) -> Iterator[_Update]:
    for item in items(root, "updates"):
        ecosystem = text(item, "package-ecosystem")
        if ecosystem not in _ECOSYSTEMS or text(item, "open-pull-requests-limit") == "0":
            continue
        directories = (*texts(item, "directory"), *texts(item, "directories"))
        whole = (
            i for i in items(item, "ignore") if at(i, "versions") is None and at(i, "update-types") is None
        )
        ignored = tuple(name for i in whole if (name := text(i, "dependency-name")) is not None)
        allowed = tuple(
            name for i in items(item, "allow") if (name := text(i, "dependency-name")) is not None
        )
        yield _Update(file, item.line, ecosystem, directories, ignored, allowed)


def _covers(update: _Update, site: Site) -> bool:
    name = posixpath.basename(site.file)
    compose = name.startswith(("compose", "docker-compose"))
    fits = {
        "docker": not compose,
        "docker-compose": compose,
        "helm": name == "Chart.yaml" or "values" in name,
    }[update.ecosystem]
    if not fits or not name.endswith((".yaml", ".yml")):
        return False
    folder = folder_of(site.file)
    if not any(_matches("/" + d.strip("/"), folder) for d in update.directories):
        return False
    path = "" if site.repository is None else site.repository.path
    known = {site.written, path, path.removeprefix("library/")}
    if any(_matches(pattern, one) for pattern in update.ignored for one in known):
        return False
    return not update.allowed or any(_matches(pattern, one) for pattern in update.allowed for one in known)


def _matches(pattern: str, value: str) -> bool:
    if pattern == value:
        return True
    test = name_test(pattern) if "*" in pattern and not pattern.startswith("!") else None
    return test is not None and test(value)


# -- Keel ----------------------------------------------------------------------------------------------


def _watched(file: str, root: Mapping, kind: str | None) -> Iterator[_Keel]:
    for where in ("annotations", "labels"):
        policy = at(root, "metadata", where, _KEEL)
        if isinstance(policy, Scalar):
            if policy.value != "never":
                named = (text(root, "metadata", "namespace"), text(root, "metadata", "name"))
                yield _Keel(file, policy.line, kind, *named)
            return


# -- Argo CD Image Updater -----------------------------------------------------------------------------


_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_FOLDER = re.compile(r"\{\{\s*\.?path(?:\.path)?\s*\}\}", re.ASCII)
"""What the Git generator of an ApplicationSet calls a folder that it found."""


def _globs_of(path: str, whole: Mapping) -> Iterator[str]:
    """A path as globs that cover what a template may make of it; none where that is anything."""
    if _FOLDER.fullmatch(path.strip()):
        for generator in items(whole, "spec", "generators"):
            for folder in items(generator, "git", "directories"):
                if text(folder, "exclude") != "true" and (found := text(folder, "path")) is not None:
                    yield found
        return
    glob = _TEMPLATE.sub("*", path)
    if glob.strip("/*.") or "{{" not in path:
        yield glob


def _application(file: str, root: Mapping, whole: Mapping) -> _Application:
    """What an Application says, or the template of one in the resource `whole`."""
    spec = at(root, "spec")
    sources = [at(spec, "source"), *items(spec, "sources")]
    notes = at(root, "metadata", "annotations")
    listed = at(notes, f"{_UPDATER}image-list")
    return _Application(
        file,
        root.line if listed is None else listed.line,
        _TEMPLATE.sub("*", text(root, "metadata", "name") or ""),
        tuple(
            posixpath.normpath(glob)
            for source in sources
            if (path := text(source, "path")) is not None
            for glob in _globs_of(path, whole)
        ),
        tuple(_images((text(listed) or "").split(","))),
        text(notes, f"{_UPDATER}write-back-method") or "argocd",
        _TEMPLATE.sub("*", text(notes, f"{_UPDATER}write-back-target") or ""),
    )


def _updaters(file: str, root: Mapping) -> Iterator[_Updater]:
    spec = at(root, "spec")
    for ref in items(spec, "applicationRefs"):
        configs = [at(ref, "writeBackConfig"), at(spec, "writeBackConfig")]
        method = next((m for c in configs if (m := text(c, "method")) is not None), "argocd")
        target = next((t for c in configs if (t := text(c, "gitConfig", "writeBackTarget")) is not None), "")
        names = (text(image, "imageName") or "" for image in items(ref, "images"))
        pattern = text(ref, "namePattern") or "*"
        yield _Updater(file, ref.line, pattern, tuple(_images(names)), method, target)


def _images(names: Iterator[str] | Sequence[str]) -> Iterator[Repository]:
    """Repositories of `alias=name:constraint`."""
    for name in names:
        written = name.strip().rpartition("=")[2]
        folder, slash, last = written.rpartition("/")
        try:
            yield parse_repository(f"{folder}{slash}{last.partition(':')[0]}")
        except AutomatorError:
            continue


def _targets(applications: Sequence[_Application], updaters: Sequence[_Updater]) -> Iterator[_Target]:
    for one in applications:
        if one.images and one.method.startswith("git"):
            yield _target(one, f"{one.file}:{one.line}", one.images, one.target)
    for updater in updaters:
        test = name_test(updater.pattern)
        for one in applications if updater.method.startswith("git") and test is not None else ():
            if test is not None and test(one.name):
                yield _target(one, f"{updater.file}:{updater.line}", updater.images, updater.target)


def _target(one: _Application, place: str, images: tuple[Repository, ...], written: str) -> _Target:
    kind, _, where = written.partition(":")
    if kind not in ("kustomization", "helmvalues"):
        # Parameters in a file of its own beside the manifests, which take precedence over them.
        return _Target(place, images, (), tuple(folder_of(f"{path}/-") for path in one.paths))
    bases = [where.strip("/")] if where.startswith("/") else [posixpath.join(p, where) for p in one.paths]
    bases = [posixpath.normpath(base) for base in bases]
    if kind == "helmvalues":
        return _Target(place, images, tuple(bases), ())
    files = tuple(posixpath.normpath(posixpath.join(base, name)) for base in bases for name in KUSTOMIZATIONS)
    return _Target(place, images, files, ())
