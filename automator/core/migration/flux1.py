"""Flux v1: annotations of workloads and HelmReleases as policies, one for each automated container.

Numbers of differences (F1-01 …) are those of docs/coming-from/flux-v1.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from automator.core.migration import expressions
from automator.core.migration.drafting import Left, Work, imported
from automator.core.migration.helmvalues import images_of
from automator.core.migration.imported import Imported, Source, policy_file
from automator.core.migration.objects import KubeObject, at, items_at, read_objects, text_at, texts_at, twin
from automator.core.pattern import MAX_STARS, Expression, Glob
from automator.core.reference import parse_reference
from automator.core.version import Constraint
from automator.errors import AutomatorError, InvalidReference
from automator.reasons import one_line

PREFIXES = ("fluxcd.io/", "flux.weave.works/")
FILTER = "filter.fluxcd.io/"
HELM = frozenset({"HelmRelease", "FluxHelmRelease"})
PODS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
"""Kinds that Flux releases, and where their pods are described."""

_WORDS = (
    *("fluxcd.io/automated", "fluxcd.io/tag", "fluxcd.io/locked", FILTER, "flux.weave.works/"),
    *("fluxcd/flux", "weaveworks/flux"),
)
_SPECIAL = re.compile(r"[*?!#\[\]\s\\]")
"""What means something in a gitignore-style glob."""
_FLUXD = re.compile(r"(?:.*/)?(?:fluxcd|weaveworks)/flux(?::.*)?")
_FLAG = re.compile(r"--?([a-z0-9-]+)(?:=(.*))?", re.DOTALL)
_FLAGS = {
    "git-url": "the config repo: `url` under [repos.NAME] in config.toml",
    "git-branch": "the branch: `branch` under [repos.NAME] in config.toml",
    "git-path": "the folders: `write` under [repos.NAME] in config.toml limits what may be written",
    "git-user": "the commits' author: [repos.NAME.author] in config.toml",
    "git-email": "the commits' author: [repos.NAME.author] in config.toml",
    "git-ci-skip": "words for CI in commits: `subject` or `body` under [commit] in config.toml",
    "git-ci-skip-message": "words for CI in commits: `subject` or `body` under [commit] in config.toml",
    "git-gpg-key-import": "commits are not signed by this version",
    "git-poll-interval": "`interval` under [daemon] in config.toml",
    "automation-interval": "`interval` under [daemon] in config.toml",
    "registry-poll-interval": "`interval` under [registries.HOST] in config.toml",
    "registry-exclude-image": "images without a policy are left alone, so nothing needs to be excluded",
    "registry-include-image": "images without a policy are left alone, so nothing needs to be included",
    "registry-insecure-host": "`insecure = true` under [registries.HOST] in config.toml",
    "docker-config": "`docker_config` in config.toml",
    "registry-ecr-region": "the docker config needs the credential helper of ECR",
    "registry-use-labels": "build times are those of the images' own settings, labels are not asked",
    "manifest-generation": "manifests that are generated: policies own what stands in files",
}
"""Settings of fluxd that have a place here, or none."""

_SWITCH_OFF = (
    "Stop fluxd from releasing before the first release here: take away the `automated` annotations, "
    "or start it with `--registry-disable-scanning`; two writers undo each other",
    "Let fluxd go on applying the config repo, or let another synchronizer do that",
    "Take away the other annotations (`tag.…`, `filter.fluxcd.io/…`, `locked`) when the policies count",
    "Run no `fluxctl release`, `automate` or `lock` any more: policies say that now",
)


def import_flux1(files: Mapping[str, str]) -> Imported:
    """The annotations of Flux v1 in manifests (path -> text) as drafts. Never raises."""
    objects = read_objects(files, _WORDS)
    left = Left()
    works = [work for one in objects.found for work in _works(one, objects.found, left)]
    for file in sorted(files):
        if file.rpartition("/")[2] == ".flux.yaml":
            sentence = "manifests are generated here: only what stands in files can be owned by a policy"
            left.add(Source(file, 1), sentence)
    filed = ((policy_file(work.source.namespace, "flux"), work) for work in works)
    return imported(filed, (*objects.unreadable, *left.notes()), _SWITCH_OFF if works else ())


def _anchored(file: str) -> str:
    return "/" + _SPECIAL.sub(r"\\\g<0>", file)


# -- one object ----------------------------------------------------------------------------------------


class _Policies(NamedTuple):
    """What the annotations of an object say, without their prefixes."""

    said: Mapping[str, str]
    unquoted: bool
    """Whether `automated` is a boolean to YAML."""

    def is_true(self, name: str) -> bool:
        return self.said.get(name) == "true"


def _policies(one: KubeObject) -> _Policies:
    said: dict[str, str] = {}
    unquoted = False
    for prefix in reversed(PREFIXES):  # the newer prefix wins
        for name, value in one.annotations.items():
            if name.startswith(prefix):
                said[name.removeprefix(prefix)] = value.value
                is_bool = value.style == "plain" and value.value.lower() in ("true", "false")
                unquoted = unquoted or (name == f"{prefix}automated" and is_bool)
    for name, value in one.annotations.items():
        if name.startswith(FILTER):
            said[f"tag.{name.removeprefix(FILTER)}"] = value.value
    return _Policies(said, unquoted)


class _Container(NamedTuple):
    """A container of an object, and its image."""

    name: str
    image: str
    where: Mapping[str, str]
    """What tells its site from the others of the object."""


def _works(one: KubeObject, found: Sequence[KubeObject], left: Left) -> Iterator[Work]:
    """A workload for each container that Flux releases by itself."""
    _leave_flags(one, left)
    policies = _policies(one)
    if not policies.said or not _is_automated(one, policies, left):
        return
    if (other := twin(one, found)) is not None:
        sentence = f"no `where` tells it from {other.source}: give it a namespace; no policy was written"
        left.add(one.source, sentence)
        return
    containers = tuple(_containers(one))
    if not containers:
        left.add(one.source, "it is automated, and Flux finds no image in it; no policy was written")
    for container in containers:
        work = Work(one.source, one.source.name)
        if len(containers) > 1:
            work.name = f"{one.source.name}-{container.name}"
        try:
            work.keys["image"] = parse_reference(container.image).written
        except InvalidReference as error:
            called = one_line(container.name, 60)
            left.add(one.source, f"no policy was written for container {called}: {error.reason.sentence}")
            continue
        identity = {"kind": one.kind, "namespace": one.source.namespace, "name": one.source.name}
        named = {key: value for key, value in identity.items() if value}
        # Always the file: an object of this name elsewhere (another environment, an overlay) is not meant.
        work.keys["where"] = {"paths": [_anchored(one.source.file)], **named, **container.where}
        _filter(work, policies, container.name)
        if policies.is_true("locked"):
            by, why = policies.said.get("locked_user", ""), policies.said.get("locked_msg", "")
            work.hold(one_line("locked in Flux" + (f" by {by}" if by else "") + (f": {why}" if why else "")))
        yield work


def _is_automated(one: KubeObject, policies: _Policies, left: Left) -> bool:
    if policies.unquoted:
        left.add(
            one.source,
            "`automated` is a boolean and no text, so Flux passes over all annotations of the object; "
            "no policy was written",
        )
        return False
    if not policies.is_true("automated"):
        if any(name.startswith("tag") or name == "locked" for name in policies.said):
            left.add(one.source, "it is not automated: Flux releases it by hand only; no policy was written")
        return False
    if policies.is_true("ignore"):
        left.add(one.source, "it is ignored, so that Flux does not release it; no policy was written")
        return False
    if one.kind not in PODS and one.kind not in HELM:
        left.add(one.source, f"Flux releases no {one_line(one.kind, 40)}; no policy was written")
        return False
    return True


def _containers(one: KubeObject) -> Iterator[_Container]:
    if one.kind in HELM:
        for found in images_of(one):
            yield _Container(found.container, found.image, {"field": found.field})
        return
    pod = at(one.body, *PODS[one.kind])
    for key in ("initContainers", "containers"):
        for item in items_at(pod, key):
            name = text_at(item, "name") or ""
            image = text_at(item, "image")
            if image is not None:
                yield _Container(name, image, {"container": name} if name else {})


# -- how it chooses ------------------------------------------------------------------------------------


def _filter(work: Work, policies: _Policies, container: str) -> None:
    """The tag pattern of a container as keys; without one, the newest build of anything."""
    pattern = policies.said.get(f"tag.{container}")
    if pattern is None and "tag_all" in policies.said:
        pattern = policies.said["tag_all"]
        work.differ(
            "`tag_all` is the filter of the container here, while Flux reads it only in fluxctl (F1-05)"
        )
    kind, colon, rest = (pattern or "*").partition(":")
    if colon and kind == "semver":
        _semver(work, rest)
    elif colon and kind in ("regexp", "regex"):
        _expression(work, rest)
    else:
        _glob(work, rest if colon and kind == "glob" else pattern or "*")


def _semver(work: Work, text: str) -> None:
    work.keys["versions"] = "lenient"
    try:
        constraint = Constraint.parse(text)
    except AutomatorError as error:
        work.keys.pop("versions")
        work.keys["order"] = "newest"
        work.hold(f"its range cannot be used: {error.reason.sentence}")
        work.differ("Flux takes any version by a range that it cannot read; held (F1-03)")
        return
    if constraint.empty:
        work.keys.pop("versions")
        work.keys["order"] = "newest"
        work.hold(f"no version lies in its range {one_line(text, 80)}")
        return
    work.keys["semver"] = constraint.text


def _expression(work: Work, text: str) -> None:
    work.keys["order"] = "newest"
    if not expressions.compiles(text):
        work.hold(f"its expression {one_line(text, 80)} is none of RE2")
        work.differ("Flux takes any tag by an expression that it cannot read; held (F1-03)")
        return
    regex = expressions.covering(text)
    if regex is None:
        work.hold(f"its expression {one_line(text, 80)} is longer than a policy may have it")
        return
    if regex != ".*":
        work.keys["regex"] = regex
    if Expression.parse(regex).key("latest") is not None:
        work.keys["exclude"] = ["latest"]


def _glob(work: Work, text: str) -> None:
    work.keys["order"] = "newest"
    glob = re.sub(r"\*+", "*", text)
    if re.fullmatch(r"[A-Za-z0-9._*-]+", glob) is None:
        work.hold(f"no tag can match its glob {one_line(text, 80)}: only `*` means something in it")
        return
    if glob.count("*") > MAX_STARS:
        work.hold(f"its glob {one_line(text, 80)} has more stars than a policy may have")
        return
    if glob != "*":
        work.keys["glob"] = glob
    if glob != "latest" and Glob.parse(glob).key("latest") is not None:
        work.keys["exclude"] = ["latest"]


# -- what is left --------------------------------------------------------------------------------------


def _leave_flags(one: KubeObject, left: Left) -> None:
    """Settings of fluxd itself, where its Deployment is among the files."""
    if one.kind != "Deployment":
        return
    for item in items_at(one.body, *PODS["Deployment"], "containers"):
        if _FLUXD.fullmatch(text_at(item, "image") or "") is None:
            continue
        for flag in texts_at(item, "args"):
            match = _FLAG.fullmatch(flag)
            if match is not None and match[1] in _FLAGS:
                value = f"={one_line(match[2], 80)}" if match[2] else ""
                left.add(one.source, f"fluxd's --{match[1]}{value}: {_FLAGS[match[1]]}")
