"""Arrival: whether the version that Git says runs at a runtime, completely and in health.

One observation, one answer; what came before is nobody's business here. A version is never said to have
failed, or to be in trouble, but for a container that is certainly the workload's own and is itself ill: what
is not certain is unknown, in words.
"""

from __future__ import annotations

from typing import NamedTuple

from automator.core.drift import Clock, Sites, covered, unclear, unusable
from automator.core.matching import Finding, Found, Shows, is_certain, is_surely, match
from automator.core.running import Deployed, Deployment, DeployState, Observation, Scope, Unobserved
from automator.core.site import Site
from automator.core.synced import Named, Source, told_of
from automator.reasons import one_line, reason


class _Answer(NamedTuple):
    state: DeployState
    trouble: str | None = None
    ready: int | None = None


class _Asked(NamedTuple):
    scope: Scope
    source: Source | None
    shared: frozenset[Named]


_WORST = (DeployState.FAILED, DeployState.UNKNOWN, DeployState.PENDING, DeployState.DEPLOYED)


def deployments(
    workloads: Sites,
    scope: Scope,
    seen: Observation | Unobserved,
    *,
    source: Source | None = None,
    clock: Clock | None = None,
) -> tuple[Deployment, ...]:
    """What an observation says of the version of each workload that the runtime covers.

    Left out is a workload whose sites there differ: it is at no one version. *Deployed* means that everything
    that was found for its sites is that version, with its digest where the sites pin one, rolled out and
    ready; *failed* that the controller has given up on a container that is certainly the workload's and is
    itself ill, or the synchronizer at a commit of `source.revisions`; *pending* may carry trouble of such a
    container that can pass (an image that cannot be pulled). Everything else is *unknown*, with words. `at`
    is the observation's time. With `clock`, a stale observation says nothing.

    Raises PolicyError for patterns of the scope that are none.
    """
    mine = covered(workloads, scope)
    nothing = None
    if isinstance(seen, Unobserved):
        nothing = reason("drift/unobserved", runtime=seen.runtime, problem=seen.reason.sentence)
    elif clock is not None:
        nothing = unusable(seen, clock)
    found: dict[str, tuple[Finding, ...]] = {}
    if isinstance(seen, Observation) and nothing is None:
        found = match(mine, seen.running, scope)
    asked = _Asked(scope, source, _shared(mine))
    told = []
    for name, sites in mine.items():
        versions = dict.fromkeys((site.tag, site.digest) for site in sites)
        if len({tag for tag, _ in versions}) > 1 or len({digest for _, digest in versions} - {None}) > 1:
            continue
        if nothing is not None or isinstance(seen, Unobserved):
            answer = _Answer(DeployState.UNKNOWN, None if nothing is None else nothing.sentence)
        else:
            answer = _answer(sites, found[name], seen, asked)
        tag = sites[0].tag or ""
        digest = next((digest for _, digest in versions if digest is not None), None)
        at = None if answer.state in (DeployState.PENDING, DeployState.UNKNOWN) else seen.at
        deployed = Deployed(scope.runtime, answer.state, at, answer.trouble, answer.ready)
        told.append(Deployment(name, tag, digest, deployed))
    return tuple(told)


def _answer(
    sites: tuple[Site, ...],
    findings: tuple[Finding, ...],
    seen: Observation,
    asked: _Asked,
) -> _Answer:
    scope, source, shared = asked
    answers = [_of_finding(finding, scope) for finding in findings]
    worst = min(answers, key=lambda one: _WORST.index(one.state))
    ready = sum(found.running.ready or 0 for one in findings for found in one.own)
    worst = worst._replace(ready=ready)
    if source is None or worst.state not in (DeployState.PENDING, DeployState.UNKNOWN):
        return worst
    told = told_of(sites, seen.syncs, source, scope, objects=_failing(findings, scope), shared=shared)
    is_hindered = any(found.running.hindrance for one in findings for found in one.own)
    if told is not None and is_hindered:
        told = told._replace(is_final=False)  # a release that waits for a node has timed out for that
    if told is None or (worst.trouble and not told.is_final):
        return worst
    # Trouble of its own says nothing of the version: nobody must take that back for it.
    words = one_line(f"{told.place}: {told.trouble or 'it is not well'}")
    return _Answer(DeployState.FAILED if told.is_final else DeployState.UNKNOWN, words, ready)


def _failing(findings: tuple[Finding, ...], scope: Scope) -> frozenset[str]:
    """The objects that a synchronizer may call failed: those that we see ill ourselves, with this version."""
    return frozenset(
        f"{found.running.kind}/{found.running.namespace}/{found.running.name}"
        for finding in findings
        for found in finding.own
        if found.running.trouble and is_surely(finding, found, scope)
    )


def _shared(workloads: Sites) -> frozenset[Named]:
    """The objects of which several workloads have sites: a release that fails may fail for either."""
    owners: dict[Named, set[str]] = {}
    for name, sites in workloads.items():
        for site in sites:
            owners.setdefault((site.kind, site.namespace, site.name), set()).add(name)
    return frozenset(named for named, names in owners.items() if len(names) > 1)


_UNTOLD = (Shows.UNSURE, Shows.AMBIGUOUS, Shows.SPREAD, Shows.ABSENT, Shows.MISSING, Shows.ENDED)


def _of_finding(finding: Finding, scope: Scope) -> _Answer:
    if finding.shows in _UNTOLD:
        return _Answer(DeployState.UNKNOWN, unclear(finding, scope.runtime).sentence)
    own = finding.own
    ailing = _ailing(finding, own, scope)
    if ailing is not None:
        return ailing
    hindered = next((found.running for found in own if found.running.hindrance), None)
    if hindered is not None:
        return _Answer(DeployState.UNKNOWN, _words(hindered.place, hindered.hindrance or ""))
    if finding.shows is Shows.OTHER or finding.others or not all(_is_complete(found) for found in own):
        return _Answer(DeployState.PENDING)
    if not _are_certain(finding):
        first = (own or finding.same)[0].running
        return _Answer(DeployState.UNKNOWN, _words(first.place, "which digest it runs is not told"))
    if all(found.running.wanted == 0 and found.running.kind != "Job" for found in own):
        first = own[0].running
        return _Answer(DeployState.UNKNOWN, _words(first.place, "it has no replicas, so nothing runs"))
    return _Answer(DeployState.DEPLOYED)


def _ailing(finding: Finding, own: tuple[Found, ...], scope: Scope) -> _Answer | None:
    """What is ill of the version; None where nothing is."""
    ill = [found for found in own if found.running.failed or found.running.trouble]
    sure = [found.running for found in ill if is_surely(finding, found, scope)]
    given_up = next((one for one in sure if one.failed), None)
    if given_up is not None:
        return _Answer(DeployState.FAILED, _words(given_up.place, given_up.trouble or "it has given up"))
    if sure:
        return _Answer(DeployState.PENDING, _words(sure[0].place, sure[0].trouble or ""))
    if ill:
        one = ill[0].running
        why = f"{one.trouble or 'it has given up'}; that it is this workload's is not certain"
        return _Answer(DeployState.UNKNOWN, _words(one.place, why))
    return None


def _are_certain(finding: Finding) -> bool:
    """Whether each of the sites is known to run as it says, and all that runs is as one of them says."""
    sites, own = finding.sites, finding.own
    if all(site.digest is None for site in sites):
        return bool(own)
    return all(any(is_certain(site, found) for site in sites) for found in own) and all(
        any(is_certain(site, found) for found in own) for site in sites
    )


def _is_complete(found: Found) -> bool:
    one = found.running
    if one.settled is False or (one.kind == "Job" and one.settled is not True):
        return False
    return one.wanted is None or (one.ready is not None and one.ready >= one.wanted) or one.wanted == 0


def _words(place: str, trouble: str) -> str:
    return one_line(f"{place}: {trouble}")
