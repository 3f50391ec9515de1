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
EVENT_PAUSE = timedelta(seconds=1)
"""Least time from the begin of one cycle for events to the next: a flood of events is no flood of cycles."""
LATE = 0.9
"""Share of an interval for which a cycle has run that is told as longer than it: begun at the last tick."""
FOR_EVENTS = ("event", "push")
"""Triggers of cycles that look only at what events named: those of registries, and of Git servers."""
_RANKS = (*FOR_EVENTS, "interval", "due", "startup", "request")
"""Of two reasons that fall together the later one is told: its cycle does what the other's would."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Why a cycle runs, and which image repositories somebody said have news."""

    trigger: str
    """startup, interval, due, request, event or push."""
    repositories: frozenset[Repository] = frozenset()

    @property
    def is_for_events(self) -> bool:
        return self.trigger in FOR_EVENTS

    def merged(self, other: Wake) -> Wake:
        """Both wakes as one; a request outranks a planned time, and that an event."""
        trigger = max(self.trigger, other.trigger, key=_RANKS.index)
        return Wake(trigger, self.repositories | other.repositories)


@dataclass(frozen=True, slots=True)
class RepoJob:
    """The cycle of one config repo."""

    interval: timedelta
    run: Callable[[Wake], Report]


@dataclass(slots=True)
class _Turn:
    """Whose turn it is in one config repo; guarded by the daemon's condition."""

    running: Wake | None = None
    pending: Wake | None = None
    planned: bool = False
    """A job of the scheduler will take what is pending. Forgotten when a cycle begins: a job that got lost,
    as where no thread can be had, must not keep events waiting for ever."""
    began_at: datetime | None = None
    """When the last cycle began."""
    events_at: datetime | None = None
    """When the last cycle for events began."""
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

    def wake(
        self, repo: str, repositories: frozenset[Repository] = frozenset(), *, trigger: str = "request"
    ) -> None:
        """Run a cycle at once, or right after the one that is running; wakes merge. Cycles for events
        (`trigger` event or push) begin a second apart at least.

        Never waits for a cycle, from whichever thread it is called. Raises KeyError for a config repo that
        the daemon does not have.
        """
        turn = self._turns[repo]
        with self._changed:
            if self._stopping:
                return
            asked = Wake(trigger, repositories)
            turn.pending = asked if turn.pending is None else turn.pending.merged(asked)
            if turn.running is not None or (turn.planned and asked.is_for_events):
                return
            turn.planned = True
            pause = self._pause(turn)
        self._plan_pending(repo, pause)

    def later(self, pause: timedelta, act: Callable[[], None]) -> None:
        """Call `act`, which must be quick, after a pause; not at all where the daemon stops before."""
        with self._changed:
            if self._stopping:
                return
        self._scheduler.add_job(act, "date", run_date=datetime.now(UTC) + pause)

    def stop(self) -> bool:
        """Begin no more cycles and let the running ones end within the stop time-out.

        False where one did not (`daemon/cut-off`): its thread still runs, and the caller should end
        the process without waiting for it.
        """
        with self._changed:
            self._stopping = True
            ended = self._changed.wait_for(self._is_idle, self._stop_timeout.total_seconds())
            left = [repo for repo, turn in self._turns.items() if turn.running is not None]
        if self._scheduler.running:
            # A scheduler that is shut down while it hands out a job breaks off with a traceback: pausing has
            # it hand out no more, and removing waits until it is done with the one at hand.
            self._scheduler.pause()
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown(wait=ended)
        for repo in left:
            self._on_trouble(
                reason("daemon/cut-off", repo=repo, limit=format_duration(self._stop_timeout)), None
            )
        return ended

    def run(self, *, before_stop: Callable[[], None] = lambda: None) -> bool:
        """Start, wait for SIGTERM or SIGINT, stop; returns what `stop` does.

        `before_stop` is called once a signal came, before cycles are waited for.

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
            before_stop()
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
            if turn.running is not None:
                # A missed interval needs no other cycle, but after one that looked only at what events
                # named; anything else is news.
                if wake is not None and (wake.trigger != "interval" or turn.running.is_for_events):
                    turn.pending = wake if turn.pending is None else turn.pending.merged(wake)
                return
            begun = self._begin(turn, wake)
        while begun is not None:
            report = self._cycle(repo, begun)
            with self._changed:
                turn.ended_at = self._clock()
                turn.reported_at = turn.ended_at if report is not None else turn.reported_at
            if report is not None:
                self._plan(repo, report)
            begun, pause = self._next(turn)
            if pause is not None:
                self._plan_pending(repo, pause)

    def _take_pending(self, repo: str) -> None:
        with self._changed:
            self._turns[repo].planned = False
        self._take_turn(repo, None)

    def _next(self, turn: _Turn) -> tuple[Wake | None, timedelta | None]:
        """What to run right after a cycle, or in how long to run what is pending, or neither."""
        with self._changed:
            pending = turn.pending
            pause = self._pause(turn)
            if self._stopping or pending is None or not pause:
                return self._begin(turn, None), None
            turn.running = None
            self._changed.notify_all()
            if turn.planned:
                return None, None
            turn.planned = True
            return None, pause

    def _begin(self, turn: _Turn, wake: Wake | None) -> Wake | None:
        """Begin a cycle for `wake` and all that is pending, where there is any; the condition is held."""
        if turn.pending is not None:
            wake = turn.pending if wake is None else turn.pending.merged(wake)
            turn.pending = None
        if wake is None or self._stopping:
            turn.running = None
            self._changed.notify_all()
            return None
        turn.planned = False
        turn.began_at = self._clock()
        if wake.is_for_events:
            turn.events_at = turn.began_at
        if not turn.begun:
            turn.begun = True
            wake = Wake("startup", wake.repositories)
        turn.running = wake
        return wake

    def _pause(self, turn: _Turn) -> timedelta:
        """How long what is pending has to wait: cycles for events keep their distance."""
        if turn.pending is None or not turn.pending.is_for_events or turn.events_at is None:
            return timedelta(0)
        # A clock that was set back must not make it long.
        return max(timedelta(0), min(EVENT_PAUSE, turn.events_at + EVENT_PAUSE - self._clock()))

    def _plan_pending(self, repo: str, pause: timedelta) -> None:
        if pause:
            at = datetime.now(UTC) + pause
            self._scheduler.add_job(self._take_pending, "date", run_date=at, args=[repo])
        else:
            self._scheduler.add_job(self._take_pending, args=[repo])

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
        if kind != "interval":
            return
        # The thread of the last tick is still at work, maybe only with what came after its own cycle.
        turn = self._turns[repo]
        with self._changed:
            running, began_at = turn.running, turn.began_at
            is_made_up_for = running is None or running.is_for_events
        if is_made_up_for:
            self.wake(repo, trigger="interval")
        elif began_at is not None and self._clock() - began_at >= LATE * self._repos[repo].interval:
            self._on_trouble(reason("daemon/late", repo=repo), None)

    def _is_idle(self) -> bool:
        return all(turn.running is None for turn in self._turns.values())


_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def _signals(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
