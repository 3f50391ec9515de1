"""Arrival: whether the version that Git says runs at a runtime, completely and in health.

One observation, one answer; what came before is nobody's business here.
"""

from __future__ import annotations

from typing import NamedTuple

from automator.core.drift import Clock, Sites, covered, unclear, unusable
from automator.core.matching import Finding, Found, Shows, is_certain, match
from automator.core.running import Deployed, Deployment, DeployState, Observation, Scope, Unobserved
from automator.core.site import Site
from automator.core.synced import Source, told_of
from automator.reasons import one_line, reason

NAMES = 20
"""Objects whose names are looked for in the words of a synchronizer."""


class _Answer(NamedTuple):
    state: DeployState
    trouble: str | None = None


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
    ready; *failed* that the controller, or the synchronizer at a commit of `source.revisions`, has given up;
    *pending* may carry trouble that can pass (an image that cannot be pulled). `at` is the
    observation's time. With `clock`, a stale observation says nothing.

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
    told = []
    for name, sites in mine.items():
        versions = dict.fromkeys((site.tag, site.digest) for site in sites)
        if len({tag for tag, _ in versions}) > 1 or len({digest for _, digest in versions} - {None}) > 1:
            continue
        if nothing is not None or isinstance(seen, Unobserved):
            answer = _Answer(DeployState.UNKNOWN, None if nothing is None else nothing.sentence)
        else:
            answer = _answer(sites, found[name], seen, source)
        tag = sites[0].tag or ""
        digest = next((digest for _, digest in versions if digest is not None), None)
        at = None if answer.state in (DeployState.PENDING, DeployState.UNKNOWN) else seen.at
        told.append(Deployment(name, tag, digest, Deployed(scope.runtime, answer.state, at, answer.trouble)))
    return tuple(told)


def _answer(
    sites: tuple[Site, ...], findings: tuple[Finding, ...], seen: Observation, source: Source | None
) -> _Answer:
    answers = [_of_finding(finding, seen.runtime) for finding in findings]
    worst = min(answers, key=lambda one: _WORST.index(one.state))
    if source is None or worst.state not in (DeployState.PENDING, DeployState.UNKNOWN):
        return worst
    names = {found.running.name for one in findings for found in (*one.same, *one.others)[:NAMES]}
    told = told_of(sites, seen.syncs, source, names)
    if told is None or (worst.trouble and not told.is_final):
        return worst
    # Trouble of its own says nothing of the version: nobody must take that back for it.
    words = one_line(f"{told.place}: {told.trouble or 'it is not well'}")
    return _Answer(DeployState.FAILED if told.is_final else DeployState.UNKNOWN, words)


def _of_finding(finding: Finding, runtime: str) -> _Answer:
    if finding.shows in (Shows.UNSURE, Shows.AMBIGUOUS, Shows.ABSENT, Shows.ENDED):
        return _Answer(DeployState.UNKNOWN, unclear(finding, runtime).sentence)
    given_up = next((found.running for found in finding.same if found.running.failed), None)
    if given_up is not None:
        return _Answer(DeployState.FAILED, _words(given_up.place, given_up.trouble or "it has given up"))
    ailing = next((found.running for found in finding.same if found.running.trouble), None)
    if ailing is not None:
        return _Answer(DeployState.PENDING, _words(ailing.place, ailing.trouble or ""))
    if finding.shows is Shows.OTHER or not all(_is_complete(found) for found in finding.same):
        return _Answer(DeployState.PENDING)
    if finding.others:
        return _Answer(DeployState.PENDING)
    if not all(is_certain(site, found) for site in finding.sites for found in finding.same):
        first = finding.same[0].running
        return _Answer(DeployState.UNKNOWN, _words(first.place, "which digest it runs is not told"))
    if all(found.running.wanted == 0 and found.running.kind != "Job" for found in finding.same):
        first = finding.same[0].running
        return _Answer(DeployState.UNKNOWN, _words(first.place, "it has no replicas, so nothing runs"))
    return _Answer(DeployState.DEPLOYED)


def _is_complete(found: Found) -> bool:
    one = found.running
    if one.settled is False:
        return False
    return one.wanted is None or (one.ready is not None and one.ready >= one.wanted) or one.wanted == 0


def _words(place: str, trouble: str) -> str:
    return one_line(f"{place}: {trouble}")
