"""The desk: what pages and the API show of this process, kept apart from what cycles work with.

After each cycle, on its thread, a picture is put in place of the last one: values that never change. Threads
of the web look at pictures, and touch what cycles work with only while none is running.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Protocol

from automator.app.archive import UNUSED, Archive
from automator.app.build import App, scope_of, utc_now
from automator.app.pictures import Branch, Pages, Picture, about_of, pages_of, shows_the_same
from automator.core.chaining import Place, chains_of
from automator.core.delivery.change import Wanted
from automator.core.delivery.summary import Summary
from automator.core.drift import Drift
from automator.core.driftview import DriftView, RuntimeView, worst_first
from automator.core.explain import Question, explain
from automator.core.facts import Facts
from automator.core.heirs import is_heir
from automator.core.notice import About
from automator.core.policy import Workload
from automator.core.reference import Repository, TagList
from automator.core.report import Report
from automator.core.view import (
    Chain,
    DaemonView,
    Past,
    PolicyView,
    RegistryView,
    RepoView,
    Verdicts,
    WorkloadView,
)
from automator.cycle.index import Snapshot
from automator.cycle.looks import merged
from automator.cycle.run import Cycle
from automator.errors import AutomatorError
from automator.reasons import Reason

PATIENCE = 0.2
"""Seconds for which a question waits for a cycle to end."""
WISHES = 20
"""Workloads of a config repo whose tags are told at the end of a cycle, for who asked while it ran."""
MOST_VERDICTS = 50_000
"""Verdicts that are kept, of all workloads together."""


class Pulse(Protocol):
    """What is asked of the daemon (`automator.daemon.Daemon` answers it)."""

    def wake(
        self, repo: str, repositories: frozenset[Repository] = frozenset(), *, trigger: str = "request"
    ) -> None: ...
    def running_since(self, repo: str) -> datetime | None: ...
    def stuck(self) -> tuple[str, ...]: ...


@dataclass
class _Turns:
    """One config repo's cycles, seen from outside."""

    cycle: Cycle
    pages: Pages
    running: threading.Lock = field(default_factory=threading.Lock)
    """Held while a cycle runs, and while something is asked of its parts."""
    picture: Picture | None = None
    wishes: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Workloads that somebody asked about while a cycle ran; guarded by the desk's lock."""


class _Chained(NamedTuple):
    """The promotion chains, and what they were found in."""

    pictures: tuple[Picture, ...]
    since: Mapping[tuple[str, str], datetime]
    chains: tuple[Chain, ...]
    by_node: Mapping[tuple[str, str], Chain]

    def holds_for(self, pictures: tuple[Picture, ...], since: object) -> bool:
        """Whether nothing of it has changed."""
        return (
            self.since is since
            and len(pictures) == len(self.pictures)
            and all(map(shows_the_same, self.pictures, pictures))
        )


class LiveDesk:
    """Answers `edges.web.desk.Desk` of one generation of parts."""

    def __init__(
        self,
        app: App,
        pulse: Pulse,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        standing: Callable[[], DaemonView],
    ) -> None:
        """`standing` tells how the process stands."""
        self._app = app
        self._pulse = pulse
        self._standing = standing
        self._clock = clock
        self._monotonic = monotonic
        self.watched: Callable[[], tuple[RuntimeView, ...]] = tuple
        """What the last looks at the runtimes left."""
        self._lock = threading.Lock()
        self._turns = {name: _Turns(cycle, pages_of(app, name)) for name, cycle in app.cycles.items()}
        self._verdicts: OrderedDict[tuple[str, str], Verdicts] = OrderedDict()
        self._chained: _Chained | None = None
        self._asked_at = monotonic()
        repos = app.config.repos
        self._archive = Archive(
            app.config,
            app.store,
            app.forges,
            {name: turns.cycle.withdrawals.branch for name, turns in self._turns.items()},
            lambda name: scope_of(repos[name]),
            monotonic,
        )

    # -- on the threads of cycles ----------------------------------------------------------------------

    @contextmanager
    def cycle(self, repo: str) -> Iterator[None]:
        """Around each cycle of a config repo: nobody asks anything of its parts meanwhile."""
        turns = self._turns[repo]
        with turns.running:
            yield
            self._grant(turns)
        self._archive.tidy()
        if self._monotonic() - self._asked_at >= UNUSED:
            with self._lock:
                self._verdicts.clear()
                self._chained = None

    def foresaw(self, report: Report) -> None:
        """A first cycle has read its branch and asks registries now: shown where no process before this one
        left anything better. As for `saw`."""
        turns = self._turns[report.repo]
        if turns.picture is None and self._app.store.last_report(report.repo) is None:
            self.saw(report)

    def saw(self, report: Report) -> None:
        """A cycle ended, or shows its outcomes in between; must be called within `cycle`, on its thread."""
        turns = self._turns[report.repo]
        last = turns.picture
        if last is None and report.error is not None and not report.outcomes:
            # This process knows no workload of it: what the one before it left stays, though it is old.
            last = self._remembered(turns)
        commits = dict(last.commits) if last is not None else {}
        if report.pushed is not None:
            commits |= {o.workload: o.commit for o in report.outcomes if o.commit is not None}
        snapshot = turns.cycle.index.snapshot
        if last is not None and not report.outcomes and report.error is not None:
            report = report.completed(last.report, None)
        about = about_of(last, snapshot)
        read_at = turns.cycle.read_at
        picture = Picture(report.repo, report, snapshot, commits, turns.pages, read_at, about)
        if last is not None and shows_the_same(last, picture):
            self._take_over(last, picture)
        with self._lock:
            turns.picture = picture

    def _take_over(self, last: Picture, picture: Picture) -> None:
        """What was found of the last picture and holds for this one; nothing where nobody asks any more."""
        if self._monotonic() - self._asked_at < UNUSED:
            for name in ("outcomes", "views", "policies"):
                if name in last.__dict__:
                    picture.__dict__[name] = last.__dict__[name]

    def _grant(self, turns: _Turns) -> None:
        """Tell the tags of those workloads that somebody asked about while the cycle ran."""
        with self._lock:
            names = tuple(turns.wishes)
            turns.wishes.clear()
        for name in names:
            self._found(turns, name)

    # -- on threads of the web -------------------------------------------------------------------------

    def now(self) -> datetime:
        return self._clock()

    def daemon(self) -> DaemonView:
        return self._standing()

    def repos(self) -> tuple[RepoView, ...]:
        """In the order of the config."""
        stuck = self._pulse.stuck()
        return tuple(self._repo(name, turns, name in stuck) for name, turns in self._turns.items())

    def _repo(self, name: str, turns: _Turns, is_stuck: bool) -> RepoView:
        config = self._app.config
        repo, picture = config.repos[name], self._picture(turns)
        report = None if picture is None else picture.report
        view = RepoView(
            name=name,
            place=repo.url,
            branch=repo.branch,
            page=None if turns.pages.project is None else turns.pages.project(),
            mode=repo.mode,
            deliver=repo.deliver,
            interval=config.interval(name),
            running_since=self._pulse.running_since(name),
            is_stuck=is_stuck,
            commits=turns.pages.of_commit(""),
        )
        if report is None:
            return view
        return replace(
            view,
            head=report.head,
            started_at=report.started_at,
            finished_at=report.finished_at,
            sentence=report.sentence,
            changes_at=report.changes_at,
            error=report.error,
            warnings=report.warnings,
        )

    def snapshot(self, repo: str) -> Snapshot | None:
        """Where a config repo was when its last cycle ended; None before the first that could read it."""
        picture = self._turns[repo].picture
        return None if picture is None else picture.snapshot

    def branch(self, repo: str) -> Branch | None:
        """The same, with when that was so."""
        picture = self._turns[repo].picture
        if picture is None or picture.snapshot is None:
            return None
        return Branch(picture.snapshot, picture.read_at)

    def about(self, repo: str, workload: str) -> About:
        """Whose a workload is, as far as its policy can be read."""
        snapshot = self.snapshot(repo)
        entry = None if snapshot is None else snapshot.workloads.get(workload)
        return About(workload, getattr(entry, "owner", None), getattr(entry, "environment", None))

    def workloads(self) -> tuple[WorkloadView, ...]:
        """All of them, by config repo and name; their places are told by `workload` only."""
        return tuple(view for picture in self._pictures() for view in picture.views)

    def workload(self, repo: str, name: str) -> WorkloadView | None:
        """One of them; None where there is none of that name."""
        turns = self._turns.get(repo)
        picture = None if turns is None else self._picture(turns)
        return None if picture is None else picture.view(name)

    def verdicts(self, repo: str, name: str) -> Verdicts | None:
        """What became of every tag of a workload; while a cycle runs, what was found after the last one, or
        in outline by what that left."""
        turns = self._turns.get(repo)
        self._asked_at = self._monotonic()
        if turns is None or turns.picture is None:
            return None
        known = self._known(turns, name)
        if known is not None and known.decided_at == turns.picture.report.started_at:
            return known
        if not turns.running.acquire(timeout=PATIENCE):
            with self._lock:
                turns.wishes[name] = None
                while len(turns.wishes) > WISHES:
                    turns.wishes.popitem(last=False)
            return known or self._outlined(turns.picture, name)
        try:
            return self._found(turns, name)
        finally:
            turns.running.release()

    def _known(self, turns: _Turns, name: str) -> Verdicts | None:
        with self._lock:
            return self._verdicts.get((turns.cycle.repo, name))

    def _found(self, turns: _Turns, name: str) -> Verdicts | None:
        """Ask the parts of a cycle that does not run."""
        picture = turns.picture
        if picture is None or not turns.cycle.decider.knows(name):
            return None
        try:
            found = Verdicts(turns.cycle.verdicts(name), picture.report.started_at)
        except AutomatorError:
            return None
        with self._lock:
            self._verdicts.pop((picture.repo, name), None)
            self._verdicts[(picture.repo, name)] = found
            count = sum(len(kept.told) for kept in self._verdicts.values())
            while count > MOST_VERDICTS and len(self._verdicts) > 1:
                count -= len(self._verdicts.popitem(last=False)[1].told)
        return found

    def _outlined(self, picture: Picture, name: str) -> Verdicts | None:
        """What filters and order say of the tags that were listed last, without a part of a cycle; None for a
        workload that has no rule of its own, or whose tags nobody has listed."""
        entry = picture.entries.get(name)
        if not isinstance(entry, Workload) or is_heir(entry) or picture.snapshot is None:
            return None
        store, at, sites = self._app.store, picture.report.started_at, picture.snapshot.claims.sites
        tags = store.tag_list(entry.listed)
        if entry.rule.followed is not None:
            tags = TagList(entry.repository, (entry.rule.followed,), at, "")
        if tags is None:
            return None
        built = store.built(entry.repository, tags.tags) if entry.rule.order == "newest" else {}
        asked = Question(entry, sites.get(name, ()), Facts(built=built), at, None)
        return Verdicts(explain(asked, tags), at, is_outline=True)

    def past(self, wanted: Wanted, *, repos: frozenset[str] = frozenset(), limit: int = 100) -> Past:
        """The newest changes that are wanted, as far as they were read; reading begins with a question."""
        heads, chosen = self._heads(), self._chosen(repos)
        past = self._archive.past(wanted, heads, repos=chosen, limit=limit)
        if past.state != "reading":
            return past
        why = next(iter(self._unreadable(chosen, heads).values()), None)
        return past if why is None else replace(past, state="failed", trouble=why)

    def summary(
        self, wanted: Wanted, *, repos: frozenset[str] = frozenset(), by: str = "workload"
    ) -> Summary | None:
        """The delivery figures; None while history is being read, and where none of it can be."""
        chosen, heads = self._chosen(repos), self._heads()
        troubles = self._unreadable(chosen, heads)
        return self._archive.summary(wanted, heads, troubles, repos=chosen, by=by, now=self.now())

    def _unreadable(self, chosen: tuple[str, ...], heads: Mapping[str, str | None]) -> dict[str, Reason]:
        """Why config repos that no cycle could read so far have no commit to read history of."""
        pictures = {name: self._turns[name].picture for name in chosen if heads[name] is None}
        return {
            name: picture.report.error
            for name, picture in pictures.items()
            if picture is not None and picture.report.error is not None
        }

    def _chosen(self, repos: frozenset[str]) -> tuple[str, ...]:
        return tuple(name for name in self._turns if not repos or name in repos)

    def _heads(self) -> dict[str, str | None]:
        pictures = {name: turns.picture for name, turns in self._turns.items()}
        return {name: None if p is None else p.report.pushed or p.report.head for name, p in pictures.items()}

    def registries(self) -> tuple[RegistryView, ...]:
        """By host."""
        counted, watched = self._app.registry.requests, self._watched()
        standings = {one.host: one for one in self._app.registry.standings}
        looks = merged(cycle.observer.looks.hosts for cycle in self._app.cycles.values())
        return tuple(
            RegistryView(
                host=host,
                is_up=one.is_up if (one := standings.get(host)) is not None else True,
                requests=counted.get(host, 0),
                remaining=None if one is None else one.remaining,
                wait=0.0 if one is None else one.wait,
                queued=0 if one is None else one.queued,
                succeeded_at=None if (look := looks.get(host)) is None else look.succeeded_at,
                trouble=None if look is None else look.trouble,
                failing=0 if look is None else len(look.failing),
                repositories=watched.get(host, 0),
            )
            for host in sorted({*standings, *watched})
        )

    def _watched(self) -> dict[str, int]:
        """Image repositories that are looked at, by host."""
        snapshots = (picture.snapshot for picture in self._pictures())
        every = {
            repository for snapshot in snapshots if snapshot is not None for repository in snapshot.watched
        }
        counts: dict[str, int] = {}
        for repository in every:
            counts[repository.registry] = counts.get(repository.registry, 0) + 1
        return counts

    def policies(self) -> tuple[PolicyView, ...]:
        """By config repo and path."""
        return tuple(view for picture in self._pictures() for view in picture.policies)

    def chains(self) -> tuple[Chain, ...]:
        """The promotion chains over all config repos."""
        return self._chains().chains

    def chain(self, repo: str, name: str) -> Chain | None:
        """The one that a workload is in."""
        return self._chains().by_node.get((repo, name))

    def _chains(self) -> _Chained:
        """All chains, found once for what is shown."""
        pictures, since = tuple(self._pictures()), self._archive.since()
        known = self._chained
        if known is not None and known.holds_for(pictures, since):
            return known
        chains = chains_of({p.repo: Place(p.entries, p.outcomes) for p in pictures}, since)
        by_node = {(node.repo, node.name): chain for chain in chains[::-1] for node in chain.nodes}
        self._chained = _Chained(pictures, since, chains, by_node)
        return self._chained

    def runtimes(self) -> tuple[RuntimeView, ...]:
        """In the order of the config, as the last looks left them."""
        return self.watched()

    def drifts(self) -> tuple[DriftView, ...]:
        """Every workload at every runtime that covers it, the worst first."""
        views = (self._drift(runtime.repo, one) for runtime in self.watched() for one in runtime.drifts)
        return worst_first(views)

    def drifts_of(self, repo: str, name: str) -> tuple[DriftView, ...]:
        """Those of one workload."""
        mine = (one for one in self.watched() if one.repo == repo)
        found = (drift for runtime in mine for drift in runtime.drifts if drift.workload == name)
        return worst_first(self._drift(repo, drift) for drift in found)

    def _drift(self, repo: str, drift: Drift) -> DriftView:
        whose = self.about(repo, drift.workload)
        return DriftView(repo, drift, whose.owner, whose.environment)

    def look(self, repo: str, name: str | None = None) -> bool:
        """Have a cycle of the config repo run now, or right after the one that is running."""
        turns = self._turns.get(repo)
        if turns is None:
            return False
        named: frozenset[Repository] = frozenset()
        if name is not None:
            picture = self._picture(turns)
            if picture is None or name not in picture.outcomes:
                return False
            entry = picture.entries.get(name)
            named = frozenset({entry.listed}) if isinstance(entry, Workload) else named
        self._pulse.wake(repo, named)
        return True

    def _pictures(self) -> Iterator[Picture]:
        """By config repo; those of which nothing is known are left out."""
        for name in sorted(self._turns):
            picture = self._picture(self._turns[name])
            if picture is not None:
                yield picture

    def _picture(self, turns: _Turns) -> Picture | None:
        """The last one; before the first cycle what the process before this one left."""
        self._asked_at = self._monotonic()
        if turns.picture is None:
            remembered = self._remembered(turns)
            with self._lock:
                if turns.picture is None:
                    turns.picture = remembered
        return turns.picture

    def _remembered(self, turns: _Turns) -> Picture | None:
        """What the process before this one left of a config repo."""
        report = self._app.store.last_report(turns.cycle.repo)
        return None if report is None else Picture(report.repo, report, None, {}, turns.pages)

    def close(self) -> None:
        """Give everything free; a reader of history that hangs is left behind."""
        self._archive.close()
