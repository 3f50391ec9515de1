"""Arrival: whether the version that Git says runs at a runtime, completely and in health.

One observation, one answer; what came before is nobody's business here. A version is never said to have
failed, or to be in trouble, but for a container that is certainly the workload's own and is itself ill; nor
to be absent but where another one is seen in its place, or nothing at all: what is not certain is unknown,
in words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from automator.core.drift import (
    Clock,
    Sites,
    counting,
    covered,
    put_elsewhere,
    shown_version,
    unclear,
    unusable,
)
from automator.core.found import WORKLOADS
from automator.core.matching import (
    PASSING,
    Finding,
    Found,
    Shows,
    home_of,
    is_bound,
    is_certain,
    is_surely,
    is_told,
    match,
    names_object,
)
from automator.core.running import (
    Deployed,
    Deployment,
    DeployState,
    Observation,
    Running,
    Scope,
    Unobserved,
)
from automator.core.site import Site
from automator.core.synced import Named, Source, Synced
from automator.reasons import one_line, reason

ENOUGH = 0.5
"""Share of an object's replicas that is ready where it is a time to go on with its version."""


class _Answer(NamedTuple):
    state: DeployState
    trouble: str | None = None
    ready: int | None = None
    restarts: int | None = None
    is_idle: bool = False
    """Whether it is the version, of which nothing is to run."""
    is_down: bool = False
    is_short: bool = False
    is_counted: bool = False
    is_hindered: bool = False
    is_hearsay: bool = False

    @property
    def rank(self) -> int:
        """The less, the more it says of the version as a whole: what is certain before what is not."""
        if self.state is DeployState.PENDING and self.trouble is not None:
            return 1
        return _ORDER[self.state]


class _Asked(NamedTuple):
    scope: Scope
    synced: Synced | None
    """None where nobody knows what synchronizers call the config repo."""
    shared: frozenset[Named]


_ORDER = {
    DeployState.FAILED: 0,
    DeployState.ABSENT: 2,
    DeployState.UNKNOWN: 3,
    DeployState.PENDING: 4,
    DeployState.DEPLOYED: 5,
}


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
    container that can pass (an image that cannot be pulled); *absent* that another version was seen in its
    place, no replicas, or nothing at all. Everything else is *unknown*, with words. `at` is the observation's
    time. With `clock`, a stale observation says nothing. What has run and ended, and what is to have no
    replicas, says nothing where something else of the workload is deployed.

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
    synced = Synced(seen.syncs, source) if isinstance(seen, Observation) and source is not None else None
    asked = _Asked(scope, synced, _shared(mine))
    told = []
    for name, sites in mine.items():
        versions = dict.fromkeys((site.tag, site.digest) for site in sites)
        if len({tag for tag, _ in versions}) > 1 or len({digest for _, digest in versions} - {None}) > 1:
            continue
        if nothing is not None or isinstance(seen, Unobserved):
            answer = _Answer(DeployState.UNKNOWN, None if nothing is None else nothing.sentence)
        else:
            answer = _answer(sites, found[name], asked)
        tag = sites[0].tag or ""
        digest = next((digest for _, digest in versions if digest is not None), None)
        at = seen.at if answer.state in (DeployState.DEPLOYED, DeployState.FAILED) else None
        deployed = Deployed(
            scope.runtime, answer.state, at, *answer[1:],
        )  # fmt: skip
        told.append(Deployment(name, tag, digest, deployed))
    return tuple(told)


def _answer(
    sites: tuple[Site, ...],
    findings: tuple[Finding, ...],
    asked: _Asked,
) -> _Answer:
    scope, synced, shared = asked
    answers = [_of_finding(finding, asked) for finding in counting(findings)]
    # What has no replicas, as it was told, hides nothing of what has.
    answers = [one for one in answers if not one.is_idle] or answers
    own = [found.running for one in findings for found in one.own]
    told_restarts = [one.restarts for one in own if one.restarts is not None]
    # Of what nothing tells to be its own, nothing is counted.
    counted = [found.running for one in findings if one.shows in _COUNTED for found in one.own]
    shares = _shares(counted)
    worst = min(answers, key=lambda one: one.rank)
    is_absent = worst.state is DeployState.ABSENT
    is_hindered = any(one.hindrance for one in own)
    worst = worst._replace(
        ready=sum(one.ready or 0 for one in own),
        restarts=sum(told_restarts) if told_restarts else None,
        is_down=0 in shares,
        is_short=any(share < ENOUGH for share in shares) or any(one.is_short for one in answers),
        is_counted=bool(shares),
        is_hindered=any(one.hindrance for one in counted),
    )
    if synced is None or worst.state in (DeployState.FAILED, DeployState.DEPLOYED):
        return worst
    present = _present(found for one in findings for found in (*one.own, *one.same, *one.others))
    told = synced.told_of(sites, scope, objects=_failing(findings, scope), present=present, shared=shared)
    if told is not None and is_hindered:
        told = told._replace(is_final=False)  # a release that waits for a node has timed out for that
    if told is None or (worst.trouble and not told.is_final and not is_absent):
        return worst
    words = one_line(f"{told.place}: {told.trouble or 'it is not well'}")
    if told.is_final:
        is_seen = worst.state is DeployState.PENDING and worst.trouble is not None
        return worst._replace(state=DeployState.FAILED, trouble=words, is_hearsay=not is_seen)
    if is_absent:
        return worst._replace(trouble=f"{worst.trouble}; {words}")
    # Trouble of its own says nothing of the version: nobody must take that back for it.
    return worst._replace(state=DeployState.UNKNOWN, trouble=words)


def _shares(own: Iterable[Running]) -> list[float]:
    """What part of its replicas is ready, of each container that ought to have some."""
    counted = (one for one in own if one.kind not in PASSING)
    return [one.ready / one.wanted for one in counted if one.wanted and one.ready is not None]


def _failing(findings: tuple[Finding, ...], scope: Scope) -> frozenset[str]:
    """The objects that a synchronizer may call failed: those that we see ill ourselves, with this version."""
    return _present(
        found
        for finding in findings
        for found in finding.own
        if found.running.trouble and is_surely(finding, found, scope)
    )


def _present(every: Iterable[Found]) -> frozenset[str]:
    """The objects that something was found of, as synchronizers name them."""
    return frozenset(f"{one.running.kind}/{one.running.namespace}/{one.running.name}" for one in every)


def _shared(workloads: Sites) -> frozenset[Named]:
    """The objects of which several workloads have sites: a release that fails may fail for either."""
    owners: dict[Named, set[str]] = {}
    for name, sites in workloads.items():
        for site in sites:
            owners.setdefault((site.kind, site.namespace, site.name), set()).add(name)
    return frozenset(named for named, names in owners.items() if len(names) > 1)


_COUNTED = (Shows.SAME, Shows.ROLLING, Shows.OTHER)
_UNTOLD = (Shows.UNSURE, Shows.AMBIGUOUS, Shows.SPREAD, Shows.ABSENT, Shows.MISSING, Shows.ENDED)


def _of_finding(finding: Finding, asked: _Asked) -> _Answer:
    scope = asked.scope
    away = None if asked.synced is None else put_elsewhere(finding, scope, asked.synced)
    if away is not None:
        return _Answer(DeployState.UNKNOWN, away.sentence, is_short=True)
    if finding.shows in _UNTOLD or not all(map(is_told, finding.sites)):
        return _untold(finding, scope)
    own = finding.own
    answer = _ailing(finding, own, scope) or _replaced(finding)
    if answer is not None:
        return answer
    hindered = next((found.running for found in own if found.running.hindrance), None)
    if hindered is not None:
        return _Answer(DeployState.UNKNOWN, _words(hindered.place, hindered.hindrance or ""))
    if finding.shows is Shows.OTHER or finding.others or not all(_is_complete(found) for found in own):
        return _Answer(DeployState.PENDING)
    if not _are_certain(finding):
        first = (own or finding.same)[0].running
        return _Answer(DeployState.UNKNOWN, _words(first.place, "which digest it runs is not told"))
    if all(found.running.wanted == 0 and found.running.kind != "Job" for found in own):
        if any(found.running.ready for found in own):
            return _Answer(DeployState.PENDING)  # they are being ended
        words = _words(own[0].running.place, "it has no replicas, so nothing runs")
        return _Answer(DeployState.ABSENT, words, is_idle=True)
    alien = next((found.running for found in own if not is_bound(finding, found, scope)), None)
    if alien is not None:
        words = f"nothing tells that it is this release; set runtimes.{scope.runtime}.namespaces"
        return _Answer(DeployState.UNKNOWN, _words(alien.place, words))
    return _Answer(DeployState.DEPLOYED)


def _untold(finding: Finding, scope: Scope) -> _Answer:
    """What a finding says in which nothing can be compared: nothing, but where there is nothing at all."""
    site, words = finding.sites[0], unclear(finding, scope.runtime).sentence
    if finding.shows not in (Shows.ABSENT, Shows.MISSING) or finding.may_have_passed:
        return _Answer(DeployState.UNKNOWN, words)
    if not finding.is_nowhere:
        return _Answer(DeployState.UNKNOWN, words, is_short=True)
    home = home_of(site)
    if home is not None:
        named = f"{site.kind} {home}/{site.name} is not there"
        words = named if site.kind in WORKLOADS else f"nothing in {home} runs {site.repository}"
    return _Answer(DeployState.ABSENT, one_line(words))


def _replaced(finding: Finding) -> _Answer | None:
    """What runs in the place of the version; None where that is nothing, or may be what a person started
    beside it."""
    if finding.shows is not Shows.OTHER:
        return None
    if finding.same and not all(map(names_object, finding.sites)):
        return None  # a preview may be a release of its own beside it
    kinds = {"Job"} if not finding.same else {*PASSING, "container"}
    other = next((found for found in finding.others if found.running.kind not in kinds), None)
    if other is None:
        return None
    return _Answer(DeployState.ABSENT, one_line(f"{other.running.place} runs {shown_version(other)}"))


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
        place = f"{one.place} may be another's ({_missing(finding, one, scope)})"
        return _Answer(DeployState.UNKNOWN, _words(place, one.trouble or "it has given up"))
    return None


def _missing(finding: Finding, one: Running, scope: Scope) -> str:
    """What to write, for it to be certain whose something is that runs."""
    if not one.namespace:
        return f"set runtimes.{scope.runtime}.project"
    if len(finding.claimants) > 1 and all(map(home_of, finding.sites)):
        return "write kind and name into the file"
    return "write `namespace` into the file"


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
