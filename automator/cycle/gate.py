"""The gate: what `check` finds in a plain folder of policies and manifests.

It reads the folder through the same index as a cycle reads a commit, so it cannot judge otherwise. No
network, but for the tag lists of `--online`, which the caller brings the way to ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from automator.core.decide import differing
from automator.core.drift import covers
from automator.core.guardrails import bind, violations
from automator.core.guards import unknown_check, unknown_key, unreported
from automator.core.lint import lint, together
from automator.core.lintset import lint_set
from automator.core.matching import is_run
from automator.core.policy import InvalidWorkload, Place, Workload
from automator.core.rail import Rail
from automator.core.reference import Repository
from automator.core.running import Scope as RuntimeScope
from automator.core.site import Site
from automator.cycle.earlier import Earlier
from automator.cycle.findings import Finding as Finding
from automator.cycle.findings import Shower
from automator.cycle.index import Index, Snapshot
from automator.cycle.source import PlainFolder, Scope
from automator.cycle.surroundings import Surroundings
from automator.errors import RegistryError
from automator.reasons import Reason, reason

ASKED_AT_ONCE = 8
"""Repositories that `--online` asks for their tags at the same time."""

Ask = Callable[[Repository], Collection[str]]
"""The tags of a repository. Raises RegistryError."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything `check` found in a folder."""

    workloads: int
    sites: int
    findings: tuple[Finding, ...]
    files: tuple[str, ...] = ()
    """The policy files."""

    @property
    def errors(self) -> int:
        return sum(finding.error for finding in self.findings)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors


def check(
    root: Path,
    scope: Scope,
    *,
    now: datetime | None = None,
    coverage: bool = False,
    ask: Ask | None = None,
    rails: Sequence[Rail] = (),
    keys: Collection[str] | None = None,
    can_propose: bool | None = None,
    checks: Collection[str] | None = None,
    runtimes: Sequence[RuntimeScope] | None = None,
) -> Verdict:
    """Judge the policies and manifests below a folder, under its own guard rails and further ones, and
    with the names of the config's keys and checks, and what its runtimes cover, where those are known, and
    whether there is a forge for pull requests (None: not known).

    What has ended or never opens is told as of `now`, if that is given; sites that no policy owns with
    `coverage`; what needs a registry's tags where there is a way to `ask` for them.

    Raises UsageError where `root` is no folder.
    """
    folder = PlainFolder(root)
    snapshot = Index(folder, scope, Earlier(folder), thorough=True).move_to("folder")
    around = Surroundings(snapshot, folder, scope)
    found = [*_policy_findings(snapshot), *_file_findings(snapshot), *around.marker_findings()]
    found += _site_findings(snapshot, around)
    found += _violations(snapshot, rails)
    found += _unknown_keys(snapshot, rails, keys)
    found += _unknown_checks(snapshot, checks)
    found += _unreported(snapshot, runtimes)
    found += _unseen_charts(snapshot, runtimes or ())
    if can_propose is False:
        found += _unproposable(snapshot, rails)
    lists, silent = _ask(snapshot, ask)
    found += [*silent, *_lints(snapshot, now, lists)]
    if coverage:
        found += _unowned(snapshot)
    claimed = sum(len(sites) for sites in snapshot.claims.sites.values())
    shown = Shower(folder).shown(dict.fromkeys(found))
    shown.sort(key=lambda f: (not f.error, f.file, f.line or 0, f.reason.code))
    files = tuple(sorted(filter(scope.is_policy, folder.tree("folder"))))
    return Verdict(len(snapshot.workloads), claimed, tuple(shown), files)


def _at(error: bool, place: Place | str, why: Reason, near: str = "") -> Finding:
    if isinstance(place, str):
        return Finding(error, place, None, why, near)
    return Finding(error, place.file, place.line, why, near)


# -- what is wrong with policies and files ---------------------------------------------------------------


def _policy_findings(snapshot: Snapshot) -> Iterator[Finding]:
    for place, why in snapshot.policies.problems:
        yield _at(True, place, why)
    for place, why in snapshot.policies.warnings:
        yield _at(False, place, why)
    told = {why for _, why in snapshot.policies.problems}
    for entry in snapshot.policies.workloads:
        if isinstance(entry, InvalidWorkload) and entry.reason not in told:
            yield _at(True, entry.place, entry.reason)
    if not snapshot.workloads and not snapshot.policies.problems:
        yield _at(False, "policies", reason("policy/none"))


def _file_findings(snapshot: Snapshot) -> Iterator[Finding]:
    for path, why in snapshot.troubles.items():
        yield _at(False, path, why)


def _violations(snapshot: Snapshot, rails: Sequence[Rail]) -> Iterator[Finding]:
    """What workloads say against rules."""
    rails = (*rails, *snapshot.policies.rails)
    for workload in _valid(snapshot) if rails else ():
        files = {site.file for site in snapshot.claims.sites.get(workload.name, ())}
        for why in violations(workload, files, rails):
            file, _, line = dict(why.params)["place"].rpartition(":")
            yield _at(True, Place(file, int(line)), why)


def _unproposable(snapshot: Snapshot, rails: Sequence[Rail]) -> Iterator[Finding]:
    """Workloads whose releases must go through pull requests, where no forge is configured."""
    for workload in _valid(snapshot):
        files = {site.file for site in snapshot.claims.sites.get(workload.name, ())}
        bound = bind(workload, files, (*rails, *snapshot.policies.rails))
        if isinstance(bound, Workload) and bound.delivery.deliver == "pull-request":
            place = workload.place_of("deliver")
            yield _at(True, place, reason("proposal/no-forge", place=place, workload=workload.name))


def _unknown_keys(
    snapshot: Snapshot, rails: Sequence[Rail], known: Collection[str] | None
) -> Iterator[Finding]:
    """Workloads that must be signed by a key that nobody defined."""
    rails = (*rails, *snapshot.policies.rails)
    if known is None:
        return
    for workload in _valid(snapshot):
        files = {site.file for site in snapshot.claims.sites.get(workload.name, ())}
        bound = bind(workload, files, rails)
        why = unknown_key(bound, known) if isinstance(bound, Workload) else None
        if why is not None:
            yield _at(True, workload.place_of("signed_by"), why)


def _unknown_checks(snapshot: Snapshot, known: Collection[str] | None) -> Iterator[Finding]:
    """Workloads that must be verified by a check that nobody defined."""
    for workload in _valid(snapshot) if known is not None else ():
        why = unknown_check(workload, known or ())
        if why is not None:
            yield _at(True, workload.place_of("verify"), why)


def _unreported(snapshot: Snapshot, scopes: Sequence[RuntimeScope] | None) -> Iterator[Finding]:
    """Workloads that must be deployed, if nobody can say that they are."""
    for workload in _valid(snapshot) if scopes is not None else ():
        sites = snapshot.claims.sites.get(workload.name, ())
        files = {site.file for site in sites if is_run(site)}
        covering = [one.runtime for one in scopes or () if any(covers(one, file) for file in files)]
        why = unreported(workload, covering) if sites else None
        if why is not None:
            yield _at(True, workload.place_of("verify"), why)


def _unseen_charts(snapshot: Snapshot, scopes: Sequence[RuntimeScope]) -> Iterator[Finding]:
    """Workloads that come after a chart, whose soak no runtime can tell anything of."""
    for workload in _valid(snapshot) if scopes else ():
        for name in () if workload.guards.after is None else workload.guards.after.upstreams:
            sites = snapshot.claims.sites.get(name, ())
            runtime = next((s.runtime for s in scopes if any(covers(s, site.file) for site in sites)), None)
            if runtime is not None and not any(map(is_run, sites)):
                why = reason("lint/chart-unseen", workload=workload.name, upstream=name, runtime=runtime)
                yield _at(False, workload.place_of("after"), why)


# -- sites -------------------------------------------------------------------------------------------------


def _site_findings(snapshot: Snapshot, around: Surroundings) -> Iterator[Finding]:
    claims = snapshot.claims
    labels = {site.label: site for site in chain(claims.unowned, *claims.sites.values())}
    for name, why in claims.problems.items():
        yield _at(True, snapshot.workloads[name].place, why)
    for why in claims.warnings:
        site = labels.get(dict(why.params).get("site", ""))
        yield _at(False, "manifests" if site is None else Place(site.file, site.line), why)
    for entry in snapshot.policies.workloads:
        if isinstance(entry, Workload) and entry.name not in claims.problems:
            yield from _workload_findings(entry, claims.sites.get(entry.name, ()), around)


def _workload_findings(
    workload: Workload, sites: tuple[Site, ...], around: Surroundings
) -> Iterator[Finding]:
    if not sites:
        missing = reason("site/none", workload=workload.name, image=workload.repository)
        yield _at(False, workload.place, around.missing_marker(workload) or missing, workload.name)
        return
    for site in sites:
        reasons = [] if site.held is None else [site.held]
        for why in (*reasons, *around.of_site(workload, site)):
            yield _at(False, Place(site.file, site.line), why, site.tag or site.written)
    other = next((site for site in sites if site.tag != sites[0].tag), None)
    if other is not None and not workload.align:
        yield _at(False, workload.place, differing(workload, sites[0], other), workload.name)


def _unowned(snapshot: Snapshot) -> Iterator[Finding]:
    for site in snapshot.claims.unowned:
        if site.repository is not None:
            why = reason("lint/unowned", site=site.label, image=site.repository)
            yield _at(False, Place(site.file, site.line), why, site.tag or site.written)


# -- what will surprise --------------------------------------------------------------------------------------


def _valid(snapshot: Snapshot) -> tuple[Workload, ...]:
    return tuple(w for w in snapshot.policies.workloads if isinstance(w, Workload))


def _lints(
    snapshot: Snapshot, now: datetime | None, lists: Mapping[Repository, Collection[str]]
) -> Iterator[Finding]:
    if now is None:
        return
    workloads = _valid(snapshot)
    sites = snapshot.claims.sites
    each = (lint(w, sites.get(w.name, ()), now, lists.get(w.listed)) for w in workloads)
    for one in together(tuple(chain.from_iterable(each)), workloads):
        yield _at(False, one.place, one.reason, one.near)
    for told in lint_set(snapshot.policies.workloads, now, lists):
        yield _at(False, told.place, told.reason, told.near)


def _ask(
    snapshot: Snapshot, ask: Ask | None
) -> tuple[dict[Repository, Collection[str]], tuple[Finding, ...]]:
    """The tags of every watched repository, each asked for once, and what could not be had."""
    if ask is None:
        return {}, ()
    first: dict[Repository, Workload] = {}
    for workload in _valid(snapshot):
        first.setdefault(workload.listed, workload)
    lists: dict[Repository, Collection[str]] = {}
    silent: list[Finding] = []
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        asked = {repository: pool.submit(ask, repository) for repository in first}
        for repository, answer in asked.items():
            try:
                lists[repository] = answer.result()
            except RegistryError as error:
                why = error.reason
                told = reason("lint/no-list", image=repository, problem=why.sentence, next=why.next_step)
                workload = first[repository]
                key = "image" if workload.tags_from is None else "tags_from"
                silent.append(_at(False, workload.place_of(key), told))
    return lists, tuple(silent)
