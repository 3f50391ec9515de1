"""Matching: which of what runs at a runtime is written at which site, and whether the two agree.

A site that names its object (kind, name, container, perhaps a namespace) is found by that; what Kustomize
or Helm renamed, and a site that names none, by its image repository. Sites that reach the same containers
make one group, and what nothing tells apart in it is *ambiguous*: nobody's divergence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from automator.core.reference import Reference, Repository, parse_reference
from automator.core.running import Running, Scope
from automator.core.site import Site
from automator.errors import InvalidReference

KINDS = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout", "CronJob", "Job", "Pod"}
)
"""Kinds of Kubernetes that runtimes tell of by their own names."""

Wanted = tuple[Repository | None, str | None, str | None]


class Agreement(StrEnum):
    """Whether what runs is what a site says."""

    SAME = "same"
    UNSURE = "unsure"
    OTHER = "other"


class Shows(StrEnum):
    """What a group of sites and containers comes to."""

    SAME = "same"
    ROLLING = "rolling"
    """The controller is told what Git says, and is not there yet."""
    OTHER = "other"
    UNSURE = "unsure"
    AMBIGUOUS = "ambiguous"
    ABSENT = "absent"
    ENDED = "ended"
    """Only jobs that ended ran it, with another version."""


class Found(NamedTuple):
    """Something that runs, and its reference, read; None where that is none."""

    running: Running
    reference: Reference | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is seen of some sites of one workload."""

    shows: Shows
    sites: tuple[Site, ...]
    same: tuple[Found, ...] = ()
    """What agrees with a site of the group."""
    others: tuple[Found, ...] = ()
    """What does not, or what cannot be told of; by `shows`."""
    claimants: tuple[str, ...] = ()
    """Every workload with a site in the group."""


def match(
    workloads: Mapping[str, tuple[Site, ...]], running: Iterable[Running], scope: Scope
) -> dict[str, tuple[Finding, ...]]:
    """What is seen of each workload, for the sites given: a finding for each group that they are in. Never
    raises."""
    index = _Index(running, scope)
    sites: dict[_Key, list[tuple[str, Site]]] = {}
    for name, own in workloads.items():
        image = next((site.repository for site in own if site.repository is not None), None)
        for site in own:  # a templated name is the workload's image
            named = site if site.repository is not None else replace(site, repository=image)
            sites.setdefault(_key(named), []).append((name, named))
    reach = index.reach(sites)
    found: dict[str, list[Finding]] = {name: [] for name, own in workloads.items() if own}
    for keys, members in _groups(reach):
        claims = [claim for key in keys for claim in sites[key]]
        for name, finding in _findings(claims, [index.found[i] for i in members], scope):
            found[name].append(finding)
    return {name: tuple(findings) for name, findings in found.items()}


def agreement(site: Site, found: Found) -> Agreement:
    """Whether something that runs is what a site says.

    The reference that was asked for decides. The digest that was pulled may be one platform's part of the
    index, so that only its equality says something.
    """
    said, pulled = found.reference, found.running.digest
    if said is None:
        return Agreement.UNSURE
    digests = {digest for digest in (said.digest, pulled) if digest is not None}
    if site.digest is not None and site.digest in digests:
        return Agreement.SAME
    if site.repository is not None and site.repository != said.repository:
        return Agreement.OTHER if site.namespace == found.running.namespace else Agreement.UNSURE
    if site.digest is not None and said.digest is not None:
        return Agreement.OTHER
    wanted, runs = _tag(site.tag, site.digest), _tag(said.tag, said.digest)
    if wanted is None or runs is None:
        return Agreement.UNSURE
    if wanted != runs:
        return Agreement.OTHER
    return Agreement.UNSURE if site.digest is not None and pulled is not None else Agreement.SAME


def is_certain(site: Site, found: Found) -> bool:
    """Whether what runs is known to be exactly what a site says, the digest with it where it has one."""
    if agreement(site, found) is not Agreement.SAME:
        return False
    said = found.reference
    return site.digest is None or site.digest in (found.running.digest, None if said is None else said.digest)


def _tag(tag: str | None, digest: str | None) -> str | None:
    return tag or ("latest" if digest is None else None)


# -- who reaches what --------------------------------------------------------------------------------------


class _Key(NamedTuple):
    """What a site is looked for by: equal keys reach the same containers."""

    repository: Repository | None
    kind: str | None
    namespace: str | None
    name: str | None
    container: str | None


def _key(site: Site) -> _Key:
    if _names_object(site):
        return _Key(site.repository, site.kind, site.namespace, site.name, site.container)
    if site.kind is None and site.container:  # Compose: the container is the service
        return _Key(site.repository, "service", None, site.container, None)
    return _Key(site.repository, None, site.namespace, None, None)


def _names_object(site: Site) -> bool:
    return site.kind in KINDS and bool(site.name)


class _Index:
    """What runs, by name and by image repository."""

    def __init__(self, running: Iterable[Running], scope: Scope) -> None:
        read: dict[str, Reference | None] = {}
        self.found: list[Found] = []
        self._named: dict[tuple[str, str], list[int]] = {}
        self._images: dict[Repository, list[int]] = {}
        for one in running:
            if not scope.holds(one.namespace):
                continue
            if one.reference not in read:
                read[one.reference] = _read(one.reference)
            reference = read[one.reference]
            self._named.setdefault((one.kind, one.name), []).append(len(self.found))
            if reference is not None:
                self._images.setdefault(reference.repository, []).append(len(self.found))
            self.found.append(Found(one, reference))

    def reach(self, keys: Iterable[_Key]) -> dict[_Key, tuple[int, ...]]:
        """The containers that each key reaches; none where none is found."""
        reached = {key: self._in_namespace(key) for key in keys}
        exact = {i for indexes in reached.values() for i in indexes}
        reached = {key: indexes or self._by_name(key, exact) for key, indexes in reached.items()}
        taken = {i for indexes in reached.values() for i in indexes}
        return {key: indexes or self._by_image(key, taken) for key, indexes in reached.items()}

    def _in_namespace(self, key: _Key) -> tuple[int, ...]:
        if key.namespace is None or key.container is None:
            return ()
        return tuple(i for i in self._of_name(key) if self.found[i].running.namespace == key.namespace)

    def _by_name(self, key: _Key, exact: set[int]) -> tuple[int, ...]:
        # The namespace may be written elsewhere: then the name alone could be another team's.
        named = self._of_name(key)
        mine = tuple(i for i in named if self._is_of(i, key.repository))
        if key.namespace is not None:
            return tuple(i for i in mine if i not in exact)
        return mine if mine or len(named) > 1 else named

    def _of_name(self, key: _Key) -> tuple[int, ...]:
        if key.kind is None or key.name is None:
            return ()
        return tuple(
            i
            for i in self._named.get((key.kind, key.name), ())
            if key.container is None or self.found[i].running.container == key.container
        )

    def _by_image(self, key: _Key, taken: set[int]) -> tuple[int, ...]:
        if key.repository is None:
            return ()
        images = self._images.get(key.repository, ())
        if key.kind is None or key.kind == "service":
            # Where a HelmRelease stands its release usually runs; an Application stands elsewhere.
            here = tuple(i for i in images if self.found[i].running.namespace == key.namespace)
            return here or tuple(images)
        return tuple(
            i
            for i in images
            if i not in taken
            and self.found[i].running.kind == key.kind
            and key.container in (None, self.found[i].running.container)
        )

    def _is_of(self, i: int, repository: Repository | None) -> bool:
        reference = self.found[i].reference
        return repository is None or (reference is not None and reference.repository == repository)


def _read(text: str) -> Reference | None:
    if text.startswith("sha256:"):  # an image's identifier, where an engine has forgotten its name
        return None
    try:
        return parse_reference(text)
    except InvalidReference:
        return None


def _groups(reach: Mapping[_Key, tuple[int, ...]]) -> Iterable[tuple[list[_Key], list[int]]]:
    """Keys that reach a container together, directly or over others, and all that they reach."""
    users: dict[int, list[_Key]] = {}
    for key, indexes in reach.items():
        for i in indexes:
            users.setdefault(i, []).append(key)
    seen: set[_Key] = set()
    for first in reach:
        if first in seen:
            continue
        seen.add(first)
        keys, members = [first], dict.fromkeys(reach[first])
        for key in keys:  # grows while it is walked
            for i in reach[key]:
                for other in users.pop(i, ()):
                    if other not in seen:
                        seen.add(other)
                        keys.append(other)
                        members.update(dict.fromkeys(reach[other]))
        yield keys, sorted(members)


# -- what a group shows ------------------------------------------------------------------------------------


def _findings(
    claims: list[tuple[str, Site]], members: list[Found], scope: Scope
) -> Iterable[tuple[str, Finding]]:
    wanted: dict[Wanted, Site] = {(site.repository, site.tag, site.digest): site for _, site in claims}
    for repository, tag, digest in tuple(wanted):
        if repository is not None:
            wanted.pop((None, tag, digest), None)  # a templated name says nothing of its own
    names = tuple(dict.fromkeys(name for name, _ in claims))
    shows, same, others = _shown(wanted, members, is_one=len(names) == 1)
    is_placed = scope.namespaces or any(_names_object(site) and site.namespace for _, site in claims)
    if shows is Shows.OTHER and not is_placed and not _homes(same) & _homes(others) and same:
        shows, others = Shows.AMBIGUOUS, tuple(members)  # the others may be nobody's of these
    own: dict[str, list[Site]] = {}
    for name, site in claims:
        own.setdefault(name, []).append(site)
    for name, sites in own.items():
        yield name, Finding(shows, tuple(sites), same, others, names)


def _shown(
    wanted: Mapping[Wanted, Site], members: list[Found], *, is_one: bool
) -> tuple[Shows, tuple[Found, ...], tuple[Found, ...]]:
    """What a group shows, what agrees in it, and what else there is to tell of. `is_one`: all its sites are
    one workload's."""
    same, unsure, others, ended, met = [], [], [], [], set()
    for found in members:
        verdicts = {version: agreement(site, found) for version, site in wanted.items()}
        agreeing = [version for version, verdict in verdicts.items() if verdict is Agreement.SAME]
        met.update(agreeing)
        if agreeing:
            same.append(found)
        elif Agreement.UNSURE in verdicts.values():
            unsure.append(found)
        elif found.running.kind == "Job" and found.running.wanted == 0:
            ended.append(found)
        else:
            others.append(found)
    agrees, rest = tuple(same), tuple(others or unsure or ended)
    if not (same or unsure or others):
        return (Shows.ENDED if ended else Shows.ABSENT), (), rest
    if len(wanted) > 1 and (unsure or len(met) < len(wanted) or others) and not (is_one and others):
        return Shows.AMBIGUOUS, agrees, tuple(members)
    at_work = {_of(found) for found in same}
    if any(found.running.wanted != 0 or _of(found) not in at_work for found in others):
        return Shows.OTHER, agrees, rest
    if unsure:
        return Shows.UNSURE, agrees, tuple(unsure)
    if others or any(found.running.settled is False for found in same):
        return Shows.ROLLING, agrees, tuple(others)
    return Shows.SAME, agrees, ()


def _homes(parts: Iterable[Found]) -> set[str]:
    """Namespaces, or Compose projects."""
    return {found.running.namespace or found.running.project for found in parts}


def _of(found: Found) -> tuple[str, str, str, str]:
    one = found.running
    return (one.kind, one.namespace, one.name, one.container)
