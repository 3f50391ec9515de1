"""Runtimes: the places where images run, as the config has them, and what one look at one of them shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from automator.app.build import App
from automator.config import Config, RuntimeConfig
from automator.core.arrival import deployments
from automator.core.drift import Clock, Drift, Says, compare, doubted
from automator.core.homes import Homes, unplaced
from automator.core.rollout import LAPSE
from automator.core.running import Deployment, Observation, Runtime, Scope, Unobserved
from automator.core.site import Site
from automator.core.synced import Source
from automator.core.workload import Workload
from automator.cycle.index import Snapshot
from automator.edges.engine import Engine, EngineSettings
from automator.edges.http import Outside
from automator.errors import AutomatorError, RuntimeTrouble
from automator.reasons import Reason, one_line, reason

AT_ONCE = 8
"""Runtimes that a command asks at the same time."""
SELDOM = timedelta(hours=2)
"""How long trouble that a look has shown counts where nobody knows when the next look comes: whoever runs one
cycle after the other does so every few minutes, or every hour."""
INTERVALS = 4
"""Looks that may be missed, of a runtime that is looked at seldom, before what they showed has passed."""


@dataclass(frozen=True, slots=True)
class Tip:
    """What a config repo says is to run."""

    commit: str
    workloads: Mapping[str, tuple[Site, ...]]
    """The namespace of a site as its own file says it."""
    source: Source
    homes: Homes | None = None

    def placed(self, seen: Observation | Unobserved) -> Mapping[str, tuple[Site, ...]]:
        """The workloads, each site with the namespace and the name that Kustomizations around its file give
        it, and the synchronizers of a cluster that was seen."""
        if self.homes is None:
            return self.workloads
        if not isinstance(seen, Observation):
            return {name: self.homes.all_placed(sites, {}) for name, sites in self.workloads.items()}
        homes, spaces = self.homes.applied(seen.syncs, self.source), seen.spaces()
        placed = {name: homes.all_placed(sites, spaces) for name, sites in self.workloads.items()}
        if not seen.unread:
            return placed
        return {name: tuple(map(unplaced, sites)) for name, sites in placed.items()}


def tip_of(config: Config, repo: str, snapshot: Snapshot) -> Tip:
    """What a config repo says at one commit. A templated image's name is its workload's."""
    source = Source(config.repos[repo].url, frozenset({snapshot.commit}), config.repos[repo].branch)
    named = dict(snapshot.claims.sites)
    for name, sites in snapshot.claims.sites.items():
        workload = snapshot.workloads.get(name)
        if isinstance(workload, Workload) and any(site.repository is None for site in sites):
            image = workload.repository
            named[name] = tuple(
                replace(site, repository=image) if site.repository is None else site for site in sites
            )
    return Tip(snapshot.commit, named, source, snapshot.homes)


@runtime_checkable
class Closing(Protocol):
    """A runtime that keeps connections open from one look to the next."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Place:
    """One runtime of the config."""

    name: str
    repo: str
    config: RuntimeConfig
    scope: Scope
    runtime: Runtime

    @property
    def lapse(self) -> timedelta:
        """How long trouble that a look has shown counts without another look that shows it."""
        return max(LAPSE, INTERVALS * self.config.interval)

    def close(self) -> None:
        """Give its connections free; for whoever asked it last."""
        if isinstance(self.runtime, Closing):
            self.runtime.close()

    def ask(self, clock: Callable[[], datetime]) -> Observation | Unobserved:
        """What runs there now, or why nobody knows. Takes as long as the runtime may; never raises."""
        now = clock()
        try:
            return self.runtime.observe(now)
        except RuntimeTrouble as error:
            return Unobserved(self.name, now, error.reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, it says nothing of what runs
            problem = one_line(f"{type(error).__name__}: {error}")
            return Unobserved(self.name, now, reason("drift/broke-off", runtime=self.name, problem=problem))

    def judge(
        self,
        tip: Tip,
        seen: Observation | Unobserved,
        now: datetime,
        *,
        earlier: Mapping[str, Drift],
        says: Callable[[Iterable[str]], Mapping[str, Says]],
        read_at: datetime | None = None,
    ) -> Look:
        """What an answer says of what Git says. `says` is asked only about the workloads that differ;
        `read_at` is when the tip was known to be one, None for just now."""
        clock, placed = Clock(now, self.config.grace), tip.placed(seen)
        drifts = compare(placed, self.scope, seen, clock, earlier=earlier, source=tip.source)
        differing = {drift.workload for drift in drifts if drift.differs}
        known = says(differing) if differing else {}
        if known:
            drifts = compare(placed, self.scope, seen, clock, says=known, earlier=earlier, source=tip.source)
        arrived = deployments(placed, self.scope, seen, source=tip.source, clock=clock)
        return Look(self, seen, doubted(drifts, read_at, now), arrived)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at one runtime shows."""

    place: Place
    seen: Observation | Unobserved
    drifts: tuple[Drift, ...] = ()
    """Of every workload that the runtime covers."""
    deployments: tuple[Deployment, ...] = field(default=(), repr=False)


def places_of(config: Config, names: Iterable[str] = ()) -> tuple[Place, ...]:
    """The runtimes of these names, all where none is named. Nothing is asked yet, and no secret is read."""
    wanted = tuple(names) or tuple(config.runtimes)
    return tuple(
        Place(name, config.repo_of(name), config.runtimes[name], _scope(config, name), _opened(config, name))
        for name in wanted
    )


def ask_all(places: Iterable[Place], clock: Callable[[], datetime]) -> dict[str, Observation | Unobserved]:
    """What runs at each of them; they are asked at the same time, each within its own limit."""
    every = tuple(places)
    if not every:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(every))) as pool:
        return dict(
            zip((one.name for one in every), pool.map(lambda one: one.ask(clock), every), strict=True)
        )


def look_once(config: Config, app: App, clock: Callable[[], datetime]) -> tuple[Reason, ...]:
    """Look at the runtimes of an app's config repos, for a process that makes one cycle and ends. Returns why
    some could not be asked; a config repo that cannot be read is left to its cycle to tell."""
    places = [place for place in places_of(config) if place.repo in app.cycles]
    seen = ask_all(places, clock)
    troubles: list[Reason] = []
    tips: dict[str, Tip | None] = {}
    for place in places:
        place.close()
        answer, deploying = seen[place.name], app.deployments[place.repo]
        if isinstance(answer, Unobserved):
            troubles.append(answer.reason)
            deploying.missed(answer, is_only=True)
            continue
        if place.repo not in tips:
            tips[place.repo] = _read_tip(config, app, place.repo)
        tip = tips[place.repo]
        if tip is not None:
            told = deployments(tip.placed(answer), place.scope, answer, source=tip.source)
            deploying.take(place.name, told, answer.at, SELDOM)
    return tuple(troubles)


def _read_tip(config: Config, app: App, repo: str) -> Tip | None:
    try:
        return tip_of(config, repo, app.cycles[repo].read())
    except AutomatorError:
        return None


def _scope(config: Config, name: str) -> Scope:
    told = config.runtimes[name]
    return Scope(name, tuple(told.paths), tuple(told.namespaces), told.project or "")


def _opened(config: Config, name: str) -> Runtime:
    told = config.runtimes[name]
    seconds = told.timeout.total_seconds()
    if told.type == "docker":
        return Engine(
            EngineSettings(
                name,
                told.host,
                told.project,
                _text(told.ca_file),
                _text(told.client_cert_file),
                _text(told.client_key_file),
                seconds,
            )
        )
    from automator.edges.kubernetes import Cluster, ClusterSettings

    return Cluster(
        ClusterSettings(
            name,
            kubeconfig=_text(told.kubeconfig),
            context=told.context,
            namespaces=tuple(told.namespaces),
            status=tuple(told.status),
            seconds=seconds,
            outside=Outside.of(os.environ),
            environ=os.environ,
        )
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
