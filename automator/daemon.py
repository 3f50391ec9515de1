"""When cycles run: at their interval, when an outcome changes by itself, and when somebody asks.

The daemon knows only that a config repo has a cycle to run and that it returns a report. Cycles of
one config repo never overlap; those of different ones are independent of each other.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import FrameType

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from automator.core.duration import format_duration
from automator.core.reference import Repository
from automator.core.report import Report
from automator.reasons import Reason, reason

PATIENCE = timedelta(minutes=10)
"""How long a cycle may always take before the daemon counts as stuck: a first clone is slow."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Why a cycle runs, and which image repositories somebody said have news."""

    trigger: str
    """startup, interval, due or request."""
    repositories: frozenset[Repository] = frozenset()

    def merged(self, other: Wake) -> Wake:
        """Both wakes as one; a request outranks a planned time."""
        trigger = "request" if "request" in (self.trigger, other.trigger) else self.trigger
        return Wake(trigger, self.repositories | other.repositories)


@dataclass(frozen=True, slots=True)
class RepoJob:
    """The cycle of one config repo."""

    interval: timedelta
    run: Callable[[Wake], Report]


@dataclass(slots=True)
class _Turn:
    """Whose turn it is in one config repo; guarded by the daemon's condition."""

    running: bool = False
    pending: Wake | None = None
    begun: bool = False
    ended_at: datetime | None = None
    reported_at: datetime | None = None


@dataclass(slots=True)
class _Bell:
    """Rung by the first signal; the second ends the process."""

    rung: threading.Event = field(default_factory=threading.Event)

    def ring(self, number: int, _frame: FrameType | None) -> None:
        if self.rung.is_set():
            os._exit(128 + number)
        self.rung.set()


def _quiet(_what: object, _error: BaseException | None = None) -> None:
    """Nobody listens."""


class Daemon:
    """Runs the cycles of all config repos until it is told to stop."""

    def __init__(
        self,
        repos: Mapping[str, RepoJob],
        *,
        stop_timeout: timedelta,
        on_report: Callable[[Report], None] = _quiet,
        on_trouble: Callable[[Reason, BaseException | None], None] = _quiet,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_report` is told every report, on the cycle's thread; `on_trouble` what went wrong
        outside of a report (`daemon/bug` with the error, `daemon/late`, `daemon/cut-off`)."""
        self._repos = dict(repos)
        self._stop_timeout = stop_timeout
        self._on_report = on_report
        self._on_trouble = on_trouble
        self._clock = clock
        self._turns = {repo: _Turn() for repo in self._repos}
        self._changed = threading.Condition()
        self._stopping = False
        self.started_at: datetime | None = None
        # A thread for each config repo's cycle, one for ticks that find it running.
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": ThreadPoolExecutor(max_workers=2 * len(self._repos) + 1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._scheduler.add_listener(self._late, EVENT_JOB_MAX_INSTANCES)

    # -- from the outside ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: every config repo's first cycle runs at once."""
        self.started_at = self._clock()
        for repo, job in self._repos.items():
            self._scheduler.add_job(
                self._tick,
                "interval",
                seconds=job.interval.total_seconds(),
                args=[repo],
                id=f"interval {repo}",
                next_run_time=datetime.now(UTC),
            )
        self._scheduler.start()

    def wake(self, repo: str, repositories: frozenset[Repository] = frozenset()) -> None:
        """Run a cycle at once, or right after the one that is running; requests merge.

        Raises KeyError for a config repo that the daemon does not have.
        """
        turn = self._turns[repo]
        with self._changed:
            if self._stopping:
                return
            asked = Wake("request", repositories)
            waiting = turn.pending is not None
            turn.pending = asked if turn.pending is None else turn.pending.merged(asked)
            if turn.running or waiting:
                return
        self._scheduler.add_job(self._take_turn, args=[repo, None])

    def stop(self) -> bool:
        """Begin no more cycles and let the running ones end within the stop time-out.

        False where one did not (`daemon/cut-off`): its thread still runs, and the caller should end
        the process without waiting for it.
        """
        with self._changed:
            self._stopping = True
            ended = self._changed.wait_for(self._is_idle, self._stop_timeout.total_seconds())
            left = [repo for repo, turn in self._turns.items() if turn.running]
        if self._scheduler.running:
            self._scheduler.shutdown(wait=ended)
        for repo in left:
            self._on_trouble(
                reason("daemon/cut-off", repo=repo, limit=format_duration(self._stop_timeout)), None
            )
        return ended

    def run(self) -> bool:
        """Start, wait for SIGTERM or SIGINT, stop; returns what `stop` does.

        Must be called on the main thread. A second signal ends the process at once; SIGUSR1 asks for
        a cycle of every config repo now.
        """
        bell = _Bell()

        def wake_all(_number: int, _frame: FrameType | None) -> None:
            for repo in self._repos:
                self.wake(repo)

        with _signals({signal.SIGTERM: bell.ring, signal.SIGINT: bell.ring, signal.SIGUSR1: wake_all}):
            self.start()
            bell.rung.wait()
            return self.stop()

    def last_finished(self, repo: str) -> datetime | None:
        """When the config repo's last cycle ended with a report; None before the first."""
        with self._changed:
            return self._turns[repo].reported_at

    def unready(self) -> tuple[str, ...]:
        """Config repos whose first cycle has not ended yet."""
        with self._changed:
            return tuple(repo for repo, turn in self._turns.items() if turn.reported_at is None)

    def stuck(self, now: datetime) -> tuple[str, ...]:
        """Config repos in which no cycle has ended for three intervals, and ten minutes at least.

        A cycle that broke off counts as ended: it will be tried again, and a restart mends nothing.
        """
        if self.started_at is None:
            return ()
        with self._changed:
            return tuple(
                repo
                for repo, turn in self._turns.items()
                if now - (turn.ended_at or self.started_at) > max(3 * self._repos[repo].interval, PATIENCE)
            )

    # -- on the scheduler's threads --------------------------------------------------------------

    def _tick(self, repo: str) -> None:
        self._take_turn(repo, Wake("interval"))

    def _due(self, repo: str) -> None:
        self._take_turn(repo, Wake("due"))

    def _take_turn(self, repo: str, wake: Wake | None) -> None:
        """Run cycles for as long as there is a reason to; at once none where one is running."""
        turn = self._turns[repo]
        with self._changed:
            if turn.running:
                # A missed interval needs no other cycle; anything else is news.
                if wake is not None and wake.trigger != "interval":
                    turn.pending = wake if turn.pending is None else turn.pending.merged(wake)
                return
            turn.running = True
        while (wake := self._next(turn, wake)) is not None:
            report = self._cycle(repo, wake)
            wake = None
            with self._changed:
                turn.ended_at = self._clock()
                turn.reported_at = turn.ended_at if report is not None else turn.reported_at
            if report is not None:
                self._plan(repo, report)

    def _next(self, turn: _Turn, wake: Wake | None) -> Wake | None:
        with self._changed:
            if turn.pending is not None:
                wake = turn.pending if wake is None else turn.pending.merged(wake)
                turn.pending = None
            if wake is None or self._stopping:
                turn.running = False
                self._changed.notify_all()
                return None
            if not turn.begun:
                turn.begun = True
                wake = Wake("startup", wake.repositories)
            return wake

    def _cycle(self, repo: str, wake: Wake) -> Report | None:
        report: Report | None = None
        with self._surviving(repo):
            report = self._repos[repo].run(wake)
        if report is not None:
            with self._surviving(repo):
                self._on_report(report)
        return report

    @contextmanager
    def _surviving(self, repo: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - whatever it is, the next cycle must come
            words = f"{type(error).__name__}: {error}"
            self._on_trouble(reason("daemon/bug", repo=repo, error=words), error)

    def _plan(self, repo: str, report: Report) -> None:
        """Have a cycle at the time at which an outcome changes by itself, in place of the last plan."""
        name = f"due {repo}"
        at = report.changes_at
        # A time that the cycle already knew to be past would make it run again and again.
        if at is not None and at > report.started_at:
            self._scheduler.add_job(
                self._due,
                "date",
                run_date=at,
                args=[repo],
                id=name,
                replace_existing=True,
                # The cycle that plans this one may itself run as a job of this name.
                max_instances=100,
            )
            return
        with suppress(JobLookupError):
            self._scheduler.remove_job(name)

    def _late(self, event: JobSubmissionEvent) -> None:
        kind, _, repo = event.job_id.partition(" ")
        if kind == "interval":
            self._on_trouble(reason("daemon/late", repo=repo), None)

    def _is_idle(self) -> bool:
        return not any(turn.running for turn in self._turns.values())


_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def _signals(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
