"""When cycles run: at their interval, when an outcome changes by itself, and when somebody asks.

The daemon knows only that a config repo has a cycle to run and that it returns a report. Cycles of
one config repo never overlap; those of different ones are independent of each other. How long something
lasts is measured on the clock that nobody sets.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from automator.bell import Bell
from automator.core.duration import format_duration
from automator.core.reference import Repository
from automator.core.report import Report
from automator.reasons import Reason, reason
from automator.threads import Executor, Threads, is_crowded, permitted, task_limit

PATIENCE = timedelta(minutes=10)
"""How long a cycle may always take before the daemon counts as stuck: a first clone is slow."""
TICK = 2.0
"""Seconds between two looks at the clock, and at what else there is to tend."""
STANDSTILL = 5.0
"""Seconds that a tick comes too late from which on the process itself stood still."""
JUMP = timedelta(seconds=5)
"""A clock that is set by less is not worth planning anew for."""
AT_ONCE, APART = 4, timedelta(milliseconds=200)
"""First cycles that begin at once, and the time between those of the other config repos."""
FAILURES = 3
"""Cycles in a row that could not be done, from which on the pauses between them grow."""
LONGEST_REST = timedelta(minutes=5)
"""To which they grow, where the interval is shorter."""
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
    of_all: bool = False
    """Somebody asked for all of them."""

    @property
    def is_for_events(self) -> bool:
        return self.trigger in FOR_EVENTS

    def merged(self, other: Wake) -> Wake:
        """Both wakes as one; a request outranks a planned time, and that an event."""
        trigger = max(self.trigger, other.trigger, key=_RANKS.index)
        return Wake(trigger, self.repositories | other.repositories, self.of_all or other.of_all)


@dataclass(frozen=True, slots=True)
class RepoJob:
    """The cycle of one config repo."""

    interval: timedelta
    run: Callable[[Wake], Report]
    patience: timedelta = timedelta(0)
    """How long a cycle may take, whatever the daemon's patience: a step of it is permitted as much."""


@dataclass(slots=True)
class _Turn:
    """Whose turn it is in one config repo; guarded by the daemon's condition."""

    running: Wake | None = None
    pending: Wake | None = None
    planned: bool = False
    """A job of the scheduler will take what is pending. Forgotten when a cycle begins: a job that got lost
    must not keep events waiting for ever."""
    since: float = 0.0
    """When it was made; this and the next three are seconds on the monotonic clock."""
    began: float = 0.0
    """When the last cycle began."""
    events: float | None = None
    """When the last cycle for events began."""
    ended: float | None = None
    began_at: datetime | None = None
    begun: bool = False
    has_reported: bool = False
    thread: int | None = None
    """Where the cycle runs."""
    failures: int = 0
    """Cycles in a row that could not be done."""
    held: bool = False
    """Begins no other cycle until `resume`."""
    told_late: bool = False
    """That the last cycle takes long was told: once is enough of each."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A cycle that runs for long."""

    repo: str
    seconds: float
    thread: int | None


def _quiet(_what: object, _error: BaseException | None = None) -> None:
    """Nobody listens."""


class EveryInterval(IntervalTrigger):  # type: ignore[misc]
    """At each interval; of times that are past, as when the clock was set forth by years, no more than one:
    the scheduler would list every one that was missed."""

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """The time after `previous`, and after `now` where that is past."""
        if previous is not None and previous + self.interval <= now:
            previous = now
        at: datetime | None = super().get_next_fire_time(previous, now)
        return at


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
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_report` is told every report, on the cycle's thread; `on_trouble` what went wrong
        outside of a report (`daemon/bug` with the error, `daemon/late`, `daemon/crowded`, …)."""
        self._repos = dict(repos)
        self.stop_timeout = stop_timeout
        """May be set at any time, as may `patience`."""
        self.patience = PATIENCE
        """How long a cycle may always take before `stuck` names it."""
        self._on_report = on_report
        self._on_trouble = on_trouble
        self._clock = clock
        self._monotonic = monotonic
        self._turns = {repo: _Turn(since=monotonic()) for repo in self._repos}
        self._changed = threading.Condition()
        self._stopping = False
        self._paused = False
        self._bell: Bell | None = None
        self._clocks = (datetime.now(UTC), time.monotonic())
        self.started_at: datetime | None = None
        # A thread for each cycle that runs, and one for each tick that finds it running.
        self._threads = Threads(permitted(task_limit()))
        self._scheduler = BackgroundScheduler(
            jobstores={"default": MemoryJobStore()},
            executors={"default": Executor(self._threads)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._scheduler.add_listener(self._late, EVENT_JOB_MAX_INSTANCES)

    # -- from the outside ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: every config repo's first cycle runs at once, those of many one after the other."""
        self.started_at = self._clock()
        with self._changed:
            for turn in self._turns.values():
                turn.since = self._monotonic()
        self._plan_intervals(self._repos)
        self._scheduler.start()

    def _plan_intervals(self, repos: Collection[str]) -> None:
        """Have a cycle of each of these config repos now, and one at each interval."""
        now = datetime.now(UTC)
        for number, repo in enumerate(repos):
            interval = self._repos[repo].interval
            self._scheduler.add_job(
                self._tick,
                EveryInterval(seconds=interval.total_seconds(), timezone=UTC),
                args=[repo],
                id=f"interval {repo}",
                next_run_time=now + min(max(0, number + 1 - AT_ONCE) * APART, interval / 2),
                replace_existing=True,
            )

    def wake(
        self, repo: str, repositories: frozenset[Repository] = frozenset(), *, trigger: str = "request"
    ) -> None:
        """Run a cycle at once, or right after the one that is running; wakes merge. Cycles for events
        (`trigger` event or push) begin a second apart at least.

        Never waits for a cycle, from whichever thread it is called. Raises KeyError for a config repo that
        the daemon does not have.
        """
        with self._changed:
            turn = self._turns[repo]
            if self._stopping:
                return
            asked = Wake(trigger, repositories, trigger == "request" and not repositories)
            turn.pending = asked if turn.pending is None else turn.pending.merged(asked)
            if self._rests_now(turn) or turn.running is not None or (turn.planned and trigger != "request"):
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

    # -- other config repos ----------------------------------------------------------------------

    def pause(self, limit: timedelta) -> tuple[str, ...]:
        """Begin no cycle until `resume`, and let the running ones end within a time: those that did not.
        What is asked for meanwhile is kept."""
        with self._changed:
            self._paused = True
            ends_at = self._monotonic() + limit.total_seconds()
            while not self._is_idle() and not self.is_told_to_stop and self._monotonic() < ends_at:
                self._changed.wait(min(0.5, max(0.0, ends_at - self._monotonic())))
            return tuple(repo for repo, turn in self._turns.items() if turn.running is not None)

    def resume(
        self,
        repos: Mapping[str, RepoJob] | None = None,
        renewed: Collection[str] = (),
        but: Collection[str] = (),
    ) -> None:
        """Go on, with these config repos where they are named: the cycles of those that are new or `renewed`
        begin anew at once, others go on as planned, and those that are no more are forgotten. `but` those
        named there begin no cycle before `resume` is called again."""
        with self._changed:
            old, self._repos = self._repos, dict(self._repos if repos is None else repos)
            gone = old.keys() - self._repos.keys()
            fresh = [name for name in self._repos if name not in old or name in renewed]
            for name in gone:
                del self._turns[name]
            for name in fresh:
                was = self._turns.get(name, _Turn())
                self._turns[name] = _Turn(
                    pending=was.pending, since=self._monotonic(), has_reported=was.has_reported
                )
            moved = [n for n in self._repos.keys() - set(fresh) if old[n].interval != self._repos[n].interval]
            self._paused = False
            for name, turn in self._turns.items():
                turn.held = name in but
            idle = self._turns.keys() - set(fresh) - set(but)
            waiting = [name for name in self._turns if name in idle and self._turns[name].pending]
            for name in waiting:
                self._turns[name].planned = True
        for name in gone:
            for job in (f"interval {name}", f"due {name}"):
                with suppress(JobLookupError):
                    self._scheduler.remove_job(job)
        self._plan_intervals((*fresh, *moved))
        for name in waiting:
            self._plan_pending(name, timedelta(0))

    @property
    def is_told_to_stop(self) -> bool:
        """Whether a signal said so."""
        return self._bell is not None and self._bell.stops

    def overdue(self, limit: timedelta) -> tuple[Overdue, ...]:
        """Cycles that have been running for longer."""
        now = self._monotonic()
        with self._changed:
            running = ((repo, turn) for repo, turn in self._turns.items() if turn.running is not None)
            found = (Overdue(repo, now - turn.began, turn.thread) for repo, turn in running)
            return tuple(one for one in found if one.seconds > limit.total_seconds())

    # -- the end ---------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Begin no more cycles and let the running ones end within the stop time-out.

        False where one did not (`daemon/cut-off`): its thread still runs, and the caller should end
        the process without waiting for it.
        """
        with self._changed:
            self._stopping = True
            ended = self._changed.wait_for(self._is_idle, self.stop_timeout.total_seconds())
            left = [repo for repo, turn in self._turns.items() if turn.running is not None]
        if self._scheduler.running:
            # A scheduler that is shut down while it hands out a job breaks off with a traceback: pausing has
            # it hand out no more, and removing waits until it is done with the one at hand.
            self._scheduler.pause()
            self._scheduler.remove_all_jobs()
            self._scheduler.shutdown(wait=False)  # not with its lock, which a thread may want just now
            self._threads.shutdown(wait=ended, seconds=self.stop_timeout.total_seconds())
        for repo in left:
            self._on_trouble(
                reason("daemon/cut-off", repo=repo, limit=format_duration(self.stop_timeout)), None
            )
        return ended

    def run(
        self,
        *,
        tend: Callable[[bool], None] = lambda _: None,
        before_stop: Callable[[], None] = lambda: None,
        bell: Bell | None = None,
    ) -> bool:
        """Start, wait for SIGTERM or SIGINT, stop; returns what `stop` does. `bell` is one that hangs
        already, and goes on to.

        `tend` is called every few seconds, with True where SIGHUP came meanwhile; `before_stop` once a
        signal came that ends it, before cycles are waited for.

        Must be called on the main thread. A second signal ends the process at once; SIGUSR1 asks for
        a cycle of every config repo now.
        """
        with ExitStack() as stack:
            bell = self._bell = stack.enter_context(Bell()) if bell is None else bell
            if not bell.stops:
                self.start()
            while not bell.stops:
                asked = self._wait(bell)
                if signal.SIGUSR1 in asked:
                    for repo in tuple(self._repos):
                        self.wake(repo)
                self.mind_clock()
                self.mind_threads()
                if not bell.stops:
                    tend(signal.SIGHUP in asked)
            before_stop()
            return self.stop()

    def _wait(self, bell: Bell) -> frozenset[int]:
        began = self._monotonic()
        asked = bell.wait(TICK)
        missed = self._monotonic() - began - TICK
        if missed > STANDSTILL:
            self.pass_over(missed)
        return asked

    def pass_over(self, seconds: float) -> None:
        """The process stood still for so long, as one that was stopped or frozen does: no cycle is to blame
        for that."""
        with self._changed:
            for turn in self._turns.values():
                turn.since += seconds
                turn.ended = None if turn.ended is None else turn.ended + seconds
                if turn.running is not None:
                    turn.began += seconds

    def mind_clock(self) -> None:
        """Where the clock was set since the last call, plan anew: no cycle waits until a clock that was set
        back comes again to where it was, and none that fell due by its being set forward is overslept."""
        (wall, seconds), self._clocks = self._clocks, (datetime.now(UTC), time.monotonic())
        drift = self._clocks[0] - wall - timedelta(seconds=self._clocks[1] - seconds)
        if abs(drift) < JUMP:
            return
        if drift < timedelta(0):
            for job in self._scheduler.get_jobs():
                # What is due at a time of the day stays so.
                if job.next_run_time is not None and not job.id.startswith("due "):
                    with suppress(JobLookupError):
                        job.modify(next_run_time=max(job.next_run_time + drift, self._clocks[0]))
        self._scheduler.wakeup()

    def mind_threads(self) -> None:
        """Begin what waits for a thread where there is one now, and tell once where there is none."""
        if (why := self._threads.mind()) is not None:
            self._on_trouble(reason("daemon/crowded", why=why), None)

    def running_since(self, repo: str) -> datetime | None:
        """When the config repo's cycle began that is running now; None where none is."""
        with self._changed:
            turn = self._turns.get(repo)
            return None if turn is None or turn.running is None else turn.began_at

    def unready(self) -> tuple[str, ...]:
        """Config repos whose first cycle has not ended yet."""
        with self._changed:
            return tuple(repo for repo, turn in self._turns.items() if not turn.has_reported)

    def stuck(self) -> tuple[str, ...]:
        """Config repos in which a cycle has been running, or none has begun, for three intervals, and ten
        minutes (`patience`, or that of the job) at least.

        A cycle that broke off, or could not be done, is over: it will be tried again, and a restart mends
        nothing. For how long such a config repo is left alone is not counted, nor is what waits in line.
        """
        if self.started_at is None:
            return ()
        now, has_line = self._monotonic(), self._threads.has_line
        with self._changed:
            return tuple(
                repo
                for repo, turn in self._turns.items()
                if now - self._last_move(turn) > self._limit(repo) + self._rest(repo)
                and not (has_line and turn.running is None)
            )

    @staticmethod
    def _last_move(turn: _Turn) -> float:
        """When a cycle began that runs, or else the last one ended."""
        if turn.running is not None:
            return turn.began
        return turn.since if turn.ended is None else turn.ended

    def _limit(self, repo: str) -> float:
        job = self._repos[repo]
        return max(3 * job.interval, self.patience, job.patience).total_seconds()

    # -- on the scheduler's threads --------------------------------------------------------------

    def _tick(self, repo: str) -> None:
        with self._changed:
            if repo in self._turns and self._rests(repo):
                return
        self._take_turn(repo, Wake("interval"))

    def _rests(self, repo: str) -> bool:
        """Whether a config repo whose cycles cannot be done is left alone for a while yet."""
        turn = self._turns[repo]
        rest = self._rest(repo)
        return turn.ended is not None and self._monotonic() - turn.ended < LATE * rest

    def _rest(self, repo: str) -> float:
        """For how many seconds after its last cycle a config repo is left alone, where nobody asks; 0 where
        its cycles can be done."""
        turn, interval = self._turns[repo], self._repos[repo].interval
        if turn.failures < FAILURES or turn.ended is None or turn.running is not None or turn.pending:
            return 0.0
        grown = interval * (1 << min(turn.failures - FAILURES + 1, 16))
        return min(grown, max(interval, LONGEST_REST)).total_seconds()

    def _due(self, repo: str) -> None:
        self._take_turn(repo, Wake("due"))

    def _take_turn(self, repo: str, wake: Wake | None) -> None:
        """Run cycles for as long as there is a reason to; at once none where one is running."""
        with self._changed:
            turn = self._turns.get(repo)
            if turn is None:  # of before the config changed
                return
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
                turn.ended = self._monotonic()
                turn.has_reported = turn.has_reported or report is not None
                if report is None or not report.is_broken_off:
                    failed = report is None or report.error is not None
                    turn.failures = turn.failures + 1 if failed else 0
            if report is not None:
                self._plan(repo, report)
            begun, pause = self._next(turn)
            if pause is not None:
                self._plan_pending(repo, pause)

    def _take_pending(self, repo: str) -> None:
        with self._changed:
            if repo in self._turns:
                self._turns[repo].planned = False
        self._take_turn(repo, None)

    def _next(self, turn: _Turn) -> tuple[Wake | None, timedelta | None]:
        """What to run right after a cycle, or in how long to run what is pending, or neither."""
        with self._changed:
            pending = turn.pending
            pause = self._pause(turn)
            if self._stopping or pending is None or not pause:
                return self._begin(turn, None), None
            turn.running = turn.thread = None
            self._changed.notify_all()
            if turn.planned or self._rests_now(turn):
                return None, None
            turn.planned = True
            return None, pause

    def _begin(self, turn: _Turn, wake: Wake | None) -> Wake | None:
        """Begin a cycle for `wake` and all that is pending, where there is any; the condition is held."""
        if turn.pending is not None:
            wake = turn.pending if wake is None else turn.pending.merged(wake)
            turn.pending = None
        if wake is None or self._stopping or self._rests_now(turn):
            turn.running = turn.thread = None
            turn.pending = None if self._stopping else wake
            self._changed.notify_all()
            return None
        turn.planned = turn.told_late = False
        turn.began, turn.began_at = self._monotonic(), self._clock()
        turn.thread = threading.get_ident()
        if wake.is_for_events:
            turn.events = turn.began
        if not turn.begun:
            turn.begun = True
            wake = replace(wake, trigger="startup")
        turn.running = wake
        return wake

    def _pause(self, turn: _Turn) -> timedelta:
        """How long what is pending has to wait: cycles for events keep their distance."""
        if turn.pending is None or not turn.pending.is_for_events or turn.events is None:
            return timedelta(0)
        return max(timedelta(0), EVENT_PAUSE - timedelta(seconds=self._monotonic() - turn.events))

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
            if is_crowded(error):
                self._on_trouble(reason("daemon/crowded", why=f"that of {repo} broke off, {error}"), None)
                return
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
        has_line = self._threads.has_line
        with self._changed:
            turn = self._turns.get(repo)
            if turn is None or (turn.running is None and (has_line or self._rests(repo))):
                return  # what waits in line has not begun yet: nothing is made up for
            running, lasts = turn.running, self._monotonic() - turn.began
            interval = self._repos[repo].interval
            is_made_up_for = running is None or running.is_for_events
            is_news = not is_made_up_for and not turn.told_late and lasts >= LATE * interval.total_seconds()
            turn.told_late = turn.told_late or is_news
        if is_made_up_for:
            self.wake(repo, trigger="interval")
        elif is_news:
            self._on_trouble(reason("daemon/late", repo=repo), None)

    def _rests_now(self, turn: _Turn) -> bool:
        return self._paused or turn.held

    def _is_idle(self) -> bool:
        return all(turn.running is None for turn in self._turns.values())
