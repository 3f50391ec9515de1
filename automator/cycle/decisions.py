"""Deciding all workloads: only those for which something may have changed, facts fetched in rounds.

Each round asks every open decision, fetches all facts they name at once, and asks again. Requests
that cost (manifests, history) are made for no more workloads than one cycle may release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from automator.core.decide import (
    Decision,
    Limits,
    Need,
    Release,
    Stay,
    decide,
    shown_current,
)
from automator.core.explain import Verdict, explain
from automator.core.policy import InvalidWorkload, Workload
from automator.core.reference import Repository, TagList
from automator.core.report import Outcome
from automator.cycle.facts import FactFinder
from automator.cycle.index import Snapshot
from automator.cycle.observe import Observer
from automator.reasons import Reason, Status, reason

READING_HISTORY = reason("history/reading")
UNSETTLED = (Status.RELEASED, Status.WAITING, Status.FAILED)


@dataclass
class Decider:
    """Decides what is open, and remembers every workload's last outcome."""

    facts: FactFinder
    observer: Observer
    limits: Limits
    max_releases: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    news: int = 0
    """Counts outcomes recorded, so that a cycle without any can reuse its last report."""
    _open: set[str] = field(default_factory=set)
    _timers: dict[str, datetime] = field(default_factory=dict)
    _gone: bool = False
    """An outcome was recorded of a workload whose policy is gone meanwhile: shown once."""
    _snapshot: Snapshot | None = None

    def notice(
        self, snapshot: Snapshot, changed: Iterable[Repository], now: datetime, *, rewound: bool
    ) -> None:
        """Take in what was observed: which workloads must be decided anew."""
        self._open.update(self._moved(snapshot, rewound))
        for repository in changed:
            self._open.update(snapshot.by_repository.get(repository, ()))
        self._open.update(name for name, at in self._timers.items() if at <= now)
        if snapshot is not self._snapshot or self._gone:
            self._snapshot = snapshot
            self._gone = False
            for name in self.outcomes.keys() - snapshot.workloads.keys():
                del self.outcomes[name]
                self._timers.pop(name, None)
                self.news += 1
            self._open &= snapshot.workloads.keys()

    def decide(
        self,
        now: datetime,
        selected: Callable[[Workload | InvalidWorkload], bool],
        stopped: Callable[[Release], Reason | None],
        reading: Callable[[], None],
    ) -> tuple[Release, ...]:
        """Decide every selected workload that is open; returns the releases, in order of name.

        `stopped` says why a release may not be tried now; `reading` is called before history is
        fetched, which may take long.
        """
        assert self._snapshot is not None
        undecided = []
        for name in sorted(self._open):
            entry = self._snapshot.workloads[name]
            if not selected(entry):
                continue
            problem = self._problem(self._snapshot, entry)
            if problem is not None:
                self._settle(entry, Stay(Status.HELD, problem))
            elif isinstance(entry, Workload):
                undecided.append(entry)
        releases: list[Release] = []
        while undecided:
            undecided = self._round(undecided, releases, now, stopped, reading)
        return tuple(sorted(releases, key=lambda r: r.workload.name))

    def settle(self, release: Release, status: Status, why: Reason, commit: str | None = None) -> None:
        """Record what became of a release."""
        entry = release.workload
        self._record(self._outcome(entry, status, why, release.current, release.target, commit))

    def verdicts(self, name: str, now: datetime) -> tuple[Verdict, ...]:
        """What became of every tag of a workload that was decided before; empty where its tags
        could not be listed."""
        assert self._snapshot is not None
        entry = self._snapshot.workloads[name]
        tags = None if isinstance(entry, InvalidWorkload) else self.observer.tags(entry.repository)
        if isinstance(entry, InvalidWorkload) or not isinstance(tags, TagList):
            return ()
        sites = self._snapshot.claims.sites.get(name, ())
        known = self.facts.known(entry, sites)
        decision = decide(entry, sites, tags, known, now, self.limits)
        return explain(entry, sites, tags, known, None if isinstance(decision, Need) else decision)

    # -- one round -----------------------------------------------------------------------------

    def _round(
        self,
        undecided: list[Workload],
        releases: list[Release],
        now: datetime,
        stopped: Callable[[Release], Reason | None],
        reading: Callable[[], None],
    ) -> list[Workload]:
        """Ask each once; fetch what they need; returns those to be asked again."""
        needs: list[tuple[Workload, Need]] = []
        for workload in undecided:
            answer = self._ask(workload, now)
            if isinstance(answer, Need):
                needs.append((workload, answer))
            elif isinstance(answer, Release):
                why = stopped(answer)
                if why is not None:  # one that is not tried takes nobody's place
                    self._settle(workload, Stay(Status.FAILED, why, answer.current, answer.tag))
                elif len(releases) < self.max_releases:
                    releases.append(answer)
                else:
                    self._settle(workload, self._over_limit(answer.current, answer.tag))
            else:
                self._settle(workload, answer)
        room = self.max_releases - len(releases)
        costly = [w for w, need in needs if need.images or need.histories]
        if room <= 0:
            for workload in costly:
                self._settle(workload, self._over_limit(self._shown(workload), "a newer version"))
            needs = [(w, need) for w, need in needs if w not in costly]
        asked_now = [(w, n) for w, n in needs if n.built or w in costly[:room]]
        self._fetch(asked_now, reading)
        return [workload for workload, _ in needs]

    def _ask(self, workload: Workload, now: datetime) -> Decision | Need:
        assert self._snapshot is not None
        sites = self._snapshot.claims.sites.get(workload.name, ())
        tags = self.observer.tags(workload.repository)
        known = self.facts.known(workload, sites)
        return decide(workload, sites, tags, known, now, self.limits)

    def _fetch(self, needs: list[tuple[Workload, Need]], reading: Callable[[], None]) -> None:
        histories = tuple({site: None for _, need in needs for site in need.histories})
        if histories and self.facts.must_fetch_history(histories):
            for workload, need in needs:
                if need.histories:
                    self._settle(workload, Stay(Status.WAITING, READING_HISTORY, self._shown(workload)))
            reading()
        if histories:
            self.facts.read_histories(histories)
        self.facts.look_up([(w.repository, need) for w, need in needs if need.built or need.images])

    # -- what is open --------------------------------------------------------------------------

    def _moved(self, snapshot: Snapshot, rewound: bool) -> Iterable[str]:
        old = self._snapshot
        if old is snapshot:
            return ()
        if old is None or rewound:
            return snapshot.workloads
        was, now = old.claims, snapshot.claims
        same = old.policies is snapshot.policies
        return [
            name
            for name, entry in snapshot.workloads.items()
            if (not same and old.workloads.get(name) != entry)
            or was.sites.get(name, ()) != now.sites.get(name, ())
            or was.problems.get(name) != now.problems.get(name)
        ]

    @staticmethod
    def _problem(snapshot: Snapshot, entry: Workload | InvalidWorkload) -> Reason | None:
        if isinstance(entry, InvalidWorkload):
            return entry.reason
        return snapshot.claims.problems.get(entry.name)

    # -- outcomes --------------------------------------------------------------------------------

    def _over_limit(self, current: str | None, after: str) -> Stay:
        return Stay(Status.WAITING, reason("waiting/limit", after=after, limit=self.max_releases), current)

    def _shown(self, workload: Workload) -> str | None:
        assert self._snapshot is not None
        sites = self._snapshot.claims.sites.get(workload.name, ())
        return shown_current(workload, sites, self.facts.known(workload, sites))

    def _settle(self, entry: Workload | InvalidWorkload, stay: Stay) -> None:
        current = stay.current
        if current is None and isinstance(entry, Workload):
            current = self._shown(entry)
        self._record(self._outcome(entry, stay.status, stay.reason, current, stay.candidate, None))

    def _record(self, outcome: Outcome) -> None:
        name, at = outcome.workload, outcome.reason.changes_at
        if self.outcomes.get(name) != outcome:
            self.outcomes[name] = outcome
            self.news += 1
        assert self._snapshot is not None
        if name not in self._snapshot.workloads:
            self._gone = True
        elif outcome.status in UNSETTLED:
            self._open.add(name)
        else:
            self._open.discard(name)
        if at is None:
            self._timers.pop(name, None)
        else:
            self._timers[name] = at

    def _outcome(
        self,
        entry: Workload | InvalidWorkload,
        status: Status,
        why: Reason,
        current: str | None,
        target: str | None,
        commit: str | None,
    ) -> Outcome:
        assert self._snapshot is not None
        sites = self._snapshot.claims.sites.get(entry.name, ())
        about = (entry.owner, entry.environment) if isinstance(entry, Workload) else (None, None)
        return Outcome(
            workload=entry.name,
            status=status,
            reason=why,
            image="" if entry.repository is None else str(entry.repository),
            current=current,
            target=target,
            commit=commit,
            owner=about[0],
            environment=about[1],
            sites=tuple(site.label for site in sites),
        )
