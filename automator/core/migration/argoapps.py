"""What Argo CD Image Updater was told: by annotations of Applications, and by ImageUpdater objects.

Sources: its documentation and code up to v1.3 (annotations of v0, which v1 reads where `useAnnotations`
says so; the custom resource v1alpha1 in both of its forms, images under the spec and under each ref).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from automator.core.migration.imported import Note, Source, note
from automator.core.migration.objects import (
    KubeObject,
    at,
    is_nothing,
    items_at,
    read_objects,
    scalars_of,
    text_at,
    texts_at,
    true_at,
)
from automator.core.yamltext import Node

PREFIX = "argocd-image-updater.argoproj.io"
TEMPLATE = re.compile(r"\{\{.*?\}\}")
_PARAMETER = re.compile(r"\{\{\s*\.?(\w+)\s*\}\}", re.ASCII)
_SETTINGS = ("update-strategy", "force-update", "allow-tags", "ignore-tags", "pull-secret")
_OF_IMAGE = (
    *_SETTINGS,
    *("platforms", "tag-match"),
    *("helm.image-name", "helm.image-tag", "helm.image-spec", "kustomize.image-name"),
)
_OF_APP = (
    *_SETTINGS,
    *("image-list", "write-back-method", "write-back-target"),
    *("git-branch", "git-repository", "git-write-branch"),
)


class Settings(NamedTuple):
    """How versions of an image are chosen; None where nothing is said at this level."""

    strategy: str | None = None
    allow: str | None = None
    ignore: tuple[str, ...] | None = None
    platforms: tuple[str, ...] | None = None
    pull_secret: str | None = None

    def over(self, wider: Settings) -> Settings:
        """These where something is said, those of the wider level elsewhere."""
        return wider._replace(**{name: value for name, value in self._asdict().items() if value is not None})


class Target(NamedTuple):
    """Where in values or in a kustomization the image is written."""

    helm_name: str | None = None
    helm_tag: str | None = None
    helm_spec: str | None = None
    kustomize: str | None = None
    plugin: bool = False


class Watched(NamedTuple):
    """One image that is kept up to date."""

    alias: str
    image: str
    """As written, without tag."""
    constraint: str
    settings: Settings = Settings()
    target: Target = Target()
    verified: bool = False
    """Whether its signature is asked for."""


class WriteBack(NamedTuple):
    """How the new version reaches Argo CD; None where nothing is said at this level."""

    method: str | None = None
    target: str | None = None
    branch: str | None = None
    repository: str | None = None
    write_branch: str | None = None
    pull_request: bool | None = None

    def over(self, wider: WriteBack) -> WriteBack:
        """These where something is said, those of the wider level elsewhere."""
        return wider._replace(**{name: value for name, value in self._asdict().items() if value is not None})


class AppSource(NamedTuple):
    """One source of an Application."""

    path: str | None
    chart: bool
    kind: str
    """`kustomize`, `helm` or empty."""
    value_files: tuple[str, ...] = ()
    """Files of Helm values: beside the chart, from the top (`/…`), or of another source (`$name/…`)."""
    recurse: bool = False
    """Whether a plain folder counts with all below it."""
    limited: bool = False
    """Whether only some of a folder's files count (`directory.include`, `directory.exclude`)."""


class App(NamedTuple):
    """An Application, or what an ApplicationSet makes of its template."""

    source: Source
    name: str
    """May hold a template where an ApplicationSet makes it."""
    project: str
    sources: tuple[AppSource, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    """Those of the Image Updater, without its prefix."""
    spec: Node | None

    @property
    def called(self) -> str:
        """A name without templates, for workloads and sentences."""
        return self.source.name if TEMPLATE.search(self.name) or not self.name else self.name


class Order(NamedTuple):
    """Images to watch for an Application, and who says so."""

    source: Source
    app: App | None
    """None where no file has the Application."""
    images: tuple[Watched, ...]
    write_back: WriteBack


class Orders(NamedTuple):
    """All that the Image Updater was told."""

    found: tuple[Order, ...]
    left: tuple[Note, ...]
    folders: tuple[str, ...] = ()
    """The folders that are sources of Applications, watched or not."""
    updaters: tuple[str, ...] = ()
    """Names of all ImageUpdater objects, also of those that only have annotations read."""


def read_orders(files: Mapping[str, str]) -> Orders:
    """Read the Applications and ImageUpdaters of a folder. Never raises."""
    objects = read_objects(files, ("argoproj.io",))
    left = [one for one in objects.unreadable if PREFIX in files[one.source.file]]
    apps = [app for one in objects.found for app in _made(one)]
    updaters = [one for one in objects.found if one.kind == "ImageUpdater" and one.api.startswith(PREFIX)]
    found: list[Order] = []
    chosen: dict[tuple[Source, str], Source] = {}
    for updater in updaters:
        found += _of_updater(updater, apps, chosen, left)
    for app in apps:
        if "image-list" not in app.annotations:
            continue
        if (app.source, app.name) in chosen:
            left.append(
                note(
                    app.source,
                    f"its annotations were not read: ImageUpdater {chosen[app.source, app.name].name}"
                    " selects it without useAnnotations",
                )
            )
        elif not any(order.app is app for order in found):
            found.append(_annotated(app, app.source, WriteBack(), Settings(), left))
    folders = {s.path: None for app in apps for s in app.sources if s.path is not None and not s.chart}
    names = sorted({updater.source.name for updater in updaters})
    return Orders(tuple(found), tuple(left), tuple(folders), tuple(names))


# -- Applications ---------------------------------------------------------------------------------------


def _app(one: KubeObject) -> App | None:
    if not one.api.startswith("argoproj.io/") or one.kind not in ("Application", "ApplicationSet"):
        return None
    body: Node | None = one.body if one.kind == "Application" else at(one.body, "spec", "template")
    spec = at(body, "spec")
    sources = items_at(spec, "sources") or ((at(spec, "source"),) if at(spec, "source") else ())
    return App(
        one.source,
        text_at(body, "metadata", "name") or "",
        text_at(spec, "project") or "",
        tuple(_source(source) for source in sources),
        {key: value.value for key, value in scalars_of(at(body, "metadata", "labels")).items()},
        {
            key.removeprefix(f"{PREFIX}/"): value.value.strip()
            for key, value in scalars_of(at(body, "metadata", "annotations")).items()
            if key.startswith(f"{PREFIX}/") and not is_nothing(value)
        },
        spec,
    )


def _source(source: Node | None) -> AppSource:
    kind = next((kind for kind in ("kustomize", "helm") if at(source, kind) is not None), "")
    chart = text_at(source, "chart") is not None
    directory = at(source, "directory")
    return AppSource(
        text_at(source, "path"),
        chart,
        kind or ("plugin" if at(source, "plugin") is not None else ""),
        texts_at(source, "helm", "valueFiles"),
        true_at(directory, "recurse"),
        at(directory, "include") is not None or at(directory, "exclude") is not None,
    )


def _made(one: KubeObject) -> Iterator[App]:
    """The Applications of an object: those of the literal lists of an ApplicationSet, each with its values;
    its template as it is for any other generator, since what that finds is not in these files."""
    app = _app(one)
    if app is None:
        return
    generators = items_at(one.body, "spec", "generators")
    lists = [items_at(g, "list", "elements") for g in generators if _is_literal(g)]
    if one.kind == "Application" or len(lists) < len(generators) or not lists:
        yield app
    for element in (element for elements in lists for element in elements):
        yield _filled(app, {name: value.value for name, value in scalars_of(element).items()})


def _is_literal(generator: Node) -> bool:
    found = at(generator, "list")
    return bool(items_at(found, "elements")) and all(
        at(*place) is None
        for place in ((found, "template"), (found, "elementsYaml"), (generator, "selector"))
    )


def _filled(app: App, values: Mapping[str, str]) -> App:
    def filled(text: str) -> str:
        return _PARAMETER.sub(lambda found: values.get(found[1], found[0]), text)

    sources = tuple(
        source._replace(
            path=None if source.path is None else filled(source.path),
            value_files=tuple(filled(file) for file in source.value_files),
        )
        for source in app.sources
    )
    return app._replace(
        name=filled(app.name),
        project=filled(app.project),
        sources=sources,
        labels={key: filled(value) for key, value in app.labels.items()},
        annotations={key: filled(value) for key, value in app.annotations.items()},
    )


# -- annotations ------------------------------------------------------------------------------------------


def _annotated(app: App, source: Source, wider: WriteBack, settings: Settings, left: list[Note]) -> Order:
    """What the annotations of an Application say; an ImageUpdater may say something wider."""
    said = app.annotations
    images = []
    aliases: set[str] = set()
    for entry in (part.strip() for part in said["image-list"].split(",")):
        if not entry:
            continue
        alias, image, constraint = split_image(entry)
        key = alias.replace("/", "_")
        aliases.add(key)
        own = _said(said, f"{key}.") if key else Settings()
        chosen = own.over(_said(said, "")).over(settings)
        images.append(Watched(alias, image, constraint, chosen, _annotated_target(said, key)))
    for key in sorted(said):
        alias, dot, rest = key.partition(".")
        if key in _OF_APP or (dot and alias in aliases and rest in _OF_IMAGE):
            continue
        left.append(note(app.source, f"annotation `{key}` is about no image of the list, and had no effect"))
    base, colon, written = said.get("git-branch", "").partition(":")
    write_back = WriteBack(
        said.get("write-back-method"),
        said.get("write-back-target"),
        base or None,
        said.get("git-repository"),
        said.get("git-write-branch", written if colon else None),
    )
    return Order(source, app, tuple(images), write_back.over(wider))


def split_image(entry: str) -> tuple[str, str, str]:
    """Alias, image and constraint of `web=ghcr.io/acme/web:^1.2`; alias and constraint may be empty."""
    alias, equals, rest = entry.partition("=")
    # An operator of the constraint (`nginx:>=1`) is no alias.
    if not equals or ":" in alias:
        alias, rest = "", entry
    head, slash, last = rest.strip().rpartition("/")
    # A digest is no constraint, and neither has it a tag.
    last = last.partition("@")[0]
    name, _, constraint = last.partition(":")
    return alias.strip(), head + slash + name, constraint.strip()


def _said(said: Mapping[str, str], prefix: str) -> Settings:
    ignore = said.get(f"{prefix}ignore-tags")
    platforms = said.get(f"{prefix}platforms") if prefix else None
    return Settings(
        said.get(f"{prefix}update-strategy") or None,
        said.get(f"{prefix}allow-tags") or (said.get(f"{prefix}tag-match") if prefix else None) or None,
        None if ignore is None else _parts(ignore),
        None if platforms is None else _parts(platforms),
        said.get(f"{prefix}pull-secret") or None,
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _annotated_target(said: Mapping[str, str], key: str) -> Target:
    if not key:
        return Target()
    return Target(
        said.get(f"{key}.helm.image-name") or None,
        said.get(f"{key}.helm.image-tag") or None,
        said.get(f"{key}.helm.image-spec") or None,
        said.get(f"{key}.kustomize.image-name") or None,
    )


# -- ImageUpdaters -----------------------------------------------------------------------------------------


def _of_updater(
    updater: KubeObject, apps: list[App], chosen: dict[tuple[Source, str], Source], left: list[Note]
) -> Iterator[Order]:
    """The orders of one ImageUpdater; `chosen` gets the Applications whose annotations do not count."""
    spec = at(updater.body, "spec")
    namespace = text_at(spec, "namespace") or updater.source.namespace
    refs = items_at(spec, "applicationRefs")
    matches: dict[int, list[App]] = {}
    described: set[int] = set()
    """Refs that name an Application here, though another one may describe it more closely."""
    for app in apps:
        same = not namespace or app.source.namespace in ("", namespace)
        scores = [(_score(ref, app), -i, i) for i, ref in enumerate(refs) if same]
        described |= {i for score, _, i in scores if score is not None}
        best = max((score for score in scores if score[0] is not None), default=None, key=lambda s: s[:2])
        if best is not None:
            matches.setdefault(best[2], []).append(app)
    for i, ref in enumerate(refs):
        settings = _settings(ref).over(_settings(spec))
        write_back = _write_back(ref).over(_write_back(spec))
        images = items_at(ref, "images") or items_at(spec, "images")
        watched = tuple(_watched(image, ref, spec, settings) for image in images)
        pattern = text_at(ref, "namePattern") or ""
        if i not in described:
            sentence = f'no file here has an Application that "{pattern}" names: `where` is yours'
            left.append(note(updater.source, sentence))
            if watched:
                yield Order(updater.source, None, watched, write_back)
        for app in matches.get(i, ()):
            if true_at(ref, "useAnnotations"):
                if "image-list" in app.annotations:
                    yield _annotated(app, app.source, write_back, settings, left)
                continue
            other = chosen.setdefault((app.source, app.name), updater.source)
            if other != updater.source:
                sentence = f"Application {app.called} is also selected by {other.name}, which counts here"
                left.append(note(updater.source, sentence))
            elif watched:
                yield Order(updater.source, app, watched, write_back)


def _score(ref: Node, app: App) -> tuple[bool, int, bool] | None:
    """How closely a ref describes an Application: by its exact name, by letters of the pattern, by labels."""
    pattern = text_at(ref, "namePattern") or ""
    name = TEMPLATE.sub("x", app.name)
    labels = at(ref, "labelSelectors")
    if not fnmatchcase(name, pattern.replace("[^", "[!")) or not _selected(labels, app.labels):
        return None
    return pattern == name, len(re.sub(r"\[.*?\]|[*?]", "", pattern)), labels is not None


def _selected(selector: Node | None, labels: Mapping[str, str]) -> bool:
    for key, value in scalars_of(at(selector, "matchLabels")).items():
        if labels.get(key) != value.value:
            return False
    for one in items_at(selector, "matchExpressions"):
        label = text_at(one, "key") or ""
        values = texts_at(one, "values")
        holds = {
            "In": labels.get(label) in values,
            "NotIn": labels.get(label) not in values,
            "Exists": label in labels,
            "DoesNotExist": label not in labels,
        }
        if not holds.get(text_at(one, "operator") or "", False):
            return False
    return True


def _settings(level: Node | None) -> Settings:
    common = at(level, "commonUpdateSettings")
    ignore, platforms = at(common, "ignoreTags"), at(common, "platforms")
    return Settings(
        text_at(common, "updateStrategy") or None,
        text_at(common, "allowTags") or None,
        None if ignore is None else texts_at(ignore),
        None if platforms is None else texts_at(platforms),
        text_at(common, "pullSecret") or None,
    )


def _write_back(level: Node | None) -> WriteBack:
    config = at(level, "writeBackConfig")
    git = at(config, "gitConfig")
    branch = text_at(git, "branch")
    base, colon, written = (branch or "").partition(":")
    return WriteBack(
        text_at(config, "method"),
        text_at(git, "writeBackTarget"),
        base or None,
        text_at(git, "repository"),
        written if colon else None,
        True if at(git, "pullRequest") is not None else None,
    )


def _watched(image: Node, ref: Node, spec: Node | None, wider: Settings) -> Watched:
    _, name, constraint = split_image(text_at(image, "imageName") or "")
    platforms = at(image, "platforms")
    own = _settings(image)
    if platforms is not None:
        own = own._replace(platforms=texts_at(platforms))
    target = at(image, "manifestTargets")
    verified = any(true_at(level, "imagesVerification", "enabled") for level in (image, ref, spec))
    return Watched(
        text_at(image, "alias") or "",
        name,
        constraint,
        own.over(wider),
        Target(
            text_at(target, "helm", "name"),
            text_at(target, "helm", "tag"),
            text_at(target, "helm", "spec"),
            text_at(target, "kustomize", "name"),
            at(target, "plugin") is not None,
        ),
        verified,
    )
