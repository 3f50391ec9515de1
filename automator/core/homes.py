"""Homes: the namespaces into which Kustomizations, and synchronizers around them, put what other files hold;
and the names that it gets there.

The outermost one that names a namespace decides, also over what a manifest says itself; Argo CD's destination
is only for what says none. Sources:
https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/namespace/, for components
https://kubectl.docs.kubernetes.io/guides/config_management/components/, for `targetNamespace`
https://fluxcd.io/flux/components/kustomize/kustomizations/#target-namespace.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from automator.core.found import KUSTOMIZATIONS, WORKLOADS
from automator.core.overlays import Inclusion, Kustomization, Overlays
from automator.core.running import Sync
from automator.core.site import Site
from automator.core.synced import Source, readers

PLACES = 20
"""Namespaces into which one file may come, or names, before nobody can tell them apart anyhow."""
CLUSTERS = 16
"""Of which it is kept what their synchronizers make of the same Kustomizations."""


class _Put(NamedTuple):
    """What is known at the end of one way outwards from a file."""

    over: str | None = None
    """The namespace of whatever it holds."""
    under: str | None = None
    """The namespace of what says none."""
    prefix: str = ""
    suffix: str = ""


class Homes:
    """Where the Kustomizations of one commit put things. For several threads: what is kept is never wrong."""

    def __init__(self, kustomizations: Iterable[Kustomization]) -> None:
        self._every = tuple(kustomizations)
        self._inclusion = Inclusion(self._every)
        self._patchers: dict[str, list[Kustomization]] = {}
        for one in self._every:
            for patch in one.patches:
                if patch.file != one.file:
                    self._patchers.setdefault(patch.file, []).append(one)
        self._known: dict[tuple[str, bool], tuple[_Put, ...]] = {}
        self._overlays = Overlays(self._every, {}, {}, {})
        self._replaced: dict[tuple[str, str, str], bool] = {}
        self._applied: dict[tuple[Kustomization, ...], Homes] = {}

    def applied(self, syncs: Iterable[Sync], source: Source) -> Homes:
        """The same with the synchronizers of a cluster that read this config repo around them."""
        found = tuple(
            _deployer(f"{number} {sync.place}", sync) for number, sync in enumerate(readers(syncs, source))
        )
        if not found:
            return self
        homes = self._applied.get(found)
        if homes is None:  # what a cluster says of them seldom changes from one look to the next
            homes = Homes((*self._every, *found))
            if len(self._applied) >= CLUSTERS:
                self._applied.clear()
            self._applied[found] = homes
        return homes

    def all_placed(
        self, sites: tuple[Site, ...], spaces: Mapping[tuple[str, str], Collection[str]]
    ) -> tuple[Site, ...]:
        """The sites of one workload as they come to run; without a base of which every overlay says another
        version by `images`, where others are left. `spaces`: the namespaces of what runs, by kind and name:
        who applies a base by itself may be seen nowhere else."""
        if not self._every:
            return sites
        replaced = {site for site in sites if self._is_replaced(site)} if len(sites) > 1 else set()
        homes = {self.placed(site).runs_in for site in sites if site not in replaced}
        if not homes:  # nothing else tells of it
            replaced = set()
        return tuple(
            self.placed(site)
            for site in sites
            if site not in replaced
            or not homes.issuperset(spaces.get((site.kind or "", site.name or ""), ()))
        )

    def placed(self, site: Site) -> Site:
        """A site with the namespace in which it comes to run, as far as is said, with none where several
        are; and with the name of its object there, where that is one."""
        if not self._every or not _is_moved(site):
            return site
        puts, own = self._puts(site), site.runs_in
        spaces = {put.over or own or put.under for put in puts}
        space = next(iter(spaces)) if len(spaces) == 1 else None
        names = {f"{put.prefix}{site.name}{put.suffix}" for put in puts} if site.name else set()
        name = next(iter(names)) if len(names) == 1 else site.name
        return site if (space, name) == (own, site.name) else replace(site, runs_in=space, name=name)

    def _is_replaced(self, site: Site) -> bool:
        key = (site.file, site.field, site.written)
        known = self._replaced.get(key)
        if known is None:
            known = self._replaced[key] = self._overlays.is_replaced(site)
        return known

    def _puts(self, site: Site) -> tuple[_Put, ...]:
        key = (site.file, site.kind is None)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = tuple(self._walked(self._around(*key)))
        return known

    def _around(self, file: str, is_values: bool) -> list[Kustomization]:
        """Where the ways outwards from a file begin."""
        own = self._inclusion.by_file.get(file)
        if own is not None:
            return [own]
        around = self._inclusion.around(file)
        if is_values:  # no Kustomization takes a file of values for a resource
            return [one for one in around if one.deploys and file in one.includes]
        flat = self._inclusion.deployers(posixpath.dirname(file) or ".")
        return [*around, *self._patchers.get(file, ()), *flat]

    def _walked(self, first: Iterable[Kustomization]) -> dict[_Put, None]:
        todo = [(one, _Put()) for one in first]
        seen: dict[str, set[_Put]] = {}
        found: dict[_Put, None] = {}
        while todo and len(found) < PLACES:
            one, put = todo.pop()
            space = self._said(one)
            if space is not None:
                put = put._replace(under=space) if one.fills else put._replace(over=space)
            for part in (*self._inclusion.components(one), one):
                put = put._replace(prefix=part.prefix + put.prefix, suffix=put.suffix + part.suffix)
            known = seen.setdefault(one.file, set())
            if put in known or len(known) == PLACES:  # around a circle, names would grow for ever
                continue
            known.add(put)
            outer = [] if one.deploys else self._inclusion.around(one.file)
            todo += [(further, put) for further in outer]
            if not outer:
                found[put] = None
        return found or {_Put(): None}

    def _said(self, one: Kustomization) -> str | None:
        """What one says, or a component of it where it says nothing: those come first."""
        inner = (part.namespace for part in self._inclusion.components(one))
        return one.namespace or next((space for space in reversed(tuple(inner)) if space), None)


def _deployer(name: str, sync: Sync) -> Kustomization:
    folder = posixpath.normpath((sync.path or "").strip("/") or ".")
    return Kustomization(
        name,
        (folder, *sync.values),
        (),
        (),
        deploys=True,
        whole=sync.recurses,
        namespace=sync.space,
        fills=not sync.overrides,
        prefix=sync.prefix,
        suffix=sync.suffix,
    )


def unplaced(site: Site) -> Site:
    """A site of which nobody knows where it comes to run: a synchronizer that could not be read may decide
    that, whatever its file says."""
    return replace(site, runs_in=None) if _is_moved(site) else site


def _is_moved(site: Site) -> bool:
    """Whether what is around a site's file decides where it runs: not of a HelmRelease that names its target,
    nor of what runs in no cluster."""
    if site.kind in WORKLOADS or site.file.rpartition("/")[2] in KUSTOMIZATIONS:
        return True
    if site.kind is None:  # values of a chart; a service of Compose has a container
        return site.container is None
    return site.kind == "HelmRelease" and site.runs_in == site.namespace
