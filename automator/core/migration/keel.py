"""Keel: what its annotations, labels and Helm values ask for, as policies.

Each image of a workload that Keel tracks becomes a workload here. Keel chooses from what the cluster runs
and changes the cluster; a policy chooses from what Git says and changes Git. What the difference numbers
(KE-01 …) mean is told in docs/coming-from/keel.md. Rules of choice: Keel 0.22, `internal/policy`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from automator.core import version
from automator.core.fields import parse_field
from automator.core.migration import expressions
from automator.core.migration.drafting import Left, Work, imported
from automator.core.migration.imported import Imported, Source, policy_file
from automator.core.migration.objects import (
    KubeObject,
    at,
    items_at,
    read_objects,
    resolve,
    text_at,
    twin,
)
from automator.core.pattern import Expression, Glob
from automator.core.reference import DEFAULT_REGISTRY, Reference, parse_reference
from automator.core.yamltext import Mapping as Tree
from automator.core.yamltext import Node, parse
from automator.errors import AutomatorError, ManifestError
from automator.reasons import one_line

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
STEPS = {"patch": "patch", "minor": "minor", "major": None, "all": None}

_PREFIXES = ("keel.sh/", "keel.observer/")
_TEMPLATE = {"CronJob": ("spec", "jobTemplate", "spec", "template"), "": ("spec", "template")}
_NUMBER_AT_END = re.compile(r"v?[0-9][0-9.]*\Z", re.ASCII)
_NUMBER_AT_START = re.compile(r"[0-9.]", re.ASCII)
_IN_GLOB = re.compile(r"[A-Za-z0-9._*-]+", re.ASCII)
_STOP = (
    "Stop Keel before the first release here (scale its deployment to 0): it changes the cluster behind Git",
    "Write the versions that run into Git, where Keel has moved the cluster on: `kubectl get deployments -o "
    "wide` shows them, `automator set` writes them",
    "Remove the annotations and labels `keel.sh/…` and the `keel:` blocks of Helm values",
)


class Settings(NamedTuple):
    """What Keel is told about the images of one object."""

    policy: str
    match_tag: bool = False
    match_pre_release: bool = True
    poll: bool = False
    schedule: str = ""
    approvals: str = ""
    others: tuple[str, ...] = ()
    """Names of further settings."""


class Tracked(NamedTuple):
    """One image that Keel tracks, and where it is written."""

    source: Source
    name: str
    namespace: str
    image: str
    where: Mapping[str, object]
    settings: Settings


def import_keel(files: Mapping[str, str]) -> Imported:
    """The settings of Keel in manifests and Helm values (path -> text) as drafts. Never raises."""
    left = Left()
    objects = read_objects(files, (*(f"{prefix}" for prefix in _PREFIXES), "keel:"))
    unreadable = [one for one in objects.unreadable if _is_told(files[one.source.file])]
    tracked: list[Tracked] = []
    for one in objects.found:
        tracked += _of_object(one, objects.found, left)
    for file in sorted(files):
        tracked += _of_values(file, files[file], left)
    works = [made for one in tracked if (made := _work(one, left)) is not None]
    return imported(works, (*unreadable, *left.notes()), _STOP if tracked else ())


def _is_told(text: str) -> bool:
    return (
        any(prefix in text for prefix in _PREFIXES) or re.search(r"^\s*keel:", text, re.MULTILINE) is not None
    )


# -- objects --------------------------------------------------------------------------------------------


def _of_object(one: KubeObject, found: Sequence[KubeObject], left: Left) -> Iterator[Tracked]:
    """The images of one manifest."""
    if one.kind == "HelmRelease":
        values = at(one.body, "spec", "values")
        if at(values, "keel") is not None and not _has_twin(one, found, left):
            yield from _of_keel_block(values, one.source, one.source.name, _where(one), "spec.values.", left)
        return
    annotations = {key: value.value.strip() for key, value in one.annotations.items()}
    labels = {key: value.value.strip() for key, value in one.labels.items()}
    said = annotations if _policy(annotations) is not None else labels
    policy = _policy(said)
    if policy in (None, "", "never"):
        if policy is not None:
            left.add(one.source, f'policy "{policy}": Keel left it alone, and no policy was written')
        return
    if one.kind not in KINDS:
        left.add(one.source, f"Keel tracks no {one_line(one.kind, 40) or 'such object'}")
        return
    if _has_twin(one, found, left):
        return
    # Some settings count wherever they stand, the policy's own only beside the policy.
    both = {**labels, **annotations}
    settings = Settings(
        str(policy),
        said.get("keel.sh/matchTag", said.get("keel.sh/match-tag")) == "true",
        said.get("keel.sh/matchPreRelease", "true") == "true",
        both.get("keel.sh/trigger") == "poll",
        both.get("keel.sh/pollSchedule", ""),
        both.get("keel.sh/approvals", ""),
        tuple(
            name
            for name in ("imagePullSecret", "notify", "releaseNotes", "approvalDeadline")
            if f"keel.sh/{name}" in both
        ),
    )
    yield from _containers(one, both, annotations, settings, left)


def _where(one: KubeObject) -> dict[str, object]:
    """The one document that an object is."""
    source = one.source
    named = {"kind": source.kind, "namespace": source.namespace, "name": source.name}
    return {"paths": [_anchored(source.file)], **{key: value for key, value in named.items() if value}}


def _has_twin(one: KubeObject, found: Sequence[KubeObject], left: Left) -> bool:
    """Whether another object of the file, which Keel may leave alone, cannot be told from this one."""
    other = twin(one, found)
    if other is not None:
        sentence = f"no `where` tells it from {other.source}: give it a namespace; no policy was written"
        left.add(one.source, sentence)
    return other is not None


def _policy(said: Mapping[str, str]) -> str | None:
    return next((said[f"{prefix}policy"] for prefix in _PREFIXES if f"{prefix}policy" in said), None)


def _containers(
    one: KubeObject, both: Mapping[str, str], annotations: Mapping[str, str], settings: Settings, left: Left
) -> Iterator[Tracked]:
    spec = at(one.body, *_TEMPLATE.get(one.kind, _TEMPLATE[""]), "spec")
    wanted = _monitored(one, both, left)
    if wanted is None:
        return
    inits = annotations.get("keel.sh/initContainers") == "true"
    if annotations.get("keel.sh/imageVolumes") == "true":
        left.add(one.source, "images of volumes: write a workload with `where.field` for each")
    tracked: dict[str, list[tuple[str, str]]] = {}
    others: set[str] = set()
    for key in ("containers", "initContainers"):
        for container in items_at(spec, key):
            name, image = text_at(container, "name") or "", text_at(container, "image")
            if image is None:
                continue
            repository = _repository(image)
            if (key == "containers" or inits) and wanted(name):
                tracked.setdefault(repository, []).append((name, image))
            else:
                others.add(repository)
    if not tracked:
        left.add(one.source, "its images are not in this file, and got no policy")
    for repository, found in tracked.items():
        alone = repository not in others
        for name, image in found[:1] if alone else found:
            where = _where(one) | ({} if alone else {"container": name})
            called = one.source.name if len(tracked) == 1 and alone else f"{one.source.name}-{name}"
            yield Tracked(one.source, called, one.source.namespace, image, where, settings)


def _monitored(one: KubeObject, both: Mapping[str, str], left: Left) -> _Names | None:
    """Which containers count (`monitorContainers`); None, with a note, where nobody can tell."""
    pattern = both.get("keel.sh/monitorContainers", "")
    if not pattern:
        return _Names(None)
    covering = expressions.covering(pattern)
    if covering is None:
        pattern = one_line(pattern, 60)
        left.add(one.source, f"`monitorContainers: {pattern}` is no expression: no policy was written")
        return None
    return _Names(Expression.parse(covering))


class _Names:
    """Names of containers, all or those that an expression covers."""

    def __init__(self, expression: Expression | None) -> None:
        self._expression = expression

    def __call__(self, name: str) -> bool:
        return self._expression is None or self._expression.key(name) is not None


def _repository(image: str) -> str:
    try:
        return str(parse_reference(image).repository)
    except AutomatorError:
        return image


# -- Helm values ----------------------------------------------------------------------------------------


def _of_values(file: str, text: str, left: Left) -> Iterator[Tracked]:
    """The `keel:` block at the top of a file of Helm values."""
    if not file.lower().endswith((".yaml", ".yml")) or re.search(r"^keel:", text, re.MULTILINE) is None:
        return
    try:
        documents = parse(text)
    except ManifestError:
        return  # told with the objects
    for document in documents:
        root = resolve(document.root)
        if isinstance(root, Tree) and text_at(root, "kind") is None:
            folders = file.split("/")[:-1]
            name = folders[-1] if folders else "keel"
            where: dict[str, object] = {"paths": [_anchored(file)]}
            yield from _of_keel_block(root, Source(file, root.line, "values"), name, where, "", left)


def _of_keel_block(
    values: Node | None, source: Source, name: str, where: dict[str, object], prefix: str, left: Left
) -> Iterator[Tracked]:
    block = at(values, "keel")
    policy = text_at(block, "policy")
    if policy in (None, "", "never"):
        return
    others = [key for key in ("notificationChannels", "approvalDeadline") if at(block, key) is not None]
    images = items_at(block, "images")
    others += ["imagePullSecret"] if any(text_at(image, "imagePullSecret") for image in images) else []
    settings = Settings(
        str(policy),
        text_at(block, "matchTag") == "true",
        (text_at(block, "matchPreRelease") or "true") == "true",
        text_at(block, "trigger") == "poll",
        text_at(block, "pollSchedule") or "",
        text_at(block, "approvals") or "",
        tuple(others),
    )
    for image in images:
        repository_path, tag_path = text_at(image, "repository") or "", text_at(image, "tag") or ""
        repository = text_at(values, *repository_path.split("."))
        tag = text_at(values, *tag_path.split(".")) if tag_path else None
        field = f"{prefix}{tag_path or repository_path}"
        if repository is None or parse_field(field) is None:
            left.add(source, f"`{one_line(field, 60)}`: its image is not in these values, and got no policy")
            continue
        written = repository if tag is None else f"{repository}:{tag}"
        alias = repository.rpartition("/")[2].partition(":")[0]
        called = name if len(images) == 1 else f"{name}-{alias}"
        yield Tracked(source, called, source.namespace, written, {**where, "field": field}, settings)


def _anchored(path: str) -> str:
    return "/" + re.sub(r"([\\*?\[\]#!])", r"\\\1", path)


# -- which tags -----------------------------------------------------------------------------------------


def _work(one: Tracked, left: Left) -> tuple[str, Work] | None:
    """The workload for one image; None, with a note, where there can be none."""
    settings = one.settings
    try:
        reference = parse_reference(one.image)
    except AutomatorError as error:
        left.add(one.source, error.reason.sentence)
        return None
    if reference.tag is None and (reference.digest is not None or settings.policy != "force"):
        left.add(one.source, f'"{one_line(one.image, 100)}" has no tag to go on from: write one (KE-10)')
        return None
    work = Work(one.source, one.name or reference.repository.path.rpartition("/")[2])
    hub = reference.repository.registry == DEFAULT_REGISTRY
    work.keys["image"] = str(reference.repository) if hub else reference.written
    work.keys["where"] = dict(one.where)
    _choose(work, settings, reference)
    if settings.approvals not in ("", "0"):
        work.differ("nobody is asked here before a release (KE-07)")
        work.hold(
            f"Keel asked for {one_line(settings.approvals, 20)} approvals: say how this one is released"
        )
    if not settings.poll:
        work.differ("the registry is asked at intervals, with or without a webhook (KE-08)")
    if settings.schedule:
        schedule = one_line(settings.schedule, 40)
        left.add(one.source, f"`pollSchedule: {schedule}`: `interval` in config.toml, for all images")
    host = reference.repository.registry
    sentences = {
        "imagePullSecret": f'a pull secret: a docker config, or [registries."{host}".credentials]',
        "notify": "channels of messages: see [notify] in the config",
        "notificationChannels": "channels of messages: see [notify] in the config",
        "releaseNotes": "the address of release notes has no place here; `description` is free text",
        "approvalDeadline": "deadlines of approvals have no counterpart",
    }
    for name in settings.others:
        left.add(one.source, sentences[name])
    return policy_file(one.namespace, "keel"), work


def _choose(work: Work, settings: Settings, reference: Reference) -> None:
    kind, colon, pattern = settings.policy.partition(":")
    current = reference.tag or "latest"
    if settings.policy in STEPS:
        _versions(work, settings, current)
    elif settings.policy == "force":
        work.keys["follow"] = current
        if not settings.match_tag:
            work.differ(f"`force` took any tag that was pushed: only {current} is followed here (KE-01)")
    elif colon and kind == "glob":
        _glob(work, pattern, current)
    elif colon and kind in ("regexp", "newest"):
        _expression(work, kind, pattern, current)
    else:
        _nothing(work, f"`policy: {one_line(settings.policy, 60)}` is none that Keel knows")


def _nothing(work: Work, why: str) -> None:
    """Keel fails closed; so does a hold."""
    work.keys.setdefault("semver", "*")
    work.hold(f"Keel took nothing: {why}")


def _versions(work: Work, settings: Settings, current: str) -> None:
    """`all`, `major`, `minor` and `patch`: newer versions, as far from the current one as they say."""
    work.keys["semver"] = "*"
    work.keys["versions"] = "lenient"
    parsed = version.parse_semver(current, lenient=True)
    if parsed is None and current != "latest":
        work.hold(f'Keel took nothing: the current tag "{current}" is no version')
        return
    suffix = "" if parsed is None or parsed.prerelease is None else parsed.prerelease
    any_suffix = settings.policy == "all" or not settings.match_pre_release
    if any_suffix:
        work.keys["prereleases"] = "allow"
    elif suffix:
        # Keel wants two numbers at least, and counts dots anywhere in the tag.
        number = "v?[0-9][0-9.]*" if "." in suffix else r"v?[0-9]+\.[0-9.]+"
        work.keys["regex"] = f"(?P<key>{number})-{_literal(suffix)}"
    else:
        work.keys["prereleases"] = "never"
        if parsed is None:
            work.differ("from `latest` too, only released versions are taken (KE-05)")
    if "regex" not in work.keys:
        work.keys["glob"] = "*.*"
    step = STEPS[settings.policy]
    if step is not None:
        work.keys["step"] = step


def _glob(work: Work, pattern: str, current: str) -> None:
    """`glob:`: the greatest text; here the greatest number, where the current tag shows that it is one."""
    if _IN_GLOB.fullmatch(pattern) is None:
        _nothing(work, f"no tag matches `glob:{one_line(pattern, 60)}`")
        return
    tidy = re.sub(r"\*+", "*", pattern)
    try:
        matches = Glob.parse(tidy).key(current) is not None
    except AutomatorError as error:
        _nothing(work, error.reason.sentence)
        return
    before, star, after = tidy.partition("*")
    work.keys["glob"] = tidy
    work.keys["order"] = "alphabetical"
    if not matches or not star or "*" in after:
        return
    varying = current[len(before) : len(current) - len(after)]
    number = _NUMBER_AT_END.search(before)
    begun = number[0] if number is not None and _NUMBER_AT_START.match(varying) else ""
    rest = before.removesuffix(begun)
    order = _order(begun + varying)
    if order is None:
        return
    if begun and (rest or after):
        # `build-1.*`: the number begins before the star.
        del work.keys["glob"]
        work.keys["regex"] = f"{_literal(rest)}(?P<key>{_literal(begun)}.*){_literal(after)}"
    elif rest or after:
        work.keys["glob"] = f"{before}{{key}}{after}"
    work.keys["order"] = order
    _compared(work)


def _literal(text: str) -> str:
    """A piece of a tag in an expression."""
    return text.replace(".", r"\.")


def _order(key: str) -> str | None:
    """How keys like this one are ordered, where not as text."""
    if version.numeric_rank(key) is not None:
        return "numeric"
    return "version" if version.dotted_rank(key) is not None else None


def _compared(work: Work) -> None:
    work.differ("compared as numbers, 1.10 above 1.9, where Keel compared texts (KE-02)")
    work.differ("a tag without a number in that place is not taken (KE-03)")


def _expression(work: Work, kind: str, pattern: str, current: str) -> None:
    """`regexp:`, by the group `compare` if there is one, and `newest:`, by build time."""
    parts = expressions.tokens(pattern) if expressions.compiles(pattern) else None
    names = [part.name for part in parts or () if part.name]
    if parts is None or len(names) != len(set(names)):
        _nothing(work, f"`{kind}:{one_line(pattern, 100)}` is no expression")
        return
    keyed = expressions.keyed(pattern, "${compare}") if kind == "regexp" and "compare" in names else None
    if keyed is not None:
        regex: str | None = keyed.regex
    elif "compare" in names and kind == "regexp":
        regex = None
    else:
        regex = expressions.covering(pattern)
    if regex is None:
        _nothing(work, f"`{kind}:{one_line(pattern, 100)}` is too long for a `regex` here")
        return
    work.keys["regex"] = regex
    work.keys["order"] = "newest" if kind == "newest" else "alphabetical"
    if kind == "newest":
        return
    if keyed is not None and keyed.digits:
        order: str | None = "numeric"
    else:
        key = Expression.parse(regex).key(current)
        order = None if key is None else _order(key)
    if order is not None:
        work.keys["order"] = order
        _compared(work)
