"""Argo CD Image Updater: what its annotations and ImageUpdater objects ask for, as policies.

An image of an Application becomes a workload that owns the sites in what the Application is made of. What
the difference numbers (AR-01 …) mean is told in docs/coming-from/argocd-image-updater.md.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from automator.core.fields import parse_field
from automator.core.migration import expressions, goglobs
from automator.core.migration.argoapps import (
    PREFIX,
    TEMPLATE,
    App,
    AppSource,
    Order,
    Orders,
    Watched,
    WriteBack,
    read_orders,
)
from automator.core.migration.drafting import THEN, Left, Work, imported
from automator.core.migration.imported import Imported, Source, policy_file
from automator.core.pattern import MAX_PATTERN, Expression, Glob
from automator.core.reference import TAG, parse_reference, parse_repository
from automator.core.version import Constraint
from automator.errors import AutomatorError
from automator.reasons import one_line

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
STRATEGIES = {
    "semver": "semver",
    "latest": "newest",
    "newest-build": "newest",
    "name": "alphabetical",
    "alphabetical": "alphabetical",
    "digest": "digest",
}

_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?", re.ASCII)
_WORDS = re.compile(r"[\s\"'=,{}\[\]]+")
_SPECIAL = re.compile(r"([\\*?\[\]#!])")
_STOP = (
    "Stop Argo CD Image Updater before the first release here (scale its deployment to 0): "
    "two writers undo each other"
)


def import_argocd(files: Mapping[str, str]) -> Imported:
    """The settings of Argo CD Image Updater in manifests (path -> text) as drafts. Never raises.

    Paths in the drafts are those of the Applications' sources: the files are taken to be of the config repo
    that they name.
    """
    orders = read_orders(files)
    left = Left()
    made = _Made(files, left, orders.folders)
    for order in orders.found:
        for watched in order.images:
            made.add(order, watched)
    for source, back in dict.fromkeys((order.source, order.write_back) for order in orders.found):
        _leave_write_back(source, back, left)
    notes = (*orders.left, *left.notes())
    return imported(made.works, notes, tuple(_switch_off(orders, made)) if orders.found else ())


class _Made:
    """The workloads so far; two that say the same of the same sites are one."""

    def __init__(self, files: Mapping[str, str], left: Left, folders: tuple[str, ...]) -> None:
        self.works: list[tuple[str, Work]] = []
        self.overrides: list[str] = []
        """Files with parameters that Image Updater wrote."""
        self._files = files
        self._left = left
        self._folders = folders

    def add(self, order: Order, watched: Watched) -> None:
        """One image of one Application."""
        try:
            repository = str(parse_repository(watched.image))
        except AutomatorError as error:
            self._left.add(order.source, f'image "{one_line(watched.image, 100)}": {error.reason.sentence}')
            return
        app = order.app
        alias = watched.alias or repository.rpartition("/")[2]
        name = alias if app is None else app.called if len(order.images) == 1 else f"{app.called}-{alias}"
        work = Work(order.source if app is None else app.source, name)
        work.keys["image"] = watched.image if "." in watched.image.split("/")[0] else repository
        _choose(work, watched)
        _guard(work, watched)
        where = _Where(self._files, order, watched, work, self._folders)
        if keys := where.keys():
            work.keys["where"] = keys
        if not keys:
            work.hold(f"nothing here says where its version stands: say `where`{THEN}")
        elif where.is_guessed:
            work.hold(f"an ApplicationSet or a filter of files decides which places count: say `where`{THEN}")
        self.overrides += where.overrides
        _leave_image(order, watched, repository, self._left)
        self._keep(order, work)

    def _keep(self, order: Order, work: Work) -> None:
        for _, other in self.works:
            if other.keys["image"] != work.keys["image"]:
                continue
            if other.keys == work.keys and other.holds == work.holds:
                other.differs += [sentence for sentence in work.differs if sentence not in other.differs]
                return
            mine, theirs = work.keys.get("where"), other.keys.get("where")
            if mine == theirs or not mine or not theirs:
                sentence = f"it may own the same places as {other.source}, with other rules: tell them apart"
                self._left.add(work.source, f"{sentence} by `where`")
        project = order.app.project if order.app is not None else ""
        self.works.append((policy_file("" if project == "default" else project, "argocd"), work))


# -- which tags -------------------------------------------------------------------------------------------


def _choose(work: Work, watched: Watched) -> None:
    """Filter, order and range."""
    settings = watched.settings
    strategy = STRATEGIES.get((settings.strategy or "semver").lower())
    if strategy is None:
        work.differ(f"strategy `{one_line(settings.strategy or '', 40)}` is unknown, and meant semver")
    if strategy == "digest":
        _follow(work, watched)
        return
    if (regex := _allowed(work, settings.allow)) is not None:
        work.keys["regex"] = regex
    if excluded := _ignored(work, settings.ignore or ()):
        work.keys["exclude"] = list(excluded)
    if strategy in ("newest", "alphabetical"):
        work.keys["order"] = strategy
        if watched.constraint:
            work.differ(f"`{one_line(watched.constraint, 60)}` was no filter there under this strategy")
        if regex is None:
            work.differ("tags of signatures (`sha256-….sig`) are never taken here (AR-03)")
        return
    _range(work, watched.constraint)


def _range(work: Work, text: str) -> None:
    work.keys["semver"] = "*"
    work.keys["versions"] = "lenient"
    if not text:
        work.differ("pre-releases are never taken without a range that names one (AR-01)")
        return
    try:
        constraint = Constraint.parse(text)
    except AutomatorError as error:
        work.hold(f"Image Updater took nothing: {error.reason.sentence}")
        return
    if constraint.empty:
        work.hold(f"Image Updater took nothing: no version lies in {one_line(text, 60)}")
        return
    work.keys["semver"] = text


def _allowed(work: Work, allow: str | None) -> str | None:
    """The expression for `allow-tags`; None where every tag is allowed."""
    if allow is None or allow.lower() == "any":
        return None
    kind, _, pattern = allow.partition(":")
    is_one = kind.lower() == "regexp" and expressions.compiles(pattern)
    if not is_one or expressions.tokens(pattern) is None:
        work.hold(f"Image Updater took nothing: `allow-tags: {one_line(allow, 100)}` is no filter")
        return None
    covering = expressions.covering(pattern)
    if covering is None:
        work.hold(f"`allow-tags` cannot be written as a `regex` of {MAX_PATTERN} characters here (AR-10)")
    return None if covering in (None, ".*?.*") else covering


def _ignored(work: Work, patterns: Sequence[str]) -> tuple[str, ...]:
    """The globs for `ignore-tags`."""
    globs: list[str] = []
    for pattern in patterns:
        found = goglobs.spelled(pattern)
        if found.too_many:
            work.hold(f"`ignore-tags: {one_line(pattern, 60)}` cannot be written as globs here (AR-09)")
        elif found.problem:
            sentence = f"`ignore-tags: {one_line(pattern, 60)}` is left out, for {found.problem}"
            work.differ(sentence)
        globs += found.globs
    if "*" in globs:
        work.hold("every tag was ignored (`ignore-tags: *`), which is a pause")
        return tuple(glob for glob in dict.fromkeys(globs) if glob != "*")
    return tuple(dict.fromkeys(globs))


def _follow(work: Work, watched: Watched) -> None:
    """Strategy `digest`: one moving tag."""
    tag = watched.constraint
    if TAG.fullmatch(tag) is None:
        work.keys["follow"] = "latest"
        what = f"`{one_line(tag, 60)}` is no tag" if tag else "strategy `digest` needs a tag"
        work.hold(f"Image Updater took nothing: {what}")
        return
    work.keys["follow"] = tag
    work.differ(f"the tag stays, {tag}@sha256:…, where Image Updater left only the digest (AR-05)")
    regex = _allowed(work, watched.settings.allow)
    if regex is not None and Expression.parse(regex).key(tag) is None:
        work.hold(f"Image Updater took nothing: `allow-tags` does not allow {tag}")
    for glob in _ignored(work, watched.settings.ignore or ()):
        if Glob.parse(glob).key(tag) is not None:
            work.hold(f"Image Updater took nothing: `ignore-tags` takes {tag} out")


def _guard(work: Work, watched: Watched) -> None:
    platforms = tuple(dict.fromkeys(watched.settings.platforms or ()))
    if not platforms:
        return
    valid = [platform for platform in platforms if _PLATFORM.fullmatch(platform)]
    if len(valid) < len(platforms):
        wrong = next(platform for platform in platforms if platform not in valid)
        work.hold(f'"{one_line(wrong, 60)}" is no platform such as linux/amd64')
    if valid:
        work.keys["platforms"] = valid
        work.differ("`platforms` wants each of them, under every strategy, and pins the digest (AR-04)")


# -- which places -----------------------------------------------------------------------------------------


class _Where:
    """Finds out where the image of an Application is written in Git."""

    def __init__(
        self,
        files: Mapping[str, str],
        order: Order,
        watched: Watched,
        work: Work,
        folders: tuple[str, ...],
    ) -> None:
        self._files = files
        self._order = order
        self._watched = watched
        self._work = work
        self._folders = folders
        self.overrides: list[str] = []
        """The `.argocd-source` file that is owned."""

    @property
    def is_guessed(self) -> bool:
        """Whether more may be named than the Application is made of."""
        return self._order.app is not None and any(
            source.limited or any(TEMPLATE.search(p) for p in (source.path or "", *source.value_files))
            for source in self._order.app.sources
            if not source.chart
        )

    def keys(self) -> dict[str, object]:
        """The keys of `where`; none where nothing is known."""
        app = self._order.app
        if app is None:
            return {}
        method, _, _ = (self._order.write_back.method or "argocd").partition(":")
        kind, _, path = (self._order.write_back.target or "").partition(":")
        if method != "git":
            return self._in_cluster(app)
        if kind == "kustomization":
            return self._kustomization(app, path or ".")
        if kind == "helmvalues":
            return self._values(app, path or "values.yaml")
        return self._override(app)

    def _in_cluster(self, app: App) -> dict[str, object]:
        sentence = "versions were written into the cluster, not into Git, which may be behind (AR-07)"
        self._work.differ(sentence)
        return self._own_parameters(app) or self._sources(app)

    def _own_parameters(self, app: App) -> dict[str, object]:
        """The Application's own manifest, where its parameters name the image."""
        if app.spec is None or app.source.kind != "Application":
            return {}
        spec = self._files[app.source.file][app.spec.start : app.spec.end]
        if not any(_is_of(self._watched.image, word) for word in _WORDS.split(spec)):
            return {}
        return {"paths": [_anchored(app.source.file)], "kind": "Application", "name": app.name}

    def _override(self, app: App) -> dict[str, object]:
        source = _main_source(app, "")
        file = f".argocd-source-{app.name}.yaml"
        if source is not None and source.path is not None and not TEMPLATE.search(app.name):
            path = posixpath.normpath(posixpath.join(source.path, file))
            if path in self._files:
                self.overrides.append(path)
                return {"paths": [_anchored(path)]}
        return self._own_parameters(app) or self._sources(app)

    def _kustomization(self, app: App, path: str) -> dict[str, object]:
        folder = self._resolved(app, "kustomize", path)
        if folder is None:
            return {}
        there = [
            name for name in KUSTOMIZATIONS if posixpath.normpath(posixpath.join(folder, name)) in self._files
        ]
        file = posixpath.normpath(posixpath.join(folder, there[0] if there else KUSTOMIZATIONS[0]))
        if self._watched.target.kustomize is not None:
            sentence = "names are left alone: write `newName` into the entry of `images:` once (AR-08)"
            self._work.differ(sentence)
        return {"paths": [_anchored(file)]}

    def _values(self, app: App, path: str) -> dict[str, object]:
        file = self._resolved(app, "helm", path)
        if file is None:
            return {}
        target = self._watched.target
        field = target.helm_spec or target.helm_tag
        keys: dict[str, object] = {"paths": [_anchored(file)]}
        if field is not None and parse_field(field) is not None:
            keys["field"] = field
        elif field is not None:
            self._work.differ(f"`{one_line(field, 60)}` is no path that `where.field` reads")
        return keys

    def _resolved(self, app: App, kind: str, path: str) -> str | None:
        """A path of a write-back target in the repo; None, with a note, where it leads out of it."""
        source = _main_source(app, kind)
        if source is None and not path.startswith("/"):
            return None
        base = (source.path if source is not None else None) or "."
        found = posixpath.normpath(path.lstrip("/") if path.startswith("/") else posixpath.join(base, path))
        if found.startswith("../") or found == "..":
            self._work.differ(f"target `{one_line(path, 60)}` leads out of the repo: say `where` yourself")
            return None
        return found

    def _sources(self, app: App) -> dict[str, object]:
        """All that an Application is made of: the folders of its sources, and files of values elsewhere."""
        paths: list[str] = []
        for source in app.sources:
            if source.path is not None and not source.chart:
                if (folder := _folder(source.path)) is None:
                    return {}
                paths += self._of_folder(source, folder)
        for source in app.sources:
            for file in source.value_files:
                # `$values/…` is a path in the source of that name, which is taken for the config repo.
                top = re.sub(r"\A\$[^/]+/|\A/", "", file)
                found = posixpath.normpath(top if top != file else posixpath.join(source.path or ".", file))
                inside = source.path is not None and found.startswith(f"{posixpath.normpath(source.path)}/")
                if "://" not in file and not found.startswith("../") and not inside:
                    paths.append(_anchored(found))
        return {"paths": list(dict.fromkeys(paths))} if paths else {}

    def _of_folder(self, source: AppSource, folder: str) -> list[str]:
        """The files of a folder that count: without those of the folders of other Applications."""
        path = posixpath.normpath((source.path or "").strip("/") or ".")
        start = "" if path == "." else f"{path}/"
        there = [file[len(start) :] for file in self._files if file.startswith(start)]
        is_built = source.kind or any(name in (*KUSTOMIZATIONS, "Chart.yaml") for name in there)
        if there and not is_built and not source.recurse and not TEMPLATE.search(path):
            # Argo CD reads a plain folder without those below it.
            return [f"{folder}/*{suffix}" for suffix in (".yaml", ".yml", ".json")]
        nested = (_folder(other) for other in self._folders)
        others = [f"!{n}/**" for n in nested if n and n != folder and n.startswith(f"{folder}/")]
        return [f"{folder}/**", *dict.fromkeys(others)]


def _is_of(image: str, word: str) -> bool:
    """Whether a word is a reference to an image of this repository."""
    try:
        return parse_reference(word).repository == parse_repository(image)
    except AutomatorError:
        return False


def _main_source(app: App, kind: str) -> AppSource | None:
    """The source that is written to: of the wanted kind, else of any, else the first with a path."""
    with_path = [source for source in app.sources if source.path is not None and not source.chart]
    ranked = sorted(with_path, key=lambda source: (source.kind != kind, not source.kind))
    return ranked[0] if ranked else None


def _folder(path: str) -> str | None:
    """A folder of the repo as the beginning of a glob, empty for its top; None where it is not known."""
    folder = posixpath.normpath(path.strip("/") or ".")
    if folder == ".":
        return ""
    if folder == ".." or folder.startswith("../"):
        return None
    glob = _glob(folder)
    return None if glob in ("*", "**") else f"/{glob}"


def _anchored(path: str) -> str:
    return f"/{_glob(path)}"


def _glob(path: str) -> str:
    """A path as a glob: templates match anything, other characters themselves."""
    parts = []
    for part in re.split(r"(\{\{.*?\}\})", path):
        whole = TEMPLATE.fullmatch(part) is not None
        parts.append("*" if whole else _SPECIAL.sub(r"\\\1", part))
    glob = "".join(parts)
    # What a template becomes may hold slashes.
    return "**" + glob[1:] if glob == "*" or glob.startswith("*/") else glob


# -- what is left -------------------------------------------------------------------------------------------


def _leave_image(order: Order, watched: Watched, repository: str, left: Left) -> None:
    host = repository.partition("/")[0]
    secret = watched.settings.pull_secret
    told: list[tuple[object, str]] = [
        (
            secret is not None,
            f"`pull-secret: {one_line(secret or '', 60)}`: a docker config, or"
            f' [registries."{host}".credentials] in config.toml',
        ),
        (watched.verified, "signatures are not checked by this version: `signed_by` comes later"),
        (
            watched.target.plugin,
            "a plugin's parameter was written: name the place by `where.field`",
        ),
    ]
    for there, sentence in told:
        if there:
            left.add(order.source, sentence)


def _leave_write_back(source: Source, back: WriteBack, left: Left) -> None:
    method, _, credentials = (back.method or "argocd").partition(":")
    told: list[tuple[object, str]] = [
        (method == "git" and credentials not in ("", "repocreds"),
         f"Git credentials `{one_line(credentials, 60)}`: [repos.NAME.credentials] in config.toml"),
        (back.repository, f"repository {one_line(back.repository or '', 100)}: `url` of [repos.NAME]"),
        (back.branch, f"branch {one_line(back.branch or '', 60)}: `branch` of [repos.NAME] in config.toml"),
        (back.write_branch is not None,
         "a branch of its own for each change: this version pushes to the branch that it reads"),
        (back.pull_request,
         "pull requests: say `deliver: pull-request` in the policy, and name the forge in config.toml"),
    ]  # fmt: skip
    for there, sentence in told:
        if there:
            left.add(source, sentence)


def _switch_off(orders: Orders, made: _Made) -> Iterator[str]:
    yield _STOP
    annotated = {
        o.app.source for o in orders.found if o.app is not None and "image-list" in o.app.annotations
    }
    if annotated:
        files = ", ".join(sorted({one_line(source.file, 100) for source in annotated})[:5])
        yield f"Remove the annotations `{PREFIX}/…` of the Applications in {files}"
    if orders.updaters:
        yield f"Delete ImageUpdater {', '.join(one_line(name, 60) for name in orders.updaters[:5])}"
    if any((order.write_back.method or "argocd").partition(":")[0] != "git" for order in orders.found):
        yield (
            "Remove the parameters that Image Updater wrote into live Applications, for they override Git: "
            "`argocd app unset`, or a sync of the Applications from Git"
        )
    if made.overrides:
        names = ", ".join(one_line(name, 100) for name in sorted(set(made.overrides))[:5])
        yield f"Keep {names}: the versions stand there, and are written there from now on"
