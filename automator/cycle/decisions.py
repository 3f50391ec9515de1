"""Deciding all workloads: only those for which something may have changed, facts fetched in rounds.

Each round asks every open decision, fetches all facts they name at once, and asks again. Requests
that cost (manifests, history) are made for no more workloads than one cycle may release.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from automator.core.decide import Decision, Judged, Limits, Need, Release, Stay, judge, shown_current
from automator.core.explain import Question, Verdict, explain
from automator.core.guardrails import bind
from automator.core.guards import LOOK_AGAIN, TOLD_UNASKED, unknown_check, unknown_key, unreported
from automator.core.heirs import is_heir
from automator.core.policy import Group, InvalidWorkload, Workload, group_of
from automator.core.rail import Rail
from automator.core.reference import Repository, TagList
from automator.core.report import Outcome
from automator.core.site import Site
from automator.core.together import Answers, Member, unshared
from automator.core.wayback import decide_all, way_on
from automator.cycle.facts import FactFinder
from automator.cycle.index import Snapshot
from automator.cycle.lags import Lags
from automator.cycle.observe import Looked, Observer
from automator.reasons import Reason, Status, reason

READING_HISTORY = reason("history/reading")
MOST_ROUNDS = 20
"""Of asking for facts and deciding again, when one version is considered."""
UNSETTLED = (Status.RELEASED, Status.WAITING, Status.FAILED)


class Considered(NamedTuple):
    """What would become of a workload, and of its group, under other circumstances."""

    members: Mapping[str, Member]
    """Under its guard rails, each that can be decided, as it was considered."""
    blocked: Mapping[str, Reason]
    answers: Answers
    """Empty where a fact that is needed could not be had."""


class _Unit(NamedTuple):
    """What is decided as one, and moves in one commit."""

    group: Group | None
    members: tuple[Workload, ...]
    blocked: Mapping[str, Reason]
    """Members that cannot be decided, and why."""


def _decided(unit: _Unit, members: list[Member], now: datetime, limits: Limits) -> Answers:
    return decide_all(unit.group, members, unit.blocked, now, limits)


def _waits_for_its_time(outcome: Outcome) -> bool:
    """Whether nothing but time, or news that is noticed anyway, can change an outcome."""
    why = outcome.reason
    if why.code in TOLD_UNASKED:
        return True
    return why.changes_at is not None and why.code.partition("/")[0] in ("guard", "group", "push", "verify")


def _moves(need: Need) -> bool:
    """Whether a move hangs on what is asked for, so that it counts against the limit of a cycle."""
    asks = need.images or need.signatures or need.histories or need.upstreams or need.closings
    return bool(asks) and not need.idle


def _asks_others(need: Need) -> bool:
    """Whether it takes more than the histories of the workload's own sites."""
    return bool(need.built or need.images or need.signatures or need.upstreams or need.closings)


OF_THE_HEAD = ("push/refused", "waiting/planned")
"""Outcomes that another head may change, whatever it brought."""


@dataclass
class Decider:
    """Decides what is open, and remembers every workload's last outcome."""

    facts: FactFinder
    observer: Observer
    limits: Limits
    max_releases: int
    """Most commits of one cycle."""
    rails: tuple[Rail, ...] = ()
    """The guard rails of the daemon's config."""
    can_propose: bool = True
    """Whether there is a forge for pull requests."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    news: int = 0
    """Counts outcomes recorded, so that a cycle without any can reuse its last report."""
    _judged: dict[str, Judged] = field(default_factory=dict)
    """Of workloads that are being decided: their tags are judged once, however often facts are missing."""
    _lags: Lags = field(init=False)
    _open: set[str] = field(default_factory=set)
    _timers: dict[str, datetime] = field(default_factory=dict)
    _gone: bool = False
    """An outcome was recorded of a workload whose policy is gone meanwhile: shown once."""
    _snapshot: Snapshot | None = None
    _noticed_at: datetime | None = None

    def __post_init__(self) -> None:
        self._lags = Lags(self.observer.memory)

    def notice(
        self,
        snapshot: Snapshot,
        looked: Looked,
        now: datetime,
        named: Collection[Repository] = (),
        *,
        rewound: bool,
    ) -> None:
        """Take in what was observed, and which repositories an event named: which workloads must be decided
        anew."""
        self._noticed_at = now
        self._open.update(self._moved(snapshot, rewound))
        for repository in looked.changed:
            self._open.update(snapshot.by_repository.get(repository, ()))
        for repository in looked.due if snapshot.followers else ():
            # A followed tag moves without a word in the tag list: its digest is asked for at each turn.
            self._open.update(snapshot.followers.get(repository, ()))
        self._open.update(name for name, at in self._timers.items() if at <= now)
        self._open.update(self._may_be_signed(snapshot, named))
        self._open.update(self.facts.notice(snapshot, now, rewound=rewound) & snapshot.workloads.keys())
        if snapshot is not self._snapshot or self._gone:
            if snapshot is not self._snapshot:
                self._open.update(n for n, o in self.outcomes.items() if o.reason.code in OF_THE_HEAD)
            self._snapshot = snapshot
            self._gone = False
            for name in self.outcomes.keys() - snapshot.workloads.keys():
                del self.outcomes[name]
                self._timers.pop(name, None)
                self._lags.forget(name)
                self.news += 1
            self._open &= snapshot.workloads.keys()
        self.observer.noticed()

    def decide(
        self,
        now: datetime,
        selected: Collection[str] | None,
        stopped: Callable[[Release], Reason | None],
        reading: Callable[[], None],
    ) -> tuple[Release, ...]:
        """Decide every selected workload (all where None) that is open; returns the releases, in order
        of name.

        `stopped` says why a release may not be tried now; `reading` is called before history is
        fetched, which may take long.
        """
        undecided: list[_Unit] = []
        self._judged.clear()
        for unit in self._units(selected):
            for name, why in unit.blocked.items():
                entry = self.snapshot.workloads[name]
                if isinstance(entry, Workload):
                    self._measure(self._member(entry))
                else:
                    self._lags.forget(name)
                self._settle(entry, Stay(Status.HELD, why))
            if unit.members:
                undecided.append(unit)
        releases: list[tuple[Release, ...]] = []
        while undecided:
            undecided = self._round(undecided, releases, now, stopped, reading)
        return tuple(sorted((r for unit in releases for r in unit), key=lambda r: r.workload.name))

    def hold_all(self, why: Reason) -> None:
        """Hold every workload for what is wrong with the config repo as a whole, and decide each anew once
        that is mended."""
        if self._snapshot is None:
            return
        for entry in self._snapshot.workloads.values():
            self._settle(entry, Stay(Status.HELD, why))
        self._open.update(self._snapshot.workloads)

    def settle(
        self,
        release: Release,
        status: Status,
        why: Reason,
        commit: str | None = None,
        *,
        is_hourly: bool = False,
        until: datetime | None = None,
    ) -> None:
        """Record what became of a release; one that is only ever planned is planned anew each hour. With
        `until` it is decided anew at that time, or when there is news."""
        entry = release.workload
        outcome = self._outcome(entry, status, why, release.current, release.target, commit)
        self._record(outcome, is_hourly=is_hourly)
        if until is not None:
            self.look_at(entry.name, until)

    def reopen(self, names: Iterable[str]) -> None:
        """Something happened to these workloads that no other sign tells of: decide them anew."""
        self._open.update(self.snapshot.workloads.keys() & set(names))

    def look_at(self, name: str, at: datetime) -> None:
        """Leave a workload alone until a time, unless there is news."""
        self._open.discard(name)
        self._timers[name] = min(at, self._timers.get(name, at))

    def bound(self, name: str) -> Workload | None:
        """A workload under its guard rails; None for one that cannot be decided, or is not there."""
        entry = self.snapshot.workloads.get(name)
        found = None if entry is None else self._bound(entry)
        return self.facts.ruled(found) if isinstance(found, Workload) else None

    def knows(self, name: str) -> bool:
        """Whether there was a workload of that name when the config repo was noticed last."""
        return self._snapshot is not None and name in self._snapshot.workloads

    def verdicts(self, name: str, now: datetime) -> tuple[Verdict, ...]:
        """What became of every tag of a workload that was decided before; empty where its tags
        could not be listed."""
        self._judged.clear()
        unit = self._unit_of(name)
        members = self._members(unit)
        member = next((m for m in members if m.workload.name == name), None)
        if member is None:
            return ()
        workload, sites, tags, facts, _ = member
        if workload.rule.followed is not None:
            tags = TagList(workload.repository, (workload.rule.followed,), now, "")
        if not isinstance(tags, TagList):
            return ()
        answer = self._answers(unit, now).get(name)
        decision = None if isinstance(answer, Need) else answer
        stops = {} if unit.group is None else unshared(unit.group, members, name, now, self.limits)
        return explain(Question(workload, sites, facts, now, decision, stops), tags)

    def consider(self, name: str, now: datetime, as_if: Callable[[Member], Member]) -> Considered:
        """Decide a workload, with its group, as if each member were what `as_if` makes of it.

        Facts are fetched as for any decision; no outcome is recorded. A way back that is due is left to the
        cycle.
        """
        unit = self._unit_of(name)
        answers: Answers = {}
        members: list[Member] = []
        for _ in range(MOST_ROUNDS):
            members = [as_if(member) for member in self._members(unit)]
            answers = way_on(unit.group, members, unit.blocked, now, self.limits)
            needs = {n: need for n, need in answers.items() if isinstance(need, Need)}
            if not needs:
                break
            self._fetch([(unit, needs)], now, None)
        else:
            answers = {}
        return Considered({m.workload.name: m for m in members}, unit.blocked, answers)

    # -- one round -----------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """The config repo as it was noticed last."""
        assert self._snapshot is not None
        return self._snapshot

    def _units(self, selected: Collection[str] | None) -> Iterable[_Unit]:
        """What is decided as one, where any of it is open and selected."""
        done: set[str] = set()
        for name in sorted(self._open if selected is None else self._open.intersection(selected)):
            if name not in done:
                unit = self._unit_of(name)
                done.update(unit.blocked, (member.name for member in unit.members))
                yield unit

    def _unit_of(self, name: str) -> _Unit:
        """A workload, with all the members of its group if it has one."""
        group = group_of(self.snapshot.workloads[name])
        members: list[Workload] = []
        blocked: dict[str, Reason] = {}
        for each in (name,) if group is None else self.snapshot.groups[group]:
            found = self._bound(self.snapshot.workloads[each])
            if isinstance(found, Workload):
                members.append(found)
            else:
                blocked[each] = found
        return _Unit(next((m.group for m in members), None), tuple(members), blocked)

    def _bound(self, entry: Workload | InvalidWorkload) -> Workload | Reason:
        """The workload under the guard rails, or why it cannot be decided."""
        if isinstance(entry, InvalidWorkload):
            return entry.reason
        problem = self.snapshot.claims.problems.get(entry.name) or self.facts.circle(entry.name)
        if problem is not None:
            return problem
        rails = (*self.rails, *self.snapshot.policies.rails)
        bound = bind(entry, {site.file for site in self._sites(entry.name)}, rails) if rails else entry
        if isinstance(bound, Workload):
            unknown = unknown_key(bound, self.facts.signatures.signers)
            unknown = unknown or unknown_check(bound, self.facts.known_checks)
            unknown = unknown or unreported(bound, self.facts.runtimes_of(bound))
            return unknown or self._unproposable(bound) or bound
        return bound

    def _unproposable(self, workload: Workload) -> Reason | None:
        """Why releases that must go through pull requests cannot be made here."""
        if self.can_propose or workload.delivery.deliver != "pull-request":
            return None
        place = workload.place_of("deliver")
        return reason("proposal/no-forge", place=place, workload=workload.name)

    def _round(
        self,
        undecided: list[_Unit],
        releases: list[tuple[Release, ...]],
        now: datetime,
        stopped: Callable[[Release], Reason | None],
        reading: Callable[[], None],
    ) -> list[_Unit]:
        """Ask each once; fetch what they need; returns those to be asked again."""
        needs: list[tuple[_Unit, Mapping[str, Need]]] = []
        for unit in undecided:
            answers = self._answers(unit, now, measured=True)
            lacking = {name: need for name, need in answers.items() if isinstance(need, Need)}
            if lacking:
                needs.append((unit, lacking))
            else:
                self._take(unit, answers, releases, stopped)
        room = self.max_releases - len(releases)
        costly = [unit for unit, need in needs if any(_moves(n) for n in need.values())]
        if room <= 0:
            for unit in costly:
                for workload in unit.members:
                    stay = self._over_limit(self._shown(workload), "a newer version")
                    self._settle(workload, stay)
            needs = [(unit, need) for unit, need in needs if unit not in costly]
        asked_now = [
            (unit, need)
            for unit, need in needs
            if any(n.built or n.idle for n in need.values()) or unit in costly[:room]
        ]
        self._fetch(asked_now, now, reading)
        return [unit for unit, _ in needs]

    def _take(
        self,
        unit: _Unit,
        answers: Answers,
        releases: list[tuple[Release, ...]],
        stopped: Callable[[Release], Reason | None],
    ) -> None:
        """Settle what stays; keep what moves, unless it was refused before or there are enough."""
        moves = tuple(answer for answer in answers.values() if isinstance(answer, Release))
        why = next((found for move in moves if (found := stopped(move)) is not None), None)
        for workload in unit.members:
            answer = answers[workload.name]
            if isinstance(answer, Stay):
                self._settle(workload, answer)
            elif isinstance(answer, Release) and why is not None:
                # One that is not tried takes nobody's place.
                self._settle(workload, Stay(Status.FAILED, why, answer.current, answer.tag))
            elif isinstance(answer, Release) and len(releases) >= self.max_releases:
                self._settle(workload, self._over_limit(answer.current, answer.tag))
        if moves and why is None and len(releases) < self.max_releases:
            releases.append(moves)

    def _answers(self, unit: _Unit, now: datetime, *, measured: bool = False) -> Answers:
        members = self._members(unit)
        answers = _decided(unit, members, now, self.limits)
        for member in members if measured else ():
            self._measure(member, answers.get(member.workload.name))
        if not any(isinstance(answer, Need) for answer in answers.values()):
            for workload in unit.members:
                self._judged.pop(workload.name, None)
        return answers

    def _measure(self, member: Member, answer: Decision | Need | None = None) -> None:
        judged = member.judged if isinstance(member.tags, TagList) else None
        self._lags.measure(member, judged, answer)

    def _members(self, unit: _Unit) -> list[Member]:
        return [self._member(workload) for workload in unit.members]

    def _member(self, workload: Workload) -> Member:
        name, sites, tags = workload.name, self._sites(workload.name), self.observer.tags(workload.listed)
        workload = self.facts.ruled(workload)
        is_judged = workload.rule.followed is None and not is_heir(workload)
        if isinstance(tags, TagList) and is_judged and name not in self._judged:
            self._judged[name] = judge(workload, tags)
        return Member(workload, sites, tags, self.facts.known(workload, sites), self._judged.get(name))

    def _sites(self, name: str) -> tuple[Site, ...]:
        return self.snapshot.claims.sites.get(name, ())

    def _fetch(
        self, needs: list[tuple[_Unit, Mapping[str, Need]]], now: datetime, reading: Callable[[], None] | None
    ) -> None:
        """Fetch what is needed; with `reading`, which is called then, who waits for history is shown so."""
        single = [(w, found[w.name]) for unit, found in needs for w in unit.members if w.name in found]
        histories = tuple({site: None for _, need in single for site in need.histories})
        if reading is not None and histories and self.facts.must_fetch_history(histories):
            for workload, need in single:
                if need.histories:
                    self._settle(workload, Stay(Status.WAITING, READING_HISTORY, self._shown(workload)))
            reading()
        if histories:
            self.facts.read_histories(histories)
        looks = ((w.repository, need) for w, need in single if _asks_others(need))
        self.facts.look_up(list(looks), now)

    # -- what is open --------------------------------------------------------------------------

    def _may_be_signed(self, snapshot: Snapshot, named: Collection[Repository]) -> Iterable[str]:
        """Workloads that were not done, and may be by what no tag list tells: what a tag stands for was
        signed or got a platform, so an event tells, or a key is another."""
        for repository in named:
            for name in snapshot.by_repository.get(repository, ()):
                if name in self.outcomes and self.outcomes[name].status is not Status.CURRENT:
                    yield name
        if self.facts.keys_changed:
            yield from (n for n, o in self.outcomes.items() if o.status is Status.HELD)

    def _moved(self, snapshot: Snapshot, rewound: bool) -> Iterable[str]:
        old = self._snapshot
        if old is snapshot:
            return ()
        if old is None or rewound or old.policies.rails != snapshot.policies.rails:
            return snapshot.workloads
        was, now = old.claims, snapshot.claims
        same = old.policies is snapshot.policies
        moved = {
            name
            for name, entry in snapshot.workloads.items()
            if (not same and old.workloads.get(name) != entry)
            or was.sites.get(name, ()) != now.sites.get(name, ())
            or was.problems.get(name) != now.problems.get(name)
        }
        if not same:  # who left a group, or joined it, changes it for all the others
            for group in old.groups.keys() | snapshot.groups.keys():
                if old.groups.get(group) != snapshot.groups.get(group):
                    moved.update(snapshot.groups.get(group, ()))
        return moved | self.facts.followers(snapshot, moved)

    # -- outcomes --------------------------------------------------------------------------------

    def _over_limit(self, current: str | None, after: str) -> Stay:
        return Stay(Status.WAITING, reason("waiting/limit", after=after, limit=self.max_releases), current)

    def _shown(self, workload: Workload) -> str | None:
        workload, sites = self.facts.ruled(workload), self._sites(workload.name)
        return shown_current(workload, sites, self.facts.known(workload, sites))

    def _settle(self, entry: Workload | InvalidWorkload, stay: Stay) -> None:
        current = stay.current
        if current is None and isinstance(entry, Workload):
            current = self._shown(entry)
        outcome = self._outcome(entry, stay.status, stay.reason, current, stay.candidate, None)
        self._record(outcome, is_polled=stay.polled, is_hourly=stay.hourly)

    def _record(self, outcome: Outcome, *, is_polled: bool = False, is_hourly: bool = False) -> None:
        name, at = outcome.workload, outcome.reason.changes_at
        if is_hourly and self._noticed_at is not None:
            again = self._noticed_at + LOOK_AGAIN
            at = again if at is None else min(at, again)
        if self.outcomes.get(name) != outcome:
            self.outcomes[name] = outcome
            self.news += 1
        if name not in self.snapshot.workloads:
            self._gone = True
        elif is_polled or (
            outcome.status in UNSETTLED and not _waits_for_its_time(outcome) and not is_hourly
        ):
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
        sites = self._sites(entry.name)
        about = (entry.owner, entry.environment) if isinstance(entry, Workload) else (None, None)
        lag = self._lags.of(entry.name, released=status is Status.RELEASED)
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
            candidate=lag.candidate,
            behind=lag.behind,
            behind_since=lag.since,
            behind_at_least=lag.at_least,
        )
