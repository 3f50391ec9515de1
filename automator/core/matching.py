"""Matching: which of what runs at a runtime is written at which site, and whether the two agree.

A site that names its object (kind, name, container) is found by that; what Kustomize or Helm renamed, and a
site that names none, by its image repository. A namespace that its file says binds: nothing elsewhere is its.
Without one only what bears its name is its, or its name with more around it, and that in one namespace alone.
Sites that reach the same containers make one group, and what nothing tells apart in it is *ambiguous*:
nobody's divergence, and nobody's failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from automator.core.found import KUSTOMIZATIONS, WORKLOADS
from automator.core.reference import Reference, Repository, parse_reference
from automator.core.running import Running, Scope
from automator.core.site import Site
from automator.errors import InvalidReference

KEPT = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob"})
"""Kinds that are always listed, and that nobody takes away when they are done: where one is not there, that
is something to tell."""
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""RFC 1123: what is none is a template, that something fills in later."""
PASSING = frozenset({"Job", "Pod"})
"""Kinds that go away when they are done."""
_OBJECT = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)

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
    SPREAD = "spread"
    """It runs in several namespaces, and nothing tells which is meant."""
    ABSENT = "absent"
    MISSING = "missing"
    """The very object that the files name is not there, and nothing that it could be."""
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
    own: tuple[Found, ...] = ()
    """What agrees with one of `sites`, of all that agrees with a site of the group."""
    space: str | None = None
    """The one namespace, or Compose project, in which all of the group runs; None where there are several."""
    is_nowhere: bool = False
    """Of *absent*: whether it was looked where it would be, and nothing there runs its image or bears its
    name: in the namespace that its own object says, or anywhere."""

    @property
    def may_have_passed(self) -> bool:
        """Whether what is not there may have been there, and have ended."""
        return self.shows is Shows.ABSENT and all(site.kind in PASSING for site in self.sites)


def is_told(site: Site) -> bool:
    """Whether Git tells the version of a site: not where a template fills it in."""
    if site.tag is not None or site.digest is not None or site.held is None:
        return True
    return site.held.code != "site/templated"


def is_run(site: Site) -> bool:
    """Whether what a site says runs under its own name: a chart or another artifact does not."""
    return site.kind != "OCIRepository" and all(part.piece != "version" for part in site.parts)


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
            if finding.shows is Shows.ABSENT:
                is_missing = any(index.is_missing(site, scope) for site in finding.sites)
                is_nowhere = all(index.is_nowhere(site, scope) for site in finding.sites)
                shows = Shows.MISSING if is_missing else Shows.ABSENT
                finding = replace(finding, shows=shows, is_nowhere=is_nowhere)
            found[name].append(finding)
    return {name: tuple(findings) for name, findings in found.items()}


def agreement(site: Site, found: Found) -> Agreement:
    """Whether something that runs is what a site says.

    The reference that was asked for decides. The digest that was pulled may be one platform's part of the
    index, so that only its equality says something.
    """
    said, pulled = found.reference, found.running.digest
    if said is None or not is_told(site):
        return Agreement.UNSURE
    digests = {digest for digest in (said.digest, pulled) if digest is not None}
    if site.digest is not None and site.digest in digests:
        return Agreement.SAME
    if site.repository is not None and site.repository != said.repository:
        is_ours = home_of(site) == found.running.namespace
        return Agreement.OTHER if is_ours and not is_mirror(site, said) else Agreement.UNSURE
    if site.digest is not None and said.digest is not None:
        return Agreement.OTHER
    wanted, runs = _tag(site.tag, site.digest), _tag(said.tag, said.digest)
    if wanted is None or runs is None:
        return Agreement.UNSURE
    if wanted != runs:
        return Agreement.OTHER
    return Agreement.UNSURE if site.digest is not None and pulled is not None else Agreement.SAME


def is_mirror(site: Site, said: Reference) -> bool:
    """Whether a reference may name a site's image by the name that a mirror gives it: at an equal tag, with
    the one path at the end of the other."""
    if site.repository is None or _tag(site.tag, site.digest) != _tag(said.tag, said.digest):
        return False
    paths = [f"/{one.path.removeprefix('library/')}" for one in (site.repository, said.repository)]
    return site.repository != said.repository and (paths[0].endswith(paths[1]) or paths[1].endswith(paths[0]))


def is_certain(site: Site, found: Found) -> bool:
    """Whether what runs is known to be exactly what a site says, the digest with it where it has one."""
    if agreement(site, found) is not Agreement.SAME:
        return False
    said = found.reference
    return site.digest is None or site.digest in (found.running.digest, None if said is None else said.digest)


def home_of(site: Site) -> str | None:
    """The namespace that binds a site: the one that its file says; None where that says none, or a template
    of one."""
    space = site.runs_in
    return space if space is not None and _NAMESPACE.fullmatch(space) else None


def is_surely(finding: Finding, found: Found, scope: Scope) -> bool:
    """Whether something that runs is certainly the workload's own: in a namespace that its file or the scope
    alone names, and by its own name, or claimed by nobody else; or by its own name in the only one of the
    scope's namespaces in which there is any such thing."""
    one = found.running
    only = scope.namespaces[0] if len(scope.namespaces) == 1 else None
    for site in finding.sites:
        is_home = one.namespace in (home_of(site), only) if one.namespace else one.project == scope.project
        is_named = _is_named(site, one)
        if is_named and scope.namespaces and home_of(site) is None and finding.space == one.namespace:
            return True
        if is_home and (one.namespace or one.project) and (is_named or len(finding.claimants) == 1):
            return True
    return False


def is_bound(finding: Finding, found: Found, scope: Scope) -> bool:
    """Whether something tells that it is the workload's own that runs. Of values of a chart only the
    namespaces of the release or of the scope do: by the image alone it may be anybody's."""
    space = found.running.namespace
    if not space or scope.namespaces:
        return True
    return any(home_of(site) == space or not _is_values(site) for site in finding.sites)


def _is_values(site: Site) -> bool:
    is_kustomized = site.file.rpartition("/")[2] in KUSTOMIZATIONS
    return site.kind == "HelmRelease" or (site.kind is None and not site.container and not is_kustomized)


def _is_named(site: Site, one: Running) -> bool:
    return names_object(site) and (site.kind, site.name) == (one.kind, one.name)


def _tag(tag: str | None, digest: str | None) -> str | None:
    return tag or ("latest" if digest is None else None)


# -- who reaches what --------------------------------------------------------------------------------------


class _Key(NamedTuple):
    """What a site is looked for by: equal keys reach the same containers."""

    repository: Repository | None
    kind: str | None
    home: str | None
    """Namespace outside of which nothing is its."""
    near: str | None
    """Namespace where what an object of another kind makes usually runs."""
    name: str | None
    container: str | None


def _key(site: Site) -> _Key:
    home = home_of(site)
    if names_object(site):
        return _Key(site.repository, site.kind, home, None, site.name, site.container)
    if site.kind is None and site.container:  # Compose: the container is the service
        return _Key(site.repository, "service", None, None, site.container, None)
    return _Key(site.repository, None, home, site.namespace, None, None)


def names_object(site: Site) -> bool:
    """Whether a site tells which object runs it, and not only its image, as values of a chart do."""
    return site.kind in WORKLOADS and bool(site.name)


class _Index:
    """What runs, by name and by image repository; of each in one namespace too: where every tenant has one of
    its own, thousands bear a name, and each key means one of them."""

    def __init__(self, running: Iterable[Running], scope: Scope) -> None:
        read: dict[str, Reference | None] = {}
        self.found: list[Found] = []
        self._named: dict[tuple[str, str], list[int]] = {}
        self._named_in: dict[tuple[str, str, str], list[int]] = {}
        self._images: dict[Repository, list[int]] = {}
        self._images_in: dict[tuple[Repository, str], list[int]] = {}
        self._untaken: dict[Repository, tuple[int, ...]] = {}
        self.taken: set[int] = set()
        """What a site reaches by name."""
        self._claimed: set[int] = set()
        """What a site reaches by name, or in the namespace that binds it."""
        self._at_large: dict[Wanted, bool] = {}
        self._are_taken: dict[tuple[str, str], bool] = {}
        for one in running:
            if not scope.holds(one.namespace):
                continue
            if one.reference not in read:
                read[one.reference] = _read(one.reference)
            reference = read[one.reference]
            i, named, space = len(self.found), (one.kind, one.name), one.namespace
            self._named.setdefault(named, []).append(i)
            self._named_in.setdefault((*named, space), []).append(i)
            if reference is not None:
                self._images.setdefault(reference.repository, []).append(i)
                self._images_in.setdefault((reference.repository, space), []).append(i)
            self.found.append(Found(one, reference))

    def reach(self, keys: Iterable[_Key]) -> dict[_Key, tuple[int, ...]]:
        """The containers that each key reaches; none where none is found."""
        reached = {key: self._by_name(key) for key in keys}
        self.taken.update(i for indexes in reached.values() for i in indexes)
        every = {
            key: (*indexes, *self._renamed(key, indexes)) if indexes else self._by_image(key)
            for key, indexes in reached.items()
        }
        bound = (indexes for key, indexes in every.items() if key.home is not None)
        self._claimed = self.taken.union(*bound)
        return every

    def is_nowhere(self, site: Site, scope: Scope) -> bool:
        """Whether a site of which nothing was found can be nowhere: it was looked into the namespace that
        binds it, or nothing anywhere runs its image or bears its name. What something around its object
        puts into a namespace, a chart or a Kustomization, may be put elsewhere by what nobody sees."""
        home = home_of(site)
        if home is not None:
            is_own = names_object(site) and home == site.namespace
            return scope.holds(home) and (is_own or not self._is_at_large(site))
        if site.repository is None or site.repository in self._images:
            return False
        return (site.kind or "", site.name or "") not in self._named

    def _is_at_large(self, site: Site) -> bool:
        """Whether something may run what a site says, in a namespace that is nobody's."""
        wanted = (site.repository, site.tag, site.digest)
        if site.repository is None:
            return True
        known = self._at_large.get(wanted)
        if known is None:
            known = self._at_large[wanted] = any(
                agreement(site, self.found[i]) is not Agreement.OTHER
                for i in self._images.get(site.repository, ())
                if i not in self._claimed
            )
        return known

    def is_missing(self, site: Site, scope: Scope) -> bool:
        """Whether a site names its object in full, and neither that is there nor anything that it could be
        under another name, or in another namespace."""
        home = home_of(site)
        if site.kind not in KEPT or not site.name or home is None or not scope.holds(home):
            return False
        if not _OBJECT.fullmatch(site.name) or site.repository is None:
            return False
        return self._is_taken(site.kind, site.name) and not self._free(site.repository)

    def _is_taken(self, kind: str, name: str) -> bool:
        """Whether all that bears a name is reached by one."""
        known = self._are_taken.get((kind, name))
        if known is None:
            known = self._are_taken[(kind, name)] = self.taken.issuperset(self._named.get((kind, name), ()))
        return known

    def _by_name(self, key: _Key) -> tuple[int, ...]:
        if key.kind is None or key.name is None:
            return ()
        if key.home is None:
            every = self._named.get((key.kind, key.name), ())
        else:
            every = self._named_in.get((key.kind, key.name, key.home), ())
        named = tuple(
            i for i in every if key.container is None or self.found[i].running.container == key.container
        )
        mine = tuple(i for i in named if self._is_of(i, key.repository))
        if key.home is not None:
            return named if key.container else mine
        # The name alone could be another team's.
        return mine if mine or len(named) > 1 else named

    def _by_image(self, key: _Key) -> tuple[int, ...]:
        if key.repository is None:
            return ()
        space = key.home or key.near
        images = self._images_in.get((key.repository, space), ()) if space else ()
        if key.home is None and not images:
            images = self._images.get(key.repository, ())
        if key.kind is None or key.kind == "service":
            return tuple(images)
        return tuple(i for i in images if self._is_like(i, key))

    def _renamed(self, key: _Key, named: tuple[int, ...]) -> Iterable[int]:
        """What a key without a namespace could mean as well, under its name with more around it, elsewhere
        than where something bears the very name."""
        if key.home is not None or key.kind == "service" or key.repository is None:
            return ()
        spaces = {self.found[i].running.namespace for i in named}
        alike = (i for i in self._free(key.repository) if self._is_like(i, key))
        return tuple(i for i in alike if self.found[i].running.namespace not in spaces)

    def _free(self, repository: Repository) -> tuple[int, ...]:
        """What runs an image and is reached by no name."""
        free = self._untaken.get(repository)
        if free is None:
            free = tuple(i for i in self._images.get(repository, ()) if i not in self.taken)
            self._untaken[repository] = free
        return free

    def _is_like(self, i: int, key: _Key) -> bool:
        """Whether something may be what a key names under another name: as Kustomize makes it, which keeps
        the name within, where no namespace binds."""
        one = self.found[i].running
        if i in self.taken or one.kind != key.kind or key.container not in (None, one.container):
            return False
        is_literal = key.name is not None and _OBJECT.fullmatch(key.name) is not None
        return key.home is not None or not is_literal or (key.name or "") in one.name

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
    """One for each workload and each namespace that binds sites of it: what runs elsewhere says nothing of
    those."""
    homes: dict[str | None, list[tuple[str, Site]]] = {}
    spaces: dict[str, list[Found]] = {}
    for claim in claims:
        homes.setdefault(home_of(claim[1]), []).append(claim)
    for found in members:
        spaces.setdefault(found.running.namespace, []).append(found)
    for home, own in homes.items():
        if home is None:
            heard, here = claims, members
        else:
            heard, here = [*own, *homes.get(None, ())], spaces.get(home, [])
        pooled, agreeing = _pooled(heard, here, scope, is_bound=home is not None)
        sites: dict[str, list[Site]] = {}
        for name, site in own:
            sites.setdefault(name, []).append(site)
        for name, mine in sites.items():
            yield name, replace(pooled, sites=tuple(mine), own=_own(mine, agreeing, pooled.same))


def _own(
    sites: list[Site], agreeing: Mapping[Wanted, tuple[Found, ...]], same: tuple[Found, ...]
) -> tuple[Found, ...]:
    """What agrees with one of these sites. One object for all of one version: they may be thousands."""
    versions = dict.fromkeys((site.repository, site.tag, site.digest) for site in sites)
    if len(versions) == 1 and (only := next(iter(versions))) in agreeing:
        return agreeing[only]
    return tuple(found for found in same if any(agreement(site, found) is Agreement.SAME for site in sites))


def _pooled(
    claims: list[tuple[str, Site]], members: list[Found], scope: Scope, *, is_bound: bool
) -> tuple[Finding, dict[Wanted, tuple[Found, ...]]]:
    """What is seen of sites that reach the same containers, and what agrees with each version of them."""
    wanted: dict[Wanted, Site] = {(site.repository, site.tag, site.digest): site for _, site in claims}
    for repository, tag, digest in tuple(wanted):
        if repository is not None:
            wanted.pop((None, tag, digest), None)  # a templated name says nothing of its own
    names = tuple(dict.fromkeys(name for name, _ in claims))
    agreeing: dict[Wanted, list[Found]] = {version: [] for version in wanted}
    shows, same, others = _shown(wanted, members, agreeing, is_one=len(names) == 1)
    # Whoever names namespaces says that all of these run the one version that there is.
    is_meant = is_bound or (bool(scope.namespaces) and len(wanted) == 1)
    spaces = _homes(members)
    if same and not is_meant and len(spaces) > 1:
        several = len(wanted) > 1 and shows in (Shows.OTHER, Shows.UNSURE, Shows.AMBIGUOUS)
        shows, others = (Shows.AMBIGUOUS if several else Shows.SPREAD), tuple(members)
    own = {version: tuple(found) for version, found in agreeing.items()}
    space = next(iter(spaces)) if len(spaces) == 1 else None
    return Finding(shows, (), same, others, names, space=space), own


def _shown(
    wanted: Mapping[Wanted, Site],
    members: list[Found],
    agreeing: Mapping[Wanted, list[Found]],
    *,
    is_one: bool,
) -> tuple[Shows, tuple[Found, ...], tuple[Found, ...]]:
    """What a group shows, what agrees in it, and what else there is to tell of. `agreeing` is filled;
    `is_one`: all its sites are one workload's."""
    same, unsure, others, ended = [], [], [], []
    for found in members:
        verdicts = {version: agreement(site, found) for version, site in wanted.items()}
        agrees_with = [version for version, verdict in verdicts.items() if verdict is Agreement.SAME]
        for version in agrees_with:
            agreeing[version].append(found)
        if agrees_with:
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
    if len(wanted) > 1 and (unsure or others or not all(agreeing.values())) and not (is_one and others):
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
