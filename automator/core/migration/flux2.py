"""Flux v2: ImageRepository, ImagePolicy and ImageUpdateAutomation as policies.

A policy becomes a workload, and owns the sites that its markers stand at. Numbers of differences (F2-01 …)
are those of docs/coming-from/flux-v2.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from automator.core.migration.drafting import THEN, Left, Work, imported
from automator.core.migration.flux2choice import choose, reflect
from automator.core.migration.flux2left import leave_automation, leave_repository
from automator.core.migration.imported import Imported, Source, policy_file
from automator.core.migration.objects import (
    KubeObject,
    Objects,
    at,
    items_at,
    read_objects,
    scalars_of,
    text_at,
    texts_at,
    true_at,
)
from automator.core.reference import Repository, parse_repository
from automator.core.site import locate
from automator.errors import AutomatorError
from automator.reasons import one_line

GROUP = "image.toolkit.fluxcd.io/"

_MARKER = re.compile(r'"\$imagepolicy"\s*:\s*"([^":\s]+:[^":\s]+)(?::(?:tag|name|digest))?"')
_SPECIAL = re.compile(r"[*?\[\]\\!#\s]")
ESCAPED = r"\\\g<0>"
_SWITCH_OFF = (
    "Suspend every ImageUpdateAutomation before the first release here "
    "(`flux suspend image update NAME -n NAMESPACE`, or `suspend: true` in Git): two writers undo each other",
    "Delete ImageUpdateAutomations, ImagePolicies and ImageRepositories when the first releases are through",
    "Leave the `$imagepolicy` comments in the manifests: `where.marker` finds the places by them",
    "Take image-reflector-controller and image-automation-controller out of the Flux installation "
    "(`flux install` and `flux bootstrap` leave them out unless `--components-extra` names them)",
)


def import_flux2(files: Mapping[str, str]) -> Imported:
    """The policies of Flux v2 in manifests (path -> text) as drafts. Never raises."""
    objects = read_objects(files, (GROUP,))
    world = _World(objects, _markers(files))
    left = Left()
    works = tuple(_merged(world, left))
    for automation in world.automations:
        leave_automation(automation, left)
    for repository in world.repositories:
        leave_repository(repository, left)
    leave_markers(world, left)
    notes = (*objects.unreadable, *left.notes())
    return imported(works, notes, _SWITCH_OFF if works or world.automations else ())


class _Marked(NamedTuple):
    """What the markers of one policy name say."""

    files: tuple[str, ...]
    repositories: frozenset[Repository]


class _World:
    """All objects, by what they are asked for."""

    def __init__(self, objects: Objects, markers: Mapping[str, _Marked]) -> None:
        ours = tuple(one for one in objects.found if one.api.startswith(GROUP) and one.source.name)
        self.repositories = tuple(one for one in ours if one.kind == "ImageRepository")
        self.policies = tuple(one for one in ours if one.kind == "ImagePolicy")
        self.automations = tuple(one for one in ours if one.kind == "ImageUpdateAutomation")
        self.markers = markers

    def repository(self, policy: KubeObject) -> KubeObject | None:
        """The ImageRepository that a policy names: of the same file or folder, if there are several."""
        name = text_at(policy.body, "spec", "imageRepositoryRef", "name")
        namespace = text_at(policy.body, "spec", "imageRepositoryRef", "namespace") or policy.source.namespace
        found = [
            one
            for one in self.repositories
            if one.source.name == name and _may_be(one.source.namespace, namespace)
        ]
        return max(found, key=lambda one: _nearness(one, policy), default=None)

    def marker(self, policy: KubeObject) -> str:
        """How markers name a policy; without its namespace where nothing tells that."""
        namespace, name = policy.source.namespace, policy.source.name
        if not namespace:
            found = [marker for marker in self.markers if marker.rpartition(":")[2] == name]
            return found[0] if len(found) == 1 else name
        return f"{namespace}:{name}"

    def automations_of(self, policy: KubeObject, *, nearest: bool) -> tuple[KubeObject, ...]:
        """The automations that write what a policy chooses."""
        found = [
            one
            for one in self.automations
            if _may_be(one.source.namespace, policy.source.namespace) and _selects(one, policy)
        ]
        if nearest and found:
            best = max(_nearness(one, policy) for one in found)
            found = [one for one in found if _nearness(one, policy) == best]
        return tuple(found)


def _may_be(one: str, other: str) -> bool:
    """Whether two namespaces can be the same: Kustomize often gives it where a file does not."""
    return not one or not other or one == other


def _nearness(one: KubeObject, other: KubeObject) -> int:
    """How many folders the files of two objects share; the same file is nearest."""
    left, right = one.source.file.split("/"), other.source.file.split("/")
    shared = 0
    while shared < min(len(left), len(right)) and left[shared] == right[shared]:
        shared += 1
    return shared


def _selects(automation: KubeObject, policy: KubeObject) -> bool:
    """Whether an automation's `policySelector` covers a policy (Kubernetes' label selectors)."""
    selector = at(automation.body, "spec", "policySelector")
    labels = {name: value.value for name, value in policy.labels.items()}
    wanted = scalars_of(at(selector, "matchLabels"))
    if any(labels.get(name) != value.value for name, value in wanted.items()):
        return False
    for term in items_at(selector, "matchExpressions"):
        value, values = labels.get(text_at(term, "key") or ""), texts_at(term, "values")
        fits = {
            "In": value is not None and value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits.get(text_at(term, "operator") or "", False):
            return False
    return True


def _markers(files: Mapping[str, str]) -> dict[str, _Marked]:
    """What markers in all files name, and which image stands at them."""
    named: dict[str, tuple[set[str], set[Repository]]] = {}
    for file in sorted(files):
        text = files[file]
        if "$imagepolicy" not in text:
            continue
        for marker in _MARKER.findall(text):
            named.setdefault(marker, (set(), set()))[0].add(file)
        for site in locate(text, file.rpartition("/")[2]).sites:
            if site.marker in named and site.repository is not None:
                named[site.marker][1].add(site.repository)
    return {
        marker: _Marked(tuple(sorted(places)), frozenset(found)) for marker, (places, found) in named.items()
    }


# -- one policy ----------------------------------------------------------------------------------------


def _merged(world: _World, left: Left) -> Iterator[tuple[str, Work]]:
    """A workload for each policy. One that is declared several times (base and overlays, clusters) is one
    workload if it says the same, or several where their automations write to different folders."""
    declared: dict[str, list[KubeObject]] = {}
    for policy in world.policies:
        declared.setdefault(world.marker(policy), []).append(policy)
    for marker, policies in declared.items():
        file = policy_file(marker.rpartition(":")[0], "flux")
        works = [
            work
            for policy in policies
            if (work := _work(world, policy, marker, left, nearest=len(policies) > 1)) is not None
        ]
        distinct = {repr((work.keys, work.holds)): work for work in reversed(works)}
        found = list(distinct.values())[::-1]
        folders = [_where_paths(work) for work in found]
        if len(found) > 1 and (() in folders or len(set(folders)) < len(found)):
            others = ", ".join(str(work.source) for work in found[1:])
            found[0].hold(f"Flux has this policy twice with different settings, see {others}")
            left.add(found[1].source, f"left out: {found[0].source} is another policy of this name")
            found = found[:1]
        for work in found:
            yield file, work


def _where_paths(work: Work) -> tuple[str, ...]:
    where = work.keys.get("where")
    return tuple(where.get("paths", ())) if isinstance(where, dict) else ()


def _work(world: _World, policy: KubeObject, marker: str, left: Left, *, nearest: bool) -> Work | None:
    """A policy as a workload; None where its image cannot be known."""
    repository = world.repository(policy)
    work = Work(policy.source, policy.source.name)
    image = _image(world, policy, repository, marker, left)
    if image is None:
        return None
    work.keys["image"] = image
    automations = world.automations_of(policy, nearest=nearest)
    active = tuple(one for one in automations if not true_at(one.body, "spec", "suspend"))
    work.keys["where"] = {"marker": marker, **_paths(work, active or automations)}
    for one in automations if active else ():
        if one not in active:
            left.add(one.source, "it is suspended: what it would write to is left alone")
    choose(work, policy, repository)
    reflect(work, policy)
    _stops(work, world, policy, repository, automations)
    if marker not in world.markers:
        left.add(
            policy.source,
            f"no `$imagepolicy` comment in these files names `{marker}`: "
            "its workload finds no place to write to until one does, or `where` says another way",
        )
    return work


def _image(
    world: _World, policy: KubeObject, repository: KubeObject | None, marker: str, left: Left
) -> str | None:
    """The image repository of a policy: of its ImageRepository, else of the only image at its markers."""
    written = None if repository is None else text_at(repository.body, "spec", "image")
    if written is not None:
        try:
            parse_repository(written)
        except AutomatorError as error:
            sentence = f"no policy was written: {error.reason.sentence}"
            left.add(policy.source if repository is None else repository.source, sentence)
            return None
        return written
    marked = world.markers.get(marker)
    if marked is not None and len(marked.repositories) == 1:
        return str(next(iter(marked.repositories)))
    name = text_at(policy.body, "spec", "imageRepositoryRef", "name") or ""
    left.add(
        policy.source,
        f'no policy was written: its ImageRepository "{name}" is not in these files, '
        "and its markers do not stand at images of just one repository",
    )
    return None


def _paths(work: Work, automations: tuple[KubeObject, ...]) -> dict[str, list[str]]:
    """`where.paths` for the folders that automations write to; nothing where one writes everywhere.

    Held where a folder is none, or automations write to several config repos: nobody can tell which is meant.
    """
    paths: list[str] = []
    repos = {_config_repo(automation): None for automation in automations}
    if len(repos) > 1:
        names = " and ".join(one_line("/".join(part for part in repo if part), 60) for repo in repos)
        work.hold(f"Flux writes it to several config repos, GitRepository {names}: say `where`{THEN}")
    for automation in automations:
        folder = (text_at(automation.body, "spec", "update", "path") or "").strip("/")
        folder = "/".join(part for part in folder.split("/") if part not in ("", "."))
        if ".." in folder.split("/"):
            work.hold(f"its folder {one_line(folder, 60)} leads out of the repo: say `where`{THEN}")
        elif folder:
            paths.append(f"{_SPECIAL.sub(ESCAPED, folder)}/**")
        elif len(repos) == 1:
            return {}
    return {"paths": list(dict.fromkeys(paths))} if paths else {}


def _config_repo(automation: KubeObject) -> tuple[str, str]:
    """Namespace and name of the GitRepository that an automation writes to."""
    ref = at(automation.body, "spec", "sourceRef")
    return text_at(ref, "namespace") or automation.source.namespace, text_at(ref, "name") or ""


def _stops(
    work: Work,
    world: _World,
    policy: KubeObject,
    repository: KubeObject | None,
    automations: tuple[KubeObject, ...],
) -> None:
    """Where Flux itself was told to stop."""
    for one in (policy, repository):
        if one is not None and true_at(one.body, "spec", "suspend"):
            work.hold(f"suspended in Flux: {_named(one.source)}")
    if automations and all(true_at(one.body, "spec", "suspend") for one in automations):
        work.hold(f"suspended in Flux: {_named(automations[0].source)}")
    if world.automations and not automations:
        work.hold("no ImageUpdateAutomation of Flux covered this policy, so it was not written anywhere")


def _named(source: Source) -> str:
    return " ".join((source.kind, "/".join(part for part in (source.namespace, source.name) if part)))


def leave_markers(world: _World, left: Left) -> None:
    """Markers whose policy is not here."""
    declared = {world.marker(policy) for policy in world.policies}
    names = {marker for marker in declared if ":" not in marker}
    for marker, marked in sorted(world.markers.items()):
        if marker not in declared and marker.rpartition(":")[2] not in names:
            left.add(
                Source(marked.files[0], 1),
                f"a comment names `{one_line(marker, 80)}`, and no ImagePolicy of these files has that name",
            )
