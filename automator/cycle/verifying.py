"""Verifying: has the checks asked about each version that a workload holds, while cycles go on.

A series of checks begins when a workload with `verify` is first seen at another version, whoever set it.
Tries run on threads of their own, within their time limits, and nobody waits for them. What they said is kept
in the store; who lost it asks again. What runtimes said is there already, so `deployed` is answered at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol

from automator.core.forge import CommitStatus
from automator.core.policy import Workload
from automator.core.reference import Image, Repository, value_text
from automator.core.site import Site
from automator.core.verification import (
    DEPLOYED,
    Answer,
    Plan,
    Said,
    State,
    Verification,
    arrived,
    asked,
    begin,
    decided_by,
    due,
    from_text,
    heard,
    looks_at,
    renewed,
    to_text,
)
from automator.cycle.deploying import DeployedCheck, Deploying
from automator.cycle.index import Snapshot
from automator.edges.checks import Check
from automator.errors import ForgeError

AT_ONCE = 4
"""Tries of one check that run at the same time for a config repo: one that hangs keeps back no other."""
AS_RUNTIMES_SAY = Plan(DEPLOYED, within=None, failures=1)
"""How `deployed` is asked: what fails a version was decided look by look, and time alone fails nothing."""
LATE = timedelta(seconds=5)
"""After which a check is looked at again whose answer is still awaited when its next try is due."""


class Memory(Protocol):
    """Where results are kept, and what is known of images (`edges.store`)."""

    def series(self, repo: str, workload: str | None = None) -> Iterable[tuple[str, str, str]]: ...
    def save_series(self, repo: str, workload: str, version: str, text: str, begun: datetime) -> None: ...
    def image(self, repository: Repository, tag: str) -> Image | None: ...


class Statuses(Protocol):
    """What tells of the statuses of commits (`edges.forge`)."""

    def commit_statuses(self, project: str, commit: str) -> Iterable[CommitStatus]: ...


@dataclass(frozen=True, slots=True)
class StatusCheck:
    """A status that the forge has of the config repo's commit.

    A synchronizer tells of the newest commit alone, so that of the branch's tip counts where the release's
    own has none, or stayed pending when the next commit came.
    """

    statuses: Statuses
    project: str
    context: str

    def ask(self, about: Mapping[str, str], stopping: threading.Event) -> Said:
        """Ask the forge; a status that is pending, or not there yet, is no answer."""
        pending: Said | None = None
        try:
            for commit in dict.fromkeys((about["commit"], about["tip"])):
                said = self._of(commit)
                if said is not None and said.answer is not Answer.SILENT:
                    return said
                pending = pending or said
        except ForgeError as error:
            return Said(Answer.SILENT, error.reason.sentence)
        return pending or Said(Answer.SILENT, f"no commit has the status {self.context} yet")

    def _of(self, commit: str) -> Said | None:
        every = self.statuses.commit_statuses(self.project, commit)
        return next((_said(status) for status in every if status.context == self.context), None)


def _said(status: CommitStatus) -> Said:
    answers = {"success": Answer.YES, "pending": Answer.SILENT}
    words = f"{status.state}: {status.description}" if status.description else f"it is {status.state}"
    return Said(answers.get(status.state, Answer.NO), words)


class ReleaseCheck(NamedTuple):
    """A check of the config, and how often it is asked."""

    plan: Plan
    check: Check
    seconds: float
    """Longest time of one try."""


class Known(NamedTuple):
    """What checks said of a workload's versions."""

    present: Verification | None
    decided_by: datetime | None
    verified: Mapping[str, bool]
    """Told only where the present version failed."""
    apart: tuple[str, ...] = ()
    """The versions of its sites, where these differ, so that there is none to ask about."""


class _Subject(NamedTuple):
    """A workload at one version."""

    workload: Workload
    site: Site


@dataclass
class Verifying:
    """The checks of one config repo's releases."""

    repo: str
    branch: str
    """Name, URL and branch of the config repo: another branch has other releases."""
    checks: Mapping[str, ReleaseCheck]
    memory: Memory
    clock: Callable[[], datetime]
    wake: Callable[[], None] = lambda: None
    """Asks for a cycle, since checks came to an end; called on any thread, and does not wait."""
    deploying: Deploying | None = None
    """What runtimes said; None where the config repo has none."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _pools: dict[str, ThreadPoolExecutor] = field(default_factory=dict)
    """By check."""
    _snapshot: Snapshot | None = None
    _series: dict[str, Verification] = field(default_factory=dict)
    """By workload: of the version that it is at."""
    _subjects: dict[str, _Subject] = field(default_factory=dict)
    _apart: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By workload whose sites differ: their versions."""
    _news: set[str] = field(default_factory=set)
    """Workloads whose checks came to an end since a cycle last heard of it."""
    _tries: dict[tuple[str, str], Future[None]] = field(default_factory=dict)
    """By workload and check: what is being asked."""

    def __post_init__(self) -> None:
        if self.deploying is not None:
            built_in = ReleaseCheck(AS_RUNTIMES_SAY, DeployedCheck(self.deploying), 0.0)
            self.checks = {**self.checks, DEPLOYED: built_in}

    # -- for a cycle -------------------------------------------------------------------------------

    def notice(self, snapshot: Snapshot, now: datetime) -> frozenset[str]:
        """Take in what workloads hold: names of those whose checks came to an end since the last time."""
        with self._lock:
            self.see(snapshot, now)
            news, self._news = frozenset(self._news), set()
            return news

    def see(self, snapshot: Snapshot, now: datetime) -> bool:
        """Take in what workloads hold; whether checks came to an end of which no cycle has heard."""
        with self._lock:
            if snapshot is not self._snapshot:
                self._move(snapshot, now)
                self._snapshot = snapshot
            self._hear_runtimes(now)
            return bool(self._news)

    def known(self, workload: Workload) -> Known:
        """What checks said of the version that a workload is at, and of others if that one failed."""
        with self._lock:
            present = self._series.get(workload.name)
            apart = self._apart.get(workload.name, ())
            if present is not None and workload.name in self._subjects:
                present = self._with_words(workload.name, present)
        if present is None or (apart and present.state is not State.FAILED):
            return Known(None, None, {}, apart)
        verified: dict[str, bool] = {}
        if present.state is State.FAILED:
            for series in self._kept(workload.name):
                verified.setdefault(series.version, series.state is State.PASSED)
        return Known(present, decided_by(present, self._plans(workload.name)), verified, apart)

    def failures(self, name: str) -> dict[str, bool]:
        """False for each version of a workload whose checks are remembered to have failed last; True for the
        others that were checked."""
        found: dict[str, bool] = {}
        with self._lock:
            for series in self._kept(name):
                found.setdefault(series.version, series.state is not State.FAILED)
        return found

    def start(self, now: datetime) -> datetime | None:
        """Have the checks asked that are due; nobody waits. When to look again, if at all."""
        with self._lock:
            for name in self._subjects:
                if self._series[name].state is State.RUNNING:
                    self._put(name, renewed(self._series[name], self._plans(name), now))
                for check in due(self._series[name], now):
                    if check != DEPLOYED:
                        self._try(name, check, now)
            times = (looks_at(series) for name, series in self._series.items() if name in self._subjects)
            earliest = min((at for at in times if at is not None), default=None)
            return now + LATE if earliest is not None and earliest <= now else earliest

    def finish(self) -> None:
        """Wait for what is being asked, as a command does before its process ends."""
        with self._lock:
            running = list(self._tries.values())
        wait(running, max((known.seconds for known in self.checks.values()), default=0.0) + 1)

    def close(self) -> None:
        """Ask nothing more; what is being asked is dropped."""
        with self._lock:
            self._stopping.set()
            for pool in self._pools.values():
                pool.shutdown(wait=False, cancel_futures=True)

    # -- series, under the lock --------------------------------------------------------------------

    def _move(self, snapshot: Snapshot, now: datetime) -> None:
        every = dict(self._present(snapshot))
        self._subjects = {name: found for name, found in every.items() if isinstance(found, _Subject)}
        self._apart = {name: found for name, found in every.items() if not isinstance(found, _Subject)}
        for name in self._series.keys() - every.keys():
            del self._series[name]
        for name, versions in self._apart.items():
            series = self._last(name)
            if series is not None and series.version in versions:
                self._series[name] = series  # what failed and is still there stays so
            else:
                self._series.pop(name, None)
        for name, (workload, site) in self._subjects.items():
            plans = [self.checks[check].plan for check in workload.verify]
            version = value_text(site.tag, site.digest)
            series = self._last(name)
            if series is None or series.version != version:
                self._make_older(name, now)
                self._put(name, begin(version, snapshot.commit, plans, now))
            else:
                self._put(name, renewed(series, plans, now))

    def _last(self, name: str) -> Verification | None:
        """The series that a workload was at: a restart goes on where the process ended, and so does one whose
        policy was invalid, or named no check, for a while."""
        series = self._series.get(name)
        return next(iter(self._kept(name)), None) if series is None else series

    def _make_older(self, name: str, now: datetime) -> None:
        """Series that begin no earlier than now, since a clock was wrong, shall not be the newest."""
        for series in self._kept(name):
            if series.begun >= now:
                before = replace(series, begun=now - timedelta(microseconds=1))
                self.memory.save_series(self.branch, name, before.version, to_text(before), before.begun)

    def _present(self, snapshot: Snapshot) -> Iterable[tuple[str, _Subject | tuple[str, ...]]]:
        """The workloads to be verified: at one version, or the versions of their sites where these differ.

        A digest that only some sites name does not part them.
        """
        for workload in snapshot.workloads.values():
            if not isinstance(workload, Workload) or not workload.verify:
                continue
            sites = snapshot.claims.sites.get(workload.name, ())
            if not sites or not self.checks.keys() >= set(workload.verify):
                continue
            if DEPLOYED in workload.verify and not (self.deploying and self.deploying.covering(sites)):
                continue
            digests = {site.digest for site in sites} - {None}
            if len({site.tag for site in sites}) == 1 and len(digests) <= 1:
                yield workload.name, _Subject(workload, max(sites, key=lambda site: site.digest is not None))
            else:
                yield workload.name, tuple(sorted({value_text(site.tag, site.digest) for site in sites}))

    def _put(self, name: str, series: Verification) -> None:
        """Keep a series, if it is not what was known."""
        was = self._series.get(name)
        self._series[name] = series
        if series is was:
            return
        self.memory.save_series(self.branch, name, series.version, to_text(series), series.begun)
        if series.state is not State.RUNNING and (was is None or was.state is State.RUNNING):
            self._news.add(name)

    def _kept(self, name: str) -> Iterable[Verification]:
        """Series of a workload, the newest first."""
        texts = (text for _, _, text in self.memory.series(self.branch, name))
        return [series for text in texts if (series := from_text(text)) is not None]

    def _plans(self, name: str) -> list[Plan]:
        subject = self._subjects.get(name)
        wanted = () if subject is None else subject.workload.verify
        return [self.checks[check].plan for check in wanted if check in self.checks]

    # -- what runtimes said, under the lock ----------------------------------------------------------

    def _hear_runtimes(self, now: datetime) -> None:
        """Take in what they said of versions that wait for it."""
        for name in self._subjects:
            series = self._series[name]
            if DEPLOYED not in due(series, now):
                continue
            series = renewed(series, self._plans(name), now)
            said = self._by_runtimes(name, series)
            if said.answer is Answer.SILENT:
                continue
            series = heard(series, AS_RUNTIMES_SAY, said, now)
            self._put(name, arrived(series, self._plans(name), now) if said.answer is Answer.YES else series)

    def _with_words(self, name: str, series: Verification) -> Verification:
        """A series with what runtimes say of the version now."""
        if DEPLOYED not in due(series, datetime.max.replace(tzinfo=UTC)):
            return series
        words = self._by_runtimes(name, series).words
        told = (replace(p, words=words) if p.check == DEPLOYED else p for p in series.checks)
        return replace(series, checks=tuple(told))

    def _by_runtimes(self, name: str, series: Verification) -> Said:
        site = self._subjects[name].site
        about = {
            "workload": name,
            "version": site.tag or "",
            "digest": site.digest or "",
            "begun": series.begun.isoformat(),
        }
        return self.checks[DEPLOYED].check.ask(about, self._stopping)

    # -- tries -------------------------------------------------------------------------------------

    def _try(self, name: str, check: str, now: datetime) -> None:
        if self._stopping.is_set() or (name, check) in self._tries:
            return
        series = asked(self._series[name], self.checks[check].plan, now)
        self._put(name, series)
        if check not in self._pools:
            self._pools[check] = ThreadPoolExecutor(AT_ONCE, f"verify-{self.repo}-{check}")
        about = self._about(name, series)
        answer = self._pools[check].submit(self._asked, name, check, series, about)
        self._tries[(name, check)] = answer
        answer.add_done_callback(partial(self._done, name, check))

    def _about(self, name: str, series: Verification) -> dict[str, str]:
        workload, site = self._subjects[name]
        known = None if site.tag is None else self.memory.image(workload.repository, site.tag)
        return {
            "workload": name,
            "image": str(workload.repository),
            "version": site.tag or "",
            "digest": site.digest or ("" if known is None else known.digest),
            "commit": series.commit,
            "environment": workload.environment or "",
            "repo": self.repo,
            "tip": "" if self._snapshot is None else self._snapshot.commit,
        }

    def _asked(self, name: str, check: str, series: Verification, about: Mapping[str, str]) -> None:
        """One try, on a thread of its own."""
        known = self.checks[check]
        tried = self.clock()
        said = known.check.ask(about, self._stopping)
        with self._lock:
            present = self._series.get(name)
            if self._stopping.is_set() or present is None:
                return
            if (present.version, present.begun) != (series.version, series.begun):
                return  # the workload is elsewhere by now
            self._put(name, heard(present, known.plan, said, self.clock(), tried))
            ended = name in self._news
        if ended:
            self.wake()

    def _done(self, name: str, check: str, _answer: Future[None]) -> None:
        with self._lock:
            self._tries.pop((name, check), None)
