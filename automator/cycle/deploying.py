"""Deploying: what runtimes said of the versions that a config repo wants to run, kept for its cycles.

Looks at runtimes are made beside the cycles and come in by `take`, on any thread; no cycle waits for one.
What was said is kept in the store: who lost it takes the next look for the first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from automator.core.claims import paths_match
from automator.core.matching import is_run
from automator.core.rollout import (
    LAPSE,
    Rollout,
    Silence,
    Told,
    from_text,
    heard,
    is_news,
    renewed,
    to_text,
    unseen,
)
from automator.core.running import Deployed, Deployment, DeployState, Scope, Unobserved
from automator.core.site import Site
from automator.core.verification import Answer, Said
from automator.cycle.index import Snapshot

SILENT_AFTER = 3
"""Looks in a row without an answer after which a runtime counts as silent: one that answers every other time
is news to nobody."""


class Memory(Protocol):
    """Where it is kept what runtimes said (`edges.store`)."""

    def rollouts(self, branch: str, workload: str | None = None) -> Iterable[tuple[str, str, str]]: ...
    def runtimes_answered(self, branch: str) -> Mapping[str, datetime]: ...
    def save_look(
        self, branch: str, runtime: str, at: datetime, rollouts: Iterable[tuple[str, datetime, str]]
    ) -> None: ...


@dataclass
class Deploying:
    """The versions of one config repo at the runtimes that it says what is to run at; for all threads."""

    branch: str
    """Name, URL and branch of the config repo: another branch wants other versions."""
    scopes: tuple[Scope, ...]
    memory: Memory
    wake: Callable[[], None] = lambda: None
    """Asks for a cycle, since there is news; called on any thread, and does not wait."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _latest: dict[tuple[str, str], Rollout] | None = None
    """By workload and runtime: of the version that the config repo had at the last look. None until it is
    read."""
    _answered: dict[str, datetime] = field(default_factory=dict)
    _silent: dict[str, Silence] = field(default_factory=dict)
    _missed: dict[str, int] = field(default_factory=dict)
    """Looks without an answer since the last one with it, by runtime."""
    _news: set[str] = field(default_factory=set)
    """Workloads of which a cycle has not heard the news."""
    _unsaved: set[tuple[str, str]] = field(default_factory=set)
    """What could not be kept yet."""
    _turned: set[str] = field(default_factory=set)
    """Runtimes that fell silent, or speak again, since a cycle last heard of it."""
    _snapshot: Snapshot | None = None
    _covers: dict[str, Callable[[str], bool]] = field(init=False)
    """By runtime: whether what a file says is to run there."""

    def __post_init__(self) -> None:
        self._covers = {scope.runtime: paths_match(scope.paths) for scope in self.scopes}

    # -- from the looks ----------------------------------------------------------------------------

    def take(self, runtime: str, told: Iterable[Deployment], at: datetime, lapse: timedelta = LAPSE) -> None:
        """A runtime answered. `told` is what it says of each workload of the branch's tip that it covers; of
        one that is missing it says nothing. `lapse`: after which time trouble, or absence, that no look has
        shown is over. Raises ConfigError where that cannot be kept: it is tried again with the next look."""
        with self._lock:
            latest = self._loaded()
            after = {one.workload: one for one in told}
            gone = {name for name, where in latest if where == runtime} - after.keys()
            found = {name: heard(latest.get((name, runtime)), one, at, lapse) for name, one in after.items()}
            found |= {name: unseen(latest[name, runtime], at) for name in gone}
            changed = {name: one for name, one in found.items() if latest.get((name, runtime)) != one}
            self._news |= {name for name, one in changed.items() if is_news(latest.get((name, runtime)), one)}
            latest.update(((name, runtime), one) for name, one in changed.items())
            self._answered[runtime] = at
            self._missed.pop(runtime, None)
            if self._silent.pop(runtime, None) is not None:
                self._turned.add(runtime)
            # What was not kept the last time is news now: soaks are counted by what is kept.
            self._news |= {name for name, where in self._unsaved if where == runtime}
            self._unsaved |= {(name, runtime) for name in changed}
            has_news = bool(self._news or self._turned)
            try:
                self._save(runtime, at)
            finally:
                if has_news:
                    self.wake()

    def missed(self, look: Unobserved, *, is_only: bool = False) -> None:
        """A runtime could not be asked: what it said before stays what is known, and since when that is.
        `is_only`: this process looks no second time."""
        with self._lock:
            self._loaded()
            misses = self._missed[look.runtime] = self._missed.get(look.runtime, 0) + 1
            if misses < SILENT_AFTER and not is_only:
                return
            was = self._silent.get(look.runtime)
            since = self._answered.get(look.runtime, look.at) if was is None else was.since
            self._silent[look.runtime] = Silence(since, look.reason.sentence)
            if was is None:
                self._turned.add(look.runtime)
        if was is None:
            self.wake()

    def _save(self, runtime: str, at: datetime) -> None:
        """Keep a look, and what could not be kept before; under the lock."""
        latest = self._loaded()
        mine = {key for key in self._unsaved if key[1] == runtime}
        kept = [(name, latest[name, where].begun, to_text(latest[name, where])) for name, where in mine]
        self.memory.save_look(self.branch, runtime, at, kept)
        self._unsaved -= mine

    # -- for a cycle -------------------------------------------------------------------------------

    def notice(self, snapshot: Snapshot) -> frozenset[str]:
        """Take in where the branch is: workloads of which runtimes told news since the last time."""
        with self._lock:
            self._snapshot = snapshot
            news, self._news = self._news, set()
            turned, self._turned = self._turned, set()
        for name in snapshot.workloads if turned else ():
            if not turned.isdisjoint(self.covering(snapshot.claims.sites.get(name, ()))):
                news.add(name)
        return frozenset(news)

    def covering(self, sites: Sequence[Site]) -> tuple[str, ...]:
        """Names of the runtimes at which some of these sites say what runs; of a chart none does."""
        files = {site.file for site in sites if is_run(site)}
        return tuple(runtime for runtime, covers in self._covers.items() if any(map(covers, files)))

    def of(self, workload: str, version: str, digest: str | None) -> tuple[Deployed, ...]:
        """What is known of a version, by each runtime that covers the workload; empty where none does."""
        return self.released(workload, version, digest, None)

    def released(
        self, workload: str, version: str, digest: str | None, begun: datetime | None
    ) -> tuple[Deployed, ...]:
        """As `of`, by looks that were made since the config repo came to have the version."""
        with self._lock:
            latest = self._loaded()
            sites = () if self._snapshot is None else self._snapshot.claims.sites.get(workload, ())
            found: list[Deployed] = []
            for runtime in self.covering(sites):
                rollout = latest.get((workload, runtime))
                if rollout is not None and begun is not None:
                    anew = renewed(rollout, begun)
                    if anew is not rollout:  # it failed, as an earlier release of the same version
                        latest[workload, runtime] = rollout = anew
                        self._unsaved.add((workload, runtime))
                found.append(
                    self._told(runtime, [rollout] if rollout else []).now(runtime, version, digest, begun)
                )
            return tuple(found)

    def past(self, workload: str, sites: Sequence[Site]) -> dict[str, Told]:
        """What each runtime that covers these sites of a workload has told of its versions."""
        names = self.covering(sites)
        rollouts: dict[str, list[Rollout]] = {name: [] for name in names}
        for _, runtime, text in self.memory.rollouts(self.branch, workload) if names else ():
            rollout = from_text(text)
            if rollout is not None and runtime in rollouts:
                rollouts[runtime].append(rollout)
        with self._lock:
            self._loaded()
            return {name: self._told(name, found) for name, found in rollouts.items()}

    def _told(self, runtime: str, rollouts: list[Rollout]) -> Told:
        return Told(tuple(rollouts), self._answered.get(runtime), self._silent.get(runtime))

    def _loaded(self) -> dict[tuple[str, str], Rollout]:
        """What was kept, read once; under the lock."""
        if self._latest is None:
            self._answered = dict(self.memory.runtimes_answered(self.branch))
            kept = ((name, where, from_text(text)) for name, where, text in self.memory.rollouts(self.branch))
            self._latest = {(name, where): one for name, where, one in kept if one is not None}
        return self._latest


@dataclass(frozen=True, slots=True)
class DeployedCheck:
    """The check `deployed`: whether all runtimes of a workload run its version, as far as they said."""

    deploying: Deploying

    def ask(self, about: Mapping[str, str], _stopping: threading.Event) -> Said:
        """A no where one of them says that it failed; no answer while one has not said either."""
        begun = datetime.fromisoformat(about["begun"])
        told = self.deploying.released(about["workload"], about["version"], about["digest"] or None, begun)
        for one in told:
            if one.state is DeployState.FAILED:
                return Said(Answer.NO, f"{one.runtime}: {one.trouble}")
        for one in told:
            if one.state is not DeployState.DEPLOYED:
                return Said(Answer.SILENT, f"{one.runtime} {one.trouble}")
        if not told:
            return Said(Answer.SILENT, "no runtime covers it")
        return Said(Answer.YES, f"it runs at {', '.join(one.runtime for one in told)}")
